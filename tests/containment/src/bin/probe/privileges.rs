//! Programs that give rights to whoever starts them.

use containment::Facts;

/// Who the probe is.
pub(crate) fn identity() -> Facts {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let lines = status.lines().filter_map(|line| line.split_once(':'));
    lines
        .filter(|(name, _)| {
            ["Uid", "Gid", "CapPrm", "CapEff", "CapInh", "CapBnd", "CapAmb", "NoNewPrivs"].contains(name)
        })
        .map(|(name, value)| (name.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect()
}

/// What each of the programs in a zone that should give rights gives, and whether any mount lets one.
pub(crate) fn gain(zone: &str) -> Facts {
    let mut facts = identity();
    for name in ["set-user-id", "set-group-id", "capable"] {
        let output = containment::ground::program(format!("{zone}/{name}")).arg("identity").output();
        let told = output.map(|output| serde_json::from_slice::<Facts>(&output.stdout).unwrap_or_default());
        match told {
            Ok(told) => facts.extend(told.into_iter().map(|(key, value)| (format!("{name} {key}"), value))),
            Err(error) => {
                facts.insert(name.to_owned(), error.to_string());
            }
        }
    }
    for (name, words) in [("su", ["-c", "true"]), ("mount", ["--bind", "/tmp"]), ("newgrp", ["root", "-c"])] {
        let mut command = containment::ground::program(format!("/usr/bin/{name}"));
        command.args(words).stdin(std::process::Stdio::null());
        if name == "mount" {
            command.arg("/home/user");
        }
        // `newgrp` gives a shell even where it gives no group.
        let gains = name != "newgrp" && command.output().is_ok_and(|output| output.status.success());
        facts.insert(format!("{name} gains"), gains.to_string());
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let open = mounts.lines().filter(|line| !line.split(' ').nth(5).unwrap_or_default().contains("nosuid"));
    let open: Vec<&str> = open.filter_map(|line| line.split(' ').nth(4)).collect();
    facts.insert("mounts without nosuid".to_owned(), open.join(" "));
    facts
}
