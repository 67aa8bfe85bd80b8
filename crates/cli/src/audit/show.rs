//! `casemate audit show`.

use super::line;
use crate::Exit;
use crate::args::State as StateArgs;
use crate::output::{self, Form};
use ledger::Entry;
use model::SandboxId;
use serde_json::Value;
use std::io::{self, BufWriter, Write};

/// Why no more is shown.
enum Stop {
    /// The reader of our output has gone.
    Closed,
    /// Our output cannot be written.
    Output(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        if error.kind() == io::ErrorKind::BrokenPipe { Stop::Closed } else { Stop::Output(error) }
    }
}

pub(super) fn show(sandbox: Option<&str>, form: Form, state: &StateArgs) -> Exit {
    let sandbox = match sandbox.map(str::parse::<SandboxId>).transpose() {
        Ok(sandbox) => sandbox,
        Err(error) => {
            let help = "the ids are in the records `sandbox.start` of `casemate audit show`";
            return output::error(form, &error, Some(help), Exit::Usage);
        }
    };
    let directory = match super::directory(state, form) {
        Ok(directory) => directory,
        Err(exit) => return exit,
    };
    let entries = match ledger::read(&directory) {
        Ok(entries) => entries,
        Err(error) => return super::unreadable(form, &error),
    };
    match stream(entries, sandbox, form) {
        Ok(shown) => {
            if shown.records == 0 && shown.exit == Exit::Ok {
                tell_nothing(sandbox);
            }
            shown.exit
        }
        Err(Stop::Closed) => Exit::Ok,
        Err(Stop::Output(error)) => {
            output::failure(form, &format!("standard output: write: {error}"), None, Exit::System)
        }
    }
}

struct Shown {
    records: u64,
    exit: Exit,
}

/// One record at a time, so that a log of any length needs the memory of one bundle.
fn stream(
    entries: impl Iterator<Item = Result<Entry, ledger::Error>>,
    sandbox: Option<SandboxId>,
    form: Form,
) -> Result<Shown, Stop> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut shown = Shown { records: 0, exit: Exit::Ok };
    for entry in entries {
        match entry {
            Ok(entry) => match record(&entry) {
                Some(record) if !concerns(&record, sandbox) => {}
                Some(record) => {
                    shown.records += 1;
                    match form {
                        Form::Json => writeln!(out, "{}", entry.line)?,
                        Form::Text => writeln!(out, "{}", line::of(&entry, &record))?,
                    }
                }
                None => {
                    out.flush()?;
                    let what = format!("record {}: what stands there is no record of a ledger", entry.seq);
                    shown.exit =
                        output::failure(form, &what, Some("see `casemate audit verify`"), Exit::Ledger);
                }
            },
            Err(error) => {
                out.flush()?;
                shown.exit = super::unreadable(form, &error);
            }
        }
    }
    out.flush()?;
    Ok(shown)
}

/// The record, if these bytes can be one: an object in one line. What a ledger did not write is never shown, so that
/// it can neither speak to the terminal nor pass for two records.
fn record(entry: &Entry) -> Option<Value> {
    let plain = output::neutral(&entry.line) == entry.line;
    let value = serde_json::from_str::<Value>(&entry.line).ok()?;
    (plain && value.is_object()).then_some(value)
}

fn concerns(record: &Value, sandbox: Option<SandboxId>) -> bool {
    sandbox.is_none_or(|sandbox| record["sandbox"].as_str() == Some(sandbox.as_str()))
}

/// On standard error, so that a program that reads the records reads none.
fn tell_nothing(sandbox: Option<SandboxId>) {
    match sandbox {
        Some(sandbox) => output::say(&format!("casemate: the log has no record of the sandbox {sandbox}")),
        None => output::say("casemate: the log is empty: nothing was recorded yet"),
    }
}
