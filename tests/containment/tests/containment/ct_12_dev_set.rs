//! CT-12: /dev holds what it should, and no device can be made.

use anyhow::Result;
use containment::{Facts, Ground, Profile, differences};

containment::proofs!(ct_12::dev_set, mutants: &["one-more-device"]);

const DEVICES: &[(&str, &str)] = &[
    ("/dev/fd", "-> /proc/self/fd"),
    ("/dev/full", "character 1:7"),
    ("/dev/null", "character 1:3"),
    ("/dev/ptmx", "-> pts/ptmx"),
    ("/dev/pts", "directory"),
    ("/dev/pts/ptmx", "character 5:2"),
    ("/dev/random", "character 1:8"),
    ("/dev/shm", "directory"),
    ("/dev/stderr", "-> /proc/self/fd/2"),
    ("/dev/stdin", "-> /proc/self/fd/0"),
    ("/dev/stdout", "-> /proc/self/fd/1"),
    ("/dev/tty", "character 5:0"),
    ("/dev/urandom", "character 1:9"),
    ("/dev/zero", "character 1:5"),
];

fn control(ground: &Ground) -> Result<Vec<String>> {
    let found = ground.probe_outside(&["devices"])?;
    let mut wanted = vec![("mknod /tmp pipe", "ok")];
    if ground.profile() == Profile::Root {
        wanted.extend([("mknod /tmp null", "ok"), ("mknod /tmp disk", "ok")]);
    }
    let mut failed: Vec<String> = wanted
        .into_iter()
        .filter(|(name, outcome)| found.get(*name).map(String::as_str) != Some(outcome))
        .map(|(name, _)| format!("{name}: {:?}", found.get(name)))
        .collect();
    if found.get("/dev/kmsg").map(String::as_str) != Some("character 1:11") {
        failed.push("the host has no /dev/kmsg".to_owned());
    }
    Ok(failed)
}

fn findings(ground: &Ground, mutant: Option<&str>) -> Result<Vec<String>> {
    let mut found = differences(&expected("EROFS"), &ground.inside(mutant).facts(&["devices"])?);
    if ground.profile().own_block() {
        let root = ground.inside(mutant).as_root().facts(&["devices"])?;
        found.extend(differences(&expected("ok"), &root).into_iter().map(|line| format!("root: {line}")));
    }
    Ok(found)
}

/// `own` is what making a pipe gives in /dev, which is read-only where nobody is root.
fn expected(own: &str) -> Facts {
    let mut facts: Facts =
        DEVICES.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect();
    for directory in ["/tmp", "/dev", "/dev/shm"] {
        for name in ["null", "kmsg", "disk"] {
            let errno = if directory == "/dev" && own != "ok" { own } else { "EPERM" };
            facts.insert(format!("mknod {directory} {name}"), errno.to_owned());
        }
        let pipe = if directory == "/dev" { own } else { "ok" };
        facts.insert(format!("mknod {directory} pipe"), pipe.to_owned());
    }
    facts
}
