use crate::harness::{Inside, command};
use agent::protocol::CHUNK_BYTES_MAX;
use agent::{Error, FileStage, Read, Reply, Write};
use rustix::io::Errno;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

fn read(path: impl AsRef<Path>, offset: u64, len: usize) -> Read {
    let own = command(&[]);
    let path = path.as_ref().as_os_str().as_bytes().to_vec();
    Read { id: 1, path, uid: own.uid, gid: own.gid, offset, len: len as u32 }
}

fn write(path: impl AsRef<Path>, offset: u64, bytes: &[u8]) -> Write {
    let Read { id, path, uid, gid, .. } = read(path, 0, 0);
    Write { id, path, uid, gid, mode: 0o640, offset, truncate: false, bytes: bytes.to_vec() }
}

fn bytes(bytes: &[u8], end: bool) -> Reply {
    Reply::Bytes { id: 1, bytes: bytes.to_vec(), end }
}

fn failed(stage: FileStage, errno: Errno) -> Reply {
    Reply::Failed { id: 1, errno: errno.raw_os_error(), stage }
}

impl Inside {
    fn answer_read(&mut self, request: Read) -> Reply {
        self.agent.read(request).unwrap();
        self.reply()
    }

    fn answer_write(&mut self, request: Write) -> Reply {
        self.agent.write(request).unwrap();
        self.reply()
    }
}

#[test]
fn what_is_written_in_pieces_is_read_in_pieces() {
    let mut inside = Inside::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    let piece: Vec<u8> = (0..CHUNK_BYTES_MAX).map(|n| (n * 7) as u8).collect();
    assert_eq!(inside.answer_write(write(&file, 0, &piece)), Reply::Written { id: 1 });
    assert_eq!(inside.answer_write(write(&file, piece.len() as u64, b"tail")), Reply::Written { id: 1 });
    assert_eq!(inside.answer_read(read(&file, 0, piece.len())), bytes(&piece, false));
    assert_eq!(inside.answer_read(read(&file, piece.len() as u64, 100)), bytes(b"tail", true));
    assert_eq!(inside.answer_read(read(&file, 1 << 40, 100)), bytes(b"", true));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o640);

    let short = Write { truncate: true, ..write(&file, 0, b"short") };
    assert_eq!(inside.answer_write(short), Reply::Written { id: 1 });
    assert_eq!(std::fs::read(&file).unwrap(), b"short");
}

#[test]
fn only_regular_files_that_end_in_no_link_are_touched() {
    let mut inside = Inside::start();
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    symlink("/etc/passwd", at("link")).unwrap();
    symlink("/proc/self", at("self")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RWXU).unwrap();

    let no_link = failed(FileStage::Open, Errno::LOOP);
    assert_eq!(inside.answer_read(read(at("link"), 0, 10)), no_link);
    assert_eq!(inside.answer_write(write(at("link"), 0, b"x")), no_link);
    assert_eq!(inside.answer_read(read(at("pipe"), 0, 10)), failed(FileStage::Kind, Errno::INVAL));
    assert_eq!(inside.answer_write(write(at("pipe"), 0, b"x")), failed(FileStage::Open, Errno::NXIO));
    assert_eq!(inside.answer_read(read("/tmp", 0, 10)), failed(FileStage::Kind, Errno::ISDIR));
    assert_eq!(inside.answer_read(read("/dev/zero", 0, 10)), failed(FileStage::Kind, Errno::INVAL));
    assert_eq!(inside.answer_read(read("etc/passwd", 0, 10)), failed(FileStage::Request, Errno::INVAL));
    assert_eq!(inside.answer_read(read("/no/such", 0, 10)), failed(FileStage::Open, Errno::NOENT));
    assert_eq!(
        inside.answer_write(Write { mode: 0o4755, ..write(at("new"), 0, b"x") }),
        failed(FileStage::Request, Errno::INVAL)
    );
}

#[test]
fn a_link_to_proc_does_not_lead_into_the_agent() {
    let mut inside = Inside::start();
    let directory = tempfile::tempdir().unwrap();
    symlink("/proc/self", directory.path().join("self")).unwrap();
    for name in ["self/mem", "self/environ", "self/maps"] {
        for reply in [
            inside.answer_read(read(directory.path().join(name), 4096, 10)),
            inside.answer_write(write(directory.path().join(name), 4096, b"x")),
        ] {
            assert!(
                matches!(reply, Reply::Failed { stage: FileStage::Kind | FileStage::Open, .. }),
                "{reply:?}"
            );
        }
    }
    assert_eq!(inside.shell("echo still here"), "still here\n");
}

#[test]
fn a_piece_that_is_too_long_is_refused_before_it_is_sent() {
    let mut inside = Inside::start();
    let long = CHUNK_BYTES_MAX + 1;
    assert_eq!(inside.agent.read(read("/etc/passwd", 0, long)), Err(Error::ChunkTooLong(long)));
    assert_eq!(inside.agent.write(write("/tmp/x", 0, &vec![0; long])), Err(Error::ChunkTooLong(long)));
    assert_eq!(inside.shell("echo still here"), "still here\n");
}

#[test]
fn a_trusted_side_that_does_not_listen_is_told_busy_and_loses_nothing() {
    let mut inside = Inside::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, vec![7; CHUNK_BYTES_MAX]).unwrap();
    let mut asked = 0;
    let refusal = loop {
        match inside.agent.read(Read { id: asked, ..read(&file, 0, CHUNK_BYTES_MAX) }) {
            Ok(()) => asked += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refusal, Error::Busy);
    for id in 0..asked {
        assert!(
            matches!(inside.reply(), Reply::Bytes { id: of, bytes, .. } if of == id && bytes.len() == CHUNK_BYTES_MAX)
        );
    }
    assert_eq!(inside.shell("echo still here"), "still here\n");
}
