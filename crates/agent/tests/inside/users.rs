//! Where the tests run as root the agent can switch users; elsewhere it has one. Each test says what holds in both.

use crate::harness::{Inside, command, read, work};
use agent::{Answer, End, Exec, Op, Reply, Stage, Why};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

const STATUS: &str = "grep -E '^(Uid|Gid|Groups|Cap)' /proc/self/status | tr -s '\\t ' ' '";

fn refused(errno: Errno) -> Reply {
    Reply::NotStarted { id: 1, errno: errno.raw_os_error(), stage: Stage::User }
}

fn status_of(inside: &mut Inside, uid: u32, gid: u32, capabilities: u64) -> String {
    let exec = command(&["/bin/sh", "-c", STATUS]);
    let (output, end) = inside.run(Exec { uid, gid, capabilities, ..exec });
    assert_eq!(end, End::Exited(0));
    output.replace(" \n", "\n")
}

fn status(uid: u32, gid: u32, inheritable: u64, capabilities: u64) -> String {
    format!(
        "Uid: {uid} {uid} {uid} {uid}\nGid: {gid} {gid} {gid} {gid}\nGroups:\nCapInh: {inheritable:016x}\n\
         CapPrm: {capabilities:016x}\nCapEff: {capabilities:016x}\nCapBnd: {capabilities:016x}\nCapAmb: {:016x}\n",
        0
    )
}

#[test]
fn a_command_has_exactly_the_user_and_capabilities_it_asks_for() {
    let mut inside = Inside::start();
    if !geteuid().is_root() {
        assert_eq!(inside.first_reply(Exec { uid: 4321, ..command(&["/bin/true"]) }), refused(Errno::PERM));
        return;
    }
    assert_eq!(status_of(&mut inside, 4321, 1234, 0), status(4321, 1234, 0, 0));
    assert_eq!(status_of(&mut inside, 0, 0, 0), status(0, 0, 0, 0));
    assert_eq!(status_of(&mut inside, 0, 0, 0b1011), status(0, 0, 0, 0b1011));
    assert_eq!(status_of(&mut inside, 0, 1234, 1), status(0, 1234, 0, 1));
    let exec = Exec { uid: 4321, capabilities: 1, ..command(&["/bin/true"]) };
    assert_eq!(inside.first_reply(exec), refused(Errno::INVAL));
}

#[test]
fn the_id_that_means_unchanged_is_refused() {
    let (mut inside, uid, gid) = (Inside::start(), u32::MAX, u32::MAX);
    assert_eq!(inside.first_reply(Exec { uid, ..command(&["/bin/true"]) }), refused(Errno::INVAL));
    assert_eq!(inside.first_reply(Exec { gid, ..command(&["/bin/true"]) }), refused(Errno::INVAL));
    let op = Op::Stat { path: b"/etc/passwd".to_vec() };
    assert_eq!(inside.refusal(agent::Work { uid, ..work(op.clone()) }), (Stage::User, Errno::INVAL));
    assert_eq!(inside.refusal(agent::Work { gid, ..work(op) }), (Stage::User, Errno::INVAL));
}

#[test]
fn an_agent_that_cannot_switch_serves_its_own_user_only() {
    let (mut inside, uid, gid) = Inside::with_only_user();
    let (output, end) = inside.run(Exec { uid, gid, ..command(&["/bin/sh", "-c", "id -u; id -g"]) });
    assert_eq!((output, end), (format!("{uid}\n{gid}\n"), End::Exited(0)));
    for (uid, gid) in [(0, gid), (uid, 0), (uid + 1, gid), (0, 0)] {
        assert_eq!(inside.first_reply(Exec { uid, gid, ..command(&["/bin/true"]) }), refused(Errno::PERM));
        let work = agent::Work { uid, gid, ..work(read("/etc/passwd")) };
        assert_eq!(inside.refusal(work), (Stage::User, Errno::PERM));
    }
    let exec = Exec { uid, gid, capabilities: 1, ..command(&["/bin/true"]) };
    assert_eq!(inside.first_reply(exec), refused(Errno::INVAL));
}

#[test]
fn files_are_touched_with_the_rights_of_the_asked_user() {
    let denied = vec![Answer::Failed { why: Why::Denied, errno: Errno::ACCESS.raw_os_error() }];
    if !geteuid().is_root() {
        let mut inside = Inside::start();
        assert_eq!(inside.answers(work(read("/etc/shadow"))).0, denied);
        return;
    }
    let mut inside = Inside::start();
    let directory = tempfile::tempdir().unwrap();
    let allow = |mode| std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(mode)).unwrap();
    let file = directory.path().join("new/file");
    let path = file.as_os_str().as_bytes().to_vec();
    let as_user = |uid, op| agent::Work { uid, gid: 1234, ..work(op) };
    let write = Op::Write { path: path.clone(), offset: None };
    allow(0o755);
    assert_eq!(inside.answers_to_bytes(as_user(4321, write.clone()), b"x").0, denied);
    allow(0o777);
    let (answers, end) = inside.answers_to_bytes(as_user(4321, write.clone()), b"x");
    assert!(
        matches!(&answers[..], [Answer::Entry(entry)] if (entry.uid, entry.gid) == (4321, 1234)),
        "{answers:?}"
    );
    assert_eq!(end, End::Exited(0));
    for (made, mode) in [(&file, 0o100_644), (&directory.path().join("new"), 0o40755)] {
        let made = made.metadata().unwrap();
        assert_eq!((made.uid(), made.gid(), made.mode()), (4321, 1234, mode));
    }
    for op in [
        write,
        Op::Remove { path: path.clone() },
        Op::Move { from: path.clone(), to: b"/tmp/elsewhere".to_vec() },
        Op::MakeDir { path: directory.path().join("new/more").as_os_str().as_bytes().to_vec() },
    ] {
        assert_eq!(inside.answers_to_bytes(as_user(4322, op.clone()), b"y").0, denied, "{op:?}");
    }
    allow(0o700);
    assert_eq!(inside.answers(as_user(4322, read(&file))).0, denied);
    assert_eq!(inside.answers(as_user(4322, Op::List { path: path.clone(), depth: 1 })).0, denied);
    // Root has what its capabilities give it, and here it has none: it may go where its own permissions let it.
    let root = |capabilities| agent::Work { uid: 0, gid: 0, capabilities, ..work(read(&file)) };
    assert_eq!(inside.read_file(root(0)), b"x");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(inside.answers(root(0)).0, denied);
    assert_eq!(inside.read_file(root(1 << 1)), b"x");
    let owner = std::fs::metadata(format!("/proc/{}/mem", inside.pid())).unwrap().uid();
    assert_eq!(owner, 0);
    let cwd = directory.path().as_os_str().as_bytes().to_vec();
    let exec = Exec { cwd, ..command(&["/bin/true"]) };
    let refused = Reply::NotStarted { id: 1, errno: Errno::ACCESS.raw_os_error(), stage: Stage::Cwd };
    assert_eq!(inside.first_reply(Exec { uid: 4321, ..exec }), refused);
}
