//! CT-21: nothing of the machine's life and of its neighbours shows.

use anyhow::Result;
use containment::{Facts, Ground, Held, Profile, differences};
use std::path::Path;

containment::proofs!(ct_21::visibility, mutants: &[
    "without:network-namespace",
    "without:uts-namespace",
    "own-ids/without:cgroup-namespace",
    "unmasked-proc",
]);

const NEIGHBOUR: &str = "neighbour-of-ours";
/// Given as text, to be looked through.
const TEXTS: [&str; 4] = ["/proc/self/cgroup", "/proc/1/cgroup", "/proc/self/mountinfo", "/proc/self/mounts"];

fn control(ground: &Ground) -> Result<Vec<String>> {
    // One socket that there is for certain.
    let _listener = std::os::unix::net::UnixListener::bind(ground.path("socket"))?;
    let found = ground.probe_outside(&["visibility"])?;
    let mut failed = Vec::new();
    let many = |name: &str| found.get(name).map_or(0, |text| text.split(' ').count());
    if many("pids") < 5 {
        failed.push("there are hardly any processes".to_owned());
    }
    for (name, inside) in [("host name", "casemate"), ("/proc/kallsyms", "EACCES"), ("unix sockets", "")] {
        if found.get(name).map(String::as_str) == Some(inside) {
            failed.push(format!("{name} is {inside:?} as inside"));
        }
    }
    if ground.profile() == Profile::Root && found.get("syslog").map(String::as_str) != Some("ok") {
        failed.push("syslog fails".to_owned());
    }
    Ok(failed)
}

fn findings(ground: &Ground, mutant: Option<&str>) -> Result<Vec<String>> {
    let zone = ground.path(NEIGHBOUR);
    std::fs::create_dir_all(&zone)?;
    let neighbour = Held::start(ground.inside(None).read(&zone, "/neighbour").command(&["threads"]))?;
    let mut facts = ground.inside(mutant).facts(&["visibility"])?;
    drop(neighbour);
    let mut found = Vec::new();
    for name in TEXTS {
        let text = facts.remove(name).unwrap_or_default();
        if text.contains("neighbour") {
            found.push(format!("the neighbour's zone is named in {name}"));
        }
        let cgroup = name.ends_with("cgroup");
        found.extend(
            text.lines().filter(|line| cgroup && !line.ends_with(":/")).map(|line| format!("{name}: {line}")),
        );
    }
    found.extend(differences(&expected(), &facts));
    Ok(found)
}

fn expected() -> Facts {
    let ipv6 = Path::new("/proc/net/if_inet6").exists();
    [
        ("pids", "1 own"),
        ("interfaces", "lo:"),
        ("routes", ""),
        ("IPv6 addresses", if ipv6 { "00000000000000000000000000000001" } else { "ENOENT" }),
        ("neighbours", ""),
        ("unix sockets", ""),
        ("host name", "casemate"),
        ("domain name", "(none)"),
        ("syslog", "EPERM"),
        ("/proc/kallsyms", "EACCES"),
        ("/proc/kmsg", "EACCES"),
        ("/dev/kmsg", "ENOENT"),
        ("/proc/keys", "EACCES"),
        ("/proc/timer_list", "EACCES"),
        ("/proc/1/environ", "EACCES"),
    ]
    .map(|(name, value)| {
        // Masked is what the kernel has.
        let there = !name.starts_with("/proc/") || name.starts_with("/proc/1/") || Path::new(name).exists();
        (name.to_owned(), if there { value } else { "ENOENT" }.to_owned())
    })
    .into()
}
