//! Denials by a policy: with the closest thing that it allows, and what would change the answer.

use super::Denied;
use crate::engine::{Action, path_words};
use crate::{Access, Policy};
use model::{Code, quote};

const AS_USER: &str = "the same as the ordinary user";

/// Of a command, by the rule `rule`.
pub(super) fn exec(rule: String, asked: String) -> Denied {
    let (code, mend) = match rule.as_str() {
        "root" => {
            (Code::Root, "run it as the ordinary user, or write `root = true` in the policy".to_owned())
        }
        "tools" => {
            (Code::Exec, "run a command that a [[tools]] rule allows, or add a rule for this one".to_owned())
        }
        "error" => {
            (Code::Exec, "mend the `cedar` policy that cannot be worked out for this command".to_owned())
        }
        rule => {
            (Code::Exec, format!("run another command: `{}` of the policy forbids this one", quote(rule)))
        }
    };
    let denied = Denied::new(code, rule, asked, mend);
    if code == Code::Root { denied.nearest(AS_USER) } else { denied }
}

/// Of work on the file `path`, by the rule `rule`.
pub(super) fn file(policy: &Policy, action: Action, path: &[u8], rule: String, asked: String) -> Denied {
    let beneath = |place: &str| match action {
        Action::Write => format!("write beneath `{}`", quote(place)),
        _ => format!("read beneath `{}`", quote(place)),
    };
    let near = match action {
        Action::Write => writable(policy, path),
        _ => readable(policy, path),
    };
    let (code, near, mend) = match rule.as_str() {
        "root" => {
            let mend = "do it as the ordinary user, or write `root = true` in the policy".to_owned();
            (Code::Root, Some(AS_USER.to_owned()), mend)
        }
        "files" => {
            (Code::Files, Some(beneath(near)), "choose such a path, or add a [[files]] zone".to_owned())
        }
        "system" => {
            (Code::Files, Some(beneath(near)), "choose such a path: the system is read-only".to_owned())
        }
        "proc" => {
            (Code::Files, None, "do without: that entry of /proc is masked in every sandbox".to_owned())
        }
        "error" => {
            (Code::Files, None, "mend the `cedar` policy that cannot be worked out for this path".to_owned())
        }
        zone if is_zone(zone) => {
            let mend = "choose such a path, or give the zone `access = \"write\"` in the policy".to_owned();
            (Code::Files, Some(beneath(near)), mend)
        }
        rule => {
            let mend = format!("choose another path: `{}` of the policy forbids this one", quote(rule));
            (Code::Files, None, mend)
        }
    };
    let denied = Denied::new(code, rule, asked, mend);
    match near {
        Some(near) => denied.nearest(near),
        None => denied,
    }
}

/// Whether a rule is a zone's: one that is only read.
fn is_zone(rule: &str) -> bool {
    rule.starts_with("files[")
}

fn writable<'p>(policy: &'p Policy, path: &[u8]) -> &'p str {
    let zones = policy.files().iter().filter(|zone| !matches!(zone.access(), Access::Read { .. }));
    closest(zones.map(|zone| zone.at()), path)
}

fn readable<'p>(policy: &'p Policy, path: &[u8]) -> &'p str {
    closest(policy.files().iter().map(|zone| zone.at()), path)
}

/// The zone, the home or `/tmp`: what has the most names in common with `path`; of those that have none, the first.
fn closest<'p>(zones: impl Iterator<Item = &'p str>, path: &[u8]) -> &'p str {
    let wanted = path_words(path).unwrap_or_default();
    let common = |place: &str| {
        let names = path_words(place.as_bytes()).unwrap_or_default();
        names.iter().zip(&wanted).take_while(|(a, b)| a == b).count()
    };
    let mut best: Option<(usize, &str)> = None;
    for place in zones.chain(["/home/user", "/tmp"]) {
        let common = common(place);
        if best.is_none_or(|(most, _)| common > most) {
            best = Some((common, place));
        }
    }
    best.map_or("/home/user", |(_, place)| place)
}
