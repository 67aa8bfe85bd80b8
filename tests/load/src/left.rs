//! What is there of sandboxes, and what of that should not be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::process::{Pid, WaitOptions, waitpid};

use crate::procfs::{self, descendants, namespace};
use crate::served::{Parts, Served};

const CGROUPS: &str = "/sys/fs/cgroup";
/// Where names of sandboxes are looked for, and how deep.
const PLACES: [(&str, usize); 5] =
    [("/tmp", 1), ("/var/tmp", 2), ("/run", 3), ("/dev/shm", 2), ("/var/lib/casemate", 4)];
/// Parts of a state directory whose files change as a matter of course.
const GROWING: [&str; 2] = ["log", "cache"];
const POLL: Duration = Duration::from_millis(50);
/// What a part may have open beyond what it had at first: a listener's next connection, a file that is being written.
const DESCRIPTORS_SPARE: usize = 2;
/// What a part may have open for each sandbox that lives, with one command and one client: 12 and 3 in the launcher,
/// 4, 6 and the connections in the server.
const DESCRIPTORS_PER_SANDBOX: usize = 20;

/// How a state directory and the machine look while no sandbox lives.
#[derive(Debug)]
pub struct Ground {
    state: PathBuf,
    files: BTreeSet<PathBuf>,
    cgroups: BTreeSet<String>,
    since: SystemTime,
    descriptors: BTreeMap<&'static str, usize>,
}

impl Ground {
    /// Looks around. No sandbox may live.
    pub fn look(served: &Served, parts: &Parts) -> Ground {
        let state = served.state();
        Ground {
            files: files(&state),
            cgroups: cgroups().into_keys().collect(),
            since: SystemTime::now(),
            descriptors: open_descriptors(parts),
            state,
        }
    }

    /// Waits until there is nothing but what belongs to `live`, of all sandboxes that were ever `known`.
    ///
    /// # Errors
    /// Names what is too much, or missing, when the time is over.
    pub fn only(
        &self,
        parts: &Parts,
        live: &BTreeSet<String>,
        known: &BTreeSet<String>,
        limit: Duration,
    ) -> Result<()> {
        let start = Instant::now();
        loop {
            let mut wrong = self.wrong(parts, live, known);
            wrong.extend(self.descriptors_left(parts, live.len()));
            if wrong.is_empty() {
                return Ok(());
            }
            if start.elapsed() >= limit {
                wrong.truncate(40);
                wrong.push(format!("among: {parts:?}"));
                bail!("after {:.1} s:\n  {}", limit.as_secs_f64(), wrong.join("\n  "));
            }
            std::thread::sleep(POLL);
        }
    }

    fn wrong(&self, parts: &Parts, live: &BTreeSet<String>, known: &BTreeSet<String>) -> Vec<String> {
        let mut wrong = processes(parts, live.len());
        let is_dead = |id: &str| known.contains(id) && !live.contains(id);
        let names_dead = |text: &str| ids_in(text).any(is_dead);

        let there = cgroups();
        let dead = there.iter().filter(|(id, _)| is_dead(id));
        wrong.extend(dead.map(|(_, path)| format!("left: cgroup {}", path.display())));
        let strangers = there.iter().filter(|(id, _)| !known.contains(*id) && !self.cgroups.contains(*id));
        wrong.extend(
            strangers
                .filter(|(_, path)| self.is_nobodys(path))
                .map(|(_, path)| format!("left: cgroup of nobody {}", path.display())),
        );
        // Where the machine grants cgroups at all.
        if there.keys().any(|id| live.contains(id)) {
            wrong.extend(
                live.iter().filter(|id| !there.contains_key(*id)).map(|id| format!("missing: cgroup {id}")),
            );
        }

        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let state = self.state.to_string_lossy().into_owned();
        let known_in = |line: &str| ids_in(line).any(|id| known.contains(id));
        wrong.extend(
            mounts
                .lines()
                .filter(|line| known_in(line) || line.contains(&state))
                .map(|line| format!("left: mount {line}")),
        );

        for (place, depth) in PLACES {
            search(Path::new(place), depth, &names_dead, &mut wrong);
        }
        let new = files(&self.state).into_iter().filter(|file| !self.files.contains(file));
        wrong.extend(new.map(|file| format!("left: file {} in the state directory", file.display())));

        wrong
    }

    /// What is still there of sandboxes that are all to be gone. Descriptors are not looked at: whoever is stopped
    /// cannot let go of them.
    pub fn left(&self, parts: &Parts, known: &BTreeSet<String>) -> Vec<String> {
        self.wrong(parts, &BTreeSet::new(), known)
    }

    /// Descriptors beyond those that so many sandboxes explain.
    fn descriptors_left(&self, parts: &Parts, live: usize) -> Vec<String> {
        grown(&self.descriptors, open_descriptors(parts), live)
    }

    /// A cgroup that was made since, holds no process, and that nobody who lives has locked.
    fn is_nobodys(&self, path: &Path) -> bool {
        let new = fs::metadata(path).and_then(|data| data.modified()).is_ok_and(|time| time >= self.since);
        let empty = fs::read_to_string(path.join("cgroup.procs")).is_ok_and(|text| text.is_empty());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let unlocked = || {
            let directory = rustix::fs::open(path, flags, Mode::empty()).ok()?;
            rustix::fs::flock(directory, FlockOperation::NonBlockingLockExclusive).ok()
        };
        new && empty && unlocked().is_some()
    }
}

