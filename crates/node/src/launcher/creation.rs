//! From an order to a sandbox in the making, or to a refusal.

use super::process::{Launcher, Watched};
use super::protocol::{Ended, NOTE_BYTES_MAX, Reason, Refusal, RefusalKind, SANDBOXES_MAX};
use super::sandbox::{Alive, Facts, Life, Recorder, Sandbox};
use super::timers::{Due, MS, now_ns};
use crate::Error;
use crate::board::Board;
use crate::prepare::{Prepared, prepare};
use jail::Terminal;
use jail::cgroup::Home;
use model::{Lease, SandboxId, Then, Usage};
use policy::{Access, Policy};
use rustix::event::epoll;
use std::path::PathBuf;

/// The longest text of a refusal, in bytes.
const WHAT_BYTES_MAX: usize = 4096;

/// An order to build a sandbox.
pub(super) struct Creation {
    pub id: SandboxId,
    pub policy: Vec<u8>,
    pub hash: String,
    pub base: PathBuf,
    pub note: Vec<u8>,
    pub deadline_boot_ns: Option<u64>,
    pub lease: Lease,
}

impl Launcher {
    /// Starts to build a sandbox. What kept it from being started is kept of it, until it is on record.
    ///
    /// # Errors
    /// Nothing is kept of the order.
    pub(super) fn create(&mut self, creation: Creation) -> Result<(), Refusal> {
        let id = creation.id;
        let refuse = |kind, what: &str| Err(Refusal { kind, what: what.to_owned(), mend: None });
        if self.by_id.contains_key(&id) {
            return refuse(RefusalKind::Duplicate, "there is a sandbox of this name");
        }
        if self.sandboxes.len() >= SANDBOXES_MAX {
            return refuse(
                RefusalKind::Full,
                &format!("there are {SANDBOXES_MAX} sandboxes, and no more may be"),
            );
        }
        if creation.note.len() > NOTE_BYTES_MAX {
            return refuse(RefusalKind::Unsupported, &format!("a note of more than {NOTE_BYTES_MAX} bytes"));
        }
        let begun_ns = now_ns();
        let built = self.build(&creation);
        let Creation { note, deadline_boot_ns, lease, .. } = creation;
        let (life, wall_ns) = match built {
            Ok((alive, wall_ms)) => (
                Life::Alive(Box::new(alive)),
                wall_ms.map(|ms| begun_ns.saturating_add(ms.saturating_mul(MS))),
            ),
            Err(refusal) => {
                let reason = Reason::Refused(refusal);
                let ended = Ended { reason, usage: Usage::default(), hits: Vec::new(), denials: 0 };
                (Life::Ended(ended), None)
            }
        };
        let sandbox = Sandbox {
            id,
            note,
            lease,
            lease_ns: None,
            deadline_ns: deadline_boot_ns,
            wall_ns,
            begun_ns,
            standing: None,
            life,
            denied: Vec::new(),
            denied_told: 0,
            held: std::collections::BTreeMap::new(),
            looked_after: false,
            next_command: 1,
            recorder: Recorder::Server,
        };
        self.begin(sandbox);
        Ok(())
    }

    fn build(&self, creation: &Creation) -> Result<(Alive, Option<u64>), Refusal> {
        let unsupported = |what: String, mend: &str| Refusal {
            kind: RefusalKind::Unsupported,
            what,
            mend: Some(mend.to_owned()),
        };
        let Some(policy) = Policy::from_cache(&creation.policy, &creation.hash) else {
            return Err(Refusal {
                kind: RefusalKind::Policy,
                what: "the policy was not compiled by this version, or is damaged".to_owned(),
                mend: Some(
                    "end the sandboxes of the launcher that runs, and start the server anew".to_owned(),
                ),
            });
        };
        let is_write = |access: &Access| matches!(access, Access::Write { .. });
        if let Some(rule) = policy.files().iter().find(|rule| is_write(rule.access())) {
            return Err(unsupported(
                format!(
                    "the policy `{}` has the write zone `{}`, and every sandbox of a server would hand out into its one directory",
                    policy.name(),
                    rule.at()
                ),
                "use a scratch zone and fetch its files through the server, or use `casemate run`",
            ));
        }
        let seed = seed(creation.id);
        let prepared = prepare(creation.id, seed, &policy, &creation.base, &self.state, Terminal::No);
        let Prepared { mut plan, profile, .. } = prepared.map_err(|error| refusal(&error))?;
        if creation.lease.then == Then::Freeze && !plan.cgroup.as_ref().is_some_and(Home::is_v2) {
            return Err(unsupported(
                format!(
                    "the policy `{}` wants sandboxes frozen when their lease runs out, which takes cgroup v2; this machine or profile has none",
                    policy.name()
                ),
                "choose `then = \"keep\"` or `then = \"end\"` in [lease]",
            ));
        }
        plan.open_door();
        let mut launched = jail::launch(&plan, &self.image).map_err(|error| refusal(&error.into()))?;
        launched.building.hold(std::mem::take(&mut plan.zones));
        let facts = Facts {
            board: Board::new(&policy),
            required: policy.walls(),
            profile: profile.name(),
            landlock: plan.landlock_abi,
        };
        let ids = plan.ids.into_lease().map(jail::aside);
        Ok((Alive::new(launched, ids, facts), plan.limits.wall_ms))
    }

    /// Takes up a sandbox that was just made, or refused.
    fn begin(&mut self, sandbox: Sandbox) {
        let key = self.next_key();
        self.by_id.insert(sandbox.id, key);
        sandbox.introduce(&mut self.keeper);
        if let Some(alive) = sandbox.alive() {
            // Now somebody cleans up, whatever happens to us. (A builder that is gone says so in its report.)
            let _ = alive.building.as_ref().map(jail::Building::finish);
            self.watch(key, Watched::First, &alive.first);
            self.timers_for(&sandbox, key);
            if let Some(building) = &alive.building {
                self.watch(key, Watched::Report, building);
            }
            if let Some(memory) = &alive.memory {
                let interest = epoll::EventFlags::from_bits_retain(memory.interest().bits().into());
                self.watch_for(key, Watched::Memory, &memory.as_fd(), interest);
            }
        }
        let over = sandbox.ended().is_some();
        self.sandboxes.insert(key, sandbox);
        if over {
            self.tell_end(key);
        }
    }

    fn timers_for(&mut self, sandbox: &Sandbox, key: u32) {
        if let Some(at_ns) = sandbox.deadline_ns {
            self.timers.set(at_ns, Due::Deadline(key));
        }
        if let Some(at_ns) = sandbox.wall_ns {
            self.timers.set(at_ns, Due::Wall(key));
        }
    }
}

/// A number that spreads the search for free host ids.
fn seed(id: SandboxId) -> u32 {
    id.as_str().bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// An error in the words of a refusal.
pub(super) fn refusal(error: &Error) -> Refusal {
    let kind = match error {
        Error::Zone { .. } => RefusalKind::Zone,
        Error::Missing { .. } | Error::LandlockTooOld { .. } | Error::Kernel { .. } => RefusalKind::Missing,
        _ => RefusalKind::Wall,
    };
    let mut what = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        what = format!("{what}: {error}");
        source = error.source();
    }
    what.truncate(what.floor_char_boundary(WHAT_BYTES_MAX));
    Refusal { kind, what, mend: error.mend() }
}
