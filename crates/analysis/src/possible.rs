//! What an act is: to Cedar a path's words and the file's name are strangers, and a port may be negative. These forbids keep
//! what is no act out of proofs.

use cedar_policy::{PolicySet, ResourceConstraint};
use policy::engine::{Action, Rule};
use std::collections::BTreeSet;

/// The longest list of words that an act has: no command line or path of a kernel has more.
const WORDS_MAX: usize = 4096;

/// Forbids for everything that is no act of `action`, where policies look at `words` words of each list and name `ids`.
pub(crate) fn impossible(
    action: Action,
    words: impl Fn(&str) -> usize,
    ids: &BTreeSet<String>,
) -> Vec<String> {
    let mut never = Vec::new();
    let mut list = |name: &str, texts: &dyn Fn(&str) -> Vec<String>| {
        let count = format!("context.{name}.count");
        never.push(format!("{count} < 0 || {count} > {WORDS_MAX}"));
        for place in 0..words(name) {
            let word = format!("context.{name}.w{place}");
            never.push(format!("{count} <= {place} && {word} != \"\""));
            never.extend(texts(&word).into_iter().map(|wrong| format!("{count} > {place} && ({wrong})")));
        }
    };
    let names = |id: &str| id.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let anything = |_: &str| Vec::new();
    // That no name holds a `/`, and no label a `.`, is left out: it makes the solver slow, a proof without it covers more
    // than all acts, and an example is made of plainer words anyway.
    let name = |word: &str| vec![format!("{word} == \"\"")];
    match action {
        Action::Exec => {
            list("args", &anything);
            list("cwd", &name);
            never.push("context.approved".to_owned());
            never.push("context.name == \"\"".to_owned());
            for id in ids {
                let base = id.rsplit('/').next().unwrap_or_default();
                never.push(format!(
                    "resource == Program::{} && context.name != {}",
                    quoted(id),
                    quoted(base)
                ));
            }
        }
        Action::Read | Action::Write => {
            list("path", &name);
            never.extend(ids.iter().map(|id| apart(id, "File", "path", names(id), words("path"))));
        }
        Action::Request => {
            list("host", &name);
            list("path", &name);
            never.push("context.approved".to_owned());
            never.push("context.port < 1 || context.port > 65535 || context.method == \"\"".to_owned());
            // An address is one word with dots or colons, and every rule about hosts wants two labels: none permits it.
            never.push("context.host.count < 1 || context has address".to_owned());
            let labels = |id: &str| id.rsplit('.').map(str::to_owned).collect();
            never.extend(ids.iter().map(|id| apart(id, "Host", "host", labels(id), words("host"))));
        }
        Action::Use => never.push("context.amount < 0".to_owned()),
    }
    let policy = |condition: String| {
        format!(
            "forbid (principal, action == Action::\"{}\", resource) when {{ {condition} }};",
            action.name()
        )
    };
    never.into_iter().map(policy).collect()
}

/// That a resource has a name without having its words, or the words without the name.
fn apart(id: &str, kind: &str, list: &str, words: Vec<String>, known: usize) -> String {
    let mut same = format!("context.{list}.count == {}", words.len());
    for (place, word) in words.iter().enumerate().take(known) {
        same += &format!(" && context.{list}.w{place} == {}", quoted(word));
    }
    let resource = format!("resource == {kind}::{}", quoted(id));
    // Words beyond those that are looked at are free, so only one direction holds for long names.
    match words.len() <= known {
        true => format!("({resource} && !({same})) || (!({resource}) && {same})"),
        false => format!("{resource} && !({same})"),
    }
}

/// The resources that policies name, in their scope or in a condition.
pub(crate) fn named(rules: &[&Rule], action: Action) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for rule in rules {
        let Ok(set) = rule.text.parse::<PolicySet>() else { continue };
        for policy in set.policies() {
            if let ResourceConstraint::Eq(uid) = policy.resource_constraint()
                && uid.type_name().to_string() == action.resource()
            {
                ids.insert(uid.id().unescaped().to_owned());
            }
            let literals = policy.entity_literals().into_iter();
            ids.extend(
                literals
                    .filter(|uid| uid.type_name().to_string() == action.resource())
                    .map(|uid| uid.id().unescaped().to_owned()),
            );
        }
    }
    ids
}

pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            c => out += &format!("\\u{{{:x}}}", u32::from(c)),
        }
    }
    out + "\""
}
