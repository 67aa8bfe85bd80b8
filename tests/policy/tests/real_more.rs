//! Commands and limits against a real sandbox: what is denied does not run and names its rule; what is below a limit works, and
//! what is above it meets the limit.
//!
//! `CASEMATE_BIN` names the program (default: the release build of this workspace).

#![allow(clippy::unwrap_used, reason = "helpers of tests: what cannot go on fails the test")]

use conformance::{When, judge};
use policy::{Act, Document, Limit, NoLibrary, User};
use std::path::{Path, PathBuf};
use std::process::Output;

/// Programs that end with 0 whatever they are told, by path and by name.
const PROGRAMS: &[&str] = &["/usr/bin/true", "/bin/echo", "true", "echo", "/usr/bin/printf", "printf"];
const WORDS: &[&str] = &["a", "push", "x y", "", "*", "line\nbreak", "-n", "\u{e9}"];
const WHENS: &[When] = &[
    When::Name("echo"),
    When::Name("printf"),
    When::Argument(0, "pu*"),
    When::Argument(1, "*y"),
    When::Argument(1, "line*break"),
    When::Argument(2, "*"),
    When::Arguments(2),
    When::AsRoot,
];

/// A generator whose numbers are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % most as u64).unwrap()
    }
}

fn run(directory: &Path, text: &str, words: &[&str], argv: &[Vec<u8>]) -> Output {
    use std::os::unix::ffi::OsStrExt;
    let binary = std::env::var_os("CASEMATE_BIN").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/release/casemate")),
        PathBuf::from,
    );
    let file = directory.join("policy.toml");
    std::fs::write(&file, text).unwrap();
    #[allow(clippy::disallowed_methods)] // The program under test.
    let mut command = std::process::Command::new(binary);
    command.args(["run", "--state"]).arg(directory.join("state")).arg("--policy").arg(file).args(words);
    command.arg("--").args(argv.iter().map(|word| std::ffi::OsStr::from_bytes(word)));
    command.output().unwrap()
}

