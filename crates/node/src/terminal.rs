//! The caller's terminal, while a sandbox's terminal speaks through it.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::termios::{
    OptionalActions, OutputModes, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};

/// Which of the caller's three descriptors are terminals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminals {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

impl Terminals {
    pub(crate) fn of_caller() -> Terminals {
        use rustix::stdio::{stderr, stdin, stdout};
        Terminals { stdin: isatty(stdin()), stdout: isatty(stdout()), stderr: isatty(stderr()) }
    }

    pub(crate) fn any(self) -> bool {
        self.stdin || self.stdout || self.stderr
    }

    /// One of them, to ask for the size of the window.
    fn shown(self) -> BorrowedFd<'static> {
        if self.stdout {
            rustix::stdio::stdout()
        } else if self.stderr {
            rustix::stdio::stderr()
        } else {
            rustix::stdio::stdin()
        }
    }

    /// Gives the sandbox's terminal the size of the caller's.
    pub(crate) fn copy_size(self, master: &OwnedFd) {
        // A terminal without a size (a serial line) leaves the sandbox's without one.
        if let Ok(size) = tcgetwinsize(self.shown()) {
            let _ = tcsetwinsize(master, size);
        }
    }
}

/// The caller's terminal in raw mode; as it was again when this is dropped.
#[derive(Debug)]
pub(crate) struct Raw {
    before: Option<Termios>,
}

impl Raw {
    /// Passes every key through, so that the sandbox's own terminal decides what Ctrl-C means. Only where the caller's
    /// input is a terminal; where only its output is one, that one keeps translating and the sandbox's does not.
    pub(crate) fn enter(terminals: Terminals, master: &OwnedFd) -> Raw {
        let stdin = rustix::stdio::stdin();
        if !(terminals.stdin && terminals.stdout)
            && let Ok(mut inner) = tcgetattr(master)
        {
            // Others in the caller's pipeline write to the caller's terminal and rely on what it does to lines; so it goes
            // on doing that, for us too.
            inner.output_modes -= OutputModes::OPOST;
            let _ = tcsetattr(master.as_fd(), OptionalActions::Now, &inner);
        }
        if terminals.stdin
            && let Ok(before) = tcgetattr(stdin)
        {
            let mut raw = before.clone();
            raw.make_raw();
            if !terminals.stdout {
                raw.output_modes = before.output_modes;
            }
            let _ = tcsetattr(stdin, OptionalActions::Drain, &raw);
            return Raw { before: Some(before) };
        }
        Raw { before: None }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, before);
        }
    }
}
