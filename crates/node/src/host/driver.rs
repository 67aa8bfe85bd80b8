//! The task that owns the connection to one agent: passes on what was recorded, hears what the agent says.

use super::beside::Begun;
use super::command::{CommandEnd, Stdin};
use super::note::{self, CommandNote};
use super::room::{Ask, AskWork, Before, Kept, OnTheWay, Room, Start, WORK, lock};
use super::running::Streams;
use super::{Error, pipes};
use crate::effects::api::Signaling;
use crate::launcher::protocol::{INPUT, Order};
use agent::{Agent, Deadline, End, Exec, Known, Op, Reply, Stage, Stdio, Terminal, Whom, Work};
use model::{Code, Denial, Event, FileOp, SandboxId, quote};
use policy::FileRequest;
use rustix::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

/// What is recorded of a command that could not be started, as shells have it.
const STATUS_NOT_STARTED: u8 = 127;
/// How long a sandbox may take to be gone once its agent is.
const GONE_WITHIN: Duration = Duration::from_secs(5);
/// Argument list too long: what the kernel says to a caller who passes more than it takes.
const E2BIG: i32 = 7;
const KILL: i32 = 9;

/// The one who speaks to the agent.
pub(super) struct Driver {
    room: Arc<Room>,
    agent: AsyncFd<Socket>,
    kept: Kept,
    starting: HashMap<u32, OnTheWay>,
    works: HashMap<u32, (oneshot::Sender<Result<End, Error>>, Begun)>,
    /// Of a sandbox that was taken over, until its agent has said what it does.
    unknown: Option<Begun>,
}

impl Driver {
    pub(super) fn new(room: Arc<Room>, agent: Agent, kept: Kept, before: Before) -> Result<Driver, Error> {
        let agent = pipes::watch(Socket(agent)).map_err(|error| Error::Unresponsive(error.to_string()))?;
        let unknown = (before == Before::Untold).then(|| room.beside.begin(None));
        Ok(Driver { room, agent, kept, starting: HashMap::new(), works: HashMap::new(), unknown })
    }

    /// Serves until the sandbox is gone.
    pub(super) async fn drive(mut self, mut asked: mpsc::Receiver<Ask>) {
        if let Err(error) = self.serve(&mut asked).await {
            // Those who wait for it need not wait longer.
            self.starting.clear();
            self.works.clear();
            asked.close();
            // An agent that is gone took its sandbox with it, and the launcher will say so. One that talks nonsense, or
            // only let go of its socket, is ended: nothing in its sandbox can be relied on.
            let gone = tokio::time::timeout(GONE_WITHIN, self.room.until_gone());
            if error != agent::Error::Gone || gone.await.is_err() {
                self.room.failed.get_or_init(|| error.to_string());
                let _ = self.room.orders.send(Order::Kill { id: self.room.id }, Vec::new()).await;
            }
        }
        asked.close();
        self.room.until_gone().await;
    }

    async fn serve(&mut self, asked: &mut mpsc::Receiver<Ask>) -> Result<(), agent::Error> {
        let mut gone = self.room.gone.subscribe();
        loop {
            while let Some(reply) = self.agent.get_mut().0.next()? {
                self.hear(reply)?;
            }
            self.agent.get_mut().0.flush()?;
            let sends = self.agent.get_ref().0.wants_to_send();
            tokio::select! {
                // Cleared before it is read to the end, so that nothing that comes meanwhile is missed.
                ready = self.agent.readable() => if let Ok(mut ready) = ready { ready.clear_ready() },
                ready = self.agent.writable(), if sends => if let Ok(mut ready) = ready { ready.clear_ready() },
                // An agent that takes nothing is asked for no more.
                ask = asked.recv(), if !sends => match ask {
                    Some(ask) => self.pass_on(ask)?,
                    None => return Ok(()),
                },
                _ = gone.wait_for(|gone| *gone) => return Ok(()),
            }
        }
    }

