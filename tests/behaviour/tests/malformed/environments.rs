//! Environments: descriptors, file systems and kernels that lack something.

use crate::case::{Kept, refused};
use anyhow::{Context, Result, ensure};
use behaviour::{Ended, Place, Who, find, finish};
use std::process::Command;

behaviour::for_each_profile! {
    closed_descriptors_are_refused
    open_descriptors_beyond_the_first_three_do_no_harm
    odd_standard_descriptors_do_no_harm
    a_full_disk_stops_every_run_and_loses_nothing
    without_user_namespaces_nothing_runs
    without_proc_nothing_runs
    a_working_directory_that_is_gone_does_no_harm
    an_empty_environment_does_no_harm
    an_odd_umask_does_no_harm
    ignored_signals_do_no_harm
    a_command_is_as_nice_as_its_caller
    few_descriptors_are_a_clear_error
    a_small_address_space_is_a_clear_error
}

/// Runs `casemate run --state S WORDS` at the end of a shell script, as `"$@"`.
fn by_script(place: &Place, script: &str, words: &[&str]) -> Result<Command> {
    let mut command = place.program("sh");
    command.args(["-c", script, "sh"]).arg(Place::binary()?);
    command.arg("run").arg("--state").arg(place.state()).args(words);
    Ok(command)
}

fn scripted(place: &Place, script: &str, words: &[&str]) -> Result<Ended> {
    finish(&mut by_script(place, script, words)?)
}

fn closed_descriptors_are_refused(place: &Place) -> Result<()> {
    let kept = Kept::make(place)?;
    for (close, name) in
        [("<&-", "standard input"), (">&-", "standard output"), ("<&- >&-", "standard input")]
    {
        let ended = scripted(place, &format!("exec \"$@\" {close}"), &["--", "true"])?;
        refused(&ended, 71, &[name, "closed"], "/dev/null").with_context(|| close.to_owned())?;
    }
    // Nobody can be told; the status is all there is.
    for close in ["2>&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"] {
        for words in [&["--", "true"][..], &["--json", "--", "true"]] {
            let ended = scripted(place, &format!("exec \"$@\" {close}"), words)?;
            assert_eq!((ended.code(), ended.err().as_str(), ended.out().as_str()), (71, "", ""), "{close}");
        }
    }
    kept.check(place)
}

fn open_descriptors_beyond_the_first_three_do_no_harm(place: &Place) -> Result<()> {
    let kept = Kept::make(place)?;
    let script = "exec 3</etc/passwd 4<&0 5>/dev/null 6</ 7<&3 8<&3 9<&3; exec \"$@\"";
    let ended = scripted(place, script, &["--", "sh", "-c", "ls /proc/self/fd | wc -l; exit 3"])?;
    // 0, 1, 2 and the directory that is listed.
    assert_eq!((ended.code(), ended.out().trim()), (3, "4"), "{}", ended.err());
    kept.check(place)
}

fn odd_standard_descriptors_do_no_harm(place: &Place) -> Result<()> {
    let kept = Kept::make(place)?;
    place.file("log", "before\n")?;
    for (redirect, words, status) in [
        ("</dev/null >/dev/null 2>/dev/null", &["--", "sh", "-c", "cat; echo x; echo y >&2; exit 4"][..], 4),
        (">/dev/full", &["--", "sh", "-c", "head -c 3000000 /dev/zero; exit 5"], -1),
        ("</dev/zero", &["--", "head", "-c", "1000000"], 0),
        ("</", &["--", "sh", "-c", "exit 6"], 6),
        ("0>log", &["--", "sh", "-c", "exit 7"], 7),
        ("1<log", &["--", "sh", "-c", "echo lost; exit 8"], -1),
    ] {
        let ended = scripted(place, &format!("exec \"$@\" {redirect}"), words)?;
        let said = ended.err();
        ensure!(!said.contains("panicked"), "{redirect}: {said}");
        // What a command makes of an output that refuses it is its own affair; that it ends is ours.
        if status >= 0 {
            ensure!(ended.code() == status, "{redirect}: {}: {said}", ended.code());
        }
    }
    kept.check(place)
}

