//! Mounts as descriptors: every one is made detached, given its attributes, and only then put in its place.

use crate::error::{For, Result};
use crate::sys::{self, MountAttributes};
use model::Wall;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use std::path::Path;

pub(crate) const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY;
pub(crate) const NO_SUID: u64 = libc::MOUNT_ATTR_NOSUID;
pub(crate) const NO_DEV: u64 = libc::MOUNT_ATTR_NODEV;
pub(crate) const NO_EXEC: u64 = libc::MOUNT_ATTR_NOEXEC;

/// A new file system with `options`, detached.
pub(crate) fn new(kind: &str, options: &[(&str, String)], attributes: u64, wall: Wall) -> Result<OwnedFd> {
    new_with(kind, options, &[], attributes, wall)
}

/// The same with `flags`: options without a value.
pub(crate) fn new_with(
    kind: &str,
    options: &[(&str, String)],
    flags: &[&str],
    attributes: u64,
    wall: Wall,
) -> Result<OwnedFd> {
    let call = |step: &str| format!("{step}({kind:?}, {options:?})");
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).wall(wall, || call("fsopen"))?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, value.as_str())
            .wall(wall, || format!("fsconfig({kind:?}, {key}={value})"))?;
    }
    for flag in flags {
        fsconfig_set_flag(&context, *flag).wall(wall, || format!("fsconfig({kind:?}, {flag})"))?;
    }
    fsconfig_create(&context).wall(wall, || call("fsconfig(CREATE"))?;
    let attributes = MountAttrFlags::from_bits_retain(attributes as u32);
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).wall(wall, || call("fsmount"))
}

/// A detached copy of what is at `path` below `from`, with `attributes`.
///
/// Mounts beneath it are left out: what the host hides or shows there is not the sandbox's business. Where the
/// kernel insists on them (without privilege it never uncovers what a mount covers), they come along.
pub(crate) fn copy(from: BorrowedFd<'_>, path: &Path, attributes: u64, wall: Wall) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let call = || format!("open_tree({path:?}, OPEN_TREE_CLONE)");
    let mount = match open_tree(from, path, flags) {
        Err(rustix::io::Errno::INVAL) => {
            open_tree(from, path, flags | OpenTreeFlags::AT_RECURSIVE).wall(wall, call)?
        }
        other => other.wall(wall, call)?,
    };
    change(mount.as_fd(), attributes, wall, path)?;
    Ok(mount)
}

/// Sets attributes on a detached mount and all beneath it.
pub(crate) fn change(mount: BorrowedFd<'_>, attributes: u64, wall: Wall, name: &Path) -> Result<()> {
    sys::mount_setattr(mount, true, MountAttributes { set: attributes, ..MountAttributes::default() })
        .wall(wall, || format!("mount_setattr({name:?}, {attributes:#x})"))
}

/// Puts a detached mount at `path` below `onto`. The place must be of the same kind, and no link is followed.
pub(crate) fn place(mount: BorrowedFd<'_>, onto: BorrowedFd<'_>, path: &Path, wall: Wall) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", onto, path, flags).wall(wall, || format!("move_mount({path:?})"))
}

/// Cuts this mount namespace off from the host's: nothing mounted on either side shows on the other.
pub(crate) fn make_private() -> Result<()> {
    let root = open_path(CWD, Path::new("/"), Wall::MountNamespace)?;
    let change = MountAttributes { propagation: libc::MS_PRIVATE, ..MountAttributes::default() };
    sys::mount_setattr(root.as_fd(), true, change)
        .wall(Wall::MountNamespace, || "mount_setattr(\"/\", MS_PRIVATE|MS_REC)".to_owned())
}

/// A descriptor that stands for a place and gives no access to it.
pub(crate) fn open_path(at: BorrowedFd<'_>, path: &Path, wall: Wall) -> Result<OwnedFd> {
    rustix::fs::openat(at, path, OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
        .wall(wall, || format!("open({path:?}, O_PATH)"))
}

/// What is at `path` below `at`, without following a link; `None` where there is nothing.
pub(crate) fn kind(at: BorrowedFd<'_>, path: &Path) -> Option<(FileType, rustix::fs::Stat)> {
    let stat = rustix::fs::statat(at, path, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some((FileType::from_raw_mode(stat.st_mode), stat))
}
