//! Signals to a run without a terminal: they end everything inside.

use anyhow::{Context, Result, ensure};
use behaviour::{Place, collect, signal};
use rustix::process::Signal;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

/// How long a signalled command may take before it is ended.
const GRACE: Duration = Duration::from_secs(2);
/// What a loaded machine may add to that.
const SLACK: Duration = Duration::from_secs(15);

behaviour::for_each_profile! {
    a_signal_ends_the_command_by_that_signal
    a_command_may_answer_a_signal_with_a_status_of_its_own
    a_command_that_ignores_the_signal_is_ended_when_patience_is_up
    a_second_signal_ends_it_at_once
    a_stopped_command_is_ended_too
    processes_that_left_their_session_end_too
    what_the_command_says_on_its_way_out_arrives
    the_end_is_on_record_with_its_signal
}

/// Starts a script, and waits for its first line, `ready`.
fn start(place: &Place, script: &str) -> Result<(Child, BufReader<ChildStdout>)> {
    let mut command = place.run()?;
    command.args(["--", "/bin/sh", "-c", script]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdout = BufReader::new(child.stdout.take().context("no pipe")?);
    let mut line = String::new();
    stdout.read_line(&mut line)?;
    if line != "ready\n" {
        let ended = collect(child)?;
        anyhow::bail!("it did not begin: {line:?} {}", ended.err());
    }
    Ok((child, stdout))
}

const SIGNALS: [Signal; 4] = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT];

fn a_signal_ends_the_command_by_that_signal(place: &Place) -> Result<()> {
    for number in SIGNALS {
        let (child, _stdout) = start(place, "echo ready; exec sleep 600")?;
        signal(&child, number)?;
        let ended = collect(child)?;
        assert_eq!(ended.code(), 128 + number.as_raw(), "{}", ended.err());
        assert_eq!(ended.report()?["reason"], serde_json::json!({"stopped": number.as_raw()}));
        place.nothing_left()?;
    }
    Ok(())
}

fn a_command_may_answer_a_signal_with_a_status_of_its_own(place: &Place) -> Result<()> {
    for (number, name) in SIGNALS.into_iter().zip(["TERM", "INT", "HUP", "QUIT"]) {
        let script = format!("trap 'exit 17' {name}; echo ready; while :; do sleep 0.05; done");
        let (child, _stdout) = start(place, &script)?;
        signal(&child, number)?;
        let ended = collect(child)?;
        assert_eq!(ended.code(), 17, "{name}: {}", ended.err());
        assert_eq!(ended.report()?["reason"], serde_json::json!({"stopped": number.as_raw()}));
    }
    Ok(())
}

const STUBBORN: &str = "trap '' TERM INT HUP QUIT; echo ready; while :; do sleep 1; done";

fn a_command_that_ignores_the_signal_is_ended_when_patience_is_up(place: &Place) -> Result<()> {
    let (child, _stdout) = start(place, STUBBORN)?;
    let begun = Instant::now();
    signal(&child, Signal::TERM)?;
    let ended = collect(child)?;
    let took = begun.elapsed();
    assert_eq!(ended.code(), 128 + 15, "{}", ended.err());
    ensure!(took >= GRACE, "it was ended after {took:?}, with {GRACE:?} promised");
    ensure!(took < GRACE + SLACK, "it was ended only after {took:?}");
    Ok(())
}

fn a_second_signal_ends_it_at_once(place: &Place) -> Result<()> {
    let script = "trap 'echo got' TERM; trap '' INT; echo ready; while :; do sleep 0.05; done";
    let (child, mut stdout) = start(place, script)?;
    let begun = Instant::now();
    signal(&child, Signal::TERM)?;
    let mut line = String::new();
    stdout.read_line(&mut line)?;
    assert_eq!(line, "got\n");
    signal(&child, Signal::INT)?;
    let ended = collect(child)?;
    let took = begun.elapsed();
    assert_eq!(ended.code(), 128 + 15, "{}", ended.err());
    ensure!(took < GRACE, "patience ran out before the second signal was heeded: {took:?}");
    Ok(())
}

fn a_stopped_command_is_ended_too(place: &Place) -> Result<()> {
    let (child, _stdout) = start(place, "echo ready; kill -STOP $$; sleep 600")?;
    signal(&child, Signal::TERM)?;
    let ended = collect(child)?;
    assert_eq!(ended.code(), 128 + 15, "{}", ended.err());
    Ok(())
}

fn processes_that_left_their_session_end_too(place: &Place) -> Result<()> {
    let script = "for i in 1 2 3; do (setsid sh -c 'trap \"\" TERM HUP INT; sleep 600' &) ; done; \
                  (trap '' TERM; sleep 600) & echo ready; exec sleep 600";
    for number in [Signal::TERM, Signal::INT, Signal::HUP] {
        let (child, mut stdout) = start(place, script)?;
        signal(&child, number)?;
        let mut rest = Vec::new();
        // Ends only when nobody inside holds the output any more.
        stdout.read_to_end(&mut rest)?;
        let ended = collect(child)?;
        assert_eq!(ended.code(), 128 + number.as_raw(), "{}", ended.err());
        place.nothing_left()?;
    }
    Ok(())
}

fn what_the_command_says_on_its_way_out_arrives(place: &Place) -> Result<()> {
    let script =
        "trap 'echo farewell; echo sorrow >&2; exit 0' INT; echo ready; while :; do sleep 0.05; done";
    let (child, mut stdout) = start(place, script)?;
    signal(&child, Signal::INT)?;
    let mut rest = String::new();
    stdout.read_to_string(&mut rest)?;
    let ended = collect(child)?;
    assert_eq!((ended.code(), rest.as_str()), (0, "farewell\n"), "{}", ended.err());
    ensure!(ended.err().starts_with("sorrow\n"), "{}", ended.err());
    Ok(())
}

fn the_end_is_on_record_with_its_signal(place: &Place) -> Result<()> {
    let (child, _stdout) = start(place, "echo ready; exec sleep 600")?;
    signal(&child, Signal::HUP)?;
    let ended = collect(child)?;
    let report = ended.report()?;
    let ends = place.records_of("sandbox.end")?;
    assert_eq!(ends.len(), 1);
    assert_eq!(
        (&ends[0]["sandbox"], &ends[0]["reason"]),
        (&report["sandbox"], &serde_json::json!({"stopped": 1}))
    );
    place.verify()
}
