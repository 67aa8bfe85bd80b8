//! `casemate diff`, `commit` and `discard`: what a sandbox changed in its draft zones. Names and text are a stranger's and
//! are neutralised.

mod hunks;

use crate::args::{Commit, Diff, Discard};
use crate::output::{self, Form, neutral};
use crate::remote::launcher;
use crate::{Exit, run};
use model::SandboxId;
use node::State;
use node::draft::{
    self, Act, Attribution, CommitOutcome, Committed, Contents, Error, Kept, Shown, TextOf, What,
    commit_kept as apply, discard as drop_draft,
};
use std::collections::HashMap;
use std::fmt::Write;
use std::os::unix::ffi::OsStringExt;

/// The draft of a sandbox: one that was kept, or what it is in this moment where the sandbox lives.
fn open(state: &State, id: SandboxId, form: Form) -> Result<Kept, Exit> {
    let kept = match draft::is_living(state.path(), id) {
        false => Kept::open(state.path(), id),
        true => {
            let disk = launcher::disk(state, id)
                .map_err(|error| output::error(form, &error, Some(&error.mend()), Exit::Failed))?;
            disk.map_or(Err(Error::None(id)), |disk| draft::snapshot(state.path(), id, &disk))
        }
    };
    kept.map_err(|error| fail(form, &error))
}

fn fail(form: Form, error: &Error) -> Exit {
    let exit = match error {
        Error::None(_) => Exit::NoSandbox,
        Error::NothingAt(_) | Error::Path { .. } => Exit::Usage,
        Error::Moved(_)
        | Error::NoExchange(_)
        | Error::TooMany
        | Error::TooManyChanges
        | Error::TooDeep { .. }
        | Error::AfterSetUp => Exit::Zone,
        Error::Damaged(_) => Exit::State,
        Error::Ledger(_) => Exit::Ledger,
        Error::Busy | Error::Interrupted | Error::Lives | Error::Call { .. } => Exit::System,
    };
    output::error(form, error, error.mend(), exit)
}

pub(crate) fn diff(args: &Diff) -> Exit {
    let form = Form::of(args.json);
    let state = match run::state(&args.state, form) {
        Ok(state) => state,
        Err(exit) => return exit,
    };
    let Some(id) = args.id else { return list(&state, form) };
    let kept = match open(&state, id, form) {
        Ok(kept) => kept,
        Err(exit) => return exit,
    };
    let contents = if args.stat || form == Form::Json { Contents::Left } else { Contents::Read };
    let changes = draft::show(&kept, contents);
    match form {
        Form::Json => {
            let (mut commands, mut operations) = (Vec::new(), Vec::new());
            for act in kept.acts() {
                match &act.what {
                    What::Command { exec, argv } => commands.push((exec, argv)),
                    What::Operation { record, done } => operations.push((record, done)),
                }
            }
            let answer = serde_json::json!({
                "sandbox": id, "commands": commands, "operations": operations, "changes": changes,
            });
            output::print(&answer.to_string());
        }
        Form::Text => output::print(text(&changes, kept.acts()).trim_end()),
    }
    kept.done().map_or_else(|error| fail(form, &error), |()| Exit::Ok)
}

fn list(state: &State, form: Form) -> Exit {
    let ids = match draft::list(state.path()) {
        Ok(ids) => ids,
        Err(error) => return fail(form, &error),
    };
    let living = draft::living(state.path());
    let mut rows: Vec<serde_json::Value> =
        living.iter().map(|id| serde_json::json!({"sandbox": id, "lives": true})).collect();
    // One of a sandbox that lives is only what a commit of it was in the middle of.
    for id in ids.into_iter().filter(|id| !living.contains(id)) {
        match Kept::open(state.path(), id) {
            Ok(kept) => {
                let zones: Vec<String> =
                    kept.places().map(|(at, from)| format!("{at} over {}", from.display())).collect();
                rows.push(serde_json::json!({"sandbox": id, "changes": kept.changes(), "zones": zones}));
            }
            Err(error) => rows.push(serde_json::json!({"sandbox": id, "problem": error.to_string()})),
        }
    }
    if form == Form::Json {
        output::print(&serde_json::Value::Array(rows).to_string());
        return Exit::Ok;
    }
    for row in rows {
        let id = row["sandbox"].as_str().unwrap_or_default();
        match row["problem"].as_str() {
            None if row["lives"] == true => output::print(&format!("{id}  lives")),
            Some(problem) => output::print(&format!("{id}  {}", neutral(problem))),
            None => {
                let zones: Vec<String> = row["zones"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|z| z.as_str())
                    .map(neutral)
                    .collect();
                output::print(&format!("{id}  {} paths  {}", row["changes"], zones.join(", ")));
            }
        }
    }
    Exit::Ok
}