/// Where more is open than there was before, so many sandboxes live, and that does not explain it.
fn grown(
    before: &BTreeMap<&'static str, usize>,
    now: BTreeMap<&'static str, usize>,
    live: usize,
) -> Vec<String> {
    // A restarted part has none to compare with but what the first one had.
    let before = |name, count| before.get(name).copied().unwrap_or(count);
    let explained = DESCRIPTORS_SPARE + DESCRIPTORS_PER_SANDBOX * live;
    now.into_iter()
        .filter(|(name, count)| *count > before(*name, *count) + explained)
        .map(|(name, count)| {
            let before = before(name, count);
            format!("left: {count} descriptors in the {name}, {before} before; {live} sandboxes live")
        })
        .collect()
}

/// Processes below us, their namespaces and their host ids, against so many live sandboxes.
fn processes(parts: &Parts, live: usize) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut all = descendants(procfs::own());
    // Orphans became our children: whoever ended is reaped. The supervisor belongs to `Served`.
    all.retain(|pid| {
        let ours = procfs::parent(*pid) == Some(procfs::own()) && Some(*pid) != parts.supervisor;
        let reaped = ours
            && procfs::is_zombie(*pid)
            && Pid::from_raw(*pid as i32)
                .is_some_and(|pid| matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(Some(_))));
        !reaped
    });
    let ours: BTreeSet<u32> = parts.named().into_iter().map(|(_, pid)| pid).collect();
    let own = namespace(procfs::own(), "pid");
    let mut outside = Vec::new();
    let mut inside: BTreeMap<String, u32> = BTreeMap::new();
    for pid in all.iter().filter(|pid| !ours.contains(pid)) {
        match namespace(*pid, "pid") {
            Some(space) if Some(&space) != own.as_ref() => drop(inside.insert(space, *pid)),
            _ => outside.push(*pid),
        }
    }
    wrong.extend(outside.into_iter().map(|pid| format!("left: process {}", procfs::described(pid))));
    if inside.len() != live {
        let shown: Vec<String> = inside.values().take(5).map(|pid| procfs::described(*pid)).collect();
        wrong.push(format!("{} pid namespaces for {live} sandboxes: {shown:?}", inside.len()));
    }
    let networks: BTreeSet<String> = all.iter().filter_map(|pid| namespace(*pid, "net")).collect();
    let networks =
        networks.into_iter().filter(|space| Some(space) != namespace(procfs::own(), "net").as_ref()).count();
    if networks != live {
        wrong.push(format!("{networks} network namespaces for {live} sandboxes"));
    }
    let leases = procfs::leases(&all);
    if rustix::process::geteuid().is_root() && leases.len() != live {
        wrong.push(format!("{} leases of host ids for {live} sandboxes: {leases:?}", leases.len()));
    }
    wrong
}

fn open_descriptors(parts: &Parts) -> BTreeMap<&'static str, usize> {
    parts.named().into_iter().filter_map(|(name, pid)| Some((name, procfs::descriptors(pid)?))).collect()
}

/// The cgroups that are called like a sandbox.
fn cgroups() -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![PathBuf::from(CGROUPS)];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let name = entry.file_name().to_string_lossy().into_owned();
                if is_id(&name) {
                    found.insert(name, entry.path());
                } else {
                    waiting.push(entry.path());
                }
            }
        }
    }
    found
}

/// The words of a text that look like a sandbox's name.
fn ids_in(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| is_id(word))
}

fn is_id(name: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() == 21 && name.starts_with('i') && name.bytes().all(letters)
}

/// The memory that the cgroups of these sandboxes count, in bytes: what is theirs, and what the kernel keeps for them.
pub fn cgroup_memory(ids: &BTreeSet<String>) -> (u64, u64) {
    let number = |path: PathBuf| -> u64 {
        fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    };
    let homes = [PathBuf::from(CGROUPS), Path::new(CGROUPS).join("memory")];
    ids.iter().flat_map(|id| homes.iter().map(move |home| home.join("casemate").join(id))).fold(
        (0, 0),
        |(all, kernel), path| {
            let current = number(path.join("memory.current")) + number(path.join("memory.usage_in_bytes"));
            (all + current, kernel + number(path.join("memory.kmem.usage_in_bytes")))
        },
    )
}

/// The paths beneath a state directory, but for those that grow as a matter of course.
fn files(state: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![state.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(relative) = path.strip_prefix(state) else { continue };
            if GROWING.iter().any(|name| relative.starts_with(name)) {
                continue;
            }
            found.insert(relative.to_owned());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(path);
            }
        }
    }
    found
}

/// Names of files and directories beneath one that hold a dead sandbox's.
fn search(directory: &Path, depth: usize, wanted: &dyn Fn(&str) -> bool, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if wanted(&entry.file_name().to_string_lossy()) {
            found.push(format!("left: file {}", entry.path().display()));
        } else if kind.is_dir() && depth > 1 {
            search(&entry.path(), depth - 1, wanted, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_that_no_living_sandbox_explains_are_left() {
        let counts = |count| BTreeMap::from([("launcher", count)]);
        let before = counts(10);
        let most = 10 + DESCRIPTORS_SPARE + DESCRIPTORS_PER_SANDBOX;
        assert_eq!(grown(&before, counts(most), 1), [""; 0]);
        assert_eq!(grown(&before, counts(most + 1), 1).len(), 1);
        assert_eq!(grown(&before, counts(10 + DESCRIPTORS_SPARE), 0), [""; 0]);
        assert_eq!(grown(&before, counts(11 + DESCRIPTORS_SPARE), 0).len(), 1);
        assert_eq!(grown(&BTreeMap::new(), counts(99), 0), [""; 0]);
    }

    #[test]
    fn a_name_is_found_in_whatever_holds_it() {
        let id = "icbqkzjkasxnkrwh77nxv";
        assert_eq!(ids_in(&format!("/a/{id}.x {id}")).collect::<Vec<_>>(), [id, id]);
        assert_eq!(ids_in("/a/icbqkzjkasxnkrwh77nx interesting").count(), 0);
    }
}
