use crate::harness::{Inside, command, read_all};
use agent::{Deadline, End, Error, Exec, Reply, Stage, Stdio, Terminal, Whom};
use rustix::fd::AsFd;
use rustix::io::Errno;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;

fn not_started(stage: Stage, errno: Errno) -> Reply {
    Reply::NotStarted { id: 1, errno: errno.raw_os_error(), stage }
}

#[test]
fn output_goes_to_the_passed_descriptor_and_the_status_comes_back() {
    let mut inside = Inside::start();
    let (output, end) = inside.run(command(&["/bin/echo", "-n", "hello"]));
    assert_eq!((output.as_str(), end), ("hello", End::Exited(0)));
    let (_, end) = inside.run(command(&["/bin/sh", "-c", "exit 37"]));
    assert_eq!(end, End::Exited(37));
}

#[test]
fn a_command_reads_its_input_to_the_end() {
    let mut inside = Inside::start();
    let (stdin, mut input) = std::io::pipe().unwrap();
    let (output, stdout) = std::io::pipe().unwrap();
    let exec = Exec { stdio: [Stdio::Passed(0), Stdio::Passed(1), Stdio::Null], ..command(&["/bin/cat"]) };
    inside.exec(exec, &[stdin.as_fd(), stdout.as_fd()]).unwrap();
    drop((stdin, stdout));
    input.write_all(b"one\ntwo\n").unwrap();
    drop(input);
    inside.started(1);
    assert_eq!(read_all(output.into()), "one\ntwo\n");
    assert_eq!(inside.reply(), Reply::Ended { id: 1, end: End::Exited(0), deadline: false });
}

#[test]
fn the_agent_ends_with_its_only_command_and_tells_nothing_of_the_start() {
    let only = |argv| Exec { only: true, ..command(argv) };
    let ended = Reply::Ended { id: 1, end: End::Exited(3), deadline: false };
    let ends = [
        (only(&["/bin/sh", "-c", "exit 3"]), ended),
        (only(&["/no/such"]), not_started(Stage::Program, Errno::NOENT)),
    ];
    for (exec, reply) in ends {
        let mut inside = Inside::start();
        inside.exec(exec, &[]).unwrap();
        assert_eq!(inside.reply(), reply);
        assert_eq!(inside.next_error(), Error::Gone);
        assert_eq!(inside.end().code(), Some(0));
    }
}

#[test]
fn a_signal_reaches_every_process_of_the_command() {
    let mut inside = Inside::start();
    let (read, write) = std::io::pipe().unwrap();
    let exec = command(&["/bin/sh", "-c", "sleep 600 & echo; wait"]);
    inside
        .exec(Exec { stdio: [Stdio::Null, Stdio::Passed(0), Stdio::Null], ..exec }, &[write.as_fd()])
        .unwrap();
    drop(write);
    inside.started(1);
    rustix::io::read(&read, &mut [0; 1]).unwrap();
    inside.signal(1, 15).unwrap();
    assert_eq!(inside.reply(), Reply::Ended { id: 1, end: End::Signaled(15), deadline: false });
    assert_eq!(read_all(read.into()), "");
    inside.signal(1, 15).unwrap();
    assert_eq!(inside.shell("echo still here"), "still here\n");
}

#[test]
fn a_signal_sent_right_behind_a_command_is_not_lost() {
    let mut inside = Inside::start();
    for _ in 0..50 {
        inside.exec(command(&["/bin/sleep", "600"]), &[]).unwrap();
        inside.signal(1, 9).unwrap();
        inside.started(1);
        assert_eq!(inside.reply(), Reply::Ended { id: 1, end: End::Signaled(9), deadline: false });
    }
}

#[test]
fn a_deadline_ends_the_whole_command_and_is_told_apart() {
    let mut inside = Inside::start();
    let exec = command(&["/bin/sh", "-c", "trap '' TERM; sleep 600; true"]);
    let deadline = |after_ms| Some(Deadline { after_ms, whom: Whom::Group });
    inside.exec(Exec { deadline: deadline(50), ..exec }, &[]).unwrap();
    inside.started(1);
    assert_eq!(inside.reply(), Reply::Ended { id: 1, end: End::Signaled(9), deadline: true });
    inside.exec(Exec { deadline: deadline(u64::MAX), ..command(&["/bin/true"]) }, &[]).unwrap();
    inside.started(1);
    assert_eq!(inside.reply(), Reply::Ended { id: 1, end: End::Exited(0), deadline: false });
}

