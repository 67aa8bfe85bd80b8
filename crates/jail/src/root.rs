//! The sandbox's root directory: one tmpfs that holds all it can write, and copies of host mounts beneath it.
//!
//! Inside the tmpfs, `root/` becomes `/`; beside it lie the directories that are bound to the writable places, and in
//! `mask/` an empty file and an empty directory, for what must not be read. What is beside `root/` has no path inside.

use crate::error::{Error, For, Result};
use crate::ids::{Ids, USER};
use crate::mounts::{self, NO_DEV, NO_EXEC, NO_SUID, READ_ONLY};
use crate::plan::{Plan, RootInside, ZoneKind};
use model::Wall;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid};
use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes and inodes of the tmpfs that the root directory itself takes: not the sandbox's to spend.
const OWN_BYTES: u64 = 1 << 20;
const OWN_INODES: u64 = 512;

/// The most that those outside tell those inside, in bytes: the size of `/.casemate/denials`.
pub const BOARD_BYTES: usize = 16 << 10;

/// Where the board is if the root directory can be written.
const BESIDE: &str = "why";

/// The most terminals of one sandbox at one time.
pub const TERMINALS_MAX: usize = 16;

/// How the name of a draft zone's upper layer ends.
const UPPER: &str = "-upper";

/// The upper layer of a draft zone by its number in the plan, as a name beneath a sandbox's disk.
pub fn upper_layer(zone: usize) -> String {
    format!("zone-{zone}{UPPER}")
}

/// Attributes of what covers something.
const SEALED: u64 = READ_ONLY | NO_SUID | NO_DEV | NO_EXEC;

/// Copies of the host's mounts, made while this process still is its caller to the host's permissions.
pub(crate) struct HostMounts {
    mounts: Vec<(PathBuf, FileType, OwnedFd)>,
    links: Vec<(PathBuf, PathBuf)>,
    /// Read and draft zones that the plan brings no mount for, in its order.
    zones: Vec<OwnedFd>,
}

impl HostMounts {
    /// Copies what the plan names.
    pub(crate) fn copy(plan: &Plan) -> Result<HostMounts> {
        let mut host = HostMounts { mounts: Vec::new(), links: Vec::new(), zones: Vec::new() };
        for path in &plan.system {
            host.show(Path::new(path), Wall::ReadOnlySystem)?;
        }
        for name in &plan.host_etc {
            host.show(&Path::new("/etc").join(name), Wall::ReadOnlySystem)?;
        }
        if let Ok(target) = rustix::fs::readlink("/etc/localtime", Vec::new()) {
            host.link(Path::new("/etc/localtime"), target.into_bytes());
        }
        for (name, major, minor) in &plan.devices {
            host.device(name, *major, *minor)?;
        }
        for zone in &plan.zones {
            if let ZoneKind::Read { from, directory, mount: None }
            | ZoneKind::Draft { from, directory, mount: None } = &zone.kind
            {
                let mount = mounts::copy(CWD, from, READ_ONLY | NO_SUID | NO_DEV, Wall::OwnRoot)?;
                same_file(directory.as_fd(), mount.as_fd(), from)?;
                host.zones.push(mount);
            }
        }
        Ok(host)
    }

    /// Shows a file or directory of the host at the same path, read-only; a link as the same link; nothing as nothing.
    fn show(&mut self, path: &Path, wall: Wall) -> Result<()> {
        match mounts::kind(CWD, path) {
            Some((FileType::Symlink, _)) => {
                let target =
                    rustix::fs::readlink(path, Vec::new()).wall(wall, || format!("readlink({path:?})"))?;
                self.link(path, target.into_bytes());
            }
            Some((kind @ (FileType::Directory | FileType::RegularFile), _)) => {
                let mount = mounts::copy(CWD, path, READ_ONLY | NO_SUID | NO_DEV, wall)?;
                self.mounts.push((path.to_owned(), kind, mount));
            }
            _ => {}
        }
        Ok(())
    }

