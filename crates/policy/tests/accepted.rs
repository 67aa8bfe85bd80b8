//! Documents that are policies, and what they turn into.

use model::{FileOp, Lease, Limits, Then, Wall, Walls};
use policy::{
    ALWAYS, Access, DEFAULT_LIMITS, Document, ExecRequest, FileRequest, FileRule, NoLibrary, Policy, SHIPPED,
    User, ZoneError, shipped,
};

fn policy(tail: &str) -> Policy {
    let source = format!("version = 1\nname = \"a\"\n{tail}");
    Policy::parse(source.as_bytes(), "t.toml").unwrap_or_else(|error| panic!("{}", error.plain()))
}

fn request(argv: &[&str], user: User) -> ExecRequest {
    let argv = argv.iter().map(|word| word.as_bytes().to_vec()).collect();
    ExecRequest { argv, cwd: b"/".to_vec(), env: Vec::new(), user, terminal: None }
}

#[test]
fn the_shipped_policies_load_and_bear_their_names() {
    for (name, text) in SHIPPED {
        let document = Document::parse(text.as_bytes(), name, &NoLibrary);
        let document = document.unwrap_or_else(|error| panic!("{}", error.plain()));
        assert_eq!(document.name, *name);
        assert!(document.about.is_some(), "{name} says what it is for");
        assert!(!document.root);
        assert_eq!(document.files, []);
        let answers: Vec<bool> = document.examples.iter().map(|example| example.allowed).collect();
        assert!(answers.contains(&true) && answers.contains(&false), "{name} has examples");
        assert_eq!(document.net.is_empty(), *name != "package-registries");
        assert_eq!(document.enforce().is_ok(), *name != "package-registries");
        assert_eq!(shipped(name), Some(*text));
    }
    assert_eq!(shipped("none"), None);
}

#[test]
fn the_default_policy_requires_nothing_that_needs_a_set_up_and_the_locked_one_every_wall() {
    let walls = |name| Policy::parse(shipped(name).unwrap_or_default().as_bytes(), name).unwrap().walls();
    assert_eq!(walls("default"), ALWAYS.iter().copied().chain([Wall::Landlock]).collect());
    assert_eq!(walls("locked"), Walls::all());
}

#[test]
fn the_least_document_gets_the_defaults() {
    let policy = policy("");
    assert_eq!(policy.limits(), DEFAULT_LIMITS);
    assert_eq!(policy.lease(), Lease { after_ms: 600_000, then: Then::Keep });
    assert_eq!((policy.about(), policy.root(), policy.landlock_min()), (None, false, 1));
    assert_eq!(policy.walls(), ALWAYS.iter().copied().chain([Wall::Landlock]).collect());
    // As `printf 'version = 1\nname = "a"\n' | sha256sum` says.
    assert_eq!(policy.hash(), "sha256:203754d501171ff0679d632d0ea656508ebeaa7d37157d0987ab4a257b950aea");
}

#[test]
fn every_value_is_read() {
    let policy = policy(
        "about = \"é\"\ntier = \"native\"\nroot = true\n[walls]\nrequire = [\"seccomp\", \"memory-limit\"]\nlandlock = 0\n\
         [compute]\ncpus = 0.25\nmemory = \"64MiB\"\npids = 0x10\ndisk = \"2MiB\"\ninodes = 1_000\nopen_files = 32\n\
         wall = \"none\"\n[lease]\nafter = \"1h\"\nthen = \"end\"\n[[files]]\nat = \"/in\"\naccess = \"read\"\nfrom = \"../reports\"\n[[files]]\nat = \"/s\"\n\
         access = \"scratch\"\n[[files]]\nat = \"/out\"\naccess = \"write\"\nto = \"é\"\n",
    );
    assert_eq!((policy.about(), policy.root(), policy.landlock_min()), (Some("é"), true, 0));
    assert_eq!(policy.walls(), ALWAYS.iter().copied().chain([Wall::MemoryLimit]).collect());
    let limits = Limits {
        cpu_milli: 250,
        memory_bytes: 64 << 20,
        pids: 16,
        disk_bytes: 2 << 20,
        disk_inodes: 1000,
        open_files: 32,
        wall_ms: None,
    };
    assert_eq!(policy.limits(), limits);
    assert_eq!(policy.lease(), Lease { after_ms: 3_600_000, then: Then::End });
    let files: Vec<_> =
        policy.files().iter().map(|rule| (rule.at(), rule.access().clone(), rule.line())).collect();
    assert_eq!(
        files,
        [
            ("/in", Access::Read { from: "../reports".to_owned() }, Some(20)),
            ("/s", Access::Scratch, Some(24)),
            ("/out", Access::Write { to: "é".to_owned() }, Some(27)),
        ]
    );
}

