//! Subordinate ids: one range of 65536 in `/etc/subuid` and one in `/etc/subgid`.
//!
//! A range is taken where nothing else is: no other range of either file, no user and no group. Both files are
//! changed under the lock that useradd and usermod take, each by a rename.

use super::lease::{self, Note};
use super::user::User;
use super::{Refused, Result, Step, Went};
use crate::Exit;
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

/// SUB_UID_COUNT, SUB_UID_MIN and SUB_UID_MAX of login.defs(5), by their defaults.
const COUNT: u64 = 65_536;
const FIRST: u64 = 100_000;
const LAST: u64 = 600_100_000;

const LOCK: &str = "/etc/.pwd.lock";
/// lckpwdf(3) waits as long.
const LOCK_TRIES: u32 = 150;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// Ids from `first` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    first: u64,
    count: u64,
}

/// One of the two files, as it is under the lock.
struct File {
    path: &'static Path,
    text: String,
    mode: u32,
    owner: (u32, u32),
}

/// Gives the user a range in each file that has none of that size for it.
pub(super) fn grant(user: &User) -> Result<Vec<Step>> {
    let _lock = lock()?;
    let (uids, gids) = files()?;
    let held = [&uids, &gids].map(|file| held(&file.text, user));
    let mut note = Note::read(user)?;
    if held.iter().any(Option::is_none) {
        let line = new_line(user, &[&uids.text, &gids.text])?;
        for (slot, held) in [(&mut note.subuid, held[0]), (&mut note.subgid, held[1])] {
            if held.is_none() {
                *slot = Some(line.clone());
            }
        }
        note.write(user)?;
    }
    let mut steps = Vec::new();
    for ((file, held), line) in [uids, gids].iter().zip(held).zip([&note.subuid, &note.subgid]) {
        steps.push(match (held, line) {
            (Some(range), _) => {
                let shown = format!("{}: {} ids from {}", file.path.display(), range.count, range.first);
                Step::new(Went::Kept, shown)
            }
            (None, Some(line)) => {
                file.write(&with_line(&file.text, line))?;
                Step::new(Went::Made, format!("{}: {line}", file.path.display()))
            }
            (None, None) => Step::new(Went::Left, format!("{}: no range", file.path.display())),
        });
    }
    Ok(steps)
}

/// Takes away the ranges that [`grant`] added, and no others.
pub(super) fn revoke(user: &User) -> Result<Vec<Step>> {
    let _lock = lock()?;
    let (uids, gids) = files()?;
    let note = Note::read(user)?;
    let mut steps = Vec::new();
    for (file, line) in [(uids, note.subuid), (gids, note.subgid)] {
        let path = file.path.display();
        let Some(line) = line else {
            steps.push(Step::new(Went::Kept, format!("{path}: setup added nothing")));
            continue;
        };
        let text = without_line(&file.text, &line);
        if text == file.text {
            steps.push(Step::new(Went::Kept, format!("{path}: {line} is not there any more")));
        } else {
            file.write(&text)?;
            steps.push(Step::new(Went::Removed, format!("{path}: {line}")));
        }
    }
    Note::remove(user)?;
    Ok(steps)
}

/// The lock of the shadow tools: a POSIX lock, let go of when the descriptor closes.
fn lock() -> Result<rustix::fd::OwnedFd> {
    let path = Path::new(LOCK);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|error| Refused::call("open", path, error))?;
    for _ in 0..LOCK_TRIES {
        match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => std::thread::sleep(LOCK_PAUSE),
            Err(error) => return Err(Refused::call("fcntl(F_SETLK)", path, error)),
        }
    }
    let what = format!("{LOCK}: another program has been changing users for 15 s");
    Err(Refused::new(Exit::System, what, "wait for it (useradd, usermod, passwd) and try again"))
}

fn files() -> Result<(File, File)> {
    Ok((File::read("/etc/subuid")?, File::read("/etc/subgid")?))
}

impl File {
    /// A file that is missing is an empty one that is yet to be made.
    fn read(path: &'static str) -> Result<File> {
        let path = Path::new(path);
        let call = |call: &'static str| move |error: io::Error| Refused::call(call, path, error);
        let metadata = match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(File { path, text: String::new(), mode: 0o644, owner: (0, 0) });
            }
            found => found.map_err(call("stat"))?,
        };
        if !metadata.is_file() {
            let what = format!("{}: not a regular file, so it is not changed", path.display());
            let help = "give the user a range of 65536 ids in the way this machine keeps them, and try again";
            return Err(Refused::new(Exit::System, what, help));
        }
        let text = std::fs::read_to_string(path).map_err(call("read"))?;
        let mode = metadata.permissions().mode() & 0o7777;
        Ok(File { path, text, mode, owner: (metadata.uid(), metadata.gid()) })
    }

    fn write(&self, text: &str) -> Result<()> {
        lease::replace(self.path, text.as_bytes(), self.mode, Some(self.owner))
    }
}

