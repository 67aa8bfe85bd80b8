//! Random policies and acts: the reference and the engine agree, and the engine specialised and in full.

#![allow(clippy::unwrap_used, reason = "helpers of tests: what cannot go on fails the test")]

use conformance::{When, judge};
use policy::engine::Engine;
use policy::{Act, Document, NoLibrary};

/// A generator whose numbers are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % most as u64).unwrap()
    }

    fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}

const WORDS: &[&str] = &["a", "b", "status", "push", "-c", "a.csv", "b.csv", "x y", "", ".git", "*"];
const PATTERNS: &[&str] = &["a", "status", "*", "*.csv", "a*", "-*", "p*h", "b"];
const PROGRAMS: &[&str] = &["/usr/bin/git", "/usr/bin/ls", "git", "ls", "sh", "/opt/t"];
const PLACES: &[&str] = &["/in", "/out", "/in2", "/data/a", "/data/b", "/home/user/w", "/tmp/z", "/a*"];
const TOPS: &[&str] = &[
    "/in",
    "/out",
    "/in2",
    "/data",
    "/data/a",
    "/data/b",
    "/home/user",
    "/home/user/w",
    "/tmp",
    "/tmp/z",
    "/a*",
    "/ab",
    "/etc",
    "/usr",
    "/proc/self",
    "/proc",
    "/dev",
    "/var/tmp",
    "/var",
    "",
    "/home",
    "/root",
    "/srv",
    "/bin",
    "/nowhere",
];
const HOSTS: &[&str] = &[
    "a.example.com",
    "b.a.example.com",
    "example.com",
    "a.example.org",
    "x.example.net",
    "a.local",
    "10.0.0.1",
];
const HOST_RULES: &[&str] =
    &["a.example.com", "*.example.com", "**.example.com", "**.example.net", "a.example.org"];
const WHENS: &[When] = &[
    When::Name("git"),
    When::Name("sh"),
    When::Argument(0, "*c"),
    When::Argument(1, "a*"),
    When::Argument(2, "*"),
    When::Arguments(2),
    When::Written(0, "i*"),
    When::Written(1, ".git"),
    When::Written(2, "*.csv"),
    When::File("/tmp/a"),
    When::File("/in/a.csv"),
    When::AsRoot,
];

fn patterns(dice: &mut Dice) -> String {
    let mut words: Vec<String> = (0..dice.below(4)).map(|_| format!("\"{}\"", dice.pick(PATTERNS))).collect();
    if words.is_empty() || dice.coin() {
        words.push("\"**\"".to_owned());
    }
    format!("[{}]", words.join(", "))
}

fn policy(dice: &mut Dice) -> (Document, Vec<(String, When)>) {
    let mut text = format!("version = 1\nname = \"r\"\nroot = {}\n", dice.coin());
    let when: Vec<(String, When)> = (0..dice.below(4))
        .map(|place| (format!("r cedar[{}]", place + 1), dice.pick(WHENS).clone()))
        .collect();
    if !when.is_empty() {
        let block: String = when.iter().map(|(_, when)| when.cedar()).collect();
        text += &format!("cedar = '''\n{block}'''\n");
    }
    text += &format!("[compute]\npids = {}\n", 4 + dice.below(8));
    let mut places: Vec<&str> = PLACES.to_vec();
    for _ in 0..dice.below(4) {
        let at = places.remove(dice.below(places.len()));
        let access =
            *dice.pick(&["read\"\nfrom = \"x", "scratch", "write\"\nto = \"y", "draft\"\nfrom = \"z"]);
        text += &format!("[[files]]\nat = \"{at}\"\naccess = \"{access}\"\n");
    }
    for _ in 0..dice.below(3) {
        let host = dice.pick(HOST_RULES);
        let methods = if dice.coin() { "methods = [\"GET\"]\n" } else { "" };
        let paths = if dice.coin() { "paths = [\"/a/**\", \"/b/*.csv\"]\n" } else { "" };
        text += &format!("[[net.allow]]\nhost = \"{host}\"\nports = [443]\n{methods}{paths}");
    }
    if dice.coin() {
        let (mut names, mut programs) =
            (vec!["git", "ls", "t"], vec!["/usr/bin/git", "/usr/bin/ls", "/opt/t"]);
        for _ in 0..1 + dice.below(3) {
            let at = dice.below(names.len());
            let (name, program) = (names.remove(at), programs.remove(at));
            text += &format!("[[tools]]\nname = \"{name}\"\nprogram = \"{program}\"\n");
            if dice.coin() {
                text += &format!("args = [{}]\n", patterns(dice));
            }
        }
    }
    match Document::parse(text.as_bytes(), "r", &NoLibrary) {
        Ok(document) => (document, when),
        Err(rejected) => panic!("{text}\n{}", rejected.plain()),
    }
}

