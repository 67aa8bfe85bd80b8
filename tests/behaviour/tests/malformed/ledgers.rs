//! Files of the state directory that are not as they were written. Nothing runs, and nothing is made worse.

use crate::case::{Kept, contents, refused};
use anyhow::{Context, Result, ensure};
use behaviour::{Ended, Place, finish};
use std::fs;
use std::path::PathBuf;

behaviour::for_each_profile! {
    a_bit_flipped_in_the_header_of_the_log_stops_every_run
    a_bit_flipped_in_a_record_stops_every_run
    a_bit_flipped_in_the_head_stops_every_run
    a_log_that_was_cut_short_stops_every_run
    a_key_that_was_cut_short_stops_every_run
    a_key_of_another_log_stops_every_run
    a_missing_log_stops_every_run
    a_missing_key_stops_every_run
    something_else_in_place_of_the_log_stops_every_run
    something_else_in_place_of_the_lock_stops_every_run
    something_else_in_place_of_the_key_stops_every_run
    a_damaged_cache_costs_only_time
    a_torn_end_of_the_log_is_no_damage
}

fn run(place: &Place) -> Result<Ended> {
    let mut command = place.casemate()?;
    let target = format!("{}:/output", place.path("target").display());
    command.arg("run").arg("--state").arg(place.state()).args(["--write", &target]);
    finish(command.args(["--", "sh", "-c", "echo ran >/output/ran; echo ran"]))
}

/// Changes a file, expects a refusal that names the place, sees that nothing else happened, and puts it back.
fn damaged(place: &Place, file: &str, change: impl Fn(&PathBuf, Vec<u8>) -> Result<()>) -> Result<()> {
    let kept = Kept::of(place)?;
    let path = place.path(file);
    let whole = fs::read(&path)?;
    change(&path, whole.clone())?;
    let before = contents(&place.state())?;
    let ended = run(place)?;
    refused(&ended, 74, &[&*place.state().to_string_lossy()], "").with_context(|| file.to_owned())?;
    ensure!(contents(&place.state())? == before, "{file}: something in the state directory was changed");
    if path.is_dir() {
        fs::remove_dir_all(&path)?;
    } else if path.is_symlink() {
        fs::remove_file(&path)?;
    }
    fs::write(&path, whole)?;
    place.own(&path)?;
    kept.check(place).with_context(|| file.to_owned())
}

fn several(place: &Place) -> Result<()> {
    for _ in 0..2 {
        Kept::make(place)?;
    }
    Ok(())
}

/// Flips one bit at each of these places.
fn flipped(place: &Place, file: &str, places: &[usize]) -> Result<()> {
    several(place)?;
    for at in places {
        damaged(place, file, |path, mut bytes| {
            let at = at * bytes.len() / 100;
            bytes[at] ^= 0x10;
            Ok(fs::write(path, bytes)?)
        })
        .with_context(|| format!("a bit at {at} % of it"))?;
    }
    Ok(())
}

fn a_bit_flipped_in_the_header_of_the_log_stops_every_run(place: &Place) -> Result<()> {
    flipped(place, "state/log/tail", &[0])
}

fn a_bit_flipped_in_a_record_stops_every_run(place: &Place) -> Result<()> {
    flipped(place, "state/log/tail", &[20, 40, 60, 80])
}

fn a_bit_flipped_in_the_head_stops_every_run(place: &Place) -> Result<()> {
    flipped(place, "state/head", &[10, 50, 90])
}

fn a_log_that_was_cut_short_stops_every_run(place: &Place) -> Result<()> {
    several(place)?;
    for part in [3, 2] {
        damaged(place, "state/log/tail", |path, bytes| Ok(fs::write(path, &bytes[..bytes.len() / part])?))?;
    }
    damaged(place, "state/log/tail", |path, _| Ok(fs::write(path, "")?))
}

fn a_key_that_was_cut_short_stops_every_run(place: &Place) -> Result<()> {
    several(place)?;
    damaged(place, "state/keys/ledger.key", |path, bytes| Ok(fs::write(path, &bytes[..10])?))?;
    damaged(place, "state/keys/ledger.key", |path, _| Ok(fs::write(path, "")?))
}

