//! A cgroup subtree for the user, at the place where `jail::cgroup::Home` looks for it.
//!
//! On v1 the directory is enough: what the user makes in it is the user's. On v2 the kernel lets a process into a
//! cgroup only if its owner may write the `cgroup.procs` of the nearest common ancestor; so a process of the user is
//! moved below the subtree, into the leaf `session` (a v2 cgroup that hands controllers down holds no process itself).

use super::user::User;
use super::{Refused, Result, Step, Went};
use crate::Exit;
use jail::cgroup::Home;
use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

const TREE: &str = "/sys/fs/cgroup";
const V2_MAGIC: u64 = 0x6367_7270;
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];
const ENABLE: &str = "+cpu +memory +pids";

/// How this machine mounts its cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tree {
    /// One tree.
    V2,
    /// A v1 hierarchy for each controller.
    Hybrid,
}

impl Tree {
    pub(super) fn find() -> Result<Tree> {
        let stat = rustix::fs::statfs(TREE).map_err(|error| Refused::call("statfs", TREE.as_ref(), error))?;
        let refuse = |what: String, help: &str| Err(Refused::new(Exit::Wall, what, help));
        if stat.f_type as u64 == V2_MAGIC {
            let have =
                std::fs::read_to_string(Path::new(TREE).join("cgroup.controllers")).unwrap_or_default();
            let lacks = CONTROLLERS.iter().find(|name| !have.split_whitespace().any(|word| word == **name));
            return match lacks {
                None => Ok(Tree::V2),
                Some(name) => refuse(
                    format!("{TREE}/cgroup.controllers: the controller `{name}` is not there"),
                    "run it outside of a container; or boot without `cgroup_disable=`, and with the controller on v2",
                ),
            };
        }
        let lacks = CONTROLLERS.iter().find(|name| !Path::new(TREE).join(name).join("tasks").exists());
        match lacks {
            None => Ok(Tree::Hybrid),
            Some(name) => refuse(
                format!(
                    "{TREE}/{name}: no cgroup v1 hierarchy is mounted there, and {TREE} is not cgroup v2"
                ),
                "mount cgroup v2 at /sys/fs/cgroup, as every current distribution does",
            ),
        }
    }

    /// The user's directories, one for each hierarchy.
    fn homes(self, user: &User) -> Vec<PathBuf> {
        let below = |base: PathBuf| base.join("casemate").join(format!("user-{}", user.uid));
        match self {
            Tree::V2 => vec![below(TREE.into())],
            Tree::Hybrid => CONTROLLERS.iter().map(|name| below(Path::new(TREE).join(name))).collect(),
        }
    }

    /// Makes the subtree and gives it to the user; on v2 moves `entrant` into it.
    pub(super) fn delegate(self, user: &User, entrant: Option<i32>) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        for home in self.homes(user) {
            let made = !home.is_dir();
            if let Some(parent) = home.parent() {
                make(parent)?;
                if self == Tree::V2 {
                    enable(Path::new(TREE))?;
                    enable(parent)?;
                }
            }
            make(&home)?;
            give(&home, user)?;
            let went = if made { Went::Made } else { Went::Kept };
            steps.push(Step::new(went, format!("{}: of {}", home.display(), user.name)));
            if self == Tree::V2 {
                for file in ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
                    give(&home.join(file), user)?;
                }
                enable(&home)?;
                steps.extend(entrant.map(|pid| enter(&home, user, pid)).transpose()?);
            }
        }
        Ok(steps)
    }

    /// Removes the subtree where nothing lives in it.
    pub(super) fn remove(self, user: &User) -> Vec<Step> {
        let homes = self.homes(user);
        // What a killed sandbox left behind is nobody's.
        match <[PathBuf; 3]>::try_from(homes.clone()) {
            Ok(homes) => Home::Hybrid(homes).sweep(),
            Err(homes) => homes.into_iter().for_each(|home| Home::V2(home).sweep()),
        }
        let mut steps = Vec::new();
        for home in homes {
            if !home.exists() {
                steps.push(Step::new(Went::Kept, format!("{}: not there", home.display())));
                continue;
            }
            let _ = std::fs::remove_dir(home.join("session"));
            steps.push(match std::fs::remove_dir(&home) {
                Ok(()) => Step::new(Went::Removed, home.display().to_string()),
                Err(error) => {
                    let help = "end what lives there (a login shell that was moved into it?) and undo again";
                    Step::new(Went::Left, format!("{}: rmdir: {error}; {help}", home.display()))
                }
            });
            if let Some(parent) = home.parent() {
                // Shared with other users and with root, so it stays while it holds anything.
                let _ = std::fs::remove_dir(parent);
            }
        }
        steps
    }
}

fn make(directory: &Path) -> Result<()> {
    match std::fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Refused::call("mkdir", directory, error))
        }
        _ => Ok(()),
    }
}

fn give(path: &Path, user: &User) -> Result<()> {
    chown(path, Some(user.uid), Some(user.gid)).map_err(|error| Refused::call("chown", path, error))
}

/// Hands the three controllers down to the children of a v2 cgroup.
fn enable(directory: &Path) -> Result<()> {
    let file = directory.join("cgroup.subtree_control");
    let have = std::fs::read_to_string(&file).map_err(|error| Refused::call("read", &file, error))?;
    if CONTROLLERS.iter().all(|name| have.split_whitespace().any(|word| word == *name)) {
        return Ok(());
    }
    std::fs::write(&file, ENABLE)
        .map_err(|error| Refused::call(&format!("write {ENABLE:?} to "), &file, error))
}

/// Moves a process of the user into the leaf from which it can start sandboxes.
fn enter(home: &Path, user: &User, pid: i32) -> Result<Step> {
    let session = home.join("session");
    make(&session)?;
    for path in [session.clone(), session.join("cgroup.procs"), session.join("cgroup.threads")] {
        give(&path, user)?;
    }
    let lives = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let lives =
        lives.lines().find_map(|line| line.strip_prefix("0::/")).map(|path| Path::new(TREE).join(path));
    if lives.is_some_and(|path| path.starts_with(home)) {
        return Ok(Step::new(Went::Kept, format!("process {pid}: in the subtree already")));
    }
    let file = session.join("cgroup.procs");
    std::fs::write(&file, pid.to_string())
        .map_err(|error| Refused::call(&format!("write \"{pid}\" to "), &file, error))?;
    Ok(Step::new(Went::Made, format!("process {pid}, and what it starts: moved to {}", session.display())))
}
