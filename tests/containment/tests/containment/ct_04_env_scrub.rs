//! CT-04: nothing of the caller's environment and words is inside.

use anyhow::Result;
use containment::{Ground, Held, Inside, posture};
use std::os::unix::process::CommandExt;

containment::proofs!(ct_04::env_scrub, mutants: &["tell-the-environment"]);

const CANARIES: usize = 49;
/// All that is in the sandbox beside the host's system.
const TREES: &[&str] =
    &["/etc", "/home", "/tmp", "/var", "/run", "/dev/shm", "/root", "/mnt", "/opt", "/srv"];

fn words(reversed: &str) -> Vec<&str> {
    [&["search", reversed], TREES].concat()
}

/// A text that stands nowhere else on this machine.
fn needle() -> String {
    let mut bytes = [0; 12];
    let read = std::fs::File::open("/dev/urandom")
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes));
    assert!(read.is_ok(), "there is no randomness");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn reversed(needle: &str) -> String {
    needle.chars().rev().collect()
}

fn control(ground: &Ground) -> Result<Vec<String>> {
    let needle = needle();
    let mut command = ground.outside(ground.path("probe/probe"));
    let output = command.args(["search", &reversed(&needle)]).env("CANARY", &needle).output()?;
    let found = String::from_utf8_lossy(&output.stdout).contains("/environ");
    Ok(if found { Vec::new() } else { vec!["the probe does not find its own variable".to_owned()] })
}

fn findings(ground: &Ground, mutant: Option<&str>) -> Result<Vec<String>> {
    let needle = needle();
    let with_canaries = || -> Inside<'_> {
        (0..CANARIES).fold(ground.inside(mutant), |inside, number| {
            inside.env(&format!("CASEMATE_CANARY_{number}"), &format!("{number}-{needle}"))
        })
    };
    // The fiftieth is among the caller's words.
    let mut command = with_canaries().command(&words(&reversed(&needle)));
    let output = command.arg0(format!("casemate-{needle}")).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let places: containment::Facts = serde_json::from_slice(&output.stdout)?;
    let mut found: Vec<String> = places.into_keys().map(|path| format!("a canary is in {path}")).collect();
    if String::from_utf8_lossy(&output.stdout).contains(&needle) {
        found.push("a canary came out".to_owned());
    }
    let mut command = with_canaries().command(&["threads"]);
    command.arg0(format!("casemate-{needle}"));
    let held = Held::start(command)?;
    for pid in posture::descendants(held.id())? {
        let name = posture::name(pid);
        // On the host's side the same words still stand; nothing from inside runs there.
        if name == "probe" || name == "casemate-agent" {
            for file in ["environ", "cmdline"] {
                let bytes = std::fs::read(format!("/proc/{pid}/{file}"))?;
                if bytes.windows(needle.len()).any(|part| part == needle.as_bytes()) {
                    found.push(format!("a canary is in {file} of {name}"));
                }
            }
        }
    }
    Ok(found)
}
