//! One sandbox, one command: the story of `casemate run`.

use crate::board::{Board, Told};
use crate::clock::SystemClock;
use crate::denials::Denials;
use crate::draft::{self, DraftEnd};
use crate::effects::{Beginning, Execution};
use crate::error::Error;
use crate::finish::{Finished, full, refused};
use crate::handout::Reader;
use crate::life::{COMMAND, CommandIds, Life, SIGNALS, caller};
use crate::prepare::{Prepared, prepare};
use crate::state::State;
use crate::terminal::{Raw, Terminals};
use agent::Agent;
use jail::ids::Profile;
use jail::{Ended, Plan, Started, Terminal, ZoneKind};
use ledger::Ledger;
use model::{Denial, EndReason, Event, LimitHit, Limits, SandboxId, Source, Usage, Walls};
use policy::{ExecRequest, Permit, Policy, User};
use rustix::fd::OwnedFd;
use std::ffi::OsString;
use std::path::PathBuf;

/// The agent that travels inside this crate.
pub(crate) const AGENT: &[u8] = include_bytes!(env!("CASEMATE_AGENT"));

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
    /// The command, which the policy allows.
    pub permit: Permit<ExecRequest>,
    /// What becomes of its draft zones.
    pub drafts: Drafts,
}

/// What becomes of the changes in draft zones when a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drafts {
    /// They go with the sandbox.
    Drop,
    /// They are kept in the state directory.
    Keep,
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
    /// Its ceilings.
    pub limits: Limits,
    /// What it used.
    pub usage: Usage,
    /// How many calls were refused.
    pub denials: u64,
    /// Why some of its output was lost on the caller's side; a status of 0 becomes 71 then.
    pub output_lost: Option<String>,
    /// What its write zones did not hand out, and why.
    pub left_behind: Vec<String>,
    /// What its draft zones came to.
    pub drafts: Vec<DraftEnd>,
}

/// The command of a run, with the environment that it gets beside `env`.
pub fn command(argv: Vec<Vec<u8>>, cwd: Vec<u8>, env: Vec<(Vec<u8>, Vec<u8>)>, user: User) -> ExecRequest {
    let kind = if Terminals::of_caller().any() { std::env::var_os("TERM") } else { None };
    ExecRequest { argv, cwd, env: environment(env, user, kind), user, terminal: None }
}

/// Asks a policy whether a command may run. What it denies is on record.
///
/// # Errors
/// The policy denies it, or the ledger cannot be continued.
pub fn decide(state: &State, policy: &Policy, command: &ExecRequest) -> Result<Permit<ExecRequest>, Error> {
    match policy.exec(command) {
        Ok(permit) => Ok(permit),
        Err(denied) => {
            refuse(state, denied.clone())?;
            Err(denied.into())
        }
    }
}

/// Runs one command in a sandbox of its own, with this process's standard descriptors, and returns when nothing of
/// the sandbox is left.
///
/// This process must be single-threaded: it forks.
///
/// # Errors
/// Whatever kept the command from running. Nothing of the sandbox is left then either.
pub fn run(request: Request, hooks: Hooks) -> Result<Outcome, Error> {
    let Request { state, policy, origin, base, permit, drafts: keep } = request;
    jail::sys::wait_for_children();
    let open = || Ledger::open(state.path(), Box::new(SystemClock));
    let (id, seed) = draw_id();
    let terminals = Terminals::of_caller();
    let terminal = if terminals.any() { Terminal::Yes } else { Terminal::No };
    let Prepared { mut plan, profile, targets, drafts, zones } =
        match prepare(id, seed, &policy, &base, state.path(), terminal) {
            Ok(prepared) => prepared,
            Err(error) => {
                open()?.seal_with(&[refused(id, &error)])?;
                return Err(error);
            }
        };
    (hooks.plan)(&mut plan);
    let is_draft: Vec<bool> = plan.zones.iter().filter_map(comes_out).collect();
    let mut beginning = Beginning {
        sandbox: id,
        policy: policy.name().to_owned(),
        hash: policy.hash().to_owned(),
        origin,
        profile: profile.name(),
        limits: policy.limits(),
        required: policy.walls(),
        zones,
        drafts: Vec::new(),
    };
    let landlock = plan.landlock_abi;
    let rules = plan.seccomp.clone();
    let ids = CommandIds::of(&plan, permit.request().user);
    // From here on signals are read, not taken: none may strike while a sandbox is half built.
    let signals = jail::sys::signals_as_fd(&SIGNALS).map_err(|source| caller("signalfd", source))?;
    let path = state.path().to_owned();
    let Started { mut sandbox, agent } = jail::start(&plan, AGENT, |ended| abandoned(&path, id, ended))?;
    // The walls go up while this is written, and it is first: the disk is the slowest of all. Before anything runs inside,
    // what the originals of drafts are.
    let opened = match open_drafts(drafts) {
        Ok(opened) => opened,
        Err(error) => {
            sandbox.end(None).1.gone();
            open()?.seal_with(&[refused(id, &error)])?;
            return Err(error);
        }
    };
    beginning.drafts = opened.iter().map(|opened| opened.event(id)).collect();
    // Files may be dated by the tick before.
    let start_ns = draft::now_ns() - 100_000_000;
    let argv = permit.request().argv.iter().map(model::quote).collect::<Vec<_>>().join(" ");
    let execution = Execution { sandbox: id, exec: COMMAND, permit, source: Source::Caller, beside: None };
    let written = open().and_then(|mut ledger| Ok((ledger.record((beginning, execution))?, ledger)));
    let (recorded, mut ledger) = match written {
        Ok(written) => written,
        Err(error) => {
            sandbox.end(None).1.gone();
            return Err(error.into());
        }
    };
    // Also while the walls go up; it is shown before the command can look.
    let mut board = Board::new(&policy);
    let built = match sandbox.built() {
        Ok(built) => built,
        Err(error) => {
            sandbox.end(None).1.gone();
            ledger.seal_with(&[refused(id, &error)])?;
            return Err(error.into());
        }
    };
    let at = built.board.as_ref().unwrap_or(&built.disk);
    board.open(at);
    let denials = Denials::new(built.denials, rules);
    let mut life = Life::new(id, Agent::over(agent), denials, signals, terminals);
    let begun = life.begin(recorded.split().1, ids, built.terminal);
    let raw = life.master().map(|master| Raw::enter(terminals, master));
    // While the command comes up.
    let ready = ledger.observe(Event::Ready { sandbox: id, walls: built.walls, landlock });
    // After set-up the sandbox's files belong to ids that are not the caller's; to hand them out takes rights over those.
    let foreign = profile == Profile::UserSetUp && !targets.is_empty();
    let namespace = if foreign { sandbox.user_namespace().map(Some) } else { Ok(None) };
    let begun = begun.and(ready.map_err(Error::from));
    let (begun, namespace) = match namespace {
        Ok(namespace) => (begun, namespace),
        Err(error) => (begun.and(Err(error.into())), None),
    };
    let lived = begun.and_then(|()| life.live(&mut ledger, &sandbox, &mut Told { board, at }));
    sandbox.kill();
    life.drain();
    drop(raw);
    let (full, bytes_max) = full(&built.disk);
    drop(built.board);
    let (mut ended, remains) = sandbox.end(Some(built.disk));
    ended.hits.extend(full);
    let (uppers, zones) = split(built.zones, &is_draft);
    let what = draft::What::Command { exec: COMMAND, argv };
    let acts = vec![draft::Act { what, start_ns, end_ns: Some(draft::now_ns()) }];
    let drafts = draft::Ended {
        state: state.path(),
        sandbox: id,
        opened,
        uppers,
        keep: keep == Drafts::Keep,
        bytes_max,
        acts,
    };
    let finished = Finished {
        id,
        limits: policy.limits(),
        lived,
        stopped: life.stopped(),
        lost: life.lost(),
        denials: life.denials(),
        ended,
        targets,
        bytes_max,
        drafts,
    };
    let reader = namespace.as_ref().map_or(Reader::Caller, Reader::Namespace);
    let outcome = finished.record(&mut ledger, &zones, &reader, built.walls, landlock);
    remains.gone();
    outcome
}

