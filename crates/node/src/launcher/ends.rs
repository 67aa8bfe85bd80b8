//! Ends of sandboxes, and what the presence of a server has to do with them.

use super::clients::Telling;
use super::keeper::{Answer, Word};
use super::process::Launcher;
use super::protocol::{Reason, Report};
use super::sandbox::{Recorder, Sandbox};
use super::timers::{Due, MS, now_ns};
use jail::cgroup::Motion;
use model::{LimitHit, SandboxId, Then};
use rustix::event::epoll;
use std::collections::HashSet;

/// Somebody who asked for the end of everything.
pub(super) struct Stop {
    pub client: u32,
    waits_for: HashSet<u32>,
    ended: u32,
    /// What the keeper says when nothing is left.
    barrier: Option<u32>,
}

impl Launcher {
    /// Asks for the end of a sandbox, if it lives.
    pub(super) fn kill(&mut self, key: u32, reason: Reason) {
        if let Some(alive) = self.sandboxes.get_mut(&key).and_then(Sandbox::alive_mut) {
            alive.kill(reason);
        }
    }

    /// The first process of a sandbox has ended.
    pub(super) fn ended(&mut self, key: u32) {
        let Some(sandbox) = self.sandboxes.get_mut(&key) else { return };
        let Some(alive) = sandbox.alive() else { return };
        // Builders at work may hold copies of these for a moment: closing alone would not end what they tell us.
        let _ = epoll::delete(&self.epoll, &alive.first);
        if let Some(building) = &alive.building {
            let _ = epoll::delete(&self.epoll, building);
        }
        if let Some(memory) = &alive.memory {
            let _ = epoll::delete(&self.epoll, memory.as_fd());
        }
        if let Some(listener) = alive.denials.as_fd() {
            let _ = epoll::delete(&self.epoll, listener);
        }
        self.timers.unset(sandbox.deadline_ns, Due::Deadline(key));
        self.timers.unset(sandbox.wall_ns, Due::Wall(key));
        self.timers.unset(sandbox.lease_ns, Due::Lease(key));
        sandbox.bury(&mut self.keeper);
        crate::draft::end_living(&self.state, sandbox.id);
        self.tell_end(key);
        for stop in &mut self.stops {
            stop.ended += u32::from(stop.waits_for.remove(&key));
        }
        self.see_to_stops();
    }

    /// Tells of an end whoever records it.
    pub(super) fn tell_end(&mut self, key: u32) {
        if self.server.is_some() {
            return self.tell_server(Telling::Outcome(key));
        }
        if let Some(sandbox) = self.sandboxes.get_mut(&key) {
            sandbox.recorder = Recorder::Keeper;
            sandbox.have_recorded(&mut self.keeper);
        }
    }

    /// Its end is on record: nothing is kept of it any more.
    pub(super) fn forget(&mut self, id: SandboxId) {
        let Some(key) = self.key(id) else { return };
        if self.sandboxes.get(&key).is_some_and(|sandbox| sandbox.ended().is_some()) {
            self.sandboxes.remove(&key);
            self.by_id.remove(&id);
            self.keeper.tell(Word::Forget { id }, &[]);
        }
    }

    /// What the keeper says.
    pub(super) fn hear_keeper(&mut self) {
        while let Some(answer) = self.keeper.answer() {
            match answer {
                Answer::Recorded { ids } => {
                    for id in ids {
                        let Some(key) = self.key(id) else { continue };
                        if self.sandboxes.get(&key).is_some_and(|s| s.recorder == Recorder::Keeper) {
                            self.sandboxes.remove(&key);
                            self.by_id.remove(&id);
                        }
                    }
                }
                Answer::Reached { number } => {
                    let (reached, stops): (Vec<_>, _) = std::mem::take(&mut self.stops)
                        .into_iter()
                        .partition(|stop| stop.barrier == Some(number));
                    self.stops = stops;
                    for Stop { client, ended, .. } in reached {
                        self.tell(client, Telling::plain(Report::Stopped { ended }));
                        self.end_if_stopped(client);
                    }
                }
            }
        }
    }

