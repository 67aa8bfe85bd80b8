//! The end of a run: what it came to, what is handed out, and the last records.

use crate::draft::{self, DraftEnd};
use crate::effects::HandOut;
use crate::error::Error;
use crate::handout::{Reader, hand_out};
use crate::life::COMMAND;
use crate::prepare::Target;
use crate::run::Outcome;
use jail::Ended;
use ledger::Ledger;
use model::{EndReason, Event, LimitHit, Limits, SandboxId, Usage, Walls, quote};
use rustix::fd::OwnedFd;

/// The status of a command that its wall-clock limit ended, as `timeout(1)` has it.
const STATUS_TIME_IS_UP: u8 = 124;
/// A command that ended well whose output could not be written down: EX_OSERR.
const STATUS_OUTPUT_LOST: u8 = 71;
/// 128 and SIGKILL.
const STATUS_KILLED: u8 = 137;

/// What is known when nothing runs any more.
pub(crate) struct Finished<'a> {
    pub id: SandboxId,
    pub lived: Result<Option<u8>, Error>,
    pub stopped: Option<i32>,
    pub lost: Option<std::io::Error>,
    pub denials: u64,
    pub ended: Ended,
    pub limits: Limits,
    pub targets: Vec<Target>,
    /// The most that may be handed out.
    pub bytes_max: u64,
    pub drafts: draft::Ended<'a>,
}

impl Finished<'_> {
    /// Hands out what is to be handed out, and closes the record.
    pub(crate) fn record(
        self,
        ledger: &mut Ledger,
        zones: &[OwnedFd],
        reader: &Reader<'_>,
        walls: Walls,
        landlock: u32,
    ) -> Result<Outcome, Error> {
        let Finished { id, lived, stopped, lost, denials, ended, limits, targets, bytes_max, drafts } = self;
        let status = match lived {
            Ok(status) => status,
            Err(error) => {
                ledger.observe(refused(id, &error))?;
                ledger.seal()?;
                return Err(error);
            }
        };
        let Ended { usage, hits } = ended;
        let (mut status, reason) = verdict(status, stopped, &hits);
        if lost.is_some() && status == 0 {
            status = STATUS_OUTPUT_LOST;
        }
        let mut last = vec![Event::ExecEnd { sandbox: id, exec: COMMAND, status }];
        last.extend(hits.iter().map(|limit| Event::limit(id, *limit)));
        // Without anything to hand out these go with the end, in one write.
        if !targets.is_empty() {
            last.drain(..).try_for_each(|event| ledger.observe(event))?;
        }
        let left_behind = hand_out_all(ledger, id, targets, zones, bytes_max, reader)?;
        let drafts = draft::end(drafts);
        last.extend(drafts.iter().map(|DraftEnd { at, changes, kept, .. }| Event::DraftEnd {
            sandbox: id,
            at: quote(at),
            changes: *changes,
            kept: *kept,
        }));
        last.push(Event::End { sandbox: id, reason: reason.clone(), usage, denials });
        ledger.seal_with(&last)?;
        Ok(Outcome {
            sandbox: id,
            status,
            reason,
            walls,
            landlock,
            hits,
            limits,
            usage,
            denials,
            output_lost: lost.map(|error| error.to_string()),
            left_behind,
            drafts,
        })
    }
}

/// What of the disk is full now, and how many bytes it holds when it is.
pub(crate) fn full(disk: &OwnedFd) -> (Vec<LimitHit>, u64) {
    let mut hits = Vec::new();
    let mut bytes = 0;
    if let Ok(disk) = rustix::fs::fstatfs(disk) {
        bytes = disk.f_blocks * disk.f_bsize as u64;
        if disk.f_blocks > 0 && disk.f_bavail == 0 {
            hits.push(LimitHit::DiskBytes);
        }
        if disk.f_files > 0 && disk.f_ffree == 0 {
            hits.push(LimitHit::DiskInodes);
        }
    }
    (hits, bytes)
}

/// The status to exit with, and the reason to record.
fn verdict(status: Option<u8>, stopped: Option<i32>, hits: &[LimitHit]) -> (u8, EndReason) {
    match (status, stopped) {
        // Where the kernel ends one process before the warden ends them all, its status may still come through.
        (None | Some(STATUS_KILLED), _) if hits.contains(&LimitHit::Wall) => {
            (STATUS_TIME_IS_UP, EndReason::Limit(LimitHit::Wall))
        }
        (None | Some(STATUS_KILLED), _) if hits.contains(&LimitHit::Memory) => {
            (STATUS_KILLED, EndReason::Limit(LimitHit::Memory))
        }
        (Some(status), None) => (status, EndReason::Finished),
        (Some(status), Some(signal)) => (status, EndReason::Stopped(signal)),
        (None, Some(signal)) => (128_u8.saturating_add(signal as u8), EndReason::Stopped(signal)),
        (None, None) => {
            let what = "its first process or its warden ended before its command did".to_owned();
            (STATUS_KILLED, EndReason::Failed(what))
        }
    }
}

/// Copies every write zone to its place on the host. Each is on record before it begins.
fn hand_out_all(
    ledger: &mut Ledger,
    id: SandboxId,
    targets: Vec<Target>,
    zones: &[OwnedFd],
    bytes_max: u64,
    reader: &Reader<'_>,
) -> Result<Vec<String>, Error> {
    let mut left_behind = Vec::new();
    let mut bytes_left = bytes_max;
    for (target, zone) in targets.into_iter().zip(zones) {
        let recorded = ledger.record(HandOut { sandbox: id, at: target.at.clone(), to: target.path })?;
        let out = match hand_out(recorded, zone, &target.directory, bytes_left, reader) {
            Ok(out) => out,
            Err(error) => {
                left_behind.push(format!("{}: everything: {error}: {}", target.at, error.source));
                continue;
            }
        };
        bytes_left = bytes_left.saturating_sub(out.bytes);
        left_behind.extend(out.refused.iter().map(|what| format!("{}: {what}", target.at)));
        let at = quote(&target.at);
        ledger.observe(Event::HandedOut {
            sandbox: id,
            at,
            files: out.files,
            bytes: out.bytes,
            refused: out.refused,
        })?;
    }
    Ok(left_behind)
}

pub(crate) fn refused(sandbox: SandboxId, error: &dyn std::error::Error) -> Event {
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        why = format!("{why}: {error}");
        source = error.source();
    }
    Event::End { sandbox, reason: EndReason::Refused(quote(why)), usage: Usage::default(), denials: 0 }
}
