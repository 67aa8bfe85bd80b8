//! What a node finds in the launcher when it opens: sandboxes and commands of a server before it.

use super::Error;
use super::inner::{Inner, boot_ns_in};
use super::note::{self, SandboxNote};
use super::room::{Before, Kept, Parts, Room, lock};
use crate::launcher::protocol::{Ended, Order, Report};
use agent::Agent;
use model::{Code, Denial, Event, SandboxId};
use rustix::fd::OwnedFd;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the launcher told so far.
#[derive(Default)]
pub(super) struct Found {
    living: Vec<Living>,
    kept: HashMap<SandboxId, Kept>,
    ended: Vec<(SandboxId, Ended)>,
    unfinished: Vec<SandboxId>,
    stranded: u32,
    /// All of them, however they fare.
    told: HashSet<SandboxId>,
}

struct Living {
    id: SandboxId,
    note: Vec<u8>,
    deadline_boot_ns: Option<u64>,
    first_pid: i32,
    next_command: u32,
    agent: OwnedFd,
    terminals: OwnedFd,
}

/// Whether the launcher has more to tell.
pub(super) enum More {
    Yes,
    No,
    Refused(String),
}

/// The control socket and the directory of terminals, of the descriptors that come with a sandbox: first process, agent,
/// disk, terminals.
pub(super) fn descriptors(descriptors: Vec<OwnedFd>) -> Option<(OwnedFd, OwnedFd)> {
    let [_first, agent, _disk, terminals] = <[OwnedFd; 4]>::try_from(descriptors).ok()?;
    Some((agent, terminals))
}

impl Found {
    pub(super) fn take(&mut self, report: Report, fds: Vec<OwnedFd>) -> More {
        if let Report::Have { id, .. } = &report {
            self.told.insert(*id);
        }
        match report {
            Report::AllTold => return More::No,
            Report::Busy => return More::Refused("another server is connected to the launcher".to_owned()),
            Report::Have { id, ended: Some(ended), .. } => self.ended.push((id, ended)),
            Report::Have { id, note, standing: Some(standing), deadline_boot_ns, next_command, .. } => {
                match descriptors(fds) {
                    Some((agent, terminals)) => self.living.push(Living {
                        id,
                        note,
                        deadline_boot_ns,
                        first_pid: standing.first_pid,
                        next_command,
                        agent,
                        terminals,
                    }),
                    None => self.stranded += 1,
                }
            }
            Report::Have { id, .. } => self.unfinished.push(id),
            Report::Held { id, exec, note } => {
                self.kept.entry(id).or_default().insert(exec, (note, fds));
            }
            _ => {}
        }
        More::Yes
    }

    /// Makes rooms of them; gives all that the launcher told of. What no client ever heard of is ended.
    pub(super) fn settle(mut self, inner: &Arc<Inner>) -> HashSet<SandboxId> {
        let all = self.living.len();
        for living in std::mem::take(&mut self.living) {
            let (id, kept) = (living.id, self.kept.remove(&living.id).unwrap_or_default());
            match reopen(inner, living, kept) {
                Ok(room) => drop(lock(&inner.rooms).insert(id, room)),
                Err(_) => self.stranded += 1,
            }
        }
        if self.stranded > 0 {
            // They go on, and end at their time; the next server may have more luck.
            let asked = format!(
                "take over {} sandboxes: no descriptors, no policy, or a note of another version",
                self.stranded
            );
            let how = "wait for their end, or end them all with `casemate stop --all`";
            let denial = Denial::new(Code::Machine, "server", asked, how);
            inner.journal.observe(Event::denied(None, None, denial));
        }
        for (id, ended) in self.ended {
            inner.ended(id, ended);
        }
        let found = {
            let rooms = lock(&inner.rooms);
            if self.stranded == 0 {
                let used = rooms.values().map(|room| room.note.policy.as_str()).collect();
                inner.settings.state.sweep_started(&used);
            }
            rooms.len() as u32
        };
        if all > 0 {
            inner.journal.observe(Event::ServerAdopt { sandboxes: found });
        }
        let (orders, unfinished) = (inner.orders.clone(), self.unfinished);
        tokio::spawn(async move {
            for id in unfinished {
                let _ = orders.send(Order::Kill { id }, Vec::new()).await;
            }
        });
        self.told
    }
}

fn reopen(inner: &Arc<Inner>, living: Living, kept: Kept) -> Result<Arc<Room>, Error> {
    let Living { id, note, deadline_boot_ns, first_pid, next_command, agent, terminals } = living;
    let unreadable = || Error::Launcher("its note is not one of this version".to_owned());
    let note: SandboxNote = note::decode(&note).ok_or_else(unreadable)?;
    let owner = note.owner.parse().map_err(|_| unreadable())?;
    let ends = deadline_boot_ns.map_or(UNIX_EPOCH + Duration::from_nanos(u64::MAX), |at| {
        SystemTime::now() + Duration::from_nanos(at.saturating_sub(boot_ns_in(Duration::ZERO)))
    });
    // What its template says by now holds for those that are made from it now.
    let lost = || Error::Launcher("the policy that it was started with is not there".to_owned());
    let policy = inner.settings.state.started(&note.policy, &note.policy_hash).ok_or_else(lost)?;
    let policy = Arc::new(policy);
    let common = inner.common();
    let parts = Parts {
        id,
        owner,
        note,
        ends,
        policy,
        terminals,
        first_pid,
        next_command,
        before: Before::Untold,
        common,
    };
    Room::open(parts, Agent::adopt(agent), kept)
}
