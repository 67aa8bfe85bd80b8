//! A state directory of a test's own, and a server for it.

use model::{Lease, SandboxId};
use node::launcher::Client;
use node::launcher::protocol::{Ended, Order, Report, Standing};
use policy::Policy;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take before it counts as hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// As whom the launcher runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Root,
    User,
}

/// Runs every named function as two tests.
#[macro_export]
macro_rules! in_both_profiles {
    ($($name:ident)*) => {
        mod root {
            $(#[test] fn $name() { $crate::place::Place::with($crate::place::Who::Root, super::$name) })*
        }
        mod user {
            $(#[test] fn $name() { $crate::place::Place::with($crate::place::Who::User, super::$name) })*
        }
    };
}

/// Ids from here on are nobody's: neither a person's nor among those that the root profile leases.
const FIRST_UID: u32 = 1_700_000_000;
static COUNT: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Place {
    directory: tempfile::TempDir,
    pub(crate) who: Who,
    /// Sandboxes of which nothing may be left.
    ids: RefCell<Vec<SandboxId>>,
    launchers: RefCell<Vec<i32>>,
}

impl Place {
    /// Runs `test` in a place of its own, and looks that nothing is left afterwards.
    pub(crate) fn with(who: Who, test: fn(&Place)) {
        let root = rustix::process::geteuid().is_root();
        if who == Who::Root && !root {
            return not_run("the root profile, and we are not root");
        }
        let directory = tempfile::Builder::new().prefix("launcher-").tempdir().unwrap();
        if who == Who::User && root {
            let uid = FIRST_UID
                + (std::process::id() << 4) % 100_000_000
                + COUNT.fetch_add(1, Ordering::Relaxed) % 16;
            std::os::unix::fs::lchown(directory.path(), Some(uid), Some(uid)).unwrap();
            // The system call of this thread alone, and so for all that it starts.
            let (uid, gid) = (rustix::process::Uid::from_raw(uid), rustix::process::Gid::from_raw(uid));
            rustix::thread::set_thread_groups(&[]).unwrap();
            rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
            rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        }
        let place = Place { directory, who, ids: RefCell::default(), launchers: RefCell::default() };
        test(&place);
        place.nothing_left();
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes sure that there is a launcher; gives its pid.
    pub(crate) fn launcher(&self) -> i32 {
        let started = self.ensure(&[]);
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        let pid = String::from_utf8(started.stdout).unwrap().trim().parse().unwrap();
        self.launchers.borrow_mut().push(pid);
        pid
    }

    /// Runs the program that makes sure that there is a launcher, by way of the program `through`.
    pub(crate) fn ensure(&self, through: &[&str]) -> Output {
        let test = std::env::current_exe().unwrap();
        let target = test.ancestors().nth(2).unwrap();
        let program = target.join("examples/launcher_bench");
        assert!(program.exists(), "no {program:?}: run `cargo build -p node --example launcher_bench`");
        let mut words = through.iter().map(OsStr::new).chain([program.as_os_str()]);
        let mut command = program_as(Path::new(words.next().unwrap()), self);
        command.args(words).arg(self.state()).arg("ensure").output().unwrap()
    }

    /// A client of the launcher, which is started if there is none.
    pub(crate) fn client(&self) -> Client {
        self.launcher();
        Client::connect(&self.state()).unwrap()
    }

    /// A server, and what it is told first.
    pub(crate) fn server(&self) -> Server<'_> {
        let server = Server { client: self.client(), place: self, heard: RefCell::default() };
        server.say(&Order::Serve);
        assert!(matches!(server.hear().0, Report::Welcome));
        server
    }

    /// Records of the ledger that hold all of `parts`.
    pub(crate) fn records(&self, parts: &[&str]) -> Vec<String> {
        let state = self.state();
        let Ok(entries) = ledger::read(&state) else { return Vec::new() };
        entries
            .map(|entry| entry.unwrap().line)
            .filter(|line| parts.iter().all(|part| line.contains(part)))
            .collect()
    }

    /// Waits for the one record of the end of `id`.
    pub(crate) fn end_on_record(&self, id: SandboxId) -> String {
        let parts = ["\"event\":\"sandbox.end\"", id.as_str()];
        within("the end is on record", || self.records(&parts).first().cloned())
    }

    fn nothing_left(&self) {
        for pid in self.launchers.borrow().iter() {
            // Whoever still runs has nobody to serve; it need not wait for that.
            end_launcher(*pid);
        }
        let mut left = Vec::new();
        let clean = eventually(|| {
            left = self.left();
            left.is_empty()
        });
        assert!(clean, "left behind: {left:#?}");
    }

    /// What there is of this place's sandboxes and launchers.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        let ids = self.ids.borrow();
        let names_one = |text: &str| ids.iter().any(|id| text.contains(id.as_str()));
        for controller in ["", "cpu", "memory", "pids", "unified"] {
            let home = Path::new("/sys/fs/cgroup").join(controller).join("casemate");
            for entry in std::fs::read_dir(home).into_iter().flatten().flatten() {
                if names_one(&entry.file_name().to_string_lossy()) {
                    left.push(entry.path().display().to_string());
                }
            }
        }
        let own = rustix::process::geteuid().as_raw();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            use std::os::unix::fs::MetadataExt;
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            let read = |file: &str| std::fs::read_to_string(entry.path().join(file)).unwrap_or_default();
            if pid == std::process::id() || read("status").contains("\nState:\tZ") {
                continue;
            }
            let theirs = own != 0 && entry.metadata().is_ok_and(|metadata| metadata.uid() == own);
            let comm = read("comm");
            let ours = comm.starts_with("casemate-") && theirs;
            let holds =
                self.launchers.borrow().contains(&(pid as i32)) && comm.starts_with("casemate-launch");
            if names_one(&read("cgroup")) || ours || holds {
                left.push(format!("process {pid} {}", comm.trim()));
            }
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        left.extend(mounts.lines().filter(|line| names_one(line)).map(str::to_owned));
        left
    }

    pub(crate) fn remember(&self, id: SandboxId) {
        self.ids.borrow_mut().push(id);
    }
}

/// A program, as whom this thread is.
fn program_as(program: &Path, place: &Place) -> Command {
    #[allow(clippy::disallowed_methods, reason = "a test starts the example beside it")]
    let mut command = Command::new(program);
    command.current_dir(place.directory.path());
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if uid != 0 {
        command.uid(uid).gid(gid);
    }
    command
}

fn not_run(why: &str) {
    use std::io::Write;
    if let Some(file) = std::env::var_os("CASEMATE_NOT_RUN") {
        let mut file = std::fs::File::options().append(true).create(true).open(file).unwrap();
        writeln!(file, "launcher: {why}").unwrap();
    }
}

/// A server.
pub(crate) struct Server<'a> {
    pub(crate) client: Client,
    place: &'a Place,
    heard: RefCell<VecDeque<(Report, Vec<OwnedFd>)>>,
}

