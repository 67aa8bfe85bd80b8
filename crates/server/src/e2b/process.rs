//! `process.Process`: commands of a sandbox.

mod signal;
mod stream;
mod wire;

pub use signal::signal_of;
pub(crate) use stream::error;

use super::call::{Call, Outcome, json};
use super::failure::{Failure, Kind, fail};
use super::user;
use hyper::StatusCode;
use node::host::Command;
use serde_json::json as value;
use wire::{Listed, Naming, Nothing, SendInput, SendSignal, Start, Update};

/// The variable that every command finds its sandbox's name in.
const ID_VARIABLE: &[u8] = b"E2B_SANDBOX_ID";

pub(crate) async fn list(call: Call) -> Outcome {
    let sandbox = call.sandbox()?;
    call.message::<Nothing>().await?;
    let mut commands = sandbox.commands();
    commands.sort_by_key(|command| command.pid);
    let processes: Vec<Listed> = commands
        .into_iter()
        .map(|mut command| {
            command.env.retain(|(name, _)| name != ID_VARIABLE);
            Listed::from(command)
        })
        .collect();
    json(StatusCode::OK, &value!({"processes": processes}))
}

pub(crate) async fn start(call: Call) -> Outcome {
    let (sandbox, head) = (call.sandbox()?, stream::Head::of(&call)?);
    let user = user::of(call.header(hyper::header::AUTHORIZATION))?;
    let wanted = stream::message::<Start>(call.body).await?.understood()?;
    let mut env = wanted.env;
    if env.iter().all(|(name, _)| name != ID_VARIABLE) {
        env.push((ID_VARIABLE.to_vec(), sandbox.id().as_str().into()));
    }
    let command = Command {
        argv: wanted.argv,
        env,
        cwd: wanted.cwd,
        user,
        tag: wanted.tag,
        stdin: wanted.stdin,
        deadline_ms: head.timeout_ms,
    };
    let (info, output) = sandbox.start(command).await?;
    Ok(stream::events(info.pid, output, head.keepalive, None))
}

pub(crate) async fn connect(call: Call) -> Outcome {
    let (sandbox, head) = (call.sandbox()?, stream::Head::of(&call)?);
    let selector = stream::message::<Naming>(call.body).await?.process.selector()?;
    let (info, output) = sandbox.attach(&selector)?;
    Ok(stream::events(info.pid, output, head.keepalive, head.timeout_ms))
}

pub(crate) async fn update(call: Call) -> Outcome {
    let sandbox = call.sandbox()?;
    let (selector, size) = call.message::<Update>().await?.understood()?;
    let Some(size) = size else { return fail(Kind::Invalid, "pty: no size") };
    sandbox.resize(&selector, size).await?;
    done()
}

pub(crate) async fn send_input(call: Call) -> Outcome {
    let sandbox = call.sandbox()?;
    let (selector, input) = call.message::<SendInput>().await?.understood()?;
    sandbox.input(&selector, input).await?;
    done()
}

pub(crate) async fn send_signal(call: Call) -> Outcome {
    let sandbox = call.sandbox()?;
    let (selector, signal) = call.message::<SendSignal>().await?.understood()?;
    sandbox.signal(&selector, signal).await?;
    done()
}

pub(crate) async fn close_stdin(call: Call) -> Outcome {
    let sandbox = call.sandbox()?;
    let selector = call.message::<Naming>().await?.process.selector()?;
    match sandbox.close_input(&selector).await {
        // For a terminal E2B's own program says `unknown`; Ctrl-D is its end of input.
        Err(error @ node::host::Error::WrongInput(_)) => fail(Kind::Unknown, error.to_string()),
        other => other.map_err(Failure::from).and_then(|()| done()),
    }
}

fn done() -> Outcome {
    json(StatusCode::OK, &value!({}))
}