    fn link(&mut self, path: &Path, target: Vec<u8>) {
        use std::os::unix::ffi::OsStringExt;
        self.links.push((path.to_owned(), std::ffi::OsString::from_vec(target).into()));
    }

    /// Read-only, so that nobody inside changes the host node's mode or times; that does not hinder writing to a device.
    fn device(&mut self, name: &str, major: u32, minor: u32) -> Result<()> {
        let path = Path::new("/dev").join(name);
        let mount = mounts::copy(CWD, &path, READ_ONLY | NO_SUID | NO_EXEC, Wall::MinimalDev)?;
        let stat = rustix::fs::fstat(&mount).wall(Wall::MinimalDev, || format!("fstat({path:?})"))?;
        let found = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || found != (major, minor) {
            return Err(Error {
                wall: Wall::MinimalDev,
                call: format!(
                    "fstat({path:?}): expected the character device {major}:{minor}, found {found:?}"
                ),
                source: io::ErrorKind::InvalidData.into(),
            });
        }
        self.mounts.push((path, FileType::CharacterDevice, mount));
        Ok(())
    }
}

/// Refuses a directory that is not the one that was meant: a name was changed since the policy was read, or the old
/// root is still there.
fn same_file(meant: BorrowedFd<'_>, mounted: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let identity = |fd| rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
    let call = || format!("fstat({path:?})");
    if identity(meant).wall(Wall::OwnRoot, call)? == identity(mounted).wall(Wall::OwnRoot, call)? {
        return Ok(());
    }
    Err(io::Error::other("another directory is in its place")).wall(Wall::OwnRoot, call)
}

/// The tmpfs, attached where the old root hides it, and the new root in it.
pub(crate) struct Root {
    disk: OwnedFd,
    /// What those outside tell those inside.
    board: Option<OwnedFd>,
    root: OwnedFd,
    user: Option<(Uid, Gid)>,
}

impl Root {
    /// Makes the tmpfs and attaches the root directory, empty.
    pub(crate) fn new(plan: &Plan) -> Result<Root> {
        let options = [
            ("size", (plan.limits.disk_bytes + OWN_BYTES).to_string()),
            ("nr_inodes", (plan.limits.disk_inodes + OWN_INODES).to_string()),
            ("mode", "0755".to_owned()),
        ];
        let options = if plan.walls.has(Wall::DiskLimit) { &options[..] } else { &options[2..] };
        let disk = mounts::new("tmpfs", options, NO_SUID | NO_DEV, Wall::DiskLimit)?;
        // A directory that every host of this template has, and that was copied already. Not `/` itself: what lies on
        // top of `/` would be what the unmount of the old root takes away, and the old root would stay, one `..` away.
        mounts::place(disk.as_fd(), CWD, Path::new("/usr"), Wall::OwnRoot)?;
        let user = match plan.ids {
            Ids::Own { .. } => None,
            Ids::Block { .. } => Some((Uid::from_raw(USER), Gid::from_raw(USER))),
        };
        let root = disk.try_clone().wall(Wall::OwnRoot, || "dup".to_owned())?;
        let mut new = Root { root, disk, board: None, user };
        new.directory(new.disk.as_fd(), Path::new("root"), 0o755)?;
        // Through the mount of the disk, which stays writable when that of the root does not.
        new.board = new.board(plan)?;
        new.directory(new.disk.as_fd(), Path::new("mask"), 0o700)?;
        new.file(new.disk.as_fd(), Path::new("mask/file"), b"", 0o000)?;
        new.directory(new.disk.as_fd(), Path::new("mask/directory"), 0o000)?;
        for (name, attributes) in [("root", NO_SUID | NO_DEV), ("mask", SEALED)] {
            let mount = mounts::copy(new.disk.as_fd(), Path::new(name), attributes, Wall::OwnRoot)?;
            mounts::place(mount.as_fd(), new.disk.as_fd(), Path::new(name), Wall::OwnRoot)?;
            if name == "root" {
                new.root = mount;
            }
        }
        rustix::process::fchdir(&new.disk).wall(Wall::OwnRoot, || "fchdir(disk)".to_owned())?;
        Ok(new)
    }

