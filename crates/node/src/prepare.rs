//! From a policy to a plan: what this machine can do, what the policy requires, and the host directories it names.

use crate::Error;
use crate::board::WHY;
use crate::draft::{self, Draft};
use jail::cgroup::Home;
use jail::ids::{Ids, Profile};
use jail::{Plan, RootInside, Terminal, Zone, ZoneKind};
use model::{SandboxId, Wall};
use policy::{Access, FileRule, Policy};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use std::io;
use std::path::{Path, PathBuf};

/// The oldest kernel on which the walls are known to stand: Debian 12's. Older ones lack parts of what is used
/// (`mount_setattr`, resource counts per user namespace) or were never tried.
pub const KERNEL_MIN: &str = "6.1";

/// A plan, and where the files of its write zones go.
pub(crate) struct Prepared {
    pub plan: Plan,
    pub profile: Profile,
    pub targets: Vec<Target>,
    pub drafts: Vec<Draft>,
    /// Zones in words, for the record.
    pub zones: Vec<String>,
}

/// Where the files of one write zone go.
pub(crate) struct Target {
    pub at: String,
    pub path: PathBuf,
    pub directory: OwnedFd,
}

/// Makes the plan for one sandbox of `policy`. Relative host paths are joined to `base`. `state` is never shown inside.
pub(crate) fn prepare(
    id: SandboxId,
    seed: u32,
    policy: &Policy,
    base: &Path,
    state: &Path,
    terminal: Terminal,
) -> Result<Prepared, Error> {
    check_kernel()?;
    let profile = Profile::current();
    let home = Home::find(profile);
    let landlock = jail::landlock::abi();
    let root = if policy.root() { RootInside::Granted } else { RootInside::No };
    let mut missing = policy.walls().missing_from(jail::plan::available(profile, home.as_ref(), landlock));
    if root == RootInside::Granted && profile == Profile::User {
        missing = missing.with(Wall::OwnUid);
    }
    if !missing.is_empty() {
        return Err(Error::Missing { policy: policy.name().to_owned(), profile: profile.name(), missing });
    }
    if landlock < policy.landlock_min() {
        let (policy, wanted) = (policy.name().to_owned(), policy.landlock_min());
        return Err(Error::LandlockTooOld { policy, wanted, found: landlock });
    }
    let mut targets = Vec::new();
    let mut drafts = Vec::new();
    let mut zones = Vec::new();
    let mut described = Vec::new();
    // A directory that does not exist is an error before anything is taken or built.
    for rule in policy.files() {
        let at = rule.at();
        let kind = match rule.access() {
            Access::Read { from } => {
                let (from, directory) = source(at, &base.join(from), state)?;
                described.push(format!("read {} -> {at}", model::quote(from.as_os_str().as_encoded_bytes())));
                ZoneKind::Read { from, directory, mount: None }
            }
            Access::Scratch => {
                described.push(format!("scratch -> {at}"));
                ZoneKind::Scratch
            }
            Access::Write { to } => {
                let target = target(at, &base.join(to), state)?;
                refuse_shared(&target, &targets)?;
                described.push(format!(
                    "write {} <- {at}",
                    model::quote(target.path.as_os_str().as_encoded_bytes())
                ));
                targets.push(target);
                ZoneKind::Write
            }
            Access::Draft { from, .. } => {
                let (from, directory) = source(at, &base.join(from), state)?;
                described
                    .push(format!("draft {} <> {at}", model::quote(from.as_os_str().as_encoded_bytes())));
                drafts.push(draft(profile, zones.len(), rule, &from, &directory)?);
                ZoneKind::Draft { from, directory, mount: None }
            }
        };
        zones.push(Zone { at: at.into(), kind });
    }
    let ids = Ids::take(profile, seed)?;
    for zone in &mut zones {
        if let ZoneKind::Read { from, directory, mount } | ZoneKind::Draft { from, directory, mount } =
            &mut zone.kind
        {
            *mount = readable(profile, &ids, &zone.at.to_string_lossy(), from, directory)?;
        }
    }
    let mut plan = Plan::host_template(id, policy.limits(), ids, home, landlock);
    plan.why = WHY;
    plan.zones = zones;
    plan.root = root;
    plan.terminal = terminal;
    Ok(Prepared { plan, profile, targets, drafts, zones: described })
}

fn check_kernel() -> Result<(), Error> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let version = |text: &str| {
        let mut parts =
            text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    };
    if version(&release) < version(KERNEL_MIN) { Err(Error::Kernel { found: release }) } else { Ok(()) }
}

/// Opens the directory of a read zone under the name that it really has.
fn source(at: &str, path: &Path, state: &Path) -> Result<(PathBuf, OwnedFd), Error> {
    let fail = |problem, source| Error::Zone { at: at.to_owned(), path: path.to_owned(), problem, source };
    let real = path.canonicalize().map_err(|error| fail("the directory cannot be read", Some(error)))?;
    keep_state_out(at, &real, state)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(&real, flags, Mode::empty())
        .map_err(|error| fail("not a directory that can be opened", Some(error.into())))?;
    let nested = crate::nested::beneath(&directory, &real)
        .map_err(|error| fail("the mounts beneath it cannot be read", Some(error)))?;
    match nested {
        None => Ok((real, directory)),
        Some(mount) => Err(Error::Nested { at: at.to_owned(), mount }),
    }
}

