//! Limits that hold the sandbox as a whole: one cgroup (v2), or one in each of three v1 hierarchies (hybrid).
//!
//! A cgroup is owned by whoever holds a lock on its directory. The kernel drops the lock with its holder, so what
//! a killed watcher left behind is told from what is in use, and [`Home::sweep`] may end it.

use crate::error::{For, Result};
use crate::ids::Profile;
use model::{LimitHit, Limits, SandboxId, Usage, Wall, Walls};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::io;
use std::path::{Path, PathBuf};

mod watch;

pub use watch::MemoryWatch;

const TREE: &str = "/sys/fs/cgroup";
const V2_MAGIC: u64 = 0x6367_7270;
const V1: [&str; 3] = ["cpu", "memory", "pids"];
const CPU_PERIOD_US: u64 = 100_000;

/// Where this caller may make cgroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    /// One directory in the v2 tree.
    V2(PathBuf),
    /// One directory each under the v1 controllers cpu, memory and pids.
    Hybrid([PathBuf; 3]),
}

impl Home {
    /// The home of this profile, if the machine has one for it.
    pub fn find(profile: Profile) -> Option<Home> {
        let root = rustix::fs::statfs(TREE).ok()?;
        let uid = rustix::process::geteuid().as_raw();
        let below = |base: &Path| match profile {
            Profile::Root => base.join("casemate"),
            _ => base.join("casemate").join(format!("user-{uid}")),
        };
        let writable = |dir: &Path| rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_ok();
        if root.f_type as u64 == V2_MAGIC {
            let home = below(Path::new(TREE));
            let usable = match profile {
                Profile::Root => true,
                Profile::User => false,
                // The kernel lets a process into a cgroup only from within the same delegated subtree.
                Profile::UserSetUp => writable(&home) && lives_below(&home),
            };
            return usable.then_some(Home::V2(home));
        }
        let homes = V1.map(|controller| below(&Path::new(TREE).join(controller)));
        let usable = match profile {
            Profile::Root => {
                V1.iter().all(|controller| Path::new(TREE).join(controller).join("tasks").exists())
            }
            Profile::User => false,
            Profile::UserSetUp => homes.iter().all(|home| writable(home)),
        };
        usable.then_some(Home::Hybrid(homes))
    }

    /// The walls that a cgroup here puts up.
    pub fn walls() -> Walls {
        [Wall::CpuLimit, Wall::MemoryLimit, Wall::PidsLimit, Wall::CgroupNamespace].into_iter().collect()
    }

    /// Whether processes are born into cgroups here.
    pub fn is_v2(&self) -> bool {
        matches!(self, Home::V2(_))
    }

    /// Its directories.
    pub fn directories(&self) -> &[PathBuf] {
        match self {
            Home::V2(home) => std::slice::from_ref(home),
            Home::Hybrid(homes) => homes,
        }
    }

    /// Makes the cgroup of one sandbox, with its limits.
    ///
    /// # Errors
    /// A directory or a limit that the kernel refuses. What was made until then is removed.
    pub fn create(&self, id: SandboxId, limits: &Limits) -> Result<Cgroup> {
        let mut cgroup = Cgroup { v2: self.is_v2(), parts: Vec::new() };
        match cgroup.fill(self, id, limits) {
            Ok(()) => Ok(cgroup),
            Err(error) => {
                cgroup.remove();
                Err(error)
            }
        }
    }

    /// The cgroup of a sandbox that somebody else made here, or what there is of it.
    pub fn reopen(&self, id: SandboxId) -> Cgroup {
        let paths = self.directories().iter().map(|home| home.join(id.as_str()));
        let parts = paths.filter_map(|path| Some(Part { dir: open_dir(&path).ok()?, path })).collect();
        Cgroup { v2: self.is_v2(), parts }
    }

    /// The cgroup of a sandbox, from the [`Cgroup::directories`] of whoever owns it; so does whoever holds this.
    pub fn hold(&self, id: SandboxId, directories: impl IntoIterator<Item = OwnedFd>) -> Cgroup {
        let paths = self.directories().iter().map(|home| home.join(id.as_str()));
        let parts = paths.zip(directories).map(|(path, dir)| Part { path, dir }).collect();
        Cgroup { v2: self.is_v2(), parts }
    }

