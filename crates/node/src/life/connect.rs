//! The descriptors of the command, and the streams between them and the caller's.

use super::{INPUT, Life};
use crate::relay::{self, Stream};
use agent::Stdio;
use rustix::fd::OwnedFd;

impl Life {
    /// Makes the command's three descriptors: the sandbox's terminal where the caller has one, pipes elsewhere.
    pub(super) fn connect(
        &mut self,
        passed: &mut Vec<OwnedFd>,
        master: Option<OwnedFd>,
    ) -> std::io::Result<[Stdio; 3]> {
        use rustix::stdio::{stderr, stdin, stdout};
        let terminals = self.terminals;
        let mut stdio = [Stdio::Terminal; 3];
        if !terminals.stdin {
            let (read, write) = relay::pipe()?;
            stdio[0] = pass(passed, read);
            self.streams.insert(INPUT, Stream::new(relay::callers(stdin())?, write));
            relay::let_go(0)?;
        }
        for (place, fd, is_terminal) in [(1, stdout(), terminals.stdout), (2, stderr(), terminals.stderr)] {
            if !is_terminal {
                let (read, write) = relay::pipe()?;
                stdio[place] = pass(passed, write);
                self.streams.push(Stream::new(read, relay::callers(fd)?));
                // Standard error stays: it is where we speak ourselves.
                if place == 1 {
                    relay::let_go(1)?;
                }
            }
        }
        if let Some(master) = master {
            terminals.copy_size(&master);
            let flags = rustix::fs::fcntl_getfl(&master)? | rustix::fs::OFlags::NONBLOCK;
            rustix::fs::fcntl_setfl(&master, flags)?;
            // What a terminal shows goes to where the caller looks; input that is echoed, too.
            let shown = if terminals.stdout {
                stdout()
            } else if terminals.stderr {
                stderr()
            } else {
                stdin()
            };
            self.streams.push(Stream::new(master.try_clone()?, relay::callers(shown)?));
            if terminals.stdin {
                self.streams.insert(INPUT, Stream::new(relay::callers(stdin())?, master.try_clone()?));
            }
            self.master = Some(master);
        }
        Ok(stdio)
    }
}

/// Adds a descriptor to those that go with the command.
fn pass(passed: &mut Vec<OwnedFd>, descriptor: OwnedFd) -> Stdio {
    let place = passed.len();
    passed.push(descriptor);
    // There are three at most.
    Stdio::Passed(place as u8)
}
