//! A sandbox from its caller's side: started, built, ended, gone.

use crate::cgroup::{Cgroup, Home};
use crate::error::{For, Result};
use crate::image::Image;
use crate::plan::{Door, Plan};
use crate::report::{self, Built, word};
use crate::stages::{self, Hands};
use crate::sys::{self, Forked, Turn};
use crate::warden::{Post, Supply};
use model::{LimitHit, SandboxId, Usage, Wall};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{
    Signal, WaitId, WaitIdOptions, getpriority_process, pidfd_send_signal, setpriority_process, waitid,
};
use std::time::{Duration, Instant};

/// How a sandbox ended, as seen from outside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ended {
    /// What it used.
    pub usage: Usage,
    /// Limits that it ran into.
    pub hits: Vec<LimitHit>,
}

/// A sandbox in the making, or alive: the caller's end.
#[derive(Debug)]
pub struct Sandbox {
    pid: i32,
    first: OwnedFd,
    report: OwnedFd,
    line: OwnedFd,
    id: SandboxId,
    home: Option<Home>,
    cgroup: Option<Cgroup>,
    begun: Instant,
}

/// A sandbox, and the control socket of the agent in it.
#[derive(Debug)]
pub struct Started {
    /// The sandbox.
    pub sandbox: Sandbox,
    /// Speaks to the agent, once it is up.
    pub agent: OwnedFd,
}

/// Nothing of the sandbox runs any more; what is left of it goes while this value does.
#[derive(Debug)]
pub struct Remains {
    line: OwnedFd,
    cgroup: Option<Cgroup>,
    disk: Option<OwnedFd>,
}

/// Starts building. `image` is the agent's program. `abandoned` runs in the warden, after the sandbox is gone, if the
/// caller is gone too.
///
/// Only for a single-threaded process: it forks twice.
///
/// # Errors
/// The processes or sockets for it cannot be made. What fails later comes with [`Sandbox::built`].
pub fn start(plan: &Plan, image: &[u8], abandoned: impl FnOnce(Ended)) -> Result<Started> {
    let begun = Instant::now();
    let program = Image::empty()?;
    let (Ends { report, tell, agent, .. }, mut hands) = ends(plan, &program)?;
    // The warden first: from the first cgroup on there is somebody who removes it, whoever is killed when.
    let (line, wardens) = pair(SocketType::SEQPACKET)?;
    if let Forked::Child = sys::clone3(0, None).wall(Wall::PidNamespace, || "clone3()".to_owned())? {
        let supply = Supply { image: &program, program: image, tell, report: hands.report };
        Post { plan, line: wardens, begun }.hold(supply, abandoned)
    }
    drop(wardens);
    let cgroup = born_into(plan)?;
    let into = cgroup.as_ref().and_then(Cgroup::clone_into);
    let usual = hurry();
    hands.nice = usual;
    let forked = sys::clone3(plan.namespaces(), into).wall(Wall::UserNamespace, || {
        format!("clone3({:#x}, into a cgroup: {})", plan.namespaces(), into.is_some())
    });
    let (pid, first) = match forked {
        Ok(Forked::Parent { pid, pidfd }) => (pid, pidfd),
        Ok(Forked::Child) => {
            drop((report, tell, agent, line));
            stages::build(plan, hands)
        }
        Err(error) => {
            make_way(usual);
            discard(cgroup);
            return Err(error);
        }
    };
    drop((hands, program));
    let prepared = (|| {
        let introduced = introduce(plan, pid, &tell);
        make_way(usual);
        introduced?;
        // Taking a mount namespace apart waits for a grace period of the kernel. Whoever lets go of it last waits: held by
        // the warden, that is not the caller. (If it cannot be had, the end of a sandbox takes that bit longer.)
        let mounts = std::fs::File::open(format!("/proc/{pid}/ns/mnt")).map(OwnedFd::from);
        let first = first.try_clone().wall(Wall::PidNamespace, || "dup(pidfd)".to_owned())?;
        let watched: Vec<OwnedFd> = std::iter::once(first).chain(mounts).collect();
        report::tell(line.as_fd(), word::WATCH, &watched)
    })();
    match prepared {
        Ok(()) => {
            let (id, home) = (plan.id, plan.cgroup.clone());
            Ok(Started { sandbox: Sandbox { pid, first, report, line, id, home, cgroup, begun }, agent })
        }
        // A builder that failed has closed its end, and says itself what failed.
        Err(error) => {
            let said = report::failure(report.as_fd());
            kill_and_wait(&first);
            discard(cgroup);
            Err(said.unwrap_or(error))
        }
    }
}