    /// Ends and removes every cgroup here whose owner is gone.
    pub fn sweep(&self) {
        for home in self.directories() {
            // A directory without subdirectories has two links: most of the time there is nothing to look at.
            if rustix::fs::stat(home).is_ok_and(|stat| stat.st_nlink > 2) {
                sweep(home);
            }
        }
    }
}

fn sweep(home: &Path) {
    for entry in std::fs::read_dir(home).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.parse::<SandboxId>().is_ok());
        if !ours {
            continue;
        }
        if let Ok(dir) = open_dir(&entry.path()) {
            let part = Part { path: entry.path(), dir };
            if rustix::fs::flock(&part.dir, FlockOperation::NonBlockingLockExclusive).is_ok() {
                part.end();
            }
        }
    }
}

/// Whether this process lives somewhere below `home` in the v2 tree.
fn lives_below(home: &Path) -> bool {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"));
    path.is_some_and(|path| Path::new(TREE).join(path).starts_with(home))
}

/// The cgroup of one sandbox.
#[derive(Debug)]
pub struct Cgroup {
    v2: bool,
    parts: Vec<Part>,
}

/// One directory of it.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    dir: OwnedFd,
}

impl Cgroup {
    fn fill(&mut self, home: &Home, id: SandboxId, limits: &Limits) -> Result<()> {
        // What is written to the sandbox's disk is memory too; a full disk must say ENOSPC, not end the sandbox.
        let memory = limits.memory_bytes.saturating_add(limits.disk_bytes).to_string();
        let quota = (u64::from(limits.cpu_milli) * CPU_PERIOD_US / 1000).max(1000);
        match home {
            Home::V2(home) => {
                enable(home)?;
                let part = self.part(home, id, Wall::MemoryLimit)?;
                part.write("memory.max", &memory, Wall::MemoryLimit)?;
                part.write_if_there("memory.swap.max", "0", Wall::MemoryLimit)?;
                part.write("memory.oom.group", "1", Wall::MemoryLimit)?;
                part.write("pids.max", &limits.pids.to_string(), Wall::PidsLimit)?;
                part.write("cpu.max", &format!("{quota} {CPU_PERIOD_US}"), Wall::CpuLimit)
            }
            Home::Hybrid([cpu, mem, pids]) => {
                let part = self.part(cpu, id, Wall::CpuLimit)?;
                part.write("cpu.cfs_quota_us", &quota.to_string(), Wall::CpuLimit)?;
                let part = self.part(mem, id, Wall::MemoryLimit)?;
                part.write("memory.limit_in_bytes", &memory, Wall::MemoryLimit)?;
                part.write_if_there("memory.memsw.limit_in_bytes", &memory, Wall::MemoryLimit)?;
                part.write("memory.swappiness", "0", Wall::MemoryLimit)?;
                // v1 counts the buffers of TCP apart from everything else.
                part.write_if_there("memory.kmem.tcp.limit_in_bytes", &memory, Wall::MemoryLimit)?;
                let part = self.part(pids, id, Wall::PidsLimit)?;
                part.write("pids.max", &limits.pids.to_string(), Wall::PidsLimit)
            }
        }
    }

