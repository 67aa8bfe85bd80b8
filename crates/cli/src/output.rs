//! How answers and errors look. What came from inside a sandbox or from a log is neutralised before it is shown.

use crate::Exit;
use model::{Denial, quote};
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

/// Whether answers are for people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Lines to read.
    Text,
    /// One JSON value.
    Json,
}

impl Form {
    pub(crate) fn of(json: bool) -> Form {
        if json { Form::Json } else { Form::Text }
    }
}

/// An error as a program reads it.
#[derive(Debug, serde::Serialize)]
struct ErrorForm<'a> {
    error: &'a str,
    causes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    denial: Option<&'a Denial>,
    exit: u8,
}

/// Says on standard error what failed, why, and what to do.
pub(crate) fn error(form: Form, error: &dyn Error, help: Option<&str>, exit: Exit) -> Exit {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    report(form, &error.to_string(), &causes, help, exit)
}

/// The same for a failure that is only words.
pub(crate) fn failure(form: Form, what: &str, help: Option<&str>, exit: Exit) -> Exit {
    report(form, what, &[], help, exit)
}

/// The same for what a rule refuses.
pub(crate) fn denied(form: Form, denial: &Denial, exit: Exit) -> Exit {
    let (what, help) = (denial.to_string(), Some(denial.how_to_ask.as_str()));
    match form {
        Form::Json => {
            let form = ErrorForm { error: &what, causes: &[], help, denial: Some(denial), exit: exit as u8 };
            say(&serde_json::to_string(&form).unwrap_or_default());
        }
        Form::Text => {
            say(&format!("casemate: {what}"));
            if let Some(nearest) = &denial.nearest_allowed {
                say(&format!("  allowed: {nearest}"));
            }
            say(&format!("  help: {}", denial.how_to_ask));
        }
    }
    exit
}

fn report(form: Form, what: &str, causes: &[String], help: Option<&str>, exit: Exit) -> Exit {
    match form {
        Form::Json => {
            let form = ErrorForm { error: what, causes, help, denial: None, exit: exit as u8 };
            say(&serde_json::to_string(&form).unwrap_or_default());
        }
        Form::Text => {
            let chain = std::iter::once(what).chain(causes.iter().map(String::as_str)).collect::<Vec<_>>();
            say(&format!("casemate: {}", chain.join(": ")));
            if let Some(help) = help {
                say(&format!("  help: {help}"));
            }
        }
    }
    exit
}

/// One line on standard error. If that is closed there is nobody to tell.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Text on standard output. A closed reader (`| head`) is no error.
pub(crate) fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A command line that could not be understood, or one that asked for help.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let asked = !error.use_stderr();
    let _ = error.print();
    if asked { ExitCode::SUCCESS } else { Exit::Usage.into() }
}

/// A text of a stranger's, made safe for a terminal; texts that `quote` wrote before stay readable.
pub(crate) fn neutral(text: &str) -> String {
    quote(text).replace(r"\\", r"\")
}

/// Lines of which some quote a stranger.
pub(crate) fn neutral_lines(lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| neutral(line)).collect();
    lines.join("\n")
}
