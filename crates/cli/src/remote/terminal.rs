//! Our own terminal, while a command's terminal in a sandbox speaks through it.

use rustix::stdio::{stdin, stdout};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use serde_json::{Value, json};

/// Whether we have a terminal to lend: for reading keys and for showing.
pub(super) fn is_ours() -> bool {
    isatty(stdin()) && isatty(stdout())
}

/// Its size, as the protocol writes it. A terminal without one is like most.
pub(super) fn size() -> Value {
    let size = tcgetwinsize(stdout()).ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
    let (rows, cols) = size.map_or((24, 80), |size| (size.ws_row, size.ws_col));
    json!({"size": {"rows": rows, "cols": cols}})
}

/// The terminal in raw mode: every key goes through. As it was again when this is dropped.
pub(super) struct Raw(Option<Termios>);

impl Raw {
    pub(super) fn enter() -> Raw {
        let Ok(before) = tcgetattr(stdin()) else { return Raw(None) };
        let mut raw = before.clone();
        raw.make_raw();
        let _ = tcsetattr(stdin(), OptionalActions::Drain, &raw);
        Raw(Some(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(stdin(), OptionalActions::Drain, before);
        }
    }
}
