//! Wall-clock time.

use crate::bombs::{Casemate, ended_by, hits, red};
use anyhow::{Result, ensure};
use behaviour::Place;
use std::time::{Duration, Instant};

const COMPUTE: &str = "pids = 32\nwall = \"400ms\"";

behaviour::for_each_profile! {
    time_ends_a_command_that_sleeps
    time_ends_a_command_that_ignores_signals
    time_ends_a_command_that_is_stopped
    time_ends_a_command_that_works
    time_ends_a_command_whose_reader_does_not_read
    the_check_of_time_notices_a_missing_limit
}

/// A program that would end by itself with 29 after 2 s.
fn ended(casemate: &Casemate, place: &Place, first: &str) -> Result<()> {
    let begun = Instant::now();
    let text = format!("import os, signal, sys, time\n{first}\ntime.sleep(2)\nsys.exit(29)\n");
    let ended = casemate.python(place, COMPUTE, &[], &text)?;
    ended_by(place, &ended, "wall", 124)?;
    ensure!(begun.elapsed() >= Duration::from_millis(400), "too early: {:?}", begun.elapsed());
    hits(place, &ended, &["wall"])
}

fn time_ends_a_command_that_sleeps(place: &Place) -> Result<()> {
    ended(&Casemate::real()?, place, "")
}

fn time_ends_a_command_that_ignores_signals(place: &Place) -> Result<()> {
    let ignore = "for n in range(1, 32):\n  try: signal.signal(n, signal.SIG_IGN)\n  except OSError: pass";
    ended(&Casemate::real()?, place, ignore)
}

fn time_ends_a_command_that_is_stopped(place: &Place) -> Result<()> {
    ended(&Casemate::real()?, place, "os.kill(os.getpid(), signal.SIGSTOP)")
}

fn time_ends_a_command_that_works(place: &Place) -> Result<()> {
    ended(&Casemate::real()?, place, "end = time.time() + 10\nwhile time.time() < end: pass")
}

fn time_ends_a_command_whose_reader_does_not_read(place: &Place) -> Result<()> {
    use std::process::Stdio;
    let mut command = Casemate::real()?.run(place, COMPUTE)?;
    command.args(["--", "yes"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let stdout = child.stdout.take();
    // What is left to pass on keeps no sandbox alive.
    behaviour::within(behaviour::PATIENCE / 4, "the sandbox begins", || {
        Ok(place.lives_inside()?.then_some(()))
    })?;
    behaviour::within(behaviour::PATIENCE / 4, "the end of the sandbox is noticed", || {
        Ok((!place.lives_inside()?).then_some(()))
    })?;
    drop(stdout);
    let ended = behaviour::collect(child)?;
    ended_by(place, &ended, "wall", 124)
}

fn the_check_of_time_notices_a_missing_limit(place: &Place) -> Result<()> {
    red(ended(&Casemate::without("wall"), place, ""), "it ended with 29")
}
