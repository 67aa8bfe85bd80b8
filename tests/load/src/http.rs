//! An HTTP/1.1 client of one connection. It blocks, and copies as little as it can: what is measured with it is the
//! server. It is also strict: an answer that is not exactly what HTTP says is an error of the server.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Bytes that are read ahead of what was asked for.
const BUFFER_BYTES: usize = 64 << 10;
const HEADERS_MAX: usize = 64;
/// The longest line of a chunk's size.
const SIZE_LINE_BYTES_MAX: usize = 64;

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection could not be made, broke, or said nothing for too long.
    #[error("{what}: {source}")]
    Broken {
        /// What was tried.
        what: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
    /// The server said no.
    #[error("{what}: refused with {status}: {body}")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// The status of HTTP, or 200 when the end of a stream said no.
        status: u16,
        /// What it said.
        body: String,
    },
    /// The answer is not what the protocol, or the question, calls for.
    #[error("{what}: wrong answer: {wrong}")]
    Wrong {
        /// What was tried.
        what: &'static str,
        /// What is wrong with it.
        wrong: String,
    },
}

impl Error {
    pub(crate) fn wrong(what: &'static str, wrong: impl Into<String>) -> Error {
        Error::Wrong { what, wrong: wrong.into() }
    }

    fn broken(what: &'static str, source: io::Error) -> Error {
        Error::Broken { what, source }
    }

    /// The status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// What a request comes to.
pub type Result<T> = std::result::Result<T, Error>;

/// How much of an answer's body is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    Bytes(u64),
    /// So many bytes of this chunk.
    Chunk(u64),
    /// The end of this chunk, then the next.
    NextChunk,
    /// The first chunk.
    FirstChunk,
    UntilClosed,
}

/// Status and header lines of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    /// The value of a header line; the name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    left: Left,
    kept: bool,
}

