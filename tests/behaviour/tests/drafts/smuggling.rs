//! Ways to bring something past the commit rules. None works, and after each the original is what it was.

use crate::{ask, drafts, policy, project, tree};
use anyhow::{Context, Result, ensure};
use behaviour::Place;

/// What is to come of it.
enum Then {
    /// The commit is refused by this rule.
    Refused(&'static str),
    /// What was tried cannot be done inside.
    Impossible,
    /// The words of the commit are refused.
    Usage(&'static str),
    /// It is no change at all: there is nothing to commit.
    Nothing,
}
use Then::{Impossible, Nothing, Refused, Usage};

/// One way: what it is, what is done inside, what comes of it.
type Way = (&'static str, &'static str, Then);

const WAYS: &[Way] = &[
    ("an absolute link", "os.symlink('/etc/passwd', 'src/l')", Refused("commit.links")),
    ("a relative link", "os.symlink('../../../etc/passwd', 'src/l')", Refused("commit.links")),
    ("a link to the zone's parent", "os.symlink('..', 'l')", Refused("commit.links")),
    (
        "a link through a link that leads up",
        "os.makedirs('p/q'); os.symlink('../..', 'p/q/up'); os.symlink('up/../x', 'p/q/out')",
        Refused("commit.links"),
    ),
    (
        "a link in the place of a file",
        "os.remove('src/one.txt'); os.symlink('/etc', 'src/one.txt')",
        Refused("commit.links"),
    ),
    (
        "a hard link to a file of the original",
        "os.link('src/one.txt', 'src/two')",
        Refused("commit.hard-links"),
    ),
    (
        "two names for one new file",
        "open('src/a', 'w').write('x'); os.link('src/a', 'src/b')",
        Refused("commit.hard-links"),
    ),
    ("a hook", "open('.git/hooks/pre-commit', 'w').write('x')", Refused("commit.protected")),
    ("a changed hook", "open('.git/hooks/sample', 'a').write('x')", Refused("commit.protected")),
    (
        "the configuration of git",
        "open('.git/config', 'a').write('[core]\\nfsmonitor = evil')",
        Refused("commit.protected"),
    ),
    (
        "another case",
        "os.makedirs('sub/.GIT/Hooks'); open('sub/.GIT/Hooks/pre-commit', 'w').write('x')",
        Refused("commit.protected"),
    ),
    (
        "what Windows cuts off",
        "os.makedirs('sub/.git. /hooks'); open('sub/.git. /hooks/x', 'w').write('x')",
        Refused("commit.protected"),
    ),
    (
        "a letter that folds",
        "os.mkdir('.v\u{17f}code'); open('.v\u{17f}code/tasks.json', 'w').write('x')",
        Refused("commit.protected"),
    ),
    (
        "a letter that does not show",
        "os.mkdir('sub'); open('sub/.g\\u200cit', 'w').write('x')",
        Refused("commit.names"),
    ),
    (
        "a file `.git` that points elsewhere",
        "os.mkdir('sub'); open('sub/.git', 'w').write('gitdir: /tmp/evil')",
        Refused("commit.protected"),
    ),
    ("a link `.git`", "os.mkdir('sub'); os.symlink('../src', 'sub/.git')", Refused("commit.protected")),
    (
        "hooks of a nested repository",
        "os.makedirs('vendor/x/.git/hooks'); open('vendor/x/.git/hooks/post-checkout', 'w').write('x')",
        Refused("commit.protected"),
    ),
    (
        "a module's hooks",
        "os.makedirs('.git/modules/lib/hooks'); open('.git/modules/lib/hooks/x', 'w').write('x')",
        Refused("commit.protected"),
    ),
    (
        "a directory renamed to `.git`",
        "os.makedirs('sub/x/hooks'); open('sub/x/hooks/h', 'w').write('x'); os.rename('sub/x', 'sub/.git')",
        Refused("commit.protected"),
    ),
    (
        "a git directory under another name",
        "os.makedirs('evil/hooks'); open('evil/HEAD', 'w').write('x'); open('evil/config', 'w').write('x')",
        Refused("commit.protected"),
    ),
    (
        "objects of another repository",
        "os.makedirs('.git/objects/info'); open('.git/objects/info/alternates', 'w').write('/x')",
        Refused("commit.protected"),
    ),
    (
        "a directory that hides the hooks",
        "import shutil; shutil.rmtree('.git/hooks'); os.mkdir('.git/hooks'); open('.git/hooks/x', 'w').write('x')",
        Refused("commit.protected"),
    ),
    (
        "a git directory that hides the old one",
        "import shutil; shutil.rmtree('.git'); os.mkdir('.git'); open('.git/index', 'w').write('x')",
        Refused("commit.protected"),
    ),
    ("a pipeline that is gone", "os.remove('.github/workflows/ci.yml')", Refused("commit.protected")),
    ("all pipelines gone", "import shutil; shutil.rmtree('.github')", Refused("commit.protected")),
    (
        "a link in the place of a directory above",
        "import shutil; shutil.rmtree('.github'); os.symlink('src', '.github')",
        Refused("commit.protected"),
    ),
    ("editor settings through a link", "os.symlink('src', '.vscode')", Refused("commit.protected")),
    (
        "a directory in the place of a protected file",
        "os.remove('.envrc'); os.mkdir('.envrc')",
        Refused("commit.protected"),
    ),
    (
        "a new program",
        "open('src/x', 'w').write('x'); os.chmod('src/x', 0o755)",
        Refused("commit.executables"),
    ),
    ("a file that becomes one", "os.chmod('src/one.txt', 0o755)", Refused("commit.executables")),
    ("a file that only others may execute", "os.chmod('src/one.txt', 0o645)", Refused("commit.executables")),
    (
        "a program in the place of a link",
        "os.remove('link'); open('link', 'w').write('x'); os.chmod('link', 0o700)",
        Refused("commit.executables"),
    ),
    ("a set-user-id program", "os.chmod('run.sh', 0o4755)", Refused("commit.mode-bits")),
    ("a set-group-id directory", "os.chmod('src', 0o2755)", Refused("commit.mode-bits")),
    (
        "a capability",
        "os.setxattr('run.sh', 'security.capability', bytes.fromhex('0100000200200000000000000000000000000000'))",
        Impossible,
    ),
    ("an attribute of the overlay: opaque", "os.setxattr('src', 'user.overlay.opaque', b'y')", Nothing),
    (
        "an attribute of the overlay: redirect",
        "os.setxattr('docs', 'user.overlay.redirect', b'/.git/hooks')",
        Nothing,
    ),
    (
        "an attribute of the overlay: metacopy",
        "os.setxattr('src/one.txt', 'user.overlay.metacopy', b'')",
        Nothing,
    ),
    (
        "an attribute of the overlay: whiteout",
        "os.setxattr('src/one.txt', 'user.overlay.whiteout', b'')",
        Nothing,
    ),
    (
        "an overlay attribute of administrators",
        "os.setxattr('src', 'trusted.overlay.opaque', b'y')",
        Impossible,
    ),
    ("a whiteout made by hand", "import stat; os.mknod('src/w', stat.S_IFCHR, os.makedev(0, 0))", Impossible),
    ("a device", "import stat; os.mknod('src/w', stat.S_IFBLK, os.makedev(8, 0))", Impossible),
    ("a FIFO", "os.mkfifo('src/f')", Refused("commit.special")),
    ("a socket", "import socket; socket.socket(socket.AF_UNIX).bind('src/s')", Refused("commit.special")),
    ("a name with a line break", "open('src/a\\nb', 'w').write('x')", Refused("commit.names")),
    ("a name that drives a terminal", "open('src/\\x1b[2J', 'w').write('x')", Refused("commit.names")),
    ("a name that reads backwards", "open('src/\\u202etxt.sh', 'w').write('x')", Refused("commit.names")),
    ("a name that is not UTF-8", "open(b'src/\\xff', 'w').write('x')", Refused("commit.names")),
    ("a name of our own", "open('src/.casemate-0000000000000000', 'w').write('x')", Refused("commit.names")),
    (
        "a hole of a tebibyte",
        "os.truncate(os.open('src/big', os.O_CREAT | os.O_RDWR), 1 << 40)",
        Refused("commit.unreadable"),
    ),
    ("more bytes than permitted", "open('src/big', 'wb').write(b'x' * (65 << 20))", Refused("commit.bytes")),
    (
        "a directory deeper than is walked",
        "
for n in range(200):
    os.mkdir('d'); os.chdir('d')",
        Refused("commit.depth"),
    ),
    ("a path with `..`", "open('src/x', 'w').write('x')", Usage("src/../../project/src/x")),
    ("a path outside", "open('src/x', 'w').write('x')", Usage("/etc/passwd")),
    (
        "a selection through a link",
        "os.symlink('.git/hooks', 'sel'); open('sel/pre-commit', 'w').write('x')",
        Usage("sel/pre-commit"),
    ),
];

behaviour::for_each_profile! {
    nothing_is_smuggled_past_the_rules
    limits_of_a_zone_hold
}

fn nothing_is_smuggled_past_the_rules(place: &Place) -> Result<()> {
    let original = project(place)?;
    let before = tree(&original)?;
    let mut wrong = Vec::new();
    for (what, program, then) in WAYS {
        let tried = one(place, program, then).with_context(|| what.to_string());
        if let Err(error) = tried {
            wrong.push(format!("{error:#}"));
        }
        ensure!(tree(&original)? == before, "{what}: the original changed");
    }
    ensure!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), WAYS.len(), wrong.join("\n"));
    Ok(())
}

