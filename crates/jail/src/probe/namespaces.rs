//! Trials of the namespaces, and of who and how many one can be in them.

use super::child::inside;
use super::{not_so, own_ids, refused};
use crate::error::{Error, For, Result};
use crate::ids::{Ids, Profile, USER};
use crate::mounts::{self, NO_DEV, NO_EXEC, NO_SUID};
use crate::sys::{self, Forked};
use model::Wall;
use rustix::fd::AsFd;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::path::Path;

const HOST_NAME: &str = "casemate-doctor";
/// Of `linux/magic.h`.
const TMPFS_MAGIC: u64 = 0x0102_1994;

pub(super) fn user() -> Result<String> {
    let wall = Wall::UserNamespace;
    let ids = own_ids();
    inside(wall, 0, &ids, || match rustix::process::getuid().as_raw() {
        USER => Ok(format!("uid {USER} inside is uid {} outside", ids.host_user())),
        uid => Err(not_so(wall, "getuid()", format!("uid {uid}; expected {USER}"))),
    })
}

pub(super) fn pid() -> Result<String> {
    inside(Wall::PidNamespace, libc::CLONE_NEWPID, &own_ids(), || match rustix::process::getpid() {
        rustix::process::Pid::INIT => Ok("the first process inside is pid 1".to_owned()),
        pid => Err(not_so(Wall::PidNamespace, "getpid()", format!("pid {pid}; expected 1"))),
    })
}

pub(super) fn mount() -> Result<String> {
    let wall = Wall::MountNamespace;
    let device =
        || rustix::fs::stat("/usr").map(|stat| stat.st_dev).wall(wall, || "stat(\"/usr\")".to_owned());
    let before = device()?;
    let seen = inside(wall, libc::CLONE_NEWNS, &own_ids(), || {
        mounts::make_private()?;
        let disk = mounts::new("tmpfs", &[], NO_SUID | NO_DEV, wall)?;
        mounts::place(disk.as_fd(), CWD, Path::new("/usr"), wall)?;
        let found = rustix::fs::statfs("/usr").wall(wall, || "statfs(\"/usr\")".to_owned())?;
        match found.f_type as u64 {
            TMPFS_MAGIC => Ok("a mount inside does not show outside".to_owned()),
            _ => Err(not_so(wall, "statfs(\"/usr\")", "the mount that was made there does not show")),
        }
    })?;
    if device()? == before {
        Ok(seen)
    } else {
        Err(not_so(wall, "move_mount()", "the mount shows on the host"))
    }
}

pub(super) fn network() -> Result<String> {
    let wall = Wall::NetworkNamespace;
    inside(wall, libc::CLONE_NEWNET, &own_ids(), || {
        let socket =
            rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
                .wall(wall, || "socket(AF_INET)".to_owned())?;
        sys::loopback_up(socket.as_fd()).wall(wall, || "ioctl(SIOCSIFFLAGS, lo, UP)".to_owned())?;
        let table = read(wall, "/proc/self/net/dev")?;
        let names: Vec<&str> =
            table.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
        match names.as_slice() {
            ["lo"] => Ok("only lo, and it is up".to_owned()),
            others => Err(not_so(wall, "read(\"/proc/self/net/dev\")", format!("interfaces {others:?}"))),
        }
    })
}

pub(super) fn ipc() -> Result<String> {
    let wall = Wall::IpcNamespace;
    let link = || {
        rustix::fs::readlink("/proc/self/ns/ipc", Vec::new())
            .wall(wall, || "readlink(\"/proc/self/ns/ipc\")".to_owned())
    };
    let host = link()?;
    inside(wall, libc::CLONE_NEWIPC, &own_ids(), || {
        if link()? == host {
            return Err(not_so(wall, "readlink(\"/proc/self/ns/ipc\")", "it is the host's"));
        }
        Ok("queues and segments of its own".to_owned())
    })
}

