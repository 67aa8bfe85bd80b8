//! With a real solver. Where none is installed these tests are not run, and say so.

#![allow(clippy::unwrap_used, reason = "helpers of tests: what cannot go on fails the test")]

use analysis::{Finding, Prover, QUESTIONS, diff, find, joint, prove};
use policy::engine::Engine;
use policy::{Document, NoLibrary};
use std::io::Write;

fn prover() -> Option<Prover> {
    let Some(found) = find() else {
        if let Some(file) = std::env::var_os("CASEMATE_NOT_RUN") {
            let mut file = std::fs::File::options().append(true).create(true).open(file).unwrap();
            writeln!(file, "analysis: no cvc5 here: {}", analysis::HOW_TO_GET).unwrap();
        }
        return None;
    };
    Some(Prover::start(&found).unwrap())
}

fn document(tail: &str) -> Document {
    let text = format!("version = 1\nname = \"a\"\n{tail}");
    Document::parse(text.as_bytes(), "a", &NoLibrary).unwrap_or_else(|error| panic!("{}", error.plain()))
}

fn opened(old: &str, new: &str) -> Vec<(String, String)> {
    let Some(mut prover) = prover() else { return Vec::new() };
    let (old, new) = (document(old), document(new));
    let diff = diff(&old, &new, &mut prover);
    assert_eq!(diff.unproved, Vec::<String>::new());
    let (old, new) = (Engine::new(&old), Engine::new(&new));
    for opened in &diff.opened {
        let verdicts = [&old, &new].map(|engine| engine.allows(&opened.example).0);
        assert_eq!(verdicts, [false, true], "{}", opened.example);
    }
    diff.opened.iter().map(|opened| (opened.rule.clone(), opened.example.to_string())).collect()
}

#[test]
fn another_directory_behind_a_zone_is_told_though_no_act_is_new() {
    let Some(mut prover) = prover() else { return };
    let read =
        |from: &str| document(&format!("[[files]]\nat = \"/in\"\naccess = \"read\"\nfrom = \"{from}\"\n"));
    let found = diff(&read("./a"), &read("/etc"), &mut prover);
    let wider: Vec<&str> = found.wider.iter().map(|wider| wider.rule.as_str()).collect();
    assert_eq!((wider, found.opened, found.unproved), (vec!["files[1] /in"], vec![], vec![]));
    let found = diff(&read("./a"), &read("./a/b"), &mut prover);
    assert!(found.wider.is_empty() && found.opened.is_empty() && found.unproved.is_empty(), "{found:?}");
}

#[test]
fn what_one_agent_leaves_the_other_carries_on() {
    let Some(mut prover) = prover() else { return };
    let zone = |at: &str, access: &str, from: &str| {
        let host = if access == "write" { "to" } else { "from" };
        format!("[[files]]\nat = \"{at}\"\naccess = \"{access}\"\n{host} = \"{from}\"\n")
    };
    let writer = document(&zone("/out", "write", "/srv/shared"));
    let sends = document(&format!("{NET}{}", zone("/in", "read", "/srv/shared/new")));
    let proof = joint(&writer, &sends, &mut prover);
    let is_told = |finding: &Finding| matches!(finding, Finding::Told(said) if said.contains("`/in`"));
    let is_reached = |finding: &Finding| matches!(finding, Finding::Example(_, policy::Act::Request(_)));
    assert!(proof.findings.iter().any(is_told) && proof.findings.iter().any(is_reached), "{proof:?}");
    // The other way round is the same question.
    let turned = joint(&sends, &writer, &mut prover);
    assert!(turned.findings.iter().any(is_reached), "{turned:?}");
    // What it may reach itself is nothing new; a directory beside is not shared; a write zone begins empty.
    let also = document(&format!("{NET}{}", zone("/out", "write", "/srv/shared")));
    assert!(!joint(&also, &sends, &mut prover).findings.iter().any(is_reached));
    for beside in [zone("/in", "read", "/srv/share"), zone("/in", "write", "/srv/shared")] {
        let beside = document(&format!("{NET}{beside}"));
        let proof = joint(&writer, &beside, &mut prover);
        assert!(matches!(proof.findings.as_slice(), [Finding::Proved(_)]), "{proof:?}");
    }
}

