//! One sandbox, one command: the story of `casemate run`.

use crate::clock::SystemClock;
use crate::denials::Denials;
use crate::effects::{Beginning, Execution, HandOut};
use crate::error::Error;
use crate::handout::{Reader, hand_out};
use crate::prepare::{Prepared, Target, prepare};
use crate::relay::{self, Stream};
use crate::state::State;
use crate::terminal::{Raw, Terminals};
use agent::{Agent, End, Exec, Reply, Stdio};
use jail::ids::Profile;
use jail::{Ended, Plan, Sandbox, Started, Terminal};
use ledger::{Ledger, Recorded};
use model::{EndReason, Event, LimitHit, SandboxId, Usage, Walls, quote};
use policy::{ExecRequest, Policy, User};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The agent that travels inside this crate.
const AGENT: &[u8] = include_bytes!(env!("CASEMATE_AGENT"));

/// Signals that ask for the end, and the one that tells of a new window size.
const SIGNALS: [i32; 5] = [1, 2, 3, 15, SIGWINCH];
const SIGWINCH: i32 = 28;

/// How long a command may take to end by itself after it was signalled.
const GRACE: Duration = Duration::from_secs(2);

/// The only command of the sandbox.
const COMMAND: u32 = 1;
/// Argument list too long: what the kernel says to a caller who passes more than it takes.
const E2BIG: i32 = 7;
/// The place among the streams of the one that goes in.
const INPUT: usize = 0;

/// The status of a command that its wall-clock limit ended, as `timeout(1)` has it.
const STATUS_TIME_IS_UP: u8 = 124;
/// 128 and SIGKILL.
const STATUS_KILLED: u8 = 137;

/// What to run, and behind what.
#[derive(Debug)]
pub struct Request {
    /// Where the ledger is.
    pub state: State,
    /// The policy, with the zones of the command line in it.
    pub policy: Policy,
    /// Where the policy came from, for the record.
    pub origin: String,
    /// The directory that the policy's relative host paths start from.
    pub base: PathBuf,
    /// The command.
    pub argv: Vec<Vec<u8>>,
    /// Its working directory inside.
    pub cwd: Vec<u8>,
    /// Variables beyond the ones that every command gets.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// As whom.
    pub user: User,
}

/// Where a test build reaches in, to show that a check notices a weakened wall. The real program changes nothing.
#[derive(Debug, Clone, Copy)]
pub struct Hooks {
    /// Sees the plan before it is built.
    pub plan: fn(&mut Plan),
}

impl Hooks {
    /// Changes nothing.
    pub fn none() -> Hooks {
        Hooks { plan: |_| {} }
    }
}

/// How it went.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The sandbox that was.
    pub sandbox: SandboxId,
    /// The status to exit with: the command's, 128+n if signal n ended it, 124 if time did.
    pub status: u8,
    /// Why it ended.
    pub reason: EndReason,
    /// The walls that stood.
    pub walls: Walls,
    /// The Landlock ABI that was in force.
    pub landlock: u32,
    /// Limits that it ran into.
    pub hits: Vec<LimitHit>,
    /// What it used.
    pub usage: Usage,
    /// How many calls were refused.
    pub denials: u64,
    /// What its write zones did not hand out, and why.
    pub left_behind: Vec<String>,
}

