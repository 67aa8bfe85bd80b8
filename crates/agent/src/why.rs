//! `casemate-why`: tells whoever works inside what is allowed there and what was denied last.
//!
//! All of it is in one file, which those outside write; this program only shows it, where there may be no other that
//! could. It takes no words.

#![no_std]
#![no_main]

extern crate alloc;

// What the agent needs beyond that is left out by the linker.
#[allow(dead_code, unused_imports)]
mod sys;

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, pread, retry_on_intr, write};

/// As `jail::root` puts it there.
const BOARD: &str = "/.casemate/denials";
/// The file is no longer than that.
const BYTES: usize = 16 << 10;
/// How often it is read again when it changed meanwhile.
const TRIES: usize = 16;

fn run() -> u8 {
    match show() {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

fn show() -> Result<(), Errno> {
    let board = openat(CWD, BOARD, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let (mut text, mut again) = ([0; BYTES], [0; BYTES]);
    let mut length = read(&board, &mut text)?;
    // Whoever writes it does not wait for us: what reads the same twice is whole.
    for _ in 0..TRIES {
        let next = read(&board, &mut again)?;
        if text[..length] == again[..next] {
            break;
        }
        (text, length) = (again, next);
    }
    let end = text[..length].iter().rposition(|byte| !byte.is_ascii_whitespace()).map_or(0, |last| last + 1);
    say(sys::stdout(), &text[..end])?;
    say(sys::stdout(), b"\n")
}

fn read(board: &OwnedFd, text: &mut [u8; BYTES]) -> Result<usize, Errno> {
    let mut length = 0;
    while length < BYTES {
        match retry_on_intr(|| pread(board, &mut text[length..], length as u64))? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}

fn say(to: BorrowedFd<'_>, mut text: &[u8]) -> Result<(), Errno> {
    while !text.is_empty() {
        let written = retry_on_intr(|| write(to, text))?;
        text = text.get(written..).unwrap_or_default();
    }
    Ok(())
}
