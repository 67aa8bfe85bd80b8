//! What became possible from one policy to another.

use crate::model;
use crate::query::{Failed, Prover, World, texts};
use policy::engine::{Action, Effect, Engine, Rule};
use policy::{Act, Beside, Document, Exceeds};
use std::collections::BTreeSet;

/// What a change of policy opens.
#[derive(Debug, Default)]
pub struct Diff {
    /// What became possible, each with an act that shows it. None, and nothing unproved: nothing became possible.
    pub opened: Vec<Opened>,
    /// What became wider and is no act: another directory of the host behind a zone, a commit that may bring more.
    pub wider: Vec<Exceeds>,
    /// What could not be proved, nor shown.
    pub unproved: Vec<String>,
}

/// One thing that became possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The new rule that allows it, as the engine names it.
    pub rule: String,
    /// An act that the new policy allows and the old one does not.
    pub example: Act,
    /// Whether a person has to agree first.
    pub asked: bool,
}

/// What `new` allows and `old` does not, for every act there is and beside them.
pub fn diff(old: &Document, new: &Document, prover: &mut Prover) -> Diff {
    let Beside { wider, unknown } = new.beside(old);
    let unknown =
        unknown.into_iter().map(|rule| format!("whether `{rule}` may do more often, longer or with more"));
    let mut found = Diff { opened: Vec::new(), wider, unproved: unknown.collect() };
    compare(old, new, false, prover, &mut found);
    // Once more as if a person had agreed to everything: what is asked about in both is no difference above.
    if !old.ask.is_empty() || !new.ask.is_empty() {
        let agreed = |document: &Document| {
            let mut agreed = document.clone();
            agreed.ask.clear();
            agreed
        };
        compare(&agreed(old), &agreed(new), true, prover, &mut found);
    }
    found
}

fn compare(old: &Document, new: &Document, asked: bool, prover: &mut Prover, found: &mut Diff) {
    let (old, new) = (Engine::new(old), Engine::new(new));
    for action in Action::ALL {
        if let Err(failed) = compare_action(&old, &new, action, asked, prover, found) {
            found.unproved.push(format!("acts of `{}`: {failed}", action.name()));
        }
    }
}

fn compare_action(
    old: &Engine,
    new: &Engine,
    action: Action,
    asked: bool,
    prover: &mut Prover,
    found: &mut Diff,
) -> Result<(), Failed> {
    // The same permits, and every forbid still there: that is a proof, too.
    let known: BTreeSet<&str> = texts(old, action).collect();
    let about = |engine: &'_ Engine| -> Vec<Rule> {
        engine.rules().iter().filter(|rule| rule.concerns(action)).cloned().collect()
    };
    let (old_rules, new_rules) = (about(old), about(new));
    let kept: BTreeSet<&str> = new_rules.iter().map(|rule| rule.text.as_str()).collect();
    let forbids_kept = old_rules
        .iter()
        .filter(|rule| rule.effect == Effect::Forbid)
        .all(|rule| kept.contains(rule.text.as_str()));
    let permits = || new_rules.iter().filter(|rule| rule.effect == Effect::Permit);
    let changed: Vec<&Rule> =
        permits().filter(|rule| !forbids_kept || !known.contains(rule.text.as_str())).collect();
    if changed.is_empty() {
        return Ok(());
    }
    let world = World::new(action, &[old, new], 0)?;
    let forbids =
        || new_rules.iter().filter(|rule| rule.effect == Effect::Forbid).map(|rule| rule.text.as_str());
    let narrow = || old_rules.iter().map(|rule| rule.text.as_str());
    // All at once first: where nothing opened, one question says so.
    let all = changed.iter().map(|rule| rule.text.as_str()).chain(forbids());
    if prover.beyond(&world, all, narrow())?.is_none() {
        return Ok(());
    }
    let shows = |act: &Act| {
        let allowed = |engine: &Engine| engine.decide(act).verdict == "allow";
        allowed(new) && !allowed(old)
    };
    let mut any = false;
    for rule in changed {
        let one = std::iter::once(rule.text.as_str()).chain(forbids());
        let Some(env) = prover.beyond(&world, one, narrow())? else { continue };
        any = true;
        // In plainer words an act may be another rule's; what is shown is the rule that the engine names.
        let by_it = |act: &Act| shows(act) && new.decide(act).rule == rule.name;
        let example = model::act(&env, action, &world.ids, by_it);
        match example.or_else(|| model::act(&env, action, &world.ids, shows)) {
            Some(example) => {
                let opened = Opened { rule: new.decide(&example).rule, example, asked };
                let same = |other: &Opened| other.rule == opened.rule && other.example == opened.example;
                if !found.opened.iter().any(same) {
                    found.opened.push(opened);
                }
            }
            None => found.unproved.push(format!(
                "`{}` seems to open acts of `{}`, and no act was found that shows it",
                rule.name,
                action.name()
            )),
        }
    }
    if !any {
        found.unproved.push(format!("acts of `{}`: together the rules open something", action.name()));
    }
    Ok(())
}
