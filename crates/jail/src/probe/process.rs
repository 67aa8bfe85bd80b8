//! Trials of the walls that a process puts around itself.

use super::child::{inside, plain};
use super::{not_so, own_ids, refused};
use crate::error::{Error, For, Result};
use crate::landlock::{self, Domain};
use crate::sys::{self, Forked};
use model::Wall;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::path::Path;

const OPEN_FILES: u64 = 32;

fn no_more_privileges(wall: Wall) -> Result<()> {
    rustix::thread::set_no_new_privs(true).wall(wall, || "prctl(PR_SET_NO_NEW_PRIVS)".to_owned())
}

fn open(path: &str) -> rustix::io::Result<rustix::fd::OwnedFd> {
    rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

pub(super) fn no_new_privileges() -> Result<String> {
    let wall = Wall::NoNewPrivileges;
    plain(wall, || {
        no_more_privileges(wall)?;
        match rustix::thread::no_new_privs() {
            Ok(true) => Ok("set, and read back".to_owned()),
            other => Err(not_so(wall, "prctl(PR_GET_NO_NEW_PRIVS)", format!("{other:?}"))),
        }
    })
}

pub(super) fn no_capabilities() -> Result<String> {
    let wall = Wall::NoCapabilities;
    inside(wall, libc::CLONE_NEWUTS, &own_ids(), || {
        let name = || rustix::system::sethostname(b"casemate-doctor");
        name().wall(wall, || "sethostname() with capabilities".to_owned())?;
        for number in 0..64 {
            match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(
                1 << number,
            )) {
                // Past the last capability that this kernel has.
                Err(Errno::INVAL) => break,
                done => done.wall(wall, || format!("prctl(PR_CAPBSET_DROP, {number})"))?,
            }
        }
        rustix::thread::clear_ambient_capability_set()
            .wall(wall, || "prctl(PR_CAP_AMBIENT_CLEAR_ALL)".to_owned())?;
        let none = CapabilitySet::empty();
        let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
        rustix::thread::set_capabilities(None, sets).wall(wall, || "capset(none)".to_owned())?;
        let left = rustix::thread::capabilities(None).wall(wall, || "capget()".to_owned())?;
        if !(left.effective | left.permitted | left.inheritable).is_empty() {
            return Err(not_so(wall, "capget()", "capabilities are left"));
        }
        refused(wall, "sethostname() without capabilities", name(), Errno::PERM)?;
        Ok("dropped, and what needs one is refused".to_owned())
    })
}

/// `clone3` made the very process that tries this, so its refusal is the filter's doing.
pub(super) fn seccomp() -> Result<String> {
    let wall = Wall::Seccomp;
    plain(wall, || {
        no_more_privileges(wall)?;
        let program = crate::seccomp::compile(crate::seccomp::X86_64);
        let _listener = sys::seccomp::install(&program)
            .wall(wall, || format!("seccomp({} instructions)", program.len()))?;
        let copy = sys::clone3(0, None);
        if let Ok(Forked::Child) = copy {
            sys::exit_now(0);
        }
        refused(wall, "clone3() behind the filter", copy.map(drop), Errno::NOSYS)?;
        Ok(format!("a filter of {} instructions refuses what it should", program.len()))
    })
}

pub(super) fn landlock() -> Result<String> {
    let wall = Wall::Landlock;
    let abi = match landlock::abi() {
        0 => {
            let source = sys::landlock::abi().err().unwrap_or_else(|| Errno::NOSYS.into());
            return Err(Error { wall, call: "landlock_create_ruleset(VERSION)".to_owned(), source });
        }
        abi => abi,
    };
    plain(wall, || {
        let outside = "/etc/passwd";
        open(outside).wall(wall, || format!("open({outside:?})"))?;
        let domain = Domain::new(abi)?;
        domain.read(Path::new("/usr"))?;
        no_more_privileges(wall)?;
        domain.enter()?;
        open("/usr").wall(wall, || "open(\"/usr\"), which a rule allows,".to_owned())?;
        refused(wall, &format!("open({outside:?}), which no rule allows,"), open(outside), Errno::ACCESS)?;
        Ok(format!("ABI {abi}: what no rule allows cannot be opened"))
    })
}

pub(super) fn rlimits() -> Result<String> {
    let wall = Wall::Rlimits;
    plain(wall, || {
        let most = Rlimit { current: Some(OPEN_FILES), maximum: Some(OPEN_FILES) };
        rustix::process::setrlimit(Resource::Nofile, most)
            .wall(wall, || format!("setrlimit(NOFILE, {OPEN_FILES})"))?;
        let mut held = Vec::new();
        let filled = (0..=OPEN_FILES).try_for_each(|_| open("/dev/null").map(|fd| held.push(fd)));
        refused(wall, "open() past RLIMIT_NOFILE", filled, Errno::MFILE)?;
        Ok("open files end with EMFILE".to_owned())
    })
}

pub(super) fn own_session() -> Result<String> {
    let wall = Wall::OwnSession;
    plain(wall, || {
        rustix::process::setsid().wall(wall, || "setsid()".to_owned())?;
        refused(wall, "open(\"/dev/tty\") of the caller", open("/dev/tty"), Errno::NXIO)?;
        Ok("the caller's terminal is out of reach".to_owned())
    })
}
