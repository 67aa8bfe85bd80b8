use super::*;
use crate::pattern::{Rest, Word};
use std::collections::BTreeMap;

/// Links and entries by path.
#[derive(Default)]
struct Here(BTreeMap<Vec<u8>, Option<Vec<u8>>>);

impl Here {
    fn with(mut self, path: &str, target: Option<&str>) -> Here {
        self.0.insert(path.into(), target.map(Into::into));
        self
    }
}

impl Tree for Here {
    fn link(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.0.get(path).cloned().flatten()
    }
    fn has(&self, path: &[u8]) -> bool {
        self.0.contains_key(path)
    }
}

const TEXT: Now<'static> = Now::File { bytes: 10, executable: false };

fn new<'a>(path: &'a (impl AsRef<[u8]> + ?Sized), now: Now<'a>) -> Proposal<'a> {
    Proposal { path: path.as_ref(), was: None, now, taint: None }
}

/// The rule that refuses, without what of it applied; `-` if none does.
fn rule(rules: &CommitRules, tree: &Here, change: Proposal<'_>) -> String {
    match rules.check("/work", &[change], tree).as_slice() {
        [] => "-".to_owned(),
        [one] => one.rule.split(' ').next().unwrap().to_owned(),
        more => panic!("{more:?}"),
    }
}

fn patterns(list: &[&str]) -> Vec<Pattern> {
    list.iter().map(|text| Pattern::beneath(text).unwrap()).collect()
}

#[test]
fn ordinary_work_is_permitted_by_the_default_rules() {
    let rules = CommitRules::default();
    for path in [
        "src/main.rs",
        "README.md",
        "docs/a b/ü.txt",
        ".gitignore",
        ".github/CODEOWNERS",
        ".git/index",
        ".git/objects/ab/cdef",
        ".git/objects/info/commit-graph",
        ".git/refs/heads/main",
        ".git/refs/heads/config",
        ".git/refs/remotes/origin/HEAD",
        ".git/logs/HEAD",
        ".git/modules/lib/index",
        "src/config/mod.rs",
        "hooks/use.ts",
        "vscode/settings.json",
    ] {
        assert_eq!(rule(&rules, &Here::default(), new(path, TEXT)), "-", "{path}");
    }
}

#[test]
fn protected_names_are_refused_wherever_and_however_they_are_written() {
    let rules = CommitRules::default();
    for path in [
        ".git/hooks/pre-commit",
        ".GIT/HOOKS/x",
        "a/b/.git/hooks/x",
        ".git/config",
        ".git/modules/lib/hooks/x",
        ".git/modules/a/b/config",
        ".git/modules/refs/hooks/x",
        ".git/worktrees/w/gitdir",
        ".git/objects/info/alternates",
        ".git/rebase-merge/git-rebase-todo",
        ".git/info/attributes",
        ".git",
        "sub/.git",
        ".git /config",
        ".git./config",
        ".git::$INDEX_ALLOCATION/config",
        "GIT~1/config",
        ".g\u{200c}it/config",
        "\u{ff0e}git/config",
        ".git\\config",
        ".github/workflows/ci.yml",
        ".GitHub/Workflows/ci.yml",
        ".github",
        ".gitlab-ci.yml",
        ".circleci/config.yml",
        ".vscode/tasks.json",
        ".v\u{17f}code/tasks.json",
        ".vscode",
        "x/.idea/a",
        ".devcontainer/devcontainer.json",
        ".envrc",
        ".hus\u{212a}y/pre-commit",
        ".gitattributes",
        "sub/.gitmodules",
        "Jenkinsfile",
        "evil/HEAD",
    ] {
        let expected = if path.contains('\u{200c}') { "commit.names" } else { "commit.protected" };
        assert_eq!(rule(&rules, &Here::default(), new(path, TEXT)), expected, "{path}");
        let gone = Proposal { was: Some(Was::File { executable: false }), ..new(path, Now::Gone) };
        let refused = rule(&rules, &Here::default(), gone);
        assert_eq!(refused, if path == "evil/HEAD" { "-" } else { "commit.protected" }, "delete {path}");
    }
    // A git directory that is called something else.
    let tree = Here::default().with("store/HEAD", None).with("HEAD", None);
    for path in ["store/hooks/x", "store/config", "hooks/x", "config"] {
        assert_eq!(rule(&rules, &tree, new(path, TEXT)), "commit.protected", "{path}");
    }
    assert_eq!(rule(&rules, &tree, new("store/objects/x", TEXT)), "-");
}

