//! From a fresh process to the agent, in an order that the types hold:
//!
//! - [`Fresh`] is in its new namespaces and still has the caller's eyes: it copies the host's mounts.
//! - [`Apart`] is nobody on the host: its ids, its cgroup, its network and its name are its own.
//! - [`Rooted`] sees its own root and nothing else.
//! - [`Sealed`] can neither gain rights nor make the calls that this file is made of. It becomes the agent.
//!
//! All of this is trusted code that has met nothing from inside yet. It reports once, over a socket that closes
//! with the exec, and is silent for ever.

use crate::error::{For, Result};
use crate::ids::Ids;
use crate::landlock::Domain;
use crate::mounts;
use crate::plan::{Door, Plan, RootInside, Terminal, ZoneKind};
use crate::report::{Standing, word};
use crate::root::{HostMounts, Root};
use crate::{report, seccomp, sys, terminal};
use model::Wall;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::process::{Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::path::Path;

/// What the builder is given beside the plan.
#[derive(Debug)]
pub(crate) struct Hands {
    /// Where the caller and the warden say what is ready.
    pub told: OwnedFd,
    /// What was said before it was asked for: the two do not wait for each other.
    pub early: Vec<(u8, Vec<OwnedFd>)>,
    /// Where the report goes.
    pub report: OwnedFd,
    /// The agent's end of the control socket.
    pub control: OwnedFd,
    /// The agent's door, where it has one.
    pub door: Option<OwnedFd>,
    /// The agent's program, sealed by the time it is needed.
    pub image: OwnedFd,
    /// How nice the agent is to be, where the builder is less so.
    pub nice: Option<i32>,
}

/// In new namespaces, nothing else changed.
pub(crate) struct Fresh<'a> {
    plan: &'a Plan,
    hands: Hands,
}

/// Somebody else on the host.
pub(crate) struct Apart<'a> {
    plan: &'a Plan,
    hands: Hands,
    host: HostMounts,
    network: Option<sys::Beside>,
}

/// In its own root.
pub(crate) struct Rooted<'a> {
    plan: &'a Plan,
    hands: Hands,
    disk: OwnedFd,
    board: Option<OwnedFd>,
    filter: Option<Vec<sys::seccomp::Instruction>>,
    domain: Option<Domain>,
    zones: Vec<OwnedFd>,
    terminal: Option<(OwnedFd, OwnedFd)>,
    terminals: Option<OwnedFd>,
}

/// Ready to become the agent.
pub(crate) struct Sealed {
    hands: Hands,
}

/// Builds all of it and becomes the agent, or reports what failed. Does not return.
pub(crate) fn build(plan: &Plan, hands: Hands) -> ! {
    let report = hands.report.try_clone();
    let fresh = Fresh { plan, hands };
    let failed = match fresh.apart().and_then(Apart::rooted).and_then(Rooted::sealed) {
        Ok(sealed) => sealed.become_agent(),
        Err(error) => error,
    };
    if let Ok(report) = report {
        report::send_failure(report.as_fd(), &failed);
    }
    sys::exit_now(1)
}

impl<'a> Fresh<'a> {
    fn apart(self) -> Result<Apart<'a>> {
        let Fresh { plan, mut hands } = self;
        // Before anything is awaited: whoever started us may die while we wait.
        die_with_parent()?;
        rustix::process::umask(rustix::fs::Mode::empty());
        // Half of what namespaces cost is the network's. It needs nothing else that is done here, nor the other way
        // round, so it is made beside: from here on there are two threads, until `rooted` joins them.
        let network = if plan.walls.has(Wall::NetworkNamespace) {
            Some(
                sys::beside(sys::network_namespace)
                    .wall(Wall::NetworkNamespace, || "clone(a thread)".to_owned())?,
            )
        } else {
            None
        };
        mounts::make_private()?;
        // While every place can still be reached with the caller's permissions.
        let host = HostMounts::copy(plan)?;
        hands.hear(word::MAPPED)?;
        if let Ids::Block { .. } = plan.ids {
            become_root_inside(KeepCaller::AsSaved)?;
            // Changing ids clears the request.
            die_with_parent()?;
        }
        if plan.walls.has(Wall::UtsNamespace) {
            rustix::system::sethostname(b"casemate")
                .wall(Wall::UtsNamespace, || "sethostname(\"casemate\")".to_owned())?;
        }
        Ok(Apart { plan, hands, host, network })
    }
}

