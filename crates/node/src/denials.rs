//! Calls that the sandbox's filter refused: answered with the error at once, recorded once each.

use crate::Error;
use jail::seccomp::{Rule, describe};
use jail::sys::seccomp::{receive, refuse};
use ledger::Ledger;
use model::{Decision, Event, SandboxId};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::borrow::Cow;
use std::collections::HashSet;

/// So many different denials of one sandbox get a record of their own; all are counted.
const RECORDED_MAX: usize = 64;

/// The denials of one sandbox.
#[derive(Debug)]
pub(crate) struct Denials {
    listener: Option<OwnedFd>,
    rules: Cow<'static, [Rule]>,
    recorded: HashSet<(String, String)>,
    count: u64,
}

impl Denials {
    pub(crate) fn new(listener: Option<OwnedFd>, rules: Cow<'static, [Rule]>) -> Denials {
        Denials { listener, rules, recorded: HashSet::new(), count: 0 }
    }

    /// Polls readable when there is one.
    pub(crate) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(|listener| listener.as_fd())
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Answers one and records it if it says something new.
    pub(crate) fn answer(&mut self, sandbox: SandboxId, ledger: &mut Ledger) -> Result<(), Error> {
        let Some(listener) = &self.listener else { return Ok(()) };
        let Ok(call) = receive(listener.as_fd()) else {
            // The caller died before we looked; or everything inside is gone, and so is the listener's use.
            if self.is_hung_up() {
                self.listener = None;
            }
            return Ok(());
        };
        let rule = self.rules.iter().find(|rule| rule.number == call.number as u32);
        let _ = refuse(listener.as_fd(), call.id, rule.map_or(1, Rule::errno));
        self.count += 1;
        let (rule, asked) = describe(&self.rules, &call);
        let new = self.recorded.len() < RECORDED_MAX && self.recorded.insert((rule.clone(), asked.clone()));
        if new {
            ledger.observe(Event::Denial {
                sandbox: Some(sandbox),
                asked,
                decision: Decision { verdict: "deny", rule },
            })?;
        }
        Ok(())
    }

    fn is_hung_up(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let Some(listener) = &self.listener else { return true };
        let mut fds = [PollFd::new(listener, PollFlags::IN)];
        let _ = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        fds[0].revents().contains(PollFlags::HUP)
    }
}
