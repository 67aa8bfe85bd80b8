//! `casemate setup`: what an ordinary user needs root for, done once: a range of host ids, a lease file for it, and a
//! cgroup subtree. Each step finds out first whether it is done, so a second run changes nothing.
//!
//! ```text
//! checks ─→ note what will be added ─→ ranges ─→ cgroups ─→ lease file      (the lease file says: set up)
//! --undo:   lease file ─→ ranges that the note names ─→ cgroups ─→ note
//! ```

mod cgroups;
mod helpers;
mod lease;
mod ranges;
mod user;

use crate::Exit;
use crate::args::Setup as Args;
use crate::output::{self, Form};
use std::io;
use std::path::Path;
use user::User;

/// Why it cannot be done, and what to do.
#[derive(Debug)]
struct Refused {
    what: String,
    help: String,
    exit: Exit,
}

type Result<T> = std::result::Result<T, Refused>;

impl Refused {
    fn new(exit: Exit, what: impl Into<String>, help: impl Into<String>) -> Refused {
        Refused { what: what.into(), help: help.into(), exit }
    }

    /// A call on a file that the kernel refused to root.
    fn call(call: &str, path: &Path, error: impl Into<io::Error>) -> Refused {
        let what = format!("{call}({path:?}): {}", error.into());
        Refused::new(Exit::System, what, "run it as root on the machine itself, outside of a container")
    }
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
enum Went {
    /// It is there now.
    Made,
    /// It was there, or was not ours to remove.
    Kept,
    /// It is gone now.
    Removed,
    /// It should be gone and is not.
    Left,
}

impl Went {
    fn word(self) -> &'static str {
        match self {
            Went::Made => "made",
            Went::Kept => "kept",
            Went::Removed => "removed",
            Went::Left => "LEFT",
        }
    }
}

/// One thing that was done.
#[derive(Debug, serde::Serialize)]
struct Step {
    went: Went,
    what: String,
}

impl Step {
    fn new(went: Went, what: impl Into<String>) -> Step {
        Step { went, what: what.into() }
    }
}

/// Everything that was done, and what comes next.
#[derive(Debug, serde::Serialize)]
struct Report {
    user: String,
    uid: u32,
    steps: Vec<Step>,
    #[serde(skip_serializing_if = "Option::is_none")]
    undo: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after_boot: Option<String>,
}

pub(crate) fn setup(args: &Args) -> Exit {
    let form = Form::of(args.json);
    let done = root().and_then(|()| if args.undo { undo(args) } else { set_up(args) });
    match done {
        Ok(report) => {
            tell(form, &report);
            let left = report.steps.iter().any(|step| step.went == Went::Left);
            if left { Exit::NotSound } else { Exit::Ok }
        }
        Err(refused) => output::failure(form, &refused.what, Some(&refused.help), refused.exit),
    }
}

fn root() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let what = "setup changes what belongs to root: /etc/subuid, /etc/subgid and cgroups";
    Err(Refused::new(Exit::Denied, what, "run it as root: `sudo casemate setup`"))
}

fn set_up(args: &Args) -> Result<Report> {
    let user = user::find(args.user.as_deref())?;
    helpers::check()?;
    let tree = cgroups::Tree::find()?;
    // On v2 the subtree is of no use to a process outside of it, so nothing is begun without one to put in.
    let entrant = match tree {
        cgroups::Tree::V2 => Some(user::process(&user, args.pid)?),
        cgroups::Tree::Hybrid => None,
    };
    let mut steps = lease::directories()?;
    steps.extend(ranges::grant(&user)?);
    steps.extend(tree.delegate(&user, entrant)?);
    steps.push(lease::make(&user)?);
    let undo = Some(format!("casemate setup --undo --user {}", user.name));
    Ok(Report { after_boot: Some(after_boot(&tree, &user)), user: user.name, uid: user.uid, steps, undo })
}

fn undo(args: &Args) -> Result<Report> {
    let user = user::find_for_undo(args.user.as_deref())?;
    let mut steps = vec![lease::remove(&user)?];
    steps.extend(ranges::revoke(&user)?);
    steps.extend(cgroups::Tree::find()?.remove(&user));
    lease::remove_directories();
    Ok(Report { user: user.name, uid: user.uid, steps, undo: None, after_boot: None })
}

/// Cgroups are in the kernel's memory only.
fn after_boot(tree: &cgroups::Tree, user: &User) -> String {
    match tree {
        cgroups::Tree::Hybrid => {
            format!("ExecStart=/usr/local/bin/casemate setup --user {}", user.name)
        }
        cgroups::Tree::V2 => format!("sudo casemate setup --user {} --pid $$", user.name),
    }
}

fn tell(form: Form, report: &Report) {
    if form == Form::Json {
        return output::print(&serde_json::to_string(report).unwrap_or_default());
    }
    let mut lines = vec![format!("user {} (uid {}):", report.user, report.uid)];
    lines.extend(report.steps.iter().map(|step| format!("  {:<8} {}", step.went.word(), step.what)));
    if let Some(undo) = &report.undo {
        lines.push(format!("to undo it: {undo}"));
    }
    match &report.after_boot {
        Some(line) if line.starts_with("ExecStart") => {
            lines.push(
                "cgroups do not survive a reboot; a oneshot unit of systemd makes them anew:".to_owned(),
            );
            lines.push(format!("  {line}"));
        }
        Some(line) => {
            lines.push(
                "cgroups do not survive a reboot, and only the process above and what it starts are in the"
                    .to_owned(),
            );
            lines.push(format!("subtree; in each new login session that is to use it, run: {line}"));
        }
        None => {}
    }
    output::print(&lines.join("\n"));
}