    /// Fills the root: system, /etc, /dev, /proc, writable places, zones. Gives the directories of write zones and the
    /// upper ones of draft zones, in the plan's order, and that of the knobs that bound kernel objects.
    pub(crate) fn furnish(&self, plan: &Plan, host: HostMounts) -> Result<(Vec<OwnedFd>, Option<OwnedFd>)> {
        for name in ["etc", "home", "var", "dev", "proc", "run", "sys", "root", "mnt", "opt", "srv"] {
            self.directory(self.root.as_fd(), Path::new(name), 0o755)?;
        }
        for (name, text) in &plan.own_etc {
            self.file(self.root.as_fd(), &Path::new("etc").join(name), text.as_bytes(), 0o644)?;
        }
        for (path, target) in &host.links {
            let path = inner(path);
            self.make(path, || {
                rustix::fs::symlinkat(target, &self.root, path)
                    .wall(Wall::OwnRoot, || format!("symlink({target:?}, {path:?})"))
            })?;
        }
        for (path, kind, mount) in &host.mounts {
            self.attach(mount.as_fd(), path, *kind, Wall::ReadOnlySystem)?;
        }
        self.dev()?;
        let knobs = if plan.walls.has(Wall::PrivateProc) { Some(self.proc(plan)?) } else { None };
        for (path, name, mode, user) in [
            ("/tmp", "tmp", 0o1777, false),
            ("/var/tmp", "var-tmp", 0o1777, false),
            ("/dev/shm", "shm", 0o1777, false),
            ("/home/user", "home", 0o750, true),
        ] {
            self.beside(name, mode, user)?;
            self.place_for(Path::new(path), FileType::Directory)?;
            self.bind(name, inner(Path::new(path)), Wall::OwnRoot)?;
        }
        if self.board.is_some() && plan.root == RootInside::Granted {
            let attributes = READ_ONLY | NO_SUID | NO_DEV;
            let mount = mounts::copy(self.disk.as_fd(), Path::new(BESIDE), attributes, Wall::OwnRoot)?;
            self.attach(mount.as_fd(), Path::new("/.casemate"), FileType::Directory, Wall::OwnRoot)?;
        }
        Ok((self.zones(plan, host.zones)?, knobs))
    }

    /// The board and the program that shows it. Nobody inside writes there: the root directory is read-only, or they are
    /// on a mount of their own that is. Its bytes are taken now, so that a full disk does not keep it from being written.
    fn board(&self, plan: &Plan) -> Result<Option<OwnedFd>> {
        if plan.why.is_empty() {
            return Ok(None);
        }
        let home = if plan.root == RootInside::No { "root/.casemate" } else { BESIDE };
        self.directory(self.disk.as_fd(), Path::new(home), 0o755)?;
        self.file(self.disk.as_fd(), &Path::new(home).join("casemate-why"), plan.why, 0o555)?;
        let path = Path::new(home).join("denials");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let board = rustix::fs::openat(&self.disk, &path, flags, Mode::from_raw_mode(0o444))
            .wall(Wall::OwnRoot, || format!("open({path:?}, O_CREAT)"))?;
        rustix::fs::fallocate(&board, rustix::fs::FallocateFlags::KEEP_SIZE, 0, BOARD_BYTES as u64)
            .wall(Wall::OwnRoot, || format!("fallocate({path:?}, {BOARD_BYTES})"))?;
        Ok(Some(board))
    }

