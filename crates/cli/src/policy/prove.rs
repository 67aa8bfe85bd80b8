//! `casemate policy diff` and `casemate policy prove`.

use super::document;
use crate::Exit;
use crate::output::{self, Form};
use analysis::{Finding, Found, HOW_TO_GET, Proof, Prover, QUESTIONS};
use policy::Document;
use serde_json::{Value, json};
use std::ffi::OsStr;

pub(super) fn diff(old: &OsStr, new: &OsStr, form: Form) -> Exit {
    let (old, new) = match (rooted(old, form), rooted(new, form)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(exit), _) | (_, Err(exit)) => return exit,
    };
    // The same text in the same place needs no solver.
    if old == new {
        return tell_diff(&analysis::Diff::default(), form);
    }
    let solver = analysis::find();
    if solver.is_none() && analysis::is_within(&new, &old) {
        match form {
            Form::Json => output::print(
                &json!({"opened": [], "wider": [], "unproved": [], "proved": true, "by": "structure"})
                    .to_string(),
            ),
            Form::Text => output::print("nothing became possible: not wider, by structure"),
        }
        return Exit::Ok;
    }
    let mut prover = match prover(solver, form) {
        Ok(prover) => prover,
        Err(exit) => return exit,
    };
    tell_diff(&analysis::diff(&old, &new, &mut prover), form)
}

fn tell_diff(found: &analysis::Diff, form: Form) -> Exit {
    match form {
        Form::Json => {
            let opened: Vec<Value> = found
                .opened
                .iter()
                .map(|opened| {
                    json!({"rule": opened.rule, "example": opened.example.to_string(), "asked": opened.asked})
                })
                .collect();
            let wider: Vec<Value> = found
                .wider
                .iter()
                .map(|wider| json!({"rule": wider.rule, "asked": wider.asked, "before": wider.most}))
                .collect();
            let proved = opened.is_empty() && wider.is_empty() && found.unproved.is_empty();
            let all = json!({"opened": opened, "wider": wider, "unproved": found.unproved, "proved": proved});
            output::print(&all.to_string());
        }
        Form::Text => {
            for opened in &found.opened {
                let asked = if opened.asked { ", once a person agrees" } else { "" };
                output::print(&format!("opened by `{}`{asked}: {}", opened.rule, opened.example));
            }
            for wider in &found.wider {
                output::print(&format!("wider by `{}`: {}; before: {}", wider.rule, wider.asked, wider.most));
            }
            for unproved in &found.unproved {
                output::print(&format!("not known: {unproved}"));
            }
            if is_no_wider(found) && found.unproved.is_empty() {
                output::print("nothing became possible: proved for all acts");
            }
        }
    }
    match (is_no_wider(found), found.unproved.is_empty()) {
        (false, _) => Exit::NotSound,
        (true, false) => Exit::NotKnown,
        (true, true) => Exit::Ok,
    }
}

fn is_no_wider(found: &analysis::Diff) -> bool {
    found.opened.is_empty() && found.wider.is_empty()
}

/// A document whose host paths are seen from where it is.
fn rooted(word: &OsStr, form: Form) -> Result<Document, Exit> {
    let (document, _) = document(word, form)?;
    let directory =
        std::path::absolute(word).ok().and_then(|path| path.parent()?.to_str().map(str::to_owned));
    Ok(match directory {
        Some(directory) => document.rooted(&directory),
        None => document,
    })
}

/// The question about two policies.
const JOINT: (&str, &str) = ("joint", "what do two agents reach together that share a directory?");

pub(super) fn prove(policy: &OsStr, question: &str, other: Option<&OsStr>, form: Form) -> Exit {
    let known = QUESTIONS.iter().find(|(name, _, _)| *name == question);
    let asked = match (known, other) {
        (Some((_, _, asked)), None) => asked,
        (None, Some(_)) if question == JOINT.0 => JOINT.1,
        _ => return unknown(question, form),
    };
    let (document, other) = match (rooted(policy, form), other.map(|other| rooted(other, form)).transpose()) {
        (Ok(document), Ok(other)) => (document, other),
        (Err(exit), _) | (_, Err(exit)) => return exit,
    };
    let mut prover = match prover(analysis::find(), form) {
        Ok(prover) => prover,
        Err(exit) => return exit,
    };
    let proof = match (known, &other) {
        (Some((_, question, _)), _) => analysis::prove(&document, *question, &mut prover),
        (None, Some(other)) => analysis::joint(&document, other, &mut prover),
        (None, None) => return unknown(question, form),
    };
    tell_proof(&proof, asked, form)
}

fn unknown(question: &str, form: Form) -> Exit {
    let names: Vec<&str> = QUESTIONS.iter().map(|(name, _, _)| *name).collect();
    let message = format!("`{}` is no question that can be answered so", model::quote(question));
    let mend = format!("ask one of: {}; or, of two policies, {} OTHER", names.join(", "), JOINT.0);
    output::failure(form, &message, Some(&mend), Exit::Usage)
}

fn tell_proof(proof: &Proof, asked: &str, form: Form) -> Exit {
    let mut exit = Exit::Ok;
    let mut told = Vec::new();
    for finding in &proof.findings {
        let (kind, said, act) = match finding {
            Finding::Proved(said) => ("proved", said, None),
            Finding::Example(said, act) => ("example", said, Some(act.to_string())),
            Finding::Told(said) => ("told", said, None),
            Finding::Unknown(said) => ("not known", said, None),
        };
        exit = match (finding, exit) {
            (Finding::Unknown(_), _) => Exit::NotKnown,
            (Finding::Example(..), Exit::Ok) => Exit::NotSound,
            (_, exit) => exit,
        };
        told.push((kind, said, act));
    }
    match form {
        Form::Json => {
            let findings: Vec<Value> = told
                .iter()
                .map(|(kind, said, act)| json!({"kind": kind, "said": said, "example": act}))
                .collect();
            output::print(&json!({"question": asked, "findings": findings}).to_string());
        }
        Form::Text => {
            output::print(asked);
            for (kind, said, act) in told {
                let act = act.map_or_else(String::new, |act| format!(": {act}"));
                output::print(&format!("  {kind}: {said}{act}"));
            }
        }
    }
    exit
}

/// A solver, or the word that nothing can be proved without one.
fn prover(solver: Option<Found>, form: Form) -> Result<Prover, Exit> {
    let missing = || {
        let message = "not known: there is no solver here, and without one nothing is proved";
        output::failure(form, message, Some(HOW_TO_GET), Exit::NotKnown)
    };
    let solver = solver.ok_or_else(missing)?;
    Prover::start(&solver).map_err(|error| {
        output::failure(form, &format!("not known: {error}"), Some(HOW_TO_GET), Exit::NotKnown)
    })
}
