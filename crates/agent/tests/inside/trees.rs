//! Listing and removing trees that somebody built to lead astray.

use crate::files::{bytes, failed};
use crate::harness::{Inside, command, work};
use agent::protocol::LISTED_MAX;
use agent::{Answer, End, Exec, Op, Reply, Why};
use rustix::fs::{CWD, FileType, Mode, OFlags, mkdirat, mkfifoat, mknodat, openat};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

impl Inside {
    /// The paths of a list, and how it ended.
    fn list(&mut self, path: impl AsRef<Path>, depth: u32) -> (Vec<PathBuf>, Answer) {
        let (mut answers, end) = self.answers(work(Op::List { path: bytes(path), depth }));
        let last = answers.pop().unwrap();
        assert_eq!(end, End::Exited(u8::from(last != Answer::Done)));
        let path = |answer| match answer {
            Answer::Entry(entry) => PathBuf::from(std::ffi::OsString::from_vec(entry.path)),
            other => panic!("{other:?}"),
        };
        (answers.into_iter().map(path).collect(), last)
    }

    fn remove(&mut self, path: impl AsRef<Path>) -> Answer {
        self.answer(Op::Remove { path: bytes(path) })
    }
}

/// A directory with all that can be in one.
fn hostile() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::create_dir_all(at("b/inner/deepest")).unwrap();
    std::fs::write(at("b/inner/file"), b"x").unwrap();
    std::fs::write(at("a"), b"x").unwrap();
    std::fs::create_dir(at("b-")).unwrap();
    symlink("/", at("b/root")).unwrap();
    symlink("..", at("b/up")).unwrap();
    symlink("loop", at("loop")).unwrap();
    symlink("/etc", at("c")).unwrap();
    symlink("nothing", at("dangling")).unwrap();
    std::fs::write(at("new\nline"), b"").unwrap();
    std::fs::write(directory.path().join(std::ffi::OsString::from_vec(b"\xff\x80".to_vec())), b"").unwrap();
    std::fs::write(at("..."), b"").unwrap();
    std::fs::write(at("-rf"), b"").unwrap();
    mkfifoat(CWD, at("pipe"), Mode::RWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    if geteuid().is_root() {
        mknodat(CWD, at("zero"), FileType::CharacterDevice, Mode::RWXU, rustix::fs::makedev(1, 5)).unwrap();
    }
    directory
}

