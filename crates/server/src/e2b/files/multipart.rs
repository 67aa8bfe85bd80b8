//! Forms with files (RFC 7578), found in a stream of bytes however it was cut, without copying what the files hold.

mod header;

use crate::bounds::{BOUNDARY_BYTES_MAX, PART_HEADER_BYTES_MAX, PARTS_MAX, PREAMBLE_BYTES_MAX};
use bytes::{Buf, Bytes, BytesMut};
use header::{parameters, part};
use memchr::memmem;

/// Reads one form.
#[derive(Debug)]
pub struct Form {
    /// `\r\n--` and the boundary.
    delimiter: Vec<u8>,
    finder: memmem::Finder<'static>,
    state: State,
    /// Bytes that came and are not understood yet: first these, which may begin a delimiter or a header…
    held: BytesMut,
    /// …then these.
    unread: Bytes,
    parts: usize,
    skipped: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preamble,
    /// Directly behind a delimiter.
    Behind,
    Content,
    Ended,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A part begins.
    Part(Part),
    /// Some of its content.
    Content(Bytes),
    /// The part is over.
    PartEnd,
    /// The form is over; what follows it means nothing.
    End,
}

/// The name of a part, and of the file in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// The field's name.
    pub name: Option<String>,
    /// The file's.
    pub filename: Option<String>,
}

/// Why bytes are no form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAForm {
    /// The content type names no boundary, or none that can be.
    #[error("multipart/form-data without a boundary of 1 to {BOUNDARY_BYTES_MAX} characters")]
    Boundary,
    /// No part begins where one should.
    #[error("the form does not begin with its boundary")]
    Preamble,
    /// A part's headers are too long or unreadable.
    #[error("the header of a part is unreadable or longer than {PART_HEADER_BYTES_MAX} bytes")]
    Header,
    /// Too many parts.
    #[error("the form has more than {PARTS_MAX} parts")]
    Parts,
    /// The end comes before the form's.
    #[error("the form breaks off")]
    BrokenOff,
}

impl Form {
    /// A form with the boundary that this content type names.
    ///
    /// # Errors
    /// [`NotAForm::Boundary`].
    pub fn of(content_type: &str) -> Result<Form, NotAForm> {
        let boundary = parameters(content_type).into_iter().find(|(name, _)| name == "boundary");
        let boundary = boundary.map(|(_, value)| value).ok_or(NotAForm::Boundary)?;
        let fits = (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len());
        if !fits || !boundary.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            return Err(NotAForm::Boundary);
        }
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        Ok(Form {
            finder: memmem::Finder::new(&delimiter).into_owned(),
            delimiter,
            state: State::Preamble,
            // The first delimiter may stand at the very beginning, without a line before it.
            held: BytesMut::from(&b"\r\n"[..]),
            unread: Bytes::new(),
            parts: 0,
            skipped: 0,
        })
    }

    /// Takes more of the stream. Everything found before must have been taken.
    pub fn push(&mut self, bytes: Bytes) {
        debug_assert!(self.unread.is_empty());
        self.unread = bytes;
    }

    /// What is next in the bytes that came; none if more must come first.
    ///
    /// # Errors
    /// What is no form; nothing after it can be understood.
    pub fn next_found(&mut self) -> Result<Option<Found>, NotAForm> {
        loop {
            match self.state {
                State::Preamble => match self.content() {
                    Content::Some(bytes) => {
                        self.skipped += bytes.len();
                        if self.skipped > PREAMBLE_BYTES_MAX {
                            return Err(NotAForm::Preamble);
                        }
                    }
                    Content::End => self.state = State::Behind,
                    Content::NeedsMore => return Ok(None),
                },
                State::Content => match self.content() {
                    Content::Some(bytes) => return Ok(Some(Found::Content(bytes))),
                    Content::End => {
                        self.state = State::Behind;
                        return Ok(Some(Found::PartEnd));
                    }
                    Content::NeedsMore => return Ok(None),
                },
                State::Behind => return self.header(),
                State::Ended => {
                    self.unread.clear();
                    return Ok(None);
                }
            }
        }
    }

    /// Says that nothing more comes.
    ///
    /// # Errors
    /// The form is not over.
    pub fn end(&self) -> Result<(), NotAForm> {
        if self.state == State::Ended { Ok(()) } else { Err(NotAForm::BrokenOff) }
    }

    /// Content up to the next delimiter. What may begin one is held until it is known.
    ///
    /// What is held is a beginning of the delimiter, in which `\r` stands only in front: if it does not go on as the
    /// delimiter does, no delimiter begins in it.
    fn content(&mut self) -> Content {
        if !self.held.is_empty() {
            let rest = &self.delimiter[self.held.len()..];
            let more = self.unread.len().min(rest.len());
            if self.unread[..more] != rest[..more] {
                return Content::Some(self.held.split().freeze());
            }
            let whole = more == rest.len();
            self.held.extend_from_slice(&self.unread.split_to(more));
            if !whole {
                return Content::NeedsMore;
            }
            self.held.clear();
            return Content::End;
        }
        if self.unread.is_empty() {
            return Content::NeedsMore;
        }
        match self.finder.find(&self.unread) {
            Some(0) => {
                self.unread.advance(self.delimiter.len());
                Content::End
            }
            Some(at) => Content::Some(self.unread.split_to(at)),
            None => {
                let known = beginning(&self.unread, &self.delimiter);
                let content = self.unread.split_to(known);
                self.held.extend_from_slice(&self.unread);
                self.unread.clear();
                if content.is_empty() { Content::NeedsMore } else { Content::Some(content) }
            }
        }
    }

    /// What stands behind a delimiter: `--` ends the form, a line end and headers begin a part.
    fn header(&mut self) -> Result<Option<Found>, NotAForm> {
        let room = (PART_HEADER_BYTES_MAX + 4).saturating_sub(self.held.len());
        let taken = self.unread.len().min(room);
        let before = self.held.len();
        self.held.extend_from_slice(&self.unread[..taken]);
        if self.held.starts_with(b"--") {
            self.state = State::Ended;
            self.held.clear();
            self.unread.clear();
            return Ok(Some(Found::End));
        }
        // RFC 2046 lets spaces stand between a boundary and its line's end.
        let padding = self.held.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let lines = &self.held[padding..];
        if !lines.starts_with(&b"\r\n"[..lines.len().min(2)]) && lines != b"-" {
            return Err(NotAForm::Header);
        }
        let Some(at) = memmem::find(lines, b"\r\n\r\n") else {
            if taken == room {
                return Err(NotAForm::Header);
            }
            self.unread.clear();
            return Ok(None);
        };
        let part = part(&lines[..at])?;
        self.parts += 1;
        if self.parts > PARTS_MAX {
            return Err(NotAForm::Parts);
        }
        // `before` bytes were held already; the blank line cannot end among them, or it had been found then.
        let end = padding + at + 4;
        self.unread.advance(end - before);
        self.held.clear();
        self.state = State::Content;
        Ok(Some(Found::Part(part)))
    }
}

