//! Command lines.

use crate::case::{self, Case, Kept, invalid};
use anyhow::{Result, ensure};
use behaviour::{Place, Who, finish};
use std::os::unix::ffi::OsStringExt;

behaviour::for_each_profile! {
    a_malformed_command_line_is_refused
    a_command_that_cannot_run_is_refused
    what_the_policy_denies_is_denied
    words_that_are_no_text_pass_through
    a_megabyte_of_arguments_works
    more_arguments_than_fit_are_a_clear_error
}

fn a_malformed_command_line_is_refused(place: &Place) -> Result<()> {
    let target = place.path("target");
    let target = target.to_string_lossy();
    let read = |at: &str| format!("{target}:{at}");
    let usage = |name, words: &[&str], says: &[&str]| {
        let mut all = words.to_vec();
        all.extend(["--", "true"]);
        Case::new(name, &all, 64, says, "")
    };
    let mut cases = vec![
        Case::new("no command", &[], 64, &["CMD"], ""),
        Case::new("no command behind the dashes", &["--"], 64, &["CMD"], ""),
        usage("an unknown option", &["--privileged"], &["--privileged"]),
        usage("an option without its value", &["--policy"], &["--policy"]),
        usage("an option twice", &["--cwd", "/", "--cwd", "/tmp"], &["--cwd"]),
        usage("a flag with a value", &["--root=no"], &["--root"]),
        usage("a variable without a value", &["--env", "NAME"], &["NAME", "NAME=VALUE"]),
        usage("a variable without a name", &["--env", "=value"], &["=value", "NAME=VALUE"]),
        usage("a zone without a place", &["--read", &target], &["DIR:AT"]),
        usage("a zone without a directory", &["--read", ":/input"], &["DIR:AT"]),
        usage("no zone", &["--write", ""], &["DIR:AT"]),
        usage("a place that is empty", &["--read", &read("")], &["--read"]),
        usage("a relative place", &["--read", &read("input")], &["--read", "input"]),
        usage("a place that climbs", &["--read", &read("/input/../etc")], &["--read"]),
        usage("a place that climbs at its end", &["--write", &read("/output/..")], &["--write"]),
        usage("a place with a dot", &["--read", &read("/./input")], &["--read"]),
        usage("a place with an empty name", &["--read", &read("//input")], &["--read"]),
        usage("a place with a slash at its end", &["--read", &read("/input/")], &["--read"]),
        usage("the root directory", &["--read", &read("/")], &["--read"]),
        usage("a place in the system", &["--write", &read("/usr/local")], &["/usr"]),
        usage("a place in /proc", &["--read", &read("/proc/self")], &["/proc"]),
        usage("the home itself", &["--write", &read("/home/user")], &["/home/user"]),
        usage("another's home", &["--read", &read("/home/other")], &["/home"]),
        usage("a hidden place", &["--read", &read("/.hidden")], &["/.hidden"]),
        usage("a place with an escape", &["--read", &read("/a\x1b[2J")], &["\\x1b"]),
        usage("a place of 5000 letters", &["--read", &read(&format!("/{}", "x".repeat(5000)))], &["--read"]),
        usage("two zones at one place", &["--read", &read("/a"), "--write", &read("/a")], &["/a"]),
        usage("a zone in another", &["--read", &read("/a"), "--write", &read("/a/b")], &["/a"]),
    ];
    for option in ["--read", "--write"] {
        let mut case = usage("a zone that is no text", &[option, ""], &["not UTF-8", "\\xff"]);
        case.words[1] = invalid(&target, ":/input");
        cases.push(case);
        let mut case = usage("a place that is no text", &[option, ""], &["not UTF-8", "\\xff"]);
        case.words[1] = invalid(&read("/in"), "put");
        cases.push(case);
    }
    case::all(place, cases)
}

fn a_command_that_cannot_run_is_refused(place: &Place) -> Result<()> {
    let bare = |name, words: &[&str], status, says: &[&str], help| Case::new(name, words, status, says, help);
    let cases = vec![
        bare("no such command", &["--", "no-such"], 127, &["no-such", "No such file"], "/usr"),
        bare("no such path", &["--", "/opt/no-such"], 127, &["/opt/no-such", "No such file"], "/usr"),
        bare(
            "not executable",
            &["--", "/etc/passwd"],
            126,
            &["/etc/passwd", "Permission denied"],
            "executable",
        ),
        bare("a directory", &["--", "/usr/bin"], 126, &["/usr/bin", "Permission denied"], "executable"),
        bare(
            "a file beneath a file",
            &["--", "/etc/passwd/x"],
            126,
            &["/etc/passwd/x", "Not a directory"],
            "",
        ),
        bare("a command with an escape", &["--", "no\x1b[2J"], 127, &["no\\x1b[2J"], ""),
        bare("a name of 5000 letters", &["--", &"x".repeat(5000)], 127, &["No such file"], "/usr"),
        bare(
            "a path of 5000 letters",
            &["--", &format!("/{}", "x".repeat(5000))],
            126,
            &["File name too long"],
            "",
        ),
        bare(
            "a file as directory",
            &["--cwd", "/etc/passwd", "--", "true"],
            64,
            &["Not a directory"],
            "--cwd",
        ),
    ];
    case::all(place, cases)?;
    // No status is promised for it; that it is about the directory and not about the command is.
    let kept = Kept::of(place)?;
    let ended = finish(place.run()?.args(["--cwd", "/no/such", "--", "true"]))?;
    let report = ended.report()?;
    ensure!(report["help"].to_string().contains("--cwd"), "{report}");
    ensure!(report.to_string().contains("/no/such"), "the error does not name the directory: {report}");
    ensure!(ended.code() != 127, "127 says that there is no such command; the directory is missing");
    kept.check(place)
}