/// Runs one command in a sandbox of its own, with this process's standard descriptors, and returns when nothing of
/// the sandbox is left.
///
/// This process must be single-threaded: it forks.
///
/// # Errors
/// Whatever kept the command from running. Nothing of the sandbox is left then either.
pub fn run(request: Request, hooks: Hooks) -> Result<Outcome, Error> {
    let Request { state, policy, origin, base, argv, cwd, env, user } = request;
    let mut ledger = Ledger::open(state.path(), Box::new(SystemClock))?;
    let (id, seed) = draw_id();
    let terminals = Terminals::of_caller();
    let request = ExecRequest { argv, cwd, env: environment(env, user, terminals), user, terminal: None };
    let permit = match policy.exec(&request) {
        Ok(permit) => permit,
        Err(denied) => {
            let (asked, decision) = (denied.asked.clone(), denied.decision());
            ledger.observe(Event::Denial { sandbox: None, asked, decision })?;
            ledger.seal()?;
            return Err(denied.into());
        }
    };
    let terminal = if terminals.any() { Terminal::Yes } else { Terminal::No };
    let Prepared { mut plan, profile, targets, zones } =
        match prepare(id, seed, &policy, &base, state.path(), terminal) {
            Ok(prepared) => prepared,
            Err(error) => {
                ledger.observe(refused(id, &error))?;
                ledger.seal()?;
                return Err(error);
            }
        };
    (hooks.plan)(&mut plan);
    let beginning = Beginning {
        sandbox: id,
        policy: policy.name().to_owned(),
        hash: policy.hash().to_owned(),
        origin,
        profile: profile.name(),
        limits: policy.limits(),
        required: policy.walls(),
        zones,
    };
    let (walls, landlock) = (plan.walls, plan.landlock_abi);
    let rules = plan.seccomp.clone();
    let ids = CommandIds::of(&plan, user);
    // From here on signals are read, not taken: none may strike while a sandbox is half built.
    let signals = jail::sys::signals_as_fd(&SIGNALS).map_err(|source| caller("signalfd", source))?;
    let path = state.path().to_owned();
    let Started { sandbox, agent } = jail::start(&plan, AGENT, |ended| abandoned(&path, id, ended))?;
    drop(plan);
    // The walls go up while this is written.
    let recorded = match ledger.record((beginning, Execution { sandbox: id, exec: COMMAND, permit })) {
        Ok(recorded) => recorded,
        Err(error) => {
            sandbox.end(None).1.gone();
            return Err(error.into());
        }
    };
    let built = match sandbox.built() {
        Ok(built) => built,
        Err(error) => {
            sandbox.end(None).1.gone();
            ledger.observe(refused(id, &error))?;
            ledger.seal()?;
            return Err(error.into());
        }
    };
    debug_assert_eq!(built.walls, walls, "a builder puts up the walls of its plan or none");
    let mut life = Life {
        id,
        agent: Agent::over(agent),
        denials: Denials::new(built.denials, rules),
        streams: Vec::new(),
        signals,
        terminals,
        program: String::new(),
        cwd: String::new(),
        master: None,
        stopped: None,
        give_up: None,
    };
    let begun = life.begin(recorded.split().1, ids, built.terminal);
    let raw = life.master.as_ref().map(|master| Raw::enter(terminals, master));
    // While the command comes up.
    ledger.observe(Event::Ready { sandbox: id, walls: built.walls, landlock })?;
    // After set-up the sandbox's files belong to ids that are not the caller's; to hand them out takes rights over those.
    let foreign = profile == Profile::UserSetUp && !targets.is_empty();
    let namespace = foreign.then(|| sandbox.user_namespace()).transpose()?;
    let lived = begun.and_then(|()| life.live(&mut ledger, &sandbox));
    sandbox.kill();
    life.drain();
    drop(raw);
    let (full, bytes_max) = full(&built.disk);
    let (mut ended, remains) = sandbox.end(Some(built.disk));
    ended.hits.extend(full);
    let finished = Finished {
        id,
        lived,
        stopped: life.stopped,
        denials: life.denials.count(),
        ended,
        targets,
        bytes_max,
    };
    let reader = namespace.as_ref().map_or(Reader::Caller, Reader::Namespace);
    let outcome = finished.record(&mut ledger, &built.zones, &reader, walls, landlock);
    remains.gone();
    outcome
}

/// What is known when nothing runs any more.
struct Finished {
    id: SandboxId,
    lived: Result<Option<u8>, Error>,
    stopped: Option<i32>,
    denials: u64,
    ended: Ended,
    targets: Vec<Target>,
    /// The most that may be handed out.
    bytes_max: u64,
}

impl Finished {
    /// Hands out what is to be handed out, and closes the record.
    fn record(
        self,
        ledger: &mut Ledger,
        zones: &[OwnedFd],
        reader: &Reader<'_>,
        walls: Walls,
        landlock: u32,
    ) -> Result<Outcome, Error> {
        let Finished { id, lived, stopped, denials, ended, targets, bytes_max } = self;
        let status = match lived {
            Ok(status) => status,
            Err(error) => {
                ledger.observe(refused(id, &error))?;
                ledger.seal()?;
                return Err(error);
            }
        };
        let Ended { usage, hits } = ended;
        let (status, reason) = verdict(status, stopped, &hits);
        ledger.observe(Event::ExecEnd { sandbox: id, exec: COMMAND, status })?;
        for limit in &hits {
            ledger.observe(Event::Limit { sandbox: id, limit: *limit })?;
        }
        let left_behind = hand_out_all(ledger, id, targets, zones, bytes_max, reader)?;
        ledger.observe(Event::End { sandbox: id, reason: reason.clone(), usage, denials })?;
        ledger.seal()?;
        Ok(Outcome { sandbox: id, status, reason, walls, landlock, hits, usage, denials, left_behind })
    }
}

/// A sandbox while its command runs.
struct Life {
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
}