/// Builds the walls of `plan` but for its cgroup, runs `program` in them, and gives its exit status (255 if a signal
/// ended it). No agent, no warden: this is the floor that a start is measured against.
///
/// # Errors
/// The wall that did not come to stand.
pub fn bare(plan: &Plan, program: OwnedFd) -> Result<u8> {
    let wall = Wall::UserNamespace;
    let (Ends { report, tell, .. }, hands) = ends(plan, &Image::of(program))?;
    match sys::clone3(plan.namespaces(), None).wall(wall, || "clone3()".to_owned())? {
        Forked::Child => stages::build(plan, hands),
        Forked::Parent { pid, pidfd } => {
            drop(hands);
            plan.ids.map(pid)?;
            for word in [word::MAPPED, word::ENTER, word::SEALED] {
                report::tell(tell.as_fd(), word, &[])?;
            }
            let built = report::receive(report.as_fd())?;
            let ended = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)
                .wall(Wall::PidNamespace, || "waitid()".to_owned())?;
            drop(built);
            Ok(ended.and_then(|ended| ended.exit_status()).map_or(255, |status| status as u8))
        }
    }
}

impl Sandbox {
    /// Waits until the walls stand.
    ///
    /// # Errors
    /// The wall that did not come to stand, or that the warden died. [`Sandbox::end`] is still the caller's to do.
    pub fn built(&mut self) -> Result<Built> {
        let mut fds = [PollFd::new(&self.report, PollFlags::IN), PollFd::new(&self.line, PollFlags::empty())];
        while poll(&mut fds, None) == Err(rustix::io::Errno::INTR) {}
        if fds[0].revents().is_empty() {
            return Err(std::io::Error::other("the warden died"))
                .wall(Wall::PidNamespace, || "poll(report)".to_owned());
        }
        let built = report::receive(self.report.as_fd())?;
        self.cgroup = self.cgroup.take().or_else(|| Some(self.home.as_ref()?.reopen(self.id)));
        Ok(built)
    }

    /// The sandbox's user namespace, while its first process lives.
    ///
    /// # Errors
    /// It cannot be opened: the process is gone.
    pub fn user_namespace(&self) -> Result<OwnedFd> {
        let path = format!("/proc/{}/ns/user", self.pid);
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
        rustix::fs::open(&path, flags, rustix::fs::Mode::empty())
            .wall(Wall::UserNamespace, || format!("open({path:?})"))
    }

    /// Which limits were hit so far.
    pub fn hits(&self) -> Vec<LimitHit> {
        self.cgroup.as_ref().map(Cgroup::hits).unwrap_or_default()
    }