    fn zones(&self, plan: &Plan, copied: Vec<OwnedFd>) -> Result<Vec<OwnedFd>> {
        let mut copied = copied.into_iter();
        let mut out = Vec::new();
        for (number, zone) in plan.zones.iter().enumerate() {
            let name = format!("zone-{number}");
            match &zone.kind {
                ZoneKind::Read { mount, .. } => {
                    let own = if mount.is_none() { copied.next() } else { None };
                    if let Some(mount) = mount.as_ref().or(own.as_ref()) {
                        self.pane(mount.as_fd(), &zone.at, &name)?;
                    }
                }
                ZoneKind::Scratch => self.writable(&zone.at, &name)?,
                ZoneKind::Write => {
                    self.writable(&zone.at, &name)?;
                    out.push(self.open(&name)?);
                }
                ZoneKind::Draft { mount, .. } => {
                    let own = if mount.is_none() { copied.next() } else { None };
                    if let Some(mount) = mount.as_ref().or(own.as_ref()) {
                        out.push(self.draft(mount.as_fd(), &zone.at, &name)?);
                    }
                }
            }
        }
        Ok(out)
    }

    /// Shows a host directory through an overlay whose upper layer is on the sandbox's disk. Gives the upper layer.
    fn draft(&self, mount: BorrowedFd<'_>, at: &Path, name: &str) -> Result<OwnedFd> {
        let wall = Wall::OwnRoot;
        let (upper, work) = (format!("{name}{UPPER}"), format!("{name}-work"));
        self.directory(self.disk.as_fd(), Path::new(name), 0o755)?;
        self.directory(self.disk.as_fd(), Path::new(&work), 0o700)?;
        self.beside(&upper, 0o755, true)?;
        // Without these attributes an overlay cannot say that a new directory hides the old one of that name, and the
        // kernel goes on without telling: what was removed would seem to come back.
        rustix::fs::setxattr(&upper, "user.casemate", b"", rustix::fs::XattrFlags::CREATE).wall(wall, || {
            "setxattr(draft, \"user.casemate\"): a draft zone needs tmpfs with user attributes (Linux 6.6)"
                .to_owned()
        })?;
        rustix::fs::removexattr(&upper, "user.casemate")
            .wall(wall, || "removexattr(draft, \"user.casemate\")".to_owned())?;
        mounts::place(mount, self.disk.as_fd(), Path::new(name), wall)?;
        let options = [("lowerdir", name.to_owned()), ("upperdir", upper.clone()), ("workdir", work)];
        let overlay = mounts::new_with("overlay", &options, &["userxattr"], NO_SUID | NO_DEV, wall)?;
        self.attach(overlay.as_fd(), at, FileType::Directory, wall)?;
        self.open(&upper)
    }

    /// Shows a host directory through an overlay with no upper layer. A read-only mount alone keeps files from being
    /// written; a host program that listens on a unix socket in there, or reads from a FIFO, it would still connect to.
    /// In the overlay those are new inodes, with nobody behind them.
    fn pane(&self, mount: BorrowedFd<'_>, at: &Path, name: &str) -> Result<()> {
        let wall = Wall::OwnRoot;
        self.directory(self.disk.as_fd(), Path::new(name), 0o755)?;
        mounts::place(mount, self.disk.as_fd(), Path::new(name), wall)?;
        // One layer alone is not accepted; the other is empty. The working directory is the disk.
        let options = [("lowerdir", format!("{name}:mask/directory"))];
        let pane = mounts::new("overlay", &options, READ_ONLY | NO_SUID | NO_DEV, wall)?;
        self.attach(pane.as_fd(), at, FileType::Directory, wall)
    }

    /// Own terminals; links that programs expect; nothing that can be created.
    fn dev(&self) -> Result<()> {
        for (name, target) in [
            ("dev/fd", "/proc/self/fd"),
            ("dev/stdin", "/proc/self/fd/0"),
            ("dev/stdout", "/proc/self/fd/1"),
            ("dev/stderr", "/proc/self/fd/2"),
            ("dev/ptmx", "pts/ptmx"),
        ] {
            rustix::fs::symlinkat(target, &self.root, name)
                .wall(Wall::MinimalDev, || format!("symlink({target:?}, {name:?})"))?;
        }
        self.place_for(Path::new("/dev/pts"), FileType::Directory)?;
        let flags = rustix::mount::MountFlags::NOSUID | rustix::mount::MountFlags::NOEXEC;
        // New terminals are the user's, whoever opens them: programs open their terminal anew by its name.
        // All of a machine's sandboxes share `kernel.pty.max`: one is to have few of it.
        let options = format!("ptmxmode=0666,mode=0620,max={TERMINALS_MAX},uid={USER},gid={USER}");
        let options = CString::new(options);
        rustix::mount::mount(
            "devpts",
            "root/dev/pts",
            "devpts",
            flags,
            options.unwrap_or_default().as_c_str(),
        )
        .wall(Wall::MinimalDev, || "mount(\"devpts\", \"root/dev/pts\")".to_owned())
    }