fn what_the_policy_denies_is_denied(place: &Place) -> Result<()> {
    let cases = vec![
        Case::new("root", &["--root", "--", "true"], 77, &["root"], "root = true"),
        Case::new("an empty command", &["--", ""], 77, &["denied by the rule `request`"], "name a program"),
        Case::new(
            "a relative directory",
            &["--cwd", "tmp", "--", "true"],
            77,
            &["denied by the rule `request`"],
            "absolute",
        ),
        Case::new(
            "no directory",
            &["--cwd", "", "--", "true"],
            77,
            &["denied by the rule `request`"],
            "absolute",
        ),
    ];
    case::all(place, cases)?;
    let denials = place.records_of("denial")?;
    assert_eq!(denials.len(), 8, "each in both forms: {denials:?}");
    ensure!(denials.iter().all(|denial| denial["decision"]["verdict"] == "deny"));
    // Root inside takes ids that an ordinary user without set-up has not.
    let policy = place.policy("root = true")?;
    let ended =
        finish(place.run()?.arg("--policy").arg(policy).args(["--root", "--", "sh", "-c", "exit $(id -u)"]))?;
    match place.who() {
        Who::Root => assert_eq!(ended.code(), 0, "{}", ended.err()),
        Who::User => {
            assert_eq!(ended.code(), 69, "{}", ended.err());
            ensure!(ended.err().contains("own-uid"), "{}", ended.err());
        }
    }
    Ok(())
}

fn words_that_are_no_text_pass_through(place: &Place) -> Result<()> {
    let program = "
import os, sys
os.write(1, os.fsencode(sys.argv[1]) + b'|' + os.environb[b'BYTES'])
";
    let mut command = place.run()?;
    command.arg("--env").arg(invalid("BYTES=a", "b")).args(["--", "python3", "-c", program]);
    let ended = finish(command.arg(invalid("c", "d")))?;
    assert_eq!((ended.code(), ended.stdout.as_slice()), (0, &b"c\xffd|a\xffb"[..]), "{}", ended.err());
    // In the record they are readable and harmless.
    let starts = place.records_of("exec.start")?;
    ensure!(starts[0]["argv"].to_string().contains("c\\\\xffd"), "{}", starts[0]);
    // The program may be no text too.
    let zone = place.directory("zone")?;
    let script = zone.join(std::ffi::OsString::from_vec(b"run\xff".to_vec()));
    std::fs::write(&script, "#!/bin/sh\nexit 31\n")?;
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    place.own(&script)?;
    let mut command = place.run()?;
    command.arg("--read").arg(format!("{}:/input", zone.display())).arg("--").arg(invalid("/input/run", ""));
    let ended = finish(&mut command)?;
    assert_eq!(ended.code(), 31, "{}", ended.err());
    Ok(())
}

/// So many arguments of 1000 letters.
fn arguments(number: usize) -> Vec<String> {
    (0..number).map(|n| format!("{n:01000}")).collect()
}

fn a_megabyte_of_arguments_works(place: &Place) -> Result<()> {
    let kept = Kept::make(place)?;
    let mut command = place.run()?;
    command.args(["--", "sh", "-c", "echo $#; shift $(($# - 1)); echo $1", "sh"]).args(arguments(1048));
    let ended = finish(&mut command)?;
    let said = ended.out();
    let mut lines = said.lines();
    assert_eq!(ended.code(), 0, "{}", ended.err());
    assert_eq!((lines.next(), lines.next()), (Some("1048"), Some(format!("{:01000}", 1047).as_str())));
    // One of 100 KiB, with what the shell makes of it.
    let long = "y".repeat(100 << 10);
    let ended = finish(place.run()?.args(["--", "sh", "-c", "echo ${#1}", "sh", &long]))?;
    assert_eq!((ended.code(), ended.out().as_str()), (0, "102400\n"), "{}", ended.err());
    kept.check(place)
}

/// The kernel takes 6 MiB at most, where the stack may be that large; Casemate is given 5.
fn more_arguments_than_fit_are_a_clear_error(place: &Place) -> Result<()> {
    let kept = Kept::make(place)?;
    // The shell's own start must fit too: it makes the rest itself.
    let script = "ulimit -s unlimited; w=$(printf %0120000d 0); set -- \"$@\" $w $w $w $w $w $w $w $w $w $w $w $w $w $w \
                  $w $w $w $w $w $w $w $w $w $w $w $w $w $w $w $w $w $w $w $w $w $w $w $w $w $w $w $w $w $w; exec \"$@\"";
    let mut command = place.program("sh");
    command.args(["-c", script, "sh"]).arg(Place::binary()?);
    command.arg("run").arg("--state").arg(place.state()).args(["--", "true"]);
    let ended = finish(&mut command)?;
    // Too long for the policy, for the message to the agent or for the kernel inside; in any case it says so.
    ensure!(
        [64, 77, 126].contains(&ended.code()),
        "{}: {}",
        ended.code(),
        &ended.err()[..ended.err().len().min(500)]
    );
    let said = ended.err();
    ensure!(said.len() < 4096, "it says {} bytes", said.len());
    ensure!(!said.contains("panicked"), "{said}");
    ensure!(
        ["too long", "too large", "too many", "the most is"].iter().any(|text| said.contains(text)),
        "{said}"
    );
    kept.check(place)
}
