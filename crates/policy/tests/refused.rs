//! Documents that are no policy, each with the place and the words of what is wrong with it.

use policy::{Policy, Problem, Rejected};

/// A document that begins like a valid one; what follows begins at line 3.
const HEAD: &str = "version = 1\nname = \"a\"\n";

fn rejected(source: &[u8]) -> Rejected {
    Policy::parse(source, "t.toml")
        .err()
        .unwrap_or_else(|| panic!("accepted: {:?}", String::from_utf8_lossy(source)))
}

/// Documents whose one problem is at `place` and says `phrase`.
fn each_has_its_one_problem(cases: &[(&str, &str, &str)]) {
    let mut wrong = String::new();
    for (source, place, phrase) in cases {
        let rejected = rejected(source.as_bytes());
        let as_expected = match rejected.problems() {
            [Problem { line, column, message, help, .. }] => {
                format!("{line}:{column}") == *place && message.contains(phrase) && !help.is_empty()
            }
            _ => false,
        };
        if !as_expected {
            wrong += &format!("{source:?}\nexpected {place} {phrase}\n{}\n", rejected.plain());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The same, for what follows a valid beginning.
fn each_after_head_has_its_one_problem(cases: &[(&str, &str, &str)]) {
    let cases: Vec<_> =
        cases.iter().map(|(tail, place, phrase)| (format!("{HEAD}{tail}"), *place, *phrase)).collect();
    let cases: Vec<_> =
        cases.iter().map(|(source, place, phrase)| (source.as_str(), *place, *phrase)).collect();
    each_has_its_one_problem(&cases);
}

#[test]
fn a_document_without_its_head_is_refused() {
    each_has_its_one_problem(&[
        ("name = \"a\"", "1:1", "`version` is missing"),
        ("version = 1", "1:1", "`name` is missing"),
        ("version = 2\nname = \"a\"", "1:11", "expected `1`, the only version, found the integer `2`"),
        ("version = 0\nname = \"a\"", "1:11", "found the integer `0`"),
        ("version = -1\nname = \"a\"", "1:11", "found the integer `-1`"),
        ("version = \"1\"\nname = \"a\"", "1:11", "found the string `1`"),
        ("version = 1.0\nname = \"a\"", "1:11", "found the float `1.0`"),
        ("version = 99999999999999999999999\nname = \"a\"", "1:11", "found the integer"),
        ("version = 1\nname = \"\"", "2:8", "found an empty string"),
        ("version = 1\nname = \"A\"", "2:8", "a-z, 0-9 and `-`, found the string `A`"),
        ("version = 1\nname = \"a b\"", "2:8", "found the string `a b`"),
        ("version = 1\nname = \"\u{430}\"", "2:8", "found the string"),
        ("version = 1\nname = 1", "2:8", "found the integer `1`"),
        ("version = 1\nname = 2020-01-01", "2:8", "found a date or time"),
        ("version = 1\nname = \"\\u001b[2J\"", "2:8", r"found the string `\x1b[2J`"),
    ]);
    each_has_its_one_problem(&[(&format!("version = 1\nname = \"{}\"", "a".repeat(65)), "2:8", "…`")]);
}

#[test]
fn a_text_that_does_not_show_all_it_says_is_refused() {
    each_after_head_has_its_one_problem(&[
        ("# \u{0}", "3:3", "U+0000"),
        ("# \u{1b}[2J", "3:3", "U+001B"),
        ("about = \"a\u{202e}b\"", "3:11", "U+202E"),
        ("# é \u{200b}", "3:5", "U+200B"),
        ("about = \"a\u{feff}\"", "3:11", "U+FEFF"),
        ("root = false\rabout = \"x\"", "3:13", "U+000D"),
        ("# \u{7f}", "3:3", "U+007F"),
    ]);
    each_has_its_one_problem(&[("\u{feff}version = 1\nname = \"a\"", "1:1", "byte-order mark")]);
    let bytes: &[(&[u8], (usize, usize), &str)] = &[
        (b"version = 1\nname = \"\xff\"", (2, 9), "the byte 0xff, which is not UTF-8"),
        (b"\xff\xfev\0e\0r\0", (1, 1), "the byte 0xff, which is not UTF-8"),
        (b"# \xc3\xa9 \xed\xa0\x80", (1, 5), "the byte 0xed, which is not UTF-8"),
    ];
    for (source, place, phrase) in bytes {
        let rejected = rejected(source);
        let first = &rejected.problems()[0];
        assert_eq!(((first.line, first.column), rejected.total()), (*place, 1));
        assert!(first.message.contains(phrase), "{}", first.message);
    }
}

#[test]
fn a_document_of_64_kib_is_read_and_one_byte_more_is_refused() {
    let fill = |bytes: usize| format!("{HEAD}#{}", "x".repeat(bytes - HEAD.len() - 1));
    assert!(Policy::parse(fill(65_536).as_bytes(), "t").is_ok());
    each_has_its_one_problem(&[(&fill(65_537), "3:65514", "65537 bytes, expected at most 65536")]);
}

#[test]
fn what_is_no_toml_is_refused() {
    each_after_head_has_its_one_problem(&[
        ("root = ", "3:8", "not TOML"),
        ("root", "3:5", "not TOML"),
        ("about = \"never ends", "3:20", "invalid basic string"),
        ("about = 'never ends", "3:20", "invalid literal string"),
        ("[walls", "3:7", "not TOML"),
        ("about = plain", "3:9", "not TOML"),
        ("about = \"\\q\"", "3:11", "not TOML"),
        ("\u{43d}\u{430} = 1", "3:1", "not TOML"),
        ("root = false root = true", "3:8", "not TOML"),
        ("root\u{a0}= false", "3:5", "U+00A0, which does not show"),
        ("cpus = 1__0", "3:9", "`_` may only go between digits"),
        ("name = \"b\"", "3:1", "`name` is written twice"),
        ("[walls]\nlandlock = 1\n[walls]", "5:2", "`walls` is written twice"),
        ("[compute]\npids = 9\npids = 10", "5:1", "`pids` is written twice"),
        ("[compute]\npids = 9\n\"pids\" = 10", "5:1", "`\"pids\"` is written twice"),
        ("walls = { landlock = 1, landlock = 0 }", "3:25", "`landlock` is written twice"),
    ]);
    let deep = format!("{HEAD}x = {}{}", "[".repeat(500), "]".repeat(500));
    each_has_its_one_problem(&[(&deep, "3:85", "max recursion depth met")]);
    let dotted = format!("{HEAD}root = false\n{}z = 1", "a.".repeat(100));
    each_has_its_one_problem(&[(&dotted, "4:1", "recursion limit")]);
}

#[test]
fn a_key_that_is_unknown_is_refused_with_the_nearest() {
    each_after_head_has_its_one_problem(&[
        ("rot = true", "3:1", "unknown key `rot` in the policy"),
        ("\"\" = true", "3:1", "unknown key `` in the policy"),
        ("\"n\u{430}me\" = true", "3:1", "U+0430, which is not ASCII"),
        ("[wall]\nlandlock = 1", "3:2", "unknown key `wall` in the policy"),
        ("[walls]\nlandlok = 1", "4:1", "unknown key `landlok` in [walls]"),
        ("[compute]\nmem = \"1GiB\"", "4:1", "unknown key `mem` in [compute]"),
        ("[compute.memory_limit]\nx = 1", "3:10", "unknown key `memory_limit` in [compute]"),
        ("[[files]]\nat = \"/a\"\naccess = \"scratch\"\nmode = 1", "6:1", "unknown key `mode` in [[files]]"),
        ("compute.gpus = 1", "3:9", "unknown key `gpus` in [compute]"),
        ("\"\\u001b[2J\" = 1", "3:1", r"unknown key `\x1b[2J`"),
    ]);
    let help = |tail: &str| rejected(format!("{HEAD}{tail}").as_bytes()).problems()[0].help.clone();
    assert_eq!(help("rot = true"), "did you mean `root`?");
    assert_eq!(help("\"n\u{430}me\" = true"), "did you mean `name`?");
    assert_eq!(
        help("x = 1"),
        "use one of: version, name, about, extends, tier, root, walls, compute, lease, files, net, secrets, tools, budget, children, \
         ask, cedar, examples"
    );
    assert_eq!(help("[compute]\nmem = 1"), "did you mean `memory`?");
    assert_eq!(help("[walls]\nseccomp = 1"), "use one of: require, landlock");
    assert_eq!(help("[walls]\nrequire = [\"secomp\"]"), "did you mean `seccomp`?");
}

#[test]
fn what_this_version_does_not_enforce_is_refused_by_name() {
    each_after_head_has_its_one_problem(&[
        ("[[net.allow]]\nhost = \"example.com\"", "3:3", "this version does not enforce `[[net.allow]]`"),
        ("[[tools]]\nname = \"git\"\nprogram = \"/usr/bin/git\"", "3:3", "does not enforce `[[tools]]`"),
        ("[budget]\nrequests = 1", "3:2", "does not enforce `[budget]`"),
        ("[children]\nmost = 4", "3:2", "does not enforce `[children]`"),
        (
            "cedar = \"\"\"\nforbid (principal, action, resource);\n\"\"\"",
            "3:9",
            "does not enforce `cedar policies about `use``",
        ),
        ("tier = \"gvisor\"", "3:8", "does not build the tier `gvisor`"),
        ("tier = \"microvm\"", "3:8", "does not build the tier `microvm`"),
    ]);
}

#[test]
fn rules_of_a_draft_that_cannot_be_kept_are_refused() {
    let draft = |rules: &str| format!("[[files]]\nat = \"/w\"\nfrom = \"./p\"\naccess = \"draft\"\n{rules}");
    let read = "[[files]]\nat = \"/w\"\nfrom = \"./p\"\naccess = \"read\"\ncommit = {}";
    each_after_head_has_its_one_problem(&[
        ("[[files]]\nat = \"/w\"\naccess = \"draft\"", "3:1", "a `draft` zone without `from`"),
        (&draft("to = \"./x\""), "7:1", "a `draft` zone has no `to`"),
        (read, "7:1", "a zone that is no draft has no `commit`"),
        (&draft("commit = true"), "7:10", "expected a table of rules"),
        (&draft("commit = { path = [\"a\"] }"), "7:12", "unknown key `path` in `commit`"),
        (&draft("commit = { paths = [] }"), "7:20", "a list of 1 to 64 patterns"),
        (&draft("commit = { paths = [\"/a\"] }"), "7:21", "begins with `/`"),
        (&draft("commit = { paths = [\"a/**/b\"] }"), "7:21", "`**` may only be the last word"),
        (&draft("commit = { paths = [\"a**\"] }"), "7:21", "a word of its own"),
        (&draft("commit = { paths = [\"a/../b\"] }"), "7:21", "an empty word, `.` or `..`"),
        (&draft("commit = { paths = [\"a?\"] }"), "7:21", "are not pattern characters"),
        (&draft("commit = { unprotect = [1] }"), "7:25", "a pattern of paths"),
        (&draft("commit = { bytes = 10 }"), "7:20", "a size from `1B`"),
        (&draft("commit = { bytes = \"0B\" }"), "7:20", "a size from `1B`"),
        (&draft("commit = { files = 0 }"), "7:20", "an integer from 1 to 1000000"),
        (&draft("commit = { executables = 1 }"), "7:26", "`true` or `false`"),
    ]);
}

#[test]
fn a_value_of_another_kind_or_size_is_refused() {
    each_after_head_has_its_one_problem(&[
        ("about = \"\"", "3:9", "found an empty string"),
        ("about = \"a\\nb\"", "3:9", "expected one line"),
        ("tier = \"Native\"", "3:8", "expected `native`, `gvisor` or `microvm`, found the string `Native`"),
        ("tier = 1", "3:8", "expected `native`, `gvisor` or `microvm`, found the integer `1`"),
        ("root = \"true\"", "3:8", "expected `true` or `false`, found the string `true`"),
        ("root = 1", "3:8", "found the integer `1`"),
        ("walls = []", "3:9", "expected a table, found an empty list"),
        ("[[compute]]\npids = 9", "3:1", "expected a table, found a list"),
        ("[walls]\nrequire = []", "4:11", "expected a list of walls, found an empty list"),
        ("[walls]\nrequire = \"seccomp\"", "4:11", "expected a list of walls, found the string"),
        ("[walls]\nrequire = [1]", "4:12", "expected the name of a wall, found the integer `1`"),
        ("[walls]\nrequire = [\"seccomp\", \"\"]", "4:23", "`` is not a wall"),
        ("[walls]\nrequire = [\"Seccomp\"]", "4:12", "`Seccomp` is not a wall"),
        ("[walls]\nrequire = [\"s\u{435}ccomp\"]", "4:12", "is not a wall"),
        ("[walls]\nrequire = [\"own-uid\", \"own-uid\"]", "4:23", "`own-uid` is required twice"),
        ("[walls]\nrequire = [\"landlock\"]\nlandlock = 0", "4:12", "permits its absence"),
        ("[walls]\nlandlock = -1", "4:12", "from 0 to 16"),
        ("[walls]\nlandlock = 17", "4:12", "from 0 to 16"),
        ("[walls]\nlandlock = true", "4:12", "found the boolean `true`"),
        ("[compute]\ncpus = 0", "4:8", "a number above 0"),
        ("[compute]\ncpus = -0.0", "4:8", "a number above 0"),
        ("[compute]\ncpus = nan", "4:8", "found the float `nan`"),
        ("[compute]\ncpus = inf", "4:8", "found the float `inf`"),
        ("[compute]\ncpus = -1.5", "4:8", "found the float `-1.5`"),
        ("[compute]\ncpus = 0.0005", "4:8", "in steps of 0.001"),
        ("[compute]\ncpus = 1.9999999999", "4:8", "in steps of 0.001"),
        ("[compute]\ncpus = 1024.0000000001", "4:8", "in steps of 0.001"),
        ("[compute]\ncpus = 1024.001", "4:8", "at most 1024"),
        ("[compute]\ncpus = 1e400", "4:8", "found the float"),
        ("[compute]\ncpus = 18446744073709551615", "4:8", "found the integer"),
        ("[compute]\ncpus = \"1\"", "4:8", "found the string `1`"),
        (
            "[compute]\nmemory = 512",
            "4:10",
            "expected a size from `4MiB` to `16TiB`, found the integer `512`",
        ),
        ("[compute]\nmemory = \"512M\"", "4:10", "found the string `512M`"),
        ("[compute]\nmemory = \"1KiB\"", "4:10", "found the string `1KiB`"),
        ("[compute]\nmemory = \"17TiB\"", "4:10", "found the string `17TiB`"),
        ("[compute]\nmemory = \"\u{ff15}12MiB\"", "4:10", "expected a size"),
        ("[compute]\npids = 3", "4:8", "an integer from 4 to 4194304"),
        ("[compute]\npids = -5", "4:8", "found the integer `-5`"),
        ("[compute]\npids = 4194305", "4:8", "found the integer `4194305`"),
        ("[compute]\npids = 1.0", "4:8", "found the float `1.0`"),
        ("[compute]\npids = [256]", "4:8", "found a list"),
        ("[compute]\ndisk = \"\"", "4:8", "found an empty string"),
        ("[compute]\ninodes = 63", "4:10", "an integer from 64 to 4294967296"),
        ("[compute]\nopen_files = 99999999999999999999", "4:14", "an integer from 16 to 1048576"),
        ("[compute]\nwall = 600", "4:8", "a time from `100ms` to `365d`, or `none`"),
        ("[compute]\nwall = \"None\"", "4:8", "found the string `None`"),
        ("[compute]\nwall = \"0s\"", "4:8", "found the string `0s`"),
        ("[compute]\nwall = \"366d\"", "4:8", "found the string `366d`"),
    ]);
}

#[test]
fn a_zone_that_cannot_be_is_refused() {
    each_after_head_has_its_one_problem(&[
        ("files = []", "3:9", "expected a list of zones, found an empty list"),
        ("[files]\nat = \"/a\"", "3:1", "expected a list of zones, found a table"),
        ("files = [\"/a\"]", "3:10", "expected a table, found the string `/a`"),
        ("[[files]]\naccess = \"scratch\"", "3:1", "[[files]] without `at`"),
        ("[[files]]\nat = \"/a\"", "3:1", "[[files]] without `access`"),
        ("[[files]]\nat = 1\naccess = \"scratch\"", "4:6", "expected a place inside, found the integer `1`"),
        ("[[files]]\nat = \"/a\"\naccess = \"raed\"", "5:10", "found the string `raed`"),
        ("[[files]]\nat = \"/a\"\naccess = \"\"", "5:10", "found an empty string"),
        ("[[files]]\nat = \"/a\"\naccess = \"read\"", "3:1", "a `read` zone without `from`"),
        ("[[files]]\nat = \"/a\"\naccess = \"read\"\nfrom = \"\"", "6:8", "found an empty string"),
        (
            "[[files]]\nat = \"/a\"\naccess = \"read\"\nfrom = \"x\"\nto = \"y\"",
            "7:1",
            "a `read` zone has no `to`",
        ),
        ("[[files]]\nat = \"/a\"\naccess = \"read\"\nfrom = \"~/x\"", "6:8", "`~` is the shell's"),
        (
            "[[files]]\nat = \"/a\"\naccess = \"read\"\nfrom = \"a\\u0000b\"",
            "6:8",
            r"`a\x00b` is not a host directory's",
        ),
        ("[[files]]\nat = \"/a\"\naccess = \"write\"", "3:1", "a `write` zone without `to`"),
        ("[[files]]\nat = \"/a\"\naccess = \"write\"\nfrom = \"x\"", "6:1", "a `write` zone has no `from`"),
        (
            "[[files]]\nat = \"/a\"\naccess = \"write\"\nto = true",
            "6:6",
            "expected a host directory, found the boolean",
        ),
        (
            "[[files]]\nat = \"/a\"\naccess = \"scratch\"\nfrom = \"x\"",
            "6:1",
            "a `scratch` zone has no `from`",
        ),
        ("files = [{ at = \"/a\", access = \"read\" }]", "3:10", "a `read` zone without `from`"),
    ]);
    let at = |place: &str| format!("{HEAD}[[files]]\nat = \"{place}\"\naccess = \"scratch\"\n");
    let long = format!("/{}", "a".repeat(256));
    for (place, phrase) in [
        ("input", "not an absolute path"),
        ("/", "not an absolute path in its shortest form"),
        ("/a/", "shortest form"),
        ("/a//b", "shortest form"),
        ("/a/../b", "shortest form"),
        ("/./a", "shortest form"),
        ("/a\\u0000", "characters that a place inside may not have"),
        ("/a\\n", "characters that a place inside may not have"),
        ("/\u{430}", "characters that a place inside may not have"),
        (&long, "too long"),
        ("/proc", "`/proc` belongs to the sandbox's system"),
        ("/usr/local", "`/usr` belongs to the sandbox's system"),
        ("/lib64/x", "`/lib64` belongs to the sandbox's system"),
        ("/var/run", "`/var` belongs to the sandbox's system"),
        ("/home", "has that directory already"),
        ("/home/user", "has that directory already"),
        ("/home/eve", "the only home inside is `/home/user`"),
        ("/tmp", "has that directory already"),
        ("/.hidden", "kept for Casemate"),
    ] {
        each_has_its_one_problem(&[(&at(place), "4:6", phrase)]);
    }
}

#[test]
fn a_lease_that_does_not_say_when_and_what_is_refused() {
    each_after_head_has_its_one_problem(&[
        ("lease = \"10m\"", "3:9", "`lease`: expected a table, found the string `10m`"),
        ("[[lease]]\nthen = \"end\"", "3:1", "expected a table, found a list"),
        ("[lease]\nafter = 600", "4:9", "expected a time from `1s` to `365d`, found the integer `600`"),
        ("[lease]\nafter = \"\"", "4:9", "found an empty string"),
        ("[lease]\nafter = \"10\"", "4:9", "found the string `10`"),
        ("[lease]\nafter = \"none\"", "4:9", "found the string `none`"),
        ("[lease]\nafter = \"999ms\"", "4:9", "found the string `999ms`"),
        ("[lease]\nafter = \"0s\"", "4:9", "found the string `0s`"),
        ("[lease]\nafter = \"366d\"", "4:9", "found the string `366d`"),
        ("[lease]\nafter = \"99999999999999999999d\"", "4:9", "expected a time"),
        ("[lease]\nafter = \"-1m\"", "4:9", "expected a time"),
        (
            "[lease]\nafter = \"1m\"\nthen = \"stop\"",
            "5:8",
            "expected `keep`, `freeze` or `end`, found the string `stop`",
        ),
        ("[lease]\nthen = \"End\"", "4:8", "found the string `End`"),
        ("[lease]\nthen = \"\"", "4:8", "found an empty string"),
        ("[lease]\nthen = true", "4:8", "found the boolean `true`"),
        ("[lease]\nthan = \"end\"", "4:1", "unknown key `than` in [lease]"),
        ("[lease]\nthen = \"end\"\nthen = \"keep\"", "5:1", "`then` is written twice"),
    ]);
    let problem = &rejected(format!("{HEAD}[lease]\nthan = 1").as_bytes()).problems()[0].help.clone();
    assert_eq!(problem, "did you mean `then`?");
}

#[test]
fn zones_that_overlap_or_are_too_many_are_refused() {
    let zone = |at: &str| format!("[[files]]\nat = \"{at}\"\naccess = \"scratch\"\n");
    let zones = |places: &[&str]| places.iter().fold(HEAD.to_owned(), |text, at| text + &zone(at));
    each_has_its_one_problem(&[
        (&zones(&["/a", "/a"]), "7:6", "the zones `/a` and `/a` overlap"),
        (&zones(&["/a", "/a/b"]), "7:6", "the zones `/a/b` and `/a` overlap"),
        (&zones(&["/x", "/a/b", "/a"]), "10:6", "the zones `/a` and `/a/b` overlap"),
    ]);
    let many: Vec<String> = (0..65).map(|n| format!("/z{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(Policy::parse(zones(&many[..64]).as_bytes(), "t").is_ok());
    each_has_its_one_problem(&[(&zones(&many), "195:1", "more than 64 of [[files]]")]);
}

#[test]
fn every_problem_of_a_document_is_told_at_once() {
    let source = "version = 3\nrot = true\n[compute]\nmemory = 512\ncpus = nan\n[[net.allow]]\nhost = \"example.com\"\n";
    assert_eq!(
        rejected(source.as_bytes()).plain(),
        "\
t.toml:1:1: `name` is missing
  help: write it like `name = \"analyst\"`
t.toml:1:11: `version`: expected `1`, the only version, found the integer `3`
  help: write it like `version = 1`
t.toml:2:1: unknown key `rot` in the policy
  help: did you mean `root`?
t.toml:4:10: `memory`: expected a size from `4MiB` to `16TiB`, found the integer `512`
  help: write it like `memory = \"512MiB\"`
t.toml:5:8: `cpus`: expected a number above 0, at most 1024, in steps of 0.001, found the float `nan`
  help: write it like `cpus = 1.5`
t.toml:6:3: this version does not enforce `[[net.allow]]`
  help: remove it: without it the sandbox reaches nothing outside itself
"
    );
}

#[test]
fn a_rejection_is_a_diagnostic_with_source_labels_and_help() {
    use miette::Diagnostic;
    let rejected = rejected(b"version = 1\nname = \"\x1b\"");
    assert_eq!(rejected.to_string(), "`t.toml` is not a policy: 1 problem");
    let related: Vec<_> = rejected.related().into_iter().flatten().collect();
    let label = related[0].labels().into_iter().flatten().next().unwrap();
    assert_eq!((label.offset(), label.len()), (20, 1));
    assert!(related[0].help().is_some());
    let shown = rejected.source_code().unwrap().read_span(label.inner(), 1, 0).unwrap();
    assert_eq!(shown.data(), b"version = 1\nname = \"?");
}