    /// Polls readable when the first process inside has ended, and with it all others.
    pub fn first(&self) -> BorrowedFd<'_> {
        self.first.as_fd()
    }

    /// Polls as hung up when the warden is gone, which it should not be before its caller.
    pub fn line(&self) -> BorrowedFd<'_> {
        self.line.as_fd()
    }

    /// Asks for the death of everything inside and returns at once; [`Sandbox::first`] tells when it is done.
    pub fn kill(&self) {
        let _ = pidfd_send_signal(&self.first, Signal::KILL);
    }

    /// Ends the sandbox, if it has not ended, and says how it was. `disk` is the caller's last descriptor of it.
    pub fn end(self, disk: Option<OwnedFd>) -> (Ended, Remains) {
        let Sandbox { first, line, id, home, cgroup, begun, .. } = self;
        kill_and_wait(&first);
        let cgroup = cgroup.or_else(|| Some(home?.reopen(id)));
        let mut ended = Ended::seen(cgroup.as_ref(), begun);
        // Whatever made the warden end it was said before that.
        let mut hits = Vec::new();
        while report::said(line.as_fd()) {
            match report::hear(line.as_fd()) {
                Ok((word::TIME_IS_UP, _)) => hits.push(LimitHit::Wall),
                Ok((word::MEMORY_IS_UP, _)) => hits.push(LimitHit::Memory),
                _ => break,
            }
        }
        ended.put_first(hits);
        // The warden has its own copy of the descriptors, and removes what they stand for; if it is gone, it is ours to do.
        let told = report::tell(line.as_fd(), word::COUNTED, &[]).is_ok();
        (ended, Remains { line, cgroup: if told { None } else { cgroup }, disk })
    }
}

impl Remains {
    /// Waits until nothing of the sandbox is left. To be called when its end is on record: until then the warden stands
    /// by to record it.
    pub fn gone(self) {
        discard(self.cgroup);
        while matches!(report::hear(self.line.as_fd()), Ok((word, _)) if word != word::GONE) {}
        let _ = report::tell(self.line.as_fd(), word::RECORDED, self.disk.as_slice());
    }
}

/// Runs `work` in a process of its own that has all rights over what belongs to the sandbox of `namespace`, and none
/// more than this one over the host's; gives what it returned.
///
/// # Errors
/// The process cannot be made, may not enter, or died.
pub fn with_rights_over(namespace: &OwnedFd, work: impl FnOnce() -> Vec<u8>) -> Result<Vec<u8>> {
    use std::io::Read;
    let wall = Wall::UserNamespace;
    let (read, write) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).wall(wall, || "pipe2()".to_owned())?;
    match sys::clone3(0, None).wall(wall, || "clone3()".to_owned())? {
        Forked::Child => {
            if sys::enter_user_namespace(namespace.as_fd()).is_err() {
                sys::exit_now(1)
            }
            let written = std::io::Write::write_all(&mut std::fs::File::from(write), &work());
            sys::exit_now(i32::from(written.is_err()))
        }
        Forked::Parent { pidfd, .. } => {
            drop(write);
            let mut bytes = Vec::new();
            let read = std::fs::File::from(read).read_to_end(&mut bytes);
            let ended = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
            let status = ended.ok().flatten().and_then(|ended| ended.exit_status());
            match (read, status) {
                (Ok(_), Some(0)) => Ok(bytes),
                _ => Err(std::io::Error::other(format!("its process ended with {status:?}")))
                    .wall(wall, || "setns(NEWUSER)".to_owned()),
            }
        }
    }
}

/// The ends of a builder's sockets that stay with whoever starts it.
pub(crate) struct Ends {
    pub report: OwnedFd,
    pub tell: OwnedFd,
    pub agent: OwnedFd,
    pub door: Option<OwnedFd>,
}

/// The sockets of one builder: our ends, and what it is given.
pub(crate) fn ends(plan: &Plan, image: &Image) -> Result<(Ends, Hands)> {
    let (report, builder_report) = pair(SocketType::SEQPACKET)?;
    let (tell, told) = pair(SocketType::SEQPACKET)?;
    let (agent, control) = pair(SocketType::STREAM)?;
    let (door, agents_door) = match plan.door {
        Door::No => (None, None),
        Door::Yes => {
            let (ours, agents) = pair(SocketType::SEQPACKET)?;
            (Some(ours), Some(agents))
        }
    };
    let image = image.descriptor()?;
    let hands = Hands {
        told,
        early: Vec::new(),
        report: builder_report,
        control,
        door: agents_door,
        image,
        nice: None,
    };
    Ok((Ends { report, tell, agent, door }, hands))
}

fn pair(kind: SocketType) -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
        .wall(Wall::UserNamespace, || "socketpair(AF_UNIX)".to_owned())
}

