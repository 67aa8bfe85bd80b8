//! Watches one sandbox from outside and outlives whoever asked for it.
//!
//! The caller forks a warden; the warden clones the builder, which becomes the agent. So there are always two who
//! can end a sandbox and clean up after it: the caller, and the warden if the caller is killed. The warden has no
//! files, no terminal and no network of the caller's; it waits for five things and does one:
//!
//! ```text
//!   the caller is gone ─┐
//!   the caller says so ─┤
//!   time is up ─────────┼─→ SIGKILL to the first process inside, wait for all, remove the cgroup, say what was seen
//!   memory is up ───────┤
//!   the sandbox ended ──┘
//! ```

use crate::cgroup::{Cgroup, MemoryWatch};
use crate::error::{For, Result};
use crate::ids::Ids;
use crate::plan::Plan;
use crate::report::{self, Built};
use crate::stages::{self, Hands};
use crate::sys::{self, Forked};
use model::{LimitHit, Usage, Wall};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use std::time::{Duration, Instant};

/// How a sandbox ended, as seen from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// What it used.
    pub usage: Usage,
    /// Limits that it ran into, in the order of severity.
    pub hits: Vec<LimitHit>,
}

/// A sandbox in the making, or alive: the caller's end.
#[derive(Debug)]
pub struct Warden {
    process: OwnedFd,
    line: OwnedFd,
    report: OwnedFd,
}

/// A warden and the control socket of the agent that it will start.
#[derive(Debug)]
pub struct Started {
    /// Who watches.
    pub warden: Warden,
    /// Speaks to the agent, once it is up.
    pub agent: OwnedFd,
}

const END: u8 = b'x';

/// Starts building. `image` is the agent's program. `abandoned` runs in the warden, after the sandbox is gone, if by
/// then the caller is gone too.
///
/// Only for a single-threaded process: the warden is a fork of it.
///
/// # Errors
/// The processes or sockets for it cannot be made. What fails later comes with [`Warden::built`].
pub fn start(plan: Plan, image: &[u8], abandoned: impl FnOnce(Ended)) -> Result<Started> {
    let pair = |kind| {
        socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
            .wall(Wall::UserNamespace, || "socketpair(AF_UNIX)".to_owned())
    };
    let (line, warden_line) = pair(SocketType::SEQPACKET)?;
    let (report, builder_report) = pair(SocketType::SEQPACKET)?;
    let (agent, agent_inside) = pair(SocketType::STREAM)?;
    let forked = sys::clone3(0, None).wall(Wall::PidNamespace, || "clone3()".to_owned())?;
    match forked {
        Forked::Parent { pidfd, .. } => {
            Ok(Started { warden: Warden { process: pidfd, line, report }, agent })
        }
        Forked::Child => {
            drop((line, report, agent));
            let failures = builder_report.try_clone();
            let ended = watch(&plan, image, warden_line.as_fd(), builder_report, agent_inside);
            match ended {
                Ok((ended, caller)) => {
                    let told = caller == Caller::There
                        && rustix::net::send(&warden_line, &ended.to_bytes(), SendFlags::NOSIGNAL).is_ok();
                    if !told {
                        abandoned(ended);
                    }
                    if let Some(home) = &plan.cgroup {
                        drop(warden_line);
                        home.sweep();
                    }
                    sys::exit_now(0)
                }
                Err(error) => {
                    if let Ok(failures) = failures {
                        report::send_failure(failures.as_fd(), &error);
                    }
                    sys::exit_now(1)
                }
            }
        }
    }
}

impl Warden {
    /// Waits until the walls stand.
    ///
    /// # Errors
    /// The wall that did not come to stand. Nothing of the sandbox is left then.
    pub fn built(&self) -> Result<Built> {
        report::receive(self.report.as_fd())
    }

    /// Asks for the end of the sandbox and returns at once; [`Warden::line`] polls ready when it is gone.
    pub fn end(&self) {
        // A warden that cannot be told is dead, and the sandbox with it.
        let _ = rustix::net::send(&self.line, &[END], SendFlags::NOSIGNAL);
    }

    /// Polls readable when the sandbox has ended, by itself or otherwise.
    pub fn line(&self) -> rustix::fd::BorrowedFd<'_> {
        self.line.as_fd()
    }

    /// Waits until nothing is left of the sandbox, and says how it ended; `None` if the warden itself was killed.
    /// (Its death ends the sandbox: the kernel kills the first process inside with its parent.)
    pub fn ended(self) -> Option<Ended> {
        let mut bytes = [0; 64];
        let ended = match rustix::net::recv(&self.line, &mut bytes[..], rustix::net::RecvFlags::empty()) {
            Ok((_, length)) => Ended::from_bytes(&bytes[..length]),
            Err(_) => None,
        };
        // The last thing a warden does is to sweep; nobody needs to wait for that if it has told how it ended.
        let wait = if ended.is_some() { WaitIdOptions::NOHANG } else { WaitIdOptions::empty() };
        let _ = waitid(WaitId::PidFd(self.process.as_fd()), WaitIdOptions::EXITED | wait);
        ended
    }
}