#[test]
fn a_lease_says_what_happens_and_when() {
    let lease = |tail: &str| policy(&format!("[lease]\n{tail}")).lease();
    assert_eq!(lease(""), Lease::default());
    assert_eq!(lease("then = \"freeze\""), Lease { then: Then::Freeze, ..Lease::default() });
    assert_eq!(lease("after = \"1s\""), Lease { after_ms: 1000, ..Lease::default() });
    assert_eq!(lease("after = \"365d\""), Lease { after_ms: 31_536_000_000, ..Lease::default() });
    let line = |tail: &str| {
        let lines = policy(&format!("[lease]\n{tail}")).explain();
        lines.iter().map(ToString::to_string).find(|line| line.starts_with("lease ")).unwrap_or_default()
    };
    assert_eq!(
        line("after = \"90s\"\nthen = \"freeze\""),
        "lease freeze after 90s -> stands still after 90s without its server, until one comes"
    );
    assert_eq!(line("then = \"end\""), "lease end after 10m -> is ended after 10m without its server");
}

#[test]
fn a_zone_of_the_command_line_is_checked_like_one_of_the_document() {
    let scratch = |at: &str| FileRule::new(at, Access::Scratch);
    assert!(matches!(scratch("/etc/x"), Err(ZoneError::Taken { .. })));
    assert!(matches!(
        FileRule::new("/a", Access::Write { to: String::new() }),
        Err(ZoneError::HostPath { .. })
    ));
    let policy = policy("[[files]]\nat = \"/a\"\naccess = \"scratch\"\n");
    let overlap = policy.clone().with_zones(vec![scratch("/a/b").unwrap()]);
    assert_eq!(overlap, Err(ZoneError::Overlap { at: "/a/b".to_owned(), other: "/a".to_owned() }));
    let wider = policy.clone().with_zones(vec![scratch("/b").unwrap()]).unwrap();
    assert_eq!(wider.files().iter().map(FileRule::line).collect::<Vec<_>>(), [Some(3), None]);
    assert_eq!(wider.hash(), policy.hash());
    let many = (0..64).map(|n| scratch(&format!("/z{n}")).unwrap()).collect();
    assert_eq!(policy.with_zones(many), Err(ZoneError::TooMany));
}

#[test]
fn what_the_command_line_added_never_gets_into_the_cache() {
    let policy = policy("");
    let wider = policy.clone().with_zones(vec![FileRule::new("/b", Access::Scratch).unwrap()]).unwrap();
    assert_eq!(Policy::from_cache(&wider.to_cache(), policy.hash()), Some(policy));
}

#[test]
fn a_command_of_the_ordinary_user_is_allowed_and_the_permit_says_by_what() {
    let asked = request(&["/bin/true"], User::User);
    let permit = policy("").exec(&asked).unwrap();
    assert_eq!(permit.request(), &asked);
    assert_eq!(
        (permit.decision().verdict, permit.decision().rule.as_str()),
        ("allow", "exec (no [[tools]] rule)")
    );
    assert_eq!(permit.into_request(), asked);
}

#[test]
fn root_is_denied_unless_the_policy_says_otherwise() {
    let asked = request(&["id", "-u\x1b"], User::Root);
    let denied = policy("").exec(&asked).unwrap_err();
    assert_eq!(denied.to_string(), r"denied by the rule `root`: run `id -u\x1b` as root");
    assert_eq!(denied.code, model::Code::Root);
    assert!(policy("root = true").exec(&asked).is_ok());
}

#[test]
fn files_are_touched_as_root_only_where_the_policy_grants_root() {
    let asked = |path: &str, user| FileRequest { op: FileOp::MakeDir, path: path.into(), to: None, user };
    let permit = policy("").file(asked("/tmp/a", User::User)).unwrap();
    assert_eq!(permit.decision().rule, "tmp");
    let denied = policy("").file(asked("/tmp/\x1b", User::Root)).unwrap_err();
    assert_eq!(denied.to_string(), r"denied by the rule `root`: make-dir `/tmp/\x1b` as root");
    assert!(policy("root = true").file(asked("/tmp/a", User::Root)).is_ok());
    for bad in ["", "tmp", "/a\0"] {
        assert_eq!(
            policy("root = true").file(asked(bad, User::Root)).unwrap_err().rule,
            "request",
            "{bad:?}"
        );
    }
}

