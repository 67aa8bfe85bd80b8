//! The steps on the original. Every name is resolved beneath the zone's directory, without following a link.
//!
//! What is replaced or removed keeps a name of ours until all steps are done, and is compared once more when it has that
//! name: whatever somebody else wrote in the last moment is put back, and with it all that was done before.

use super::conflict::same;
use super::manifest::{Entry, Kind};
use super::scan::{Change, Node};
use super::steps::{Step, What, parent};
use super::{Error, For};
use crate::beneath;
use model::quote;
use rustix::fd::OwnedFd;
use rustix::fs::{Gid, Mode, Uid, fchmod, fchown};
use rustix::io::Errno;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::path::PathBuf;
use std::rc::Rc;

/// Why steps were not done.
pub(super) enum Trouble {
    /// The original is no longer what it was.
    Conflict { zone: usize, path: Vec<u8>, why: String },
    /// A call failed.
    Failed(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Failed(error)
    }
}

/// The originals of a draft's zones, open.
pub(super) struct Originals {
    pub roots: Vec<OwnedFd>,
    pub paths: Vec<PathBuf>,
    /// The directory of the draft, for its content.
    pub draft: PathBuf,
    /// Whether some of the steps may be done already.
    pub begun: Begun,
    /// Directories by zone and path, open: what is begun in one is undone in that one, wherever somebody moves it meanwhile.
    pub open: Held,
}

/// Open directories, by zone and path.
pub(super) type Held = RefCell<HashMap<(usize, Vec<u8>), Rc<OwnedFd>>>;

/// So many directories are held open. Beyond that they are opened anew for each step.
const OPEN_MAX: usize = 512;

/// Whether a commit goes on where another process was cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    Here,
    Before,
}

impl Originals {
    pub(super) fn place(&self, zone: usize, path: &[u8]) -> Result<(Rc<OwnedFd>, CString), Errno> {
        let (directory, name) = beneath::split(path)?;
        let key = (zone, directory.to_vec());
        if let Some(held) = self.open.borrow().get(&key) {
            return Ok((held.clone(), name));
        }
        let opened = Rc::new(beneath::directory(&self.roots[zone], directory)?);
        let mut open = self.open.borrow_mut();
        if open.len() < OPEN_MAX {
            open.insert(key, opened.clone());
        }
        Ok((opened, name))
    }

    /// The same, if the path still leads there.
    fn place_now(&self, zone: usize, path: &[u8]) -> Result<(Rc<OwnedFd>, CString), Errno> {
        let (held, name) = self.place(zone, path)?;
        let now = beneath::directory(&self.roots[zone], beneath::split(path)?.0)?;
        let identity = |fd: &OwnedFd| rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
        if identity(&held)? == identity(&now)? { Ok((held, name)) } else { Err(Errno::NOTDIR) }
    }

    /// What was opened at `path` or below is something else from now on.
    fn forget(&self, zone: usize, path: &[u8]) {
        let below = [path, b"/"].concat();
        self.open
            .borrow_mut()
            .retain(|(at, held), _| *at != zone || (held != path && !held.starts_with(&below)));
    }

    /// Everything written so far is on disk.
    pub(super) fn sync(&self) -> Result<(), Error> {
        for (root, path) in self.roots.iter().zip(&self.paths) {
            rustix::fs::syncfs(root).call(|| format!("syncfs({path:?})"))?;
        }
        Ok(())
    }

