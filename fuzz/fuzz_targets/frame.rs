//! Frames of the Connect protocol: however a stream is cut, the same is found in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use server::e2b::frame::{Frames, NotAFrame, Received};

fn all<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Received>, Option<NotAFrame>) {
    let (mut frames, mut found) = (Frames::default(), Vec::new());
    for piece in pieces {
        frames.push(piece);
        loop {
            match frames.next_frame() {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, frames.end().err())
}

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    assert_eq!(all(std::iter::once(bytes)), all(bytes.chunks(usize::from(cut).max(1))));
});