enum Content {
    Some(Bytes),
    End,
    NeedsMore,
}

/// Where in `bytes` something stands that may begin the delimiter: the length if nothing does.
fn beginning(bytes: &[u8], delimiter: &[u8]) -> usize {
    let last = memchr::memrchr(b'\r', bytes).filter(|at| delimiter.starts_with(&bytes[*at..]));
    last.unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TYPE: &str = "multipart/form-data; boundary=XX";

    /// The parts of a form that comes in pieces of `cut` bytes.
    fn parts(body: &[u8], cut: usize) -> Result<Vec<(Part, Vec<u8>)>, NotAForm> {
        let mut form = Form::of(TYPE)?;
        let mut parts: Vec<(Part, Vec<u8>)> = Vec::new();
        for piece in body.chunks(cut) {
            form.push(Bytes::copy_from_slice(piece));
            while let Some(found) = form.next_found()? {
                match found {
                    Found::Part(part) => parts.push((part, Vec::new())),
                    Found::Content(bytes) => parts.last_mut().unwrap().1.extend(bytes),
                    Found::PartEnd | Found::End => {}
                }
            }
        }
        form.end().map(|()| parts)
    }

    fn named(name: &str, filename: Option<&str>) -> Part {
        Part { name: Some(name.to_owned()), filename: filename.map(str::to_owned) }
    }

    #[test]
    fn a_form_is_read_as_browsers_and_sdks_write_it() {
        let body = b"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"/a b\\\"c.txt\"\r\nContent-Type: text/plain\r\n\r\nhello\r\n--XX \r\ncontent-disposition: form-data; name=file; filename*=UTF-8''%C3%A9\r\n\r\n\r\n--XX--\r\nepilogue";
        let wanted = vec![
            (named("file", Some("/a b\"c.txt")), b"hello".to_vec()),
            (named("file", Some("é")), Vec::new()),
        ];
        for cut in 1..=body.len() {
            assert_eq!(parts(body, cut), Ok(wanted.clone()), "in pieces of {cut}");
        }
        assert_eq!(
            parts(b"preamble\r\n--XX\r\n\r\nx\r\n--XX--", 4),
            Ok(vec![(Part::default(), b"x".to_vec())])
        );
        assert_eq!(parts(b"--XX--", 1), Ok(vec![]));
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let long = [b"--XX\r\n".to_vec(), vec![b'a'; PART_HEADER_BYTES_MAX + 10]].concat();
        assert_eq!(parts(&long, 1000), Err(NotAForm::Header));
        assert_eq!(parts(b"--XXjunk\r\n\r\n", 100), Err(NotAForm::Header));
        assert_eq!(parts(&[b'a'; PREAMBLE_BYTES_MAX + 100], 512), Err(NotAForm::Preamble));
        assert_eq!(parts(b"--XX\r\n\r\nhello", 100), Err(NotAForm::BrokenOff));
        assert_eq!(parts(&b"--XX\r\n\r\n\r\n".repeat(PARTS_MAX + 1), 100), Err(NotAForm::Parts));
        for bad in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"\u{e9}\"",
        ] {
            assert_eq!(Form::of(bad).err(), Some(NotAForm::Boundary), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn content_comes_back_whatever_it_holds_and_however_it_is_cut(
            contents in proptest::collection::vec(
                proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'X'), any::<u8>()], 0..60), 0..4),
            cut in 1..40usize,
        ) {
            // What holds the delimiter itself is another form.
            prop_assume!(contents.iter().all(|content| memmem::find(&[b"\r\n", &content[..]].concat(), b"\r\n--XX").is_none()));
            let mut body = Vec::new();
            for content in &contents {
                body.extend_from_slice(b"--XX\r\n\r\n");
                body.extend_from_slice(content);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"--XX--\r\n");
            let got: Vec<Vec<u8>> = parts(&body, cut).unwrap().into_iter().map(|(_, content)| content).collect();
            prop_assert_eq!(got, contents);
        }

        #[test]
        fn no_bytes_make_it_panic(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'X'), any::<u8>()], 0..200),
            cut in 1..40usize,
        ) {
            let _ = parts(&bytes, cut);
            let _ = parts(&[b"--XX\r\n".to_vec(), bytes].concat(), cut);
        }

        #[test]
        fn no_content_type_makes_it_panic(text in "\\PC{0,60}") {
            let _ = Form::of(&text);
            let _ = part(text.as_bytes());
        }
    }
}