    /// Makes and locks one directory. A sweeper may remove it between the two; then it is made again.
    fn part(&mut self, home: &Path, id: SandboxId, wall: Wall) -> Result<&Part> {
        let path = home.join(id.as_str());
        let call = || format!("mkdir({path:?})");
        loop {
            match std::fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    std::fs::create_dir_all(home).wall(wall, call)?;
                    continue;
                }
                made => made.wall(wall, call)?,
            }
            let dir = match open_dir(&path) {
                Err(rustix::io::Errno::NOENT) => continue,
                opened => opened.wall(wall, || format!("open({path:?})"))?,
            };
            rustix::fs::flock(&dir, FlockOperation::LockExclusive)
                .wall(wall, || format!("flock({path:?})"))?;
            if path.exists() {
                self.parts.push(Part { path, dir });
                return Ok(&self.parts[self.parts.len() - 1]);
            }
        }
    }

    /// The directory that `clone3` puts the sandbox's first process into (v2 only).
    pub fn clone_into(&self) -> Option<BorrowedFd<'_>> {
        if self.v2 { self.parts.first().map(|part| part.dir.as_fd()) } else { None }
    }

    /// Files into which the sandbox's first process, still single-threaded, writes `0` to enter (v1 only). Writing
    /// another's pid, or to `cgroup.procs`, would wait for a grace period of about 10 ms.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub fn enter_files(&self) -> Result<Vec<OwnedFd>> {
        let parts = if self.v2 { &[] } else { &self.parts[..] };
        parts
            .iter()
            .map(|part| {
                rustix::fs::openat(&part.dir, "tasks", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
                    .wall(Wall::MemoryLimit, || format!("open({:?})", part.path.join("tasks")))
            })
            .collect()
    }

    /// Tells when the memory limit was hit.
    ///
    /// # Errors
    /// The kernel gives no such notice.
    pub fn watch_memory(&self) -> Result<MemoryWatch> {
        let wall = Wall::MemoryLimit;
        let Some(part) =
            self.parts.iter().find(|part| self.v2 || part.path.starts_with("/sys/fs/cgroup/memory"))
        else {
            return Err(io::Error::from(io::ErrorKind::NotFound)).wall(wall, || "watch memory".to_owned());
        };
        let open = |name: &str| {
            rustix::fs::openat(&part.dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .wall(wall, || format!("open({:?})", part.path.join(name)))
        };
        if self.v2 {
            return Ok(MemoryWatch::Events(open("memory.events")?));
        }
        let notice = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .wall(wall, || "eventfd(0)".to_owned())?;
        let control = open("memory.oom_control")?;
        let line = format!("{} {}", notice.as_raw_fd(), control.as_raw_fd());
        part.write("cgroup.event_control", &line, wall)?;
        Ok(MemoryWatch::Notice(notice))
    }

    /// Which limits were hit so far.
    pub fn hits(&self) -> Vec<LimitHit> {
        let count =
            |file: &str, key: &str| self.holding(file).and_then(|part| part.counter(file, key)).unwrap_or(0);
        let memory = if self.v2 {
            count("memory.events", "oom_kill")
        } else {
            count("memory.oom_control", "oom_kill")
        };
        let mut hits = Vec::new();
        if memory > 0 {
            hits.push(LimitHit::Memory);
        }
        if count("pids.events", "max") > 0 {
            hits.push(LimitHit::Pids);
        }
        hits
    }

    /// The directory with `file` in it: on v1 each controller has its own, and names its files after itself.
    fn holding(&self, file: &str) -> Option<&Part> {
        let tree = V1
            .iter()
            .find(|controller| file.starts_with(**controller))
            .map(|controller| Path::new(TREE).join(controller));
        self.parts
            .iter()
            .find(|part| self.v2 || tree.as_ref().is_some_and(|tree| part.path.starts_with(tree)))
    }

    /// What was used so far.
    pub fn usage(&self) -> Usage {
        let number =
            |file: &str| self.holding(file).and_then(|part| part.read(file)?.trim().parse::<u64>().ok());
        let cpu_ms = if self.v2 {
            self.holding("cpu.stat")
                .and_then(|part| part.counter("cpu.stat", "usage_usec"))
                .map(|us| us / 1000)
        } else {
            // cpuacct is usually mounted with cpu; where it is not, this figure is not given.
            number("cpuacct.usage").map(|ns| ns / 1_000_000)
        };
        let memory_peak_bytes =
            if self.v2 { number("memory.peak") } else { number("memory.max_usage_in_bytes") };
        Usage { wall_ms: 0, cpu_ms, memory_peak_bytes }
    }

    /// Its directories, in the order of [`Home::directories`].
    pub fn directories(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.parts.iter().map(|part| part.dir.as_fd())
    }

    pub(crate) fn map_directories(mut self, change: impl Fn(OwnedFd) -> OwnedFd) -> Cgroup {
        self.parts =
            self.parts.into_iter().map(|Part { path, dir }| Part { path, dir: change(dir) }).collect();
        self
    }

    /// Stops every process of it, or lets all of them go on (v2 only). Being stopped keeps nobody from being killed.
    ///
    /// # Errors
    /// This cgroup cannot do that, or is gone.
    pub fn freeze(&self, motion: Motion) -> Result<()> {
        let wall = Wall::CpuLimit;
        match self.parts.first() {
            Some(part) if self.v2 => part.write("cgroup.freeze", motion.word(), wall),
            _ => Err(io::Error::from(io::ErrorKind::Unsupported)).wall(wall, || "freeze a cgroup".to_owned()),
        }
    }

    /// Removes what is empty of it, and says whether all of it is gone. Never waits.
    pub fn remove_empty(&mut self) -> bool {
        self.parts.retain(|part| rustix::fs::rmdir(&part.path) == Err(rustix::io::Errno::BUSY));
        self.parts.is_empty()
    }

    /// Ends what still runs in it and removes it.
    pub fn remove(self) {
        for part in &self.parts {
            part.end();
        }
    }
}

