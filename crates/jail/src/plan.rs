//! What is to be built, as plain data. A test weakens a wall by changing the data; the builder has no switch for it.

use crate::cgroup::Home;
use crate::ids::{Ids, Profile};
use crate::seccomp;
use model::{Limits, SandboxId, Wall, Walls};
use rustix::fd::OwnedFd;
use rustix::process::Resource;
use std::borrow::Cow;
use std::path::PathBuf;

/// One sandbox, ready to be built.
#[derive(Debug)]
pub struct Plan {
    /// Its name; also the name of its cgroup.
    pub id: SandboxId,
    /// The walls to put up. One of these that does not come to stand is an error.
    pub walls: Walls,
    /// Who it is on the host.
    pub ids: Ids,
    /// Where its cgroup goes.
    pub cgroup: Option<Home>,
    /// Its ceilings.
    pub limits: Limits,
    /// Whether its commands may be root inside. Then the root directory is writable too.
    pub root: RootInside,
    /// Host directories that are shown read-only at the same path; links are shown as links.
    pub system: Vec<&'static str>,
    /// Host files and directories below /etc that are shown read-only, where they exist.
    pub host_etc: Vec<&'static str>,
    /// Files of /etc that are made anew.
    pub own_etc: Vec<(&'static str, String)>,
    /// Entries of /proc, beside those of processes, that stay readable. All others are masked.
    pub proc_kept: Vec<&'static str>,
    /// Entries of /proc that become read-only.
    pub proc_read_only: Vec<&'static str>,
    /// Devices: name, major, minor.
    pub devices: Vec<(&'static str, u32, u32)>,
    /// The program that shows the board: `/.casemate/casemate-why`. Without it there is neither.
    pub why: &'static [u8],
    /// The zones.
    pub zones: Vec<Zone>,
    /// Whether the sandbox gets a terminal.
    pub terminal: Terminal,
    /// Ceilings below /proc/sys/user.
    pub user_max: Vec<(&'static str, u64)>,
    /// Resource limits, soft and hard alike.
    pub rlimits: Vec<(Resource, u64)>,
    /// Capabilities that the agent keeps, to run commands as any user of the sandbox. None where there is one user.
    pub agent_capabilities: u64,
    /// The system calls.
    pub seccomp: Cow<'static, [seccomp::Rule]>,
    /// The Landlock ABI of the domain that is entered; 0 where there is none.
    pub landlock_abi: u32,
    /// Whether the agent can be given another control socket later.
    pub door: Door,
    /// From here on no descriptor survives into the sandbox. 0-2 are /dev/null, 3 the control socket, 4 the terminal, and
    /// 5 the door where there is one.
    pub first_closed: u32,
}

/// Whether root exists inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootInside {
    /// Every command is the ordinary user.
    No,
    /// A command may ask to be root.
    Granted,
}

/// Whether a terminal is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// None.
    No,
    /// One, whose master end comes out with the report of the walls.
    Yes,
}

/// Whether the agent has a door: a socket on which whoever holds its other end passes it new control sockets, so that
/// the sandbox outlives those who speak to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// None: the sandbox ends when its control socket closes.
    No,
    /// At descriptor 5: the sandbox ends when its door closes. The report brings the directory of its terminals, too.
    Yes,
}

/// A directory for work.
#[derive(Debug)]
pub struct Zone {
    /// Where it is inside.
    pub at: PathBuf,
    /// What it is.
    pub kind: ZoneKind,
}

/// The kinds of zones.
#[derive(Debug)]
pub enum ZoneKind {
    /// A host directory, read-only. The descriptor is the directory as the policy meant it: what is mounted is
    /// compared with it, so that a name changed in between is noticed.
    Read {
        /// The canonical path on the host.
        from: PathBuf,
        /// The directory.
        directory: OwnedFd,
        /// A detached mount of it, where the caller may make one (root); otherwise the builder makes it.
        mount: Option<OwnedFd>,
    },
    /// Private and gone at the end.
    Scratch,
    /// Private; its descriptor comes out with the report of the walls.
    Write,
    /// A host directory, copy-on-write: what changes lies on the sandbox's disk, and the descriptor of that comes out
    /// with the report of the walls.
    Draft {
        /// The canonical path on the host.
        from: PathBuf,
        /// The directory, as for a read zone.
        directory: OwnedFd,
        /// A detached mount of it, as for a read zone.
        mount: Option<OwnedFd>,
    },
}

/// Capabilities by number, as in `linux/capability.h`.
pub mod capability {
    /// CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID, SETPCAP: what it takes to run commands and keep files for
    /// several users of one sandbox.
    pub const AGENT: u64 = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8;
    /// What root inside has: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID.
    pub const ROOT_INSIDE: u64 = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7;
}