impl<'a> Apart<'a> {
    fn rooted(self) -> Result<Rooted<'a>> {
        let Apart { plan, mut hands, host, network } = self;
        let root = Root::new(plan)?;
        let (zones, knobs) = root.furnish(plan, host)?;
        // Whatever needs neither the network nor the cgroup comes before the wait for them.
        let (disk, board) = root.enter(plan)?;
        let filter = plan.walls.has(Wall::Seccomp).then(|| seccomp::compile(&plan.seccomp));
        let domain = if plan.walls.has(Wall::Landlock) { Some(domain(plan)?) } else { None };
        if plan.walls.has(Wall::NoCapabilities) {
            bound_capabilities(plan)?;
        }
        if let Some(network) = network {
            sys::enter_network_namespace(network.join())
                .wall(Wall::NetworkNamespace, || "unshare(NEWNET), bring lo up, setns(NEWNET)".to_owned())?;
        }
        for file in hands.hear(word::ENTER)? {
            rustix::io::write(&file, b"0").wall(Wall::MemoryLimit, || "write(tasks, 0)".to_owned())?;
        }
        if plan.ids.own_block() {
            become_root_inside(KeepCaller::No)?;
            die_with_parent()?;
        }
        if plan.walls.has(Wall::CgroupNamespace) {
            sys::new_cgroup_namespace().wall(Wall::CgroupNamespace, || "unshare(NEWCGROUP)".to_owned())?;
        }
        // After the last namespace and the last detached mount (which counts as one): there are to be no more.
        if let (Some(knobs), true) = (knobs, plan.walls.has(Wall::NamespaceLimits)) {
            bound_objects(&knobs, &plan.user_max)?;
        }
        let terminal = match plan.terminal {
            Terminal::No => None,
            Terminal::Yes => Some(terminal::open(terminal::directory()?.as_fd())?),
        };
        let terminals = match plan.door {
            Door::No => None,
            Door::Yes => Some(terminal::directory()?),
        };
        Ok(Rooted { plan, hands, disk, board, filter, domain, zones, terminal, terminals })
    }
}

impl Rooted<'_> {
    fn sealed(self) -> Result<Sealed> {
        let Rooted { plan, hands, disk, board, filter, domain, zones, terminal, terminals } = self;
        if plan.walls.has(Wall::OwnSession) {
            rustix::process::setsid().wall(Wall::OwnSession, || "setsid()".to_owned())?;
        }
        let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty())
            .wall(Wall::MinimalDev, || "open(\"/dev/null\")".to_owned())?;
        let (master, slave) = terminal.unzip();
        // Any of these may have one of the numbers that the agent expects something else at.
        let (null, disk) = (above(null)?, above(disk)?);
        let board = board.map(above).transpose()?;
        let (master, slave) = (master.map(above).transpose()?, slave.map(above).transpose()?);
        let terminals = terminals.map(above).transpose()?;
        let zones = zones.into_iter().map(above).collect::<Result<Vec<_>>>()?;
        let domain = domain.map(|domain| domain.map(above)).transpose()?;
        let hands = Hands {
            told: above(hands.told)?,
            early: hands.early,
            report: above(hands.report)?,
            control: above(hands.control)?,
            door: hands.door.map(above).transpose()?,
            image: above(hands.image)?,
            nice: hands.nice,
        };
        let place = |fd: &OwnedFd, number| {
            sys::place_at(fd.as_fd(), number)
                .wall(Wall::OwnRoot, || format!("dup3({}, {number})", fd.as_raw_fd()))
        };
        for number in 0..3 {
            place(&null, number)?;
        }
        place(&hands.control, 3)?;
        // Always, so that nothing that the caller had at this number stays there.
        place(slave.as_ref().unwrap_or(&null), 4)?;
        if let Some(door) = &hands.door {
            place(door, 5)?;
        }
        sys::close_on_exec_from(plan.first_closed)
            .wall(Wall::OwnRoot, || format!("close_range({}, CLOEXEC)", plan.first_closed))?;
        if let Some(nice) = hands.nice {
            rustix::process::setpriority_process(None, nice)
                .wall(Wall::Rlimits, || format!("setpriority(0, {nice})"))?;
        }
        if plan.walls.has(Wall::Rlimits) {
            for (resource, most) in &plan.rlimits {
                limit(*resource, *most)?;
            }
        }
        if plan.walls.has(Wall::NoCapabilities) {
            drop_capabilities(plan)?;
        }
        if plan.walls.has(Wall::NoNewPrivileges) {
            rustix::thread::set_no_new_privs(true)
                .wall(Wall::NoNewPrivileges, || "prctl(PR_SET_NO_NEW_PRIVS)".to_owned())?;
        }
        if let Some(domain) = domain {
            domain.enter()?;
        }
        let install = |filter: &Vec<_>| {
            sys::seccomp::install(filter)
                .wall(Wall::Seccomp, || format!("seccomp({} instructions)", filter.len()))
        };
        let listener = filter.as_ref().map(install).transpose()?;
        let standing = Standing {
            walls: plan.walls,
            disk: &disk,
            board: board.as_ref(),
            denials: listener.as_ref(),
            terminal: master.as_ref(),
            terminals: terminals.as_ref(),
            zones: &zones,
        };
        report::send(hands.report.as_fd(), &standing).wall(Wall::OwnRoot, || "sendmsg(report)".to_owned())?;
        Ok(Sealed { hands })
    }
}

impl Sealed {
    fn become_agent(mut self) -> crate::Error {
        if let Err(error) = self.hands.hear(word::SEALED) {
            return error;
        }
        let source = sys::exec_fd(self.hands.image.as_fd(), &[c"casemate-agent"], &[]);
        crate::Error { wall: Wall::OwnRoot, call: "execveat(agent)".to_owned(), source }
    }
}