/// What came with the news that a sandbox stands.
pub(crate) struct Built {
    pub(crate) standing: Standing,
    pub(crate) first: OwnedFd,
    pub(crate) control: OwnedFd,
    pub(crate) terminals: OwnedFd,
}

impl Server<'_> {
    pub(crate) fn say(&self, order: &Order) {
        self.say_with(order, &[]);
    }

    pub(crate) fn say_with(&self, order: &Order, descriptors: &[BorrowedFd<'_>]) {
        within("the launcher listens", || self.client.send(order, descriptors).ok());
    }

    /// The next report that was not heard.
    pub(crate) fn hear(&self) -> (Report, Vec<OwnedFd>) {
        let kept = self.heard.borrow_mut().pop_front();
        kept.unwrap_or_else(|| self.client.receive_within(PATIENCE).unwrap().expect("no report"))
    }

    /// The next report that is wanted; others are kept.
    pub(crate) fn hear_of<T>(&self, wanted: impl Fn(&Report) -> Option<T>) -> (T, Vec<OwnedFd>) {
        let mut kept = VecDeque::new();
        let found = loop {
            let (report, descriptors) = self.hear();
            match wanted(&report) {
                Some(found) => break (found, descriptors),
                None => kept.push_back((report, descriptors)),
            }
        };
        kept.append(&mut self.heard.borrow_mut());
        *self.heard.borrow_mut() = kept;
        found
    }

    pub(crate) fn create(&self) -> SandboxId {
        self.create_with("", |_| {})
    }

    /// Orders a sandbox of a policy with `text` in it.
    pub(crate) fn create_with(&self, text: &str, change: impl FnOnce(&mut Creation)) -> SandboxId {
        let id = draw_id();
        self.place.remember(id);
        // Also where the kernel has no Landlock.
        let walls = if text.contains("[walls]") { "" } else { "[walls]\nlandlock = 0\n" };
        let document = format!("version = 1\nname = \"test\"\n{walls}{text}\n");
        let policy = Policy::parse(document.as_bytes(), "test").unwrap();
        let mut creation = Creation {
            id,
            policy: policy.to_cache(),
            hash: policy.hash().to_owned(),
            deadline_boot_ns: None,
            lease: Lease::default(),
        };
        change(&mut creation);
        let Creation { id, policy, hash, deadline_boot_ns, lease } = creation;
        let base = self.place.directory.path().to_owned();
        let note = format!("note of {id}").into_bytes();
        self.say(&Order::Create { id, policy, hash, base, note, deadline_boot_ns, lease });
        id
    }

    pub(crate) fn built(&self, wanted: SandboxId) -> Built {
        let (standing, descriptors) = self.hear_of(|report| match report {
            Report::Built { id, standing } if *id == wanted => Some(standing.clone()),
            Report::Refused { id, refusal } if *id == wanted => panic!("{refusal:?}"),
            _ => None,
        });
        let [first, control, _disk, terminals] = <[OwnedFd; 4]>::try_from(descriptors).unwrap();
        Built { standing, first, control, terminals }
    }

    /// A sandbox that stands.
    pub(crate) fn sandbox(&self) -> (SandboxId, Built) {
        let id = self.create();
        (id, self.built(id))
    }

    pub(crate) fn ended(&self, wanted: SandboxId) -> Ended {
        self.hear_of(|report| match report {
            Report::Ended { id, ended } if *id == wanted => Some(ended.clone()),
            _ => None,
        })
        .0
    }

    /// Ends a sandbox, and forgets it.
    pub(crate) fn end(&self, id: SandboxId) -> Ended {
        self.say(&Order::Kill { id });
        let ended = self.ended(id);
        self.say(&Order::Forget { id });
        ended
    }
}

