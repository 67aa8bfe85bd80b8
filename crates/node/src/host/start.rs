//! The start of a command, on its server's side.

use super::command::{Argument, Command, CommandInfo, Output, Stdin};
use super::note::CommandNote;
use super::room::{Ask, OnTheWay, Room, Start};
use super::running::{Streams, set_size};
use super::{Error, paths, pipes};
use crate::effects::Execution;
use crate::run::environment;
use model::{Source, quote};
use policy::ExecRequest;
use rustix::fd::{AsFd, OwnedFd};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long the agent may take to start a command before whoever asked is told so. The command may still come up.
const STARTED_WITHIN: Duration = Duration::from_secs(30);
/// What opening one more terminal says.
const ENOSPC: i32 = 28;

/// Decides, records and starts a command; returns when its program was entered.
pub(super) async fn start(room: &Arc<Room>, command: Command) -> Result<(CommandInfo, Output), Error> {
    let place = room.places.command()?;
    let cwd = paths::absolute(command.cwd.as_deref().unwrap_or_default(), command.user);
    let request = ExecRequest {
        argv: command.argv.clone(),
        cwd: cwd.clone(),
        env: variables(room, &command),
        user: command.user,
        terminal: None,
    };
    let permit = room.policy.exec(&request).inspect_err(|denied| room.denied(denied))?;
    let (streams, passed) = connect(room, command.stdin).map_err(|error| match error.raw_os_error() {
        Some(ENOSPC) => Error::Full { limit: "terminals of a sandbox", most: jail::TERMINALS_MAX },
        _ => Error::Unresponsive(error.to_string()),
    })?;
    let exec = room.new_command();
    let note = CommandNote::of(&command);
    let begun = room.beside.begin(Some(exec));
    // The launcher has its copy before the command begins, so that a server after this one finds it; and the record is
    // durable before the agent hears of it.
    if let Err(error) = room.keep(exec, &note, &streams).await {
        room.let_go(exec).await;
        return Err(error);
    }
    let look = room.look(&begun).await;
    let recording = begun.recorded(look, |beside| {
        room.journal.record(Execution { sandbox: room.id, exec, permit, source: Source::Api, beside })
    });
    let recorded = match recording.await {
        Ok(recorded) => recorded,
        Err(error) => {
            room.let_go(exec).await;
            return Err(error);
        }
    };
    let (tell, told) = oneshot::channel();
    let program = command.argv.first().map(quote).unwrap_or_default();
    let on_the_way = OnTheWay { program, cwd: quote(&cwd), note, streams, tell, place, begun };
    let start = Start { exec, recorded, deadline_ms: command.deadline_ms, passed, on_the_way };
    room.ask(Ask::Start(Box::new(start))).await?;
    match tokio::time::timeout(STARTED_WITHIN, told).await {
        Ok(started) => started.unwrap_or(Err(Error::Gone)),
        Err(_) => Err(Error::Unresponsive(format!(
            "its agent started no command within {} s",
            STARTED_WITHIN.as_secs()
        ))),
    }
}

/// The whole environment of a command: what every command gets, the sandbox's variables, its own.
fn variables(room: &Room, command: &Command) -> Vec<(Argument, Argument)> {
    let of_sandbox =
        room.note.env.iter().map(|(name, value)| (name.clone().into_bytes(), value.clone().into_bytes()));
    let mut extra: BTreeMap<Argument, Argument> = of_sandbox.collect();
    extra.extend(command.env.iter().cloned());
    environment(extra.into_iter().collect(), command.user, None)
}

/// A command's descriptors: what stays here, and what it gets.
fn connect(room: &Room, stdin: Stdin) -> io::Result<(Streams, Vec<OwnedFd>)> {
    let mut streams = Streams::default();
    if let Stdin::Terminal(size) = stdin {
        let (master, slave) = jail::terminal::open(room.terminals.as_fd()).map_err(|error| error.source)?;
        pipes::nonblocking(&master)?;
        set_size(&master, size)?;
        streams.terminal = Some(master);
        return Ok((streams, vec![slave]));
    }
    let mut passed = Vec::new();
    if stdin == Stdin::Pipe {
        let (read, write) = pipes::pipe(pipes::Here::Writes, 0)?;
        streams.input = Some(write);
        passed.push(read);
    }
    for place in [&mut streams.stdout, &mut streams.stderr] {
        let (read, write) = pipes::pipe(pipes::Here::Reads, 0)?;
        *place = Some(read);
        passed.push(write);
    }
    Ok((streams, passed))
}
