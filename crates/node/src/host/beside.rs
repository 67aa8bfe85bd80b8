//! What else runs in a sandbox with draft zones when something begins there. It stands in the record of what begins, and
//! tells later who may have changed a file: all that is not named had ended by then, with every process of it.
//!
//! The kernel says so, and not the agent: the processes are those of the sandbox's own `/proc`. Where something is found
//! that belongs to no command that is known, nothing is claimed.

use super::room::lock;
use model::Beside as Seen;
use rustix::fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, fstatfs, openat};
use rustix::time::{ClockId, clock_gettime};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Read};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// More processes than this are not looked at.
const PROCESSES_MAX: usize = 1024;
/// Work that has given its answer is waited for: its process ends a moment later.
const WORK_ENDS_WITHIN: Duration = Duration::from_millis(10);

/// How often it is asked whether the clock of files has gone on, and how long it is waited for then.
const TICKS_MAX: u32 = 50;
const TICK: Duration = Duration::from_millis(1);

/// What goes on in one sandbox.
#[derive(Debug)]
pub(super) struct Beside {
    /// The first process of a sandbox with draft zones; of another nothing is recorded.
    first_pid: Option<i32>,
    state: Mutex<State>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Commands that are about to start.
    starting: BTreeSet<u32>,
    /// Work on files between its request and the end of its process.
    works: u32,
    /// How much has begun so far.
    begun: u64,
}

/// Something that began, until it is a command that runs, or has ended.
#[derive(Debug)]
pub(super) struct Begun {
    beside: Arc<Beside>,
    /// The number of the command; none of work on files.
    exec: Option<u32>,
    /// How much had begun with it.
    count: u64,
}

/// What a look has seen.
#[derive(Debug)]
pub(super) struct Look(Option<Seen>);

impl Beside {
    /// Of the sandbox with this first process; of one without draft zones there is nothing to know.
    pub(super) fn new(first_pid: Option<i32>) -> Arc<Beside> {
        Arc::new(Beside { first_pid, state: Mutex::default(), ended: Notify::new() })
    }

    /// A command is about to begin, or with no number work on files.
    pub(super) fn begin(self: &Arc<Beside>, exec: Option<u32>) -> Begun {
        let mut state = lock(&self.state);
        state.begun += 1;
        match exec {
            Some(exec) => drop(state.starting.insert(exec)),
            None => state.works += 1,
        }
        Begun { beside: self.clone(), exec, count: state.begun }
    }
}

impl Begun {
    /// Looks what else there is. `running` are the commands that run, by their process ids inside.
    pub(super) async fn look(&self, running: impl Fn() -> HashMap<u32, u32>) -> Look {
        let Some(first) = self.beside.first_pid else { return Look(None) };
        let own = u32::from(self.exec.is_none());
        let until = tokio::time::Instant::now() + WORK_ENDS_WITHIN;
        loop {
            // Before the look, so that an end after it is not missed.
            let ended = self.beside.ended.notified();
            let starting = {
                let state = lock(&self.beside.state);
                (state.works == own).then(|| state.starting.clone())
            };
            if let Some(starting) = starting {
                let known = running();
                let others = starting.into_iter().filter(|exec| Some(*exec) != self.exec);
                let all_known = all_known(first, &known).unwrap_or_default();
                let commands = all_known.then(|| known.into_values().chain(others).collect());
                return Look(passed().await.map(|ns| Seen { commands, ns }));
            }
            if tokio::time::timeout_at(until, ended).await.is_err() {
                return Look(passed().await.map(|ns| Seen { commands: None, ns }));
            }
        }
    }

    /// Has it recorded with what was seen, unless something began since: `submit` decides the place in the record.
    pub(super) fn recorded<T>(&self, look: Look, submit: impl FnOnce(Option<Seen>) -> T) -> T {
        let state = lock(&self.beside.state);
        let seen = look.0.map(|mut seen| {
            seen.commands = seen.commands.filter(|_| state.begun == self.count);
            seen
        });
        submit(seen)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let mut state = lock(&self.beside.state);
        match self.exec {
            Some(exec) => drop(state.starting.remove(&exec)),
            None => state.works -= 1,
        }
        self.beside.ended.notify_waiters();
    }
}

