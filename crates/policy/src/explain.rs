//! Says what each rule turns into.

use crate::compute::{show_bytes, show_millis};
use crate::{ALWAYS, Access, CommitRules, Pattern, Policy, lease};
use model::{Wall, Walls};
use std::fmt;

/// One rule, and what it turns into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The rule, as a document writes it; the defaults are written out.
    pub rule: String,
    /// The mechanism.
    pub becomes: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.rule, self.becomes)
    }
}

impl crate::Document {
    /// What each rule turns into, one line for each, also of rules that this version does not enforce.
    pub fn explain(&self) -> Vec<Line> {
        let mut lines = self.clone().into_policy().explain();
        if !self.net.is_empty() {
            lines.retain(|line| !line.rule.starts_with("no [[net.allow]]"));
        }
        lines.extend(self.explain_more().into_iter().map(|(rule, becomes)| line(rule, becomes)));
        lines
    }
}

impl Policy {
    /// What each rule turns into, one line for each.
    pub fn explain(&self) -> Vec<Line> {
        let mut lines = self.explain_walls();
        lines.extend(self.explain_compute());
        let (rule, becomes) = lease::explain(&self.lease);
        lines.push(line(rule, becomes));
        lines.extend(self.explain_files());
        lines.push(line("no [[net.allow]]", "a network with nothing but its own loopback"));
        lines
    }

    /// The same for those inside, who are not to learn the names of host directories.
    pub fn explain_inside(&self) -> Vec<Line> {
        let mut lines = self.explain_walls();
        lines.extend(self.explain_compute());
        lines.extend(self.files.iter().map(|rule| {
            let at = model::quote(rule.at());
            match rule.access() {
                Access::Read { .. } => line(format!("read {at}"), "read-only"),
                Access::Scratch => line(format!("scratch {at}"), "writable; counts into disk; vanishes"),
                Access::Draft { .. } => {
                    line(format!("draft {at}"), "writable; reaches its original by a commit alone")
                }
                Access::Write { .. } => {
                    line(format!("write {at}"), "writable; counts into disk; handed out at the end")
                }
            }
        }));
        lines.push(line("no [[net.allow]]", "a network with nothing but its own loopback"));
        lines
    }

    fn explain_files(&self) -> impl Iterator<Item = Line> {
        self.files.iter().map(|rule| {
            let at = model::quote(rule.at());
            let (access, becomes) = match rule.access() {
                Access::Read { from } => ("read", format!("{} read-only", model::quote(from))),
                Access::Scratch => ("scratch", "private and writable; counts into disk; vanishes".to_owned()),
                Access::Write { to } => {
                    let to = model::quote(to);
                    ("write", format!("private and writable; counts into disk; copied to {to} at the end"))
                }
                Access::Draft { from, commit } => ("draft", draft(from, commit)),
            };
            line(format!("{access} {at}"), becomes)
        })
    }

    fn explain_walls(&self) -> Vec<Line> {
        let always: Walls = ALWAYS.iter().copied().collect();
        let landlock = match self.landlock_min {
            0 => "used where the kernel has it; its absence is permitted".to_owned(),
            abi => format!("starts only on a kernel with Landlock ABI {abi} or above"),
        };
        let root = match self.root {
            true => "commands may ask for root inside, which counts nowhere outside",
            false => "a command that asks for root inside is denied",
        };
        let mut lines = vec![
            line("tier = native", "namespaces, seccomp and Landlock on the host's kernel"),
            line("always", always.to_string()),
            line(format!("landlock = {}", self.landlock_min), landlock),
            line(format!("root = {}", self.root), root),
        ];
        lines.extend(
            self.require.iter().map(|wall| line(format!("require {wall}"), "does not start without it")),
        );
        lines
    }

    fn explain_compute(&self) -> Vec<Line> {
        let limits = self.limits;
        let otherwise = |wall: Wall, without: String| match self.require.has(wall) {
            true => "without a cgroup it does not start".to_owned(),
            false => format!("without a cgroup {without}"),
        };
        let memory = show_bytes(limits.memory_bytes);
        let data = otherwise(Wall::MemoryLimit, format!("RLIMIT_DATA {memory} per process"));
        let pids = otherwise(Wall::PidsLimit, format!("RLIMIT_NPROC {}", limits.pids));
        let wall = limits.wall_ms.map_or("none".to_owned(), show_millis);
        vec![
            line(
                format!("cpus = {}", f64::from(limits.cpu_milli) / 1000.0),
                format!("cgroup processor limit; {}", otherwise(Wall::CpuLimit, "not limited".to_owned())),
            ),
            line(format!("memory = {memory}"), format!("cgroup memory limit; {data}")),
            line(format!("pids = {}", limits.pids), format!("cgroup pids limit; {pids}")),
            line(
                format!("disk = {}", show_bytes(limits.disk_bytes)),
                "size of the tmpfs that holds all it writes; counts into memory",
            ),
            line(format!("inodes = {}", limits.disk_inodes), "inodes of that tmpfs"),
            line(format!("open_files = {}", limits.open_files), "RLIMIT_NOFILE per process"),
            line(
                format!("wall = {wall}"),
                limits
                    .wall_ms
                    .map_or("lives until it ends or is stopped", |_| "the sandbox is ended after that"),
            ),
        ]
    }
}

fn draft(from: &str, rules: &CommitRules) -> String {
    let CommitRules { paths, bytes, files, executables, unprotect } = rules;
    let list = |patterns: &[Pattern], none: &str| match patterns {
        [] => none.to_owned(),
        some => some.iter().map(Pattern::to_path).collect::<Vec<_>>().join(", "),
    };
    format!(
        "copy-on-write over {}; counts into disk; a commit brings at most {files} files and {}, paths: {}, \
         executables: {}, protected names: {}",
        model::quote(from),
        show_bytes(*bytes),
        list(paths, "all"),
        if *executables { "also new ones" } else { "no new ones" },
        if unprotect.is_empty() { "never".to_owned() } else { format!("only {}", list(unprotect, "")) },
    )
}

fn line(rule: impl Into<String>, becomes: impl Into<String>) -> Line {
    Line { rule: rule.into(), becomes: becomes.into() }
}