#[test]
fn a_signal_or_deadline_for_the_process_spares_its_children() {
    let mut inside = Inside::start();
    let script = Exec {
        stdio: [Stdio::Null, Stdio::Passed(0), Stdio::Null],
        ..command(&["/bin/sh", "-c", "sleep 600 & echo $!; wait; true"])
    };
    for kills in [true, false] {
        let (read, write) = std::io::pipe().unwrap();
        let deadline = (!kills).then_some(Deadline { after_ms: 200, whom: Whom::Process });
        inside.exec(Exec { deadline, ..script.clone() }, &[write.as_fd()]).unwrap();
        drop(write);
        let pid = inside.started(1);
        let mut line = [0; 16];
        let length = rustix::io::read(&read, &mut line).unwrap();
        if kills {
            inside.agent.signal(1, 9, Whom::Process).unwrap();
            inside.agent.flush().unwrap();
        }
        assert_eq!(inside.reply(), Reply::Ended { id: 1, end: End::Signaled(9), deadline: !kills });
        // It is reaped, and not only dead.
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
        // The child lives, and holds the pipe.
        let child = std::str::from_utf8(&line[..length]).unwrap().trim();
        inside.shell(&format!("kill {child}"));
        assert_eq!(read_all(read.into()), "");
    }
}

#[test]
fn the_start_of_a_command_tells_its_process_id() {
    let mut inside = Inside::start();
    let (read, write) = std::io::pipe().unwrap();
    let stdio = [Stdio::Null, Stdio::Passed(0), Stdio::Passed(0)];
    inside
        .exec(Exec { stdio, ..command(&["/bin/sh", "-c", "echo $$; echo $$ >&2"]) }, &[write.as_fd()])
        .unwrap();
    drop(write);
    let pid = inside.started(1);
    assert_eq!(read_all(read.into()), format!("{pid}\n{pid}\n"));
}

#[test]
fn what_cannot_be_started_says_where_it_stopped() {
    let mut inside = Inside::start();
    let cases = [
        (command(&["/no/such/program"]), Stage::Program, Errno::NOENT),
        (command(&["no-such-program"]), Stage::Program, Errno::NOENT),
        (command(&["/etc/passwd"]), Stage::Program, Errno::ACCESS),
        (command(&["/etc"]), Stage::Program, Errno::ACCESS),
        (command(&[""]), Stage::Program, Errno::NOENT),
        (command(&[]), Stage::Program, Errno::INVAL),
        (command(&["/bin/true", "a\0b"]), Stage::Program, Errno::INVAL),
        (command(&[&"x".repeat(5000)]), Stage::Program, Errno::NOENT),
        (command(&["/bin/true", &"x".repeat(200_000)]), Stage::Program, Errno::TOOBIG),
        (
            Exec { env: vec![(b"A=B".to_vec(), vec![])], ..command(&["/bin/true"]) },
            Stage::Program,
            Errno::INVAL,
        ),
        (Exec { cwd: b"/no/such".to_vec(), ..command(&["/bin/true"]) }, Stage::Cwd, Errno::NOENT),
        (Exec { cwd: b"tmp".to_vec(), ..command(&["/bin/true"]) }, Stage::Cwd, Errno::INVAL),
        (
            Exec { terminal: Some(Terminal::Sandbox), ..command(&["/bin/true"]) },
            Stage::Descriptors,
            Errno::NOTTY,
        ),
        (Exec { stdio: [Stdio::Terminal; 3], ..command(&["/bin/true"]) }, Stage::Descriptors, Errno::NOTTY),
    ];
    for (exec, stage, errno) in cases {
        assert_eq!(inside.first_reply(exec.clone()), not_started(stage, errno), "{:?}", exec.argv.first());
    }
    assert_eq!(inside.shell("echo still here"), "still here\n");
}

#[test]
fn a_program_is_found_as_execvp_finds_it() {
    let mut inside = Inside::start();
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("greet");
    // The agent writes it: a descriptor for writing that a concurrent test's fork inherited would make it busy.
    inside.write_file(&script, b"echo greeted \"$0\" \"$@\"\n");
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();

    let mut path = b"/etc/passwd:/no/such:".to_vec();
    path.extend(directory.path().as_os_str().as_bytes());
    let env = vec![(b"PATH".to_vec(), path)];
    let (output, end) = inside.run(Exec { env, ..command(&["greet", "a b", "c"]) });
    assert_eq!((output, end), (format!("greeted {} a b c\n", script.display()), End::Exited(0)));

    let (output, _) = inside.run(Exec { env: vec![], ..command(&["env"]) });
    assert_eq!(output, "");
    let env = vec![(b"PATH".to_vec(), b"/etc:/no/such".to_vec())];
    assert_eq!(
        inside.first_reply(Exec { env, ..command(&["passwd"]) }),
        not_started(Stage::Program, Errno::ACCESS)
    );
}

