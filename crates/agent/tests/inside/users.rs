//! Where the tests run as root the agent can switch users; elsewhere it has one. Each test says what holds in both.

use crate::harness::{Inside, command};
use agent::{End, Exec, FileStage, Read, Reply, Stage, Write};
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
    let own = command(&[]);
    let read = Read { id: 1, path: b"/etc/passwd".to_vec(), uid, gid: own.gid, offset: 0, len: 1 };
    inside.read(read).unwrap();
    let errno = Errno::INVAL.raw_os_error();
    assert_eq!(inside.reply(), Reply::Failed { id: 1, errno, stage: FileStage::User });
}

#[test]
fn an_agent_that_cannot_switch_serves_its_own_user_only() {
    let (mut inside, uid, gid) = Inside::with_only_user();
    let (output, end) = inside.run(Exec { uid, gid, ..command(&["/bin/sh", "-c", "id -u; id -g"]) });
    assert_eq!((output, end), (format!("{uid}\n{gid}\n"), End::Exited(0)));
    for (uid, gid) in [(0, gid), (uid, 0), (uid + 1, gid), (0, 0)] {
        assert_eq!(inside.first_reply(Exec { uid, gid, ..command(&["/bin/true"]) }), refused(Errno::PERM));
        inside.read(Read { id: 1, path: b"/etc/passwd".to_vec(), uid, gid, offset: 0, len: 1 }).unwrap();
        let errno = Errno::PERM.raw_os_error();
        assert_eq!(inside.reply(), Reply::Failed { id: 1, errno, stage: FileStage::User });
    }
    let exec = Exec { uid, gid, capabilities: 1, ..command(&["/bin/true"]) };
    assert_eq!(inside.first_reply(exec), refused(Errno::INVAL));
}

#[test]
fn files_are_touched_with_the_rights_of_the_asked_user() {
    if !geteuid().is_root() {
        let (mut inside, uid, gid) = Inside::with_only_user();
        inside.read(Read { id: 1, path: b"/etc/shadow".to_vec(), uid, gid, offset: 0, len: 1 }).unwrap();
        assert!(matches!(inside.reply(), Reply::Failed { stage: FileStage::Open, .. }));
        return;
    }
    let mut inside = Inside::start();
    let directory = tempfile::tempdir().unwrap();
    let allow = |mode| std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(mode)).unwrap();
    let path = directory.path().join("file").as_os_str().as_bytes().to_vec();
    let write = Write {
        id: 1,
        path: path.clone(),
        uid: 4321,
        gid: 1234,
        mode: 0o600,
        offset: 0,
        truncate: false,
        bytes: vec![1],
    };
    let denied = Reply::Failed { id: 1, errno: Errno::ACCESS.raw_os_error(), stage: FileStage::Open };
    allow(0o755);
    inside.write(write.clone()).unwrap();
    assert_eq!(inside.reply(), denied);
    allow(0o777);
    inside.write(write).unwrap();
    assert_eq!(inside.reply(), Reply::Written { id: 1 });
    let made = directory.path().join("file").metadata().unwrap();
    assert_eq!((made.uid(), made.gid()), (4321, 1234));

    let read = Read { id: 1, path, uid: 4322, gid: 1234, offset: 0, len: 9 };
    inside.read(read.clone()).unwrap();
    assert_eq!(inside.reply(), denied);
    inside.read(Read { uid: 0, gid: 0, ..read }).unwrap();
    assert_eq!(inside.reply(), Reply::Bytes { id: 1, bytes: vec![1], end: true });
    let owner = std::fs::metadata(format!("/proc/{}/mem", inside.pid())).unwrap().uid();
    assert_eq!(owner, 0);
    // The agent is itself again: only root may enter this directory, or run what is in it.
    allow(0o700);
    let cwd = directory.path().as_os_str().as_bytes().to_vec();
    let exec = Exec { cwd, ..command(&["/bin/true"]) };
    let refused = Reply::NotStarted { id: 1, errno: Errno::ACCESS.raw_os_error(), stage: Stage::Cwd };
    assert_eq!(inside.first_reply(Exec { uid: 4321, ..exec.clone() }), refused);
    assert_eq!(inside.first_reply(exec), Reply::Started { id: 1 });
}