#[test]
fn a_request_that_no_kernel_could_fulfil_is_denied() {
    let good = request(&["a"], User::User);
    for bad in [
        request(&[], User::User),
        request(&[""], User::User),
        request(&["a", "b\0"], User::User),
        ExecRequest { cwd: b"tmp".to_vec(), ..good.clone() },
        ExecRequest { cwd: b"/\0".to_vec(), ..good.clone() },
        ExecRequest { env: vec![(b"".to_vec(), b"x".to_vec())], ..good.clone() },
        ExecRequest { env: vec![(b"A=B".to_vec(), b"x".to_vec())], ..good.clone() },
        ExecRequest { env: vec![(b"A".to_vec(), b"\0".to_vec())], ..good.clone() },
    ] {
        assert_eq!(policy("root = true").exec(&bad).unwrap_err().rule, "request", "{bad:?}");
    }
    let long = request(&[&"x".repeat(10_000)], User::Root);
    assert!(policy("").exec(&long).unwrap_err().asked.len() < 300);
}

#[test]
fn every_rule_says_what_it_turns_into() {
    let policy = Policy::parse(shipped("locked").unwrap_or_default().as_bytes(), "locked").unwrap();
    let zone = FileRule::new("/out", Access::Write { to: "./out".to_owned() }).unwrap();
    let lines: Vec<String> =
        policy.with_zones(vec![zone]).unwrap().explain().iter().map(ToString::to_string).collect();
    assert_eq!(
        lines.join("\n"),
        "\
tier = native -> namespaces, seccomp and Landlock on the host's kernel
always -> user-namespace, pid-namespace, mount-namespace, network-namespace, ipc-namespace, uts-namespace, \
own-root, read-only-system, private-proc, minimal-dev, disk-limit, no-new-privileges, no-capabilities, seccomp, \
rlimits, namespace-limits, own-session
landlock = 2 -> starts only on a kernel with Landlock ABI 2 or above
root = false -> a command that asks for root inside is denied
require cgroup-namespace -> does not start without it
require cpu-limit -> does not start without it
require memory-limit -> does not start without it
require pids-limit -> does not start without it
require own-uid -> does not start without it
cpus = 0.5 -> cgroup processor limit; without a cgroup it does not start
memory = 256MiB -> cgroup memory limit; without a cgroup it does not start
pids = 64 -> cgroup pids limit; without a cgroup it does not start
disk = 64MiB -> size of the tmpfs that holds all it writes; counts into memory
inodes = 4096 -> inodes of that tmpfs
open_files = 256 -> RLIMIT_NOFILE per process
wall = 10m -> the sandbox is ended after that
lease keep after 10m -> lives on without its server until its own time is over
write /out -> private and writable; counts into disk; copied to ./out at the end
no [[net.allow]] -> a network with nothing but its own loopback"
    );
}

/// The reference, whose examples and numbers are tested here.
const REFERENCE: &str = include_str!("../../../docs/reference/policy.md");

#[test]
fn every_example_of_the_reference_loads() {
    let examples: Vec<&str> =
        REFERENCE.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let parsed = Policy::parse(example.as_bytes(), "policy.md");
        assert!(parsed.is_ok(), "{}", parsed.err().map(|error| error.plain()).unwrap_or_default());
    }
}

#[test]
fn the_tables_of_the_reference_are_those_of_the_reader() {
    let written = policy::with_tables(REFERENCE);
    assert!(written.as_deref() == Some(REFERENCE), "run `cargo run -p policy --example reference`");
}

#[test]
fn the_reference_states_the_defaults() {
    let rows: Vec<Vec<&str>> = REFERENCE
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split('|').map(|cell| cell.trim().trim_matches('`')).collect())
        .collect();
    let row = |key: &str| rows.iter().find(|row| row[1] == key).unwrap_or_else(|| panic!("no row for {key}"));
    let mut defaults = String::from("[compute]\n");
    for key in ["cpus", "memory", "pids", "disk", "inodes", "open_files", "wall"] {
        defaults += &format!("{key} = {}\n", row(key)[3]);
    }
    assert_eq!(policy(&defaults).limits(), DEFAULT_LIMITS);
    for key in ["after", "then"] {
        let default = row(key)[3];
        assert_eq!(policy(&format!("[lease]\n{key} = {default}")).lease(), Lease::default());
    }
}

#[test]
fn the_reference_names_every_wall_and_whether_it_always_stands() {
    let (_, table) = REFERENCE.split_once("| wall | what it does |").unwrap();
    for wall in Wall::ALL {
        let line = table.lines().find(|line| line.starts_with(&format!("| `{wall}` ")));
        let line = line.unwrap_or_else(|| panic!("no row for {wall}"));
        let always = ALWAYS.contains(wall);
        assert_eq!(line.ends_with("| always |"), always, "{line}");
        assert!(line.contains(wall.about().trim_end_matches('.')), "{line}");
    }
}
