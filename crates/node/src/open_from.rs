//! From where on the log has to be read to find every sandbox of a server that is without an end. An index beside the log:
//! where it is lost, the log is read from its beginning.

use std::path::{Path, PathBuf};

/// The number of the first record that matters.
pub(crate) fn read(state: &Path) -> u64 {
    std::fs::read_to_string(place(state)).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Remembers it, whole or not at all. Without it the next reader reads more; nothing else depends on it.
pub(crate) fn write(state: &Path, first: u64) {
    let half = state.join("cache").join(format!("open-from-{}", std::process::id()));
    let written =
        std::fs::write(&half, first.to_string()).and_then(|()| std::fs::rename(&half, place(state)));
    if written.is_err() {
        let _ = std::fs::remove_file(half);
    }
}

fn place(state: &Path) -> PathBuf {
    state.join("cache").join("open-from")
}
