//! `casemate run`.

use crate::args::{Run, State as StateArgs};
use crate::layers::Ceilings;
use crate::output::{self, Form};
use crate::{Exit, policy};
use ::policy::{Access, CommitRules, ExecRequest, FileRule, Permit, Policy, User};
use model::Denial;
use node::draft::DraftEnd;
use node::{Drafts, Hooks, Outcome, PolicySource, Request, State};
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::process::ExitCode;

/// The report of `--json`.
#[derive(Debug, serde::Serialize)]
struct Report<'a> {
    sandbox: String,
    exit: u8,
    reason: &'a model::EndReason,
    walls: model::Walls,
    landlock: u32,
    limits_hit: &'a [model::LimitHit],
    usage: model::Usage,
    denials: u64,
    /// The limits that it hit, as denials.
    denied: Vec<Denial>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_lost: Option<&'a str>,
    left_behind: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    drafts: &'a [DraftEnd],
}

/// What the words ask for, before a policy is asked.
struct Asked {
    state: State,
    source: PolicySource,
    base: PathBuf,
    zones: Vec<FileRule>,
    command: ExecRequest,
    drafts: Drafts,
}

pub(crate) fn run(args: Run, hooks: Hooks) -> ExitCode {
    let form = Form::of(args.json);
    let ceiling = args.ceiling.clone();
    let permitted = asked(args, form).and_then(|asked| {
        let Asked { state, source, base, zones, command, .. } = &asked;
        let policy =
            Ceilings::read(ceiling.as_ref(), form)?.hold(state, source, base, zones.clone(), form)?;
        let permit = node::decide(state, &policy, command).map_err(|error| failed(form, &error))?;
        Ok((asked, policy, permit))
    });
    match permitted {
        Ok((asked, policy, permit)) => go(asked, policy, permit, form, hooks),
        Err(exit) => exit.into(),
    }
}

/// The same, if no word of a policy has to be read or decided for it. None, with nothing done: [`run`] has to.
pub(crate) fn run_at_once(args: Run, hooks: Hooks) -> Option<ExitCode> {
    if args.ceiling.is_some() || !Ceilings::none_for_everybody() {
        return None;
    }
    let form = Form::of(args.json);
    let asked = match asked(args, form) {
        Ok(asked) => asked,
        Err(exit) => return Some(exit.into()),
    };
    let policy = asked.state.cached_policy(&asked.source)?.with_zones(asked.zones.clone()).ok()?;
    let permit = policy.exec_at_once(&asked.command)?;
    Some(go(asked, policy, permit, form, hooks))
}

fn go(asked: Asked, policy: Policy, permit: Permit<ExecRequest>, form: Form, hooks: Hooks) -> ExitCode {
    let Asked { state, source, base, drafts, .. } = asked;
    let request = Request { state, policy, origin: source.origin, base, permit, drafts };
    match node::run(request, hooks) {
        Ok(outcome) => {
            tell(form, &outcome);
            ExitCode::from(outcome.status)
        }
        Err(error) => failed(form, &error).into(),
    }
}

fn failed(form: Form, error: &node::Error) -> Exit {
    match error {
        node::Error::Denied(denial) => output::denied(form, denial, Exit::Denied),
        error => output::error(form, error, error.mend().as_deref(), Exit::of(error)),
    }
}

/// Opens the state directory that the words name.
pub(crate) fn state(args: &StateArgs, form: Form) -> Result<State, Exit> {
    let opened = match &args.state {
        Some(path) => State::open(path),
        None => State::default_path().and_then(|path| State::open(&path)),
    };
    opened.map_err(|error| {
        let error = node::Error::State(error);
        output::error(form, &error, error.mend().as_deref(), Exit::State)
    })
}

fn asked(args: Run, form: Form) -> Result<Asked, Exit> {
    let closed = ["input", "output", "error"];
    for (name, given) in closed.iter().zip(jail::sys::standard_descriptors_given()) {
        if !given {
            let what =
                format!("standard {name} is closed, so what the command reads or writes there would be lost");
            return Err(output::failure(
                form,
                &what,
                Some("give it a place, such as /dev/null"),
                Exit::System,
            ));
        }
    }
    let usage = |what: String| output::failure(form, &what, Some("see `casemate run --help`"), Exit::Usage);
    let mut zones = Vec::new();
    for (words, kind) in [(&args.read, "--read"), (&args.write, "--write"), (&args.draft, "--draft")] {
        for word in words {
            zones.push(zone(kind, word).map_err(usage)?);
        }
    }
    let mut env = Vec::new();
    for word in &args.env {
        let bytes = word.as_bytes();
        match bytes.iter().position(|b| *b == b'=') {
            Some(at @ 1..) => env.push((bytes[..at].to_vec(), bytes[at + 1..].to_vec())),
            _ => return Err(usage(format!("--env `{}`: expected NAME=VALUE", model::quote(bytes)))),
        }
    }
    let state = state(&args.state, form)?;
    let (source, base) = policy::source(&args.policy, form)?;
    let argv = args.command.into_iter().map(OsStringExt::into_vec).collect();
    let user = if args.root { User::Root } else { User::User };
    let command = node::command(argv, args.cwd.into_vec(), env, user);
    let drafts = if args.keep { Drafts::Keep } else { Drafts::Drop };
    Ok(Asked { state, source, base, zones, command, drafts })
}

