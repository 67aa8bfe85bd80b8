//! State directories.

use crate::case::{Kept, contents, refused};
use anyhow::{Result, ensure};
use behaviour::{Ended, Place, Who, finish};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;

behaviour::for_each_profile! {
    a_state_directory_that_others_may_change_is_refused
    a_state_directory_that_is_none_is_refused
    a_state_directory_that_cannot_be_made_is_refused
    a_state_directory_that_cannot_be_written_is_refused
    without_a_home_there_is_no_state_directory
}

fn with_state(place: &Place, state: &Path) -> Result<Ended> {
    let mut command = place.casemate()?;
    finish(command.arg("run").arg("--state").arg(state).args(["--", "true"]))
}

fn a_state_directory_that_others_may_change_is_refused(place: &Place) -> Result<()> {
    let kept = Kept::make(place)?;
    for mode in [0o777, 0o770, 0o702] {
        fs::set_permissions(place.state(), Permissions::from_mode(mode))?;
        refused(&with_state(place, &place.state())?, 73, &["can be changed by other users"], "chmod go-w")?;
    }
    fs::set_permissions(place.state(), Permissions::from_mode(0o700))?;
    if rustix::process::geteuid().is_root() {
        lchown(place.state(), Some(12345), None)?;
        refused(&with_state(place, &place.state())?, 73, &["belongs to another user"], "--state")?;
        place.own(&place.state())?;
    }
    kept.check(place)
}

fn a_state_directory_that_is_none_is_refused(place: &Place) -> Result<()> {
    let file = place.file("file", "no directory")?;
    refused(&with_state(place, &file)?, 73, &["is not a directory"], "--state")?;
    let link = place.path("link");
    symlink(place.state(), &link)?;
    refused(&with_state(place, &link)?, 73, &["is not a directory"], "--state")?;
    let dangling = place.path("dangling");
    symlink(place.path("nowhere"), &dangling)?;
    refused(&with_state(place, &dangling)?, 73, &["is not a directory"], "--state")?;
    ensure!(fs::read(file)? == b"no directory");
    ensure!(!place.path("nowhere").exists());
    Ok(())
}

fn a_state_directory_that_cannot_be_made_is_refused(place: &Place) -> Result<()> {
    let file = place.file("file", "no directory")?;
    refused(&with_state(place, &file.join("state"))?, 73, &["Not a directory"], "--state")?;
    refused(&with_state(place, Path::new("/proc/state"))?, 73, &["No such file"], "--state")?;
    refused(&with_state(place, &place.path(&"x".repeat(300)))?, 73, &["File name too long"], "--state")?;
    let ended = with_state(place, Path::new(""))?;
    ensure!([64, 73].contains(&ended.code()), "{}: {}", ended.code(), ended.err());
    // One that is not there is made, closed to others whatever the umask.
    let deep = place.path("a/b/c");
    let mut command = place.program("sh");
    command
        .args(["-c", "umask 0; exec \"$@\"", "sh"])
        .arg(Place::binary()?)
        .arg("run")
        .arg("--state")
        .arg(&deep);
    let ended = finish(command.args(["--", "true"]))?;
    assert_eq!(ended.code(), 0, "{}", ended.err());
    for part in ["a", "a/b", "a/b/c", "a/b/c/log", "a/b/c/keys"] {
        let mode = fs::metadata(place.path(part))?.permissions().mode();
        ensure!(mode & 0o077 == 0, "{part} has the mode {mode:o}");
    }
    Ok(())
}

fn a_state_directory_that_cannot_be_written_is_refused(place: &Place) -> Result<()> {
    let kept = Kept::make(place)?;
    let before = contents(&place.state())?;
    if place.who() == Who::User {
        for part in ["state/log", "state"] {
            fs::set_permissions(place.path("state/log/tail"), Permissions::from_mode(0o400))?;
            fs::set_permissions(place.path(part), Permissions::from_mode(0o500))?;
        }
        refused(&with_state(place, &place.state())?, 74, &["Permission denied"], "--state")?;
        for (part, mode) in [("state", 0o700), ("state/log", 0o700), ("state/log/tail", 0o600)] {
            fs::set_permissions(place.path(part), Permissions::from_mode(mode))?;
        }
    } else {
        // Root writes whatever the mode; a mount that is read-only stops it.
        let script = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && shift && exec \"$@\"";
        let mut command = place.program("unshare");
        command.args(["-m", "sh", "-c", script, "sh"]).arg(place.state()).arg(Place::binary()?);
        let ended = finish(command.arg("run").arg("--state").arg(place.state()).args(["--", "true"]))?;
        refused(&ended, 74, &["Read-only file system"], "--state")?;
    }
    ensure!(contents(&place.state())? == before, "the state directory has changed");
    kept.check(place)
}

fn without_a_home_there_is_no_state_directory(place: &Place) -> Result<()> {
    if place.who() == Who::Root {
        // Root has a place of its own, which is not ours to write to here.
        return Ok(());
    }
    let run = |set: &[(&str, &str)]| {
        let mut command = place.casemate()?;
        finish(command.envs(set.iter().copied()).args(["run", "--", "true"]))
    };
    refused(&run(&[])?, 73, &["HOME"], "--state")?;
    refused(&run(&[("HOME", "relative"), ("XDG_STATE_HOME", "too")])?, 73, &["HOME"], "--state")?;
    refused(&run(&[("HOME", "")])?, 73, &["HOME"], "--state")?;
    refused(&run(&[("HOME", "/nonexistent")])?, 73, &["/nonexistent", "Permission denied"], "--state")?;
    let home = place.directory("home")?;
    let ended = run(&[("HOME", &home.to_string_lossy())])?;
    assert_eq!(ended.code(), 0, "{}", ended.err());
    ensure!(home.join(".local/state/casemate/log/tail").exists());
    Ok(())
}
