//! One spelling for bytes that a stranger chose: safe to show, and nothing is lost.

/// Writes `bytes` as text that can be shown on a terminal and put into a record.
///
/// Printable characters stay; a backslash becomes `\\`; control characters, bidirectional overrides and bytes
/// that are not UTF-8 become `\xNN`. The mapping is injective: [`unquote`] gives the bytes back, so two
/// different names can never look the same in a record.
pub fn quote(bytes: impl AsRef<[u8]>) -> String {
    let mut text = String::with_capacity(bytes.as_ref().len());
    for chunk in bytes.as_ref().utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str(r"\\"),
                c if is_plain(c) => text.push(c),
                c => push_escaped(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        push_escaped(&mut text, chunk.invalid());
    }
    text
}

/// Gives back the bytes that [`quote`] wrote.
///
/// # Errors
/// A text that `quote` cannot have written.
pub fn unquote(text: &str) -> Result<Vec<u8>, NotQuoted> {
    let refuse = || NotQuoted(text.to_owned());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'\\', [b'\\', tail @ ..]) => {
                bytes.push(b'\\');
                tail
            }
            (b'\\', [b'x', high, low, tail @ ..]) => {
                let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
                bytes.push(digit(*high).zip(digit(*low)).map(|(h, l)| h << 4 | l).ok_or_else(refuse)?);
                tail
            }
            (b'\\', _) => return Err(refuse()),
            (plain, tail) => {
                bytes.push(*plain);
                tail
            }
        };
    }
    if quote(&bytes) == text { Ok(bytes) } else { Err(refuse()) }
}

/// Why a text was not written by [`quote`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a quoted text: expected plain characters, `\\\\` and `\\xNN`")]
pub struct NotQuoted(String);

/// A character that changes neither the terminal nor the reading order of its neighbours.
fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

fn push_escaped(text: &mut String, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push_str("\\x");
        text.push(HEX[usize::from(byte >> 4)] as char);
        text.push(HEX[usize::from(byte & 15)] as char);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_could_drive_a_terminal_is_spelled_out() {
        assert_eq!(quote("a\x1b[31m\n\\é\u{202e}"), r"a\x1b[31m\x0a\\é\xe2\x80\xae");
        assert_eq!(quote(b"\xff\xfe"), r"\xff\xfe");
    }

    #[test]
    fn a_text_that_quote_does_not_write_is_refused() {
        for text in [r"\", r"\x1", r"\xzz", r"\n", r"\x41"] {
            assert!(unquote(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_byte_string_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(unquote(&quote(&bytes)).unwrap(), bytes);
        }
    }
}
