//! The bytes of files, in and out.

use crate::files::{bytes, failed};
use crate::harness::{Inside, command, read, work};
use agent::{Answer, End, Entry, Exec, Kind, Op, Reply, Whom, Why, Work};
use rustix::fs::{CWD, FileType, Mode, inotify, makedev, mkfifoat, mknodat};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::Path;

fn content(length: usize) -> Vec<u8> {
    (0..length as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u8).collect()
}

fn write(path: impl AsRef<Path>, offset: Option<u64>) -> Work {
    work(Op::Write { path: bytes(path), offset })
}

fn part(path: impl AsRef<Path>, offset: u64, bytes_max: u64) -> Work {
    work(Op::Read { path: bytes(path), offset, bytes_max })
}

#[test]
fn files_of_every_length_go_in_and_come_out_as_they_are() {
    let mut inside = Inside::start();
    let directory = tempfile::tempdir().unwrap();
    for length in [0, 1, 4096, 65_535, 65_536, 65_537, 131_072, 1 << 20, 5_000_001] {
        let file = directory.path().join(length.to_string());
        let expected = content(length);
        let Answer::Entry(entry) = inside.write_file(&file, &expected) else { panic!() };
        assert_eq!((entry.size, entry.mode, entry.kind), (length as u64, 0o644, Kind::File));
        assert_eq!(std::fs::read(&file).unwrap(), expected);
        assert_eq!(inside.read_file(work(read(&file))), expected);
        // Again, shorter, and in the same place.
        let inode = file.metadata().unwrap().ino();
        inside.write_file(&file, b"short");
        assert_eq!(
            (std::fs::read(&file).unwrap(), file.metadata().unwrap().ino()),
            (b"short".to_vec(), inode)
        );
    }
}

#[test]
fn a_part_is_what_is_between_its_ends() {
    let mut inside = Inside::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    let all = content(300_000);
    inside.write_file(&file, &all);
    for (offset, most) in [
        (0, 10),
        (1, 65_536),
        (7, 65_537),
        (100_000, 150_000),
        (299_999, 9),
        (300_000, 9),
        (0, 0),
        (u64::MAX, 1),
    ] {
        let begin = usize::try_from(offset).unwrap().min(all.len());
        let end = begin + (all.len() - begin).min(most as usize);
        assert_eq!(inside.read_file(part(&file, offset, most)), all[begin..end], "{offset} {most}");
    }
    let (answers, _) = inside.answers_to_bytes(write(&file, Some(100_000)), &content(70_000));
    assert!(matches!(&answers[..], [Answer::Entry(Entry { size: 300_000, .. })]));
    let mut expected = all;
    expected[100_000..170_000].copy_from_slice(&content(70_000));
    assert_eq!(std::fs::read(&file).unwrap(), expected);
}

#[test]
fn what_has_no_length_is_read_to_its_end() {
    let mut inside = Inside::start();
    let id = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(inside.read_file(work(read("/proc/sys/kernel/random/boot_id"))), id);
    assert_eq!(inside.read_file(part("/proc/sys/kernel/random/boot_id", 9, 4)), id[9..13]);
    let mounts = std::fs::read("/proc/mounts").unwrap();
    assert_eq!(inside.read_file(work(read("/proc/mounts"))), mounts);
    if let Ok(page) = std::fs::read("/sys/kernel/mm/transparent_hugepage/enabled") {
        assert_eq!(inside.read_file(work(read("/sys/kernel/mm/transparent_hugepage/enabled"))), page);
    }
    if let Ok(long) = std::fs::read("/proc/kallsyms") {
        assert!(long.len() > 1 << 20);
        assert_eq!(
            inside.read_file(Work { capabilities: 0, ..work(read("/proc/kallsyms")) }).len(),
            long.len()
        );
    }
}

