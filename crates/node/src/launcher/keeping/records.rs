//! What a keeper has recorded, and how far that is.

use super::{Keeping, Scribe};
use crate::launcher::keeper::{Answer, RECORDED_AT_ONCE_MAX};
use crate::launcher::scribe::{self, Batch, Entry};
use crate::launcher::timers::now_ns;
use model::{Denial, SandboxId};
use rustix::fd::AsFd;
use rustix::process::{WaitId, WaitIdOptions, waitid};

const AGAIN_NS: u64 = 5_000_000_000;

/// Who records an end, and how far that is.
#[derive(Default)]
pub(super) enum End {
    /// A server.
    #[default]
    Servers,
    Wanted(Missing),
    BeingWritten(Missing),
    /// It could not be written, and will be tried again.
    Failed(Missing),
    OnRecord,
}

/// What the log may lack of a sandbox: its end, and refused calls that no server was told of.
#[derive(Debug, Clone)]
pub(super) struct Missing {
    pub denied: Vec<Denial>,
    /// If a server recorded the end, its record has this number or a higher one.
    pub from: u64,
}

/// An order to end everything.
pub(super) struct StopAll {
    pub sandboxes: u32,
    pub progress: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Wanted,
    BeingWritten,
    Failed,
}

impl Keeping {
    /// Has written what is to be written, one batch at a time.
    pub(super) fn see_to_scribe(&mut self) {
        if let Some(Scribe { process, writes }) = self.scribe.take() {
            let ended = waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
            match ended {
                Ok(None) | Err(rustix::io::Errno::INTR) => self.scribe = Some(Scribe { process, writes }),
                ended => {
                    let wrote = matches!(ended, Ok(Some(status)) if status.exit_status() == Some(0));
                    self.written(writes, wrote);
                }
            }
        }
        if self.scribe.is_some() {
            return;
        }
        let again = now_ns() >= self.again_ns;
        let mut batch = Batch::default();
        for stop in &mut self.stops {
            if stop.progress == Progress::Wanted || again {
                batch.stops.push(stop.sandboxes);
                stop.progress = Progress::BeingWritten;
            }
        }
        for (id, kept) in &mut self.kept {
            let Some(ended) = &kept.ended else { continue };
            let missing = match &kept.end {
                End::Wanted(missing) => missing.clone(),
                End::Failed(missing) if again => missing.clone(),
                _ => continue,
            };
            batch.ends.push(Entry::new(*id, ended.clone(), &missing.denied, missing.from));
            kept.end = End::BeingWritten(missing);
        }
        if batch.is_empty() {
            return;
        }
        let writes = batch.ends.iter().map(|entry| entry.id).collect();
        match scribe::start(&self.state, &batch) {
            Ok(process) => self.scribe = Some(Scribe { process, writes }),
            Err(_) => self.written(writes, false),
        }
    }

    pub(super) fn written(&mut self, writes: Vec<SandboxId>, wrote: bool) {
        if wrote {
            for ids in writes.chunks(RECORDED_AT_ONCE_MAX) {
                self.say(&Answer::Recorded { ids: ids.to_vec() });
            }
        } else {
            self.again_ns = now_ns() + AGAIN_NS;
        }
        self.stops.retain(|stop| !(wrote && stop.progress == Progress::BeingWritten));
        for stop in self.stops.iter_mut().filter(|stop| stop.progress == Progress::BeingWritten) {
            stop.progress = Progress::Failed;
        }
        for id in writes {
            let Some(kept) = self.kept.get_mut(&id) else { continue };
            let End::BeingWritten(missing) = &kept.end else { continue };
            if wrote {
                kept.end = End::OnRecord;
                kept._dear.clear();
                self.let_go(id);
            } else {
                // Some of the batch may be on record.
                kept.end = End::Failed(missing.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launcher::keeper::Word;
    use crate::launcher::protocol::{Ended, Reason};
    use crate::launcher::wire;
    use model::Usage;
    use rustix::fd::OwnedFd;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use std::path::Path;

    /// A keeper that was told of the end of a sandbox, and its launcher's end of the line.
    fn keeping(state: &Path) -> (Keeping, OwnedFd, SandboxId) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (line, keepers) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let mut keeping = Keeping::new(state, keepers);
        keeping.home = None;
        let id = SandboxId::from_random([7; 20]);
        let ended = Ended { reason: Reason::Killed, usage: Usage::default(), hits: Vec::new(), denials: 0 };
        let disk = std::fs::File::open(state).unwrap().into();
        keeping.hear(Word::Clean { id, ended }, vec![disk]);
        keeping.hear(Word::Record { id, denied: Vec::new() }, Vec::new());
        (keeping, line, id)
    }

    /// Starts the writing without a process.
    fn begin(keeping: &mut Keeping, id: SandboxId) {
        let kept = keeping.kept.get_mut(&id).unwrap();
        let End::Wanted(missing) = &kept.end else { panic!("it is not wanted") };
        kept.end = End::BeingWritten(missing.clone());
    }

    #[test]
    fn what_is_asked_for_again_while_it_is_written_is_not_lost() {
        let state = tempfile::tempdir().unwrap();
        let (mut keeping, _line, id) = keeping(state.path());
        begin(&mut keeping, id);
        keeping.hear(Word::Record { id, denied: Vec::new() }, Vec::new());
        keeping.written(vec![id], false);
        assert!(matches!(keeping.kept[&id].end, End::Failed(_)), "it is not tried again");
    }

    #[test]
    fn what_was_written_is_let_go_of_though_it_was_asked_for_again() {
        let state = tempfile::tempdir().unwrap();
        let (mut keeping, line, id) = keeping(state.path());
        begin(&mut keeping, id);
        keeping.hear(Word::Record { id, denied: Vec::new() }, Vec::new());
        keeping.remove_cgroups();
        keeping.written(vec![id], true);
        assert!(keeping.kept.is_empty(), "its disk is held for ever");
        let answer: wire::Packet<Answer> = wire::receive(line.as_fd(), &mut [0; 1024]).unwrap();
        assert_eq!(answer.message, Answer::Recorded { ids: vec![id] });
    }

    #[test]
    fn one_whose_end_is_on_record_is_not_recorded_again() {
        let state = tempfile::tempdir().unwrap();
        let (mut keeping, _line, id) = keeping(state.path());
        keeping.hear(Word::Forget { id }, Vec::new());
        keeping.hear(Word::Record { id, denied: Vec::new() }, Vec::new());
        assert!(keeping.kept.get(&id).is_none_or(|kept| matches!(kept.end, End::OnRecord)));
    }
}