/// Reads `DIR:AT`. DIR may hold colons, AT may not.
fn zone(kind: &str, word: &OsStr) -> Result<FileRule, String> {
    let shown = model::quote(word.as_bytes());
    let text = word.to_str().ok_or_else(|| format!("{kind} `{shown}`: not UTF-8"))?;
    let (host, at) = text
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty())
        .ok_or_else(|| format!("{kind} `{shown}`: expected DIR:AT, such as ./data:/input"))?;
    let host = std::path::absolute(host).map_err(|error| format!("{kind} `{shown}`: {error}"))?;
    let host = host.into_os_string().into_string().map_err(|_| format!("{kind} `{shown}`: not UTF-8"))?;
    let access = match kind {
        "--read" => Access::Read { from: host },
        "--draft" => Access::Draft { from: host, commit: CommitRules::default() },
        _ => Access::Write { to: host },
    };
    FileRule::new(at, access).map_err(|error| format!("{kind} `{shown}`: {error}; {}", error.mend()))
}

/// What a person must know beyond the status: that a limit was hit, and what did not come out.
fn tell(form: Form, outcome: &Outcome) {
    if form == Form::Json {
        let report = Report {
            sandbox: outcome.sandbox.to_string(),
            exit: outcome.status,
            reason: &outcome.reason,
            walls: outcome.walls,
            landlock: outcome.landlock,
            limits_hit: &outcome.hits,
            usage: outcome.usage,
            denials: outcome.denials,
            denied: denied(outcome),
            output_lost: outcome.output_lost.as_deref(),
            left_behind: &outcome.left_behind,
            drafts: &outcome.drafts,
        };
        return output::say(&serde_json::to_string(&report).unwrap_or_default());
    }
    for (hit, denial) in outcome.hits.iter().zip(denied(outcome)) {
        output::say(&format!("casemate: the sandbox hit its limit: {}", limit(*hit)));
        output::say(&format!("  help: {}", denial.how_to_ask));
    }
    if let Some(why) = &outcome.output_lost {
        output::say(&format!("casemate: output was lost: {why}"));
    }
    for what in &outcome.left_behind {
        output::say(&format!("casemate: left behind: {}", output::neutral(what)));
    }
    for DraftEnd { at, changes, kept, problem } in &outcome.drafts {
        let (at, id) = (output::neutral(at), outcome.sandbox);
        match (problem, changes, kept) {
            (Some(why), ..) => {
                let why = output::neutral(why);
                output::say(&format!("casemate: the draft {at} is gone: {why}"));
            }
            (None, 0, _) => {}
            (None, changes, true) => output::say(&format!(
                "casemate: {changes} paths changed in the draft {at}: `casemate diff {id}`, `casemate commit {id}`"
            )),
            (None, changes, false) => output::say(&format!(
                "casemate: {changes} paths changed in the draft {at} are gone: `casemate run --keep` keeps them"
            )),
        }
    }
    if let model::EndReason::Failed(why) = &outcome.reason {
        output::say(&format!("casemate: the sandbox failed: {why}"));
    }
}

fn denied(outcome: &Outcome) -> Vec<Denial> {
    outcome.hits.iter().map(|hit| Denial::limit(*hit, &outcome.limits)).collect()
}

fn limit(hit: model::LimitHit) -> &'static str {
    match hit {
        model::LimitHit::Memory => "memory ([compute] memory): everything in it was ended",
        model::LimitHit::Pids => "processes and threads ([compute] pids): no more could be started",
        model::LimitHit::DiskBytes => "bytes of disk ([compute] disk): writes failed with ENOSPC",
        model::LimitHit::DiskInodes => "inodes of disk ([compute] inodes): new files failed with ENOSPC",
        model::LimitHit::Wall => "wall-clock time ([compute] wall): everything in it was ended",
    }
}
