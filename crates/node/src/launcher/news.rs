//! What builders and the kernel say of sandboxes that are on their way, or live.

use super::clients::Telling;
use super::creation::refusal;
use super::process::{Launcher, Watched};
use super::protocol::{Reason, Refusal, RefusalKind, Standing};
use super::sandbox::{DENIAL_WINDOW_NS, Listen, Sandbox};
use super::timers::{Due, now_ns};
use crate::denials::Denials;
use jail::{Built, seccomp};
use model::LimitHit;
use rustix::event::epoll;

impl Launcher {
    /// A builder said how it went.
    pub(super) fn reported(&mut self, key: u32) {
        let Some(sandbox) = self.sandboxes.get_mut(&key) else { return };
        let Some(alive) = sandbox.alive_mut() else { return };
        let Some(building) = &alive.building else { return };
        let report = match building.report() {
            Ok(None) => return,
            report => report,
        };
        let _ = epoll::delete(&self.epoll, building);
        alive.building = None;
        let Built { walls, disk, board, denials, terminals, .. } = match report {
            Ok(Some(built)) => built,
            Ok(None) => return,
            Err(error) => return alive.kill(Reason::Refused(refusal(&error.into()))),
        };
        let missing = alive.required.missing_from(walls);
        if !missing.is_empty() {
            let what = format!("walls that the policy requires do not stand: {missing}");
            return alive.kill(Reason::Refused(Refusal { kind: RefusalKind::Missing, what, mend: None }));
        }
        if let Some(board) = &board {
            alive.board.open(board);
        }
        alive.disk = Some(disk);
        alive.at = board;
        alive.terminals = terminals;
        alive.denials = Denials::new(denials, seccomp::X86_64);
        let standing = Standing {
            walls,
            landlock: alive.landlock,
            profile: alive.profile.to_owned(),
            first_pid: alive.pid,
        };
        if let Some(listener) = alive.denials.as_fd() {
            let data = epoll::EventData::new_u64(Watched::Denials.token(key));
            let _ = epoll::add(&self.epoll, listener, data, epoll::EventFlags::IN);
        }
        sandbox.standing = Some(standing);
        if self.server.is_some() {
            self.tell_server(Telling::Outcome(key));
        } else if let Some(alive) = self.sandboxes.get_mut(&key).and_then(Sandbox::alive_mut) {
            // The next server gets a fresh one.
            alive.control = None;
        }
    }

    /// Calls of a sandbox were refused by its filter, and wait for their answer.
    pub(super) fn denials(&mut self, key: u32) {
        let Some(sandbox) = self.sandboxes.get_mut(&key) else { return };
        let known = sandbox.denied.len();
        let listen = sandbox.answer_denials(now_ns());
        let new = known..sandbox.denied.len();
        if let Some(listener) = sandbox.alive().and_then(|alive| alive.denials.as_fd()) {
            let interest = match listen {
                Listen::On => epoll::EventFlags::IN,
                Listen::Later { at_ns } => {
                    self.timers.set(at_ns.min(now_ns() + DENIAL_WINDOW_NS), Due::Resume(key));
                    epoll::EventFlags::empty()
                }
            };
            let data = epoll::EventData::new_u64(Watched::Denials.token(key));
            let _ = epoll::modify(&self.epoll, listener, data, interest);
        }
        for place in new {
            self.tell_server(Telling::Denied(key, place));
        }
    }

    /// The memory of a sandbox may have run out.
    pub(super) fn memory(&mut self, key: u32) {
        let Some(alive) = self.sandboxes.get_mut(&key).and_then(Sandbox::alive_mut) else { return };
        let Some(memory) = &alive.memory else { return };
        if memory.tripped() {
            // v1 is about to kill one process; the promise is the whole sandbox.
            let _ = epoll::delete(&self.epoll, memory.as_fd());
            alive.memory = None;
            alive.kill(Reason::Limit(LimitHit::Memory));
        }
    }
}
