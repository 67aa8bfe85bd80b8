//! A sandbox while its command runs: one loop that carries bytes, answers refusals and listens for signals.

mod connect;

use crate::board::{LOOK, Told};
use crate::denials::Denials;
use crate::effects::Execution;
use crate::error::Error;
use crate::relay::{self, Stream};
use crate::terminal::Terminals;
use agent::{Agent, End, Exec, Reply, Terminal, Whom};
use jail::{Plan, Sandbox};
use ledger::{Ledger, Recorded};
use model::{SandboxId, quote};
use policy::User;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// Signals that ask for the end, and the one that tells of a new window size.
pub(crate) const SIGNALS: [i32; 5] = [1, 2, 3, 15, SIGWINCH];
const SIGWINCH: i32 = 28;

/// How long a command may take to end by itself after it was signalled.
const GRACE: Duration = Duration::from_secs(2);

/// How long the agent may take to read a request.
const SENDING: Duration = Duration::from_secs(1);

/// The only command of the sandbox.
pub(crate) const COMMAND: u32 = 1;
/// Argument list too long: what the kernel says to a caller who passes more than it takes.
const E2BIG: i32 = 7;
/// The place among the streams of the one that goes in.
const INPUT: usize = 0;

/// A sandbox while its command runs.
pub(crate) struct Life {
    id: SandboxId,
    agent: Agent,
    denials: Denials,
    streams: Vec<Stream>,
    signals: OwnedFd,
    terminals: Terminals,
    /// What was asked to run, and where, for an error about it.
    program: String,
    cwd: String,
    master: Option<OwnedFd>,
    /// The first signal that asked for the end.
    stopped: Option<i32>,
    /// When patience with a signalled command is up.
    give_up: Option<Instant>,
    /// When patience with an agent that does not read is up.
    send_by: Option<Instant>,
    /// Whether the connection to the agent has ended.
    agent_gone: bool,
}

impl Life {
    pub(crate) fn new(
        id: SandboxId,
        agent: Agent,
        denials: Denials,
        signals: OwnedFd,
        terminals: Terminals,
    ) -> Life {
        Life {
            id,
            agent,
            denials,
            streams: Vec::new(),
            signals,
            terminals,
            program: String::new(),
            cwd: String::new(),
            master: None,
            stopped: None,
            give_up: None,
            send_by: None,
            agent_gone: false,
        }
    }

    /// The master end of the sandbox's terminal, once [`Life::begin`] connected it.
    pub(crate) fn master(&self) -> Option<&OwnedFd> {
        self.master.as_ref()
    }

    /// The first signal that asked for the end.
    pub(crate) fn stopped(&self) -> Option<i32> {
        self.stopped
    }

    /// Why output of the command was lost, if it was.
    pub(crate) fn lost(&self) -> Option<std::io::Error> {
        self.streams.iter().skip(INPUT + 1).find_map(Stream::failure)
    }

    /// How many calls were refused.
    pub(crate) fn denials(&self) -> u64 {
        self.denials.count()
    }

    /// Starts the command. Takes the proof that it was permitted and that this is on record; there is no other way to
    /// the agent.
    pub(crate) fn begin(
        &mut self,
        execution: Recorded<Execution>,
        ids: CommandIds,
        master: Option<OwnedFd>,
    ) -> Result<(), Error> {
        let request = execution.into_inner().permit.into_request();
        self.program = request.argv.first().map(quote).unwrap_or_default();
        self.cwd = quote(&request.cwd);
        let mut passed = Vec::new();
        let stdio = self
            .connect(&mut passed, master)
            .map_err(|source| caller("connect standard descriptors", source))?;
        let exec = Exec {
            id: COMMAND,
            argv: request.argv,
            env: request.env,
            cwd: request.cwd,
            uid: ids.uid,
            gid: ids.uid,
            stdio,
            terminal: self.terminals.stdin.then_some(Terminal::Sandbox),
            capabilities: ids.capabilities,
            deadline: None,
            only: true,
        };
        self.agent.exec(exec, passed).map_err(|error| match error {
            agent::Error::TooLong(_) => self.not_started(E2BIG, agent::Stage::Program),
            other => failed(&other),
        })?;
        self.send().map_err(|error| failed(&error))
    }