    /// Does one step, if it is not done.
    pub(super) fn forward(&self, step: &Step) -> Result<(), Trouble> {
        let conflict =
            |why: &str| Trouble::Conflict { zone: step.zone, path: step.path.clone(), why: why.to_owned() };
        if self.is_done(step) {
            return Ok(());
        }
        let failed = |error: Errno, call: &str| match error {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::EXIST | Errno::XDEV | Errno::ISDIR => {
                conflict(&format!("{call}: {error}"))
            }
            Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP if call == "exchange" => {
                Trouble::Failed(Error::NoExchange(self.paths[step.zone].clone()))
            }
            error => Trouble::Failed(Error::Call {
                call: format!("{call}(`{}`)", quote(&step.path)),
                source: error.into(),
            }),
        };
        let (directory, name) =
            self.place_now(step.zone, &step.path).map_err(|error| failed(error, "open"))?;
        let aside = || self.place(step.zone, &step.beside).map_err(|error| failed(error, "open"));
        let before = same(&directory, &name, step.was.as_ref()).map_err(|why| conflict(&why))?;
        match (&step.what, before) {
            (What::MakeDirectory, _) => {
                beneath::make_directory(&directory, &name).map_err(|error| failed(error, "mkdir"))?;
                if rustix::process::geteuid().is_root()
                    && let Ok(made) = beneath::directory(&directory, name.as_bytes())
                    && let Ok(stat) = rustix::fs::fstat(&directory)
                {
                    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
                    fchown(&made, Some(uid), Some(gid)).map_err(|error| failed(error, "chown"))?;
                }
                Ok(())
            }
            (What::Mode { executable }, Some(was)) => {
                let (file, stat) =
                    beneath::regular(&directory, &name).map_err(|error| failed(error, "open"))?;
                if stat.st_ino != was.ino {
                    return Err(conflict("another file has its name"));
                }
                fchmod(&file, Mode::from_raw_mode(adjusted(&was, *executable)))
                    .map_err(|error| failed(error, "chmod"))
            }
            (What::Remove, Some(before)) => {
                let (beside, temporary) = aside()?;
                beneath::rename_new(&directory, &name, &beside, &temporary)
                    .map_err(|error| failed(error, "rename"))?;
                if is(&beside, &temporary, &before) {
                    self.forget(step.zone, &step.path);
                    return Ok(());
                }
                let _ = beneath::rename_new(&beside, &temporary, &directory, &name);
                Err(conflict("it was changed while the commit was applied"))
            }
            (What::File { .. } | What::Link { .. }, Some(before)) => {
                let (beside, temporary) = aside()?;
                beneath::exchange(&beside, &temporary, &directory, &name)
                    .map_err(|error| failed(error, "exchange"))?;
                if is(&beside, &temporary, &before) {
                    return Ok(());
                }
                let _ = beneath::exchange(&beside, &temporary, &directory, &name);
                Err(conflict("it was changed while the commit was applied"))
            }
            (What::File { .. } | What::Link { .. }, None) => {
                let (beside, temporary) = aside()?;
                beneath::rename_new(&beside, &temporary, &directory, &name)
                    .map_err(|error| failed(error, "rename"))
            }
            (What::Remove | What::Mode { .. }, None) => Err(conflict("it is gone")),
        }
    }

    /// Whether a step is done.
    fn is_done(&self, step: &Step) -> bool {
        let entry = |path: &[u8]| {
            let (directory, name) = self.place(step.zone, path).ok()?;
            beneath::stat(&directory, &name).ok()
        };
        let mode = |path| entry(path).map(|stat| (stat.st_mode & 0o7777, stat.st_mode & 0o170_000));
        match (&step.what, &step.was) {
            (What::Remove, _) => entry(&step.beside).is_some(),
            (What::File { .. } | What::Link { .. }, _) => {
                step.staged.is_some() && entry(&step.path).map(|stat| stat.st_ino) == step.staged
            }
            (What::MakeDirectory, _) => {
                self.begun == Begun::Before && mode(&step.path).is_some_and(|(_, kind)| kind == 0o040_000)
            }
            (What::Mode { executable }, Some(was)) => {
                let wanted = adjusted(was, *executable);
                self.begun == Begun::Before && mode(&step.path).is_some_and(|(mode, _)| mode == wanted)
            }
            (What::Mode { .. }, None) => false,
        }
    }

    /// Undoes one step that was done.
    pub(super) fn back(&self, step: &Step) {
        let Ok((directory, name)) = self.place(step.zone, &step.path) else { return };
        self.undo(step, &directory, &name);
    }

    fn undo(&self, step: &Step, directory: &OwnedFd, name: &CStr) {
        match &step.what {
            What::MakeDirectory => {
                self.forget(step.zone, &step.path);
                let _ = beneath::remove_directory(directory, name);
            }
            What::Mode { .. } => {
                if let (Ok((file, _)), Some(was)) = (beneath::regular(directory, name), &step.was) {
                    let _ = fchmod(&file, Mode::from_raw_mode(was.mode));
                }
            }
            What::Remove => {
                if let Ok((beside, temporary)) = self.place(step.zone, &step.beside) {
                    let _ = beneath::rename_new(&beside, &temporary, directory, name);
                }
            }
            What::File { .. } | What::Link { .. } => {
                let Ok((beside, temporary)) = self.place(step.zone, &step.beside) else { return };
                let ours = beneath::stat(directory, name).is_ok_and(|stat| Some(stat.st_ino) == step.staged);
                let _ = match (ours, &step.was) {
                    (true, Some(_)) => beneath::exchange(&beside, &temporary, directory, name),
                    (true, None) => beneath::rename_new(directory, name, &beside, &temporary),
                    (false, _) => Ok(()),
                };
            }
        }
    }