impl Life {
    /// Starts the command. Takes the proof that it was permitted and that this is on record; there is no other way to
    /// the agent.
    fn begin(
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
            terminal: self.terminals.stdin,
            capabilities: ids.capabilities,
            deadline_ms: None,
        };
        let passed: Vec<BorrowedFd<'_>> = passed.iter().map(|fd: &OwnedFd| fd.as_fd()).collect();
        self.agent.exec(exec, &passed).map_err(|error| match error {
            agent::Error::TooLong(_) => self.not_started(E2BIG, agent::Stage::Program),
            other => failed(&other),
        })
    }

    /// Makes the command's three descriptors: the sandbox's terminal where the caller has one, pipes elsewhere.
    fn connect(&mut self, passed: &mut Vec<OwnedFd>, master: Option<OwnedFd>) -> std::io::Result<[Stdio; 3]> {
        use rustix::stdio::{stderr, stdin, stdout};
        let terminals = self.terminals;
        let mut stdio = [Stdio::Passed; 3];
        if terminals.stdin {
            stdio[0] = Stdio::Terminal;
        } else {
            let (read, write) = relay::pipe()?;
            passed.push(read);
            self.streams.insert(INPUT, Stream::new(relay::callers(stdin())?, write));
            relay::let_go(0)?;
        }
        for (place, fd, is_terminal) in [(1, stdout(), terminals.stdout), (2, stderr(), terminals.stderr)] {
            if is_terminal {
                stdio[place] = Stdio::Terminal;
            } else {
                let (read, write) = relay::pipe()?;
                passed.push(write);
                self.streams.push(Stream::new(read, relay::callers(fd)?));
                // Standard error stays: it is where we speak ourselves.
                if place == 1 {
                    relay::let_go(1)?;
                }
            }
        }
        if let Some(master) = master {
            terminals.copy_size(&master);
            let flags = rustix::fs::fcntl_getfl(&master)? | rustix::fs::OFlags::NONBLOCK;
            rustix::fs::fcntl_setfl(&master, flags)?;
            // What a terminal shows goes to where the caller looks; input that is echoed, too.
            let shown = if terminals.stdout {
                stdout()
            } else if terminals.stderr {
                stderr()
            } else {
                stdin()
            };
            self.streams.push(Stream::new(master.try_clone()?, relay::callers(shown)?));
            if terminals.stdin {
                self.streams.insert(INPUT, Stream::new(relay::callers(stdin())?, master.try_clone()?));
            }
            self.master = Some(master);
        }
        Ok(stdio)
    }

    /// Lives until the command or the sandbox ends; gives the command's status if it said one.
    fn live(&mut self, ledger: &mut Ledger, sandbox: &Sandbox) -> Result<Option<u8>, Error> {
        loop {
            // Replies may already be here; a poll does not see those.
            while let Some(reply) = self.next_reply()? {
                match reply {
                    Reply::Started { .. } => {}
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
            let ready = self.wait(sandbox)?;
            if ready.denial {
                self.denials.answer(self.id, ledger)?;
            }
            if ready.signal {
                self.take_signals(sandbox);
            }
            if ready.gone {
                return Ok(None);
            }
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
            Err(agent::Error::Gone) => Ok(None),
            other => other.map_err(|error| failed(&error)),
        }
    }

    /// Waits for anything, and moves bytes where it can.
    fn wait(&mut self, sandbox: &Sandbox) -> Result<Ready, Error> {
        let mut fds = vec![
            PollFd::from_borrowed_fd(sandbox.first(), PollFlags::IN),
            PollFd::from_borrowed_fd(sandbox.line(), PollFlags::IN),
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.agent, PollFlags::IN),
        ];
        let denials_at = self.denials.as_fd().map(|fd| {
            fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
            fds.len() - 1
        });
        let streams_at = fds.len();
        let open = relay::ask(&self.streams, &mut fds);
        let left = self.give_up.map(|at| at.saturating_duration_since(Instant::now()));
        let wait =
            left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
        match poll(&mut fds, wait.as_ref()) {
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
                if self.agent.signal(COMMAND, signal).is_err() {
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
    fn drain(&mut self) {
        self.give_up = None;
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
struct CommandIds {
    uid: u32,
    capabilities: u64,
}

impl CommandIds {
    fn of(plan: &Plan, user: User) -> CommandIds {
        match user {
            User::User => CommandIds { uid: jail::ids::USER, capabilities: 0 },
            User::Root => CommandIds { uid: 0, capabilities: plan.root_capabilities() },
        }
    }
}

/// A new id, and a number that spreads the search for free host ids.
fn draw_id() -> (SandboxId, u32) {
    let mut bytes = [0; 20];
    // The kernel gives 20 bytes whole, or waits for its pool at the first boot of a machine.
    while rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()).is_err() {}
    (SandboxId::from_random(bytes), u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// The whole environment of a command: nothing of the caller's but the kind of its terminal.
fn environment(extra: Vec<(Vec<u8>, Vec<u8>)>, user: User, terminals: Terminals) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (name, home) = match user {
        User::User => ("user", "/home/user"),
        User::Root => ("root", "/root"),
    };
    let mut list: Vec<(Vec<u8>, Vec<u8>)> = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", home),
        ("USER", name),
        ("LOGNAME", name),
        ("SHELL", "/bin/sh"),
        ("LANG", "C.UTF-8"),
    ]
    .into_iter()
    .map(|(name, value)| (name.into(), value.into()))
    .collect();
    if let (true, Some(kind)) = (terminals.any(), std::env::var_os("TERM")) {
        list.push((b"TERM".to_vec(), kind.into_encoded_bytes()));
    }
    list.retain(|(name, _)| !extra.iter().any(|(other, _)| other == name));
    list.extend(extra);
    list
}

/// What of the disk is full now, and how many bytes it holds when it is.
fn full(disk: &OwnedFd) -> (Vec<LimitHit>, u64) {
    let mut hits = Vec::new();
    let mut bytes = 0;
    if let Ok(disk) = rustix::fs::fstatfs(disk) {
        bytes = disk.f_blocks * disk.f_bsize as u64;
        if disk.f_blocks > 0 && disk.f_bavail == 0 {
            hits.push(LimitHit::DiskBytes);
        }
        if disk.f_files > 0 && disk.f_ffree == 0 {
            hits.push(LimitHit::DiskInodes);
        }
    }
    (hits, bytes)
}

/// The status to exit with, and the reason to record.
fn verdict(status: Option<u8>, stopped: Option<i32>, hits: &[LimitHit]) -> (u8, EndReason) {
    match (status, stopped) {
        (Some(status), None) => (status, EndReason::Finished),
        (Some(status), Some(signal)) => (status, EndReason::Stopped(signal)),
        (None, _) if hits.contains(&LimitHit::Wall) => (STATUS_TIME_IS_UP, EndReason::Limit(LimitHit::Wall)),
        (None, _) if hits.contains(&LimitHit::Memory) => (STATUS_KILLED, EndReason::Limit(LimitHit::Memory)),
        (None, Some(signal)) => (128_u8.saturating_add(signal as u8), EndReason::Stopped(signal)),
        (None, None) => {
            let what = "its first process or its warden ended before its command did".to_owned();
            (STATUS_KILLED, EndReason::Failed(what))
        }
    }
}

/// Copies every write zone to its place on the host. Each is on record before it begins.
fn hand_out_all(
    ledger: &mut Ledger,
    id: SandboxId,
    targets: Vec<Target>,
    zones: &[OwnedFd],
    bytes_max: u64,
    reader: &Reader<'_>,
) -> Result<Vec<String>, Error> {
    let mut left_behind = Vec::new();
    for (target, zone) in targets.into_iter().zip(zones) {
        let recorded = ledger.record(HandOut { sandbox: id, at: target.at.clone(), to: target.path })?;
        let out = hand_out(recorded, zone, &target.directory, bytes_max, reader)?;
        left_behind.extend(out.refused.iter().map(|what| format!("{}: {what}", target.at)));
        let at = quote(&target.at);
        ledger.observe(Event::HandedOut {
            sandbox: id,
            at,
            files: out.files,
            bytes: out.bytes,
            refused: out.refused,
        })?;
    }
    Ok(left_behind)
}

/// Runs in the warden when its caller was killed: the record must not end with a sandbox that seems to live.
fn abandoned(state: &std::path::Path, id: SandboxId, ended: Ended) {
    let end = Event::End { sandbox: id, reason: EndReason::Abandoned, usage: ended.usage, denials: 0 };
    // There is nobody left to tell of an error.
    let _ = Ledger::open(state, Box::new(SystemClock)).and_then(|mut ledger| {
        ledger.observe(end)?;
        ledger.seal()
    });
}

fn refused(sandbox: SandboxId, error: &dyn std::error::Error) -> Event {
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        why = format!("{why}: {error}");
        source = error.source();
    }
    Event::End { sandbox, reason: EndReason::Refused(quote(why)), usage: Usage::default(), denials: 0 }
}

fn caller(call: &str, source: std::io::Error) -> Error {
    Error::Caller { call: call.to_owned(), source }
}

fn failed(error: &agent::Error) -> Error {
    Error::Failed { what: error.to_string() }
}
