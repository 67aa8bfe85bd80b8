//! Calls that the sandbox's filter refused: answered with the error at once, recorded once each.

use crate::Error;
use jail::seccomp::{Rule, describe};
use jail::sys::seccomp::{receive, refuse};
use ledger::Ledger;
use model::{Decision, Event, SandboxId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
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

/// What came of looking for a refused call.
pub(crate) enum Answered {
    /// There was none after all.
    Nothing,
    /// It was answered; one like it was there before, or there were too many.
    Known,
    /// It was answered, and is to be recorded.
    New { asked: String, rule: String },
}

impl Denials {
    pub(crate) fn new(listener: Option<OwnedFd>, rules: impl Into<Cow<'static, [Rule]>>) -> Denials {
        Denials { listener, rules: rules.into(), recorded: HashSet::new(), count: 0 }
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
        match self.next() {
            Answered::New { asked, rule } => ledger.observe(Event::Denial {
                sandbox: Some(sandbox),
                asked,
                decision: Decision { verdict: "deny", rule },
            })?,
            Answered::Known => {}
            // Everything inside may be gone, and so the listener's use.
            Answered::Nothing if self.is_hung_up() => self.listener = None,
            Answered::Nothing => {}
        }
        Ok(())
    }

    /// Answers one. To be called when there is one: it would wait for it.
    pub(crate) fn next(&mut self) -> Answered {
        let Some(listener) = &self.listener else { return Answered::Nothing };
        // The caller may have died before we looked.
        let Ok(call) = receive(listener.as_fd()) else { return Answered::Nothing };
        let rule = self.rules.iter().find(|rule| rule.number == call.number as u32);
        let _ = refuse(listener.as_fd(), call.id, rule.map_or(1, Rule::errno));
        self.count += 1;
        if self.recorded.len() == RECORDED_MAX {
            return Answered::Known;
        }
        let (rule, asked) = describe(&self.rules, &call);
        match self.recorded.insert((rule.clone(), asked.clone())) {
            true => Answered::New { asked, rule },
            false => Answered::Known,
        }
    }

    /// Whether there is one to answer.
    pub(crate) fn is_waiting(&self) -> bool {
        self.polled().contains(PollFlags::IN)
    }

    fn is_hung_up(&self) -> bool {
        self.polled().contains(PollFlags::HUP)
    }

    fn polled(&self) -> PollFlags {
        let Some(listener) = &self.listener else { return PollFlags::HUP };
        let mut fds = [PollFd::new(listener, PollFlags::IN)];
        let _ = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        fds[0].revents()
    }
}