/// Writes down that something was refused before there was a sandbox.
///
/// # Errors
/// The ledger cannot be continued.
pub fn refuse(state: &State, denial: Denial) -> Result<(), Error> {
    let mut ledger = Ledger::open(state.path(), Box::new(SystemClock))?;
    ledger.seal_with(&[Event::denied(None, None, denial)])?;
    Ok(())
}

/// Of a zone whose directory comes out with the report of the walls, whether it is a draft.
fn comes_out(zone: &jail::Zone) -> Option<bool> {
    match zone.kind {
        ZoneKind::Draft { .. } => Some(true),
        ZoneKind::Write => Some(false),
        ZoneKind::Read { .. } | ZoneKind::Scratch => None,
    }
}

/// The upper layers of drafts, and the directories of write zones.
fn split(directories: Vec<OwnedFd>, is_draft: &[bool]) -> (Vec<OwnedFd>, Vec<OwnedFd>) {
    let (mut uppers, mut zones) = (Vec::new(), Vec::new());
    for (directory, is_draft) in directories.into_iter().zip(is_draft) {
        if *is_draft { uppers.push(directory) } else { zones.push(directory) }
    }
    (uppers, zones)
}

fn open_drafts(drafts: Vec<draft::Draft>) -> Result<Vec<draft::Opened>, Error> {
    let open = |draft: draft::Draft| {
        let at = draft.at.clone();
        draft.open().map_err(|source| Error::Draft { at, source })
    };
    drafts.into_iter().map(open).collect()
}

/// A new id, and a number that spreads the search for free host ids.
fn draw_id() -> (SandboxId, u32) {
    let mut bytes = [0; 20];
    // The kernel gives 20 bytes whole, or waits for its pool at the first boot of a machine.
    while rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()).is_err() {}
    (SandboxId::from_random(bytes), u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// The whole environment of a command: nothing of the caller's but the kind of its `terminal`.
pub(crate) fn environment(
    extra: Vec<(Vec<u8>, Vec<u8>)>,
    user: User,
    terminal: Option<OsString>,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (name, home) = match user {
        User::User => ("user", "/home/user"),
        User::Root => ("root", "/root"),
    };
    let mut list: Vec<(Vec<u8>, Vec<u8>)> = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/.casemate"),
        ("HOME", home),
        ("USER", name),
        ("LOGNAME", name),
        ("SHELL", "/bin/sh"),
        ("LANG", "C.UTF-8"),
    ]
    .into_iter()
    .map(|(name, value)| (name.into(), value.into()))
    .collect();
    if let Some(kind) = terminal {
        list.push((b"TERM".to_vec(), kind.into_encoded_bytes()));
    }
    list.retain(|(name, _)| !extra.iter().any(|(other, _)| other == name));
    list.extend(extra);
    list
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
