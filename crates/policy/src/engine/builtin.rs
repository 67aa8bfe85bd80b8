//! What every sandbox offers, whatever its policy says: the rules that have the names of no document's.
//!
//! They say what the walls are built to give (`jail::root`, and the data of `jail::Plan`). What the kernel's own permissions
//! keep from a user inside, such as another process's memory, they do not repeat.

use super::rule::{Action, Effect, Making, Rule};
use crate::pattern::{Pattern, Rest, Word};
use crate::{User, host};

/// The directories at the top that are shown read-only: the system, and what those inside are told.
const SYSTEM: &[&str] = &["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", ".casemate"];
/// Directories at the top that are empty, or hold what has rules of its own.
const TOP: &[&str] = &["dev", "etc", "home", "mnt", "opt", "proc", "root", "run", "srv", "sys", "var"];
/// What is shown of the host's `/etc`, read-only.
const ETC_OF_HOST: &[&str] =
    &["alternatives", "fonts", "java-17-openjdk", "ld.so.cache", "localtime", "mime.types", "ssl/certs"];
/// What `/etc` has of its own.
const ETC: &[&str] =
    &["group", "hostname", "hosts", "nsswitch.conf", "passwd", "resolv.conf", "shells", "ssl"];
/// What a user may write to beneath `/dev`.
const DEVICES: &[&str] =
    &["fd", "full", "null", "ptmx", "pts", "random", "stderr", "stdin", "stdout", "tty", "urandom", "zero"];
/// The entries of `/proc` that are not masked, beside those of processes.
const PROC: &[&str] = &[
    "cpuinfo",
    "filesystems",
    "loadavg",
    "meminfo",
    "mounts",
    "net",
    "self",
    "stat",
    "swaps",
    "sys",
    "thread-self",
    "uptime",
    "version",
    "vmstat",
];
/// Entries of processes, the ones that a process may change something in among them.
const PROCESSES: &[&str] = &["self", "thread-self", "1*", "2*", "3*", "4*", "5*", "6*", "7*", "8*", "9*"];
/// Where everybody may write.
const TEMPORARY: &[&str] = &["tmp", "var/tmp", "dev/shm"];
/// Where everybody inside may write without a zone.
pub(crate) const WRITABLE: &[&str] = &["/home/user", "/tmp", "/var/tmp", "/dev/shm"];

/// Addresses that no rule about names opens: the host's own, its neighbours', and those of machines that hand out keys.
const NEVER_OPEN: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/127",
    "::ffff:0:0/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "2001::/32",
    "2002::/16",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
];
/// The tree at a path whose names stand for themselves: the path, and all beneath.
pub(crate) fn place(path: &str) -> Pattern {
    let names = path.split('/').filter(|name| !name.is_empty());
    Pattern { words: names.map(Word::exact).collect(), rest: Rest::Any }
}

/// The tree at a path in which a star is one.
fn tree(path: &str) -> Pattern {
    Pattern {
        words: path.split('/').filter(|name| !name.is_empty()).map(Word::new).collect(),
        rest: Rest::Any,
    }
}

fn exactly(path: &str) -> Pattern {
    Pattern { rest: Rest::None, ..tree(path) }
}

fn beneath(top: &str, names: &[&str]) -> Vec<Pattern> {
    names.iter().map(|name| tree(&format!("{top}/{name}"))).collect()
}

/// What is shown of the host and cannot be changed.
pub(crate) fn read_only() -> Vec<Pattern> {
    [beneath("", SYSTEM), beneath("etc", ETC_OF_HOST), vec![tree("proc/sys")]].concat()
}

fn trees(paths: &[&str]) -> Vec<Pattern> {
    beneath("", paths)
}

/// The entries of `/proc` that are not masked.
pub(crate) fn proc() -> Vec<Pattern> {
    beneath("proc", &[PROC, PROCESSES].concat())
}

/// The entries of `/proc` that are processes.
pub(crate) fn processes() -> Vec<Pattern> {
    beneath("proc", PROCESSES)
}

/// The ordinary user's own directory.
pub(crate) fn home() -> Vec<Pattern> {
    trees(&["home/user"])
}