#[test]
fn a_command_begins_in_a_clean_state() {
    let mut inside = Inside::start();
    assert_eq!(inside.shell("umask; pwd"), "0022\n/\n");
    let (signals, _) = inside.run(command(&["awk", "/^Sig(Blk|Ign)/ {print $2}", "/proc/self/status"]));
    assert_eq!(signals, "0000000000000000\n0000000000000000\n");
    let fds = inside.shell("exec ls -l /proc/self/fd");
    let count = fds.lines().filter(|line| line.contains(" -> ")).count();
    assert_eq!(count, 4, "three and the one that ls opens: {fds}");
    let (leads, _) = inside.run(command(&["awk", "{print ($1 == $5 && $5 == $6)}", "/proc/self/stat"]));
    assert_eq!(leads, "1\n", "its own process group and session");
    let env = vec![(b"A".to_vec(), b"1 = 2".to_vec()), (b"B".to_vec(), vec![])];
    let (output, _) = inside.run(Exec { env, ..command(&["/usr/bin/env"]) });
    assert_eq!(output, "A=1 = 2\nB=\n");
}

#[test]
fn a_megabyte_of_arguments_arrives_whole() {
    let mut inside = Inside::start();
    let long = "x".repeat(100_000);
    let mut argv = vec!["/bin/sh", "-c", "printf %s \"$@\" | wc -c", "sh"];
    argv.extend([long.as_str(); 10]);
    let (output, end) = inside.run(command(&argv));
    assert_eq!((output.trim(), end), ("1000000", End::Exited(0)));
}

#[test]
fn a_thousand_commands_at_once_all_start_and_end() {
    let mut inside = Inside::start();
    let (mut started, mut ended) = (0, 0);
    for id in 1..=1000 {
        inside.exec(Exec { id, ..command(&["/bin/true"]) }, &[]).unwrap();
    }
    while ended < 1000 {
        match inside.reply() {
            Reply::Started { .. } => started += 1,
            Reply::Ended { end: End::Exited(0), deadline: false, .. } => ended += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((started, inside.next()), (1000, Ok(None)));
}

#[test]
fn nothing_can_look_into_the_agent() {
    let mut inside = Inside::start();
    assert_eq!(inside.shell("echo up"), "up\n");
    let owner = std::fs::metadata(format!("/proc/{}/mem", inside.pid())).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&owner), 0, "what is not dumpable belongs to root");
    let (mut only, uid, gid) = Inside::with_only_user();
    let script = format!("cat /proc/{0}/maps; ls /proc/{0}/fd; kill -TERM {0}; true", only.pid());
    let (output, _) = only.run(Exec { uid, gid, ..command(&["/bin/sh", "-c", &script]) });
    assert_eq!(output, "");
    let (output, _) = only.run(Exec { uid, gid, ..command(&["/bin/echo", "still here"]) });
    assert_eq!(output, "still here\n");
}

#[test]
fn the_first_process_reaps_orphans_and_cannot_be_killed_from_inside() {
    let mut inside = Inside::first_of_its_namespace();
    let mut shell = |script: &str| {
        inside.run(Exec { uid: 0, gid: 0, capabilities: 1 << 5, ..command(&["/bin/sh", "-c", script]) }).0
    };
    assert_eq!(shell("cat /proc/1/comm"), "casemate-agent\n");
    shell("for n in 1 2 3 4 5 6 7 8 9; do (true & true & sleep 0.01 &); done");
    let processes = "cd /proc; for n in [0-9]*; do [ -d $n ] && echo $n; done | grep -vxF -e 1 -e $$ | wc -l";
    // The pipeline's own two are always there.
    let left = (0..500).map(|_| shell(processes)).find(|count| count.trim().parse::<u32>().unwrap() <= 2);
    assert!(left.is_some(), "orphans are left");
    shell("kill -KILL 1; kill -TERM 1; kill -SEGV 1; kill -STOP 1");
    assert_eq!(shell("echo still here"), "still here\n");
}
