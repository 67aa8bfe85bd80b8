//! CT-06: nothing changes a read zone, not even what its permissions would let everybody do.

use anyhow::{Context, Result};
use containment::{Facts, Ground};
use sha2::{Digest, Sha256};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

containment::proofs!(ct_06::ro_zone_immutable, mutants: &["writable-read-zone"]);

/// Kinds of writes that the probe must know, at least.
const KINDS: usize = 25;
/// What cannot work outside: there is no mount to change, and its place need not be a file system with these.
const ONLY_INSIDE: &[&str] = &[
    "remount",
    "clear the mount's attribute",
    "unmount",
    "open without a name, then link",
    "set flags",
    "set an attribute",
];

/// A directory with a file and a directory for each kind of write, open to everybody.
fn fill(ground: &Ground, name: &str, kinds: &Facts) -> Result<()> {
    let zone = ground.path(name).join("zone");
    fs::create_dir_all(&zone)?;
    for kind in kinds.keys() {
        let kind = kind.replace(' ', "-");
        let file = zone.join(format!("f-{kind}"));
        fs::write(&file, "what was here before")?;
        fs::set_permissions(&file, Permissions::from_mode(0o666))?;
        ground.give(&file)?;
        let directory = zone.join(format!("d-{kind}"));
        fs::create_dir(&directory)?;
        fs::set_permissions(&directory, Permissions::from_mode(0o777))?;
        ground.give(&directory)?;
    }
    for directory in [ground.path(name), zone] {
        fs::set_permissions(&directory, Permissions::from_mode(0o777))?;
        ground.give(&directory)?;
    }
    Ok(())
}

/// Names, contents, modes, owners and times of all below.
fn digest(tree: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    let mut entries: Vec<_> = fs::read_dir(tree)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let metadata = entry.metadata()?;
        hash.update(entry.file_name().as_encoded_bytes());
        let of = [
            metadata.mode().into(),
            metadata.uid().into(),
            metadata.gid().into(),
            metadata.len(),
            metadata.nlink(),
        ];
        let times = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
        of.iter().for_each(|number: &u64| hash.update(number.to_le_bytes()));
        times.iter().for_each(|number| hash.update(number.to_le_bytes()));
        if metadata.is_file() {
            hash.update(fs::read(entry.path())?);
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The kinds that the probe knows; on a directory that is not there, all fail.
fn kinds(ground: &Ground) -> Result<Facts> {
    ground.probe_outside(&["writes", "/nonexistent/zone"])
}

fn control(ground: &Ground) -> Result<Vec<String>> {
    let kinds = kinds(ground)?;
    fill(ground, "control", &kinds)?;
    let zone = ground.path("control/zone");
    let before = digest(&zone)?;
    let done = ground.probe_outside(&["writes", zone.to_str().context("a path that is not UTF-8")?])?;
    let mut failed: Vec<String> = done
        .into_iter()
        .filter(|(kind, outcome)| outcome != "ok" && !ONLY_INSIDE.contains(&kind.as_str()))
        .map(|(kind, outcome)| format!("{kind}: {outcome}"))
        .collect();
    if kinds.len() < KINDS {
        failed.push(format!("the probe knows {} kinds of writes", kinds.len()));
    }
    if digest(&zone)? == before {
        failed.push("the zone looks as before".to_owned());
    }
    Ok(failed)
}

fn findings(ground: &Ground, mutant: Option<&str>) -> Result<Vec<String>> {
    let kinds = kinds(ground)?;
    let name = format!("zone-{}", mutant.unwrap_or("whole"));
    fill(ground, &name, &kinds)?;
    let zone = ground.path(&name).join("zone");
    let before = digest(&zone)?;
    let mut found = look(&ground.inside(mutant).read(&zone, "/zone"))?;
    if ground.profile().own_block() {
        let root = look(&ground.inside(mutant).read(&zone, "/zone").as_root())?;
        found.extend(root.into_iter().map(|line| format!("root: {line}")));
    }
    if digest(&zone)? != before {
        found.push("the zone is not as before".to_owned());
    }
    Ok(found)
}

fn look(inside: &containment::Inside<'_>) -> Result<Vec<String>> {
    let done = inside.facts(&["writes", "/zone"])?.into_iter().filter(|(_, outcome)| outcome == "ok");
    Ok(done.map(|(kind, _)| format!("{kind} works")).collect())
}