/// The line for a range that is nobody's in either file, nor a user's or a group's id.
fn new_line(user: &User, texts: &[&str]) -> Result<String> {
    let mut taken: Vec<Range> = texts.iter().flat_map(|text| entries(text)).map(|(_, range)| range).collect();
    for path in ["/etc/passwd", "/etc/group"] {
        let text = std::fs::read(path).map_err(|error| Refused::call("read", path.as_ref(), error))?;
        taken.extend(ids(&String::from_utf8_lossy(&text)));
    }
    let first = free(&taken).ok_or_else(|| {
        let what = format!("no {COUNT} ids in a row are free between {FIRST} and {LAST}");
        Refused::new(Exit::System, what, "remove ranges from /etc/subuid and /etc/subgid that nobody needs")
    })?;
    Ok(format!("{}:{first}:{COUNT}", user.name))
}

/// The entries of a subuid file, with their owners. A line that is none is passed over, and stays.
fn entries(text: &str) -> impl Iterator<Item = (&str, Range)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (owner, first, count) = (fields.next()?, fields.next()?, fields.next()?);
        let range = Range { first: first.trim().parse().ok()?, count: count.trim().parse().ok()? };
        Some((owner, range))
    })
}

/// The third fields of a passwd or group file.
fn ids(text: &str) -> impl Iterator<Item = Range> {
    text.lines().filter_map(|line| Some(Range { first: line.split(':').nth(2)?.parse().ok()?, count: 1 }))
}

/// A range of the user that is large enough, and that `jail` will use.
fn held(text: &str, user: &User) -> Option<Range> {
    let (first, count) = jail::ids::range_for(text, user.uid, Some(&user.name))?;
    let range = Range { first: first.into(), count: count.into() };
    (range.count >= COUNT).then_some(range)
}

fn free(taken: &[Range]) -> Option<u64> {
    let mut first = FIRST;
    while first <= LAST - COUNT {
        let end = first + COUNT;
        let over = |range: &&Range| range.first < end && range.first.saturating_add(range.count) > first;
        match taken.iter().find(over) {
            Some(range) => first = range.first.saturating_add(range.count),
            None => return Some(first),
        }
    }
    None
}

fn with_line(text: &str, line: &str) -> String {
    let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{newline}{line}\n")
}

fn without_line(text: &str, line: &str) -> String {
    text.split_inclusive('\n').filter(|have| have.trim_end_matches('\n') != line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bob() -> User {
        User { name: "bob".to_owned(), uid: 1001, gid: 1001 }
    }

    #[test]
    fn a_new_range_overlaps_no_range_and_no_id() {
        let taken: Vec<Range> =
            entries("eve:100000:65536\n\nann:200000:10\nbad:x:y\n1003:99:99999999999999999999\n")
                .map(|(_, range)| range)
                .chain(ids("far:x:260000:1::/:\n"))
                .collect();
        let first = free(&taken).unwrap();
        assert_eq!(first, 260_001);
        assert_eq!(free(&[]), Some(FIRST));
        assert_eq!(free(&[Range { first: 0, count: u64::MAX }]), None);
    }

    #[test]
    fn a_range_that_is_large_enough_is_kept() {
        assert_eq!(held("bob:100000:65536\n", &bob()), Some(Range { first: 100_000, count: 65_536 }));
        assert_eq!(held("1001:100000:70000\n", &bob()), Some(Range { first: 100_000, count: 70_000 }));
        assert_eq!(held("bob:100000:1024\n", &bob()), None);
        assert_eq!(held("eve:100000:65536\n", &bob()), None);
    }

    #[test]
    fn adding_a_line_and_taking_it_away_gives_the_text_back() {
        for text in ["", "eve:1:2\n", "# a comment\neve:1:2\n\n"] {
            let added = with_line(text, "bob:100000:65536");
            assert_eq!(without_line(&added, "bob:100000:65536"), text);
        }
        assert_eq!(with_line("eve:1:2", "b:3:4"), "eve:1:2\nb:3:4\n");
        assert_eq!(
            without_line("eve:1:2\nnotbob:100000:65536", "bob:100000:65536"),
            "eve:1:2\nnotbob:100000:65536"
        );
    }
}
