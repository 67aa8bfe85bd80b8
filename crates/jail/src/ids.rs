//! Who the sandbox is on the host: one uid of the caller's, or a block of ids that nobody else has.
//!
//! A block is leased by a lock on one byte of a file, so a lease ends with its last holder, whatever kills it.
//! The ids of the root profile come from the range that systemd reserves for containers
//! (0x0008_0000 to 0x6fff_ffff, its UIDS-GIDS document), from the top, where nspawn rarely looks.

use crate::error::{For, Result};
use crate::sys;
use model::Wall;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::path::{Path, PathBuf};

/// The ordinary user inside.
pub const USER: u32 = 1000;
/// Nobody inside, and how an owner from outside the block shows.
pub const NOBODY: u32 = 65534;
/// Ids in a block: 0 to 1022 inside stand for themselves, the last one is nobody.
pub const BLOCK: u32 = 1024;

const ROOT_BASE: u32 = 0x6000_0000;
const ROOT_BLOCKS: u32 = 0x1000_0000 / BLOCK;
const ROOT_LEASES: &str = "/run/casemate/uids";
/// Where `casemate setup` keeps the lease file of each user it served; the file is the user's, its presence says
/// that the set-up was done.
pub const SETUP_DIR: &str = "/var/lib/casemate/setup";

/// How much the caller may ask of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Everything.
    Root,
    /// No privilege and no set-up: one uid, no cgroup.
    User,
    /// An ordinary user for whom `casemate setup` was run: ids and a cgroup subtree of its own.
    UserSetUp,
}

impl Profile {
    /// The profile of this process.
    pub fn current() -> Profile {
        let uid = rustix::process::geteuid();
        if uid.is_root() {
            Profile::Root
        } else if lease_file(uid.as_raw()).exists() {
            Profile::UserSetUp
        } else {
            Profile::User
        }
    }

    /// Its name in reports and records.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Root => "root",
            Profile::User => "user",
            Profile::UserSetUp => "user+setup",
        }
    }
}

/// The lease file that `casemate setup` makes for the user `uid`.
pub fn lease_file(uid: u32) -> PathBuf {
    Path::new(SETUP_DIR).join(format!("{uid}.uids"))
}

/// The host ids of one sandbox.
#[derive(Debug)]
pub enum Ids {
    /// The caller's own uid and gid, shown inside as [`USER`]; there is no other.
    Own {
        /// The caller's uid on the host.
        uid: u32,
        /// The caller's gid on the host.
        gid: u32,
    },
    /// A block of its own.
    Block {
        /// First uid on the host.
        uids: u32,
        /// First gid on the host.
        gids: u32,
        /// Whether the maps are written by newuidmap and newgidmap.
        by_helper: bool,
        /// The lock that makes the block ours.
        lease: OwnedFd,
    },
}

impl Ids {
    /// Takes ids for one sandbox.
    ///
    /// # Errors
    /// The lease file cannot be opened, or every block is taken.
    pub fn take(profile: Profile, seed: u32) -> Result<Ids> {
        let uid = rustix::process::geteuid().as_raw();
        match profile {
            Profile::User => Ok(Ids::Own { uid, gid: rustix::process::getegid().as_raw() }),
            Profile::Root => {
                std::fs::create_dir_all("/run/casemate")
                    .wall(Wall::OwnUid, || "mkdir(\"/run/casemate\")".to_owned())?;
                let (block, lease) = lease(Path::new(ROOT_LEASES), ROOT_BLOCKS, seed)?;
                let base = ROOT_BASE + block * BLOCK;
                Ok(Ids::Block { uids: base, gids: base, by_helper: false, lease })
            }
            Profile::UserSetUp => {
                let (uids, uid_count) = subordinate("/etc/subuid", uid)?;
                let (gids, gid_count) = subordinate("/etc/subgid", uid)?;
                let (block, lease) = lease(&lease_file(uid), uid_count.min(gid_count) / BLOCK, seed)?;
                Ok(Ids::Block {
                    uids: uids + block * BLOCK,
                    gids: gids + block * BLOCK,
                    by_helper: true,
                    lease,
                })
            }
        }
    }

    /// Whether the sandbox has ids that no other has.
    pub fn own_block(&self) -> bool {
        matches!(self, Ids::Block { .. })
    }

    /// The host uid of the sandbox's ordinary user.
    pub fn host_user(&self) -> u32 {
        match self {
            Ids::Own { uid, .. } => *uid,
            Ids::Block { uids, .. } => uids + USER,
        }
    }

    /// The lock that makes a block this sandbox's: whoever holds a copy of it keeps it so.
    pub fn lease(&self) -> Option<&OwnedFd> {
        match self {
            Ids::Own { .. } => None,
            Ids::Block { lease, .. } => Some(lease),
        }
    }

    /// The same, for whoever holds it when the plan is no longer needed.
    pub fn into_lease(self) -> Option<OwnedFd> {
        match self {
            Ids::Own { .. } => None,
            Ids::Block { lease, .. } => Some(lease),
        }
    }

