//! Documents within documents.

use policy::{Act, Document, Library, NoLibrary, Policy, shipped};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use std::collections::BTreeMap;

/// Documents by their paths.
struct Shelf(BTreeMap<&'static str, String>);

impl Library for Shelf {
    fn text(&self, path: &str) -> Result<Vec<u8>, String> {
        self.0.get(path).map(|text| text.clone().into_bytes()).ok_or("no such file".to_owned())
    }
}

fn shelf<const N: usize>(documents: [(&'static str, &str); N]) -> Shelf {
    Shelf(documents.map(|(path, tail)| (path, format!("version = 1\nname = \"base\"\n{tail}"))).into())
}

fn document(tail: &str, library: &dyn Library) -> Result<Document, String> {
    let text = format!("version = 1\nname = \"a\"\n{tail}");
    Document::parse(text.as_bytes(), "t.toml", library).map_err(|error| error.plain())
}

fn plain(tail: &str) -> Document {
    document(tail, &NoLibrary).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn what_a_document_leaves_out_it_has_from_the_one_that_it_extends() {
    let base = "root = true\n[walls]\nrequire = [\"own-uid\"]\nlandlock = 3\n[compute]\nmemory = \"1GiB\"\npids = 99\n\
                [lease]\nthen = \"end\"\n[[files]]\nat = \"/in\"\naccess = \"read\"\nfrom = \"./data\"\n";
    let library = shelf([("./sub/base.toml", base)]);
    let tail =
        "extends = \"./sub/base.toml\"\n[compute]\nmemory = \"512MiB\"\n[walls]\nrequire = [\"cpu-limit\"]";
    let got = document(tail, &library).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((got.name.as_str(), got.root, got.landlock_min), ("a", true, 3));
    assert_eq!((got.limits.memory_bytes, got.limits.pids), (512 << 20, 99));
    assert_eq!(got.lease.then, model::Then::End);
    assert_eq!(got.require, [model::Wall::OwnUid, model::Wall::CpuLimit].into_iter().collect());
    // The paths of a base in another directory are seen from the document's own.
    let from: Vec<_> = got.files.iter().map(|zone| zone.access().clone()).collect();
    assert_eq!(from, [policy::Access::Read { from: "./sub/data".to_owned() }]);
    assert!(Policy::load(b"version = 1\nname = \"b\"\nextends = \"default\"", "t", &NoLibrary).is_ok());
}

#[test]
fn a_hash_is_over_all_texts_of_a_chain() {
    let hash = |base: &str| document("extends = \"./b\"", &shelf([("./b", base)])).map(|d| d.hash);
    assert_eq!(hash(""), hash(""));
    assert_ne!(hash(""), hash("# changed"));
    assert_ne!(hash(""), Ok(plain("").hash));
}

#[test]
fn a_document_that_is_wider_than_what_it_extends_is_refused_at_its_rule() {
    let net = "[[net.allow]]\nhost = \"*.example.com\"\nmethods = [\"GET\"]\npaths = [\"/v1/**\"]\nrate = \"10/s\"\nbytes_out = \"1MiB\"\n";
    let files = "[[files]]\nat = \"/in\"\naccess = \"read\"\nfrom = \"./data\"\n[[files]]\nat = \"/out\"\naccess = \"write\"\nto = \"./out\"\n";
    let tools = "[[tools]]\nname = \"git\"\nprogram = \"/usr/bin/git\"\nargs = [[\"status\", \"**\"]]\ntimeout = \"30s\"\n";
    let rule = |tail: &str| format!("[[net.allow]]\nhost = \"a.example.com\"\n{tail}");
    let whole = "methods = [\"GET\"]\npaths = [\"/v1/x\"]\nrate = \"10/s\"\nbytes_out = \"1MiB\"\n";
    for (base, tail, place, phrase) in [
        ("", "root = true".to_owned(), "4:8", "`root` asks for true; the most is false"),
        (
            "tier = \"gvisor\"",
            "tier = \"native\"".to_owned(),
            "4:8",
            "`tier` asks for the tier `native`; the most is the tier `gvisor`",
        ),
        (
            "",
            "[compute]\nmemory = \"513MiB\"".to_owned(),
            "5:10",
            "`compute.memory` asks for 513MiB; the most is 512MiB",
        ),
        ("", "[compute]\nwall = \"none\"".to_owned(), "5:8", "`compute.wall` asks for none; the most is 10m"),
        ("", "[compute]\ncpus = 1.001".to_owned(), "5:8", "`compute.cpus` asks for 1.001; the most is 1.0"),
        ("", "[walls]\nlandlock = 0".to_owned(), "5:12", "`walls.landlock` asks for 0; the most is 1"),
        (
            "[lease]\nthen = \"end\"",
            "[lease]\nthen = \"keep\"".to_owned(),
            "5:8",
            "`lease.then` asks for keep; the most is end",
        ),
        (
            "[lease]\nthen = \"end\"",
            "[lease]\nafter = \"11m\"".to_owned(),
            "5:9",
            "`lease.after` asks for 11m; the most is 10m",
        ),
        (
            "[budget]\nrequests = 5",
            "[budget]\nrequests = 6".to_owned(),
            "5:12",
            "`budget.requests` asks for 6; the most is 5",
        ),
        (
            "[children]\nmost = 1",
            "[children]\nmost = 2".to_owned(),
            "5:8",
            "`children.most` asks for 2; the most is 1",
        ),
        ("", rule(whole), "4:1", "the most is no network"),
        (
            net,
            rule(&whole.replace("methods = [\"GET\"]\n", "")),
            "4:1",
            "`net[1] a.example.com` asks for all methods",
        ),
        (net, rule(&whole.replace("GET", "POST")), "4:1", "asks for POST on"),
        (
            net,
            rule(&whole.replace("/v1/x", "/**")),
            "4:1",
            "the most is GET on *.example.com:443 /v1/**, at most 10/s, 1MiB out",
        ),
        (net, rule(&whole.replace("10/s", "600/m")), "4:1", "asks for"),
        (net, rule(&whole.replace("rate = \"10/s\"\n", "")), "4:1", "asks for"),
        (net, rule(&whole.replace("1MiB", "2MiB")), "4:1", "asks for"),
        (net, rule(&format!("ports = [443, 80]\n{whole}")), "4:1", "asks for"),
        (
            net,
            rule(whole) + &rule(&whole.replace("10/s", "1/s").replace("1MiB", "1KiB")),
            "10:1",
            "`net[2] a.example.com` asks for",
        ),
        (
            net,
            rule(whole).replace("a.example.com", "example.com"),
            "4:1",
            "the most is requests to *.example.com",
        ),
        (net, rule(whole).replace("a.example.com", "**.example.com"), "4:1", "asks for"),
        (
            "",
            files.to_owned(),
            "4:1",
            "`files[1] /in` asks for read of `./data` at `/in`; the most is no zone",
        ),
        (files, files.replace("\"/in\"", "\"/other\""), "4:1", "the most is zones at or beneath /in, /out"),
        (files, files.replace("./data", "./dat"), "4:1", "the most is read of `./data` at `/in`"),
        (files, files.replace("./data", "./data/../x"), "4:1", "the most is read of `./data`"),
        (
            files,
            "[[files]]\nat = \"/in\"\naccess = \"scratch\"".to_owned(),
            "4:1",
            "asks for scratch at `/in`",
        ),
        (files, files.replace("./out", "./elsewhere"), "8:1", "the most is write to `./out` at `/out`"),
        (
            tools,
            tools.replace("status", "push"),
            "4:1",
            "`tools git` asks for /usr/bin/git push **, within 30s; the most is /usr/bin/git status **, within 30s",
        ),
        (tools, tools.replace("30s", "31s"), "4:1", "`tools git`"),
        (tools, tools.replace("timeout = \"30s\"\n", ""), "4:1", "`tools git`"),
        (tools, tools.replace("bin/git", "local/bin/git"), "4:1", "`tools git`"),
        (tools, tools.replace("\"git\"", "\"hg\""), "4:1", "no tool of that name"),
    ] {
        let error =
            document(&format!("extends = \"./b\"\n{tail}"), &shelf([("./b", base)])).expect_err(phrase);
        assert!(
            error.starts_with(&format!("t.toml:{place}: ")) && error.contains(phrase),
            "{phrase}\n{error}"
        );
    }
    for (base, tail) in [
        (net, rule(whole)),
        (
            net,
            rule(&whole.replace("10/s", "4/s").replace("1MiB", "1KiB"))
                + &rule(&whole.replace("10/s", "6/s").replace("1MiB", "1KiB")),
        ),
        (files, "[[files]]\nat = \"/in/x\"\naccess = \"read\"\nfrom = \"data/y\"".to_owned()),
        (files, "[[files]]\nat = \"/out\"\naccess = \"scratch\"".to_owned()),
        (tools, tools.replace("status\", \"**", "status\", \"--short").replace("30s", "1s")),
        ("", tools.to_owned()),
        ("[lease]\nthen = \"freeze\"", "[lease]\nthen = \"end\"\nafter = \"1m\"".to_owned()),
    ] {
        let got = document(&format!("extends = \"./b\"\n{tail}"), &shelf([("./b", base)]));
        assert!(got.is_ok(), "{}", got.err().unwrap_or_default());
    }
}

#[test]
fn what_is_wider_beside_acts_is_told() {
    let read =
        |from: &str, at: &str| format!("[[files]]\nat = \"{at}\"\naccess = \"read\"\nfrom = \"{from}\"\n");
    let net = |more: &str| format!("[[net.allow]]\nhost = \"a.example.com\"\n{more}\n");
    let tool = |name: &str, more: &str| {
        format!("[[tools]]\nname = \"{name}\"\nprogram = \"/usr/bin/git\"\n{more}\n")
    };
    let secret = "[secrets.key]\nfrom = \"env:KEY\"\nheader = \"Authorization: Bearer {}\"\n";
    let walls = "[walls]\nrequire = [\"own-uid\"]\nlandlock = 3\n";
    let wider: &[(&str, &str, &str)] = &[
        (&read("./a", "/in"), &read("./b", "/in"), "files[1] /in"),
        (&read("./a", "/in"), &read("./a", "/tmp/in"), "files[1] /tmp/in"),
        ("", &read("./a", "/home/user/in"), "files[1] /home/user/in"),
        (&net("rate = \"5/m\""), &net(""), "net[1] a.example.com"),
        (&net(""), &(net("secret = \"key\"") + secret), "net[1] a.example.com"),
        (&tool("git", "timeout = \"1m\""), &tool("git", "timeout = \"2m\""), "tools git"),
        (walls, "", "walls.landlock"),
        (walls, "[walls]\nlandlock = 3\n", "walls.require"),
        ("[lease]\nthen = \"end\"\n", "", "lease.then"),
        ("[budget]\nrequests = 5\n", "[budget]\nrequests = 6\n", "budget.requests"),
        ("", "[children]\nmost = 1\n", "children.most"),
        ("tier = \"gvisor\"\n", "", "tier"),
    ];
    for (old, new, rule) in wider {
        let found = plain(new).beside(&plain(old));
        assert!(found.wider.iter().any(|wider| wider.rule == *rule), "{old} -> {new}: {found:?}");
        assert_eq!(plain(old).beside(&plain(old)), policy::Beside::default(), "{old}");
        assert_eq!(plain(new).beside(&plain(new)), policy::Beside::default(), "{new}");
    }
    // What acts tell is left to them.
    for (old, new) in [
        ("", "root = true\n[compute]\nmemory = \"8GiB\"\n"),
        ("", "[[files]]\nat = \"/work\"\naccess = \"scratch\"\n"),
        ("", &net("rate = \"5/m\"")),
        (&tool("git", "timeout = \"1m\""), &tool("git", "timeout = \"1m\"\nargs = [[\"status\"]]")),
    ] {
        assert_eq!(plain(new).beside(&plain(old)), policy::Beside::default(), "{old} -> {new}");
    }
    // Two old rules, of which neither covers the new one: what they bound together, structure does not tell.
    let two = net("methods = [\"GET\"]\nrate = \"5/m\"") + &net("methods = [\"PUT\"]\nrate = \"5/m\"");
    let one = net("methods = [\"GET\", \"PUT\"]\nrate = \"5/m\"");
    assert_eq!(plain(&one).beside(&plain(&two)).unknown, ["net[1] a.example.com"]);
    let renamed = plain(&tool("other", "timeout = \"2m\"")).beside(&plain(&tool("git", "timeout = \"1m\"")));
    assert_eq!(renamed.unknown, ["tools other"]);
}

#[test]
fn a_chain_that_does_not_end_or_cannot_be_read_is_refused() {
    let error = |reference: &str, library: &Shelf| {
        document(&format!("extends = \"{reference}\""), library).expect_err(reference)
    };
    let circle = shelf([("./b", "extends = \"./c\""), ("./c", "extends = \"./b\"")]);
    let said = error("./b", &circle);
    assert!(said.starts_with("t.toml:3:11: "), "{said}");
    assert!(said.contains("a policy extends itself: `t.toml` -> `./b` -> `./c` -> `./b`"), "{said}");
    let long = shelf([
        ("./1", "extends = \"./2\""),
        ("./2", "extends = \"./3\""),
        ("./3", "extends = \"./4\""),
        ("./4", "extends = \"./5\""),
        ("./5", "extends = \"./6\""),
        ("./6", "extends = \"./7\""),
        ("./7", "extends = \"./8\""),
        ("./8", ""),
    ]);
    assert!(error("./1", &long).contains("more than 8 policies are within one another"));
    assert!(document("extends = \"./2\"", &long).is_ok());
    let broken = shelf([("./b", "rot = true")]);
    assert!(error("./b", &broken).contains("`./b` is not a policy: 1 problem: 3:1: unknown key `rot`"));
    for (reference, phrase) in [
        ("lokced", "`lokced` is not a shipped policy"),
        ("base.toml", "`base.toml` is not a shipped policy"),
        ("./none", "cannot be read: no such file"),
        ("~/x", "is not a shipped policy"),
        ("shipped:default", "is not a shipped policy"),
        ("./a\\u0000b", "characters that do not show"),
    ] {
        let said = error(reference, &broken);
        assert!(said.contains(phrase), "{said}");
    }
}

#[test]
fn questions_and_walls_of_the_outer_document_cannot_be_dropped() {
    let tools = "[[tools]]\nname = \"git\"\nprogram = \"/usr/bin/git\"\n";
    let ask = |what: &str| format!("[[ask]]\nwhen = \"tool git {what}\"\nwithin = \"5m\"\n");
    let outer = plain(&format!("{tools}{}", ask("push")));
    let inner = plain(&format!("{tools}{}", ask("commit")));
    let narrowed = inner.narrow(&outer).unwrap();
    let when: Vec<String> = narrowed.ask.iter().map(|ask| ask.when.to_string()).collect();
    assert_eq!(when, ["tool git commit", "tool git push"]);
    let answer = |act: &str| narrowed.allows_plainly(&Act::parse(act).unwrap());
    assert_eq!(answer("tool git push origin"), (false, "ask[2] tool git push".to_owned()));
    assert_eq!(answer("tool git status"), (true, "tools git".to_owned()));
    let longer = plain(&format!("{tools}{}", ask("push").replace("5m", "6m")));
    assert_eq!(longer.narrow(&outer).unwrap_err().rule, "ask[1] tool git push");
}

#[test]
fn the_first_rule_of_the_text_that_exceeds_is_the_one_that_is_told() {
    let outer = plain("");
    let asked = plain(
        "[[files]]\nat = \"/a\"\naccess = \"scratch\"\n[compute]\npids = 1000\nmemory = \"1GiB\"\n[lease]\nafter = \"1h\"",
    );
    assert_eq!(asked.narrow(&outer).unwrap_err().rule, "files[1] /a");
    let asked = plain("[compute]\npids = 1000\nmemory = \"1GiB\"\n");
    assert_eq!(asked.narrow(&outer).unwrap_err().rule, "compute.pids");
}

/// Tails of documents, made of few words so that one often lies within another.
fn tails() -> impl Strategy<Value = String> {
    let size = prop_oneof![Just(8u64), Just(16), Just(512), Just(1024)];
    let compute = (size, 4..6u32, 1..3u32).prop_map(|(memory, pids, cpus)| {
        format!("[compute]\nmemory = \"{memory}MiB\"\npids = {pids}\ncpus = {cpus}\n")
    });
    let hosts = proptest::sample::select(vec![
        "a.example.com",
        "*.example.com",
        "**.example.com",
        "b.a.example.com",
        "example.org",
    ]);
    let methods =
        proptest::sample::select(vec!["", "methods = [\"GET\"]\n", "methods = [\"GET\", \"POST\"]\n"]);
    let paths = proptest::sample::select(vec![
        "",
        "paths = [\"/v1/**\"]\n",
        "paths = [\"/v1/*\", \"/\"]\n",
        "paths = [\"/**\"]\n",
    ]);
    let ports = proptest::sample::select(vec!["", "ports = [80]\n", "ports = [80, 443]\n"]);
    let net = (hosts, methods, paths, ports).prop_map(|(host, methods, paths, ports)| {
        format!("[[net.allow]]\nhost = \"{host}\"\n{methods}{paths}{ports}")
    });
    let args = proptest::sample::select(vec![
        "",
        "args = [[\"status\", \"**\"]]\n",
        "args = [[\"st*\"], [\"push\"]]\n",
        "args = [[\"**\"]]\n",
    ]);
    let tool = (proptest::sample::select(vec!["git", "hg"]), args).prop_map(|(name, args)| {
        format!("[[tools]]\nname = \"{name}\"\nprogram = \"/usr/bin/{name}\"\n{args}")
    });
    let zone = |at: &'static str| {
        proptest::sample::select(vec![
            "scratch\"",
            "read\"\nfrom = \"./d\"",
            "read\"\nfrom = \"./d/e\"",
            "write\"\nto = \"./d\"",
        ])
        .prop_map(move |access| format!("[[files]]\nat = \"{at}\"\naccess = \"{access}\n"))
    };
    let zone = prop_oneof![zone("/a"), zone("/a/b"), zone("/c")];
    let some = |rules: BoxedStrategy<String>, most: usize| {
        proptest::collection::vec(rules, 0..=most).prop_map(|rules| rules.concat())
    };
    (
        any::<bool>(),
        proptest::option::of(compute),
        some(net.boxed(), 2),
        some(tool.boxed(), 1),
        some(zone.boxed(), 1),
        any::<bool>(),
    )
        .prop_map(|(root, compute, net, tools, zones, ask)| {
            let ask = if ask && tools.contains("git") { "[[ask]]\nwhen = \"tool git push\"\n" } else { "" };
            let root = ["", "root = true\n", "root = false\n"][usize::from(root)];
            format!("{root}{}{net}{tools}{zones}{ask}", compute.unwrap_or_default())
        })
}

fn acts() -> Vec<Act> {
    let mut texts: Vec<String> = [
        "use root",
        "use memory 9MiB",
        "use memory 600MiB",
        "use pids 5",
        "use cpus 2.0",
        "use wall 5m",
        "exec as root /usr/bin/git status",
    ]
    .map(str::to_owned)
    .to_vec();
    for path in ["/a/x", "/a/b", "/a/b/x", "/c", "/d", "/tmp/x", "/usr/bin/x", "/ab"] {
        texts.extend(["read", "write", "read as root"].map(|verb| format!("{verb} {path}")));
    }
    for call in ["git", "hg"] {
        for args in ["", " status", " status -s", " stash", " push", " push x"] {
            texts.extend([format!("tool {call}{args}"), format!("exec /usr/bin/{call}{args}")]);
        }
    }
    for host in ["a.example.com", "b.a.example.com", "example.com", "example.org", "localhost"] {
        for path in ["/", "/v1", "/v1/", "/v1/a", "/v1/a/b", "/x"] {
            texts.extend(
                ["GET https", "POST https", "PUT http"].map(|begin| format!("{begin}://{host}{path}")),
            );
        }
    }
    texts.iter().map(|text| Act::parse(text).unwrap_or_else(|error| panic!("{error}"))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_a_narrowed_document_allows_both_allow(asked in tails(), outer in tails()) {
        let (text, asked, outer) = (asked.clone(), plain(&asked), plain(&outer));
        prop_assert_eq!(asked.narrow(&asked).unwrap(), asked.clone());
        let Ok(narrowed) = asked.narrow(&outer) else { return Ok(()) };
        let completed = completed(&text, &asked, &outer);
        for act in acts().iter().filter(|act| narrowed.allows_plainly(act).0) {
            prop_assert!(outer.allows_plainly(act).0, "the outer one denies {act}");
            prop_assert!(completed.allows_plainly(act).0, "the inner one denies {act}");
        }
    }
}

/// What the inner document means within the outer one: what it leaves out it leaves to that one, and denies nothing by it. So
/// where it says nothing about `root`, it does not mean the `false` that a document has on its own.
fn completed(text: &str, asked: &Document, outer: &Document) -> Document {
    let mut whole = asked.clone();
    if !text.contains("root =") {
        whole.root = outer.root;
    }
    // The tails write these three together.
    let written = asked.limits;
    whole.limits = outer.limits;
    if text.contains("[compute]") {
        whole.limits.memory_bytes = written.memory_bytes;
        whole.limits.pids = written.pids;
        whole.limits.cpu_milli = written.cpu_milli;
    }
    if whole.files.is_empty() {
        whole.files.clone_from(&outer.files);
    }
    if whole.net.is_empty() {
        whole.net.clone_from(&outer.net);
    }
    if whole.tools.is_none() {
        whole.tools.clone_from(&outer.tools);
    }
    whole
}

#[test]
fn the_narrowed_pairs_of_the_property_are_not_all_refused() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let pairs = (0..2000).filter(|_| {
        let mut one = || tails().new_tree(&mut runner).unwrap().current();
        plain(&one()).narrow(&plain(&one())).is_ok()
    });
    let narrowed = pairs.count();
    assert!(narrowed > 100, "{narrowed} of 2000");
}

#[test]
fn shipped_policies_can_be_extended() {
    for (name, text) in policy::SHIPPED {
        let within = Document::parse(text.as_bytes(), name, &NoLibrary)
            .unwrap_or_else(|error| panic!("{}", error.plain()));
        let inner = plain(&format!("extends = \"{name}\""));
        assert_eq!((inner.limits, inner.require, inner.net), (within.limits, within.require, within.net));
        assert!(shipped(name).is_some());
    }
}

#[test]
fn a_zone_that_is_only_read_is_not_left_out_where_writers_would_follow() {
    let keep = "[[files]]\nat = \"/home/user/keep\"\naccess = \"read\"\nfrom = \"./reports\"\n";
    let scratch = "[[files]]\nat = \"/s\"\naccess = \"scratch\"\n";
    let library = shelf([("./b", &format!("{keep}{scratch}"))]);
    let error = document(&format!("extends = \"./b\"\n{scratch}"), &library).unwrap_err();
    assert!(error.contains("`files /home/user/keep` asks for writes to `/home/user/keep`"), "{error}");
    assert!(document(&format!("extends = \"./b\"\n{keep}"), &library).is_ok());
    assert!(document("extends = \"./b\"", &library).is_ok());
    // Elsewhere nobody writes without a zone, but root where it is granted.
    let input = "[[files]]\nat = \"/in\"\naccess = \"read\"\nfrom = \"./data\"\n";
    for (root, fits) in [(false, true), (true, false)] {
        let library = shelf([("./b", &format!("root = {root}\n{input}{scratch}"))]);
        let narrowed = document(&format!("extends = \"./b\"\n{scratch}"), &library);
        assert_eq!(narrowed.is_ok(), fits, "{root}: {narrowed:?}");
    }
}

#[test]
fn what_it_has_from_one_document_is_compared_with_another() {
    let (narrow, wide, asked) = (plain(""), plain("root = true\n[compute]\nmemory = \"2GiB\"\n"), plain(""));
    let both = asked.narrow(&narrow).and_then(|asked| asked.narrow(&wide)).unwrap();
    assert!(both.root);
    assert_eq!(both.exceeds(&narrow).map(|exceeds| exceeds.rule), Some("root".to_owned()));
    assert_eq!(both.exceeds(&wide), None);
    let denying = plain("[[examples]]\ndeny = \"use root\"\n").narrow(&wide).unwrap();
    assert!(denying.keeps_denying().unwrap_err().plain().contains("`use root` is allowed"));
    assert!(asked.narrow(&wide).unwrap().keeps_denying().is_ok());
}
