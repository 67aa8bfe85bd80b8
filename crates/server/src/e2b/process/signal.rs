//! Signals in words, as an end event has them.

use std::borrow::Cow;

/// Signals as Go's syscall package names them on Linux, which is what E2B's own program shows.
const SIGNAL_WORDS: [&str; 15] = [
    "hangup",
    "interrupt",
    "quit",
    "illegal instruction",
    "trace/breakpoint trap",
    "aborted",
    "bus error",
    "floating point exception",
    "killed",
    "user defined signal 1",
    "segmentation fault",
    "user defined signal 2",
    "broken pipe",
    "alarm clock",
    "terminated",
];

pub(super) fn signal_words(signal: u8) -> Cow<'static, str> {
    match usize::from(signal).checked_sub(1).and_then(|at| SIGNAL_WORDS.get(at)) {
        Some(words) => Cow::Borrowed(words),
        None => Cow::Owned(format!("signal {signal}")),
    }
}

/// The signal that the status of an end event names.
pub fn signal_of(status: &str) -> Option<u8> {
    let words = status.strip_prefix("signal: ")?;
    let known =
        SIGNAL_WORDS.iter().position(|known| *known == words).and_then(|at| u8::try_from(at + 1).ok());
    known.or_else(|| words.strip_prefix("signal ")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_is_found_by_its_words() {
        for signal in 1..=64 {
            assert_eq!(signal_of(&format!("signal: {}", signal_words(signal))), Some(signal));
        }
        assert_eq!(signal_of("exit status 3"), None);
    }
}
