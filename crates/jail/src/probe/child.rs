//! A throw-away process: what it is started with, what it answers, and its end after five seconds at the latest.

use crate::cgroup::Cgroup;
use crate::error::{Error, For, Result};
use crate::ids::Ids;
use crate::sys::{self, Forked};
use model::Wall;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use std::io;
use std::time::{Duration, Instant};

/// How long one trial may take.
const BUDGET: Duration = Duration::from_secs(5);
/// An answer is a line or a small report.
const ANSWER_BYTES_MAX: usize = 1 << 20;

const STANDS: u8 = 1;
const FAILED: u8 = 0;

/// Ends the process even if the work in it panics: the copy must never run on as its original would.
struct Last;

impl Drop for Last {
    fn drop(&mut self) {
        sys::exit_now(1);
    }
}

/// Does `work` in a process of its own and gives its answer. The process is killed when `budget` is over.
///
/// Only for a single-threaded process: it forks.
///
/// # Errors
/// `TimedOut` after the budget; `UnexpectedEof` if the process ended without an answer; what `clone3` says.
pub fn attempt(budget: Duration, work: impl FnOnce() -> Vec<u8>) -> io::Result<Vec<u8>> {
    let spawned = spawn(0, None, work)?;
    spawned.answer(budget)
}

/// Tries something in a plain copy of this process.
pub(super) fn plain(wall: Wall, work: impl FnOnce() -> Result<String>) -> Result<String> {
    let answer = attempt(BUDGET, || encode(work()));
    decode(answer.wall(wall, || "clone3()".to_owned())?)
}

/// Tries something in a cgroup. `None`: the process was killed there.
pub(super) fn limited(
    wall: Wall,
    cgroup: &Cgroup,
    work: impl FnOnce() -> Result<String>,
) -> Result<Option<String>> {
    let enter = cgroup.enter_files()?;
    let work = || {
        for file in enter {
            rustix::io::write(&file, b"0").wall(wall, || "write(tasks, 0)".to_owned())?;
        }
        work()
    };
    let into = cgroup.clone_into().is_some();
    let spawned =
        spawn(0, Some(cgroup), || encode(work())).wall(wall, || format!("clone3(into a cgroup: {into})"))?;
    match spawned.answer(BUDGET) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        answer => decode(answer.wall(wall, || "wait(trial)".to_owned())?).map(Some),
    }
}

/// Tries something in a user namespace of `ids`, and in the other namespaces of `flags`.
pub(super) fn inside(
    wall: Wall,
    flags: i32,
    ids: &Ids,
    work: impl FnOnce() -> Result<String>,
) -> Result<String> {
    let flags = (libc::CLONE_NEWUSER | flags) as u64;
    let (go, say_go) = pipe_with(PipeFlags::CLOEXEC).wall(wall, || "pipe2()".to_owned())?;
    let number = say_go.as_raw_fd() as u32;
    let work = || {
        // The copy's own end must close, or it would wait for itself if we die. Nothing drops it there: the copy exits.
        sys::close_range(number, number).wall(wall, || "close_range()".to_owned())?;
        if !matches!(rustix::io::read(&go, &mut [0]), Ok(1)) {
            sys::exit_now(1);
        }
        if ids.own_block() {
            become_root_inside(wall)?;
        }
        work()
    };
    let spawned = spawn(flags, None, || encode(work()))
        .wall(Wall::UserNamespace, || format!("clone3({})", names(flags)))?;
    ids.map(spawned.pid)?;
    rustix::io::write(&say_go, b"1").wall(wall, || "write(go)".to_owned())?;
    decode(spawned.answer(BUDGET).wall(wall, || "wait(trial)".to_owned())?)
}

/// A process that was started, killed when this is dropped.
struct Spawned {
    pid: i32,
    process: OwnedFd,
    answer: OwnedFd,
}

fn spawn(flags: u64, cgroup: Option<&Cgroup>, work: impl FnOnce() -> Vec<u8>) -> io::Result<Spawned> {
    let (answer, say) = pipe_with(PipeFlags::CLOEXEC)?;
    match sys::clone3(flags, cgroup.and_then(Cgroup::clone_into))? {
        Forked::Child => {
            let _last = Last;
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            let bytes = work();
            let mut rest = bytes.as_slice();
            while let Ok(written @ 1..) = rustix::io::write(&say, rest) {
                rest = &rest[written..];
            }
            sys::exit_now(0)
        }
        Forked::Parent { pid, pidfd } => Ok(Spawned { pid, process: pidfd, answer }),
    }
}

