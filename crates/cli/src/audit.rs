//! `casemate audit`: reads the record. It changes nothing, makes nothing, and needs no right to write.

mod line;
mod show;
mod verify;

use crate::Exit;
use crate::args::{Audit as Command, State as StateArgs};
use crate::output::{self, Form};
use node::State;
use std::path::PathBuf;

pub(crate) fn audit(command: &Command) -> Exit {
    match command {
        Command::Show { sandbox, json, state } => show::show(sandbox.as_deref(), Form::of(*json), state),
        Command::Verify { against, save, json, state } => {
            verify::verify(against.as_deref(), save.as_deref(), Form::of(*json), state)
        }
    }
}

/// The state directory that the words name, as it is: it is not made, and may belong to somebody else, because an
/// auditor reads the log of others.
pub(crate) fn directory(args: &StateArgs, form: Form) -> Result<PathBuf, Exit> {
    let help = "name the state directory that `casemate run` used with --state DIR";
    let path = match &args.state {
        Some(path) => path.clone(),
        None => {
            State::default_path().map_err(|error| output::error(form, &error, Some(help), Exit::State))?
        }
    };
    let shown = model::quote(path.as_os_str().as_encoded_bytes());
    let refuse = |why: String| {
        output::failure(form, &format!("state directory `{shown}`: {why}"), Some(help), Exit::State)
    };
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_dir() => Ok(path),
        Ok(_) => Err(refuse("not a directory".to_owned())),
        Err(error) => Err(refuse(format!("stat: {error}"))),
    }
}

/// A log that is not there is no empty log: it was never begun here, or it was taken away.
fn unreadable(form: Form, error: &ledger::Error) -> Exit {
    let missing =
        matches!(error, ledger::Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound);
    let help = if missing {
        "nothing was ever recorded in this directory, or its log was removed; name another with --state DIR"
    } else {
        "read it as its owner, and see `casemate audit verify`"
    };
    output::error(form, error, Some(help), Exit::Ledger)
}