impl Connection {
    /// Connects. Reading and writing fail when nothing moves for `patience`.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn open(address: SocketAddr, patience: Duration) -> Result<Connection> {
        let open = || {
            let stream = TcpStream::connect_timeout(&address, patience)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(patience))?;
            stream.set_write_timeout(Some(patience))?;
            Ok(stream)
        };
        let stream = open().map_err(|error| Error::broken("connect", error))?;
        Ok(Connection {
            stream,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            start: 0,
            left: Left::Nothing,
            kept: true,
        })
    }

    /// The socket beneath, for what an honest client does not do.
    pub fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether another request may follow.
    pub fn reusable(&self) -> bool {
        self.kept && self.left == Left::Nothing
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).map_err(|error| Error::broken("send", error))
    }

    /// Reads status and header lines of the next answer.
    ///
    /// # Errors
    /// The connection broke, or that was no answer.
    pub fn head(&mut self) -> Result<Head> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
            let mut parsed = httparse::Response::new(&mut headers);
            let status = parsed.parse(&self.buffer[self.start..]);
            match status.map_err(|error| Error::wrong("head", error.to_string()))? {
                httparse::Status::Partial if self.buffer.len() - self.start >= BUFFER_BYTES => {
                    return Err(Error::wrong("head", "longer than 64 KiB"));
                }
                httparse::Status::Partial => self.fill()?,
                httparse::Status::Complete(bytes) => {
                    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                    let head = Head {
                        status: parsed.code.unwrap_or(0),
                        headers: parsed
                            .headers
                            .iter()
                            .map(|line| (line.name.to_ascii_lowercase(), text(line.value)))
                            .collect(),
                    };
                    self.start += bytes;
                    self.left = left(&head)?;
                    self.kept = self.left != Left::UntilClosed && head.header("connection") != Some("close");
                    return Ok(head);
                }
            }
        }
    }

    /// Reads some of the body. Nothing: it has ended.
    ///
    /// # Errors
    /// The connection broke before the end, or the chunks are wrong.
    pub fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        loop {
            match self.left {
                Left::Nothing => return Ok(0),
                Left::Bytes(0) => self.left = Left::Nothing,
                Left::Chunk(0) => self.left = Left::NextChunk,
                Left::Bytes(bytes) => {
                    let read = self.some(into, bytes)?;
                    self.left = Left::Bytes(bytes - read as u64);
                    return Ok(read);
                }
                Left::Chunk(bytes) => {
                    let read = self.some(into, bytes)?;
                    self.left = Left::Chunk(bytes - read as u64);
                    return Ok(read);
                }
                Left::UntilClosed => {
                    let buffered = self.buffer.len() - self.start;
                    let limit = if buffered > 0 { buffered as u64 } else { u64::MAX };
                    match self.some(into, limit) {
                        Err(Error::Broken { source, .. }) if source.kind() == ErrorKind::UnexpectedEof => {
                            self.left = Left::Nothing;
                        }
                        other => return other,
                    }
                }
                Left::NextChunk => {
                    if !self.line()?.is_empty() {
                        return Err(Error::wrong("chunk", "it does not end where its size says"));
                    }
                    self.chunk()?;
                }
                Left::FirstChunk => self.chunk()?,
            }
        }
    }

    /// Fills all of it.
    ///
    /// # Errors
    /// As [`Connection::read`]; the body may be shorter.
    pub fn read_exact(&mut self, mut into: &mut [u8]) -> Result<()> {
        while !into.is_empty() {
            match self.read(into)? {
                0 => return Err(Error::wrong("body", "it ends too early")),
                read => into = &mut into[read..],
            }
        }
        Ok(())
    }

    /// The rest of the body.
    ///
    /// # Errors
    /// As [`Connection::read`]; the body may be longer than `bytes_max`.
    pub fn body(&mut self, bytes_max: usize) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        let mut piece = [0; 16 << 10];
        loop {
            match self.read(&mut piece)? {
                0 => return Ok(body),
                read if body.len() + read > bytes_max => {
                    return Err(Error::wrong("body", format!("longer than {bytes_max} bytes")));
                }
                read => body.extend_from_slice(&piece[..read]),
            }
        }
    }

    /// Whether the server has closed it: waits for that, and for no byte before.
    ///
    /// # Errors
    /// It says something, or nothing for too long.
    pub fn closed(&mut self) -> Result<()> {
        if self.start < self.buffer.len() {
            return Err(Error::wrong("close", "it says more instead"));
        }
        let mut byte = [0];
        match (&self.stream).read(&mut byte) {
            Ok(0) => Ok(()),
            Ok(_) => Err(Error::wrong("close", "it says more instead")),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
            Err(error) => Err(Error::broken("close", error)),
        }
    }

    /// The size of the next chunk; after the last one, the trailer.
    fn chunk(&mut self) -> Result<()> {
        let line = self.line()?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(digits, 16)
            .map_err(|_| Error::wrong("chunk", format!("`{line}` is no size")))?;
        self.left = Left::Chunk(size);
        if size == 0 {
            while !self.line()?.is_empty() {}
            self.left = Left::Nothing;
        }
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        loop {
            let waiting = &self.buffer[self.start..];
            if let Some(end) = waiting.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&waiting[..end]).into_owned();
                self.start += end + 2;
                return Ok(line);
            }
            if waiting.len() > SIZE_LINE_BYTES_MAX {
                return Err(Error::wrong("chunk", "no end of line"));
            }
            self.fill()?;
        }
    }

    /// At most `limit` bytes, from the buffer or past it.
    fn some(&mut self, into: &mut [u8], limit: u64) -> Result<usize> {
        let wanted = into.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
        if self.start == self.buffer.len() {
            if wanted >= BUFFER_BYTES / 2 {
                return self.receive(&mut into[..wanted]);
            }
            self.fill()?;
        }
        let waiting = &self.buffer[self.start..];
        let count = waiting.len().min(wanted);
        into[..count].copy_from_slice(&waiting[..count]);
        self.start += count;
        Ok(count)
    }

    fn fill(&mut self) -> Result<()> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let old = self.buffer.len();
        self.buffer.resize(old + BUFFER_BYTES / 2, 0);
        let mut rest = std::mem::take(&mut self.buffer);
        let read = self.receive(&mut rest[old..]);
        rest.truncate(old + read.as_ref().copied().unwrap_or(0));
        self.buffer = rest;
        read.map(drop)
    }

    fn receive(&mut self, into: &mut [u8]) -> Result<usize> {
        loop {
            match self.stream.read(into) {
                Ok(0) => return Err(Error::broken("receive", ErrorKind::UnexpectedEof.into())),
                Ok(read) => return Ok(read),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::broken("receive", error)),
            }
        }
    }
}

fn left(head: &Head) -> Result<Left> {
    if matches!(head.status, 100..200 | 204 | 304) {
        return Ok(Left::Nothing);
    }
    let chunked = head.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    match (chunked, head.header("content-length")) {
        (true, None) => Ok(Left::FirstChunk),
        (true, Some(_)) => Err(Error::wrong("head", "both chunked and with a length")),
        (false, Some(text)) => {
            let bytes = text.parse().map_err(|_| Error::wrong("head", format!("`{text}` is no length")))?;
            Ok(if bytes == 0 { Left::Nothing } else { Left::Bytes(bytes) })
        }
        (false, None) => Ok(Left::UntilClosed),
    }
}

#[cfg(test)]
mod tests;
