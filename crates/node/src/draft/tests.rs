//! Drafts without a sandbox: upper layers made by hand, with what no sandbox can make, and commits that are cut short at
//! every step.

use super::apply::{Begun, Originals};
use super::journal::{Journal, Phase};
use super::steps::{Step, steps};
use super::*;
use crate::State;
use model::SandboxId;
use policy::CommitRules;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr};
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use tempfile::TempDir;

struct Place {
    directory: TempDir,
    state: State,
    id: SandboxId,
}

impl Place {
    /// An original with a few entries of each kind, and an empty upper layer.
    fn new() -> Place {
        let directory = TempDir::new().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["original/d/e", "original/gone/in", "original/link-to", "upper", "state"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        fs::set_permissions(at("state"), fs::Permissions::from_mode(0o700)).unwrap();
        for name in ["a", "b", "d/c", "d/e/f", "gone/x", "gone/in/y", "become"] {
            fs::write(at("original").join(name), name).unwrap();
        }
        symlink("a", at("original/l")).unwrap();
        let state = State::open(&at("state")).unwrap();
        Place { state, id: SandboxId::from_random([7; 20]), directory }
    }

    fn original(&self, name: &str) -> PathBuf {
        self.directory.path().join("original").join(name)
    }

    fn upper(&self, name: &str) -> PathBuf {
        self.directory.path().join("upper").join(name)
    }

    fn draft(&self, rules: CommitRules) -> Draft {
        Draft {
            zone: 0,
            at: "/work".to_owned(),
            from: self.original("").canonicalize().unwrap(),
            directory: OwnedFd::from(fs::File::open(self.original("")).unwrap()),
            rules,
        }
    }

    /// Keeps a draft of the upper layer as `fill` leaves it.
    fn keep(&self, rules: CommitRules, fill: impl FnOnce(&Place)) -> Vec<DraftEnd> {
        let open = |name: &str| OwnedFd::from(fs::File::open(self.directory.path().join(name)).unwrap());
        let opened = self.draft(rules).open().unwrap();
        fill(self);
        end(Ended {
            state: self.state.path(),
            sandbox: self.id,
            opened: vec![opened],
            uppers: vec![open("upper")],
            keep: true,
            bytes_max: 1 << 20,
            acts: Vec::new(),
        })
    }

    fn refused_by(&self) -> Vec<String> {
        let CommitOutcome::Refused(refusals) = commit(&self.state, self.id, &[]).unwrap() else {
            panic!("it was not refused")
        };
        refusals.into_iter().map(|refusal| refusal.rule).collect()
    }

    /// All of the original: kind or content by path.
    fn tree(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let mut left = vec![String::new()];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(self.original(&directory)).unwrap() {
                let name = format!("{directory}{}", entry.unwrap().file_name().to_str().unwrap());
                let metadata = fs::symlink_metadata(self.original(&name)).unwrap();
                let what = if metadata.is_dir() {
                    left.push(format!("{name}/"));
                    "directory".to_owned()
                } else if metadata.is_symlink() {
                    format!("-> {}", fs::read_link(self.original(&name)).unwrap().display())
                } else {
                    format!(
                        "{:o} {}",
                        metadata.mode() & 0o111,
                        fs::read_to_string(self.original(&name)).unwrap()
                    )
                };
                found.insert(name, what);
            }
        }
        found
    }
}

fn whiteout(path: &Path) {
    mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
}

