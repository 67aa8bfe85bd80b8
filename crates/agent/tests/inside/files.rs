//! Single entries: what is there, making directories, moving.

use crate::harness::{Inside, read, work};
use agent::{Answer, Entry, Kind, Link, Op, Target, Why};
use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::io::Errno;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

pub(crate) fn bytes(path: impl AsRef<Path>) -> Vec<u8> {
    path.as_ref().as_os_str().as_bytes().to_vec()
}

pub(crate) fn stat(path: impl AsRef<Path>) -> Op {
    Op::Stat { path: bytes(path) }
}

fn make(path: impl AsRef<Path>) -> Op {
    Op::MakeDir { path: bytes(path) }
}

fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Op {
    Op::Move { from: bytes(from), to: bytes(to) }
}

pub(crate) fn failed(why: Why, errno: Errno) -> Answer {
    Answer::Failed { why, errno: errno.raw_os_error() }
}

/// What the agent should say of what is there.
fn described(path: &Path) -> Entry {
    let found = path.symlink_metadata().unwrap();
    let kind = |kind: std::fs::FileType| {
        if kind.is_symlink() {
            Kind::Link
        } else if kind.is_dir() {
            Kind::Directory
        } else if kind.is_file() {
            Kind::File
        } else {
            Kind::Other
        }
    };
    let link = found.is_symlink().then(|| {
        let target = path.metadata().ok().map(|target| Target {
            path: bytes(path.canonicalize().unwrap()),
            kind: kind(target.file_type()),
            mode: target.mode() & 0o7777,
        });
        Link { target }
    });
    Entry {
        path: bytes(path),
        kind: kind(found.file_type()),
        mode: found.mode() & 0o7777,
        size: found.size(),
        uid: found.uid(),
        gid: found.gid(),
        mtime_s: found.mtime(),
        mtime_ns: found.mtime_nsec() as u32,
        link,
    }
}

#[test]
fn what_is_there_is_described_as_it_is() {
    let mut inside = Inside::start();
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::create_dir_all(at("real/deep")).unwrap();
    std::fs::write(at("file"), b"12345").unwrap();
    std::fs::set_permissions(at("file"), PermissionsExt::from_mode(0o4751)).unwrap();
    mkfifoat(CWD, at("pipe"), Mode::RWXU).unwrap();
    for (link, target) in [
        ("to-file", "file"),
        ("to-directory", "real/deep"),
        ("to-link", "to-file"),
        ("dangling", "nothing"),
        ("circle", "circle"),
        ("to-pipe", "pipe"),
        ("out", "/etc"),
        ("\u{1f512} \n\t", "file"),
    ] {
        symlink(target, at(link)).unwrap();
    }
    let odd = PathBuf::from(std::ffi::OsString::from_vec([&bytes(at("x"))[..], b"\xff\xfe\n"].concat()));
    std::fs::write(&odd, b"").unwrap();
    let names =
        ["", "file", "pipe", "real", "to-file", "to-directory", "to-link", "dangling", "circle", "to-pipe"];
    let paths = names.iter().map(|name| directory.path().join(name).components().collect::<PathBuf>());
    let more = ["/", "/etc/passwd", "/dev/null", "/proc/self/status"].map(PathBuf::from);
    for path in paths.chain(more).chain([odd, at("out"), at("\u{1f512} \n\t")]) {
        let mut expected = described(&path);
        let answer = inside.answer(stat(&path));
        if path.starts_with("/proc") {
            let Answer::Entry(found) = &answer else { panic!("{answer:?}") };
            (expected.mtime_s, expected.mtime_ns) = (found.mtime_s, found.mtime_ns);
        }
        assert_eq!(answer, Answer::Entry(expected), "{path:?}");
    }
    assert_eq!(inside.answer(stat(at("nothing"))), failed(Why::Missing, Errno::NOENT));
    assert_eq!(inside.answer(stat(at("file/below"))), failed(Why::NotADirectory, Errno::NOTDIR));
    assert_eq!(inside.answer(stat(at("circle/below"))), failed(Why::BadPath, Errno::LOOP));
}