/// A program as the place's user, at the end of a script that needs root.
fn privileged(place: &Place, script: &str, words: &[&str]) -> Result<Option<Ended>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let uid = place.uid().to_string();
    let mut command = behaviour::program("unshare");
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.args(["-m", "sh", "-c", script, "sh"]).arg(place.state()).arg(&uid);
    let setpriv = find("setpriv").context("no setpriv")?;
    command.arg(setpriv).args(["--reuid", &uid, "--regid", &uid, "--clear-groups"]).arg(Place::binary()?);
    command.arg("run").arg("--state").arg(place.state()).args(words);
    finish(&mut command).map(Some)
}

fn a_full_disk_stops_every_run_and_loses_nothing(place: &Place) -> Result<()> {
    // One run that works, then a disk without room, then room again.
    let script = "
state=$1; uid=$2; shift 2
mount -t tmpfs -o size=128k,mode=700,uid=$uid,gid=$uid none \"$state\" || exit 99
\"$@\" -- echo first || exit 98
cat /dev/zero >\"$state/filler\" 2>/dev/null
\"$@\" -- echo never; echo full=$?
\"$@\" -- echo never; echo full=$?
rm \"$state/filler\"
\"$@\" -- echo again; echo after=$?
";
    let Some(ended) = privileged(place, script, &[])? else { return Ok(()) };
    assert_eq!(ended.out(), "first\nfull=74\nfull=74\nagain\nafter=0\n", "{}", ended.err());
    ensure!(ended.err().contains("No space left"), "{}", ended.err());
    ensure!(ended.err().contains("help: make room"), "{}", ended.err());
    ensure!(!ended.err().contains("panicked"), "{}", ended.err());
    Ok(())
}

fn without_user_namespaces_nothing_runs(place: &Place) -> Result<()> {
    if place.who() == Who::Root {
        // Root makes its ids without asking; here, in a namespace that allows no other.
        let kept = Kept::make(place)?;
        let script = "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$@\"";
        let mut command = place.program("unshare");
        command.args(["-U", "-r", "-m", "sh", "-c", script, "sh"]).arg(Place::binary()?);
        let ended = finish(command.arg("run").arg("--state").arg(place.state()).args(["--", "true"]))?;
        refused(&ended, 69, &["user namespace"], "user.max_user_namespaces").or_else(|_| {
            // Ids of its own may fail first: the namespace has only one.
            refused(&ended, 69, &["could not build the sandbox"], "casemate doctor")
        })?;
        return kept.check(place);
    }
    let kept = Kept::make(place)?;
    // The second namespace is the only one that the first allows; in it the caller is an ordinary user.
    let inner = "exec unshare -U --map-user=1000 --map-group=1000 \"$@\"";
    let script = format!("echo 1 >/proc/sys/user/max_user_namespaces && {inner}");
    let mut command = place.program("unshare");
    command.args(["-U", "-r", "sh", "-c", &script, "sh"]).arg(Place::binary()?);
    let ended = finish(command.arg("run").arg("--state").arg(place.state()).args(["--", "true"]))?;
    refused(&ended, 69, &["could not build the sandbox", "No space left"], "user.max_user_namespaces")?;
    kept.check(place)
}

fn without_proc_nothing_runs(place: &Place) -> Result<()> {
    let kept = Kept::make(place)?;
    let script = "shift 2; mount -t tmpfs none /proc && exec \"$@\"";
    let Some(ended) = privileged(place, script, &["--", "true"])? else { return Ok(()) };
    refused(&ended, 69, &["could not build the sandbox", "/proc"], "mount /proc")?;
    kept.check(place)
}

fn a_working_directory_that_is_gone_does_no_harm(place: &Place) -> Result<()> {
    let kept = Kept::make(place)?;
    place.directory("gone")?;
    let script = "cd gone && rmdir ../gone && exec \"$@\"";
    let ended = scripted(place, script, &["--", "sh", "-c", "pwd; exit 9"])?;
    assert_eq!((ended.code(), ended.out().as_str()), (9, "/home/user\n"), "{}", ended.err());
    place.directory("gone")?;
    let ended = scripted(place, script, &["--read", "relative:/input", "--", "true"])?;
    refused(&ended, 64, &["relative:/input", "No such file"], "")?;
    kept.check(place)
}