impl Spawned {
    /// What the process wrote until it ended. Its end is seen on the pidfd: something that it started may live on for a
    /// moment and hold the pipe open.
    fn answer(self, budget: Duration) -> io::Result<Vec<u8>> {
        let until = Instant::now() + budget;
        let mut bytes = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            let mut fds =
                [PollFd::new(&self.answer, PollFlags::IN), PollFd::new(&self.process, PollFlags::IN)];
            match poll(&mut fds, Some(&left)) {
                Ok(0) => {
                    let what = "it did not answer in time and was killed";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, what));
                }
                Err(rustix::io::Errno::INTR) => continue,
                other => other?,
            };
            if fds[0].revents().contains(PollFlags::IN) {
                let mut chunk = [0; 4096];
                let length = rustix::io::read(&self.answer, &mut chunk)?;
                bytes.extend_from_slice(&chunk[..length]);
            } else if bytes.is_empty() {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended without an answer"));
            } else {
                return Ok(bytes);
            }
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&self.process, Signal::KILL);
        let _ = waitid(WaitId::PidFd(self.process.as_fd()), WaitIdOptions::EXITED);
    }
}

fn become_root_inside(wall: Wall) -> Result<()> {
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    let (uid, gid) = (rustix::process::Uid::ROOT, rustix::process::Gid::ROOT);
    set_thread_groups(&[])
        .and_then(|()| set_thread_res_gid(gid, gid, gid))
        .and_then(|()| set_thread_res_uid(uid, uid, uid))
        .wall(wall, || "setresuid(0, 0, 0)".to_owned())?;
    // Changing ids clears the request.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .wall(wall, || "prctl(PR_SET_PDEATHSIG, SIGKILL)".to_owned())
}

/// Namespaces by their names.
fn names(flags: u64) -> String {
    let names = [
        (libc::CLONE_NEWUSER, "NEWUSER"),
        (libc::CLONE_NEWPID, "NEWPID"),
        (libc::CLONE_NEWNS, "NEWNS"),
        (libc::CLONE_NEWNET, "NEWNET"),
        (libc::CLONE_NEWIPC, "NEWIPC"),
        (libc::CLONE_NEWUTS, "NEWUTS"),
    ];
    let set: Vec<&str> =
        names.iter().filter(|(flag, _)| flags & *flag as u64 != 0).map(|(_, name)| *name).collect();
    set.join("|")
}

/// `STANDS` and what was seen; or `FAILED`, the wall, the error's number, and `CALL NUL REASON`.
fn encode(found: Result<String>) -> Vec<u8> {
    match found {
        Ok(seen) => [&[STANDS], seen.as_bytes()].concat(),
        Err(error) => {
            let place = Wall::ALL.iter().position(|wall| *wall == error.wall).unwrap_or(0) as u8;
            let errno = error.source.raw_os_error().unwrap_or(0).to_le_bytes();
            let text = format!("{}\0{}", error.call, error.source);
            [&[FAILED, place], &errno[..], text.as_bytes()].concat()
        }
    }
}

fn decode(answer: Vec<u8>) -> Result<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match answer.as_slice() {
        [STANDS, seen @ ..] => Ok(text(seen)),
        [FAILED, place, a, b, c, d, rest @ ..] => {
            let wall = Wall::ALL.get(usize::from(*place)).copied().unwrap_or(Wall::UserNamespace);
            let rest = text(rest);
            let (call, reason) = rest.split_once('\0').unwrap_or((&rest, ""));
            let source = match i32::from_le_bytes([*a, *b, *c, *d]) {
                0 => io::Error::other(reason.to_owned()),
                errno => io::Error::from_raw_os_error(errno),
            };
            Err(Error { wall, call: call.to_owned(), source })
        }
        _ => Err(super::not_so(Wall::UserNamespace, "wait(trial)", "its answer makes no sense")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_survives_the_pipe() {
        assert_eq!(decode(encode(Ok("seen".to_owned()))).unwrap(), "seen");
        let error = Error {
            wall: Wall::Landlock,
            call: "landlock_create_ruleset()".to_owned(),
            source: io::Error::from_raw_os_error(libc::ENOSYS),
        };
        let back = decode(encode(Err(error))).unwrap_err();
        assert_eq!((back.wall, back.call.as_str()), (Wall::Landlock, "landlock_create_ruleset()"));
        assert_eq!(back.source.raw_os_error(), Some(libc::ENOSYS));
        for answer in [&b""[..], b"\x00", b"\x07x"] {
            assert!(decode(answer.to_vec()).is_err());
        }
    }
}
