//! What a launcher does when it is told to.

use super::clients::Telling;
use super::creation::Creation;
use super::process::Launcher;
use super::protocol::{HELD_MAX, INPUT, NOTE_BYTES_MAX, Order, Reason, Report};
use super::sandbox::{Held, Sandbox};
use super::timers::{Due, MS, now_ns};
use super::wire::Packet;
use crate::board::LOOK;
use model::SandboxId;

const LOOK_NS: u64 = LOOK.as_millis() as u64 * MS;

impl Launcher {
    pub(super) fn obey(&mut self, client: u32, packet: Packet<Order>) {
        let for_all =
            matches!(packet.message, Order::Serve | Order::List | Order::Disk { .. } | Order::StopAll);
        if !for_all && self.server != Some(client) {
            return self.disconnect(client);
        }
        match packet.message {
            Order::Serve => self.serve(client),
            Order::List => self.list(client),
            Order::StopAll => self.stop_all(client),
            Order::Create { id, policy, hash, base, note, deadline_boot_ns, lease } => {
                let creation = Creation { id, policy, hash, base, note, deadline_boot_ns, lease };
                if let Err(refusal) = self.create(creation) {
                    self.tell(client, Telling::plain(Report::Refused { id, refusal }));
                }
            }
            Order::Deadline { id, at_boot_ns } => self.set_deadline(id, at_boot_ns),
            Order::Keep { id, exec, note } => {
                let held = Held { note, descriptors: packet.descriptors };
                if let Err(what) = self.keep(id, exec, held, packet.lost) {
                    let what = what.to_owned();
                    self.tell(client, Telling::plain(Report::NotKept { id, exec, what }));
                }
            }
            Order::Drop { id, exec } => {
                if let Some(sandbox) = self.key(id).and_then(|key| self.sandboxes.get_mut(&key)) {
                    sandbox.held.remove(&exec);
                }
            }
            Order::Tell { id, denial } => {
                let sandbox = self.key(id).and_then(|key| self.sandboxes.get_mut(&key));
                if let Some(alive) = sandbox.and_then(Sandbox::alive_mut) {
                    alive.tell(denial.checked());
                }
            }
            Order::Disk { id } => self.give_disk(client, id),
            Order::Kill { id } => {
                if let Some(key) = self.key(id) {
                    self.kill(key, Reason::Killed);
                }
            }
            Order::Forget { id } => self.forget(id),
        }
    }

    pub(super) fn key(&self, id: SandboxId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    fn set_deadline(&mut self, id: SandboxId, at_boot_ns: Option<u64>) {
        let Some(key) = self.key(id) else { return };
        let Some(sandbox) = self.sandboxes.get_mut(&key) else { return };
        self.timers.unset(sandbox.deadline_ns, Due::Deadline(key));
        sandbox.deadline_ns = at_boot_ns;
        if let (Some(at_ns), true) = (at_boot_ns, sandbox.alive().is_some()) {
            self.timers.set(at_ns, Due::Deadline(key));
        }
    }

    fn keep(&mut self, id: SandboxId, exec: u32, held: Held, lost: bool) -> Result<(), &'static str> {
        let sandbox =
            self.key(id).and_then(|key| self.sandboxes.get_mut(&key)).ok_or("there is no such sandbox")?;
        if lost {
            return Err("the launcher's open-files limit is reached");
        }
        if held.note.len() > NOTE_BYTES_MAX {
            return Err("its note is too long");
        }
        if sandbox.alive().is_none() {
            return Err("the sandbox has ended");
        }
        if sandbox.held.len() >= HELD_MAX && !sandbox.held.contains_key(&exec) {
            return Err("descriptors of as many commands as may be are held");
        }
        let descriptors = held.descriptors.into_iter().map(jail::aside).collect();
        sandbox.next_command = sandbox.next_command.max((exec & !INPUT).saturating_add(1));
        sandbox.held.insert(exec, Held { note: held.note, descriptors });
        if !std::mem::replace(&mut sandbox.looked_after, true)
            && let Some(key) = self.key(id)
        {
            self.timers.set(now_ns() + LOOK_NS, Due::Look(key));
        }
        Ok(())
    }

    fn give_disk(&mut self, client: u32, id: SandboxId) {
        let sandbox = self.key(id).and_then(|key| self.sandboxes.get(&key));
        let disk = sandbox.and_then(|sandbox| sandbox.alive()?.disk.as_ref()?.try_clone().ok());
        let telling = match disk {
            Some(disk) => Telling::Disk(id, disk),
            None => Telling::plain(Report::NoDisk { id }),
        };
        self.tell(client, telling);
    }

    /// Looks after a sandbox as long as commands run in it.
    pub(super) fn look(&mut self, key: u32) {
        let Some(sandbox) = self.sandboxes.get_mut(&key) else { return };
        let idle = sandbox.held.is_empty();
        let Some(alive) = sandbox.alive_mut() else { return };
        alive.look();
        sandbox.looked_after = !idle;
        if !idle {
            self.timers.set(now_ns() + LOOK_NS, Due::Look(key));
        }
    }
}
