//! One spelling for bytes that a stranger chose: safe to show, and nothing is lost.

/// Writes `bytes` as text that can be shown on a terminal and put into a record.
///
/// Printable characters stay; a backslash becomes `\\`; control characters, invisible ones, bidirectional overrides and bytes
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

/// A character that shows as itself: it changes neither the terminal nor the reading order of its neighbours, and is
/// neither invisible nor a space that looks like another. Of Unicode's format characters, its `Default_Ignorable_Code_Point`,
/// its spaces, and what has no meaning that all share.
fn is_plain(c: char) -> bool {
    let shows = !matches!(
        c,
        '\u{a0}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{1680}'
            | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2000}'..='\u{200f}'
            | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' | '\u{2800}' | '\u{3000}' | '\u{3164}'
            | '\u{e000}'..='\u{f8ff}' | '\u{fdd0}'..='\u{fdef}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffc}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1345f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..
    );
    // The last two of each plane are no characters.
    !c.is_control() && shows && u32::from(c) & 0xfffe != 0xfffe
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
        assert_eq!(quote("pu\u{ad}sh\u{a0}a\u{fe0f}"), r"pu\xc2\xadsh\xc2\xa0a\xef\xb8\x8f");
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
