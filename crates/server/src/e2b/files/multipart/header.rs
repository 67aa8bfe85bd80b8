//! The header lines of a part of a form.

use super::{NotAForm, Part};

/// Reads a part's headers.
pub(super) fn part(lines: &[u8]) -> Result<Part, NotAForm> {
    let text = std::str::from_utf8(lines).map_err(|_| NotAForm::Header)?;
    let mut part = Part::default();
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or(NotAForm::Header)?;
        if !name.eq_ignore_ascii_case("content-disposition") {
            continue;
        }
        let mut extended = None;
        for (name, value) in parameters(value) {
            match name.as_str() {
                "name" => part.name = Some(value),
                "filename" => part.filename = Some(value),
                "filename*" => {
                    let (_, encoded) = value.split_once("''").ok_or(NotAForm::Header)?;
                    let decoded = percent_encoding::percent_decode_str(encoded).decode_utf8();
                    extended = Some(decoded.map_err(|_| NotAForm::Header)?.into_owned());
                }
                _ => {}
            }
        }
        part.filename = extended.or(part.filename);
    }
    Ok(part)
}

/// The parameters behind the first `;`, names in lower case. As in Go, a backslash escapes in quotes only what needs it.
pub(super) fn parameters(value: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let Some((_, mut rest)) = value.split_once(';') else { return found };
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim().to_ascii_lowercase();
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let (value, after) = after.split_once(';').unwrap_or((after, ""));
                (value.trim().to_owned(), after)
            }
        };
        found.push((name, value));
        rest = after.trim_start().trim_start_matches(';');
    }
    found
}

/// The text up to the closing quote, and what is behind it.
fn unquoted(text: &str) -> (String, &str) {
    let (mut value, mut letters) = (String::new(), text.char_indices());
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &text[at + 1..]),
            '\\' if text[at + 1..].starts_with(['"', '\\']) => {
                value.extend(letters.next().map(|(_, letter)| letter))
            }
            letter => value.push(letter),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backslash_before_a_letter_stays() {
        assert_eq!(
            parameters(r#"x; filename="C:\dir\file""#),
            vec![("filename".to_owned(), r"C:\dir\file".to_owned())]
        );
    }
}
