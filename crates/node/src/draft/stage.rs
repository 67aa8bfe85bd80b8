//! The first phase of a commit: what is to come is written beside its place, under a name of ours.

use super::apply::{Originals, adjusted};
use super::steps::{Step, What};
use super::store::content;
use super::{Error, For};
use crate::beneath;
use model::quote;
use rustix::fd::OwnedFd;
use rustix::fs::{Gid, Mode, OFlags, Uid, fchmod, fchown};
use rustix::io::Errno;

impl Originals {
    /// Writes what is to come beside its place. Nothing of the original changes.
    pub(super) fn stage(&self, step: &mut Step) -> Result<(), Error> {
        let made = (|| {
            let (directory, beside) = self.place(step.zone, &step.beside)?;
            let owner = self.owner(step, &directory)?;
            match &step.what {
                What::File { content: number, executable } => {
                    let kept = content(&self.draft.join(format!("content-{}", step.zone)), *number);
                    let kept = OwnedFd::from(
                        std::fs::File::open(kept)
                            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?,
                    );
                    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
                    let mode = match &step.was {
                        None if *executable => 0o777,
                        None => 0o666,
                        Some(_) => 0o600,
                    };
                    let file = beneath::open(&directory, &beside, flags, Mode::from_raw_mode(mode))?;
                    beneath::copy(&kept, &file)?;
                    if let Some((uid, gid)) = owner {
                        fchown(&file, Some(uid), Some(gid))?;
                    }
                    if let Some(was) = &step.was {
                        fchmod(&file, Mode::from_raw_mode(adjusted(was, *executable)))?;
                    }
                }
                What::Link { target } => {
                    let target = beneath::name(target)?;
                    rustix::fs::symlinkat(&target, &directory, &beside)?;
                    if let Some((uid, gid)) = owner {
                        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
                        rustix::fs::chownat(&directory, &beside, Some(uid), Some(gid), flags)?;
                    }
                }
                What::Remove | What::MakeDirectory | What::Mode { .. } => return Ok(None),
            }
            beneath::stat(&directory, &beside).map(|stat| Some(stat.st_ino))
        })();
        step.staged = made.call(|| format!("stage(`{}`)", quote(&step.path)))?;
        Ok(())
    }

    /// Root gives what it makes to whoever has what is replaced, or the directory.
    fn owner(&self, step: &Step, directory: &OwnedFd) -> Result<Option<(Uid, Gid)>, Errno> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let stat = match &step.was {
            Some(_) => {
                let (directory, name) = self.place(step.zone, &step.path)?;
                beneath::stat(&directory, &name)?
            }
            None => rustix::fs::fstat(directory)?,
        };
        Ok(Some((Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid))))
    }

    /// Removes what was staged.
    pub(super) fn unstage(&self, step: &Step) {
        if matches!(step.what, What::File { .. } | What::Link { .. })
            && let Ok((directory, beside)) = self.place(step.zone, &step.beside)
        {
            let _ = beneath::remove_file(&directory, &beside);
        }
    }
}