/// Waits until the clock by which files are dated, which stands still between ticks, is past this moment, and gives it: no
/// file that was changed before has the date of one that is changed after.
async fn passed() -> Option<u64> {
    let ns = clock(ClockId::Realtime);
    for _ in 0..TICKS_MAX {
        if clock(ClockId::RealtimeCoarse) > ns {
            return Some(ns);
        }
        tokio::time::sleep(TICK).await;
    }
    None
}

fn clock(id: ClockId) -> u64 {
    let now = clock_gettime(id);
    (now.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec as u64)
}

/// Whether every process inside is the first one, a command that runs, or comes from one.
fn all_known(first: i32, running: &HashMap<u32, u32>) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = openat(CWD, format!("/proc/{first}/root/proc"), flags, Mode::empty())?;
    if fstatfs(&proc)?.f_type != PROC_SUPER_MAGIC {
        return Ok(false);
    }
    let mut parents = BTreeMap::new();
    for entry in rustix::fs::Dir::read_from(&proc)? {
        let Ok(pid) = entry?.file_name().to_str().unwrap_or_default().parse::<u32>() else { continue };
        if pid == 1 || running.contains_key(&pid) {
            continue;
        }
        if parents.len() == PROCESSES_MAX {
            return Ok(false);
        }
        let stat = openat(&proc, format!("{pid}/stat"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut text = Vec::new();
        std::fs::File::from(stat).take(1024).read_to_end(&mut text)?;
        parents.insert(pid, parent(&text).unwrap_or_default());
    }
    Ok(parents.keys().all(|pid| comes_from(*pid, &parents, running)))
}

/// The parent in a line of `/proc/PID/stat`: the second field behind the name, which may hold anything.
fn parent(stat: &[u8]) -> Option<u32> {
    let behind = stat.iter().rposition(|byte| *byte == b')')?;
    std::str::from_utf8(&stat[behind + 1..]).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn comes_from(pid: u32, parents: &BTreeMap<u32, u32>, running: &HashMap<u32, u32>) -> bool {
    let line = std::iter::successors(Some(pid), |pid| parents.get(pid).copied());
    // Parents were read one after the other: they may make a circle.
    line.take(parents.len() + 1).any(|pid| running.contains_key(&pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_the_command_that_it_comes_from() {
        let running = HashMap::from([(5, 1)]);
        let parents = BTreeMap::from([(7, 5), (8, 7), (9, 1), (10, 9), (11, 12), (12, 11)]);
        let known: Vec<u32> =
            parents.keys().copied().filter(|pid| comes_from(*pid, &parents, &running)).collect();
        assert_eq!(known, [7, 8]);
    }

    #[test]
    fn a_parent_is_read_behind_a_name_that_looks_like_one() {
        assert_eq!(parent(b"12 (sh) S 5 12 12 0"), Some(5));
        assert_eq!(parent(b"12 (a) R 9 (b) S 5 12"), Some(5));
        assert_eq!(parent(b"12 (sh"), None);
    }

    #[tokio::test]
    async fn what_begins_meanwhile_takes_away_the_claim() {
        let beside = Beside::new(Some(std::process::id() as i32));
        let (one, two) = (beside.begin(Some(1)), beside.begin(Some(2)));
        let seen = |commands| Seen { commands, ns: 1 };
        assert_eq!(one.recorded(Look(Some(seen(Some(vec![])))), |beside| beside), Some(seen(None)));
        assert_eq!(two.recorded(Look(Some(seen(Some(vec![1])))), |beside| beside), Some(seen(Some(vec![1]))));
        // Work that has not ended is waited for, for a while.
        let work = beside.begin(None);
        assert!(two.look(HashMap::new).await.0.is_some_and(|seen| seen.commands.is_none()));
        drop(work);
        // This test's processes are no sandbox's.
        assert!(two.look(HashMap::new).await.0.is_some_and(|seen| seen.commands.is_none()));
    }
}
