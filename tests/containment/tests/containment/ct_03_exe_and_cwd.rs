//! CT-03: no path leads to a program of the runtime's, and the working directory is inside.

use anyhow::Result;
use containment::{Facts, Ground, Held, differences, facts, posture};
use rustix::fs::SealFlags;

containment::proofs!(ct_03::exe_and_cwd, mutants: &["show-temporary"]);

/// What of the first process must not open.
const OF_THE_AGENT: &[&str] = &[
    "exe",
    "exe for writing",
    "mem",
    "maps",
    "environ",
    "root",
    "cwd",
    "fd",
    "map_files",
    "fd/0",
    "fd/3 for writing",
];

/// Of a process of one's own all this opens, and the program is where it lies.
fn control(ground: &Ground) -> Result<Vec<String>> {
    let runtime = ground.casemate();
    let found = ground.probe_outside(&["exe", "self", &runtime.to_string_lossy()])?;
    let expected = facts::all(["exe", "mem", "maps", "environ", "root", "cwd", "fd", "map_files"], "ok");
    let mut failed = differences(
        &expected,
        &found
            .iter()
            .filter(|(n, _)| expected.contains_key(*n))
            .map(|(n, o)| (n.clone(), o.clone()))
            .collect(),
    );
    if found.get("runtime's program read below").is_none_or(String::is_empty) {
        failed.push("the runtime's program is not found where it lies".to_owned());
    }
    Ok(failed)
}

fn findings(ground: &Ground, mutant: Option<&str>) -> Result<Vec<String>> {
    let runtime = ground.casemate();
    let words = ["exe", "1", &*runtime.to_string_lossy()];
    let mut found = look(&ground.inside(mutant).facts(&words)?, "EACCES");
    if ground.profile().own_block() {
        found.extend(
            // Root opens the directories; nothing in them opens, and no link there can be read.
            look(&ground.inside(mutant).as_root().facts(&words)?, "ok")
                .into_iter()
                .map(|line| format!("root: {line}")),
        );
    }
    let held = Held::start(ground.inside(mutant).command(&["threads"]))?;
    for pid in posture::descendants(held.id())? {
        if posture::name(pid) == "casemate-agent" {
            let seals = rustix::fs::fcntl_get_seals(std::fs::File::open(format!("/proc/{pid}/exe"))?)?;
            let all = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
            if !seals.contains(all) {
                found.push(format!("the agent's program has the seals {seals:?}"));
            }
        }
    }
    Ok(found)
}

fn look(found: &Facts, directories: &str) -> Vec<String> {
    let mut expected = facts::all(OF_THE_AGENT.iter().copied(), "EACCES");
    expected.extend(facts::all(["fd", "map_files"], directories));
    // Who owns it, and the order of the kernel's checks, decide which of three errors comes first.
    let own = found.get("own exe for writing").map_or("", String::as_str);
    let refusal = if ["EACCES", "EROFS"].contains(&own) { own } else { "ETXTBSY" };
    expected.insert("own exe for writing".to_owned(), refusal.to_owned());
    expected.insert("working directory".to_owned(), "/home/user".to_owned());
    expected.insert("runtime's program read below".to_owned(), String::new());
    differences(&expected, found)
}