/// Lets this process and what it forks come before others, where it may, which takes a right that only root has: a start
/// waits for the builder, and longest for the network namespace that it makes beside. Gives how nice we were.
fn hurry() -> Option<i32> {
    let nice = getpriority_process(None).ok()?;
    setpriority_process(None, nice - 20).ok().map(|()| nice)
}

/// From here on we wait for the builder. (What cannot be had makes a start that bit longer.)
fn make_way(usual: Option<i32>) {
    let _ = usual.map(|nice| setpriority_process(None, nice));
    let _ = sys::take_turn(Turn::After);
}

/// On v2 a process is born in its cgroup. On v1 it enters when all else is built, and making the cgroups, which is slow,
/// overlaps with that.
pub(crate) fn born_into(plan: &Plan) -> Result<Option<Cgroup>> {
    match &plan.cgroup {
        Some(home) if home.is_v2() => home.create(plan.id, &plan.limits).map(Some),
        _ => Ok(None),
    }
}

/// Gives the new process its ids.
pub(crate) fn introduce(plan: &Plan, pid: i32, tell: &OwnedFd) -> Result<()> {
    plan.ids.map(pid)?;
    report::tell(tell.as_fd(), word::MAPPED, &[])
}

/// The files that put a new process into its cgroup, which is made now where it was not born into one. A process that
/// writes `0` to each is in.
pub(crate) fn enter_files(plan: &Plan, cgroup: &mut Option<Cgroup>) -> Result<Vec<OwnedFd>> {
    match (&plan.cgroup, &cgroup) {
        (Some(home), None) if !home.is_v2() => {
            cgroup.insert(home.create(plan.id, &plan.limits)?).enter_files()
        }
        _ => Ok(Vec::new()),
    }
}

pub(crate) fn kill_and_wait(first: &OwnedFd) {
    let _ = pidfd_send_signal(first, Signal::KILL);
    let ended = || waitid(WaitId::PidFd(first.as_fd()), WaitIdOptions::EXITED);
    while matches!(ended(), Err(rustix::io::Errno::INTR)) {}
}

pub(crate) fn discard(cgroup: Option<Cgroup>) {
    if let Some(cgroup) = cgroup {
        cgroup.remove();
    }
}

impl Ended {
    /// What the counters say now.
    pub(crate) fn seen(cgroup: Option<&Cgroup>, begun: Instant) -> Ended {
        Ended::after(cgroup, begun.elapsed())
    }

    /// What the counters of a sandbox say that lived for `wall`.
    pub fn after(cgroup: Option<&Cgroup>, wall: Duration) -> Ended {
        let mut usage = cgroup.map(Cgroup::usage).unwrap_or_default();
        usage.wall_ms = wall.as_millis() as u64;
        Ended { usage, hits: cgroup.map(Cgroup::hits).unwrap_or_default() }
    }

    /// What made the warden end the sandbox comes before what it only ran into.
    pub fn put_first(&mut self, hits: impl IntoIterator<Item = LimitHit>) {
        let counted = std::mem::take(&mut self.hits);
        for hit in hits.into_iter().chain(counted) {
            if !self.hits.contains(&hit) {
                self.hits.push(hit);
            }
        }
    }
}

impl Plan {
    /// Namespaces that the first process is born into. That of cgroups is made later, from inside the cgroup, and that of
    /// the network beside the rest.
    pub(crate) fn namespaces(&self) -> u64 {
        [
            (Wall::UserNamespace, libc::CLONE_NEWUSER),
            (Wall::PidNamespace, libc::CLONE_NEWPID),
            (Wall::MountNamespace, libc::CLONE_NEWNS),
            (Wall::IpcNamespace, libc::CLONE_NEWIPC),
            (Wall::UtsNamespace, libc::CLONE_NEWUTS),
        ]
        .into_iter()
        .filter(|(wall, _)| self.walls.has(*wall))
        .fold(0, |flags, (_, flag)| flags | flag as u64)
    }
}
