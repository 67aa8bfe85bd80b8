//! What the host sees of a process: all that /proc tells about its rights.

use crate::Facts;
use anyhow::{Context, Result};
use std::fs;

/// Lines of /proc/PID/status that tell of rights.
const STATUS: &[&str] = &[
    "Uid",
    "Gid",
    "Groups",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Seccomp_filters",
    "NStgid",
];
/// The namespaces that a sandbox has of its own.
pub const NAMESPACES: &[&str] = &["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];

/// The children of a process, by all its threads.
///
/// # Errors
/// /proc cannot be read.
pub fn children(parent: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // The name before it may hold anything, a `)` too.
        let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
        if after.split(' ').nth(1).and_then(|ppid| ppid.parse().ok()) == Some(parent) {
            found.push(pid);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// All processes below one.
///
/// # Errors
/// /proc cannot be read.
pub fn descendants(parent: u32) -> Result<Vec<u32>> {
    let mut all = Vec::new();
    for child in children(parent)? {
        all.push(child);
        all.extend(descendants(child)?);
    }
    Ok(all)
}

/// The name of a process.
pub fn name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

/// The record of a thread.
///
/// # Errors
/// It is gone, or may not be looked at.
pub fn of_thread(pid: u32, thread: u32) -> Result<Facts> {
    let base = format!("/proc/{pid}/task/{thread}");
    let read =
        |name: &str| fs::read_to_string(format!("{base}/{name}")).with_context(|| format!("{base}/{name}"));
    let mut facts = Facts::new();
    let status = read("status")?;
    for line in status.lines() {
        if let Some((name, value)) = line.split_once(':').filter(|(name, _)| STATUS.contains(name)) {
            facts.insert(name.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    for name in NAMESPACES {
        let own = fs::read_link(format!("{base}/ns/{name}")).with_context(|| format!("{base}/ns/{name}"))?;
        let host = fs::read_link(format!("/proc/self/ns/{name}"))?;
        facts.insert(format!("ns {name}"), if own == host { "the host's" } else { "its own" }.to_owned());
    }
    for line in read("limits")?.lines().skip(1) {
        let (name, values) = line.split_at_checked(26).context("a short line of limits")?;
        let values: Vec<&str> = values.split_whitespace().take(2).collect();
        facts.insert(format!("limit {}", name.trim()), values.join(" "));
    }
    facts.insert("oom_score_adj".to_owned(), read("oom_score_adj")?.trim().to_owned());
    facts.insert("cwd".to_owned(), fs::read_link(format!("{base}/cwd"))?.display().to_string());
    let device =
        |path: &str| -> Result<u64> { Ok(std::os::unix::fs::MetadataExt::dev(&fs::metadata(path)?)) };
    let same = device(&format!("{base}/root/"))? == device("/")?;
    facts.insert("root".to_owned(), if same { "the host's" } else { "its own" }.to_owned());
    for entry in fs::read_dir(format!("{base}/fd")).with_context(|| format!("{base}/fd"))? {
        let entry = entry?;
        let number = entry.file_name().to_string_lossy().into_owned();
        let target = fs::read_link(entry.path())?.display().to_string();
        // The numbers of pipes and sockets say nothing.
        let class = class(&target);
        let directory = fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_dir());
        facts.insert(
            format!("fd {number}"),
            format!("{class}{}", if directory { " (directory)" } else { "" }),
        );
    }
    Ok(facts)
}

/// The records of all threads of a process.
///
/// # Errors
/// It is gone, or may not be looked at.
pub fn of_process(pid: u32) -> Result<Vec<Facts>> {
    let mut records = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = entry?.file_name().to_string_lossy().parse()?;
        records.push(of_thread(pid, thread)?);
    }
    Ok(records)
}

/// What a descriptor is, without the number that pipes and sockets have.
pub fn class(target: &str) -> &str {
    match target.split_once(":[") {
        Some((class @ ("pipe" | "socket"), _)) => class,
        _ => target,
    }
}
