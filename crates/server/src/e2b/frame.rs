//! Frames of the Connect protocol: a byte of flags, four of length, and so many of content.

use crate::bounds::MESSAGE_BYTES_MAX;
use bytes::{BufMut, Bytes, BytesMut};

const HEAD: usize = 5;
const COMPRESSED: u8 = 1;
const LAST: u8 = 2;

/// Finds the frames in a stream of bytes, however it was cut.
#[derive(Debug, Default)]
pub struct Frames {
    unread: BytesMut,
}

/// Why bytes are no frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAFrame {
    /// It says to be longer than a message may be.
    #[error("a message of {0} bytes is longer than {MESSAGE_BYTES_MAX}")]
    TooLong(u32),
    /// It is compressed, which was not agreed on.
    #[error("a message is compressed, which this server does not read")]
    Compressed,
    /// Flags that mean nothing.
    #[error("a message has unknown flags")]
    Flags,
    /// The end comes before the frame's.
    #[error("a message breaks off")]
    BrokenOff,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A message.
    Message(Bytes),
    /// The last frame of a stream.
    Last(Bytes),
}

impl Frames {
    /// Takes more of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// The next frame, once all of it is there.
    ///
    /// # Errors
    /// What is no frame; nothing after it can be understood.
    pub fn next_frame(&mut self) -> Result<Option<Received>, NotAFrame> {
        let Some((flags, rest)) = self.unread.split_first() else { return Ok(None) };
        match *flags {
            0 | LAST => {}
            flags if flags & COMPRESSED != 0 && flags & !(COMPRESSED | LAST) == 0 => {
                return Err(NotAFrame::Compressed);
            }
            _ => return Err(NotAFrame::Flags),
        }
        let Some(length) = rest.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)) else {
            return Ok(None);
        };
        let size = usize::try_from(length).ok().filter(|size| *size <= MESSAGE_BYTES_MAX);
        let size = size.ok_or(NotAFrame::TooLong(length))?;
        if self.unread.len() < HEAD + size {
            return Ok(None);
        }
        let last = *flags == LAST;
        let mut frame = self.unread.split_to(HEAD + size);
        let content = frame.split_off(HEAD).freeze();
        Ok(Some(if last { Received::Last(content) } else { Received::Message(content) }))
    }

    /// Says that nothing more comes.
    ///
    /// # Errors
    /// A frame is half there.
    pub fn end(&self) -> Result<(), NotAFrame> {
        if self.unread.is_empty() { Ok(()) } else { Err(NotAFrame::BrokenOff) }
    }
}

/// A frame with this content.
pub fn message(content: &[u8]) -> Bytes {
    framed(0, content)
}

/// The last frame of a stream that ended well, or with this error.
pub(crate) fn last(error: Option<serde_json::Value>) -> Bytes {
    match error {
        None => framed(LAST, b"{}"),
        Some(error) => framed(LAST, error.to_string().as_bytes()),
    }
}

fn framed(flags: u8, content: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEAD + content.len());
    frame.put_u8(flags);
    // What this server sends is far below 4 GiB: see `EVENT_BYTES_MAX`.
    frame.put_u32(u32::try_from(content.len()).unwrap_or(u32::MAX));
    frame.put_slice(content);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(frames: &mut Frames) -> Result<Vec<Received>, NotAFrame> {
        std::iter::from_fn(|| frames.next_frame().transpose()).collect()
    }

    #[test]
    fn what_is_no_frame_is_refused_before_its_content_is_waited_for() {
        let refused = |bytes: &[u8]| {
            let mut frames = Frames::default();
            frames.push(bytes);
            frames.next_frame()
        };
        assert_eq!(refused(&[0, 0x7f, 0xff, 0xff, 0xff]), Err(NotAFrame::TooLong(0x7fff_ffff)));
        assert_eq!(refused(&[1]), Err(NotAFrame::Compressed));
        assert_eq!(refused(&[3, 0, 0, 0, 0]), Err(NotAFrame::Compressed));
        assert_eq!(refused(&[4]), Err(NotAFrame::Flags));
        assert_eq!(refused(&[0x80]), Err(NotAFrame::Flags));
    }

    #[test]
    fn a_half_frame_at_the_end_is_an_error() {
        let mut frames = Frames::default();
        frames.push(&[0, 0, 0, 0, 9, b'{']);
        assert_eq!(frames.next_frame(), Ok(None));
        assert_eq!(frames.end(), Err(NotAFrame::BrokenOff));
    }

    proptest! {
        #[test]
        fn frames_come_back_however_they_are_cut(
            contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..6),
            cut in 1..30usize,
        ) {
            let stream: Vec<u8> = contents.iter().flat_map(|content| message(content)).chain(last(None)).collect();
            let mut frames = Frames::default();
            let mut got = Vec::new();
            for piece in stream.chunks(cut) {
                frames.push(piece);
                got.extend(all(&mut frames).unwrap());
            }
            let mut sent: Vec<_> = contents.into_iter().map(|content| Received::Message(content.into())).collect();
            sent.push(Received::Last(Bytes::from_static(b"{}")));
            prop_assert_eq!(got, sent);
            prop_assert_eq!(frames.end(), Ok(()));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut frames = Frames::default();
            frames.push(&bytes);
            let _ = all(&mut frames);
        }
    }
}