    /// Sends what the agent takes now of what it is asked.
    fn send(&mut self) -> Result<(), agent::Error> {
        self.agent.flush()?;
        let waits = self.agent.wants_to_send();
        self.send_by = waits.then(|| self.send_by.unwrap_or_else(|| Instant::now() + SENDING));
        Ok(())
    }

    /// Lives until the command or the sandbox ends; gives the command's status if it said one.
    pub(crate) fn live(
        &mut self,
        ledger: &mut Ledger,
        sandbox: &Sandbox,
        told: &mut Told<'_>,
    ) -> Result<Option<u8>, Error> {
        let mut look = Instant::now() + LOOK;
        let mut gone = false;
        loop {
            // A reply may already be here, a poll does not see that; and it comes with the end.
            if let Some(reply) = self.next_reply()? {
                match reply {
                    Reply::Ended { end: End::Exited(status), .. } => return Ok(Some(status)),
                    Reply::Ended { end: End::Signaled(signal), .. } => {
                        return Ok(Some(128_u8.saturating_add(signal)));
                    }
                    Reply::NotStarted { errno, stage, .. } => {
                        return Err(self.not_started(errno, stage));
                    }
                    other => return Err(Error::Failed { what: format!("an answer to nothing: {other:?}") }),
                }
            }
            if gone {
                return Ok(None);
            }
            if self.agent_gone {
                // Without its agent a sandbox is of no use, and a first process that only closed its socket would keep
                // it, and this loop, alive.
                sandbox.kill();
            }
            let ready = self.wait(sandbox, look)?;
            if look <= Instant::now() {
                told.board.look(told.at, sandbox.hits());
                look = Instant::now() + LOOK;
            }
            self.go_on_sending(sandbox)?;
            if ready.denial {
                self.denials.answer(self.id, ledger, told)?;
            }
            if ready.signal {
                self.take_signals(sandbox);
            }
            gone = ready.gone;
        }
    }

    fn not_started(&self, errno: i32, stage: agent::Stage) -> Error {
        let source = std::io::Error::from_raw_os_error(errno);
        match stage {
            agent::Stage::Cwd => Error::NoDirectory { cwd: self.cwd.clone(), source },
            stage => Error::NotStarted { program: self.program.clone(), stage, source },
        }
    }

    fn next_reply(&mut self) -> Result<Option<Reply>, Error> {
        match self.agent.next() {
            // The sandbox is ending; how, the warden will say.
            Err(agent::Error::Gone) => {
                self.agent_gone = true;
                Ok(None)
            }
            other => other.map_err(|error| failed(&error)),
        }
    }

    /// An agent that does not read is of no use.
    fn go_on_sending(&mut self, sandbox: &Sandbox) -> Result<(), Error> {
        if self.agent_gone || !self.agent.wants_to_send() {
            return Ok(());
        }
        match self.send() {
            // The sandbox is ending; how, the warden will say.
            Err(agent::Error::Gone) => self.agent_gone = true,
            sent => sent.map_err(|error| failed(&error))?,
        }
        if self.send_by.is_some_and(|at| at <= Instant::now()) {
            if self.stopped.is_none() {
                return Err(Error::Failed { what: format!("the agent took no request for {SENDING:?}") });
            }
            self.send_by = None;
            sandbox.kill();
        }
        Ok(())
    }