/// The parts of an order that tests change.
pub(crate) struct Creation {
    pub(crate) id: SandboxId,
    pub(crate) policy: Vec<u8>,
    pub(crate) hash: String,
    pub(crate) deadline_boot_ns: Option<u64>,
    pub(crate) lease: Lease,
}

pub(crate) fn draw_id() -> SandboxId {
    let mut bytes = [0; 20];
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()).unwrap();
    SandboxId::from_random(bytes)
}

/// What `look` finds, when it does.
pub(crate) fn within<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !holds() {
        if begun.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Now, on the clock of deadlines.
pub(crate) fn boot_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// SIGKILL, and waits until it is gone.
pub(crate) fn kill_process(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let Ok(pidfd) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else { return };
    let _ = rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL);
    assert!(is_over(&pidfd, PATIENCE));
}

/// Whether the process of a pidfd ends in time.
pub(crate) fn is_over(pidfd: impl AsFd, patience: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let pidfd = pidfd.as_fd();
    let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    let patience = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: patience.subsec_nanos().into() };
    poll(&mut fds, Some(&patience)) == Ok(1)
}

fn end_launcher(pid: i32) {
    let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if comm.starts_with("casemate-launch") {
        kill_process(pid);
    }
}

/// Processor time that a process takes while this thread waits for half a second, in per cent of one processor.
pub(crate) fn load_percent(pid: i32) -> u64 {
    let took = || -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        // In ticks, of which there are 100 in a second.
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = took();
    std::thread::sleep(Duration::from_millis(500));
    (took() - before) * 2
}

/// Waits until a launcher is gone.
pub(crate) fn launcher_ends(pid: i32, patience: Duration) -> bool {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    match rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
        Ok(pidfd) => is_over(pidfd, patience),
        Err(_) => true,
    }
}

/// The keeper of a launcher, once it has its name.
pub(crate) fn keeper_of(launcher: i32) -> i32 {
    let mut keeper = None;
    let children = format!("/proc/{launcher}/task/{launcher}/children");
    eventually(|| {
        let children = std::fs::read_to_string(&children).unwrap();
        let is_keeper = |pid: &&str| {
            std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|comm| comm.starts_with("casemate-keeper"))
        };
        keeper = children.split_whitespace().find(is_keeper).map(|pid| pid.parse().unwrap());
        keeper.is_some()
    });
    keeper.expect("a keeper")
}