#[test]
fn only_regular_files_are_read_or_written_and_nothing_waits() {
    let mut inside = Inside::start();
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    mkfifoat(CWD, at("pipe"), Mode::RWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    symlink("pipe", at("to-pipe")).unwrap();
    symlink("to-pipe", at("to-link")).unwrap();
    let (not_regular, no_reader) =
        (failed(Why::NotRegular, Errno::INVAL), failed(Why::NotRegular, Errno::NXIO));
    let mut cases = vec![
        (at("pipe"), not_regular.clone(), no_reader.clone()),
        (at("to-link"), not_regular.clone(), no_reader.clone()),
        (at("socket"), no_reader.clone(), no_reader),
        ("/dev/null".into(), not_regular.clone(), not_regular.clone()),
        ("/dev/tty".into(), failed(Why::NotRegular, Errno::NXIO), failed(Why::NotRegular, Errno::NXIO)),
        ("/proc/self/fd/1".into(), not_regular.clone(), not_regular.clone()),
        (
            directory.path().into(),
            failed(Why::IsADirectory, Errno::ISDIR),
            failed(Why::IsADirectory, Errno::ISDIR),
        ),
        (at("nothing/x/.."), failed(Why::Missing, Errno::NOENT), failed(Why::BadPath, Errno::INVAL)),
    ];
    if geteuid().is_root() {
        mknodat(CWD, at("zero"), FileType::CharacterDevice, Mode::RWXU, makedev(1, 5)).unwrap();
        cases.push((at("zero"), not_regular.clone(), not_regular.clone()));
    }
    for (path, to_read, to_write) in cases {
        assert_eq!(inside.answer(read(&path)), to_read, "{path:?}");
        assert_eq!(inside.answers_to_bytes(write(&path, None), b"x").0, [to_write], "{path:?}");
    }
    // A pipe with a reader does not wait for a writer, either; and nothing is written to it.
    let reader = std::fs::File::from(
        rustix::fs::open(
            at("pipe"),
            rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK,
            Mode::empty(),
        )
        .unwrap(),
    );
    assert_eq!(inside.answers_to_bytes(write(at("pipe"), None), b"x").0, [not_regular]);
    assert_eq!((&reader).read(&mut [0; 9]).unwrap(), 0);
}

#[test]
fn links_are_followed_as_the_kernel_does_for_the_user() {
    let mut inside = Inside::start();
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("file"), b"before").unwrap();
    symlink("file", at("link")).unwrap();
    symlink("made", at("dangling")).unwrap();
    assert_eq!(inside.read_file(work(read(at("link")))), b"before");
    inside.write_file(at("link"), b"after");
    assert_eq!(std::fs::read(at("file")).unwrap(), b"after");
    inside.write_file(at("dangling"), b"new");
    assert_eq!(std::fs::read(at("made")).unwrap(), b"new");
    inside.write_file(at("a/b/c"), b"deep");
    assert_eq!(std::fs::read(at("a/b/c")).unwrap(), b"deep");
    assert_eq!(
        inside.answers_to_bytes(write(at("file/x"), None), b"x").0,
        [failed(Why::NotADirectory, Errno::NOTDIR)]
    );
}

#[test]
fn an_upload_of_a_new_file_is_three_events_however_its_bytes_arrive() {
    let mut inside = Inside::start();
    let directory = tempfile::tempdir().unwrap();
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    let flags = inotify::WatchFlags::ALL_EVENTS;
    inotify::add_watch(&watch, directory.path(), flags).unwrap();
    let (source, mut sink) = std::io::pipe().unwrap();
    let (answers, told) = std::io::pipe().unwrap();
    inside.work(write(directory.path().join("new"), None), vec![told.into(), source.into()]).unwrap();
    for piece in [&b"one"[..], b"two", b"three"] {
        sink.write_all(piece).unwrap();
        std::thread::yield_now();
    }
    drop(sink);
    assert!(matches!(inside.reply(), Reply::Ended { end: End::Exited(0), .. }));
    drop(answers);
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(&watch, &mut buffer);
    let mut seen = vec![];
    while let Ok(event) = reader.next() {
        seen.push(event.events());
    }
    use inotify::ReadFlags as Seen;
    seen.retain(|event| {
        event.intersects(Seen::CREATE | Seen::ATTRIB | Seen::MODIFY | Seen::DELETE | Seen::MOVED_TO)
    });
    assert_eq!(seen, [Seen::CREATE, Seen::ATTRIB, Seen::MODIFY]);
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_a_failure_that_shows() {
    let mut inside = Inside::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, content(3 << 20)).unwrap();
    let (mut pipe, told) = std::io::pipe().unwrap();
    let mut decoder = agent::Answers::to(&read(&path));
    inside.work(work(read(&path)), vec![told.into()]).unwrap();
    // It waits for the pipe by now, or will.
    let mut first = vec![0; 4096];
    pipe.read_exact(&mut first).unwrap();
    decoder.feed(&first);
    assert!(matches!(decoder.next(), Ok(Some(Answer::Reading { bytes: Some(3_145_728), .. }))));
    std::fs::File::options().write(true).open(&path).unwrap().set_len(1 << 20).unwrap();
    let mut count = decoder.data().unwrap().len();
    let mut rest = vec![0; 1 << 16];
    loop {
        match pipe.read(&mut rest).unwrap() {
            0 => break,
            length => {
                decoder.feed(&rest[..length]);
                count += decoder.data().unwrap().len();
            }
        }
    }
    assert_eq!(decoder.end(), Err(agent::AnswerError::Short));
    assert!(count <= 1 << 20, "{count}");
    assert_eq!(inside.reply(), Reply::Ended { id: 1, end: End::Exited(1), deadline: false });
}