/// Whether the processes of a cgroup may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Motion {
    /// None runs.
    Frozen,
    /// As usual.
    Free,
}

impl Motion {
    fn word(self) -> &'static str {
        match self {
            Motion::Frozen => "1",
            Motion::Free => "0",
        }
    }
}

impl Part {
    fn write(&self, file: &str, text: &str, wall: Wall) -> Result<()> {
        let call = || format!("write({:?}, {text:?})", self.path.join(file));
        let fd = rustix::fs::openat(&self.dir, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            .wall(wall, call)?;
        rustix::io::write(&fd, text.as_bytes()).map(drop).wall(wall, call)
    }

    /// Swap accounting may be compiled out or switched off; without it there is no swap to bound.
    fn write_if_there(&self, file: &str, text: &str, wall: Wall) -> Result<()> {
        match self.write(file, text, wall) {
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// One page of a file, which is all of any but a long list of processes.
    fn read(&self, file: &str) -> Option<String> {
        let fd = rustix::fs::openat(&self.dir, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let mut text = vec![0; 4096];
        let length = rustix::io::read(&fd, &mut text).ok()?;
        text.truncate(length);
        String::from_utf8(text).ok()
    }

    fn counter(&self, file: &str, key: &str) -> Option<u64> {
        self.read(file)?.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
    }

    /// Kills until the directory can be removed. Processes that are being torn down keep it busy for a moment.
    fn end(&self) {
        for _ in 0..2000 {
            match rustix::fs::rmdir(&self.path) {
                Err(rustix::io::Errno::BUSY) => {}
                _ => return,
            }
            for line in self.read("cgroup.procs").unwrap_or_default().lines() {
                if let Some(pid) = line.parse().ok().and_then(rustix::process::Pid::from_raw) {
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

/// Lets the children of `home`, and so of all above it, have the three controllers.
fn enable(home: &Path) -> Result<()> {
    let has = |dir: &Path| {
        std::fs::read_to_string(dir.join("cgroup.subtree_control")).is_ok_and(|text| {
            V1.iter().all(|controller| text.split_whitespace().any(|word| word == *controller))
        })
    };
    if has(home) {
        return Ok(());
    }
    std::fs::create_dir_all(home).wall(Wall::MemoryLimit, || format!("mkdir({home:?})"))?;
    let mut above: Vec<&Path> = home.ancestors().take_while(|dir| dir.starts_with(TREE)).collect();
    above.reverse();
    for dir in above.into_iter().filter(|dir| !has(dir)) {
        let file = dir.join("cgroup.subtree_control");
        std::fs::write(&file, "+cpu +memory +pids")
            .wall(Wall::MemoryLimit, || format!("write({file:?}, \"+cpu +memory +pids\")"))?;
    }
    Ok(())
}

fn open_dir(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}