    /// A /proc of this pid namespace. What is not known to be harmless is covered, so that an entry that a newer
    /// kernel brings is covered too; also what only the host's root may read, which costs less than to ask.
    /// Gives the directory of the knobs that bound kernel objects.
    fn proc(&self, plan: &Plan) -> Result<OwnedFd> {
        let wall = Wall::PrivateProc;
        let proc = mounts::new("proc", &[], NO_SUID | NO_DEV | NO_EXEC, wall)?;
        // The knobs are reached through this descriptor once a read-only copy covers them.
        let knobs = mounts::open_path(proc.as_fd(), Path::new("sys/user"), Wall::NamespaceLimits)?;
        self.attach(proc.as_fd(), Path::new("/proc"), FileType::Directory, wall)?;
        for name in &plan.proc_read_only {
            let copy =
                mounts::copy(proc.as_fd(), Path::new(name), READ_ONLY | NO_SUID | NO_DEV | NO_EXEC, wall)?;
            mounts::place(copy.as_fd(), proc.as_fd(), Path::new(name), wall)?;
        }
        let listing = rustix::fs::openat(
            &proc,
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .wall(wall, || "open(\"/proc\")".to_owned())?;
        for entry in rustix::fs::Dir::new(listing).wall(wall, || "getdents(\"/proc\")".to_owned())? {
            let entry = entry.wall(wall, || "getdents(\"/proc\")".to_owned())?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            let of_a_process = name.bytes().all(|b| b.is_ascii_digit());
            if of_a_process || name.starts_with('.') || plan.proc_kept.contains(&name) {
                continue;
            }
            let mask = match entry.file_type() {
                FileType::Directory => "mask/directory",
                FileType::Symlink => continue,
                _ => "mask/file",
            };
            match self.bind(mask, &Path::new("proc").join(name), wall) {
                // It went with the part of the kernel that it belonged to.
                Err(error) if error.source.kind() == io::ErrorKind::NotFound => {}
                done => done?,
            }
        }
        Ok(knobs)
    }

    /// Binds a name beside the root to a path inside it. The tmpfs and the root are attached by now, so this is one
    /// call; the bind has the attributes of the mount it is taken from.
    fn bind(&self, name: &str, path: &Path, wall: Wall) -> Result<()> {
        let target = Path::new("root").join(path);
        rustix::mount::mount_bind(name, &target)
            .wall(wall, || format!("mount({name:?}, {target:?}, MS_BIND)"))
    }

    /// A directory of the tmpfs, beside the root.
    fn beside(&self, name: &str, mode: u32, user: bool) -> Result<()> {
        self.directory(self.disk.as_fd(), Path::new(name), mode)?;
        let (true, Some((uid, gid))) = (user, self.user) else { return Ok(()) };
        rustix::fs::chownat(&self.disk, name, Some(uid), Some(gid), rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
            .wall(Wall::OwnRoot, || format!("chown({name:?}, {USER})"))
    }

    /// One that shows at a place that the policy names; so no link is followed there.
    fn writable(&self, at: &Path, name: &str) -> Result<()> {
        self.beside(name, 0o755, true)?;
        let mount = mounts::copy(self.disk.as_fd(), Path::new(name), NO_SUID | NO_DEV, Wall::OwnRoot)?;
        self.attach(mount.as_fd(), at, FileType::Directory, Wall::OwnRoot)
    }

    fn open(&self, name: &str) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.disk, name, flags, Mode::empty())
            .wall(Wall::OwnRoot, || format!("open({name:?})"))
    }