#[test]
fn a_path_that_is_none_is_refused_by_every_operation() {
    let mut inside = Inside::start();
    let long = [&b"/"[..], &[b'x'; 4095]].concat();
    for (path, errno) in [
        (&b""[..], Errno::INVAL),
        (b"etc", Errno::INVAL),
        (b"/a\0b", Errno::INVAL),
        (&long, Errno::NAMETOOLONG),
    ] {
        let path = path.to_vec();
        for op in [
            Op::Stat { path: path.clone() },
            Op::List { path: path.clone(), depth: 1 },
            Op::MakeDir { path: path.clone() },
            Op::Move { from: b"/etc/passwd".to_vec(), to: path.clone() },
            Op::Move { from: path.clone(), to: b"/tmp/x".to_vec() },
            Op::Remove { path: path.clone() },
            Op::Read { path: path.clone(), offset: 0, bytes_max: 1 },
            Op::Write { path: path.clone(), offset: None },
        ] {
            assert_eq!(inside.answer(op.clone()), failed(Why::BadPath, errno), "{op:?}");
        }
    }
    for path in ["/", "//", "/tmp/.", "/tmp/..", "/tmp/../"] {
        assert_eq!(
            inside.answer(Op::Remove { path: path.into() }),
            failed(Why::BadPath, Errno::INVAL),
            "{path}"
        );
    }
}

#[test]
fn directories_are_made_with_all_above_them() {
    let mut inside = Inside::start();
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    for name in ["a/b/c/d", "e", "f/"] {
        let made = inside.answer(make(at(name)));
        let mut expected = described(&at(name));
        expected.path = bytes(at(name));
        assert_eq!((made, expected.mode), (Answer::Entry(expected), 0o755), "{name}");
    }
    assert_eq!(at("a/b").metadata().unwrap().mode() & 0o7777, 0o755);
    let exists = failed(Why::Exists, Errno::EXIST);
    assert_eq!(inside.answer(make(at("a/b"))), exists);
    assert_eq!(inside.answer(make("/")), exists);
    symlink("a", at("link")).unwrap();
    symlink("nowhere/x", at("dangling")).unwrap();
    assert_eq!(inside.answer(make(at("link"))), exists);
    assert!(matches!(inside.answer(make(at("link/inner"))), Answer::Entry(_)));
    assert!(at("a/inner").is_dir());
    std::fs::write(at("file"), b"").unwrap();
    let in_the_way = failed(Why::NotADirectory, Errno::NOTDIR);
    for name in ["file", "file/below", "file/far/below", "dangling"] {
        assert_eq!(inside.answer(make(at(name))), in_the_way, "{name}");
    }
    assert_eq!(inside.answer(make(at("dangling/below"))), failed(Why::Missing, Errno::NOENT));
    let deep = directory.path().join(["d"; 1000].join("/"));
    assert!(matches!(inside.answer(make(&deep)), Answer::Entry(_)));
    assert!(deep.is_dir());
    assert_eq!(inside.answer(make("/proc/new")), failed(Why::Missing, Errno::NOENT));
}

#[test]
fn moving_makes_directories_and_takes_the_place_of_a_file() {
    let mut inside = Inside::start();
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("one"), b"1").unwrap();
    std::fs::write(at("two"), b"22").unwrap();
    let inode = at("one").metadata().unwrap().ino();
    let moved = inside.answer(rename(at("one"), at("new/er/three")));
    assert_eq!(moved, Answer::Entry(described(&at("new/er/three"))));
    assert_eq!(at("new/er/three").metadata().unwrap().ino(), inode);
    assert!(matches!(inside.answer(rename(at("new/er/three"), at("two"))), Answer::Entry(_)));
    assert_eq!(std::fs::read(at("two")).unwrap(), b"1");
    assert!(matches!(inside.answer(rename(at("two"), at("two"))), Answer::Entry(_)));

    assert_eq!(inside.answer(rename(at("nothing"), at("made/x"))), failed(Why::Missing, Errno::NOENT));
    assert!(!at("made").exists(), "nothing is made for what is not there");
    assert_eq!(inside.answer(rename(at("two"), at("new"))), failed(Why::IsADirectory, Errno::ISDIR));
    assert_eq!(inside.answer(rename(at("new"), at("two"))), failed(Why::NotADirectory, Errno::NOTDIR));
    assert_eq!(inside.answer(rename(at("new"), at("new/inner"))), failed(Why::BadPath, Errno::INVAL));
    assert_eq!(inside.answer(rename(at("two"), at("two/x"))), failed(Why::NotADirectory, Errno::NOTDIR));

    // A link is moved, and not what it leads to.
    symlink("two", at("link")).unwrap();
    assert!(matches!(inside.answer(rename(at("link"), at("moved"))), Answer::Entry(_)));
    assert!(at("moved").is_symlink() && at("two").is_file());
}

