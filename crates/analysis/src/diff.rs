//! What became possible from one policy to another.

use crate::model;
use crate::query::{Failed, Prover, World, concerning};
use policy::engine::{Action, Effect, Engine, Rule};
use policy::{Act, Beside, Document, Exceeds};

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

/// Whether `new` is no wider than `old` as its form alone shows, without a solver. That it is so when this says so; not all
/// that is so it finds.
pub fn is_within(new: &Document, old: &Document) -> bool {
    let Ok(mut narrowed) = new.narrow(old) else { return false };
    // What it would have had from the old one, it has of itself: on its own it says the same.
    narrowed.hash.clone_from(&new.hash);
    narrowed == *new
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
    for rule in of(new, action, Effect::Permit) {
        let Some(question) = Question::about(rule, old, new, action) else { continue };
        let world = World::new(action, &question.rules(), 0)?;
        let wide = std::iter::once(&rule).chain(&question.forbids).map(|rule| rule.text.as_str());
        let narrow = question.permitted.iter().chain(&question.gone).map(|rule| rule.text.as_str());
        let Some(env) = prover.beyond(&world, wide, narrow)? else { continue };
        let shows = |act: &Act| {
            let allowed = |engine: &Engine| engine.decide(act).verdict == "allow";
            allowed(new) && !allowed(old)
        };
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
    Ok(())
}

fn of(engine: &Engine, action: Action, effect: Effect) -> impl Iterator<Item = &Rule> {
    concerning(engine, action).filter(move |rule| rule.effect == effect)
}

/// What has a say about the acts of one permit: all else is apart from it, or the same in both policies.
struct Question<'e> {
    rule: &'e Rule,
    /// Permits of the old policy.
    permitted: Vec<&'e Rule>,
    /// Forbids of the old policy that the new one has no more.
    gone: Vec<&'e Rule>,
    /// Forbids of the new policy.
    forbids: Vec<&'e Rule>,
}

impl<'e> Question<'e> {
    /// None: the permit is an old one, and so is all that narrows it.
    fn about(rule: &'e Rule, old: &'e Engine, new: &'e Engine, action: Action) -> Option<Question<'e>> {
        let near = |engine: &'e Engine, effect: Effect| {
            of(engine, action, effect).filter(|other| !rule.is_apart(other)).collect::<Vec<_>>()
        };
        let permitted = near(old, Effect::Permit);
        let forbids = near(new, Effect::Forbid);
        let mut gone = near(old, Effect::Forbid);
        gone.retain(|gone| !forbids.iter().any(|forbid| forbid.text == gone.text));
        let is_old = gone.is_empty() && permitted.iter().any(|other| other.text == rule.text);
        (!is_old).then_some(Question { rule, permitted, gone, forbids })
    }

    fn rules(&self) -> Vec<&'e Rule> {
        let Question { rule, permitted, gone, forbids } = self;
        [&[*rule][..], permitted, gone, forbids].concat()
    }
}