#[test]
fn what_is_unprotected_is_exactly_what_was_named() {
    let rules = CommitRules {
        unprotect: patterns(&[".github/workflows/**", ".git/hooks/pre-*"]),
        ..Default::default()
    };
    for (path, expected) in [
        (".github/workflows/ci.yml", "-"),
        (".git/hooks/pre-push", "-"),
        (".git/hooks/post-merge", "commit.protected"),
        (".git/hooks/pre-push/x", "commit.protected"),
        ("sub/.github/workflows/ci.yml", "commit.protected"),
        (".GITHUB/workflows/ci.yml", "commit.protected"),
    ] {
        assert_eq!(rule(&rules, &Here::default(), new(path, TEXT)), expected, "{path}");
    }
    // It lifts this rule and no other.
    let script = Now::File { bytes: 1, executable: true };
    assert_eq!(rule(&rules, &Here::default(), new(".git/hooks/pre-push", script)), "commit.executables");
}

#[test]
fn paths_are_permitted_by_whole_words_and_directories_may_lead_there() {
    let rules = CommitRules { paths: patterns(&["src/**", "docs/*.md", "a/b/c"]), ..Default::default() };
    for (path, now, expected) in [
        ("src/x/y", TEXT, "-"),
        ("src", Now::Directory, "-"),
        ("docs/x.md", TEXT, "-"),
        ("docs/x/y.md", TEXT, "commit.paths"),
        ("docs/.md", TEXT, "-"),
        ("docs", Now::Directory, "-"),
        ("a/b", Now::Directory, "-"),
        ("a/b", TEXT, "commit.paths"),
        ("a/b/c/d", TEXT, "commit.paths"),
        ("srcs/x", TEXT, "commit.paths"),
        ("SRC/x", TEXT, "commit.paths"),
        ("x", Now::Directory, "commit.paths"),
    ] {
        assert_eq!(rule(&rules, &Here::default(), new(path, now)), expected, "{path}");
    }
}

#[test]
fn links_stay_in_the_zone_through_every_other_link() {
    let rules = CommitRules::default();
    let tree = Here::default()
        .with("out", Some("/etc"))
        .with("p/q/s", Some("../../z"))
        .with("loop", Some("loop"))
        .with("in", Some("src"));
    for (path, target, expected) in [
        ("a/b", "c", "-"),
        ("a/b", "../c", "-"),
        ("a/b", "./../in/x/..", "-"),
        ("a/b", "../../c", "commit.links"),
        ("a", "/etc/passwd", "commit.links"),
        ("a", "..", "commit.links"),
        ("a", "x/../..", "commit.links"),
        ("a", "out/passwd", "commit.links"),
        // `s` leads up, so that what looks like `p` is above the zone.
        ("p/q/x", "s/../../y", "commit.links"),
        ("a", "loop/x", "commit.links"),
        ("a", "", "commit.links"),
    ] {
        let change = new(path, Now::Link { target: target.as_bytes() });
        assert_eq!(rule(&rules, &tree, change), expected, "{path} -> {target}");
    }
}

#[test]
fn what_is_never_committed_has_its_own_rule_each() {
    let rules = CommitRules { executables: true, unprotect: patterns(&["**"]), ..Default::default() };
    for (taint, expected) in [
        (Taint::Special("a FIFO".to_owned()), "commit.special"),
        (Taint::ModeBits(0o4000), "commit.mode-bits"),
        (Taint::HardLinks(2), "commit.hard-links"),
        (Taint::Attribute("security.capability".to_owned()), "commit.attributes"),
        (Taint::Depth, "commit.depth"),
        (Taint::Unreadable("EACCES".to_owned()), "commit.unreadable"),
    ] {
        let change = Proposal { taint: Some(&taint), ..new("a", TEXT) };
        assert_eq!(rule(&rules, &Here::default(), change), expected);
    }
    let names: &[&[u8]] =
        &[b"a\nb", b"a\x1b[2Jb", b"\xff", "a\u{202e}b".as_bytes(), b"d/.casemate-0123456789abcdef"];
    for name in names {
        assert_eq!(rule(&rules, &Here::default(), new(*name, TEXT)), "commit.names");
        let known = Proposal { was: Some(Was::File { executable: false }), ..new(*name, TEXT) };
        assert_eq!(rule(&rules, &Here::default(), known), "-");
    }
}

