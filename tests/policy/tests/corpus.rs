//! The corpus: cases written by hand, against the reference, the specialised engine, the engine in full, and the policy that
//! a sandbox gets.

#![allow(clippy::unwrap_used, reason = "helpers of tests: what cannot go on fails the test")]

use conformance::judge;
use model::FileOp;
use policy::engine::Engine;
use policy::{Act, Document, ExecRequest, FileRequest, NoLibrary};
use std::path::Path;

struct Theme {
    name: String,
    document: Document,
    cases: Vec<(String, String, String)>,
}

fn themes() -> Vec<Theme> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut paths: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let theme = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        let (policy, cases) = text.split_once("\n---\n").unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let document = Document::parse(policy.as_bytes(), &name, &NoLibrary)
            .unwrap_or_else(|rejected| panic!("{}", rejected.plain()));
        let case = |line: &str| {
            let mut parts = line.splitn(3, " | ").map(str::to_owned);
            (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap())
        };
        Theme { name, document, cases: cases.lines().map(case).collect() }
    };
    paths.iter().map(theme).collect()
}

#[test]
fn every_case_is_decided_as_it_says() {
    let (mut count, mut wrong) = (0, Vec::new());
    for Theme { name, document, cases } in themes() {
        let engine = Engine::new(&document);
        let policy = document.clone().enforce().ok();
        for (verdict, rule, text) in cases {
            count += 1;
            let act = match Act::parse(&text) {
                Ok(act) => act,
                Err(error) => {
                    wrong.push(format!("{name}: {text}: {error}"));
                    continue;
                }
            };
            let mut check = |who: &str, decided: (&str, String)| {
                if decided != (verdict.as_str(), rule.clone()) {
                    wrong.push(format!(
                        "{name}: {text}: expected {verdict} by {rule}, {who} says {} by {}",
                        decided.0, decided.1
                    ));
                }
            };
            let decision = engine.decide(&act);
            check("the engine", (decision.verdict, decision.rule));
            // In full takes long: the random pairs do it more often.
            if count % 8 == 0 {
                let decision = engine.decide_in_full(&act);
                check("the engine in full", (decision.verdict, decision.rule));
            }
            // Conditions of Cedar neither the reference nor the plain reading reads.
            if document.forbids.is_empty() {
                let (allowed, rule) = document.allows_plainly(&act);
                check("the plain reading", (if allowed { "allow" } else { "deny" }, rule));
                let (allowed, rule) = judge(&document, &[], &act);
                check("the reference", (if allowed { "allow" } else { "deny" }, rule));
            }
            if let Some(decided) = policy.as_ref().and_then(|policy| by_policy(policy, &act)) {
                check("the policy", decided);
            }
        }
    }
    assert!(count >= 400, "{count} cases");
    assert_eq!(wrong, Vec::<String>::new(), "{} of {count}", wrong.len());
}

/// What the policy of a sandbox says to an act that it decides about.
fn by_policy(policy: &policy::Policy, act: &Act) -> Option<(&'static str, String)> {
    let file =
        |op, path: &[u8], user| match policy.file(FileRequest { op, path: path.to_vec(), to: None, user }) {
            Ok(permit) => ("allow", permit.decision().rule.clone()),
            Err(denied) => ("deny", denied.rule),
        };
    match act {
        Act::Exec { argv, cwd, user } => {
            let request = ExecRequest {
                argv: argv.clone(),
                cwd: cwd.clone(),
                env: Vec::new(),
                user: *user,
                terminal: None,
            };
            Some(match policy.exec(&request) {
                Ok(permit) => ("allow", permit.decision().rule.clone()),
                Err(denied) => ("deny", denied.rule),
            })
        }
        Act::Read { path, user } => Some(file(FileOp::Read, path, *user)),
        Act::Write { path, user } => Some(file(FileOp::Write, path, *user)),
        _ => None,
    }
}