    /// Removes what a step has replaced. Gives the name of what is kept because somebody changed it in the last moment.
    pub(super) fn clean(&self, step: &Step, gone: &[&Change]) -> Result<Option<String>, Error> {
        let left = Ok(Some(quote(&step.beside)));
        let Some(was) = &step.was else { return Ok(None) };
        if matches!(step.what, What::MakeDirectory | What::Mode { .. }) {
            return Ok(None);
        }
        let call = || format!("remove(`{}`)", quote(&step.beside));
        let (beside, temporary) = match self.place(step.zone, &step.beside) {
            Err(Errno::NOENT) => return Ok(None),
            place => place.call(call)?,
        };
        let removed = match was.kind {
            Kind::Directory => {
                for change in gone.iter().rev() {
                    let path = [step.beside.as_slice(), &change.path[step.path.len()..]].concat();
                    let Ok((directory, name)) = self.place(step.zone, &path) else { continue };
                    match &change.was {
                        Some(was) if was.kind == Kind::Directory => {
                            let _ = beneath::remove_directory(&directory, &name);
                        }
                        was => {
                            if same(&directory, &name, was.as_ref()).is_ok() {
                                let _ = beneath::remove_file(&directory, &name);
                            }
                        }
                    }
                }
                beneath::remove_directory(&beside, &temporary)
            }
            _ => beneath::remove_file(&beside, &temporary),
        };
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTEMPTY | Errno::EXIST) => left,
            Err(error) => Err(error).call(call),
        }
    }

    /// Whether the original is, at a changed path, what it was; and whether a new directory is there already.
    pub(super) fn check(
        &self,
        zone: usize,
        change: &Change,
        is_made: impl Fn(&[u8]) -> bool,
    ) -> Result<Standing, String> {
        let (directory, name) = match self.place(zone, &change.path) {
            Ok(place) => place,
            Err(Errno::NOENT) if change.was.is_none() && is_made(parent(&change.path)) => {
                return Ok(Standing::AsItWas);
            }
            // The file in the place of its directory is one that the draft takes away; that is a change of its own.
            Err(Errno::NOTDIR | Errno::LOOP) if change.was.is_none() && is_made(parent(&change.path)) => {
                return Ok(Standing::AsItWas);
            }
            Err(Errno::NOENT) => return Err("its directory is gone".to_owned()),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return Err("a directory on its way is something else now".to_owned());
            }
            Err(Errno::XDEV) => return Err("something is mounted on its way".to_owned()),
            Err(error) => return Err(format!("its directory cannot be opened: {error}")),
        };
        let both = change.was.is_none() && change.now == Node::Directory;
        if both && Entry::of(&directory, &name).is_ok_and(|entry| entry.kind == Kind::Directory) {
            return Ok(Standing::MadeAlready);
        }
        same(&directory, &name, change.was.as_ref()).map(|_| Standing::AsItWas)
    }

    /// A name in a directory that is to be removed, which was not there when the zone opened.
    pub(super) fn unknown(&self, zone: usize, path: &[u8], known: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let directory = beneath::directory(&self.roots[zone], path).ok()?;
        beneath::Listing::of(&directory).ok()?.flatten().find_map(|name| {
            let path = [path, b"/", name.to_bytes()].concat();
            (!known(&path)).then_some(path)
        })
    }

    /// What is at a path now, for the manifest.
    pub(super) fn now(&self, zone: usize, path: &[u8]) -> Option<Entry> {
        let (directory, name) = self.place(zone, path).ok()?;
        Entry::of(&directory, &name).ok()
    }
}

/// How the original stands to a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    AsItWas,
    MadeAlready,
}

/// Whether `name` is what it was a moment ago under another name.
fn is(directory: &OwnedFd, name: &CStr, was: &Entry) -> bool {
    Entry::of(directory, name).is_ok_and(|now| {
        let same = |entry: &Entry| (entry.ino, entry.size, entry.mtime, entry.mode);
        same(&now) == same(was) || (was.kind == Kind::Directory && now.ino == was.ino)
    })
}

/// The mode of an original with its executable bits as the draft has them; who may read may execute.
pub(super) fn adjusted(was: &Entry, executable: bool) -> u32 {
    let mode = was.mode & 0o777;
    match (was.executable(), executable) {
        (false, true) => mode | (mode & 0o444) >> 2,
        (true, false) => mode & !0o111,
        _ => mode,
    }
}