/// Which of several examples a solver finds is its own business: each has to begin as expected.
fn shows(opened: &[(String, String)], expected: &[(&str, &str)]) {
    let fits = |((rule, example), (by, begin)): (&(String, String), &(&str, &str))| {
        rule == by && example.starts_with(begin)
    };
    assert!(
        opened.len() == expected.len() && opened.iter().zip(expected).all(fits),
        "{opened:?}, expected {expected:?}"
    );
}

const GIT: &str = "[[tools]]\nname = \"git\"\nprogram = \"/usr/bin/git\"\nargs = [[\"status\", \"**\"]]\n";

#[test]
fn what_became_possible_is_shown_and_nothing_else() {
    if find().is_none() {
        drop(prover());
        return;
    }
    let out = "[[files]]\nat = \"/out\"\naccess = \"write\"\nto = \"o\"\n";
    assert_eq!(opened("", ""), []);
    assert_eq!(opened(out, ""), []);
    shows(&opened("", out), &[("files[1] /out", "read /out"), ("files[1] /out", "write /out")]);
    assert_eq!(opened("", GIT), []);
    assert_eq!(opened("[compute]\npids = 9\n", "[compute]\npids = 8\n"), []);
    shows(&opened("[compute]\npids = 8\n", "[compute]\npids = 9\n"), &[("compute.pids", "use pids 9")]);
    assert_eq!(
        opened("", "root = true\n").first().map(|(rule, _)| rule.as_str()),
        Some("exec (no [[tools]] rule)")
    );
    let push = GIT.replace("]]\n", "], [\"pu*\"]]\n").replace("[[tools], [\"pu*\"]]", "[[tools]]");
    shows(&opened(GIT, &push), &[("tools git", "exec /usr/bin/git pu")]);
    // The same rules, written otherwise.
    let star = GIT.replace("[[\"status\", \"**\"]]", "[[\"status\"], [\"status\", \"*\", \"**\"]]");
    assert_eq!(opened(GIT, &star), []);
    assert_eq!(opened(&star, GIT), []);
    // A forbid that is gone.
    let forbid = "cedar = 'forbid (principal, action == Action::\"exec\", resource) when { context.name == \"nc\" };'\n";
    assert_eq!(opened("", forbid), []);
    let gone = opened(forbid, "");
    assert_eq!(gone.len(), 1);
    assert!(gone[0].1.ends_with("nc"), "{gone:?}");
}

const NET: &str =
    "[[net.allow]]\nhost = \"**.example.com\"\nports = [443]\nmethods = [\"GET\"]\npaths = [\"/v1/**\"]\n";

#[test]
#[ignore = "a minute of an unoptimised symbolic compiler: `--all`"]
fn requests_are_compared_by_host_port_method_and_path() {
    if find().is_none() {
        drop(prover());
        return;
    }
    shows(&opened("", NET), &[("net[1] **.example.com", "GET https://")]);
    let narrower = NET.replace("**.example.com", "api.example.com");
    assert_eq!(opened(NET, &narrower), []);
    assert_eq!(opened(&narrower, NET).len(), 1);
    assert_eq!(opened(NET, &NET.replace("/v1/**", "/v1/*")), []);
    let asked = "[[ask]]\nwhen = \"net **.example.com\"\nwithin = \"5m\"\n";
    assert_eq!(opened(NET, &format!("{NET}{asked}")), []);
    assert_eq!(opened(&format!("{NET}{asked}"), NET).len(), 1);
}

#[test]
#[ignore = "a minute of an unoptimised symbolic compiler: `--all`"]
fn every_question_is_answered() {
    let Some(mut prover) = prover() else { return };
    let out = "[[files]]\nat = \"/out\"\naccess = \"write\"\nto = \"o\"\n";
    let guard = "cedar = 'forbid (principal, action == Action::\"write\", resource) when { context.path.w1 == \".git\" };'\n";
    let document = document(&format!("{guard}{NET}{out}"));
    for (name, question, _) in QUESTIONS {
        let proof = prove(&document, *question, &mut prover);
        assert!(!proof.findings.is_empty(), "{name}");
        for finding in &proof.findings {
            assert!(!matches!(finding, Finding::Unknown(_)), "{name}: {finding:?}");
        }
        let examples =
            proof.findings.iter().filter(|finding| matches!(finding, Finding::Example(..))).count();
        let expected = match *name {
            "reach" => 1,
            // What the guard leaves: all but `.git/hooks` and `.git/config`.
            "trusted" => 7,
            _ => 0,
        };
        assert_eq!(examples, expected, "{name}: {:?}", proof.findings);
    }
}