/// Random policies and commands: each command is one sandbox.
fn commands(seed: u64, count: usize) {
    let mut dice = Dice(seed);
    let directory = tempfile::tempdir().unwrap();
    let (mut allowed, mut wrong) = (0, Vec::new());
    for _ in 0..count {
        let root = dice.below(2) == 0;
        let when: Vec<(String, When)> = (0..dice.below(4))
            .map(|place| (format!("r cedar[{}]", place + 1), WHENS[dice.below(WHENS.len())].clone()))
            .collect();
        let mut text = format!("version = 1\nname = \"r\"\nroot = {root}\n");
        if !when.is_empty() {
            let block: String = when.iter().map(|(_, when)| when.cedar()).collect();
            text += &format!("cedar = '''\n{block}'''\n");
        }
        text += "[walls]\nlandlock = 0\n";
        let document = Document::parse(text.as_bytes(), "r", &NoLibrary).unwrap();
        let user = if dice.below(4) == 0 { User::Root } else { User::User };
        let mut argv = vec![PROGRAMS[dice.below(PROGRAMS.len())].as_bytes().to_vec()];
        if String::from_utf8_lossy(&argv[0]).ends_with("printf") {
            // What it prints first is a format.
            argv.push(b"a".to_vec());
        }
        argv.extend((0..dice.below(4)).map(|_| WORDS[dice.below(WORDS.len())].as_bytes().to_vec()));
        let home = if user == User::Root { b"/root".to_vec() } else { b"/home/user".to_vec() };
        let act = Act::Exec { argv: argv.clone(), cwd: home, user };
        let (permits, rule) = judge(&document, &when, &act);
        let words: &[&str] = if user == User::Root { &["--root"] } else { &[] };
        let output = run(directory.path(), &text, words, &argv);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_right = match permits {
            true => output.status.code() == Some(0),
            false => output.status.code() == Some(77) && said.contains(&format!("by the rule `{rule}`")),
        };
        if !is_right {
            wrong.push(format!("{act}: expected {permits} by {rule}: {} {said}\n{text}", output.status));
        }
        allowed += usize::from(permits);
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!((count / 8..count * 7 / 8).contains(&allowed), "{allowed} of {count} allowed");
}

#[test]
fn a_real_sandbox_runs_what_is_allowed_and_names_the_rule_of_what_is_not() {
    commands(0x5eed, 120);
}

#[test]
#[ignore = "500 sandboxes: `--all`"]
fn five_hundred_commands_run_or_are_denied_as_the_reference_says() {
    commands(0xca5e, 500);
}

/// Takes as much as there is of three limits, and says how much that was.
const TAKE: &str = r"
import os, errno
held = []
try:
    while len(held) < 4096: held.append(os.open('/dev/null', os.O_RDONLY))
except OSError as error: assert error.errno == errno.EMFILE, error
most = len(held) + 3
for one in held: os.close(one)
print('open_files', most)
made = 0
try:
    while made < 100000:
        os.close(os.open(f'/tmp/{made}', os.O_CREAT | os.O_WRONLY)); made += 1
except OSError as error: assert error.errno == errno.ENOSPC, error
for n in range(made): os.unlink(f'/tmp/{n}')
print('inodes', made)
written, file = 0, os.open('/tmp/big', os.O_CREAT | os.O_WRONLY)
try:
    while written < 1 << 30: written += os.write(file, b'x' * 65536)
except OSError as error: assert error.errno == errno.ENOSPC, error
print('disk', written)
os.close(file); os.unlink('/tmp/big')
children = []
try:
    while len(children) < 1000:
        pid = os.fork()
        if pid == 0:
            import signal; signal.pause()
        children.append(pid)
except OSError as error: assert error.errno == errno.EAGAIN, error
print('pids', len(children) + 1)
for pid in children: os.kill(pid, 9)
";

#[test]
fn below_a_limit_a_real_sandbox_works_and_above_it_it_meets_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    let mut tried = 0;
    for (open_files, inodes, disk_mib, pids) in [(64, 500, 8, 16), (200, 2000, 3, 40), (33, 333, 17, 9)] {
        let text = format!(
            "version = 1\nname = \"r\"\n[walls]\nlandlock = 0\n[compute]\nopen_files = {open_files}\n\
             inodes = {inodes}\ndisk = \"{disk_mib}MiB\"\npids = {pids}\nmemory = \"256MiB\"\n"
        );
        let document = Document::parse(text.as_bytes(), "r", &NoLibrary).unwrap();
        let python = ["python3", "-c", TAKE].map(|word| word.as_bytes().to_vec());
        let output = run(directory.path(), &text, &[], &python);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
        for line in said.lines() {
            let (name, most) = line.split_once(' ').unwrap();
            let most: u64 = most.parse().unwrap();
            let limit = *Limit::ALL.iter().find(|limit| limit.name() == name).unwrap();
            let granted = limit.of(&document.limits).unwrap();
            // What the sandbox itself takes of it: its first process and the one above the command. And
            // what it adds for its own directories, of which the command has what is left (`OWN_BYTES` and `OWN_INODES` of `jail`).
            let (taken, added) = match limit {
                Limit::Pids => (3, 0),
                Limit::Disk => (0, 1 << 20),
                Limit::Inodes => (0, 512),
                _ => (0, 0),
            };
            for amount in [1, granted / 2, granted - taken, granted + added + 1, 2 * (granted + added)] {
                let works = amount <= most;
                let (permits, rule) = judge(&document, &[], &Act::Use { limit, amount });
                assert_eq!(permits, works, "use {name} {amount}: by {rule}, taken were {most}\n{text}");
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 60, "five amounts of four limits in three sandboxes");
}

#[test]
fn more_memory_than_the_limit_ends_a_real_sandbox_and_less_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let text = "version = 1\nname = \"r\"\n[walls]\nlandlock = 0\n[compute]\nmemory = \"128MiB\"\ndisk = \"16MiB\"\n";
    let document = Document::parse(text.as_bytes(), "r", &NoLibrary).unwrap();
    for mib in [8_u64, 64, 256, 512] {
        let amount = mib << 20;
        let (permits, _) = judge(&document, &[], &Act::Use { limit: Limit::Memory, amount });
        let take = format!("held = bytearray({amount}); held[::4096] = b'x' * len(held[::4096])");
        let python = ["python3", "-c", &take].map(|word| word.as_bytes().to_vec());
        let output = run(directory.path(), text, &[], &python);
        assert_eq!(output.status.success(), permits, "{mib} MiB: {}", output.status);
    }
}