fn one(place: &Place, program: &str, then: &Then) -> Result<()> {
    let ended = drafts(place, &[], program)?;
    let failed = ended.code() != 0;
    ensure!(failed == matches!(then, Impossible), "the program ended with {}: {}", ended.code(), ended.err());
    let report = ended.report()?;
    let id = report["sandbox"].as_str().context("no sandbox")?.to_owned();
    let kept = report["drafts"][0]["kept"] == true;
    match then {
        Impossible | Nothing => ensure!(!kept, "something changed: {report}"),
        Refused(rule) => {
            let (code, answer) = ask(place, "commit", &[&id])?;
            let rules: Vec<&str> = answer["refused"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|refusal| refusal["rule"].as_str())
                .collect();
            ensure!(code == 77, "the commit ended with {code}: {answer}");
            ensure!(
                rules.iter().any(|found| found.split(' ').next() == Some(rule)),
                "by other rules: {rules:?}"
            );
        }
        Usage(path) => {
            let (code, answer) = ask(place, "commit", &[&id, path])?;
            ensure!(code == 64, "the commit ended with {code}: {answer}");
        }
    }
    if kept {
        crate::discard(place, &id)?;
    }
    Ok(())
}

fn limits_of_a_zone_hold(place: &Place) -> Result<()> {
    let original = project(place)?;
    let before = tree(&original)?;
    let cases = [
        ("files = 2", "[open(f'src/{n}', 'w').write('x') for n in range(3)]", Some("commit.files")),
        ("bytes = \"10B\"", "open('src/x', 'w').write('x' * 11)", Some("commit.bytes")),
        ("paths = [\"src/*\"]", "open('docs/x', 'w').write('x')", Some("commit.paths")),
        ("paths = [\"src/*\"]", "open('src/deep/x', 'w').write('x')", Some("commit.paths")),
        ("paths = [\"src/*\"]", "os.remove('docs/doc.md')", Some("commit.paths")),
        ("unprotect = [\".github/**\"]", "open('.git/hooks/x', 'w').write('x')", Some("commit.protected")),
        // Last, for it is committed.
        ("unprotect = [\".github/**\"]", "open('.github/workflows/x.yml', 'w').write('x')", None),
    ];
    for (rules, program, rule) in cases {
        let policy = policy(place, rules)?;
        let id = crate::drafted(place, &["--policy", &policy], program)?;
        let (code, answer) = ask(place, "commit", &[&id])?;
        let found = answer["refused"][0]["rule"].as_str().and_then(|rule| rule.split(' ').next());
        ensure!(found == rule, "{rules}: {code} {answer}");
        ensure!(rule.is_none() || tree(&original)? == before, "{rules}: the original changed");
        if rule.is_some() {
            crate::discard(place, &id)?;
        }
    }
    ensure!(original.join(".github/workflows/x.yml").exists());
    Ok(())
}