    /// Writes the maps of the new process `pid`, whose user namespace waits for them.
    ///
    /// # Errors
    /// The kernel, or newuidmap, refuses.
    pub fn map(&self, pid: i32) -> Result<()> {
        let write = |file: &str, text: &str| {
            let path = format!("/proc/{pid}/{file}");
            std::fs::write(&path, text).wall(Wall::UserNamespace, || format!("write({path:?}, {text:?})"))
        };
        match self {
            Ids::Own { uid, gid } => {
                write("setgroups", "deny")?;
                write("uid_map", &format!("{USER} {uid} 1"))?;
                write("gid_map", &format!("{USER} {gid} 1"))
            }
            Ids::Block { uids, gids, by_helper: false, .. } => {
                write("uid_map", &block_map(*uids))?;
                write("gid_map", &block_map(*gids))
            }
            Ids::Block { uids, gids, by_helper: true, .. } => {
                by_helper("/usr/bin/newuidmap", pid, *uids)?;
                by_helper("/usr/bin/newgidmap", pid, *gids)
            }
        }
    }
}

/// The map of a block: 0 to 1022, and nobody.
fn block_map(base: u32) -> String {
    format!("0 {base} {}\n{NOBODY} {} 1\n", BLOCK - 1, base + BLOCK - 1)
}

/// The one program that is started on the host: Debian's set-user-id helper, by its absolute path, with numbers only.
fn by_helper(program: &'static str, pid: i32, base: u32) -> Result<()> {
    let arguments: Vec<String> = std::iter::once(pid.to_string())
        .chain(block_map(base).split_whitespace().map(str::to_owned))
        .collect();
    #[allow(clippy::disallowed_methods, reason = "the one place on the host side that starts a program")]
    let output = std::process::Command::new(program)
        .args(&arguments)
        .env_clear()
        .stdin(std::process::Stdio::null())
        .output();
    let call = || format!("{program} {}", arguments.join(" "));
    let output = output.wall(Wall::OwnUid, call)?;
    if output.status.success() {
        return Ok(());
    }
    let said = model::quote(&output.stderr[..output.stderr.len().min(300)]);
    Err(std::io::Error::other(said)).wall(Wall::OwnUid, call)
}

/// Locks a free byte of `file`; the search starts at a place that `seed` chooses, so that starts that happen
/// together seldom meet.
fn lease(file: &Path, blocks: u32, seed: u32) -> Result<(u32, OwnedFd)> {
    let open = || format!("open({file:?}, O_RDWR|O_CREAT)");
    let fd = rustix::fs::open(
        file,
        OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::RUSR | Mode::WUSR,
    )
    .wall(Wall::OwnUid, open)?;
    for step in 0..blocks {
        let block = (seed % blocks + step) % blocks;
        match sys::lock_byte(fd.as_fd(), i64::from(block)) {
            Ok(()) => return Ok((block, fd)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => {
                return Err(error).wall(Wall::OwnUid, || format!("fcntl({file:?}, F_OFD_SETLK, {block})"));
            }
        }
    }
    Err(std::io::Error::other("every block of host ids is in use"))
        .wall(Wall::OwnUid, || format!("lease one of {blocks} blocks in {file:?}"))
}

/// The first subordinate range of at least one block that `file` gives `uid`, by number or by name.
fn subordinate(file: &str, uid: u32) -> Result<(u32, u32)> {
    let text = std::fs::read_to_string(file).wall(Wall::OwnUid, || format!("open({file:?})"))?;
    let name = std::fs::read_to_string("/etc/passwd").ok().and_then(|passwd| name_of(&passwd, uid));
    range_for(&text, uid, name.as_deref())
        .ok_or(std::io::Error::from(std::io::ErrorKind::NotFound))
        .wall(Wall::OwnUid, || format!("find a range of {BLOCK} ids for uid {uid} in {file:?}"))
}

/// The login name of `uid` in the text of a passwd file.
pub fn name_of(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// The first range in the text of a subuid file that belongs to the user and holds a block.
pub fn range_for(text: &str, uid: u32, name: Option<&str>) -> Option<(u32, u32)> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let first: u32 = fields.next()?.parse().ok()?;
        let count: u32 = fields.next()?.trim().parse().ok()?;
        let ours = owner.parse() == Ok(uid) || Some(owner) == name;
        (ours && count >= BLOCK && first.checked_add(count).is_some() && first >= 1000)
            .then_some((first, count))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_leases_never_share_a_block() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("uids");
        let (first, held) = lease(&file, 2, 0).unwrap();
        let (second, _also) = lease(&file, 2, 0).unwrap();
        assert_ne!(first, second);
        assert!(lease(&file, 2, 0).is_err());
        drop(held);
        assert_eq!(lease(&file, 2, 1).unwrap().0, first);
    }

    #[test]
    fn a_range_is_found_by_number_and_by_name_and_never_a_strangers() {
        let text = "bob:100000:65536\n1001:200000:65536\neve:5:99999\nann:300000:10\n";
        assert_eq!(range_for(text, 1, Some("bob")), Some((100_000, 65536)));
        assert_eq!(range_for(text, 1001, None), Some((200_000, 65536)));
        assert_eq!(range_for(text, 2, Some("eve")), None, "a range over the system's own ids");
        assert_eq!(range_for(text, 3, Some("ann")), None, "too small for a block");
        assert_eq!(range_for(text, 4, Some("nobody")), None);
    }
}