fn a_key_of_another_log_stops_every_run(place: &Place) -> Result<()> {
    flipped(place, "state/keys/ledger.key", &[50])
}

fn missing(place: &Place, file: &str) -> Result<()> {
    several(place)?;
    let kept = Kept::of(place)?;
    let (path, aside) = (place.state().join(file), place.path("aside"));
    fs::rename(&path, &aside)?;
    let before = contents(&place.state())?;
    let ended = run(place)?;
    refused(&ended, 74, &[], "")?;
    ensure!(contents(&place.state())? == before, "something in the state directory was changed");
    fs::rename(&aside, &path)?;
    kept.check(place)
}

fn a_missing_log_stops_every_run(place: &Place) -> Result<()> {
    missing(place, "log/tail")
}

fn a_missing_key_stops_every_run(place: &Place) -> Result<()> {
    missing(place, "keys/ledger.key")
}

fn replaced(place: &Place, file: &str) -> Result<()> {
    several(place)?;
    damaged(place, file, |path, _| {
        fs::remove_file(path)?;
        Ok(fs::create_dir(path)?)
    })?;
    damaged(place, file, |path, bytes| {
        fs::remove_file(path)?;
        let aside = place.file("elsewhere", bytes)?;
        Ok(std::os::unix::fs::symlink(aside, path)?)
    })
}

fn something_else_in_place_of_the_log_stops_every_run(place: &Place) -> Result<()> {
    replaced(place, "state/log/tail")
}

fn something_else_in_place_of_the_lock_stops_every_run(place: &Place) -> Result<()> {
    replaced(place, "state/lock/ledger")
}

fn something_else_in_place_of_the_key_stops_every_run(place: &Place) -> Result<()> {
    replaced(place, "state/keys/ledger.key")
}

fn a_damaged_cache_costs_only_time(place: &Place) -> Result<()> {
    several(place)?;
    let kept = Kept::of(place)?;
    let policy = place.policy("[compute]\npids = 33")?;
    let run = || {
        let mut command = place.run()?;
        finish(command.arg("--policy").arg(&policy).args(["--", "sh", "-c", "exit 5"]))
    };
    assert_eq!(run()?.code(), 5);
    for change in 0..5 {
        for entry in fs::read_dir(place.path("state/cache"))? {
            let path = entry?.path();
            let mut bytes = fs::read(&path)?;
            match change {
                0 => bytes.iter_mut().for_each(|byte| *byte ^= 0xff),
                1 => bytes.truncate(bytes.len() / 2),
                2 => bytes.clear(),
                3 => bytes.extend([0; 1000]),
                _ => {
                    let at = bytes.len() - 5;
                    bytes[at] ^= 1;
                }
            }
            fs::write(&path, bytes)?;
        }
        let ended = run()?;
        assert_eq!(ended.code(), 5, "{change}: {}", ended.err());
    }
    fs::remove_dir_all(place.path("state/cache"))?;
    fs::write(place.path("state/cache"), "a file in its place")?;
    let ended = run()?;
    assert_eq!(ended.code(), 5, "{}", ended.err());
    let pids: Vec<_> =
        place.records_of("sandbox.start")?.iter().map(|r| r["limits"]["pids"].clone()).collect();
    ensure!(
        pids.iter().rev().take(7).all(|pids| *pids == 33),
        "a damaged cache has changed a limit: {pids:?}"
    );
    kept.check(place)
}

fn a_torn_end_of_the_log_is_no_damage(place: &Place) -> Result<()> {
    several(place)?;
    let kept = Kept::of(place)?;
    // What a crash leaves: the beginning of a frame that was being appended.
    let tail = place.path("state/log/tail");
    let mut bytes = fs::read(&tail)?;
    bytes.extend([0, 0, 0]);
    fs::write(&tail, bytes)?;
    let ended = run(place)?;
    assert_eq!((ended.code(), ended.out().as_str()), (0, "ran\n"), "{}", ended.err());
    fs::remove_file(place.path("target/ran"))?;
    kept.check(place)
}
