//! Answers on their way into the pipe.

use crate::sys::stdout;
use agent::protocol::{ANSWER_BYTES_MAX, Answer, encode};
use alloc::vec::Vec;
use rustix::io::{Errno, retry_on_intr};

/// How many bytes are gathered before they are written.
const GATHERED_BYTES: usize = 64 << 10;

pub(crate) struct Voice {
    unsent: Vec<u8>,
    /// Whether the bytes of a file have begun, in which no answer has a place.
    gives_data: bool,
    /// Why nobody hears any more.
    lost: Result<(), Errno>,
}

impl Voice {
    pub(crate) fn new() -> Self {
        Voice { unsent: Vec::new(), gives_data: false, lost: Ok(()) }
    }

    /// Takes `answer` for writing. After [`Answer::Reading`] there is none: the exit status tells of a failure.
    pub(crate) fn say(&mut self, answer: &Answer) {
        if self.gives_data {
            return;
        }
        self.gives_data = matches!(answer, Answer::Reading { .. });
        // Every answer fits: no path is longer than the kernel takes, and there is a test of the longest.
        match encode(answer, ANSWER_BYTES_MAX) {
            Ok(frame) => self.give(&frame),
            Err(_) => self.lost = Err(Errno::MSGSIZE),
        }
    }

    /// Takes bytes of a file for writing.
    pub(crate) fn give(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        if self.unsent.len() >= GATHERED_BYTES {
            let _ = self.flush();
        }
    }

    /// Writes what was gathered. Once that failed nothing is written any more.
    pub(crate) fn flush(&mut self) -> Result<(), Errno> {
        self.lost = self.lost.and_then(|()| write_all(&self.unsent));
        self.unsent.clear();
        self.lost
    }
}

fn write_all(mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let count = retry_on_intr(|| rustix::io::write(stdout(), bytes))?;
        bytes = &bytes[count..];
    }
    Ok(())
}
