//! What all bombs have in common: a sandbox with limits, a neighbour outside, and the three places that name a limit.

use anyhow::{Context, Result, ensure};
use behaviour::{Ended, PATIENCE, Place, finish, program, wait};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The program that is tested, or one without one of its limits.
pub(crate) struct Casemate {
    binary: PathBuf,
    mutation: Option<&'static str>,
}

impl Casemate {
    pub(crate) fn real() -> Result<Casemate> {
        Ok(Casemate { binary: Place::binary()?, mutation: None })
    }

    pub(crate) fn without(limit: &'static str) -> Casemate {
        let binary = env!("CARGO_BIN_EXE_casemate-mutant-limits").into();
        Casemate { binary, mutation: Some(limit) }
    }

    /// `casemate run` under a policy of these `[compute]` lines.
    pub(crate) fn run(&self, place: &Place, compute: &str) -> Result<Command> {
        let policy = place.policy(&format!("[compute]\n{compute}"))?;
        let mut command = place.run_as(&[], &self.binary)?;
        command.arg("--policy").arg(policy);
        if let Some(mutation) = self.mutation {
            command.env("CASEMATE_MUTANT", mutation).env("CASEMATE_BIN", Place::binary()?);
        }
        Ok(command)
    }

    /// Runs a Python program inside, beside a neighbour that must not be hurt.
    pub(crate) fn python(&self, place: &Place, compute: &str, options: &[&str], text: &str) -> Result<Ended> {
        let mut command = self.run(place, compute)?;
        let neighbour = Neighbour::start()?;
        let ended = finish(command.args(options).args(["--", "python3", "-c", text]))?;
        neighbour.ends_well()?;
        Ok(ended)
    }
}

/// Passes if the check of a program without the limit failed, and for this reason.
pub(crate) fn red(checked: Result<()>, why: &str) -> Result<()> {
    match checked {
        Ok(()) => anyhow::bail!("the check does not notice that the limit is gone"),
        Err(error) => {
            let said = format!("{error:#}");
            ensure!(said.contains(why), "expected a failure with `{why}`, found: {said}");
            Ok(())
        }
    }
}

/// A process outside that works while the bomb goes off.
struct Neighbour(Child);

impl Neighbour {
    fn start() -> Result<Neighbour> {
        let script = "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; head -c 8000000 /dev/zero | wc -c";
        let mut command = program("/bin/sh");
        Ok(Neighbour(command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?))
    }

    /// It comes to its own end, and a new one can be started.
    fn ends_well(mut self) -> Result<()> {
        let status = wait(&mut self.0, PATIENCE)?;
        ensure!(status.success(), "the neighbour was hurt: {status}");
        ensure!(finish(program("true").env("LC_ALL", "C"))?.status.success(), "no process can be started");
        Ok(())
    }
}

/// The report and the record name exactly these limits.
pub(crate) fn hits(place: &Place, ended: &Ended, wanted: &[&str]) -> Result<()> {
    let report = ended.report()?;
    ensure!(report["limits_hit"] == serde_json::json!(wanted), "the report says {report}");
    let sandbox = &report["sandbox"];
    let records = place.records_of("limit.hit")?;
    let recorded: Vec<&str> = records
        .iter()
        .filter(|record| record["sandbox"] == *sandbox)
        .filter_map(|record| record["limit"].as_str())
        .collect();
    ensure!(recorded == wanted, "the record says {recorded:?}");
    place.verify()
}

/// The sandbox was ended by this limit, with this status.
pub(crate) fn ended_by(place: &Place, ended: &Ended, limit: &str, status: i32) -> Result<()> {
    let report = ended.report().context("no report: the supervisor was hurt")?;
    ensure!(ended.code() == status, "it ended with {}: {}", ended.code(), ended.err());
    ensure!(report["reason"] == serde_json::json!({"limit": limit}), "{report}");
    let ends = place.records_of("sandbox.end")?;
    let end = ends.iter().find(|end| end["sandbox"] == report["sandbox"]).context("no end on record")?;
    ensure!(end["reason"] == report["reason"], "{end}");
    place.nothing_left()
}

/// The command came to its own end, with this status.
pub(crate) fn finished(ended: &Ended, status: i32) -> Result<serde_json::Value> {
    let report = ended.report().context("no report: the supervisor was hurt")?;
    ensure!(ended.code() == status, "it ended with {}: {} {}", ended.code(), ended.out(), ended.err());
    ensure!(report["reason"] == "finished", "{report}");
    Ok(report)
}

/// A number that the command printed as `name=number`.
pub(crate) fn number(ended: &Ended, name: &str) -> Result<u64> {
    let out = ended.out();
    let value = out.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    Ok(value.with_context(|| format!("no {name} in {out:?} {}", ended.err()))?.parse()?)
}
