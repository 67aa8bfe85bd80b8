//! The same acts against a real sandbox: what is denied fails there, and what is allowed meets no wall.
//!
//! `CASEMATE_BIN` names the program (default: the release build of this workspace). One sandbox tries many acts.

#![allow(clippy::unwrap_used, reason = "helpers of tests: what cannot go on fails the test")]

use conformance::judge;
use policy::{Act, Document, NoLibrary, User};
use std::path::PathBuf;

const ZONES: &[(&str, &str)] = &[
    ("/in", "read\"\nfrom = \"in"),
    ("/home/user/w", "scratch"),
    ("/out", "write\"\nto = \"out"),
    ("/data/a", "read\"\nfrom = \"in"),
    ("/a*", "scratch"),
    ("/tmp/z", "scratch"),
];

/// Places whose answer no program's or host's own permissions change.
const PATHS: &[&str] = &[
    "/",
    "/usr",
    "/usr/bin/env",
    "/usr/x",
    "/bin/x",
    "/etc",
    "/etc/passwd",
    "/etc/hosts",
    "/etc/shadow",
    "/etc/x",
    "/home",
    "/home/user",
    "/home/user/x",
    "/home/user/w/x",
    "/home/eve",
    "/tmp",
    "/tmp/x",
    "/tmp/z/x",
    "/var/tmp/x",
    "/var/x",
    "/dev/shm/x",
    "/dev/null",
    "/dev/zero",
    "/dev/sda",
    "/dev/x",
    "/proc/self/comm",
    "/proc/kcore",
    "/proc/kmsg",
    "/proc/sysrq-trigger",
    "/proc/meminfo",
    "/proc/sys/kernel/hostname",
    "/root/x",
    "/srv/x",
    "/mnt/x",
    "/opt/x",
    "/run/x",
    "/sys/x",
    "/x",
    "/in",
    "/in/given",
    "/in/x",
    "/inx",
    "/out/x",
    "/outx",
    "/data/x",
    "/data/a/x",
    "/data/ax",
    "/a*/x",
    "/ab/x",
];

fn casemate() -> PathBuf {
    std::env::var_os("CASEMATE_BIN").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/release/casemate")),
        PathBuf::from,
    )
}

/// Policies: every subset of three neighbouring zones, with root and without.
fn policies() -> Vec<(String, bool)> {
    let zone = |(at, access): &(&str, &str)| format!("[[files]]\nat = \"{at}\"\naccess = \"{access}\"\n");
    let mut all = Vec::new();
    for first in 0..ZONES.len() {
        let root = first % 2 == 0;
        let zones: String = (first..first + 3).map(|place| zone(&ZONES[place % ZONES.len()])).collect();
        all.push((
            format!("version = 1\nname = \"real\"\nroot = {root}\n[walls]\nlandlock = 0\n{zones}"),
            root,
        ));
    }
    all
}

/// Tries every act in one sandbox and compares. Gives how many there were.
fn compare(text: &str, user: User) -> usize {
    let directory = tempfile::tempdir().unwrap();
    for name in ["in", "out", "state"] {
        std::fs::create_dir(directory.path().join(name)).unwrap();
    }
    std::fs::write(directory.path().join("in/given"), "given").unwrap();
    let file = directory.path().join("policy.toml");
    std::fs::write(&file, text).unwrap();
    let document = Document::parse(text.as_bytes(), "real", &NoLibrary).unwrap();
    // For root inside a masked entry of /proc opens and is empty, and the kernel's own modes hold for the others.
    let paths = PATHS.iter().filter(|path| user == User::User || !path.starts_with("/proc/"));
    let acts: Vec<Act> = paths
        .flat_map(|path| {
            let path = path.as_bytes().to_vec();
            [Act::Read { path: path.clone(), user }, Act::Write { path, user }]
        })
        .collect();
    let mut script = String::from("export LC_ALL=C\n");
    for (number, act) in acts.iter().enumerate() {
        let (how, path) = match act {
            Act::Read { path, .. } => ("<", path),
            Act::Write { path, .. } => (">>", path),
            _ => unreachable!("only files are tried"),
        };
        let path = String::from_utf8_lossy(path);
        script += &format!(
            "if e=$( ( : {how} '{path}' ) 2>&1 ); then echo '{number} ok'; else echo \"{number} $e\"; fi\n"
        );
    }
    #[allow(clippy::disallowed_methods)] // The program under test.
    let mut command = std::process::Command::new(casemate());
    command.arg("run").arg("--state").arg(directory.path().join("state")).arg("--policy").arg(&file);
    if user == User::Root {
        command.arg("--root");
    }
    let output = command.args(["--", "/bin/sh", "-c", &script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.lines().count(), acts.len(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut wrong = Vec::new();
    for (act, line) in acts.iter().zip(said.lines()) {
        let (allowed, rule) = judge(&document, &[], act);
        let done = line.ends_with(" ok");
        let walled = ["Permission denied", "Operation not permitted", "Read-only file system"];
        let met_a_wall = walled.iter().any(|wall| line.contains(wall));
        if (allowed && met_a_wall) || (!allowed && done) {
            wrong.push(format!("{act}: expected {allowed} by {rule}: {line}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "{text}");
    acts.len()
}

#[test]
fn a_real_sandbox_keeps_to_the_rules_about_files() {
    let mut tried = 0;
    for (text, root) in policies() {
        tried += compare(&text, User::User);
        if root {
            tried += compare(&text, User::Root);
        }
    }
    assert!(tried >= 500, "{tried} acts");
}