#[test]
fn a_file_may_stay_executable_and_not_become_it() {
    let script = Now::File { bytes: 1, executable: true };
    let was = |executable| Proposal { was: Some(Was::File { executable }), ..new("x", script) };
    let mode = Proposal { now: Now::Mode { executable: true }, ..was(false) };
    for (rules, expected) in [
        (CommitRules::default(), "commit.executables"),
        (CommitRules { executables: true, ..Default::default() }, "-"),
    ] {
        assert_eq!(rule(&rules, &Here::default(), new("x", script)), expected);
        assert_eq!(rule(&rules, &Here::default(), was(false)), expected);
        assert_eq!(rule(&rules, &Here::default(), mode.clone()), expected);
        assert_eq!(rule(&rules, &Here::default(), was(true)), "-");
    }
}

#[test]
fn one_commit_has_bounds_in_files_and_bytes() {
    let rules = CommitRules { bytes: 20, files: 2, ..Default::default() };
    let rules_of = |changes: &[Proposal<'_>]| -> Vec<String> {
        rules.check("/w", changes, &Here::default()).into_iter().map(|refusal| refusal.rule).collect()
    };
    let directories = [new("d", Now::Directory), new("e", Now::Directory), new("f", Now::Directory)];
    assert!(rules_of(&[&directories[..], &[new("a", TEXT), new("b", TEXT)]].concat()).is_empty());
    assert_eq!(rules_of(&[new("a", TEXT), new("b", TEXT), new("c", TEXT)]), ["commit.files", "commit.bytes"]);
    let giant = Now::File { bytes: u64::MAX, executable: false };
    assert_eq!(rules_of(&[new("a", giant), new("b", giant)]), ["commit.bytes"]);
}

#[test]
fn rules_are_within_others_whose_patterns_cover_theirs() {
    let paths = |list: &[&str]| CommitRules { paths: patterns(list), ..CommitRules::default() };
    let unprotect = |list: &[&str]| CommitRules { unprotect: patterns(list), ..CommitRules::default() };
    for (asked, outer, is_within) in [
        (paths(&["src/lib/**"]), paths(&["docs/*", "src/**"]), true),
        (paths(&["src/*.rs"]), paths(&["src/*"]), true),
        (paths(&["src/**"]), paths(&["src/lib/**"]), false),
        (paths(&["src/**"]), paths(&["src/*"]), false),
        (paths(&["src/**"]), paths(&[]), true),
        (paths(&[]), paths(&["src/**"]), false),
        (unprotect(&[".github/workflows/*"]), unprotect(&[".github/**"]), true),
        (unprotect(&[".github/**"]), unprotect(&[]), false),
        (unprotect(&[]), unprotect(&[".github/**"]), true),
    ] {
        assert_eq!(asked.is_within(&outer), is_within, "{asked:?} within {outer:?}");
    }
}

#[test]
fn a_cached_pattern_is_one_that_a_document_can_say() {
    let with = |pattern| CommitRules { paths: vec![pattern], ..CommitRules::default() }.holds();
    assert!(with(Pattern::beneath("src/*.rs").unwrap()) && with(Pattern::beneath("**").unwrap()));
    let words =
        |words: &[&str], rest| Pattern { words: words.iter().map(|word| Word::new(word)).collect(), rest };
    assert!(!with(words(&[".."], Rest::None)) && !with(words(&["a/b"], Rest::None)));
    assert!(!with(words(&["a"], Rest::Some)) && !with(words(&[], Rest::None)));
    assert!(!with(Pattern { words: vec![Word::exact("*")], rest: Rest::None }));
}
