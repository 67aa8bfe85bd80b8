//! `cargo xtask demo`: Casemate's main job, three times, and an agent's day over the API, with the results checked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::audit::{Audit, sandboxes};
use crate::leftovers::{adopt_orphans, wait_gone};
use crate::program::{program, read};
use crate::serve::{Server, Stopped};
use crate::{apt, expected, place, sdks};

const CLEAN_WITHIN: Duration = Duration::from_secs(2);
/// What `misbehave.py` tries, whatever becomes of it.
const ATTEMPTS_MIN: usize = 14;
const WAYS: usize = 5;

/// One demonstration: the built binary and a directory that goes when it ends.
struct Demo {
    audit: Audit,
    scratch: tempfile::TempDir,
    files: PathBuf,
}

pub(crate) fn run() -> Result<()> {
    apt::programs(&[("python3", "python3"), ("gcc", "gcc"), ("make", "make")])?;
    adopt_orphans()?;
    let casemate = place::casemate()?;
    let scratch = tempfile::Builder::new().prefix("casemate-demo-").tempdir()?;
    let state = scratch.path().join("state");
    let demo = Demo { audit: Audit { casemate, state }, scratch, files: place::root().join("demo") };

    demo.analyst()?;
    demo.build()?;
    demo.misbehave()?;
    let served = demo.agent()?;
    demo.record()?;
    demo.clean(&served)
}

impl Demo {
    /// A program that an agent wrote reads a zone of CSV files; its report comes back through a write zone.
    fn analyst(&self) -> Result<()> {
        title("1. A Python program that an agent wrote, over files it may read");
        let output = self.scratch.path().join("report");
        fs::create_dir(&output)?;
        let data = self.files.join("analyst/data");
        let job = self.scratch.path().join("job");
        fs::create_dir(&job)?;
        fs::copy(self.files.join("analyst/report.py"), job.join("report.py"))?;
        let mut command = self.casemate("analyst");
        command.arg("--read").arg(at(&data, "/input")).arg("--read").arg(at(&job, "/job"));
        command.arg("--write").arg(at(&output, "/output"));
        show(&read(command.args(["--", "/usr/bin/python3", "/job/report.py"]))?);

        let report = fs::read_to_string(output.join("report.csv")).context("no report was handed back")?;
        show(&report);
        let wanted = expected::report(&data)?;
        ensure!(report == wanted, "the report that came back is wrong; expected:\n{wanted}");
        ensure!(output.join("report.txt").is_file(), "only half of the report was handed back");
        ok("the report came back, and is what we computed ourselves");
        Ok(())
    }

    /// A C project is built and tested on a copy; its own directory stays as it is.
    fn build(&self) -> Result<()> {
        title("2. Build and test of a C project, on a scratch copy");
        let project = self.files.join("cproject");
        let mut command = self.casemate("cproject");
        command.arg("--read").arg(at(&project, "/input")).args(["--cwd", "/work", "--"]);
        let said = read(command.args(["/bin/sh", "-c", "cp -r /input/. . && make test"]))?;
        show(&said);
        ensure!(said.contains("0 failed"), "the project's tests did not pass");
        ensure!(!project.join("build").exists(), "the build reached the project's own directory");
        ok("built and tested; the project's own directory is untouched");
        Ok(())
    }

    /// A program that tries to misbehave in five ways gets nowhere.
    fn misbehave(&self) -> Result<()> {
        title("3. A program that tries to misbehave in five ways");
        let canary = self.scratch.path().join("secret");
        fs::write(&canary, "the caller's secret")?;
        let job = self.scratch.path().join("suspect");
        fs::create_dir(&job)?;
        fs::copy(self.files.join("misbehave/misbehave.py"), job.join("misbehave.py"))?;
        let home = std::env::var("HOME").unwrap_or_else(|_| "/root".into());
        let mut command = self.casemate("misbehave");
        command.arg("--read").arg(at(&job, "/job")).args(["--", "/usr/bin/python3", "/job/misbehave.py"]);
        let start = Instant::now();
        let said = read(command.arg(&canary).args([format!("{home}/.profile"), format!("{home}/.bashrc")]))?;
        show(&said);

        let through: Vec<&str> = said.lines().filter(|line| line.starts_with("DONE")).collect();
        ensure!(through.is_empty(), "it got through: {}", through.join("; "));
        let stopped = said.lines().filter(|line| line.starts_with("stopped")).count();
        let ways = said.lines().filter(|line| line.starts_with("way ")).count();
        ensure!(stopped >= ATTEMPTS_MIN && ways == WAYS, "it made only {stopped} attempts in {ways} ways");
        ensure!(said.contains("still alive"), "a limit ended it: it should have been refused and lived");
        ok(&format!(
            "{stopped} attempts in {ways} ways, none got through, in {:.1} s",
            start.elapsed().as_secs_f64()
        ));
        Ok(())
    }