fn opaque(path: &Path) {
    fs::create_dir(path).unwrap();
    setxattr(path, "user.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
}

/// One change of each kind.
fn all_kinds(place: &Place) {
    fs::write(place.upper("a"), "a is new").unwrap();
    whiteout(&place.upper("b"));
    fs::write(place.upper("new"), "new").unwrap();
    fs::create_dir_all(place.upper("d/made/deep")).unwrap();
    fs::write(place.upper("d/made/deep/f"), "f").unwrap();
    fs::write(place.upper("d/c"), "d/c").unwrap();
    fs::set_permissions(place.upper("d/c"), fs::Permissions::from_mode(0o755)).unwrap();
    opaque(&place.upper("d/e"));
    fs::write(place.upper("d/e/other"), "other").unwrap();
    whiteout(&place.upper("gone"));
    symlink("new", place.upper("l")).unwrap();
    fs::create_dir(place.upper("become")).unwrap();
    fs::write(place.upper("become/file"), "in it").unwrap();
    fs::write(place.upper("link-to"), "a file now").unwrap();
}

fn expected() -> BTreeMap<String, String> {
    [
        ("a", "0 a is new"),
        ("new", "0 new"),
        ("d", "directory"),
        ("d/made", "directory"),
        ("d/made/deep", "directory"),
        ("d/made/deep/f", "0 f"),
        ("d/c", "111 d/c"),
        ("d/e", "directory"),
        ("d/e/other", "0 other"),
        ("l", "-> new"),
        ("become", "directory"),
        ("become/file", "0 in it"),
        ("link-to", "0 a file now"),
    ]
    .map(|(name, what)| (name.to_owned(), what.to_owned()))
    .into()
}

fn rules() -> CommitRules {
    CommitRules { executables: true, ..CommitRules::default() }
}

/// Paths by zone.
type Selected = Vec<(usize, Vec<u8>)>;

/// The beginning of a commit of everything: its steps, on open originals.
fn begun(kept: &Kept, begun: Begun) -> (Originals, Vec<Step>, Selected) {
    let path = kept.head.zones[0].path();
    let roots = vec![OwnedFd::from(fs::File::open(&path).unwrap())];
    let draft = kept.directory.clone();
    let originals = Originals { roots, paths: vec![path], draft, begun, open: Default::default() };
    let changes: Vec<_> = kept.zones[0].changes.iter().collect();
    let selected = changes.iter().map(|change| (0, change.path.clone())).collect();
    (originals, steps(0, &changes, &HashSet::new(), 5, 0), selected)
}

#[test]
fn every_kind_of_change_is_committed() {
    let place = Place::new();
    place.keep(rules(), all_kinds);
    let before = place.tree();
    assert!(matches!(commit(&place.state, place.id, &[]), Ok(CommitOutcome::Committed(_))));
    assert_ne!(place.tree(), before);
    assert_eq!(place.tree(), expected());
}

#[test]
fn a_commit_that_is_cut_short_at_any_step_is_completed_by_the_next() {
    for phase in [Phase::Staging, Phase::Placing, Phase::Cleaning] {
        let mut at = 0;
        loop {
            let place = Place::new();
            place.keep(rules(), all_kinds);
            let kept = Kept::open(place.state.path(), place.id).unwrap();
            let (originals, mut all, selected) = begun(&kept, Begun::Here);
            let count = all.len();
            let mut journal = Journal { phase, steps: Vec::new(), selected };
            let staged = if phase == Phase::Staging { at } else { count };
            all[..staged].iter_mut().for_each(|step| originals.stage(step).unwrap());
            let placed = [0, at, count][phase as usize];
            for step in &all[..placed] {
                assert!(originals.forward(step).is_ok());
            }
            if phase == Phase::Cleaning {
                for step in &all[..at] {
                    originals.clean(step, &[]).unwrap();
                }
            }
            journal.steps = all;
            journal.write(&kept.directory).unwrap();
            drop((originals, kept));
            let outcome = commit(&place.state, place.id, &[]).unwrap();
            let CommitOutcome::Committed(done) = outcome else { panic!("{phase:?} {at}: {outcome:?}") };
            assert_eq!(done.resumed, phase != Phase::Staging);
            assert_eq!(place.tree(), expected(), "{phase:?}, cut short at step {at}");
            at += 1;
            if at > count {
                break;
            }
        }
    }
}

#[test]
fn a_commit_that_cannot_be_completed_is_undone() {
    let mut conflicts = 0;
    for at in 0..20 {
        let place = Place::new();
        place.keep(rules(), all_kinds);
        let mut before = place.tree();
        let kept = Kept::open(place.state.path(), place.id).unwrap();
        let (originals, mut all, selected) = begun(&kept, Begun::Here);
        all.iter_mut().for_each(|step| originals.stage(step).unwrap());
        all[..at.min(all.len())].iter().for_each(|step| assert!(originals.forward(step).is_ok()));
        let journal = Journal { phase: Phase::Placing, steps: all, selected };
        journal.write(&kept.directory).unwrap();
        drop((originals, kept));
        // Somebody writes to a file that is not in its place yet.
        if fs::read_to_string(place.original("a")).unwrap() != "a" {
            continue;
        }
        conflicts += 1;
        fs::write(place.original("a"), "theirs").unwrap();
        before.insert("a".to_owned(), "0 theirs".to_owned());
        let outcome = commit(&place.state, place.id, &[]).unwrap();
        assert!(matches!(outcome, CommitOutcome::Conflicts(_)), "{at}: {outcome:?}");
        assert_eq!(place.tree(), before, "{at}");
        assert!(matches!(discard(&place.state, place.id), Ok(Done { .. })));
    }
    assert!(conflicts > 5, "{conflicts}");
}

#[test]
fn what_no_sandbox_can_make_is_refused_all_the_same() {
    let script: fn(&Path) = |path| fs::write(path, "x").unwrap();
    let attribute = |name: &'static str, value: &'static [u8]| {
        move |path: &Path| {
            fs::write(path, "x").unwrap();
            setxattr(path, name, value, XattrFlags::empty()).unwrap();
        }
    };
    let directory = |name: &'static str, value: &'static [u8]| {
        move |path: &Path| {
            fs::create_dir(path).unwrap();
            setxattr(path, name, value, XattrFlags::empty()).unwrap();
        }
    };
    let device: fn(&Path) = |path| {
        mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), rustix::fs::makedev(1, 3)).unwrap()
    };
    type Way = (&'static str, Box<dyn Fn(&Path)>);
    let mut ways: Vec<Way> = vec![
        ("-", Box::new(script)),
        ("-", Box::new(attribute("user.comment", b"x"))),
        ("-", Box::new(attribute("user.overlay.overlay.redirect", b"/x"))),
        ("-", Box::new(attribute("user.overlay.origin", b"x"))),
        ("commit.attributes", Box::new(attribute("user.overlay.metacopy", b""))),
        ("commit.attributes", Box::new(attribute("user.overlay.whiteout", b"y"))),
        ("commit.attributes", Box::new(directory("user.overlay.redirect", b"/.git"))),
        ("commit.attributes", Box::new(directory("user.overlay.opaque", b"x"))),
    ];
    // These two take root; as anybody else the kernel refuses to make them, here as in a sandbox.
    if rustix::process::geteuid().is_root() {
        const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        ways.push(("commit.attributes", Box::new(attribute("security.capability", CAPABILITY))));
        ways.push(("commit.special", Box::new(device)));
    }
    for (number, (expected, make)) in ways.iter().enumerate() {
        let place = Place::new();
        let before = place.tree();
        place.keep(rules(), |place| make(&place.upper("x")));
        if *expected == "-" {
            assert!(
                matches!(commit(&place.state, place.id, &[]), Ok(CommitOutcome::Committed(_))),
                "{number}"
            );
            let mut names = [0; 256];
            assert_eq!(rustix::fs::listxattr(place.original("x"), &mut names[..]), Ok(0), "{number}");
        } else {
            let rules = place.refused_by();
            assert!(
                rules.iter().all(|rule| rule.starts_with(expected)) && !rules.is_empty(),
                "{number}: {rules:?}"
            );
            assert_eq!(place.tree(), before, "{number}");
        }
    }
}

