//! Names as the most forgiving file system would compare them.

/// Characters that HFS+ leaves out when it compares names; git knows them for the same reason (CVE-2014-9390).
const IGNORED: &[(char, char)] = &[
    ('\u{ad}', '\u{ad}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
];

/// The words of a path, each in the form in which names that any file system may hold for one are equal: without case,
/// without what does not show, without what Windows cuts off at the end. A backslash separates there, too.
pub(super) fn words(path: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(path);
    text.split(['/', '\\']).map(word).filter(|word| !word.is_empty()).collect()
}

fn word(name: &str) -> String {
    let ignored = |c: &char| IGNORED.iter().any(|(first, last)| (first..=last).contains(&c));
    // Upper case first: `ſ` is an `S`, and its lower case is `ſ` still.
    let folded: String = name
        .chars()
        .filter(|c| !ignored(c))
        .map(narrow)
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect();
    let stream = folded.find(':').map_or(folded.as_str(), |at| if at == 0 { &folded } else { &folded[..at] });
    match stream.trim_end_matches([' ', '.']) {
        "" => folded,
        // The short names that Windows gives these.
        "git~1" => ".git".to_owned(),
        "gitmod~1" => ".gitmodules".to_owned(),
        "gitatt~1" => ".gitattributes".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

/// The ASCII character that a full-width one stands for.
fn narrow(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        c => c,
    }
}