/// A chain of directories, longer than any path.
fn chain(at: &Path, depth: usize, bottom: &str) {
    let mut here = openat(CWD, at, OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..depth {
        mkdirat(&here, "deep", Mode::RWXU).unwrap();
        here = openat(&here, "deep", OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    drop(openat(&here, bottom, OFlags::CREATE | OFlags::WRONLY, Mode::RWXU).unwrap());
}

#[test]
fn a_list_is_in_order_and_as_deep_as_asked() {
    let mut inside = Inside::start();
    let directory = hostile();
    let at = |name: &str| directory.path().join(name);
    let odd = directory.path().join(std::ffi::OsString::from_vec(b"\xff\x80".to_vec()));
    let mut top = vec!["-rf", "...", "a", "b", "b-", "c", "dangling", "loop", "new\nline", "pipe", "socket"];
    if geteuid().is_root() {
        top.push("zero");
    }
    let mut expected: Vec<PathBuf> = top.iter().map(|name| at(name)).collect();
    expected.push(odd);
    for depth in [0, 1] {
        assert_eq!(inside.list(directory.path(), depth), (expected.clone(), Answer::Done));
    }
    let after_b = expected.iter().position(|path| *path == at("b")).unwrap() + 1;
    let second = ["b/inner", "b/root", "b/up"].map(at);
    expected.splice(after_b..after_b, second);
    assert_eq!(inside.list(directory.path(), 2), (expected.clone(), Answer::Done));
    expected.splice(after_b + 1..after_b + 1, ["b/inner/deepest", "b/inner/file"].map(at));
    for depth in [3, 4, u32::MAX] {
        assert_eq!(inside.list(directory.path(), depth), (expected.clone(), Answer::Done));
    }
}

#[test]
fn a_list_begins_at_a_directory_or_a_link_to_one() {
    let mut inside = Inside::start();
    let directory = hostile();
    let at = |name: &str| directory.path().join(name);
    symlink("b", at("to-b")).unwrap();
    let listed = ["to-b/inner", "to-b/inner/deepest", "to-b/inner/file", "to-b/root", "to-b/up"].map(at);
    assert_eq!(inside.list(at("to-b"), 9), (listed.to_vec(), Answer::Done));
    let (root, last) = inside.list("/", 1);
    assert!(root.contains(&"/etc".into()) && last == Answer::Done);
    assert_eq!(inside.list(at("b-"), 1), (vec![], Answer::Done));
    for (name, why, errno) in [
        ("a", Why::NotADirectory, Errno::NOTDIR),
        ("pipe", Why::NotADirectory, Errno::NOTDIR),
        ("nothing", Why::Missing, Errno::NOENT),
        ("loop", Why::BadPath, Errno::LOOP),
    ] {
        assert_eq!(inside.list(at(name), 1), (vec![], failed(why, errno)), "{name}");
    }
    assert_eq!(inside.list("/proc", 1).1, Answer::Done, "also where things come and go");
}

#[test]
fn a_list_of_a_thousand_levels_is_whole_and_one_that_no_path_can_name_is_refused() {
    let mut inside = Inside::start();
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut here = directory.path().to_path_buf();
    let mut expected = vec![];
    for _ in 0..1000 {
        here.push("d");
        expected.push(here.clone());
        expected.push(here.with_file_name("e"));
    }
    std::fs::create_dir_all(&here).unwrap();
    for path in expected.iter().skip(1).step_by(2) {
        std::fs::write(path, b"").unwrap();
    }
    let (mut listed, last) = inside.list(directory.path(), u32::MAX);
    assert_eq!((listed.len(), last), (2000, Answer::Done));
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);

    chain(directory.path(), 2000, "file");
    let (_, last) = inside.list(directory.path().join("deep"), u32::MAX);
    assert_eq!(last, failed(Why::BadPath, Errno::NAMETOOLONG));
    assert_eq!(inside.list(directory.path().join("deep"), 10).0.len(), 10);
    assert_eq!(inside.remove(directory.path()), Answer::Done);
    assert!(!directory.path().exists());
}

#[test]
fn a_list_has_at_most_so_many_entries() {
    let mut inside = Inside::start();
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    for sub in 0..16 {
        let sub = directory.path().join(sub.to_string());
        std::fs::create_dir(&sub).unwrap();
        for name in 0..LISTED_MAX / 16 - 1 {
            std::fs::File::create(sub.join(name.to_string())).unwrap();
        }
    }
    let (listed, last) = inside.list(directory.path(), 2);
    assert_eq!((listed.len(), last), (LISTED_MAX, Answer::Done));
    std::fs::File::create(directory.path().join("15/one-more")).unwrap();
    assert_eq!(inside.list(directory.path(), 2).1, failed(Why::TooMany, Errno::TOOBIG));
    assert_eq!(inside.remove(directory.path()), Answer::Done);
    assert!(!directory.path().exists());
}

#[test]
fn removing_takes_a_tree_and_nothing_that_its_links_lead_to() {
    let mut inside = Inside::start();
    let outside = tempfile::tempdir().unwrap();
    std::fs::create_dir(outside.path().join("kept")).unwrap();
    let directory = hostile();
    let at = |name: &str| directory.path().join(name);
    symlink(outside.path(), at("b/inner/out")).unwrap();
    symlink(outside.path(), at("link")).unwrap();
    assert_eq!(inside.remove(at("a")), Answer::Done);
    assert_eq!(inside.remove(at("link")), Answer::Done);
    assert!(!at("a").exists() && !at("link").is_symlink());
    for missing in ["a", "nothing/at/all"] {
        assert_eq!(inside.remove(at(missing)), Answer::Done, "{missing}");
    }
    assert_eq!(inside.remove(at("...").join("x")), failed(Why::NotADirectory, Errno::NOTDIR));
    assert_eq!(inside.remove(directory.path().join("")), Answer::Done, "with a slash at the end");
    assert!(!directory.path().exists());
    assert!(outside.path().join("kept").is_dir());
    assert_eq!(inside.remove("/proc"), failed(Why::Other, Errno::BUSY));
}

#[test]
fn removing_stops_at_what_the_user_may_not_remove() {
    if !geteuid().is_root() {
        return println!("not run: we are not root");
    }
    let mut inside = Inside::start();
    let directory = tempfile::tempdir().unwrap();
    let other = directory.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("file"), b"").unwrap();
    let allow =
        |path: &Path| std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777));
    allow(directory.path()).unwrap();
    let asked = agent::Work { uid: 4321, gid: 4321, ..work(Op::Remove { path: bytes(&other) }) };
    assert_eq!(inside.answers(asked.clone()).0, [failed(Why::Denied, Errno::ACCESS)]);
    assert!(other.join("file").exists());
    allow(&other).unwrap();
    assert_eq!(inside.answers(asked).0, [Answer::Done]);
}

