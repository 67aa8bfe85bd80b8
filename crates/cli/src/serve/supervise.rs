//! The process that the user started: it forks servers, and waits.

use super::Serving;
use crate::Exit;
use crate::output;
use jail::sys::{self, Forked};
use node::State;
use node::launcher::{Client, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

const SIGTERM: i32 = 15;
const SIGINT: i32 = 2;
const SIGHUP: i32 = 1;
/// Before another server is started in the place of one that ended by itself: from the first to the last, doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A server that lived so long starts the pauses anew.
const LIFE: Duration = Duration::from_secs(10);
/// How long a server may take to end once it was told to. Sandboxes live on without it, whatever it was about to do.
const ENDING: Duration = Duration::from_secs(10);

/// How one server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// With a status of its own, before it served or because it was told to.
    With(u8),
    /// By itself, while it served.
    Lost,
}

pub(super) fn supervise(mut serving: Serving) -> Exit {
    let form = serving.form;
    let mut pauses = Pauses::default();
    let mut signals = None;
    // Whether a server ever answered. What kept the first from it keeps the next from it, too; afterwards it is a want that
    // passes, and whoever looks after this machine wants the service back when it has.
    let mut served = false;
    let mut turn = 0_u64;
    loop {
        let begun = Instant::now();
        let this = rustix::process::getpid();
        let ended = match fork(&serving.state, &mut signals) {
            Ok(Side::Server { launcher, ending, ready }) => {
                become_server(this, || serving.work(launcher, ending, ready, turn == 0))
            }
            Ok(Side::Supervisor { child, signals, ready, end }) => {
                Ok(wait(&child, signals, &ready, &end, &mut served))
            }
            Err(failure) => Err(failure),
        };
        match ended {
            Ok(Ended::With(status)) => return Exit::with(status),
            Ok(Ended::Lost) => output::say("casemate: the server ended by itself; another takes its place"),
            Err(Failure { what, help, exit }) if !served => {
                return output::failure(form, &what, help.as_deref(), exit);
            }
            Err(Failure { what, .. }) => {
                output::say(&format!(
                    "casemate: no server could be started: {}; it is tried again",
                    output::neutral(&what)
                ));
            }
        }
        turn += 1;
        serving.made = None;
        let pause = pauses.after(begun.elapsed());
        if signals.as_ref().is_some_and(|signals| is_asked_within(signals, pause)) {
            return Exit::Ok;
        }
    }
}

/// Why a server could not be started.
struct Failure {
    what: String,
    help: Option<String>,
    exit: Exit,
}

impl Failure {
    fn system(call: &str, error: &std::io::Error) -> Failure {
        Failure { what: format!("{call}: {error}"), help: None, exit: Exit::System }
    }
}

/// Which of the two processes this is.
enum Side<'a> {
    Server { launcher: Client, ending: OwnedFd, ready: OwnedFd },
    Supervisor { child: OwnedFd, signals: &'a OwnedFd, ready: OwnedFd, end: OwnedFd },
}

/// Sees that there is a launcher, and forks.
fn fork<'a>(state: &State, signals: &'a mut Option<OwnedFd>) -> Result<Side<'a>, Failure> {
    let launcher = ensure(state).map_err(|error| {
        let mut what = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            what = format!("{what}: {error}");
            source = error.source();
        }
        Failure { what, help: Some(error.mend()), exit: Exit::Failed }
    })?;
    let signals = match signals {
        Some(signals) => signals,
        None => {
            let fd = sys::signals_as_fd(&[SIGTERM, SIGINT, SIGHUP]);
            signals.insert(fd.map_err(|error| Failure::system("signalfd", &error))?)
        }
    };
    let ((ready, say_ready), (ending, end)) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
        .and_then(|ready| Ok((ready, pipe_with(PipeFlags::CLOEXEC)?)))
        .map_err(|error| Failure::system("pipe", &error.into()))?;
    Ok(match sys::clone3(0, None).map_err(|error| Failure::system("clone3", &error))? {
        Forked::Child => Side::Server { launcher, ending, ready: say_ready },
        Forked::Parent { pidfd, .. } => Side::Supervisor { child: pidfd, signals, ready, end },
    })
}

/// Pauses between servers.
#[derive(Debug, Default)]
struct Pauses {
    last: Option<Duration>,
}