/// A line for each change, then the text of those that have one.
fn text(changes: &[Shown], acts: &[Act]) -> String {
    let mut text = String::new();
    let operations: HashMap<u64, &str> = acts
        .iter()
        .filter_map(|act| match &act.what {
            What::Operation { record, done } => Some((*record, done.as_str())),
            What::Command { .. } => None,
        })
        .collect();
    for change in changes {
        let mut line = format!("{:<8} {}", change.kind.word(), neutral(&change.path));
        match (change.what, change.bytes, &change.target) {
            (_, _, Some(target)) => drop(write!(line, " -> {}", neutral(target))),
            (Some(what), Some(bytes), _) => drop(write!(line, "  {what}, {bytes} bytes")),
            (Some(what), None, _) => drop(write!(line, "  {what}")),
            (None, ..) => {}
        }
        line.push_str(&by(&change.by, &operations));
        if let Some(never) = &change.never {
            let _ = write!(line, "  never committed: {}", neutral(never));
        }
        let _ = writeln!(text, "{line}");
    }
    for change in changes {
        let Some(TextOf { old, new }) = &change.text else { continue };
        let path = neutral(&change.path);
        let _ = write!(text, "\n--- {path}\n+++ {path}\n");
        text.push_str(&hunks::unified(old, new));
    }
    if changes.is_empty() {
        text.push_str("nothing changed");
    }
    text
}

/// Who made a change, or who of whom may have.
fn by(by: &Attribution, operations: &HashMap<u64, &str>) -> String {
    let operation = |record: &u64| {
        format!("{} (record {record})", neutral(operations.get(record).copied().unwrap_or_default()))
    };
    let mut names: Vec<String> = by.commands.iter().map(|exec| format!("#{exec}")).collect();
    names.extend(by.operations.iter().map(operation));
    if by.more {
        names.push("others".to_owned());
    }
    match by.certain {
        true => format!("  by {}", names.join("")),
        false if names.is_empty() => "  by no known command".to_owned(),
        false => format!("  by one of {}", names.join(", ")),
    }
}

pub(crate) fn commit(args: Commit) -> Exit {
    let form = Form::of(args.json);
    let state = match run::state(&args.state, form) {
        Ok(state) => state,
        Err(exit) => return exit,
    };
    let paths: Vec<Vec<u8>> = args.paths.into_iter().map(OsStringExt::into_vec).collect();
    let kept = match open(&state, args.id, form) {
        Ok(kept) => kept,
        Err(exit) => return exit,
    };
    let outcome = match apply(&state, kept, &paths) {
        Ok(outcome) => outcome,
        Err(error) => return fail(form, &error),
    };
    match form {
        Form::Json => output::print(&as_json(&outcome).to_string()),
        Form::Text => tell(&outcome, args.id),
    }
    match outcome {
        CommitOutcome::Committed(_) => Exit::Ok,
        CommitOutcome::Conflicts(_) => Exit::NotSound,
        CommitOutcome::Refused(_) => Exit::Denied,
    }
}

fn as_json(outcome: &CommitOutcome) -> serde_json::Value {
    match outcome {
        CommitOutcome::Committed(committed) => serde_json::json!({"committed": committed}),
        CommitOutcome::Conflicts(conflicts) => serde_json::json!({"conflicts": conflicts}),
        CommitOutcome::Refused(refusals) => serde_json::json!({"refused": refusals}),
    }
}

fn tell(outcome: &CommitOutcome, id: SandboxId) {
    match outcome {
        CommitOutcome::Committed(Committed { changes, bytes, remaining, resumed, left }) => {
            let done = if *resumed { "completed a commit that was cut short: " } else { "" };
            output::print(&format!("casemate: {done}{changes} paths, {bytes} bytes committed"));
            for name in left {
                output::say(&format!(
                    "casemate: somebody changed what was removed; it is kept as {}",
                    neutral(name)
                ));
            }
            if *remaining > 0 {
                output::print(&format!(
                    "casemate: {remaining} paths of the draft are left: `casemate diff {id}`"
                ));
            }
        }
        CommitOutcome::Conflicts(conflicts) => {
            for conflict in conflicts {
                output::say(&format!("conflict {}: {}", neutral(&conflict.path), conflict.why));
            }
            output::say(
                "casemate: the host directory has changed since the zone opened; nothing was committed",
            );
            output::say("  help: commit the other PATHs, or bring those in by hand");
        }
        CommitOutcome::Refused(refusals) => {
            for refusal in refusals {
                output::say(&format!("refused by {}: {}", neutral(&refusal.rule), neutral(&refusal.asked)));
                if let Some(nearest) = &refusal.nearest_allowed {
                    output::say(&format!("  allowed: {nearest}"));
                }
                output::say(&format!("  help: {}", refusal.how_to_ask));
            }
            output::say("casemate: the zone's commit rules refuse this; nothing was committed");
        }
    }
}

pub(crate) fn discard(args: &Discard) -> Exit {
    let form = Form::of(args.json);
    let state = match run::state(&args.state, form) {
        Ok(state) => state,
        Err(exit) => return exit,
    };
    match drop_draft(&state, args.id) {
        Ok(done) => {
            match form {
                Form::Json => {
                    output::print(
                        &serde_json::json!({"sandbox": args.id, "discarded": done.changes}).to_string(),
                    );
                }
                Form::Text => output::print(&format!("casemate: {} paths discarded", done.changes)),
            }
            Exit::Ok
        }
        Err(error) => fail(form, &error),
    }
}
