//! What holds for every document, every cache and every policy.

use policy::{Access, CommitRules, DEFAULT_LIMITS, FileRule, Pattern, Policy, shipped};
use proptest::prelude::*;
use std::fmt::Write;

const WALLS: &[&str] = &["cpu-limit", "memory-limit", "pids-limit", "own-uid", "cgroup-namespace", "seccomp"];

/// What a document is written from and must be read as.
#[derive(Debug, Clone)]
struct Model {
    name: String,
    about: Option<String>,
    root: bool,
    require: Vec<&'static str>,
    landlock: u32,
    limits: model::Limits,
    lease: model::Lease,
    zones: Vec<(String, Access)>,
}

fn models() -> impl Strategy<Value = Model> {
    let limits =
        (1..=1_024_000u32, 4..=1_000_000u64, 4..=4_194_304u32, 1..=1000u64, 64..=1u64 << 32, 16..=1u32 << 20)
            .prop_flat_map(|(cpu_milli, mebibytes, pids, disk, disk_inodes, open_files)| {
                proptest::option::of(100..=31_536_000_000u64).prop_map(move |wall_ms| model::Limits {
                    cpu_milli,
                    memory_bytes: mebibytes << 20,
                    pids,
                    disk_bytes: disk << 20,
                    disk_inodes,
                    open_files,
                    wall_ms,
                })
            });
    let host = "[a-z./][a-zA-Z0-9é \\\\\"'_./-]{0,40}";
    let pattern = "[a-z.][a-zA-Z0-9é *]{0,9}(/[a-z]{1,9}){0,3}(/\\*\\*)?"
        .prop_filter_map("no pattern", |text| Pattern::beneath(&text).ok());
    let patterns = proptest::collection::vec(pattern, 0..4);
    let commit = (patterns.clone(), 1..(1_u64 << 44), 1..=1_000_000_u64, any::<bool>(), patterns).prop_map(
        |(paths, bytes, files, executables, unprotect)| CommitRules {
            paths,
            bytes,
            files,
            executables,
            unprotect,
        },
    );
    let access = prop_oneof![
        host.prop_map(|from| Access::Read { from }),
        Just(Access::Scratch),
        host.prop_map(|to| Access::Write { to }),
        (host, commit).prop_map(|(from, commit)| Access::Draft { from, commit }),
    ];
    let zones = proptest::collection::btree_map("/z[a-z0-9_.-]{1,20}", access, 0..5);
    let about = proptest::option::of("[a-zA-Z0-9 \"'\\\\é]{1,60}");
    let require = proptest::sample::subsequence(WALLS, 0..=WALLS.len());
    let then = prop_oneof![Just(model::Then::Keep), Just(model::Then::Freeze), Just(model::Then::End)];
    let lease = (1000..=31_536_000_000u64, then).prop_map(|(after_ms, then)| model::Lease { after_ms, then });
    ("[a-z0-9-]{1,64}", about, any::<bool>(), require, 0..=16u32, limits, lease, zones).prop_map(
        |(name, about, root, require, landlock, limits, lease, zones)| Model {
            name,
            about,
            root,
            require,
            landlock,
            limits,
            lease,
            zones: zones.into_iter().collect(),
        },
    )
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn written(model: &Model) -> String {
    let Model { name, about, root, require, landlock, limits, lease, zones } = model;
    let mut text = format!("version = 1\nname = {}\nroot = {root}\n", quoted(name));
    if let Some(about) = about {
        let _ = writeln!(text, "about = {}", quoted(about));
    }
    let _ = writeln!(text, "[walls]\nlandlock = {landlock}");
    if !require.is_empty() {
        let _ = writeln!(text, "require = {require:?}");
    }
    let wall = limits.wall_ms.map_or("none".to_owned(), |ms| format!("{ms}ms"));
    let _ = writeln!(
        text,
        "[compute]\ncpus = {}.{:03}\nmemory = \"{}B\"\npids = {}\ndisk = \"{}KiB\"\ninodes = {}\nopen_files = {}\nwall = \"{wall}\"",
        limits.cpu_milli / 1000,
        limits.cpu_milli % 1000,
        limits.memory_bytes,
        limits.pids,
        limits.disk_bytes >> 10,
        limits.disk_inodes,
        limits.open_files,
    );
    let then = match lease.then {
        model::Then::Keep => "keep",
        model::Then::Freeze => "freeze",
        model::Then::End => "end",
    };
    let _ = writeln!(text, "[lease]\nafter = \"{}ms\"\nthen = \"{then}\"", lease.after_ms);
    for (at, access) in zones {
        let access = match access {
            Access::Read { from } => format!("access = \"read\"\nfrom = {}", quoted(from)),
            Access::Scratch => "access = \"scratch\"".to_owned(),
            Access::Write { to } => format!("access = \"write\"\nto = {}", quoted(to)),
            Access::Draft { from, commit } => {
                format!("access = \"draft\"\nfrom = {}\ncommit = {}", quoted(from), rules(commit))
            }
        };
        let _ = writeln!(text, "[[files]]\nat = {}\n{access}", quoted(at));
    }
    text
}

fn rules(rules: &CommitRules) -> String {
    let CommitRules { paths, bytes, files, executables, unprotect } = rules;
    let list = |key: &str, patterns: &[Pattern]| match patterns {
        [] => String::new(),
        some => {
            let words: Vec<String> = some.iter().map(|pattern| quoted(&pattern.to_path())).collect();
            format!("{key} = [{}], ", words.join(", "))
        }
    };
    format!(
        "{{ {}{}bytes = \"{bytes}B\", files = {files}, executables = {executables} }}",
        list("paths", paths),
        list("unprotect", unprotect)
    )
}

fn parsed(model: &Model) -> Policy {
    let text = written(model);
    Policy::parse(text.as_bytes(), "t.toml").unwrap_or_else(|error| panic!("{}\n{text}", error.plain()))
}

proptest! {
    #[test]
    fn a_policy_says_what_its_document_says(model in models()) {
        let policy = parsed(&model);
        prop_assert_eq!(policy.name(), &model.name);
        prop_assert_eq!(policy.about(), model.about.as_deref());
        prop_assert_eq!(policy.root(), model.root);
        prop_assert_eq!(policy.landlock_min(), model.landlock);
        prop_assert_eq!(policy.limits(), model.limits);
        prop_assert_eq!(policy.lease(), model.lease);
        for wall in model::Wall::ALL {
            let expected = policy::ALWAYS.contains(wall)
                || model.require.contains(&wall.name())
                || (*wall == model::Wall::Landlock && model.landlock >= 1);
            prop_assert_eq!(policy.walls().has(*wall), expected, "{}", wall);
        }
        let zones: Vec<_> = policy.files().iter().map(|f| (f.at().to_owned(), f.access().clone())).collect();
        prop_assert_eq!(zones, model.zones);
    }

    #[test]
    fn a_cached_policy_comes_back(model in models()) {
        let policy = parsed(&model);
        prop_assert_eq!(Policy::from_cache(&policy.to_cache(), policy.hash()), Some(policy));
    }

    #[test]
    fn a_damaged_cache_gives_the_same_policy_or_none(
        model in models(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
        tail in proptest::collection::vec(any::<u8>(), 0..4),
    ) {
        let policy = parsed(&model);
        let mut bytes = policy.to_cache();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes.extend(tail);
        if let Some(found) = Policy::from_cache(&bytes, policy.hash()) {
            prop_assert_eq!(found, policy);
        }
    }

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512), hash in ".*") {
        let _ = Policy::parse(&bytes, &hash);
        prop_assert_eq!(Policy::from_cache(&bytes, &hash), None);
    }

    #[test]
    fn no_words_of_the_language_make_the_reader_panic(
        words in proptest::collection::vec(prop_oneof![
            proptest::sample::select(&[
                "version", "name", "files", "walls", "require", "compute", "cpus", "memory", "at", "access", "from",
                "to", "net", "allow", "[", "]", "[[", "]]", "{", "}", "=", ",", ".", "\n", "\"", "\"\"\"", "'", " ",
                "#", "1", "-1", "1e9", "nan", "\"read\"", "\"/a\"", "true", "\\u0000", "é", "1979-05-27", "0x",
            ][..]).prop_map(str::to_owned),
            ".{0,3}",
        ], 0..60)
    ) {
        if let Err(rejected) = Policy::parse(words.concat().as_bytes(), "t.toml") {
            prop_assert!(!rejected.problems().is_empty());
            for problem in rejected.problems() {
                prop_assert!(problem.line >= 1 && problem.column >= 1 && !problem.help.is_empty());
                let all_plain = problem.message.chars().all(|c| !c.is_control());
                prop_assert!(all_plain, "{:?}", problem.message);
            }
        }
    }

    #[test]
    fn a_changed_byte_of_a_document_never_makes_the_reader_panic(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut source = shipped("locked").unwrap_or_default().as_bytes().to_vec();
        let place = place.index(source.len());
        source[place] = byte;
        let _ = Policy::parse(&source, "t.toml");
    }

    #[test]
    fn no_place_for_a_zone_makes_the_check_panic(at in ".*") {
        let _ = FileRule::new(format!("/{at}"), Access::Read { from: at });
    }
}

#[test]
fn a_document_that_leaves_a_ceiling_out_gets_its_default() {
    let policy = Policy::parse(b"version = 1\nname = \"a\"\n[compute]\npids = 9\n", "t").unwrap();
    assert_eq!(policy.limits(), model::Limits { pids: 9, ..DEFAULT_LIMITS });
}