pub(super) fn uts() -> Result<String> {
    let wall = Wall::UtsNamespace;
    let name = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    let host = name();
    let seen = inside(wall, libc::CLONE_NEWUTS, &own_ids(), || {
        rustix::system::sethostname(HOST_NAME.as_bytes())
            .wall(wall, || format!("sethostname({HOST_NAME:?})"))?;
        if name() == HOST_NAME {
            Ok("a host name that is set inside stays inside".to_owned())
        } else {
            Err(not_so(wall, "uname()", "the name that was set does not show"))
        }
    })?;
    if name() == host { Ok(seen) } else { Err(not_so(wall, "uname()", "the host's name changed")) }
}

pub(super) fn cgroup() -> Result<String> {
    let wall = Wall::CgroupNamespace;
    inside(wall, 0, &own_ids(), || {
        sys::new_cgroup_namespace().wall(wall, || "unshare(NEWCGROUP)".to_owned())?;
        let table = read(wall, "/proc/self/cgroup")?;
        match table.lines().find(|line| !line.ends_with(":/")) {
            None => Ok("its place in the host's tree shows as /".to_owned()),
            Some(line) => Err(not_so(wall, "read(\"/proc/self/cgroup\")", model::quote(line))),
        }
    })
}

/// The ceilings on kernel objects, by the one that can be seen at once: no user namespace more.
pub(super) fn limits() -> Result<String> {
    let wall = Wall::NamespaceLimits;
    inside(wall, libc::CLONE_NEWPID | libc::CLONE_NEWNS, &own_ids(), || {
        mounts::make_private()?;
        let proc = mounts::new("proc", &[], NO_SUID | NO_DEV | NO_EXEC, wall)?;
        let call = || "write(\"/proc/sys/user/max_user_namespaces\", 0)".to_owned();
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let knob = rustix::fs::openat(&proc, "sys/user/max_user_namespaces", flags, Mode::empty())
            .wall(wall, call)?;
        rustix::io::write(&knob, b"0").wall(wall, call)?;
        let one_more = sys::clone3(libc::CLONE_NEWUSER as u64, None);
        if let Ok(Forked::Child) = one_more {
            sys::exit_now(0);
        }
        refused(wall, "clone3(NEWUSER) beyond the ceiling", one_more.map(drop), Errno::NOSPC)?;
        Ok("no user namespace beyond the ceiling".to_owned())
    })
}

pub(super) fn own_uid(profile: Profile) -> Result<String> {
    let wall = Wall::OwnUid;
    if profile == Profile::User {
        let call = format!("stat({:?})", crate::ids::lease_file(rustix::process::geteuid().as_raw()));
        return Err(Error { wall, call, source: Errno::NOENT.into() });
    }
    let ids = Ids::take(profile, std::process::id())?;
    inside(wall, 0, &ids, || {
        let user = rustix::process::Uid::from_raw(USER);
        rustix::thread::set_thread_res_uid(user, user, user)
            .wall(wall, || format!("setresuid({USER}, {USER}, {USER})"))?;
        let map = read(wall, "/proc/self/uid_map")?;
        let outside = map.lines().find_map(|line| outside(line, USER));
        match outside {
            Some(uid) if uid == ids.host_user() => Ok(format!("uid {USER} inside is uid {uid} outside")),
            other => Err(not_so(wall, "read(\"/proc/self/uid_map\")", format!("uid {USER} is {other:?}"))),
        }
    })
}

/// What one line of a uid map makes of an id.
fn outside(line: &str, id: u32) -> Option<u32> {
    let mut numbers = line.split_whitespace().map_while(|number| number.parse::<u32>().ok());
    let (inside, outside, count) = (numbers.next()?, numbers.next()?, numbers.next()?);
    id.checked_sub(inside).filter(|step| *step < count).and_then(|step| outside.checked_add(step))
}

fn read(wall: Wall, path: &str) -> Result<String> {
    std::fs::read_to_string(path).wall(wall, || format!("read({path:?})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_map_gives_the_id_outside() {
        assert_eq!(outside("         0     100000       1023", 1000), Some(101_000));
        assert_eq!(outside("     65534     101023          1", 1000), None);
        assert_eq!(outside("0 4294967295 4294967295", 1000), None);
        assert_eq!(outside("nonsense", 1000), None);
    }
}