#[test]
fn a_damaged_or_missing_draft_is_an_error_and_changes_nothing() {
    let place = Place::new();
    assert!(matches!(commit(&place.state, place.id, &[]), Err(Error::None(_))));
    place.keep(rules(), all_kinds);
    let before = place.tree();
    let directory = place.state.path().join("drafts").join(place.id.as_str());
    for name in ["head", "changes-0", "manifest-0", "journal"] {
        let whole = fs::read(directory.join(name)).unwrap_or_default();
        for bytes in [&whole[..whole.len() / 2], b"", b"x"] {
            fs::write(directory.join(name), bytes).unwrap();
            assert!(matches!(commit(&place.state, place.id, &[]), Err(Error::Damaged(_))), "{name}");
        }
        match whole.is_empty() {
            true => fs::remove_file(directory.join(name)).unwrap(),
            false => fs::write(directory.join(name), whole).unwrap(),
        }
    }
    let held = Kept::open(place.state.path(), place.id).unwrap();
    assert!(matches!(commit(&place.state, place.id, &[]), Err(Error::Busy)));
    drop(held);
    assert_eq!(place.tree(), before);
    assert!(matches!(commit(&place.state, place.id, &[]), Ok(CommitOutcome::Committed(_))));
}

#[test]
fn a_draft_without_changes_is_not_kept_and_one_that_is_too_large_says_so() {
    let place = Place::new();
    let ended = place.keep(rules(), |_| {});
    assert!(!ended[0].kept && ended[0].changes == 0 && ended[0].problem.is_none());
    assert_eq!(list(place.state.path()).unwrap(), []);
    // What does not fit is named, and never committed.
    let place = Place::new();
    place.keep(rules(), |place| {
        fs::write(place.upper("big"), vec![b'x'; 2 << 20]).unwrap();
        fs::File::create(place.upper("hole")).unwrap().set_len(1 << 40).unwrap();
    });
    let rules = place.refused_by();
    let unreadable = rules.iter().filter(|rule| rule.starts_with("commit.unreadable")).count();
    assert_eq!((unreadable, rules.last().map(String::as_str)), (2, Some("commit.bytes")));
}

#[test]
fn a_draft_that_lives_is_not_discarded_also_while_a_moment_of_it_is_left() {
    let place = Place::new();
    let events = begin_living(place.state.path(), place.id, vec![place.draft(rules())]).unwrap();
    let mut ledger = ledger::Ledger::open(place.state.path(), Box::new(crate::clock::SystemClock)).unwrap();
    events.into_iter().for_each(|event| ledger.observe(event).unwrap());
    drop(ledger);
    let disk = OwnedFd::from(fs::File::open(place.directory.path()).unwrap());
    fs::rename(place.upper(""), place.directory.path().join(jail::upper_layer(0))).unwrap();
    assert!(matches!(discard(&place.state, place.id), Err(Error::Lives)));
    // Whoever took it was killed before it was done with it.
    drop(snapshot(place.state.path(), place.id, &disk).unwrap());
    assert!(matches!(discard(&place.state, place.id), Err(Error::Lives)));
    assert_eq!(list(place.state.path()).unwrap(), []);
    // One whose commit was cut short is completed first.
    let kept = snapshot(place.state.path(), place.id, &disk).unwrap();
    Journal { phase: Phase::Staging, steps: Vec::new(), selected: Vec::new() }
        .write(&kept.directory)
        .unwrap();
    drop(kept);
    assert!(matches!(discard(&place.state, place.id), Err(Error::Interrupted)));
}
