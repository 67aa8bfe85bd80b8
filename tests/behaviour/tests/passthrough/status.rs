//! How a run ends.

use anyhow::{Result, ensure};
use behaviour::{Place, finish};

behaviour::for_each_profile! {
    a_status_of_the_command_is_the_status_of_the_run
    a_signal_that_ends_the_command_shows_as_128_and_its_number
    what_is_not_there_and_what_cannot_be_executed_differ
    the_report_is_one_line_of_json_behind_what_the_command_said
    without_json_nothing_is_added_to_what_the_command_said
    a_shell_runs_the_same_with_and_without_casemate
}

fn a_status_of_the_command_is_the_status_of_the_run(place: &Place) -> Result<()> {
    for status in [0, 1, 2, 42, 64, 124, 127, 128, 255] {
        let ended = place.shell(&[], &format!("exit {status}"))?;
        assert_eq!(ended.code(), status, "{}", ended.err());
        let report = ended.report()?;
        assert_eq!((&report["exit"], &report["reason"]), (&status.into(), &"finished".into()));
    }
    Ok(())
}

fn a_signal_that_ends_the_command_shows_as_128_and_its_number(place: &Place) -> Result<()> {
    for (name, number) in [
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ABRT", 6),
        ("KILL", 9),
        ("USR1", 10),
        ("SEGV", 11),
        ("PIPE", 13),
        ("TERM", 15),
    ] {
        let ended = place.shell(&[], &format!("kill -{name} $$; sleep 60"))?;
        assert_eq!(ended.code(), 128 + number, "{name}: {}", ended.err());
        assert_eq!(ended.report()?["reason"], "finished", "{name}");
    }
    let ends = place.records_of("exec.end")?;
    let statuses: Vec<_> = ends.iter().filter_map(|record| record["status"].as_i64()).collect();
    assert_eq!(statuses, [129, 130, 131, 134, 137, 138, 139, 141, 143]);
    Ok(())
}

fn what_is_not_there_and_what_cannot_be_executed_differ(place: &Place) -> Result<()> {
    for (command, status, cause) in [
        ("no-such-program", 127, "No such file or directory"),
        ("/usr/bin/no-such-program", 127, "No such file or directory"),
        ("./no-such-program", 127, "No such file or directory"),
        ("/etc/passwd", 126, "Permission denied"),
        ("/usr", 126, "Permission denied"),
    ] {
        let ended = finish(place.run()?.args(["--", command]))?;
        assert_eq!(ended.code(), status, "{command}: {}", ended.err());
        let report = ended.report()?;
        assert_eq!(report["exit"], status, "{command}");
        ensure!(report["error"].to_string().contains(command), "{report}");
        ensure!(report["causes"].to_string().contains(cause), "{report}");
        ensure!(ended.stdout.is_empty());
    }
    Ok(())
}

fn the_report_is_one_line_of_json_behind_what_the_command_said(place: &Place) -> Result<()> {
    let ended = place.shell(&[], "echo to output; echo to error >&2; exit 7")?;
    assert_eq!(ended.out(), "to output\n");
    let text = ended.err();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(lines[0], "to error");
    let report = ended.report()?;
    let keys: Vec<&str> = report.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    let mut wanted = [
        "sandbox",
        "exit",
        "reason",
        "walls",
        "landlock",
        "limits_hit",
        "usage",
        "denials",
        "denied",
        "left_behind",
    ];
    wanted.sort_unstable();
    let mut keys = keys;
    keys.sort_unstable();
    assert_eq!(keys, wanted);
    assert_eq!((&report["exit"], &report["reason"]), (&7.into(), &"finished".into()));
    ensure!(report["sandbox"].as_str().is_some_and(|id| id.len() == 21 && id.starts_with('i')), "{report}");
    ensure!(report["walls"].to_string().contains("\"seccomp\""), "{report}");
    ensure!(report["usage"]["wall_ms"].as_u64().is_some(), "{report}");
    let starts = place.records_of("sandbox.start")?;
    assert_eq!(starts.len(), 1);
    assert_eq!(starts[0]["sandbox"], report["sandbox"]);
    Ok(())
}

fn without_json_nothing_is_added_to_what_the_command_said(place: &Place) -> Result<()> {
    let mut command = place.casemate()?;
    command.arg("run").arg("--state").arg(place.state());
    let ended = finish(command.args(["--", "/bin/sh", "-c", "echo out; echo err >&2; exit 3"]))?;
    assert_eq!((ended.code(), ended.out().as_str(), ended.err().as_str()), (3, "out\n", "err\n"));
    Ok(())
}

fn a_shell_runs_the_same_with_and_without_casemate(place: &Place) -> Result<()> {
    for script in [
        "printf 'a\\0b\\377c'; exit 9",
        "echo one; echo two >&2; false",
        "kill -TERM $$",
        "exec 1>&-; echo into nothing",
        "cat; echo $?",
        "sh -c 'kill -SEGV $$'; echo $?",
        "ulimit -c 0; trap 'exit 33' USR1; kill -USR1 $$; sleep 60",
    ] {
        let inside = place.shell(&[], script)?;
        let outside = finish(place.program("/bin/sh").args(["-c", script]))?;
        let status = match outside.code() {
            signal @ ..0 => 128 - signal,
            status => status,
        };
        let mut said = inside.stderr.clone();
        let report = said.iter().rposition(|byte| *byte == b'{').unwrap_or(0);
        // The report has objects of its own; it begins with the sandbox.
        let report = inside.err().find("{\"sandbox\"").unwrap_or(report);
        said.truncate(report);
        assert_eq!(
            (inside.code(), inside.stdout, String::from_utf8_lossy(&said).into_owned()),
            (status, outside.stdout.clone(), outside.err()),
            "{script}"
        );
    }
    Ok(())
}