#[test]
fn a_full_disk_is_said_and_what_is_not_written_is_not_read() {
    if !geteuid().is_root() {
        return println!("not run: we are not root");
    }
    let mut inside = Inside::first_of_its_namespace();
    let directory = tempfile::tempdir().unwrap();
    // A namespace of mounts is the whole process's; a file with a limit is as good as a small disk.
    let path = directory.path().join("file");
    std::fs::write(&path, b"").unwrap();
    let place = Some(i64::MAX as u64 - 100);
    let (answers, end) =
        inside.answers_to_bytes(Work { uid: 0, gid: 0, ..write(&path, place) }, &content(1 << 20));
    assert!(matches!(&answers[..], [Answer::Failed { why: Why::NoSpace | Why::BadPath, .. }]), "{answers:?}");
    assert_eq!(end, End::Exited(1));
    assert!(path.metadata().unwrap().len() <= i64::MAX as u64);
}

#[test]
fn work_that_is_killed_ends_at_once_in_the_middle_of_what_it_does() {
    let mut inside = Inside::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, content(4 << 20)).unwrap();
    for signal in [9, 15] {
        let (mut pipe, told) = std::io::pipe().unwrap();
        inside.work(work(read(&path)), vec![told.into()]).unwrap();
        pipe.read_exact(&mut [0; 100]).unwrap();
        inside.agent.signal(1, signal, Whom::Process).unwrap();
        inside.agent.flush().unwrap();
        let end = End::Signaled(signal as u8);
        assert_eq!(inside.reply(), Reply::Ended { id: 1, end, deadline: false });
    }
    // And one whose reader goes.
    let (pipe, told) = std::io::pipe().unwrap();
    inside.work(work(read(&path)), vec![told.into()]).unwrap();
    drop(pipe);
    assert!(matches!(inside.reply(), Reply::Ended { end: End::Signaled(13), .. }));
    // And one whose writer goes before it has said a byte: that is an empty file.
    let Answer::Entry(entry) = inside.write_file(&path, b"") else { panic!() };
    assert_eq!(entry.size, 0);
}

#[test]
fn what_others_asked_for_is_not_to_be_read_from_the_memory_of_work() {
    let mut inside = Inside::start();
    let secret = "dont-find-this-one-anywhere";
    for _ in 0..3 {
        inside.run(Exec { env: vec![(b"SECRET".to_vec(), secret.into())], ..command(&["/bin/true"]) });
    }
    let user = if geteuid().is_root() { 4321 } else { geteuid().as_raw() };
    let group = if geteuid().is_root() { 4321 } else { rustix::process::getegid().as_raw() };
    let as_user = |op| Work { uid: user, gid: group, ..work(op) };
    let denied = failed(Why::Denied, Errno::ACCESS);
    for name in ["mem", "environ", "auxv", "pagemap"] {
        for task in ["self", "thread-self"] {
            let path = format!("/proc/{task}/{name}");
            assert_eq!(inside.answers(as_user(read(&path))).0, std::slice::from_ref(&denied), "{path}");
            let written =
                inside.answers_to_bytes(as_user(Op::Write { path: path.into(), offset: Some(4096) }), b"x");
            assert_eq!(written.0, std::slice::from_ref(&denied));
        }
    }
    let directory = tempfile::tempdir().unwrap();
    symlink("/proc/self", directory.path().join("self")).unwrap();
    assert_eq!(inside.answers(as_user(read(directory.path().join("self/mem")))).0, [denied]);
    // Its descriptors are its pipes.
    let (listed, _) = inside.answers(as_user(Op::List { path: b"/proc/self/fd".to_vec(), depth: 1 }));
    let names: Vec<_> = listed
        .iter()
        .filter_map(|answer| match answer {
            Answer::Entry(entry) => Some(entry.path.rsplit(|b| *b == b'/').next().unwrap().to_vec()),
            _ => None,
        })
        .collect();
    assert!(names.iter().all(|name| matches!(&name[..], b"0" | b"1" | b"2" | b"3" | b"4")), "{names:?}");
    assert_eq!(inside.shell("echo still here"), "still here\n");
}

#[test]
fn a_sparse_file_is_read_whole() {
    let mut inside = Inside::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(2 << 20).unwrap();
    assert_eq!(inside.read_file(work(read(&path))), vec![0; 2 << 20]);
    file.write_all_at(b"end", (2 << 20) - 3).unwrap();
    assert_eq!(inside.read_file(work(read(&path))), std::fs::read(&path).unwrap());
}