impl Pauses {
    /// The pause after a server that lived so long.
    fn after(&mut self, life: Duration) -> Duration {
        let pause = match self.last {
            Some(last) if life < LIFE => (last * 2).min(PAUSE_MAX),
            _ => PAUSE_MIN,
        };
        self.last = Some(pause);
        pause
    }
}

/// Whether somebody asks for the end while there is no server.
fn is_asked_within(signals: &OwnedFd, pause: Duration) -> bool {
    let until = Instant::now() + pause;
    loop {
        if sys::next_signal(signals.as_fd()).is_some() {
            return true;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let _ = poll(&mut [PollFd::new(signals, PollFlags::IN)], Some(&timespec(left)));
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() }
}

/// Turns the forked process into the server. It ends when its supervisor does. Signals stay blocked in it: those that a
/// terminal sends to both are the supervisor's to understand.
fn become_server(parent: Pid, work: impl FnOnce() -> Exit) -> ! {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    // It may have died before that was set.
    if rustix::process::getppid() != Some(parent) {
        sys::exit_now(1);
    }
    // A panic must not unwind into the supervisor's own code.
    let status = catch_unwind(AssertUnwindSafe(work));
    std::process::exit(status.map_or(Exit::Failed as i32, |exit| exit as i32))
}

/// Waits for the server's end, and passes on that it is to end: when it is told a second time, or takes too long, by force.
fn wait(child: &OwnedFd, signals: &OwnedFd, ready: &OwnedFd, end: &OwnedFd, served: &mut bool) -> Ended {
    let mut told: Option<Instant> = None;
    let mut killed = false;
    loop {
        let left = told.filter(|_| !killed).map(|told| timespec(ENDING.saturating_sub(told.elapsed())));
        let mut fds = [PollFd::new(child, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        let _ = poll(&mut fds, left.as_ref());
        let mut asked = 0;
        while sys::next_signal(signals.as_fd()).is_some() {
            asked += 1;
        }
        let late = told.is_some_and(|told| asked > 0 || told.elapsed() >= ENDING);
        if late && !killed {
            killed = true;
            output::say(
                "casemate: the server did not end when it was told to, and is killed; its sandboxes live on",
            );
            let _ = pidfd_send_signal(child, Signal::KILL);
        }
        if asked > 0 && told.is_none() {
            told = Some(Instant::now());
            // One byte does.
            let _ = rustix::io::write(end, b"e");
        }
        match waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Ok(Some(status)) => {
                *served |= serves(ready);
                let status = status.exit_status().and_then(|status| u8::try_from(status).ok());
                return ended(status, told.is_some(), *served);
            }
            Err(_) => return Ended::Lost,
        }
    }
}

fn serves(ready: &OwnedFd) -> bool {
    matches!(rustix::io::read(ready, &mut [0; 1]), Ok(1))
}

/// What the end of a server means, which left a status or was killed. One that failed before any served would fail again.
fn ended(status: Option<u8>, told: bool, served: bool) -> Ended {
    match status {
        Some(status) if status == Exit::Ok as u8 || told || !served => Ended::With(status),
        None if told || !served => Ended::With(Exit::Failed as u8),
        _ => Ended::Lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_begin_anew_after_a_life() {
        let mut pauses = Pauses::default();
        let short = Duration::from_millis(1);
        let all: Vec<u128> = (0..9).map(|_| pauses.after(short).as_millis()).collect();
        assert_eq!(all, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(pauses.after(LIFE), PAUSE_MIN);
        assert_eq!(pauses.after(short), PAUSE_MIN * 2);
    }

    #[test]
    fn a_server_that_failed_is_replaced_once_any_has_served() {
        let failed = Exit::Failed as u8;
        assert_eq!(ended(Some(failed), false, false), Ended::With(failed));
        assert_eq!(ended(None, false, false), Ended::With(failed));
        assert_eq!(ended(Some(failed), false, true), Ended::Lost);
        assert_eq!(ended(None, false, true), Ended::Lost);
        // What it was told to do it did.
        assert_eq!(ended(Some(failed), true, true), Ended::With(failed));
        assert_eq!(ended(None, true, true), Ended::With(failed));
        assert_eq!(ended(Some(0), false, true), Ended::With(0));
    }
}
