//! One real sandbox, built and ended by the same code as any other, in a process of its own without the caller's
//! descriptors.

use super::chain;
use model::{Wall, Walls};
use node::{Hooks, Request, State};
use policy::{Policy, User};
use rustix::fs::{Mode, OFlags};
use std::time::Duration;

/// Starts wherever anything can: it requires what always stands, and takes what else there is.
const POLICY: &str = r#"
version = 1
name    = "doctor"
about   = "the trial of `casemate doctor`"
tier    = "native"
root    = false

[walls]
landlock = 0

[compute]
wall = "20s"
"#;

const COMMAND: &str = "/usr/bin/true";
const BUDGET: Duration = Duration::from_secs(30);

/// How the sandbox went.
#[derive(Debug, serde::Serialize)]
pub(super) struct Trial {
    /// Whether its walls came to stand and its command ran.
    pub stood: bool,
    /// The walls that it reported.
    pub walls: Walls,
    /// Where it and the trials of single walls do not say the same.
    pub differs: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Trial {
    fn failed(error: String, mend: Option<String>) -> Trial {
        Trial { stood: false, walls: Walls::none(), differs: Vec::new(), error: Some(error), mend }
    }

    /// Whether it stood as the single trials foretold.
    pub(super) fn agrees(&self) -> bool {
        self.stood && self.differs.is_empty()
    }
}

/// What the process says: the walls, or why there are none.
type Said = Result<u32, (String, Option<String>)>;

/// Runs it, and compares its walls with those that stood one by one.
pub(super) fn run(state: Option<State>, standing: Walls) -> Trial {
    let Some(state) = state else {
        return Trial::failed(
            "not tried: without a state directory nothing can be recorded".to_owned(),
            None,
        );
    };
    let said = jail::probe::attempt(BUDGET, || serde_json::to_vec(&sandbox(state)).unwrap_or_default());
    let said = match said {
        Ok(bytes) => serde_json::from_slice::<Said>(&bytes)
            .unwrap_or_else(|error| Err((format!("the trial's answer makes no sense: {error}"), None))),
        Err(error) => Err((format!("the trial's process: {error}"), None)),
    };
    match said {
        Ok(bits) => {
            let walls = Walls::from_bits(bits);
            Trial { stood: true, walls, differs: compare(standing, walls), error: None, mend: None }
        }
        Err((error, mend)) => Trial::failed(error, mend),
    }
}

fn compare(standing: Walls, reported: Walls) -> Vec<String> {
    let line = |wall: Wall, what: &str| format!("{wall}: {what}");
    let lost = standing.missing_from(reported);
    let gained = reported.missing_from(standing);
    lost.iter()
        .map(|wall| line(wall, "stood by itself, and not around the sandbox"))
        .chain(gained.iter().map(|wall| line(wall, "reported by the sandbox, and did not stand by itself")))
        .collect()
}

fn sandbox(state: State) -> Said {
    let plain = |error: &dyn std::error::Error| (chain(error), None);
    silence().map_err(|error| plain(&error))?;
    let policy = Policy::parse(POLICY.as_bytes(), "doctor").map_err(|error| (error.to_string(), None))?;
    let command = node::command(vec![COMMAND.into()], "/home/user".into(), Vec::new(), User::User);
    let run = || {
        let permit = node::decide(&state, &policy, &command)?;
        let origin = "casemate doctor".to_owned();
        let drafts = node::Drafts::Drop;
        node::run(Request { state, policy, origin, base: "/".into(), permit, drafts }, Hooks::none())
    };
    match run() {
        Ok(outcome) if outcome.status == 0 => Ok(outcome.walls.to_bits()),
        Ok(outcome) => Err((format!("{COMMAND} ended with {} ({:?})", outcome.status, outcome.reason), None)),
        Err(error) => Err((chain(&error), error.mend())),
    }
}

/// The caller's input is not the trial's to read, nor its terminal to change.
fn silence() -> std::io::Result<()> {
    use rustix::fd::AsFd;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    (0..3).try_for_each(|number| jail::sys::place_at(null.as_fd(), number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_of_the_trial_is_sound() {
        let policy = Policy::parse(POLICY.as_bytes(), "doctor").unwrap();
        assert!(!policy.walls().has(Wall::Landlock));
    }

    #[test]
    fn a_wall_that_one_side_lacks_is_named() {
        let all = Walls::all();
        assert!(compare(all, all).is_empty());
        let less = all.without(Wall::Seccomp);
        assert!(compare(all, less)[0].starts_with("seccomp: stood by itself"));
        assert!(compare(less, all)[0].starts_with("seccomp: reported"));
    }
}
