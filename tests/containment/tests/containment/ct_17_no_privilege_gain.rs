//! CT-17: programs that give rights to whoever starts them give none.

use anyhow::Result;
use containment::ground::{not_run, program};
use containment::{Facts, Ground, differences};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;

containment::proofs!(ct_17::no_privilege_gain, mutants: &["new-privileges"]);

/// `struct vfs_cap_data`, revision 2, effective: the first eight capabilities, permitted.
const CAPABLE: [u8; 20] = [1, 0, 0, 2, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const STRANGER: u32 = 65_533;

/// Copies of the probe that are root's, of root's group, and capable. False where only root can make them.
fn plant(ground: &Ground) -> Result<bool> {
    let zone = ground.path("programs");
    if zone.exists() {
        return Ok(rustix::process::geteuid().is_root());
    }
    fs::create_dir(&zone)?;
    let root = rustix::process::geteuid().is_root();
    for (name, mode) in [("set-user-id", 0o4755), ("set-group-id", 0o2755), ("capable", 0o755)] {
        let path = zone.join(name);
        fs::copy(ground.path("probe/probe"), &path)?;
        if root {
            chown(&path, Some(0), Some(0))?;
        }
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
    }
    if root {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(zone.join("capable"), "security.capability", &CAPABLE, flags)?;
    }
    Ok(root)
}

fn control(ground: &Ground) -> Result<Vec<String>> {
    if !plant(ground)? {
        not_run("ct_17::no_privilege_gain: the programs of root's", "only root can plant them")?;
        return Ok(Vec::new());
    }
    let mut failed = Vec::new();
    for (name, key, index, value) in [
        ("set-user-id", "Uid", 1, "0"),
        ("set-group-id", "Gid", 1, "0"),
        ("capable", "CapEff", 0, "00000000000000ff"),
    ] {
        let mut command = program(ground.path("programs").join(name));
        let output = command.arg("identity").uid(STRANGER).gid(STRANGER).output()?;
        let facts: Facts = serde_json::from_slice(&output.stdout)?;
        let found = facts.get(key).and_then(|line| line.split(' ').nth(index)).unwrap_or_default();
        if found != value {
            failed.push(format!("{name}: {key} is {found}"));
        }
    }
    Ok(failed)
}

fn findings(ground: &Ground, mutant: Option<&str>) -> Result<Vec<String>> {
    plant(ground)?;
    let facts = ground
        .inside(mutant)
        .read(&ground.path("programs"), "/programs")
        .facts(&["privileges", "/programs"])?;
    let mut expected = Facts::from([("mounts without nosuid".to_owned(), String::new())]);
    for name in ["su", "mount", "newgrp"] {
        expected.insert(format!("{name} gains"), "false".to_owned());
    }
    for who in ["", "set-user-id ", "set-group-id ", "capable "] {
        for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            expected.insert(format!("{who}{name}"), "0000000000000000".to_owned());
        }
        for name in ["Uid", "Gid"] {
            expected.insert(format!("{who}{name}"), "1000 1000 1000 1000".to_owned());
        }
        expected.insert(format!("{who}NoNewPrivs"), "1".to_owned());
    }
    Ok(differences(&expected, &facts))
}
