//! Trials of the walls that are made of mounts. Each has a mount namespace of its own, cut off from the host's before
//! anything is mounted; what is mounted there ends with the process.

use super::child::inside;
use super::{not_so, own_ids, refused};
use crate::error::{For, Result};
use crate::mounts::{self, NO_DEV, NO_EXEC, NO_SUID, READ_ONLY};
use model::Wall;
use rustix::fd::AsFd;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use std::path::Path;

/// A place that every host has, and that no trial needs.
const PLACE: &str = "/usr";
const DISK_BYTES: usize = 64 << 10;
const DISK_INODES: u32 = 16;

pub(super) fn own_root() -> Result<String> {
    let wall = Wall::OwnRoot;
    inside(wall, libc::CLONE_NEWNS, &own_ids(), || {
        mounts::make_private()?;
        let disk = mounts::new("tmpfs", &[], NO_SUID | NO_DEV, wall)?;
        mounts::place(disk.as_fd(), CWD, Path::new(PLACE), wall)?;
        rustix::process::fchdir(&disk).wall(wall, || "fchdir(new root)".to_owned())?;
        rustix::process::pivot_root(".", ".").wall(wall, || "pivot_root(\".\", \".\")".to_owned())?;
        rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH)
            .wall(wall, || "umount2(old root, MNT_DETACH)".to_owned())?;
        rustix::process::chdir("/").wall(wall, || "chdir(\"/\")".to_owned())?;
        refused(wall, "stat(\"/../usr\") of the host", rustix::fs::stat("/../usr"), Errno::NOENT)?;
        Ok("the host's root is detached".to_owned())
    })
}

pub(super) fn read_only_system() -> Result<String> {
    let wall = Wall::ReadOnlySystem;
    inside(wall, libc::CLONE_NEWNS, &own_ids(), || {
        mounts::make_private()?;
        let copy = mounts::copy(CWD, Path::new(PLACE), READ_ONLY | NO_SUID | NO_DEV, wall)?;
        mounts::place(copy.as_fd(), CWD, Path::new(PLACE), wall)?;
        let name = format!("{PLACE}/.casemate-doctor-{}", std::process::id());
        let made = rustix::fs::mkdir(&name, Mode::RWXU);
        if made.is_ok() {
            let _ = rustix::fs::rmdir(&name);
        }
        refused(wall, &format!("mkdir({name:?}) on a read-only copy"), made, Errno::ROFS)?;
        Ok(format!("{PLACE} cannot be written"))
    })
}

pub(super) fn private_proc() -> Result<String> {
    let wall = Wall::PrivateProc;
    inside(wall, libc::CLONE_NEWPID | libc::CLONE_NEWNS, &own_ids(), || {
        let attributes = NO_SUID | NO_DEV | NO_EXEC;
        mounts::make_private()?;
        let proc = mounts::new("proc", &[], attributes, wall)?;
        mounts::place(proc.as_fd(), CWD, Path::new("/proc"), wall)?;
        let knobs = mounts::copy(proc.as_fd(), Path::new("sys"), READ_ONLY | attributes, wall)?;
        mounts::place(knobs.as_fd(), proc.as_fd(), Path::new("sys"), wall)?;
        let own = rustix::fs::readlink("/proc/self", Vec::new())
            .wall(wall, || "readlink(\"/proc/self\")".to_owned())?;
        if own.as_bytes() != b"1" {
            return Err(not_so(wall, "readlink(\"/proc/self\")", format!("{own:?}; expected 1")));
        }
        // One that the owner of a user namespace may change: without the read-only copy this would work.
        let knob = "/proc/sys/user/max_net_namespaces";
        let open = rustix::fs::open(knob, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        refused(wall, &format!("open({knob:?}, O_WRONLY)"), open, Errno::ROFS)?;
        Ok("shows its own processes; the kernel's knobs are read-only".to_owned())
    })
}

pub(super) fn minimal_dev() -> Result<String> {
    let wall = Wall::MinimalDev;
    inside(wall, libc::CLONE_NEWNS, &own_ids(), || {
        mounts::make_private()?;
        let null = Path::new("/dev/null");
        let copy = mounts::copy(CWD, null, READ_ONLY | NO_SUID | NO_EXEC, wall)?;
        mounts::place(copy.as_fd(), CWD, null, wall)?;
        let device = rustix::fs::open(null, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            .wall(wall, || "open(\"/dev/null\", O_WRONLY)".to_owned())?;
        rustix::io::write(&device, b"x").wall(wall, || "write(\"/dev/null\")".to_owned())?;
        let changed = rustix::fs::chmod(null, Mode::from_raw_mode(0o666));
        refused(wall, "chmod(\"/dev/null\") on a read-only copy", changed, Errno::ROFS)?;
        let options = [("ptmxmode", "0666".to_owned())];
        let pts = mounts::new("devpts", &options, NO_SUID | NO_EXEC, wall)?;
        mounts::place(pts.as_fd(), CWD, Path::new(PLACE), wall)?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::open(format!("{PLACE}/ptmx"), flags, Mode::empty())
            .wall(wall, || "open(\"ptmx\") of a new devpts".to_owned())?;
        Ok("devices work and cannot be changed; terminals of its own".to_owned())
    })
}

pub(super) fn disk_limit() -> Result<String> {
    let wall = Wall::DiskLimit;
    inside(wall, libc::CLONE_NEWNS, &own_ids(), || {
        mounts::make_private()?;
        let options = [("size", DISK_BYTES.to_string()), ("nr_inodes", DISK_INODES.to_string())];
        let disk = mounts::new("tmpfs", &options, NO_SUID | NO_DEV, wall)?;
        let make = |name: &str| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            rustix::fs::openat(&disk, name, flags, Mode::RWXU)
        };
        let file = make("bytes").wall(wall, || "open(\"bytes\", O_CREAT)".to_owned())?;
        let chunk = vec![0; DISK_BYTES];
        let filled = (0..4).try_for_each(|_| rustix::io::write(&file, &chunk).map(drop));
        refused(wall, "write() past the bytes of a tmpfs", filled, Errno::NOSPC)?;
        let filled = (0..2 * DISK_INODES).try_for_each(|number| make(&number.to_string()).map(drop));
        refused(wall, "open(O_CREAT) past the inodes of a tmpfs", filled, Errno::NOSPC)?;
        Ok("bytes and inodes end with ENOSPC".to_owned())
    })
}
