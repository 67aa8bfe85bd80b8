//! CT-27: a flood of output. It is bounded by who reads it.

use crate::bombs::{Casemate, red};
use anyhow::{Context, Result, ensure};
use behaviour::{Peak, Place, Who, collect};
use std::io::Read;
use std::process::Stdio;

const MIB: u64 = 1 << 20;
const PEAK_KIB_MAX: u64 = 32 << 10;
const STATE_BYTES_MAX: u64 = MIB;
const COMPUTE: &str = "memory = \"64MiB\"\ndisk = \"8MiB\"\nwall = \"10m\"";

behaviour::for_each_profile! {
    a_flood_of_256_mib_leaves_the_program_small
    a_flood_of_errors_leaves_the_program_small
    a_program_that_keeps_the_flood_is_noticed
}

#[test]
#[ignore = "long: 10 GB"]
fn a_flood_of_10_gb_leaves_the_program_small() -> Result<()> {
    Place::with("a_flood_of_10_gb", Who::Root, |place| {
        flood(&Casemate::real()?, place, 10_000 * 1_000_000, "")
    })
}

#[test]
#[ignore = "long: 10 GB"]
fn a_flood_of_10_gb_leaves_the_program_small_as_user() -> Result<()> {
    Place::with("a_flood_of_10_gb_as_user", Who::User, |place| {
        flood(&Casemate::real()?, place, 10_000 * 1_000_000, "")
    })
}

fn a_flood_of_256_mib_leaves_the_program_small(place: &Place) -> Result<()> {
    flood(&Casemate::real()?, place, 256 * MIB, "")
}

fn a_flood_of_errors_leaves_the_program_small(place: &Place) -> Result<()> {
    flood(&Casemate::real()?, place, 64 * MIB, ">&2")
}

fn a_program_that_keeps_the_flood_is_noticed(place: &Place) -> Result<()> {
    red(flood(&Casemate::without("relay"), place, 256 * MIB, ""), " KiB")
}

fn flood(casemate: &Casemate, place: &Place, length: u64, to: &str) -> Result<()> {
    let script = format!("head -c {length} /dev/zero {to}; exit 28");
    let mut command = casemate.run(place, COMPUTE)?;
    command.args(["--", "/bin/sh", "-c", &script]).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let peak = Peak::of(child.id());
    let count = |mut source: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let (mut buffer, mut zeros, mut rest) = (vec![0; 1 << 20], 0, Vec::new());
            while let Ok(length @ 1..) = source.read(&mut buffer) {
                let text = buffer[..length].iter().position(|byte| *byte != 0).unwrap_or(length);
                zeros += text as u64;
                rest.extend_from_slice(&buffer[text..length]);
            }
            (zeros, rest)
        })
    };
    let out = count(Box::new(child.stdout.take().context("no pipe")?));
    let err = count(Box::new(child.stderr.take().context("no pipe")?));
    let join = |reader: std::thread::JoinHandle<(u64, Vec<u8>)>| {
        reader.join().map_err(|_| anyhow::anyhow!("a reader panicked"))
    };
    let ((out, _), (err, said)) = (join(out)?, join(err)?);
    let peak = peak.kib()?;
    let ended = collect(child)?;
    let said = String::from_utf8_lossy(&said);
    ensure!(ended.code() == 28, "it ended with {}: {said}", ended.code());
    ensure!(out + err == length, "{out} and {err} bytes came out of {length}");
    ensure!(peak < PEAK_KIB_MAX, "{peak} KiB");
    let state = size(&place.state())?;
    ensure!(state < STATE_BYTES_MAX, "the state directory has grown to {state} bytes");
    Ok(())
}

fn size(directory: &std::path::Path) -> Result<u64> {
    let mut total = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        total += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(total)
}