    /// Ends every sandbox that there is now.
    pub(super) fn stop_all(&mut self, client: u32) {
        let mut waits_for = HashSet::new();
        let mut sandboxes = 0;
        for (key, sandbox) in &mut self.sandboxes {
            if let Some(alive) = sandbox.alive_mut() {
                // Who asks a second time ends nothing more.
                sandboxes += u32::from(alive.ending.is_none());
                alive.kill(Reason::Stopped);
                waits_for.insert(*key);
            }
        }
        if sandboxes > 0 {
            self.keeper.tell(Word::StopAll { sandboxes }, &[]);
        }
        self.stops.push(Stop { client, waits_for, ended: 0, barrier: None });
        self.see_to_stops();
    }

    fn see_to_stops(&mut self) {
        let waiting =
            self.stops.iter_mut().filter(|stop| stop.waits_for.is_empty() && stop.barrier.is_none());
        for stop in waiting {
            self.last_barrier = self.last_barrier.wrapping_add(1);
            stop.barrier = Some(self.last_barrier);
            self.keeper.tell(Word::Barrier { number: self.last_barrier }, &[]);
        }
    }

    /// Asks a new keeper what the one before it was asked.
    pub(super) fn repeat_barriers(&mut self) {
        for number in self.stops.iter().filter_map(|stop| stop.barrier) {
            self.keeper.tell(Word::Barrier { number }, &[]);
        }
    }

    /// The server is gone: every lease begins, and ends that it was told of may not be on record.
    pub(super) fn without_server(&mut self) {
        let now_ns = now_ns();
        for (key, sandbox) in &mut self.sandboxes {
            let stands = sandbox.standing.is_some();
            // The next server gets a fresh one.
            if let (Some(alive), true) = (sandbox.alive_mut(), stands) {
                (alive.control, alive.fresh) = (None, None);
            }
            if sandbox.ended().is_some() {
                // It may be the keeper's business already, and half done.
                if sandbox.recorder == Recorder::Server {
                    sandbox.recorder = Recorder::Keeper;
                    sandbox.have_recorded(&mut self.keeper);
                }
            } else if sandbox.lease.then != Then::Keep {
                let at_ns = now_ns.saturating_add(sandbox.lease.after_ms.saturating_mul(MS));
                sandbox.lease_ns = Some(at_ns);
                self.timers.set(at_ns, Due::Lease(*key));
            }
        }
    }

    /// A server is there: no lease runs, and what stood still goes on.
    pub(super) fn with_server(&mut self) {
        for (key, sandbox) in &mut self.sandboxes {
            self.timers.unset(sandbox.lease_ns.take(), Due::Lease(*key));
            if sandbox.lease.then == Then::Freeze {
                sandbox.set_motion(Motion::Free);
            }
        }
    }

    /// Something of a sandbox is due.
    pub(super) fn due(&mut self, at_ns: u64, due: Due) {
        match due {
            Due::Deadline(key) => self.kill(key, Reason::Deadline),
            Due::Wall(key) => self.kill(key, Reason::Limit(LimitHit::Wall)),
            Due::Lease(key) => {
                let Some(sandbox) = self.sandboxes.get_mut(&key) else { return };
                if sandbox.lease_ns != Some(at_ns) {
                    return;
                }
                sandbox.lease_ns = None;
                match sandbox.lease.then {
                    Then::Keep => {}
                    Then::Freeze => sandbox.set_motion(Motion::Frozen),
                    Then::End => self.kill(key, Reason::Lease),
                }
            }
            Due::Resume(key) => self.denials(key),
            Due::Look(key) => self.look(key),
            Due::Retry => self.retry(),
            Due::Open => self.open(),
            Due::Idle => self.end_if_idle(),
        }
    }
}