#[test]
fn a_tree_of_any_depth_and_width_is_removed() {
    let mut inside = Inside::start();
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    chain(directory.path(), 20_000, "file");
    for wide in 0..3000 {
        std::fs::create_dir_all(directory.path().join(format!("w{wide}/full"))).unwrap();
    }
    assert_eq!(inside.remove(directory.path()), Answer::Done);
    assert!(!directory.path().exists());
}

#[test]
fn a_directory_that_is_swapped_for_a_link_leads_no_removal_out_of_the_tree() {
    let mut inside = Inside::start();
    let outside = tempfile::tempdir_in("/dev/shm").unwrap();
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    for n in 0..50 {
        std::fs::write(outside.path().join(n.to_string()), b"").unwrap();
    }
    // Exchanges a directory and a link to outside, as fast as it can.
    let script = "import ctypes, sys, os\n\
        c = ctypes.CDLL(None)\n\
        a, b = sys.argv[1].encode(), sys.argv[2].encode()\n\
        print(flush=True)\n\
        while True: c.renameat2(-100, a, -100, b, 2)\n";
    let (tree, link) = (directory.path().join("tree"), directory.path().join("link"));
    symlink(outside.path(), &link).unwrap();
    std::fs::create_dir(&tree).unwrap();
    let victim = tree.join("swapped");
    let argv = ["/usr/bin/python3", "-c", script, victim.to_str().unwrap(), link.to_str().unwrap()];
    let (read, write) = std::io::pipe().unwrap();
    let stdio = [agent::Stdio::Null, agent::Stdio::Passed(0), agent::Stdio::Null];
    let swapper = Exec { id: 9, stdio, ..command(&argv) };
    inside.exec(swapper, &[rustix::fd::AsFd::as_fd(&write)]).unwrap();
    inside.started(9);
    rustix::io::read(&read, &mut [0; 1]).unwrap();
    for _ in 0..50 {
        let _ = std::fs::create_dir(&tree);
        for n in 0..20 {
            let _ = std::fs::create_dir_all(victim.join(format!("{n}/x")));
        }
        let _ = std::fs::remove_file(&link);
        let _ = symlink(outside.path(), &link);
        match inside.remove(&tree) {
            Answer::Done | Answer::Failed { why: Why::Changed | Why::Missing, .. } => {}
            other => panic!("{other:?}"),
        }
    }
    inside.signal(9, 9).unwrap();
    assert!(matches!(inside.reply(), Reply::Ended { id: 9, .. }));
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 50);
}
