//! The launcher, asked directly.

use model::SandboxId;
use node::State;
use node::launcher::protocol::{Order, Report};
use node::launcher::{Client, LauncherError};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

/// How long ending everything may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a launcher may be at its end when it is asked.
const TRIES: u32 = 3;

fn call(call: &str) -> impl Fn(io::Error) -> LauncherError {
    move |source| LauncherError::Call { call: call.to_owned(), source }
}

/// The launcher, if there is one: without one there are no sandboxes.
fn connect(state: &State) -> Result<Option<Client>, LauncherError> {
    let mut tries = 0;
    loop {
        match Client::connect(state.path()) {
            Err(LauncherError::Call { source, .. })
                if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                return Ok(None);
            }
            // One that just ended, because nobody needed it.
            Err(LauncherError::Call { source, .. })
                if source.kind() == io::ErrorKind::UnexpectedEof && tries < TRIES =>
            {
                tries += 1;
            }
            other => return other.map(Some),
        }
    }
}

/// Ends every sandbox, and gives how many there were.
pub(super) fn stop_all(state: &State) -> Result<u32, LauncherError> {
    let Some(client) = connect(state)? else { return Ok(0) };
    send(&client, &Order::StopAll)?;
    let until = Instant::now() + PATIENCE;
    loop {
        if let Report::Stopped { ended } = hear(&client, until)? {
            return Ok(ended);
        }
    }
}

/// A place on the disk of a sandbox that lives.
pub(crate) fn disk(state: &State, id: SandboxId) -> Result<Option<OwnedFd>, LauncherError> {
    let Some(client) = connect(state)? else { return Ok(None) };
    send(&client, &Order::Disk { id })?;
    let until = Instant::now() + PATIENCE;
    loop {
        match hear_with(&client, until)? {
            (Report::Disk { .. }, descriptors) => return Ok(descriptors.into_iter().next()),
            (Report::NoDisk { .. }, _) => return Ok(None),
            _ => {}
        }
    }
}

/// Ends sandboxes of a state directory without a server. Says which of them there were.
pub(super) fn kill(state: &State, ids: &[SandboxId]) -> Result<Vec<(SandboxId, bool)>, LauncherError> {
    let mut killed: BTreeMap<SandboxId, bool> = ids.iter().map(|id| (*id, false)).collect();
    let answer = |killed: BTreeMap<SandboxId, bool>| Ok(ids.iter().map(|id| (*id, killed[id])).collect());
    let Some(client) = connect(state)? else { return answer(killed) };
    let until = Instant::now() + PATIENCE;
    send(&client, &Order::Serve)?;
    let mut alive = Vec::new();
    loop {
        match hear(&client, until)? {
            Report::Have { id, ended: None, .. } if killed.contains_key(&id) => alive.push(id),
            Report::AllTold => break,
            Report::Busy => {
                let what = "a server has it and does not answer: `casemate stop --all` ends every sandbox without it";
                return Err(call("Serve")(io::Error::other(what)));
            }
            _ => {}
        }
    }
    for id in &alive {
        send(&client, &Order::Kill { id: *id })?;
    }
    while alive.iter().any(|id| !killed[id]) {
        if let Report::Ended { id, .. } = hear(&client, until)?
            && let Some(done) = killed.get_mut(&id)
        {
            *done = true;
        }
    }
    answer(killed)
}

fn send(client: &Client, order: &Order) -> Result<(), LauncherError> {
    loop {
        match client.send(order, &[]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let _ = poll(&mut [PollFd::new(client, PollFlags::OUT)], None);
            }
            other => return other.map_err(call("sendmsg(run/launcher)")),
        }
    }
}

fn hear(client: &Client, until: Instant) -> Result<Report, LauncherError> {
    hear_with(client, until).map(|(report, _)| report)
}

fn hear_with(client: &Client, until: Instant) -> Result<(Report, Vec<OwnedFd>), LauncherError> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match client.receive_within(left).map_err(call("recvmsg(run/launcher)"))? {
            Some(heard) => return Ok(heard),
            None if left.is_zero() => {
                return Err(call("recvmsg(run/launcher)")(io::ErrorKind::TimedOut.into()));
            }
            None => {}
        }
    }
}
