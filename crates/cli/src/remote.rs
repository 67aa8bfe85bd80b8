//! What is asked of a server that runs, over its local socket, and of the launcher where none does.

mod client;
mod exec;
pub(crate) mod launcher;
mod show;
mod terminal;

use crate::args::{Exec, Kill, Ps, State as StateArgs, Stop};
use crate::output::{self, Form};
use crate::{Exit, run};
use client::{Asked, Client};
use node::State;
use std::process::ExitCode;

/// Opens the state directory, and runs something that waits for the server.
fn with<T>(
    form: Form,
    state: &StateArgs,
    work: impl AsyncFnOnce(&State) -> Result<T, Exit>,
) -> Result<T, Exit> {
    let state = run::state(state, form)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| output::error(form, &error, None, Exit::System))?;
    let done = runtime.block_on(work(&state));
    // A thread may still wait for standard input; nobody waits for it.
    runtime.shutdown_background();
    done
}

/// Says why the server did not do it.
fn refuse(form: Form, asked: &Asked) -> Exit {
    match asked {
        Asked::NoServer(error) => {
            let help = "start one with `casemate serve`, or name its state directory with --state";
            output::failure(
                form,
                &format!("no server runs for this state directory: {error}"),
                Some(help),
                Exit::NoServer,
            )
        }
        Asked::Broken(what) => output::failure(form, &output::neutral(what), None, Exit::Failed),
        Asked::Refused { status, message } => {
            let exit = match status {
                400 => Exit::Usage,
                401 | 403 => Exit::Denied,
                404 | 502 => Exit::NoSandbox,
                _ => Exit::Failed,
            };
            output::failure(form, &output::neutral(message), None, exit)
        }
    }
}

pub(crate) fn ps(args: &Ps) -> Exit {
    let form = Form::of(args.json);
    let shown = with(form, &args.state, async |state| {
        let shown = match args.id {
            None => show::sandboxes(state, form).await,
            Some(id) => show::commands(state, id, form).await,
        };
        shown.map_err(|asked| refuse(form, &asked))
    });
    shown.map_or_else(|exit| exit, |()| Exit::Ok)
}

pub(crate) fn exec(args: Exec) -> ExitCode {
    let form = Form::of(args.json);
    let state = StateArgs { state: args.state.state.clone() };
    match with(form, &state, async |state| exec::exec(args, state, form).await) {
        Ok(status) => ExitCode::from(status),
        Err(exit) => exit.into(),
    }
}

/// Ends sandboxes through the server; through the launcher if there is no server.
pub(crate) fn kill(args: &Kill) -> Exit {
    let form = Form::of(args.json);
    let outcomes = with(form, &args.state, async |state| {
        let mut outcomes = Vec::new();
        for id in &args.ids {
            let killed = match Client::connect(state).await {
                Ok(mut client) => client.ask("DELETE", &format!("/sandboxes/{id}"), None).await.map(|_| true),
                Err(asked) => Err(asked),
            };
            outcomes.push((*id, killed));
        }
        if outcomes.iter().any(|(_, killed)| matches!(killed, Err(Asked::NoServer(_)))) {
            let killed = launcher::kill(state, &args.ids);
            let killed =
                killed.map_err(|error| output::error(form, &error, Some(&error.mend()), Exit::Failed))?;
            return Ok(killed.into_iter().map(|(id, killed)| (id, Ok(killed))).collect());
        }
        Ok(outcomes)
    });
    let outcomes = match outcomes {
        Ok(outcomes) => outcomes,
        Err(exit) => return exit,
    };
    let mut exit = Exit::Ok;
    for (id, killed) in outcomes {
        let killed = match killed {
            Ok(killed) => killed,
            Err(Asked::Refused { status: 404, .. }) => false,
            Err(asked) => return refuse(form, &asked),
        };
        match form {
            Form::Json => output::print(&serde_json::json!({"sandbox": id, "killed": killed}).to_string()),
            Form::Text if killed => output::print(id.as_str()),
            Form::Text => output::say(&format!("casemate: no sandbox {id}")),
        }
        if !killed {
            exit = Exit::NoSandbox;
        }
    }
    exit
}

/// Ends every sandbox. This speaks to the launcher alone: it works while the server hangs.
pub(crate) fn stop(args: &Stop) -> Exit {
    let form = Form::of(args.json);
    let state = match run::state(&args.state, form) {
        Ok(state) => state,
        Err(exit) => return exit,
    };
    match launcher::stop_all(&state) {
        Ok(ended) => {
            match form {
                Form::Json => output::print(&serde_json::json!({"ended": ended}).to_string()),
                Form::Text => output::print(&format!("casemate: ended {ended} sandboxes")),
            }
            Exit::Ok
        }
        Err(error) => output::error(form, &error, Some(&error.mend()), Exit::Failed),
    }
}
