//! `casemate doctor`: what this machine can enforce for this caller. Each wall is tried by itself; then one real sandbox
//! is built, and what it reports is compared. That sandbox is on the record like any other.

mod mend;
mod tell;
mod trial;

use crate::Exit;
use crate::args::{Doctor as Args, State as StateArgs};
use crate::output::Form;
use jail::cgroup::Home;
use jail::ids::Profile;
use model::{Wall, Walls};
use node::State;
use policy::Policy;
use std::error::Error;

/// Everything that was found out.
#[derive(Debug, serde::Serialize)]
struct Answer {
    kernel: Kernel,
    profile: &'static str,
    cgroup: Cgroup,
    landlock: u32,
    state: StateFound,
    walls: Vec<WallFound>,
    policies: Vec<PolicyFound>,
    trial: trial::Trial,
    /// What proves questions about policies; nothing else needs it.
    solver: Option<String>,
    sound: bool,
}

#[derive(Debug, serde::Serialize)]
struct Kernel {
    release: String,
    min: &'static str,
    enough: bool,
}

#[derive(Debug, serde::Serialize)]
struct Cgroup {
    kind: &'static str,
    directories: Vec<String>,
}

#[derive(Debug, serde::Serialize)]
struct StateFound {
    path: Option<String>,
    usable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, serde::Serialize)]
struct WallFound {
    wall: &'static str,
    stands: bool,
    /// What was seen, or the call that failed and why.
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

#[derive(Debug, serde::Serialize)]
struct PolicyFound {
    policy: &'static str,
    runs: bool,
    missing: Walls,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

pub(crate) fn doctor(args: &Args) -> Exit {
    let answer = examine(&args.state);
    let exit = if answer.sound { Exit::Ok } else { Exit::NotSound };
    tell::tell(Form::of(args.json), &answer, exit);
    exit
}

fn examine(state: &StateArgs) -> Answer {
    let profile = Profile::current();
    let home = Home::find(profile);
    let landlock = jail::landlock::abi();
    let tried = jail::probe::all(profile, home.as_ref());
    let standing: Walls = tried.iter().filter(|tried| tried.found.is_ok()).map(|tried| tried.wall).collect();
    let walls = tried.into_iter().map(|tried| wall(tried, profile, home.as_ref())).collect();
    let kernel = kernel();
    let (state, opened) = state_directory(state);
    let trial = trial::run(opened, standing);
    let policies: Vec<PolicyFound> =
        policy::SHIPPED.iter().map(|(name, text)| shipped(name, text, standing, landlock)).collect();
    let default = policies.iter().any(|policy| policy.policy == "default" && policy.runs);
    let sound = default && kernel.enough && state.usable && trial.agrees();
    let cgroup = Cgroup {
        kind: match &home {
            Some(home) if home.is_v2() => "v2",
            Some(_) => "v1",
            None => "none",
        },
        directories: home.iter().flat_map(Home::directories).map(|path| path.display().to_string()).collect(),
    };
    let profile = profile.name();
    let solver = analysis::find().map(|found| found.to_string());
    Answer { kernel, profile, cgroup, landlock, state, walls, policies, trial, solver, sound }
}

fn wall(tried: jail::probe::Tried, profile: Profile, home: Option<&Home>) -> WallFound {
    let name = tried.wall.name();
    match tried.found {
        Ok(seen) => WallFound { wall: name, stands: true, detail: seen, mend: None },
        Err(error) => WallFound {
            wall: name,
            stands: false,
            detail: if error.wall == tried.wall {
                format!("{}: {}", error.call, error.source)
            } else {
                format!("{error}: {}", error.source)
            },
            mend: Some(mend::mend(tried.wall, &error, profile, home)),
        },
    }
}

/// Whether a shipped policy can run behind the walls that stand.
fn shipped(name: &'static str, text: &str, standing: Walls, landlock: u32) -> PolicyFound {
    let policy = match Policy::parse(text.as_bytes(), name) {
        Ok(policy) => policy,
        Err(rejected) => {
            let why = Some(rejected.to_string());
            return PolicyFound { policy: name, runs: false, missing: Walls::none(), why };
        }
    };
    let mut missing = policy.walls().missing_from(standing);
    if policy.root() && !standing.has(Wall::OwnUid) {
        missing = missing.with(Wall::OwnUid);
    }
    let wanted = policy.landlock_min();
    let why = (landlock < wanted && standing.has(Wall::Landlock))
        .then(|| format!("requires Landlock ABI {wanted}; this kernel has {landlock}"));
    PolicyFound { policy: name, runs: missing.is_empty() && why.is_none(), missing, why }
}

fn kernel() -> Kernel {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let enough = version(&release) >= version(node::KERNEL_MIN);
    Kernel { release, min: node::KERNEL_MIN, enough }
}

/// The first two numbers of a release.
fn version(release: &str) -> (u32, u32) {
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// Opens the state directory as `casemate run` would: it is made if it is not there.
fn state_directory(args: &StateArgs) -> (StateFound, Option<State>) {
    let path = match args.state.clone().map_or_else(State::default_path, Ok) {
        Ok(path) => path,
        Err(error) => {
            return (StateFound { path: None, usable: false, error: Some(error.to_string()) }, None);
        }
    };
    let shown = Some(model::quote(path.as_os_str().as_encoded_bytes()));
    match State::open(&path) {
        Ok(state) => (StateFound { path: shown, usable: true, error: None }, Some(state)),
        Err(error) => (StateFound { path: shown, usable: false, error: Some(chain(&error)) }, None),
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_runs_where_every_wall_that_it_requires_stands() {
        let text = ::policy::shipped("locked").unwrap();
        assert!(shipped("locked", text, Walls::all(), 2).runs);
        assert!(shipped("locked", text, Walls::all(), 1).why.is_some());
        let found = shipped("locked", text, Walls::all().without(Wall::OwnUid), 7);
        assert_eq!(found.missing, [Wall::OwnUid].into_iter().collect());
        assert!(!found.runs);
    }

    #[test]
    fn a_release_is_compared_by_its_numbers() {
        assert!(version("6.10.3-custom") > version("6.1"));
        assert!(version("5.19.0") < version("6.1"));
        assert!(version("6.1.176-um") >= version("6.1"));
    }
}