/// What a draft zone needs beyond what a read zone does.
fn draft(
    profile: Profile,
    zone: usize,
    rule: &FileRule,
    from: &Path,
    directory: &OwnedFd,
) -> Result<Draft, Error> {
    let at = rule.at();
    let fail = |problem, source| Error::Zone { at: at.to_owned(), path: from.to_owned(), problem, source };
    if profile == Profile::UserSetUp {
        // What belongs to an id that the sandbox does not have cannot be copied up, and only root may map owners.
        return Err(Error::Draft { at: at.to_owned(), source: draft::Error::AfterSetUp });
    }
    let directory = directory.try_clone().map_err(|error| fail("dup", Some(error)))?;
    let rules = match rule.access() {
        Access::Draft { commit, .. } => commit.clone(),
        Access::Read { .. } | Access::Scratch | Access::Write { .. } => policy::CommitRules::default(),
    };
    Ok(Draft { zone, at: at.to_owned(), from: from.to_owned(), directory, rules })
}

/// The draft zones of `policy`, for whoever does not build the sandbox.
pub(crate) fn drafts(policy: &Policy, base: &Path, state: &Path) -> Result<Vec<Draft>, Error> {
    let mut drafts = Vec::new();
    for (zone, rule) in policy.files().iter().enumerate() {
        if let Access::Draft { from, .. } = rule.access() {
            let (from, directory) = source(rule.at(), &base.join(from), state)?;
            drafts.push(draft(Profile::current(), zone, rule, &from, &directory)?);
        }
    }
    Ok(drafts)
}

/// Opens the directory that a write zone is handed out to, and makes it if only its last part is missing.
fn target(at: &str, path: &Path, state: &Path) -> Result<Target, Error> {
    let fail = |problem, source| Error::Zone { at: at.to_owned(), path: path.to_owned(), problem, source };
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(|error| fail("the directory cannot be made", Some(error)))?,
    }
    let real = path.canonicalize().map_err(|error| fail("the directory cannot be read", Some(error)))?;
    keep_state_out(at, &real, state)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(&real, flags, Mode::empty())
        .map_err(|error| fail("not a directory that can be opened", Some(error.into())))?;
    rustix::fs::access(&real, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
        .map_err(|error| fail("the directory cannot be written", Some(error.into())))?;
    Ok(Target { at: at.to_owned(), path: real, directory })
}

/// Two zones that are handed out to one place would overwrite each other's files.
fn refuse_shared(target: &Target, others: &[Target]) -> Result<(), Error> {
    let shared =
        |other: &&Target| target.path.starts_with(&other.path) || other.path.starts_with(&target.path);
    match others.iter().find(shared) {
        None => Ok(()),
        Some(_) => Err(Error::Zone {
            at: target.at.clone(),
            path: target.path.clone(),
            problem: "another write zone is handed out to this directory, or above or below it",
            source: None,
        }),
    }
}

/// The ledger and its key stay out of every sandbox, and so do the kernel's own file systems.
fn keep_state_out(at: &str, real: &Path, state: &Path) -> Result<(), Error> {
    let state = state.canonicalize().unwrap_or_else(|_| state.to_owned());
    let fail = |problem| Err(Error::Zone { at: at.to_owned(), path: real.to_owned(), problem, source: None });
    if ["/proc", "/sys", "/dev"].iter().any(|system| real.starts_with(system)) || real == Path::new("/") {
        return fail("a zone may not show the kernel's file systems or the whole host");
    }
    if state.starts_with(real) || real.starts_with(&state) {
        return fail("a zone may not touch the state directory");
    }
    Ok(())
}

/// Sees to it that the sandbox's user can read a zone. As root, the zone is mounted so that its owner appears as that
/// user; otherwise the sandbox's user is a stranger there unless it is the caller itself.
fn readable(
    profile: Profile,
    ids: &Ids,
    at: &str,
    from: &Path,
    directory: &OwnedFd,
) -> Result<Option<OwnedFd>, Error> {
    let fail = |problem, source| Error::Zone { at: at.to_owned(), path: from.to_owned(), problem, source };
    let stat = rustix::fs::fstat(directory).map_err(|error| fail("stat", Some(error.into())))?;
    let open_to_all = stat.st_mode & 0o005 == 0o005;
    match profile {
        Profile::User => Ok(None),
        Profile::UserSetUp if open_to_all => Ok(None),
        Profile::UserSetUp => Err(fail(
            "the sandbox has host ids of its own, so the directory must be readable by others (chmod o+rx)",
            None,
        )),
        Profile::Root => match jail::zone_of_user(directory, ids, stat.st_uid, stat.st_gid) {
            Ok(mount) => Ok(Some(mount)),
            // Not every file system maps owners; one that all may read needs no mapping.
            Err(error) if open_to_all && error.source.raw_os_error() == Some(22) => Ok(None),
            Err(error) if error.source.raw_os_error() == Some(22) => Err(fail(
                "its file system cannot map owners, so the directory must be readable by others (chmod o+rx)",
                None,
            )),
            Err(error) => Err(error.into()),
        },
    }
}