    /// A program that uses E2B's SDK does its everyday work against a server of ours.
    fn agent(&self) -> Result<Stopped> {
        title("4. An agent's everyday work, with the official E2B SDK against `casemate serve`");
        let sdks = sdks::ready()?;
        let server = Server::start(&self.audit.casemate, &self.scratch.path().join("server"), None)?;
        let orders = self.files.join("analyst/data/orders-2026-01.csv");
        let totals = self.scratch.path().join("totals.csv");
        let mut command = program(&sdks.python);
        command.arg(self.files.join("e2b/agent.py")).arg(&orders).arg(&totals);
        command.env("E2B_API_URL", &server.url).env("E2B_SANDBOX_URL", &server.url);
        command.env("E2B_API_KEY", &server.key).env("NO_PROXY", "127.0.0.1");
        show(&read(&mut command)?);

        let totals = fs::read_to_string(totals).context("no totals were downloaded")?;
        show(&totals);
        let wanted = expected::totals(&orders)?;
        ensure!(totals == wanted, "the totals that came back are wrong; expected:\n{wanted}");
        ok("the totals came back, and are what we computed ourselves");
        let stopped = server.stop()?;
        ensure!(stopped.started == 1, "1 sandbox was made, {} are on the record", stopped.started);
        show(&stopped.verified);
        ok("the server's record verifies");
        Ok(stopped)
    }

    /// What was denied, by which rule, and that the record holds.
    fn record(&self) -> Result<()> {
        title("What was denied or limited, and by which rule");
        let records = self.audit.records()?;
        let mut shown = 0;
        for record in &records {
            let event = record["event"].as_str().unwrap_or_default();
            let line = match event {
                "denial" => format!("{} by rule {}", record["asked"], record["decision"]["rule"]),
                "limit.hit" => format!("{}", record["limit"]),
                _ => continue,
            };
            println!("  record {:>3}  {event:<9}  {line}", record["seq"]);
            shown += 1;
        }
        ensure!(shown > 0, "nothing of what was stopped is on the record");
        let ended = records.iter().filter(|record| record["event"] == "sandbox.end").count();
        ensure!(ended == 3, "3 sandboxes ran, {ended} ends are on the record");

        title("The record, verified");
        show(&self.audit.verify().context("the record does not verify")?);
        Ok(())
    }

    fn clean(self, served: &Stopped) -> Result<()> {
        title("What is left behind");
        served.wait_gone()?;
        let ids = sandboxes(&self.audit.records()?);
        wait_gone(&self.audit.state, &ids, CLEAN_WITHIN)?;
        let path = self.scratch.path().to_path_buf();
        self.scratch.close()?;
        if path.exists() {
            bail!("{} is still there", path.display());
        }
        ok("no process, cgroup, mount, lock or file");
        Ok(())
    }

    fn casemate(&self, job: &str) -> Command {
        let mut command = program(&self.audit.casemate);
        command.args(["run", "--state"]).arg(&self.audit.state);
        command.arg("--policy").arg(self.files.join(job).join("policy.toml"));
        command
    }
}

fn at(directory: &Path, inside: &str) -> String {
    format!("{}:{inside}", directory.display())
}

fn title(text: &str) {
    println!("\n{text}\n{}", "-".repeat(text.len()));
}

fn show(text: &str) {
    text.lines().for_each(|line| println!("  {line}"));
}

fn ok(text: &str) {
    println!("ok: {text}");
}