fn an_empty_environment_does_no_harm(place: &Place) -> Result<()> {
    let kept = Kept::make(place)?;
    let mut command = by_script(place, "exec env -i \"$@\"", &["--", "sh", "-c", "exit 10"])?;
    command.env_clear().env("PATH", "/usr/bin:/bin");
    assert_eq!(finish(&mut command)?.code(), 10);
    // Nor does one full of the caller's things, none of which arrives.
    let words = ["--", "sh", "-c", "env | grep -c canary; echo $HOME"];
    let mut command = by_script(place, "exec \"$@\"", &words)?;
    for n in 0..50 {
        command.env(format!("CANARY_{n}"), "canary");
    }
    command.env("HOME", "/canary").env("LD_PRELOAD", "/canary.so").env("RUST_BACKTRACE", "full");
    let ended = finish(&mut command)?;
    assert_eq!((ended.code(), ended.out().as_str()), (0, "0\n/home/user\n"), "{}", ended.err());
    kept.check(place)
}

fn an_odd_umask_does_no_harm(place: &Place) -> Result<()> {
    let kept = Kept::make(place)?;
    for umask in ["0000", "0077", "0777"] {
        let words = [
            "--",
            "sh",
            "-c",
            "cat /etc/hostname && touch /tmp/x && mkdir $HOME/d && ls / >/dev/null; exit $?",
        ];
        let ended = scripted(place, &format!("umask {umask}; exec \"$@\""), &words)?;
        assert_eq!((ended.code(), ended.out().as_str()), (0, "casemate\n"), "{umask}: {}", ended.err());
    }
    kept.check(place)
}

fn ignored_signals_do_no_harm(place: &Place) -> Result<()> {
    let kept = Kept::make(place)?;
    // A caller that ignores SIGCHLD or SIGPIPE, or has the stopping signals ignored (nohup).
    let ended = scripted(
        place,
        "trap '' PIPE CHLD HUP INT TERM; exec \"$@\"",
        &["--", "sh", "-c", "(exit 3); echo $?; exit 11"],
    )?;
    assert_eq!((ended.code(), ended.out().as_str()), (11, "3\n"), "{}", ended.err());
    kept.check(place)
}

fn a_command_is_as_nice_as_its_caller(place: &Place) -> Result<()> {
    // A start may take more of the processors than that; what runs inside does not.
    for nice in ["0", "7"] {
        let ended = scripted(place, &format!("exec nice -n {nice} \"$@\""), &["--", "nice"])?;
        ensure!(ended.code() == 0 && ended.out().trim() == nice, "{nice}: {} {}", ended.out(), ended.err());
    }
    Ok(())
}

fn few_descriptors_are_a_clear_error(place: &Place) -> Result<()> {
    let kept = Kept::make(place)?;
    let mut worked = 0;
    for limit in [4, 8, 12, 16, 20, 24, 32, 48, 64] {
        let ended =
            scripted(place, &format!("ulimit -n {limit}; exec \"$@\""), &["--", "sh", "-c", "exit 12"])?;
        let said = ended.err();
        ensure!(!said.contains("panicked"), "{limit}: {said}");
        if ended.code() == 12 {
            worked += 1;
        } else {
            refused(&ended, ended.code(), &["Too many open files"], "").with_context(|| limit.to_string())?;
            ensure!([69, 70, 71, 73, 74].contains(&ended.code()), "{limit}: {}: {said}", ended.code());
        }
        kept.check(place).with_context(|| limit.to_string())?;
    }
    ensure!(worked > 0, "it needs more than 64 descriptors");
    Ok(())
}

fn a_small_address_space_is_a_clear_error(place: &Place) -> Result<()> {
    let kept = Kept::make(place)?;
    // With less than its own file the kernel ends it before it can say a word.
    let own = std::fs::metadata(Place::binary()?)?.len() / 1024;
    for kib in [1_500, 5_000, 10_000, 30_000].map(|more| own + more) {
        let ended =
            scripted(place, &format!("ulimit -v {kib}; exec \"$@\""), &["--", "sh", "-c", "exit 13"])?;
        let said = ended.err();
        ensure!(!said.contains("panicked"), "{kib}: {said}");
        ensure!(ended.code() == 13 || !said.is_empty(), "{kib}: {} without a word", ended.code());
        kept.check(place).with_context(|| kib.to_string())?;
    }
    Ok(())
}
