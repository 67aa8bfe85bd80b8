//! The launcher of a state directory: found, or made.

use super::process::Launcher;
use super::{Client, LauncherError, place};
use crate::State;
use jail::sys::{self, Forked};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long one launcher may take to end, and the next to come up.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(2);
/// So many launchers are started before it is said that none comes up.
const STARTS_MAX: u32 = 3;

/// Connects to the launcher of `state`, and starts one if there is none.
///
/// This process must be single-threaded: it forks.
///
/// # Errors
/// There is none and none can be started, or the one that there is speaks another protocol.
pub fn ensure(state: &State) -> Result<Client, LauncherError> {
    let begun = Instant::now();
    let mut starts = 0;
    loop {
        let error = match Client::connect(state.path()) {
            Err(error @ LauncherError::Call { .. }) => error,
            done => return done,
        };
        let call = |call: &'static str| move |source| LauncherError::Call { call: call.to_owned(), source };
        match place::lock(state.path()).map_err(call("flock(lock/launcher)"))? {
            // One that was started and is gone again was in want of something; the next would be, too.
            Some(_) if starts >= STARTS_MAX => {
                return Err(LauncherError::Dies { starts, source: Box::new(error) });
            }
            Some(_) | None if begun.elapsed() >= PATIENCE => return Err(error),
            Some(lock) => {
                start(state.path(), lock)?;
                starts += 1;
            }
            // One is coming up or ending. Either takes a moment.
            None => std::thread::sleep(PAUSE),
        }
    }
}

/// Starts a launcher that holds `lock`.
fn start(state: &Path, lock: OwnedFd) -> Result<(), LauncherError> {
    let call = |call: &'static str| move |source| LauncherError::Call { call: call.to_owned(), source };
    let listener = place::listener(state).map_err(call("bind(run/launcher)"))?;
    match sys::clone3(0, None).map_err(call("clone3()"))? {
        Forked::Child => {
            // A grandchild, so that it is nobody's child but the machine's: who started it may end without it.
            let made = rustix::process::setsid().map_err(io::Error::from).and_then(|_| sys::clone3(0, None));
            if let Ok(Forked::Child) = made {
                // A panic must not unwind into what this process was before.
                let _ = catch_unwind(AssertUnwindSafe(|| live(state, listener, lock)));
                sys::exit_now(1)
            }
            sys::exit_now(i32::from(made.is_err()))
        }
        Forked::Parent { pidfd, .. } => {
            drop((listener, lock));
            let ended = loop {
                match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
                    Err(rustix::io::Errno::INTR) => {}
                    other => break other,
                }
            };
            match ended.ok().flatten().and_then(|ended| ended.exit_status()) {
                Some(0) => Ok(()),
                status => Err(call("setsid(), clone3()")(io::Error::other(format!(
                    "its parent ended with {status:?}"
                )))),
            }
        }
    }
}

fn live(state: &Path, listener: OwnedFd, lock: OwnedFd) -> ! {
    // A supervisor that starts a launcher anew reads its signals from a descriptor, and has them blocked.
    if sys::unblock_signals().is_err() {
        sys::exit_now(1)
    }
    let kept = [listener.as_fd(), lock.as_fd()];
    let launcher = shed(c"casemate-launcher", &kept).and_then(|()| Launcher::new(state, listener, lock));
    match launcher {
        Ok(launcher) => launcher.live(),
        Err(_) => sys::exit_now(1),
    }
}

/// Lets go of all that a process inherited but `kept`: it has no terminal, no files and no working directory of its
/// parent's.
pub(super) fn shed(name: &std::ffi::CStr, kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let _ = rustix::thread::set_name(name);
    let _ = rename(name);
    let mut numbers: Vec<u32> = kept.iter().map(|fd| fd.as_raw_fd() as u32).collect();
    numbers.sort_unstable();
    let mut next = 0;
    for number in numbers {
        if number > next {
            sys::close_range(next, number - 1)?;
        }
        next = number + 1;
    }
    sys::close_range(next, u32::MAX)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    for number in 0..3 {
        // A kept descriptor may have one of these numbers only if the caller had closed its own.
        if !kept.iter().any(|fd| fd.as_raw_fd() == number) {
            sys::place_at(null.as_fd(), number)?;
        }
    }
    if null.as_raw_fd() < 3 {
        // It is one of the three now, and has to stay.
        let _ = std::os::fd::IntoRawFd::into_raw_fd(null);
    }
    rustix::process::chdir("/")?;
    Ok(())
}

/// Shows `name` in place of the command line that this process has from the one that forked it: who ends all that is
/// called `casemate serve` does not mean the launcher.
fn rename(name: &std::ffi::CStr) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The second field is a name in parentheses, which may hold anything. The 48th and 49th say where the arguments are.
    let numbers = stat.rsplit(')').next().unwrap_or_default();
    let number =
        |place: usize| numbers.split_whitespace().nth(place - 3).and_then(|text| text.parse::<u64>().ok());
    let (Some(start), Some(end)) = (number(48), number(49)) else { return Ok(()) };
    let length = end.saturating_sub(start).min(64 << 10) as usize;
    let mut arguments = vec![0; length];
    let shown = name.to_bytes().len().min(length.saturating_sub(1));
    arguments[..shown].copy_from_slice(&name.to_bytes()[..shown]);
    std::fs::File::options().write(true).open("/proc/self/mem")?.write_all_at(&arguments, start)
}
