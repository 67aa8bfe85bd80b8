//! A million entries, in a draft and in a write zone: answered clearly, in bounded memory, and nothing is lost that was
//! not the sandbox's.

use crate::{ask, project, tree};
use anyhow::{Context, Result, ensure};
use behaviour::{Peak, Place, Who};
use serde_json::Value;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

/// How long the whole may take, a machine's slowest disk included.
const PATIENCE: Duration = Duration::from_secs(900);
/// What reading and refusing, or handing out, may take of memory: far less than a million entries would.
const MOST_KIB: u64 = 256 << 10;

const MAKE: &str = "import os, sys
for outer in range(1000):
    directory = f'{sys.argv[1]}/{outer}'
    os.mkdir(directory)
    for inner in range(999):
        os.mknod(f'{directory}/{inner}', 0o100644)";

/// Makes a million entries beneath `at` in a sandbox with these zones, and gives the report of that.
fn makes(place: &Place, zones: &str, at: &str) -> Result<Value> {
    let limits = "[compute]\nmemory = \"3GiB\"\ndisk = \"3GiB\"\ninodes = 1100000\nwall = \"15m\"\n";
    let policy = place.policy(&format!("{limits}{zones}"))?;
    let mut command = place.run()?;
    command.arg("--policy").arg(policy).args(["--keep", "--", "python3", "-c", MAKE, at]);
    let said = place.path("said");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&said)?);
    let mut child = command.spawn()?;
    let peak = Peak::of(child.id());
    let status = behaviour::wait(&mut child, PATIENCE)?;
    let (peak, said) = (peak.kib()?, fs::read_to_string(said)?);
    println!("casemate took {peak} KiB");
    ensure!(peak < MOST_KIB, "casemate took {peak} KiB");
    ensure!(status.success(), "{status}: {said}");
    serde_json::from_str(said.trim()).with_context(|| format!("no report: {said}"))
}

#[test]
#[ignore = "makes a million files: minutes"]
fn a_million_entries_in_a_draft_are_refused_by_name() -> Result<()> {
    fn test(place: &Place) -> Result<()> {
        let original = project(place)?;
        let before = tree(&original)?;
        let zone =
            format!("[[files]]\nat = \"/work\"\nfrom = \"{}\"\naccess = \"draft\"\n", original.display());
        let report = makes(place, &zone, "/work")?;
        let draft = &report["drafts"][0];
        let problem = draft["problem"].as_str().unwrap_or_default();
        ensure!(
            draft["kept"] == false && problem.contains("more than 200000 entries have changed"),
            "{report}"
        );
        ensure!(tree(&original)? == before, "the original changed");
        // Nothing half read is left, and what there is to say is on record.
        let left: Vec<_> = fs::read_dir(place.state().join("drafts"))?.flatten().collect();
        ensure!(left.is_empty(), "{left:?}");
        let id = report["sandbox"].as_str().context("no sandbox")?;
        ensure!(ask(place, "diff", &[id])?.0 == 68 && place.records_of("draft.end")?.len() == 1);
        place.verify()
    }
    Place::with("a_million_entries_in_a_draft", Who::Root, test)
}

#[test]
#[ignore = "makes a million files, twice: minutes"]
fn a_million_entries_of_a_write_zone_come_out() -> Result<()> {
    fn test(place: &Place) -> Result<()> {
        let target = place.directory("target")?;
        let zone =
            format!("[[files]]\nat = \"/output\"\nto = \"{}\"\naccess = \"write\"\n", target.display());
        makes(place, &zone, "/output")?;
        let mut found = 0;
        for directory in fs::read_dir(&target)? {
            found += 1 + fs::read_dir(directory?.path())?.count();
        }
        ensure!(found == 1_000_000, "{found} came out");
        let told = place.records_of("zone.handed_out")?;
        ensure!(
            told.len() == 1 && told[0]["files"] == 999_000 && told[0]["refused"] == serde_json::json!([])
        );
        place.verify()
    }
    Place::with("a_million_entries_of_a_write_zone", Who::Root, test)
}