    fn pass_on(&mut self, ask: Ask) -> Result<(), agent::Error> {
        match ask {
            Ask::Start(start) => self.start(start),
            Ask::Work(ask) => {
                let AskWork { id, recorded, depth, passed, begun, tell } = *ask;
                // The proof is used up here: what is asked of the agent is what was permitted and recorded.
                let request = recorded.into_inner().permit.into_request();
                let (uid, capabilities) = self.room.identity(request.user);
                let work = Work { id, uid, gid: uid, capabilities, op: op(request, depth) };
                match self.agent.get_mut().0.work(work, passed) {
                    Ok(()) => drop(self.works.insert(id, (tell, begun))),
                    Err(error @ (agent::Error::Busy(_) | agent::Error::TooLong(_))) => {
                        drop(tell.send(Err(Error::Unresponsive(error.to_string()))));
                    }
                    Err(error) => return Err(error),
                }
                Ok(())
            }
            Ask::Signal(recorded) => {
                let Signaling { exec, signal, .. } = recorded.into_inner();
                match self.agent.get_mut().0.signal(exec, signal, Whom::Process) {
                    Err(agent::Error::Busy(_)) | Ok(()) => Ok(()),
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// Takes the proof that the command was permitted and that this is on record; there is no other way to the agent.
    fn start(&mut self, start: Box<Start>) -> Result<(), agent::Error> {
        let Start { exec: id, recorded, deadline_ms, passed, on_the_way } = *start;
        let request = recorded.into_inner().permit.into_request();
        let (uid, capabilities) = self.room.identity(request.user);
        let exec = Exec {
            id,
            argv: request.argv,
            env: request.env,
            cwd: request.cwd,
            uid,
            gid: uid,
            stdio: match on_the_way.note.stdin() {
                Stdin::Null => [Stdio::Null, Stdio::Passed(0), Stdio::Passed(1)],
                Stdin::Pipe => [Stdio::Passed(0), Stdio::Passed(1), Stdio::Passed(2)],
                Stdin::Terminal(_) => [Stdio::Passed(0); 3],
            },
            terminal: match on_the_way.note.stdin() {
                Stdin::Terminal(_) => Some(Terminal::Passed(0)),
                Stdin::Null | Stdin::Pipe => None,
            },
            capabilities,
            deadline: deadline_ms.map(|after_ms| Deadline { after_ms, whom: Whom::Process }),
            only: false,
        };
        match self.agent.get_mut().0.exec(exec, passed) {
            Ok(()) => drop(self.starting.insert(id, on_the_way)),
            // Nothing of it was sent.
            Err(error @ (agent::Error::Busy(_) | agent::Error::TooLong(_))) => {
                let error = match error {
                    agent::Error::TooLong(_) => not_started(&on_the_way, E2BIG, Stage::Program),
                    other => Error::Unresponsive(other.to_string()),
                };
                self.never_started(id, on_the_way, error);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn hear(&mut self, reply: Reply) -> Result<(), agent::Error> {
        match reply {
            Reply::Started { id, pid } => {
                let Some(start) = self.starting.remove(&id) else { return Ok(()) };
                let OnTheWay { note, streams, tell, place, begun: until_listed, .. } = start;
                let begun = self.room.run(id, &note, pid, streams, Some(place));
                if begun.is_err() {
                    // Nobody could listen to it, or end it.
                    self.agent.get_mut().0.signal(id, KILL, Whom::Group)?;
                    self.let_go(id);
                }
                let begun = begun.map(|(running, output)| (running.info.clone(), output));
                drop(until_listed);
                // Whoever asked may have gone away; the command goes on.
                drop(tell.send(begun));
            }
            Reply::NotStarted { id, errno, stage } => {
                if let Some(start) = self.starting.remove(&id) {
                    let error = not_started(&start, errno, stage);
                    self.never_started(id, start, error);
                } else if let Some((tell, _begun)) = self.works.remove(&id) {
                    let source = std::io::Error::from_raw_os_error(errno);
                    drop(tell.send(Err(Error::Unresponsive(format!("file work was not started: {source}")))));
                }
            }
            Reply::Ended { id, end, deadline } => self.ended(id, end, deadline)?,
            Reply::Here { commands } => self.found(commands)?,
        }
        Ok(())
    }

    fn ended(&mut self, id: u32, end: End, deadline: bool) -> Result<(), agent::Error> {
        if let Some((tell, begun)) = self.works.remove(&id) {
            // Before anybody hears of it who might begin something next.
            drop(begun);
            drop(tell.send(Ok(end)));
            return Ok(());
        }
        self.agent.get_mut().0.forget(id)?;
        let status = match end {
            End::Exited(status) => status,
            End::Signaled(signal) => 128_u8.saturating_add(signal),
        };
        self.room.journal.observe(Event::ExecEnd { sandbox: self.room.id, exec: id, status });
        let running = lock(&self.room.commands).get(&id).cloned();
        if let Some(running) = running {
            running.ended(match end {
                _ if deadline => CommandEnd::Deadline,
                End::Exited(status) => CommandEnd::Exited(status),
                End::Signaled(signal) => CommandEnd::Signaled(signal),
            });
        }
        Ok(())
    }

    /// What the agent says there is, after a server before this one: joined with what the launcher kept.
    fn found(&mut self, commands: Vec<Known>) -> Result<(), agent::Error> {
        for Known { id, pid, end } in commands {
            match self.kept.remove(&id) {
                Some((note, outputs)) if id < WORK => {
                    let input = self.kept.remove(&(id | INPUT)).and_then(|(_, mut fds)| fds.pop());
                    let adopted = note::decode::<CommandNote>(&note)
                        .map(|note| (streams(&note, input, outputs), note))
                        .map(|(streams, note)| {
                            let place = self.room.places.command().ok();
                            self.room.run(id, &note, pid, streams, place)
                        });
                    if let Some(Err(error)) = adopted {
                        self.room.journal.observe(lost(self.room.id, id, &error));
                        self.agent.get_mut().0.signal(id, KILL, Whom::Group)?;
                        self.let_go(id);
                    }
                    if let Some((end, deadline)) = end {
                        self.ended(id, end, deadline)?;
                    }
                }
                // It was let go of already, or nobody could listen to it.
                _ => match end {
                    Some(_) => self.agent.get_mut().0.forget(id)?,
                    None => self.agent.get_mut().0.signal(id, KILL, Whom::Group)?,
                },
            }
        }
        self.unknown = None;
        // Kept for commands that never came to be.
        let unused: Vec<u32> = self.kept.drain().map(|(exec, _)| exec).collect();
        let (orders, id) = (self.room.orders.clone(), self.room.id);
        tokio::spawn(async move {
            for exec in unused {
                let _ = orders.send(Order::Drop { id, exec }, Vec::new()).await;
            }
        });
        Ok(())
    }

    fn never_started(&self, id: u32, start: OnTheWay, error: Error) {
        drop(start.tell.send(Err(error)));
        let (sandbox, status) = (self.room.id, STATUS_NOT_STARTED);
        self.room.journal.observe(Event::ExecEnd { sandbox, exec: id, status });
        self.let_go(id);
    }

    fn let_go(&self, id: u32) {
        let room = self.room.clone();
        tokio::spawn(async move { room.let_go(id).await });
    }
}

/// What the agent is asked for a request that was permitted. A list goes down `depth` levels.
fn op(request: FileRequest, depth: u32) -> Op {
    let FileRequest { op, path, to, .. } = request;
    match op {
        FileOp::Stat => Op::Stat { path },
        FileOp::List => Op::List { path, depth },
        FileOp::MakeDir => Op::MakeDir { path },
        FileOp::Move => Op::Move { from: path, to: to.unwrap_or_default() },
        FileOp::Remove => Op::Remove { path },
        FileOp::Read => Op::Read { path, offset: 0, bytes_max: u64::MAX },
        FileOp::Write => Op::Write { path, offset: None },
    }
}

/// What a kept command's descriptors are.
fn streams(note: &CommandNote, input: Option<OwnedFd>, outputs: Vec<OwnedFd>) -> Streams {
    let mut outputs = outputs.into_iter();
    match note.stdin() {
        Stdin::Terminal(_) => Streams { terminal: outputs.next(), ..Streams::default() },
        Stdin::Null | Stdin::Pipe => {
            Streams { input, stdout: outputs.next(), stderr: outputs.next(), terminal: None }
        }
    }
}

fn not_started(start: &OnTheWay, errno: i32, stage: Stage) -> Error {
    let source = std::io::Error::from_raw_os_error(errno);
    match stage {
        Stage::Cwd => Error::NoDirectory { cwd: start.cwd.clone(), source },
        _ => Error::NotStarted { program: start.program.clone(), source },
    }
}

fn lost(sandbox: SandboxId, exec: u32, error: &Error) -> Event {
    let asked = format!("take over command {exec}: {}", quote(error.to_string()));
    let how = "start it anew: what it wrote since then is lost";
    Event::denied(Some(sandbox), None, Denial::new(Code::Machine, "server", asked, how))
}

/// The agent's socket, as tokio wants it.
#[derive(Debug)]
struct Socket(Agent);

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}