/// The walls that this machine and profile can put up, before anything is tried.
pub fn available(profile: Profile, home: Option<&Home>, landlock_abi: u32) -> Walls {
    let mut walls = Walls::all();
    for wall in Home::walls().iter() {
        // A cgroup namespace hides where in the tree one is; that is worth having also without limits.
        if home.is_none() && wall != Wall::CgroupNamespace {
            walls = walls.without(wall);
        }
    }
    if profile == Profile::User {
        walls = walls.without(Wall::OwnUid);
    }
    if landlock_abi == 0 {
        walls = walls.without(Wall::Landlock);
    }
    walls
}

impl Plan {
    /// Capabilities that a command which is root inside gets.
    pub fn root_capabilities(&self) -> u64 {
        match self.root {
            RootInside::No => 0,
            RootInside::Granted => capability::ROOT_INSIDE,
        }
    }

    /// Gives the agent a door.
    pub fn open_door(&mut self) {
        self.door = Door::Yes;
        self.first_closed = 6;
    }

    /// The plan of the `host` template: the host's system directories read-only beneath a root of its own.
    pub fn host_template(
        id: SandboxId,
        limits: Limits,
        ids: Ids,
        cgroup: Option<Home>,
        landlock_abi: u32,
    ) -> Plan {
        let profile = if ids.own_block() { Profile::Root } else { Profile::User };
        let walls = available(profile, cgroup.as_ref(), landlock_abi);
        Plan {
            id,
            walls,
            root: RootInside::No,
            system: vec!["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"],
            host_etc: vec![
                "alternatives",
                "ld.so.cache",
                "ssl/certs",
                "java-17-openjdk",
                "fonts",
                "mime.types",
            ],
            own_etc: own_etc(&ids),
            proc_kept: vec![
                "cpuinfo",
                "filesystems",
                "loadavg",
                "meminfo",
                "mounts",
                "net",
                "self",
                "stat",
                "swaps",
                "sys",
                "thread-self",
                "uptime",
                "version",
                "vmstat",
            ],
            proc_read_only: vec!["sys"],
            devices: vec![
                ("null", 1, 3),
                ("zero", 1, 5),
                ("full", 1, 7),
                ("random", 1, 8),
                ("urandom", 1, 9),
                ("tty", 5, 0),
            ],
            why: &[],
            zones: Vec::new(),
            terminal: Terminal::No,
            user_max: vec![
                ("max_user_namespaces", 0),
                ("max_pid_namespaces", 0),
                ("max_mnt_namespaces", 0),
                ("max_net_namespaces", 0),
                ("max_ipc_namespaces", 0),
                ("max_uts_namespaces", 0),
                ("max_cgroup_namespaces", 0),
                ("max_time_namespaces", 0),
                ("max_inotify_instances", 16),
                ("max_inotify_watches", 8192),
            ],
            rlimits: rlimits(&limits, cgroup.is_some()),
            agent_capabilities: if ids.own_block() { capability::AGENT } else { 0 },
            seccomp: seccomp::X86_64.into(),
            landlock_abi,
            door: Door::No,
            first_closed: 5,
            ids,
            cgroup,
            limits,
        }
    }
}

/// Resource limits. Without a cgroup they are all there is: then data segments and processes are bounded here.
fn rlimits(limits: &Limits, cgroup: bool) -> Vec<(Resource, u64)> {
    let mut list = vec![
        (Resource::Core, 0),
        (Resource::Nofile, u64::from(limits.open_files)),
        (Resource::Memlock, 8 << 20),
        (Resource::Msgqueue, 819_200),
        (Resource::Sigpending, 4096),
        (Resource::Rtprio, 0),
        (Resource::Nice, 0),
        (Resource::Rttime, 200_000),
        (Resource::Locks, 4096),
    ];
    if !cgroup {
        list.push((Resource::Data, limits.memory_bytes));
        list.push((Resource::Nproc, u64::from(limits.pids)));
    }
    list
}

fn own_etc(ids: &Ids) -> Vec<(&'static str, String)> {
    let root = ids.own_block();
    let people = |line: fn(&str, u32, &str) -> String| {
        let mut text = String::new();
        if root {
            text += &line("root", 0, "/root");
        }
        text + &line("user", crate::ids::USER, "/home/user")
            + &line("nobody", crate::ids::NOBODY, "/nonexistent")
    };
    vec![
        ("passwd", people(|name, id, home| format!("{name}:x:{id}:{id}:{name}:{home}:{}\n", shell(name)))),
        (
            "group",
            people(|name, id, _| format!("{}:x:{id}:\n", if name == "nobody" { "nogroup" } else { name })),
        ),
        ("hosts", "127.0.0.1 localhost casemate\n::1 localhost\n".to_owned()),
        ("hostname", "casemate\n".to_owned()),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n".to_owned()),
        ("resolv.conf", "# This sandbox has no resolver.\n".to_owned()),
        ("shells", "/bin/sh\n/bin/bash\n".to_owned()),
    ]
}

fn shell(name: &str) -> &'static str {
    if name == "nobody" { "/usr/sbin/nologin" } else { "/bin/sh" }
}