    /// Makes the place for a mount and puts it there.
    fn attach(&self, mount: BorrowedFd<'_>, at: &Path, kind: FileType, wall: Wall) -> Result<()> {
        self.place_for(at, kind)?;
        mounts::place(mount, self.root.as_fd(), inner(at), wall)
    }

    /// Makes what a mount is put on: a directory, or an empty file, and what leads there.
    fn place_for(&self, at: &Path, kind: FileType) -> Result<()> {
        let path = inner(at);
        self.make(path, || {
            if kind == FileType::Directory {
                return self.directory_if_missing(path);
            }
            rustix::fs::mknodat(&self.root, path, FileType::RegularFile, Mode::from_raw_mode(0o444), 0)
                .wall(Wall::OwnRoot, || format!("mknod({path:?}, S_IFREG)"))
        })
    }

    /// Makes something, and what leads there if that is missing.
    fn make(&self, path: &Path, once: impl Fn() -> Result<()>) -> Result<()> {
        match once() {
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => {
                self.parents(path)?;
                once()
            }
            made => made,
        }
    }

    fn parents(&self, path: &Path) -> Result<()> {
        let mut above: Vec<&Path> = path.ancestors().skip(1).filter(|p| !p.as_os_str().is_empty()).collect();
        above.reverse();
        above.into_iter().try_for_each(|path| self.directory_if_missing(path))
    }

    fn directory_if_missing(&self, path: &Path) -> Result<()> {
        match rustix::fs::mkdirat(&self.root, path, Mode::from_raw_mode(0o755)) {
            Err(rustix::io::Errno::EXIST) => Ok(()),
            made => made.wall(Wall::OwnRoot, || format!("mkdir({path:?})")),
        }
    }

    fn directory(&self, at: BorrowedFd<'_>, path: &Path, mode: u32) -> Result<()> {
        // The mode is meant as it stands: the builder has cleared the umask.
        rustix::fs::mkdirat(at, path, Mode::from_raw_mode(mode))
            .wall(Wall::OwnRoot, || format!("mkdir({path:?})"))
    }

    fn file(&self, at: BorrowedFd<'_>, path: &Path, text: &[u8], mode: u32) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(at, path, flags, Mode::from_raw_mode(mode))
            .wall(Wall::OwnRoot, || format!("open({path:?}, O_CREAT)"))?;
        rustix::io::write(&fd, text).map(drop).wall(Wall::OwnRoot, || format!("write({path:?})"))
    }

    /// Makes the new root the root, detaches the old one with all that it held, and seals the new one. Gives its
    /// disk, and the board where there is one.
    pub(crate) fn enter(self, plan: &Plan) -> Result<(OwnedFd, Option<OwnedFd>)> {
        let wall = Wall::OwnRoot;
        rustix::process::fchdir(&self.root).wall(wall, || "fchdir(new root)".to_owned())?;
        rustix::process::pivot_root(".", ".").wall(wall, || "pivot_root(\".\", \".\")".to_owned())?;
        rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH)
            .wall(wall, || "umount2(old root, MNT_DETACH)".to_owned())?;
        rustix::process::chdir("/").wall(wall, || "chdir(\"/\")".to_owned())?;
        same_file(
            self.root.as_fd(),
            mounts::open_path(CWD, Path::new("/.."), wall)?.as_fd(),
            Path::new("/.."),
        )?;
        if plan.root == RootInside::No && plan.walls.has(Wall::ReadOnlySystem) {
            let change = crate::sys::MountAttributes { set: READ_ONLY, ..Default::default() };
            crate::sys::mount_setattr(self.root.as_fd(), false, change)
                .wall(wall, || "mount_setattr(\"/\", RDONLY)".to_owned())?;
        }
        Ok((self.disk, self.board))
    }
}

/// A path inside, relative to the root directory.
fn inner(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}