/// Where everybody may write.
pub(crate) fn temporary() -> Vec<Pattern> {
    trees(TEMPORARY)
}

/// What a user may write to beneath `/dev`.
pub(crate) fn devices() -> Vec<Pattern> {
    beneath("dev", DEVICES)
}

/// What may be read of the system, in parts that each lie beneath one name.
fn system_parts() -> Vec<Vec<Pattern>> {
    let rest = TOP.iter().filter(|top| !matches!(**top, "etc" | "home"));
    let mut parts: Vec<Vec<Pattern>> = SYSTEM.iter().chain(rest).map(|top| vec![tree(top)]).collect();
    parts.push(vec![exactly("")]);
    parts.push([vec![exactly("etc")], beneath("etc", &[ETC, ETC_OF_HOST].concat())].concat());
    parts.push(vec![exactly("home")]);
    parts
}

/// What may be read of the system.
pub(crate) fn system() -> Vec<Pattern> {
    system_parts().concat()
}

/// The forbids, which come before all others.
pub(crate) fn forbids(root: bool, out: &mut Vec<Rule>) {
    let files = [Action::Read, Action::Write];
    if !root {
        let acts = [Action::Exec, Action::Read, Action::Write];
        out.push(Making::new(Effect::Forbid, &acts).by(User::Root).named("root"));
    }
    let effect = if root { Effect::Permit } else { Effect::Forbid };
    out.push(Making::new(effect, &[Action::Use]).on("root").named("root"));
    out.push(Making::new(Effect::Forbid, &[Action::Write]).paths(&read_only()).named("system"));
    let known: Vec<String> = proc().iter().map(|pattern| super::rule::matches("path", pattern)).collect();
    out.push(
        Making::new(Effect::Forbid, &files)
            .paths(&[Pattern { words: vec![Word::new("proc"), Word::new("*")], rest: Rest::Any }])
            .when(format!("!({})", known.join(" || ")))
            .named("proc"),
    );
}

/// The addresses that stay closed.
pub(crate) fn never_open(out: &mut Vec<Rule>) {
    let ranges: Vec<String> =
        NEVER_OPEN.iter().map(|range| format!("context.address.isInRange(ip(\"{range}\"))")).collect();
    let closed = || Making::new(Effect::Forbid, &[Action::Request]);
    out.push(closed().addresses(&ranges.join(" || ")).named("never-open"));
    let local = host::LOCAL.iter().map(|last| Pattern { words: vec![Word::new(last)], rest: Rest::Some });
    let metadata = host::METADATA
        .iter()
        .map(|name| Pattern { words: name.rsplit('.').map(Word::new).collect(), rest: Rest::None });
    let single = Pattern { words: vec![Word::new("*")], rest: Rest::None };
    let names: Vec<Pattern> = local.chain(metadata).chain([single]).collect();
    out.push(closed().words("host", &names).named("never-open"));
}

/// The permits, which come after those of the document.
pub(crate) fn permits(root: bool, out: &mut Vec<Rule>) {
    let (read, write) = ([Action::Read], [Action::Write]);
    let both = [Action::Read, Action::Write];
    out.push(Making::new(Effect::Permit, &both).paths(&home()).named("home"));
    // One rule for each, so that the tree that an act is in finds it at once.
    out.extend(
        temporary().into_iter().map(|tree| Making::new(Effect::Permit, &both).paths(&[tree]).named("tmp")),
    );
    out.push(Making::new(Effect::Permit, &write).paths(&devices()).named("devices"));
    out.push(Making::new(Effect::Permit, &write).paths(&processes()).named("proc"));
    out.extend(
        system_parts().iter().map(|part| Making::new(Effect::Permit, &read).paths(part).named("system")),
    );
    if root {
        // The root directory is writable then, by root; what it makes there everybody may read.
        out.push(Making::new(Effect::Permit, &read).paths(&trees(&[""])).named("root-directory"));
        out.push(
            Making::new(Effect::Permit, &write).by(User::Root).paths(&trees(&[""])).named("root-directory"),
        );
    }
}
