//! The answer, for people and for programs.

use super::Answer;
use crate::Exit;
use crate::output::{self, Form};

pub(super) fn tell(form: Form, answer: &Answer, exit: Exit) {
    match form {
        Form::Json => {
            let mut value = serde_json::to_value(answer).unwrap_or_default();
            value["exit"] = (exit as u8).into();
            output::print(&value.to_string());
        }
        Form::Text => output::print(&output::neutral_lines(&lines(answer))),
    }
}

fn lines(answer: &Answer) -> Vec<String> {
    let Answer { kernel, profile, cgroup, landlock, state, walls, policies, trial, solver, sound } = answer;
    let old = if kernel.enough { "" } else { ": TOO OLD, boot a newer one" };
    let cgroups = match cgroup.kind {
        "none" => "none for this caller".to_owned(),
        kind => format!("{kind}: {}", cgroup.directories.join(" ")),
    };
    let path = state.path.as_deref().unwrap_or("none");
    let unusable = match &state.error {
        Some(error) => format!(": NOT USABLE: {error}; name another with --state DIR"),
        None => String::new(),
    };
    let mut lines = vec![
        format!("kernel    {} (at least {}){old}", kernel.release, kernel.min),
        format!("profile   {profile}"),
        format!("cgroups   {cgroups}"),
        format!("landlock  {}", if *landlock == 0 { "none".to_owned() } else { format!("ABI {landlock}") }),
        format!("state     {path}{unusable}"),
        String::new(),
    ];
    for wall in walls {
        let state = if wall.stands { "stands" } else { "missing" };
        lines.push(format!("{:<18} {state:<8} {}", wall.wall, wall.detail));
        lines.extend(wall.mend.iter().map(|mend| format!("{:<27} mend: {mend}", "")));
    }
    lines.push(String::new());
    for policy in policies {
        let verdict = match (policy.runs, policy.missing.is_empty(), &policy.why) {
            (true, ..) => "can run here".to_owned(),
            (false, false, _) => format!("cannot run here: it requires {}", policy.missing),
            (false, true, why) => format!("cannot run here: {}", why.as_deref().unwrap_or_default()),
        };
        lines.push(format!("policy {:<11} {verdict}", policy.policy));
    }
    lines.push(match (&trial.error, trial.stood) {
        (Some(error), _) => format!("a real sandbox     failed: {error}"),
        (None, true) => format!("a real sandbox     stood, with {} walls", trial.walls.iter().count()),
        (None, false) => "a real sandbox     did not stand".to_owned(),
    });
    lines.extend(trial.mend.iter().map(|mend| format!("{:<18} mend: {mend}", "")));
    lines.extend(trial.differs.iter().map(|what| format!("{:<18} BUT {what}", "")));
    lines.push(match solver {
        Some(found) => format!("policy diff, prove {found}"),
        None => format!("policy diff, prove no solver: {}", analysis::HOW_TO_GET),
    });
    if !sound {
        lines.push("NOT everything that the policy `default` requires stands here".to_owned());
    }
    lines
}
