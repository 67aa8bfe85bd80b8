//! CT-11: of /proc and /sys only what is a process's own can be written, and what leaks cannot be read.

use anyhow::{Result, ensure};
use containment::{Ground, Inside};

containment::proofs!(ct_11::proc_sys_writable_set, mutants: &["unmasked-proc", "own-ids/writable-knobs"]);

/// What of itself a process may write, as the kernel offers it to everybody: nothing of it reaches another process.
const OWN: &[&str] = &[
    "autogroup",
    "clear_refs",
    "comm",
    "coredump_filter",
    "fail-nth",
    "gid_map",
    "latency",
    "loginuid",
    "make-it-fail",
    "mem",
    "oom_adj",
    "oom_score_adj",
    "projid_map",
    "sched",
    "setgroups",
    "timens_offsets",
    "timerslack_ns",
    "uid_map",
];
/// What opens for writing of the first process too, and takes nothing: the slack of another's timers takes CAP_SYS_NICE,
/// and of another's attributes none can be set.
const OF_THE_FIRST: &[&str] = &["timerslack_ns"];
/// What root inside may write of the first process beyond that: it is in the same user namespace. Its memory is not
/// among it, and its maps are written already.
const OF_THE_FIRST_BY_ROOT: &[&str] = &[
    "autogroup",
    "clear_refs",
    "comm",
    "coredump_filter",
    "gid_map",
    "loginuid",
    "oom_adj",
    "oom_score_adj",
    "projid_map",
    "sched",
    "setgroups",
    "timens_offsets",
    "uid_map",
];

/// What of /proc can be read beside processes. What a kernel does not have is not missed.
const READABLE: &[&str] = &[
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

fn control(ground: &Ground) -> Result<Vec<String>> {
    let tree = ground.path("tree");
    std::fs::create_dir_all(tree.join("below"))?;
    let file = tree.join("below/file");
    std::fs::write(&file, "")?;
    ground.give(&file)?;
    let found = ground.probe_outside(&["walk", &tree.to_string_lossy()])?;
    let mut failed = Vec::new();
    if !found.contains_key(&*file.to_string_lossy()) {
        failed.push("the walk does not find a file that can be written".to_owned());
    }
    let found = ground.probe_outside(&["readable", "/proc"])?;
    for name in ["kallsyms", "interrupts"] {
        if found.get(name).map(String::as_str) != Some("ok") {
            failed.push(format!("/proc/{name} cannot be read"));
        }
    }
    Ok(failed)
}

fn findings(ground: &Ground, mutant: Option<&str>) -> Result<Vec<String>> {
    let mut found = look(&ground.inside(mutant), &[])?;
    if ground.profile().own_block() {
        let root = look(&ground.inside(mutant).as_root(), OF_THE_FIRST_BY_ROOT)?;
        found.extend(root.into_iter().map(|line| format!("root: {line}")));
    }
    Ok(found)
}

fn look(inside: &Inside<'_>, of_the_first: &[&str]) -> Result<Vec<String>> {
    let writable = inside.facts(&["walk", "/proc", "/sys"])?;
    ensure!(writable.contains_key("/proc/self/comm"), "the walk does not find the probe's own name");
    let allowed = |path: &str| {
        let of_the_first = [OF_THE_FIRST, of_the_first].concat();
        [("/proc/self/", OWN), ("/proc/1/", &of_the_first)].into_iter().any(|(process, names)| {
            path.strip_prefix(process).is_some_and(|name| name.starts_with("attr/") || names.contains(&name))
        })
    };
    let writable = writable.into_keys().filter(|path| path.starts_with('/') && !allowed(path));
    let mut found: Vec<String> = writable.map(|path| format!("{path} is writable")).collect();
    let readable = inside.facts(&["readable", "/proc"])?.into_iter().filter(|(_, how)| how == "ok");
    let readable = readable.map(|(name, _)| name).filter(|name| !READABLE.contains(&name.as_str()));
    found.extend(readable.map(|name| format!("/proc/{name} is readable")));
    Ok(found)
}
