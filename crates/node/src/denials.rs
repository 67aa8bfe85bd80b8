//! Calls that the sandbox's filter refused: answered with the error at once, recorded once each.

use crate::Error;
use crate::board::Told;
use jail::seccomp::{Action, Rule, describe};
use jail::sys::seccomp::{receive, refuse};
use ledger::Ledger;
use model::{Code, Denial, Event, SandboxId};
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
    New(Denial),
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

    /// Answers one; if it says something new it is recorded, and told inside.
    pub(crate) fn answer(
        &mut self,
        sandbox: SandboxId,
        ledger: &mut Ledger,
        told: &mut Told<'_>,
    ) -> Result<(), Error> {
        match self.next() {
            Answered::New(denial) => {
                told.board.post(told.at, denial.clone());
                ledger.observe(Event::denied(Some(sandbox), None, denial))?;
            }
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
        let found = self.rules.iter().find(|rule| rule.number == call.number as u32);
        let _ = refuse(listener.as_fd(), call.id, found.map_or(1, Rule::errno));
        self.count += 1;
        if self.recorded.len() == RECORDED_MAX {
            return Answered::Known;
        }
        let (rule, asked) = describe(&self.rules, &call);
        if !self.recorded.insert((rule.clone(), asked.clone())) {
            return Answered::Known;
        }
        let how = "no policy grants it: do the work without this call";
        let denial = Denial::new(Code::Syscall, rule, asked, how);
        Answered::New(match found.map(|rule| rule.action) {
            Some(Action::AllowIf(..)) => denial.nearest("the same call with plain arguments"),
            _ => denial,
        })
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
