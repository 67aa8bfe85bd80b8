//! What `/proc` tells of processes and of the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, getpid, kill_process};

/// Our own pid.
pub fn own() -> u32 {
    getpid().as_raw_nonzero().get() as u32
}

/// The processes that it started, and those that they started.
pub fn descendants(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for pid in pids() {
        if let Some(parent) = parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        found.extend(children.get(&found[next]).into_iter().flatten());
        next += 1;
    }
    found.split_off(1)
}

fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Who started it, or adopted it since.
pub fn parent(pid: u32) -> Option<u32> {
    after_name(pid)?.split_whitespace().nth(1)?.parse().ok()
}

/// Whether it has ended and nobody has asked for its status yet.
pub fn is_zombie(pid: u32) -> bool {
    after_name(pid).is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

/// What follows its name in `stat`: the name, in parentheses, may hold anything.
fn after_name(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')').map(|(_, rest)| rest.to_owned())
}

/// What it calls itself.
pub fn name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

/// Its name, state, parent, where the kernel holds it, and words, for people.
pub fn described(pid: u32) -> String {
    let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ");
    let waits = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    let rest = after_name(pid).unwrap_or_default();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let (state, parent) = (fields.first().unwrap_or(&"gone"), fields.get(1).unwrap_or(&"?"));
    format!("{pid} ({}, {state}, child of {parent}, in {waits}) {words}", name(pid))
}

/// A line of its `status` that counts KiB: `VmRSS`, `VmHWM`.
pub fn status_kib(pid: u32, line: &str) -> Option<u64> {
    of_lines(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, line)
}

/// Its share of the memory that it uses, in KiB: what it shares is divided by those it shares it with.
pub fn share_kib(pid: u32) -> Option<u64> {
    of_lines(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, "Pss")
}

/// How many descriptors it has open.
pub fn descriptors(pid: u32) -> Option<usize> {
    fs::read_dir(format!("/proc/{pid}/fd")).ok().map(Iterator::count)
}

/// How many of them are sockets.
pub fn sockets(pid: u32) -> usize {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

/// How many network namespaces the kernel has room for at present, if it tells us. Those that nobody is in count too.
pub fn network_namespaces() -> Option<u64> {
    let text = fs::read_to_string("/proc/slabinfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("net_namespace "))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The inode of one of its namespaces: `pid`, `net`.
pub fn namespace(pid: u32, kind: &str) -> Option<String> {
    let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()?;
    Some(link.to_string_lossy().into_owned())
}

/// `/proc/meminfo`, in KiB.
///
/// # Errors
/// There is none.
pub fn meminfo() -> Result<BTreeMap<String, u64>> {
    let text = fs::read_to_string("/proc/meminfo").context("no /proc/meminfo")?;
    let line = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.split_whitespace().next()?.parse().ok()?))
    };
    Ok(text.lines().filter_map(line).collect())
}

/// The first bytes of the blocks of host ids that these processes hold a lease of.
pub fn leases(pids: &[u32]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for pid in pids {
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten() {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            // `lock:\t1: OFDLCK ADVISORY  WRITE -1 fe:00:1234 17 17`
            let held = text.lines().filter(|line| line.starts_with("lock:") && line.contains("OFDLCK"));
            found.extend(held.filter_map(|line| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                Some(format!("{}:{}", fields.get(6)?, fields.get(7)?))
            }));
        }
    }
    found
}

/// Sends a signal to a process that we, or what we started, have started. It may have ended already.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid as i32) {
        let _ = kill_process(pid, signal);
    }
}

fn of_lines(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}
