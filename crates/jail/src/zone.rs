//! A host directory as the sandbox's own user sees it.

use crate::error::{For, Result};
use crate::ids::Ids;
use crate::mounts::{self, NO_DEV, NO_SUID, READ_ONLY};
use crate::sys::{self, Forked, MountAttributes};
use model::Wall;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::path::Path;

/// A detached read-only mount of `directory` in which files of `uid` and `gid` belong to the sandbox's user, and
/// everybody else's to nobody. Takes root.
///
/// # Errors
/// `EINVAL` where the file system cannot map owners.
pub fn zone_of_user(directory: &OwnedFd, ids: &Ids, uid: u32, gid: u32) -> Result<OwnedFd> {
    let wall = Wall::OwnRoot;
    let user = ids.host_user();
    let namespace = namespace_mapping(&format!("{uid} {user} 1"), &format!("{gid} {user} 1"))?;
    let mount = mounts::copy(directory.as_fd(), Path::new(""), 0, wall)?;
    let change = MountAttributes {
        set: READ_ONLY | NO_SUID | NO_DEV | libc::MOUNT_ATTR_IDMAP,
        idmap: Some(namespace.as_fd()),
        ..MountAttributes::default()
    };
    sys::mount_setattr(mount.as_fd(), true, change)
        .wall(wall, || format!("mount_setattr(zone, IDMAP {uid} -> {user})"))?;
    Ok(mount)
}

/// A user namespace with these maps. A process holds it until its descriptor is open, then ends.
fn namespace_mapping(uids: &str, gids: &str) -> Result<OwnedFd> {
    let wall = Wall::UserNamespace;
    let (wait, done) = pipe_with(PipeFlags::CLOEXEC).wall(wall, || "pipe2()".to_owned())?;
    let flags = libc::CLONE_NEWUSER as u64;
    match sys::clone3(flags, None).wall(wall, || "clone3(NEWUSER)".to_owned())? {
        Forked::Child => {
            drop(done);
            let _ = rustix::io::read(&wait, &mut [0; 1]);
            sys::exit_now(0)
        }
        Forked::Parent { pid, pidfd } => {
            let write = |file: &str, text: &str| {
                let path = format!("/proc/{pid}/{file}");
                std::fs::write(&path, text).wall(wall, || format!("write({path:?}, {text:?})"))
            };
            let path = format!("/proc/{pid}/ns/user");
            let namespace = write("uid_map", uids).and_then(|()| write("gid_map", gids)).and_then(|()| {
                rustix::fs::openat(CWD, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                    .wall(wall, || format!("open({path:?})"))
            });
            drop(done);
            let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
            namespace
        }
    }
}