#[test]
fn a_regular_file_goes_to_another_mount_and_nothing_else_does() {
    let mut inside = Inside::start();
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
    if here.path().metadata().unwrap().dev() == there.path().metadata().unwrap().dev() {
        return println!("not run: /tmp and /dev/shm are one mount");
    }
    let (from, to) = (here.path().join("file"), there.path().join("new/file"));
    let content: Vec<u8> = (0..3_000_000u32).map(|n| (n * 7) as u8).collect();
    std::fs::write(&from, &content).unwrap();
    std::fs::set_permissions(&from, PermissionsExt::from_mode(0o751)).unwrap();
    let mut expected = described(&from);
    expected.path = bytes(&to);
    assert_eq!(inside.answer(rename(&from, &to)), Answer::Entry(expected));
    assert_eq!(std::fs::read(&to).unwrap(), content);
    assert!(!from.exists());
    std::fs::create_dir(&from).unwrap();
    assert_eq!(inside.answer(rename(&from, there.path().join("x"))), failed(Why::OtherMount, Errno::XDEV));
    symlink("file", here.path().join("link")).unwrap();
    assert_eq!(
        inside.answer(rename(here.path().join("link"), there.path().join("x"))),
        failed(Why::OtherMount, Errno::XDEV)
    );
    // No directory is taken the place of, and no half of a copy is left.
    let file = here.path().join("other");
    std::fs::write(&file, b"x").unwrap();
    assert_eq!(
        inside.answer(rename(&file, there.path().join("new"))),
        failed(Why::IsADirectory, Errno::ISDIR)
    );
    assert_eq!(std::fs::read_dir(there.path()).unwrap().count(), 1);
}

#[test]
fn work_is_bounded_in_number_and_can_be_killed() {
    use agent::protocol::WORKS_MAX;
    use agent::{End, Reply, Stage, Work};
    let mut inside = Inside::start();
    let directory = tempfile::tempdir().unwrap();
    let mut held = vec![];
    for id in 0..=WORKS_MAX as u32 {
        let (source, sink) = std::io::pipe().unwrap();
        let (answers, write) = std::io::pipe().unwrap();
        let path = bytes(directory.path().join(id.to_string()));
        let asked = Work { id, ..work(Op::Write { path, offset: None }) };
        inside.work(asked, vec![write.into(), source.into()]).unwrap();
        held.push((sink, answers));
    }
    let one_too_many = WORKS_MAX as u32;
    let errno = Errno::AGAIN.raw_os_error();
    assert_eq!(inside.reply(), Reply::NotStarted { id: one_too_many, errno, stage: Stage::Process });
    assert_eq!(inside.shell_as(1000, "echo up"), "up\n", "commands are counted apart");
    for id in 0..one_too_many {
        inside.signal(id, 9).unwrap();
    }
    for _ in 0..one_too_many {
        assert!(matches!(inside.reply(), Reply::Ended { end: End::Signaled(9), deadline: false, .. }));
    }
    for (_, answers) in held {
        assert_eq!(crate::harness::read_all(answers.into()), "");
    }
    assert_eq!(inside.read_file(work(read("/etc/passwd"))), std::fs::read("/etc/passwd").unwrap());
}