impl Hands {
    /// Waits for `expected`. If those who say it die first, there is nothing to go on for.
    fn hear(&mut self, expected: u8) -> Result<Vec<OwnedFd>> {
        if let Some(place) = self.early.iter().position(|(word, _)| *word == expected) {
            return Ok(self.early.swap_remove(place).1);
        }
        loop {
            match report::hear(self.told.as_fd()) {
                Ok((word, fds)) if word == expected => return Ok(fds),
                Ok(other) => self.early.push(other),
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => sys::exit_now(1),
                Err(error) => return Err(error).wall(Wall::UserNamespace, || "recvmsg(told)".to_owned()),
            }
        }
    }
}

/// Caps what can be made in this user namespace. `knobs` is the directory `user` of a `/proc/sys` of our own.
fn bound_objects(knobs: &OwnedFd, most: &[(&str, u64)]) -> Result<()> {
    let wall = Wall::NamespaceLimits;
    for (name, most) in most {
        let call = || format!("write(\"/proc/sys/user/{name}\", {most})");
        let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC;
        let fd = rustix::fs::openat(knobs, *name, flags, rustix::fs::Mode::empty()).wall(wall, call)?;
        rustix::io::write(&fd, most.to_string().as_bytes()).wall(wall, call)?;
    }
    Ok(())
}

fn die_with_parent() -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .wall(Wall::PidNamespace, || "prctl(PR_SET_PDEATHSIG, SIGKILL)".to_owned())
}

/// Whether the caller's uid stays behind as the saved one. cgroup v1 lets a process enter only if the one who opened the
/// file has its uid or saved uid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeepCaller {
    AsSaved,
    No,
}

fn become_root_inside(keep: KeepCaller) -> Result<()> {
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    let (uid, gid) = (rustix::process::Uid::ROOT, rustix::process::Gid::ROOT);
    set_thread_groups(&[]).wall(Wall::OwnUid, || "setgroups(0)".to_owned())?;
    set_thread_res_gid(gid, gid, gid).wall(Wall::OwnUid, || "setresgid(0, 0, 0)".to_owned())?;
    let saved = if keep == KeepCaller::No { Some(uid) } else { None };
    set_thread_res_uid(uid, uid, saved).wall(Wall::OwnUid, || format!("setresuid(0, 0, {saved:?})"))
}

/// The same file at a number that is nobody's place.
fn above(fd: OwnedFd) -> Result<OwnedFd> {
    if fd.as_raw_fd() >= 10 {
        return Ok(fd);
    }
    rustix::io::fcntl_dupfd_cloexec(&fd, 10).wall(Wall::OwnRoot, || "fcntl(F_DUPFD_CLOEXEC, 10)".to_owned())
}

/// Never raises what the caller already bounds lower.
fn limit(resource: Resource, most: u64) -> Result<()> {
    let had = rustix::process::getrlimit(resource);
    let most = had.maximum.map_or(most, |had| had.min(most));
    rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
        .wall(Wall::Rlimits, || format!("setrlimit({resource:?}, {most})"))
}

fn domain(plan: &Plan) -> Result<Domain> {
    let domain = Domain::new(plan.landlock_abi)?;
    match plan.root {
        RootInside::No => domain.read(Path::new("/"))?,
        RootInside::Granted => domain.write(Path::new("/"))?,
    }
    domain.use_nodes(Path::new("/dev"))?;
    domain.use_nodes(Path::new("/proc"))?;
    for path in ["/tmp", "/var/tmp", "/dev/shm", "/home/user"] {
        domain.write(Path::new(path))?;
    }
    for zone in &plan.zones {
        if !matches!(zone.kind, ZoneKind::Read { .. }) {
            domain.write(&zone.at)?;
        }
    }
    Ok(domain)
}

/// What no process of the sandbox can have, ever.
fn bound_capabilities(plan: &Plan) -> Result<()> {
    let kept = agent_capabilities(plan);
    for number in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if kept.contains(one) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(one) {
            // Past the last capability that this kernel has.
            Err(rustix::io::Errno::INVAL) => break,
            done => done.wall(Wall::NoCapabilities, || format!("prctl(PR_CAPBSET_DROP, {number})"))?,
        }
    }
    Ok(())
}

/// Leaves the agent what it needs to switch users, and every command below it nothing that is not in the bounding set.
fn drop_capabilities(plan: &Plan) -> Result<()> {
    let wall = Wall::NoCapabilities;
    let kept = agent_capabilities(plan);
    rustix::thread::clear_ambient_capability_set()
        .wall(wall, || "prctl(PR_CAP_AMBIENT_CLEAR_ALL)".to_owned())?;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).wall(wall, || format!("capset({kept:?})"))
}

fn agent_capabilities(plan: &Plan) -> CapabilitySet {
    CapabilitySet::from_bits_retain(plan.agent_capabilities | plan.root_capabilities())
}