    /// Waits for anything, and moves bytes where it can.
    fn wait(&mut self, sandbox: &Sandbox, look: Instant) -> Result<Ready, Error> {
        let mut fds = vec![
            PollFd::from_borrowed_fd(sandbox.first(), PollFlags::IN),
            PollFd::from_borrowed_fd(sandbox.line(), PollFlags::empty()),
            PollFd::new(&self.signals, PollFlags::IN),
        ];
        if !self.agent_gone {
            let mut interest = PollFlags::IN;
            interest.set(PollFlags::OUT, self.agent.wants_to_send());
            fds.push(PollFd::new(&self.agent, interest));
        }
        let denials_at = self.denials.as_fd().map(|fd| {
            fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
            fds.len() - 1
        });
        let streams_at = fds.len();
        let open = relay::ask(&self.streams, &mut fds);
        let until = self.give_up.into_iter().chain(self.send_by).fold(look, Instant::min);
        let left = until.saturating_duration_since(Instant::now());
        let wait = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut fds, Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(caller("poll", error.into())),
        }
        let is_ready = |at: usize| !fds[at].revents().is_empty();
        let ready = Ready {
            // Without a warden nobody enforces the time limit, or cleans up if we die: that is an end, too.
            gone: is_ready(0) || is_ready(1),
            signal: is_ready(2) || self.give_up.is_some_and(|at| at <= Instant::now()),
            denial: denials_at.is_some_and(is_ready),
        };
        let ready_streams = relay::ready(&open, &fds[streams_at..]);
        for number in ready_streams {
            self.streams[number].step();
        }
        Ok(ready)
    }

    /// The first signal is the command's to act on; the second, or the end of patience, is the end.
    fn take_signals(&mut self, sandbox: &Sandbox) {
        while let Some(signal) = jail::sys::next_signal(self.signals.as_fd()) {
            if signal == SIGWINCH {
                if let Some(master) = &self.master {
                    self.terminals.copy_size(master);
                }
            } else if self.stopped.is_none() {
                self.stopped = Some(signal);
                self.give_up = Some(Instant::now() + GRACE);
                let asked = self.agent.signal(COMMAND, signal, Whom::Group);
                if asked.and_then(|()| self.send()).is_err() {
                    sandbox.kill();
                }
            } else {
                sandbox.kill();
            }
        }
        if self.give_up.is_some_and(|at| at <= Instant::now()) {
            self.give_up = None;
            sandbox.kill();
        }
    }

    /// The sandbox is gone; what it wrote may still be on its way to a slow reader. A signal cuts that short.
    pub(crate) fn drain(&mut self) {
        self.give_up = None;
        // What it never took has ends of our streams in it.
        self.agent.give_up();
        // Input that was not read has nobody to go to.
        if let Some(input) = self.streams.get_mut(INPUT) {
            input.close();
        }
        while self.streams.iter().any(|stream| stream.interest().is_some()) {
            let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
            let open = relay::ask(&self.streams, &mut fds);
            if poll(&mut fds, None).is_err_and(|error| error != rustix::io::Errno::INTR) {
                return;
            }
            let ready_streams = relay::ready(&open, &fds[1..]);
            if let Some(signal) = jail::sys::next_signal(self.signals.as_fd())
                && signal != SIGWINCH
            {
                self.stopped.get_or_insert(signal);
                return;
            }
            for number in ready_streams {
                self.streams[number].step();
            }
        }
    }
}

struct Ready {
    gone: bool,
    signal: bool,
    denial: bool,
}

/// As whom a command runs inside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommandIds {
    uid: u32,
    capabilities: u64,
}

impl CommandIds {
    pub(crate) fn of(plan: &Plan, user: User) -> CommandIds {
        match user {
            User::User => CommandIds { uid: jail::ids::USER, capabilities: 0 },
            User::Root => CommandIds { uid: 0, capabilities: plan.root_capabilities() },
        }
    }
}

pub(crate) fn caller(call: &str, source: std::io::Error) -> Error {
    Error::Caller { call: call.to_owned(), source }
}

fn failed(error: &agent::Error) -> Error {
    Error::Failed { what: error.to_string() }
}