#[derive(PartialEq, Eq)]
enum Caller {
    There,
    Gone,
}

/// The warden's life. Returns when nothing of the sandbox is left.
fn watch(
    plan: &Plan,
    image: &[u8],
    line: rustix::fd::BorrowedFd<'_>,
    report: OwnedFd,
    control: OwnedFd,
) -> Result<(Ended, Caller)> {
    let begun = Instant::now();
    shed(plan, &[line.as_raw_fd(), report.as_raw_fd(), control.as_raw_fd()])?;
    let cgroup = match &plan.cgroup {
        Some(home) => Some(home.create(plan.id, &plan.limits)?),
        None => None,
    };
    let sandbox = match launch(plan, image, cgroup.as_ref(), report, control) {
        Ok(sandbox) => sandbox,
        Err(error) => {
            if let Some(cgroup) = cgroup {
                cgroup.remove();
            }
            return Err(error);
        }
    };
    let mut hits = Vec::new();
    // A watch that cannot be set leaves the limit standing; only its name is learned later, from the counters.
    let memory = cgroup.as_ref().and_then(|cgroup| cgroup.watch_memory().ok());
    let deadline = plan.limits.wall_ms.map(|ms| begun + Duration::from_millis(ms));
    let mut caller = Caller::There;
    loop {
        let mut fds = vec![
            PollFd::from_borrowed_fd(sandbox.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(line, PollFlags::IN),
        ];
        if let Some(memory) = &memory {
            fds.push(PollFd::from_borrowed_fd(memory.as_fd(), PollFlags::IN | PollFlags::PRI));
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let wait =
            left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
        match poll(&mut fds, wait.as_ref()) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => break,
            Ok(0) => {
                hits.push(LimitHit::Wall);
                break;
            }
            Ok(_) => {}
        }
        if !fds[0].revents().is_empty() {
            break;
        }
        if !fds[1].revents().is_empty() {
            let mut word = [0];
            if !matches!(rustix::net::recv(line, &mut word[..], rustix::net::RecvFlags::empty()), Ok((_, 1)))
            {
                caller = Caller::Gone;
            }
            break;
        }
        let noticed = fds.get(2).is_some_and(|fd| !fd.revents().is_empty());
        if noticed && memory.as_ref().is_some_and(MemoryWatch::tripped) {
            // v1 is about to kill one process; the promise is the whole sandbox.
            hits.push(LimitHit::Memory);
            break;
        }
    }
    let _ = pidfd_send_signal(&sandbox, Signal::KILL);
    let _ = waitid(WaitId::PidFd(sandbox.as_fd()), WaitIdOptions::EXITED);
    let mut usage = Usage::default();
    if let Some(cgroup) = cgroup {
        usage = cgroup.usage();
        for hit in cgroup.hits() {
            if !hits.contains(&hit) {
                hits.push(hit);
            }
        }
        cgroup.remove();
    }
    usage.wall_ms = begun.elapsed().as_millis() as u64;
    Ok((Ended { usage, hits }, caller))
}

/// Lets go of all that the fork inherited: the caller's pipes must close when the caller closes them, its terminal's
/// signals are not for us, and its working directory must stay removable.
fn shed(plan: &Plan, keep: &[i32]) -> Result<()> {
    let wall = Wall::OwnSession;
    rustix::process::setsid().wall(wall, || "setsid()".to_owned())?;
    let _ = rustix::thread::set_name(c"casemate-warden");
    let mut keep: Vec<i32> = keep.iter().copied().chain(plan.descriptors()).collect();
    keep.sort_unstable();
    let mut next = 0;
    for fd in keep.into_iter().map(|fd| fd as u32).chain([u32::MAX]) {
        if fd > next {
            sys::close_range(next, fd - u32::from(fd != u32::MAX))
                .wall(wall, || format!("close_range({next}, {fd})"))?;
        }
        next = fd.saturating_add(1);
    }
    rustix::process::chdir("/").wall(wall, || "chdir(\"/\")".to_owned())
}

/// Clones the builder, writes its maps, and seals the agent's program while it works.
fn launch(
    plan: &Plan,
    image: &[u8],
    cgroup: Option<&Cgroup>,
    report: OwnedFd,
    control: OwnedFd,
) -> Result<OwnedFd> {
    let (go, say_go) = pipe_with(PipeFlags::CLOEXEC).wall(Wall::UserNamespace, || "pipe2()".to_owned())?;
    let program = rustix::fs::memfd_create("casemate-agent", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .wall(Wall::OwnRoot, || "memfd_create(\"casemate-agent\")".to_owned())?;
    let enter = cgroup.map_or_else(|| Ok(Vec::new()), Cgroup::enter_files)?;
    let into = cgroup.and_then(Cgroup::clone_into);
    let forked = sys::clone3(plan.namespaces(), into).wall(Wall::UserNamespace, || {
        format!("clone3({:#x}, into a cgroup: {})", plan.namespaces(), into.is_some())
    })?;
    let (pid, sandbox) = match forked {
        Forked::Child => {
            drop(say_go);
            stages::build(plan, Hands { go, report, control, image: program, enter })
        }
        Forked::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop((report, control, enter));
    let ready = (|| {
        plan.ids.map(pid)?;
        let byte = || "write(go)".to_owned();
        rustix::io::write(&say_go, b"1").wall(Wall::UserNamespace, byte)?;
        seal(&program, image)?;
        rustix::io::write(&say_go, b"2").wall(Wall::UserNamespace, byte).map(drop)
    })();
    match ready {
        // A builder that failed has closed its end and says itself what failed.
        Ok(()) => Ok(sandbox),
        Err(error) if error.source.kind() == std::io::ErrorKind::BrokenPipe => Ok(sandbox),
        Err(error) => {
            let _ = pidfd_send_signal(&sandbox, Signal::KILL);
            let _ = waitid(WaitId::PidFd(sandbox.as_fd()), WaitIdOptions::EXITED);
            Err(error)
        }
    }
}

/// Fills the memory file and makes it unchangeable for ever: what runs inside can be read there, never replaced.
fn seal(program: &OwnedFd, image: &[u8]) -> Result<()> {
    let wall = Wall::OwnRoot;
    let mut rest = image;
    while !rest.is_empty() {
        let written = rustix::io::write(program, rest).wall(wall, || "write(memfd)".to_owned())?;
        rest = &rest[written..];
    }
    rustix::fs::fcntl_add_seals(
        program,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )
    .wall(wall, || "fcntl(F_ADD_SEALS)".to_owned())
}

impl Ended {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(32);
        for number in [
            self.usage.wall_ms,
            self.usage.cpu_ms.unwrap_or(u64::MAX),
            self.usage.memory_peak_bytes.unwrap_or(u64::MAX),
        ] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.hits.iter().map(|hit| *hit as u8));
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Ended> {
        let (numbers, hits) = bytes.split_at_checked(24)?;
        let number = |at: usize| u64::from_le_bytes(numbers[at..at + 8].try_into().unwrap_or_default());
        let given = |at| Some(number(at)).filter(|n| *n != u64::MAX);
        const HITS: [LimitHit; 5] =
            [LimitHit::Memory, LimitHit::Pids, LimitHit::DiskBytes, LimitHit::DiskInodes, LimitHit::Wall];
        Some(Ended {
            usage: Usage { wall_ms: number(0), cpu_ms: given(8), memory_peak_bytes: given(16) },
            hits: hits.iter().filter_map(|hit| HITS.get(usize::from(*hit)).copied()).collect(),
        })
    }
}

impl Plan {
    /// Namespaces of the first process. The cgroup namespace is made later, from inside the cgroup.
    fn namespaces(&self) -> u64 {
        [
            (Wall::UserNamespace, libc::CLONE_NEWUSER),
            (Wall::PidNamespace, libc::CLONE_NEWPID),
            (Wall::MountNamespace, libc::CLONE_NEWNS),
            (Wall::NetworkNamespace, libc::CLONE_NEWNET),
            (Wall::IpcNamespace, libc::CLONE_NEWIPC),
            (Wall::UtsNamespace, libc::CLONE_NEWUTS),
        ]
        .into_iter()
        .filter(|(wall, _)| self.walls.has(*wall))
        .fold(0, |flags, (_, flag)| flags | flag as u64)
    }

    /// Descriptors that the warden keeps for the builder.
    fn descriptors(&self) -> Vec<i32> {
        let mut fds = Vec::new();
        if let Ids::Block { lease, .. } = &self.ids {
            fds.push(lease.as_raw_fd());
        }
        for zone in &self.zones {
            if let crate::plan::ZoneKind::Read { directory, mount, .. } = &zone.kind {
                fds.push(directory.as_raw_fd());
                fds.extend(mount.as_ref().map(|mount| mount.as_raw_fd()));
            }
        }
        fds
    }
}
