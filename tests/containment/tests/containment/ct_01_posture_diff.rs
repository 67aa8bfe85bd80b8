//! CT-01: of every thread in the sandbox, all that the host can see is as it should be.

use anyhow::{Result, ensure};
use containment::{Facts, Ground, Held, Profile, differences, posture};

containment::proofs!(ct_01::posture_diff, mutants: &[
    "without:no-capabilities",
    "new-privileges",
    "without:seccomp",
    "without:rlimits",
    "without:cgroup-namespace",
    "without:network-namespace",
    "without:uts-namespace",
    "without:ipc-namespace",
    "inherit-a-directory",
]);

const THREADS: usize = 4;

/// Outside, the same look sees a process of the host.
fn control(ground: &Ground) -> Result<Vec<String>> {
    let mut command = ground.outside(ground.path("probe/probe"));
    command.arg("threads");
    let child = Held::start(command)?;
    let records = posture::of_process(child.id())?;
    let mut failed = Vec::new();
    for (name, value) in
        [("Seccomp", "0"), ("ns user", "the host's"), ("ns net", "the host's"), ("root", "the host's")]
    {
        if records.iter().any(|record| record.get(name).map(String::as_str) != Some(value)) {
            failed.push(format!("{name} is not {value}"));
        }
    }
    Ok(failed)
}

fn findings(ground: &Ground, mutant: Option<&str>) -> Result<Vec<String>> {
    let child = Held::start(ground.inside(mutant).command(&["threads"]))?;
    let below = posture::descendants(child.id())?;
    let mut found = Vec::new();
    let mut kinds = Vec::new();
    let mut agent_uid = String::new();
    for pid in below {
        let name = posture::name(pid);
        if name == "casemate-warden" {
            // Host side: it runs nothing from inside.
            continue;
        }
        let agent = name == "casemate-agent";
        let records = posture::of_process(pid)?;
        kinds.push((agent, records.len()));
        for record in records {
            let uid = record.get("Uid").cloned().unwrap_or_default();
            if agent {
                agent_uid.clone_from(&uid);
            }
            found.extend(ids(ground, agent, &agent_uid, &uid));
            let expected = expected(ground, agent, &uid, record.get("NStgid"));
            found.extend(differences(&expected, &record).into_iter().map(|line| format!("{name}: {line}")));
        }
    }
    drop(child);
    ensure!(kinds == [(true, 1), (false, THREADS)], "an agent and a command with threads, not {kinds:?}");
    Ok(found)
}

/// Host ids: the caller's own, or from a range that nobody else has.
fn ids(ground: &Ground, agent: bool, agent_uid: &str, uid: &str) -> Option<String> {
    let number: u32 = uid.split(' ').next()?.parse().ok()?;
    let base: u32 = agent_uid.split(' ').next()?.parse().ok()?;
    let good = match ground.profile() {
        Profile::User => number == ground.uid(),
        Profile::Root => {
            number >= 0x6000_0000 && (if agent { number.is_multiple_of(1024) } else { number == base + 1000 })
        }
        Profile::UserAfterSetup => {
            (0x5000_0000..0x6000_0000).contains(&number) && (agent || number == base + 1000)
        }
    };
    (!good).then(|| format!("uid {uid} beside the agent's {agent_uid}"))
}

fn expected(ground: &Ground, agent: bool, uid: &str, nstgid: Option<&String>) -> Facts {
    let one = uid.split(' ').next().unwrap_or_default();
    let capabilities =
        if agent && ground.profile().own_block() { "00000000000001eb" } else { "0000000000000000" };
    let mut facts = Facts::new();
    let mut is = |name: &str, value: &str| {
        facts.insert(name.to_owned(), value.to_owned());
    };
    is("Uid", &[one; 4].join(" "));
    is("Gid", &[one; 4].join(" "));
    is("Groups", "");
    is("CapInh", "0000000000000000");
    is("CapPrm", capabilities);
    is("CapEff", capabilities);
    is("CapBnd", capabilities);
    is("CapAmb", "0000000000000000");
    is("NoNewPrivs", "1");
    is("Seccomp", "2");
    is("Seccomp_filters", "1");
    // Its number on the host cannot be known before; inside, the agent is the first.
    is("NStgid", nstgid.map_or("", String::as_str));
    for name in posture::NAMESPACES {
        is(&format!("ns {name}"), "its own");
    }
    for (name, value) in limits(ground) {
        is(&format!("limit {name}"), &value);
    }
    is("oom_score_adj", &own_oom_score());
    is("cwd", if agent { "/" } else { "/home/user" });
    is("root", "its own");
    if agent {
        for number in 0..3 {
            is(&format!("fd {number}"), "/dev/null");
        }
        is("fd 3", "socket");
        is("fd 4", "anon_inode:[signalfd]");
    } else {
        for number in 0..3 {
            is(&format!("fd {number}"), "pipe");
        }
    }
    facts
}

fn own_oom_score() -> String {
    std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default().trim().to_owned()
}

/// The caller's limits, with those of the plan in the place of what is higher.
fn limits(ground: &Ground) -> Facts {
    let own = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let mut facts = Facts::new();
    for line in own.lines().skip(1) {
        let (name, values) = line.split_at(26);
        let values: Vec<&str> = values.split_whitespace().take(2).collect();
        facts.insert(name.trim().to_owned(), values.join(" "));
    }
    let mut most = vec![
        ("Max core file size", 0),
        ("Max open files", 1024),
        ("Max locked memory", 8 << 20),
        ("Max msgqueue size", 819_200),
        ("Max pending signals", 4096),
        ("Max realtime priority", 0),
        ("Max nice priority", 0),
        ("Max realtime timeout", 200_000),
        ("Max file locks", 4096),
    ];
    if ground.profile() == Profile::User {
        most.extend([("Max data size", 512 << 20), ("Max processes", 256)]);
    }
    for (name, most) in most {
        let own =
            facts.get(name).and_then(|own| own.split(' ').nth(1)).and_then(|hard| hard.parse::<u64>().ok());
        let value = own.map_or(most, |own| own.min(most));
        facts.insert(name.to_owned(), format!("{value} {value}"));
    }
    facts
}
