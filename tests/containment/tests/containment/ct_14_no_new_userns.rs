//! CT-14: no namespace is made or entered from inside.

use anyhow::Result;
use containment::{Facts, Ground, differences};

containment::proofs!(ct_14::no_new_userns, mutants: &[
    "without:seccomp",
    "allow:unshare",
    "allow:clone",
    "allow:clone3",
    "allow:setns",
]);

const KINDS: &[&str] = &["user", "pid", "mnt", "net", "ipc", "uts", "cgroup", "time"];

/// Kernels need not be built with namespaces of time.
fn has_time() -> bool {
    std::path::Path::new("/proc/self/ns/time").exists()
}

fn control(ground: &Ground) -> Result<Vec<String>> {
    let found = ground.probe_outside(&["namespaces"])?;
    let mut expected = Facts::new();
    for kind in KINDS {
        // Together with a user namespace everybody may make the others.
        if *kind != "time" || has_time() {
            expected.insert(format!("unshare user and {kind}"), "ok".to_owned());
        }
        if *kind != "time" {
            expected.insert(format!("clone user and {kind}"), "ok".to_owned());
            expected.insert(format!("clone3 {kind}"), "ok".to_owned());
        }
    }
    Ok(differences(&expected, &found.into_iter().filter(|(name, _)| expected.contains_key(name)).collect()))
}

fn findings(ground: &Ground, mutant: Option<&str>) -> Result<Vec<String>> {
    let mut expected = Facts::from([("the host's root is mapped".to_owned(), "false".to_owned())]);
    for kind in KINDS {
        let mut calls = vec![
            ("unshare", "EPERM"),
            ("unshare user and", "EPERM"),
            ("clone3", "ENOSYS"),
            ("setns", if *kind == "time" && !has_time() { "ENOENT" } else { "EPERM" }),
        ];
        if *kind != "time" {
            calls.extend([("clone", "EPERM"), ("clone user and", "EPERM")]);
        }
        expected.extend(calls.into_iter().map(|(call, errno)| (format!("{call} {kind}"), errno.to_owned())));
    }
    let mut found = differences(&expected, &ground.inside(mutant).facts(&["namespaces"])?);
    if ground.profile().own_block() {
        let root = ground.inside(mutant).as_root().facts(&["namespaces"])?;
        found.extend(differences(&expected, &root).into_iter().map(|line| format!("root: {line}")));
    }
    Ok(found)
}