fn act(dice: &mut Dice) -> Act {
    let user = *dice.pick(&[policy::User::User, policy::User::User, policy::User::Root]);
    let words = |dice: &mut Dice| -> Vec<Vec<u8>> {
        (0..dice.below(4)).map(|_| dice.pick(WORDS).as_bytes().to_vec()).collect()
    };
    let path = |dice: &mut Dice| -> Vec<u8> {
        let mut path = dice.pick(TOPS).to_string();
        for _ in 0..dice.below(3) {
            path += &format!("/{}", dice.pick(WORDS));
        }
        if path.is_empty() { b"/".to_vec() } else { path.into_bytes() }
    };
    match dice.below(6) {
        0 | 1 => {
            let argv = std::iter::once(dice.pick(PROGRAMS).as_bytes().to_vec()).chain(words(dice)).collect();
            Act::Exec { argv, cwd: b"/home/user".to_vec(), user }
        }
        2 => Act::Read { path: path(dice), user },
        3 => Act::Write { path: path(dice), user },
        4 => Act::Request(policy::Request {
            method: dice.pick(&["GET", "POST"]).to_string(),
            host: dice.pick(HOSTS).to_string(),
            port: *dice.pick(&[443, 443, 80]),
            path: words(dice).into_iter().filter(|word| !word.is_empty()).collect(),
        }),
        _ => match dice.coin() {
            true => Act::Tool { name: dice.pick(&["git", "ls", "t", "nope"]).to_string(), args: words(dice) },
            false => Act::Use { limit: policy::Limit::Pids, amount: dice.below(16) as u64 },
        },
    }
}

/// Compares on `policies` times `acts`; every `full`-th also in full.
fn compare(seed: u64, policies: usize, acts: usize, full: usize) {
    let mut dice = Dice(seed);
    let mut allowed = 0;
    for _ in 0..policies {
        let (document, when) = policy(&mut dice);
        let engine = Engine::new(&document);
        for number in 0..acts {
            let act = act(&mut dice);
            let decision = engine.decide(&act);
            let (permits, rule) = judge(&document, &when, &act);
            let expected = (if permits { "allow" } else { "deny" }, rule.as_str());
            assert_eq!(
                (decision.verdict, decision.rule.as_str()),
                expected,
                "{act}\n{when:?}\n{document:#?}"
            );
            if document.forbids.is_empty() {
                assert_eq!(document.allows_plainly(&act), (permits, rule), "{act}\n{document:#?}");
            }
            if number % full == 0 {
                assert_eq!(engine.decide_in_full(&act), decision, "{act}\n{when:?}\n{document:#?}");
            }
            allowed += usize::from(permits);
        }
    }
    // Neither side of the answer is rare.
    assert!((policies * acts / 5..policies * acts * 4 / 5).contains(&allowed), "{allowed} allowed");
}

#[test]
fn the_reference_and_the_engine_agree_on_a_slice() {
    compare(0x5eed, 30, 40, 20);
}

#[test]
#[ignore = "10,000 pairs, each in full too: `--all`"]
fn the_reference_and_the_engine_agree_on_ten_thousand_pairs() {
    compare(0xca5e, 250, 40, 1);
}
