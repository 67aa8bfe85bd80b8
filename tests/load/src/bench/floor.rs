//! What the kernel itself asks for the same things: the floors that stand beside the figures.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;

use anyhow::{Context, Result, ensure};

use crate::served::program;

const PIECE_BYTES: usize = 256 << 10;
const SHARED_MEMORY: &str = "/dev/shm";
/// About as long as a record.
const RECORD_BYTES: usize = 400;

/// Starts a program and waits for its end.
///
/// # Errors
/// It does not end well.
pub fn start(binary: &Path, argument: Option<&str>) -> Result<()> {
    let mut command = program(binary);
    command.args(argument).env_clear().env("PATH", "/usr/bin:/bin");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.status().with_context(|| format!("could not start {}", binary.display()))?;
    ensure!(status.success(), "{} ended with {status}", binary.display());
    Ok(())
}

/// One durable append: a write and an `fdatasync`.
#[derive(Debug)]
pub struct Log(File);

impl Log {
    /// A log of its own in a directory.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn in_directory(directory: &Path) -> Result<Log> {
        Ok(Log(File::options().create(true).append(true).open(directory.join("floor.log"))?))
    }

    /// Appends.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn append(&mut self) -> Result<()> {
        self.0.write_all(&[b'x'; RECORD_BYTES])?;
        Ok(rustix::fs::fdatasync(&self.0)?)
    }
}

/// The least that moves bytes from a client to a file in memory and back: one socket, one loop.
#[derive(Debug)]
pub struct Files {
    stream: TcpStream,
    path: PathBuf,
}

impl Files {
    /// Starts the other side.
    ///
    /// # Errors
    /// No socket, or no file in memory.
    pub fn start() -> Result<Files> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let stream = TcpStream::connect(listener.local_addr()?)?;
        let (peer, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        peer.set_nodelay(true)?;
        let path = Path::new(SHARED_MEMORY).join(format!("casemate-load-{}", std::process::id()));
        let file = File::options().create(true).truncate(true).read(true).write(true).open(&path)?;
        thread::spawn(move || serve(peer, file));
        Ok(Files { stream, path })
    }

    /// Writes all bytes to the file, and waits until they are there.
    ///
    /// # Errors
    /// The socket broke.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(b"w")?;
        self.stream.write_all(&(bytes.len() as u64).to_le_bytes())?;
        self.stream.write_all(bytes)?;
        Ok(self.stream.read_exact(&mut [0])?)
    }

    /// Reads so many bytes of the file.
    ///
    /// # Errors
    /// The socket broke.
    pub fn read(&mut self, into: &mut [u8]) -> Result<()> {
        self.stream.write_all(b"r")?;
        self.stream.write_all(&(into.len() as u64).to_le_bytes())?;
        Ok(self.stream.read_exact(into)?)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Until the other end is closed.
fn serve(mut stream: TcpStream, mut file: File) -> std::io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let (mut what, mut length) = ([0], [0; 8]);
        stream.read_exact(&mut what)?;
        stream.read_exact(&mut length)?;
        let mut left = u64::from_le_bytes(length) as usize;
        file.seek(SeekFrom::Start(0))?;
        if what == *b"w" {
            file.set_len(0)?;
            while left > 0 {
                let read = stream.read(&mut piece[..left.min(PIECE_BYTES)])?;
                file.write_all(&piece[..read])?;
                left -= read;
            }
            stream.write_all(b".")?;
        } else {
            while left > 0 {
                let read = file.read(&mut piece[..left.min(PIECE_BYTES)])?;
                stream.write_all(&piece[..read])?;
                left -= read;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_of_files_keeps_every_byte() {
        let mut files = Files::start().unwrap();
        for length in [0, 1, PIECE_BYTES + 1, 3 * PIECE_BYTES] {
            let bytes: Vec<u8> = (0..length).map(|number| (number % 253) as u8).collect();
            files.write(&bytes).unwrap();
            let mut back = vec![0; length];
            files.read(&mut back).unwrap();
            assert!(back == bytes);
        }
    }
}
