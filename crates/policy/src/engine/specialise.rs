//! Rules made ready for one sandbox: what is already known is folded away, once.
//!
//! ```text
//! rules of nouns   ── as they were made ──┐
//! `cedar` policies ── partial evaluation ─┴─ for each user and action ──> Answer::Always | Never | Open
//! ```
//!
//! A rule that was made of a noun says who it is about and whether it looks at the act; a `cedar` policy may say anything, and
//! Cedar's type-aware partial evaluation finds out. A document without such a block touches none of Cedar's code.
//!
//! Cedar's answer to a partial evaluation has a trap: `residual_policies()` alone leaves out what became plainly true, and a
//! set made of it decides wrongly (cedar#2538). So each policy is looked up by what became of it.

use super::cedar::{self, Cedar};
use super::encode::{Encoded, Reads};
use super::filter::Filter;
use super::rule::{Action, Effect, Rule, user_name};
use crate::User;
use cedar_policy::{
    EntityTypeName, PartialEntities, PartialEntityUid, PartialRequest, PolicyId, PolicySet, Schema,
    TpeResponse,
};
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// What is decided about the acts of one user and one action, without looking at them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// All are allowed, by this rule.
    Always(String),
    /// None is, by this rule.
    Never(String),
    /// It depends on the act.
    Open(Open),
}

/// The policies that are left to look at, packed: a sandbox that nobody asks about them never unpacks them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Open {
    /// The words that they look at.
    pub(crate) reads: Reads,
    /// What is left of each, in the order in which a decision names them.
    packed: Vec<u8>,
    /// Rules that came later; permits stand before those that are packed, as a document's stand before the built-in ones.
    #[serde(skip)]
    added: Vec<Left>,
}

impl Open {
    fn new<'r>(left: impl Iterator<Item = (&'r Rule, Left)>) -> Open {
        let (mut reads, mut all) = (Reads::default(), Vec::new());
        for (rule, left) in left {
            reads = reads.and(rule.reads);
            all.push(left);
        }
        // Plain values and a growing vector: nothing can fail. Were there something, nothing would unpack, and all be denied.
        Open { reads, packed: postcard::to_stdvec(&all).unwrap_or_default(), added: Vec::new() }
    }

    /// What is left of each policy, in order. None: it does not unpack.
    pub(crate) fn policies(&self) -> Option<Vec<Left>> {
        let mut all: Vec<Left> = match self.packed.as_slice() {
            [] => Vec::new(),
            packed => postcard::from_bytes(packed).ok()?,
        };
        let first = all.iter().position(|left| left.effect == Effect::Permit).unwrap_or(all.len());
        all.splice(first..first, self.added.iter().cloned());
        // Forbids stand before permits in any case.
        all.sort_by_key(|left| left.effect == Effect::Permit);
        Some(all)
    }
}

/// What is left of one policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Left {
    pub(crate) rule: String,
    pub(crate) effect: Effect,
    pub(crate) filter: Filter,
    pub(crate) text: String,
}

impl Left {
    /// A rule of which nothing is known.
    pub(crate) fn whole(rule: &Rule) -> Left {
        let Rule { name, effect, filter, text, .. } = rule;
        Left { rule: name.clone(), effect: *effect, filter: filter.clone(), text: text.clone() }
    }
}

/// The rule of what went wrong while deciding: it denies.
pub(crate) const ERROR: &str = "error";

/// The answers for every user and action, in the order of [`places`].
pub(crate) fn specialise(rules: &[Rule]) -> Vec<Answer> {
    let reads = rules.iter().fold(Reads::default(), |reads, rule| reads.and(rule.reads));
    // One schema for all, and none where nobody needs it.
    let schema = OnceLock::new();
    let schema = || schema.get_or_init(|| cedar::schema(reads)).as_ref();
    places()
        .map(|(user, action)| {
            let about: Vec<&Rule> = rules.iter().filter(|rule| rule.actions.contains(&action)).collect();
            let known = fold(&about, user, action, schema);
            // What could not be folded is decided in full.
            known.unwrap_or_else(|| {
                Answer::Open(Open::new(about.iter().map(|rule| (*rule, Left::whole(rule)))))
            })
        })
        .collect()
}

/// Every user and action.
pub(crate) fn places() -> impl Iterator<Item = (User, Action)> {
    Action::ALL.into_iter().flat_map(|action| action.users().iter().map(move |user| (*user, action)))
}

/// What became of a policy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Became {
    True,
    False,
    Error,
    Residual,
}

fn fold<'s>(
    rules: &[&Rule],
    user: User,
    action: Action,
    schema: impl Fn() -> Option<&'s Schema>,
) -> Option<Answer> {
    let mut became: Vec<Option<(Became, Option<String>)>> =
        rules.iter().map(|rule| by_shape(rule, user)).collect();
    if became.iter().any(Option::is_none) {
        by_cedar(rules, &mut became, user, action, schema()?)?;
    }
    // One of which nothing is known would be lost.
    let (became, texts): (Vec<Became>, Vec<Option<String>>) =
        became.into_iter().collect::<Option<Vec<_>>>()?.into_iter().unzip();
    let what = |effect: Effect| {
        rules
            .iter()
            .zip(&became)
            .filter(move |(rule, _)| rule.effect == effect)
            .map(|(rule, became)| (&rule.name, *became))
    };
    let live = |(_, became): &(&String, Became)| *became != Became::False;
    // The first rule that matches gives a decision its name; so what is before it has to be known, too.
    let forbid = what(Effect::Forbid).find(live);
    match forbid {
        Some((rule, Became::True)) => return Some(Answer::Never(rule.clone())),
        Some((_, Became::Error))
            if !what(Effect::Forbid).any(|(_, b)| matches!(b, Became::True | Became::Residual)) =>
        {
            return Some(Answer::Never(ERROR.to_owned()));
        }
        Some(_) => {}
        None => match what(Effect::Permit).find(live) {
            Some((rule, Became::True)) => return Some(Answer::Always(rule.clone())),
            Some(_) => {}
            None => return Some(Answer::Never(action.otherwise().to_owned())),
        },
    }
    // Permits behind one that always holds are never the first.
    let always = rules
        .iter()
        .zip(&became)
        .position(|(rule, became)| rule.effect == Effect::Permit && *became == Became::True)
        .unwrap_or(rules.len());
    let kept = rules.iter().zip(&became).zip(texts).enumerate().filter(|(place, ((rule, became), _))| {
        **became != Became::False && (rule.effect == Effect::Forbid || *place <= always)
    });
    let left = kept.map(|(_, ((rule, _), text))| {
        (*rule, Left { text: text.unwrap_or_else(|| rule.text.clone()), ..Left::whole(rule) })
    });
    Some(Answer::Open(Open::new(left)))
}

/// What becomes of a rule that was made of a noun.
fn by_shape(rule: &Rule, user: User) -> Option<(Became, Option<String>)> {
    let shape = rule.shape?;
    let became = match shape.user {
        Some(other) if other != user => Became::False,
        _ if shape.looks => Became::Residual,
        _ => Became::True,
    };
    Some((became, None))
}

/// Finds what becomes of the other rules, and the text of what is left of them.
fn by_cedar(
    rules: &[&Rule],
    became: &mut [Option<(Became, Option<String>)>],
    user: User,
    action: Action,
    schema: &Schema,
) -> Option<()> {
    let mut set = PolicySet::new();
    for (place, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.shape.is_none()) {
        set.add(cedar::policy(place, &rule.text)?).ok()?;
    }
    let request = PartialRequest::new(
        PartialEntityUid::from_concrete(cedar::uid("User", user_name(user))?),
        cedar::uid("Action", action.name())?,
        PartialEntityUid::new(action.resource().parse::<EntityTypeName>().ok()?, None),
        None,
        schema,
    )
    .ok()?;
    let entities = PartialEntities::empty();
    let response = set.tpe(&request, &entities, schema).ok()?;
    let mut note = |ids: Vec<&PolicyId>, what: Became| {
        for place in ids.into_iter().filter_map(cedar::place) {
            let text = if what == Became::Residual { residual(&response, place) } else { None };
            if let Some(slot) = became.get_mut(place) {
                *slot = Some((what, text));
            }
        }
    };
    note(response.true_permits().chain(response.true_forbids()).collect(), Became::True);
    note(response.false_permits().chain(response.false_forbids()).collect(), Became::False);
    note(response.error_permits().chain(response.error_forbids()).collect(), Became::Error);
    note(response.residual_permits().chain(response.residual_forbids()).collect(), Became::Residual);
    Some(())
}

/// The text of what is left of a policy, if it reads as the same policy again.
fn residual(response: &TpeResponse<'_>, place: usize) -> Option<String> {
    let left = response.get_policy(&cedar::id(place))?;
    let text = left.to_cedar()?;
    let again = cedar::policy(place, &text)?;
    (again.to_json().ok()? == left.to_json().ok()?).then_some(text)
}

/// Answers that can be asked: the policies of each are read when the first act comes that needs them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Specialised {
    answers: Vec<(Answer, OnceLock<Cedar>)>,
}

impl PartialEq for Specialised {
    fn eq(&self, other: &Specialised) -> bool {
        self.answers().eq(other.answers())
    }
}

impl Specialised {
    /// From answers in the order of [`places`].
    pub(crate) fn new(answers: Vec<Answer>) -> Specialised {
        Specialised { answers: answers.into_iter().map(|answer| (answer, OnceLock::new())).collect() }
    }

    /// The answers, in that order.
    pub(crate) fn answers(&self) -> impl Iterator<Item = &Answer> {
        self.answers.iter().map(|(answer, _)| answer)
    }

    fn place(user: User, action: Action) -> Option<usize> {
        places().position(|place| place == (user, action))
    }

    /// The rule that allows every act of a user and action, if one does.
    pub(crate) fn always(&self, user: User, action: Action) -> Option<&str> {
        match self.answers.get(Specialised::place(user, action)?)? {
            (Answer::Always(rule), _) => Some(rule),
            (Answer::Never(_) | Answer::Open(_), _) => None,
        }
    }

    /// What is decided about an act. `act` encodes it, with the words that are looked at.
    pub(crate) fn decide(
        &self,
        user: User,
        action: Action,
        act: impl FnOnce(Reads) -> Option<Encoded>,
    ) -> super::Outcome {
        use super::Outcome::{Allow, Deny};
        match Specialised::place(user, action).and_then(|place| self.answers.get(place)) {
            Some((Answer::Always(rule), _)) => Allow(rule.clone()),
            Some((Answer::Never(rule), _)) => Deny(rule.clone()),
            Some((Answer::Open(open), cedar)) => match act(open.reads) {
                Some(act) => cedar.get_or_init(|| Cedar::new(open)).decide(&act),
                None => Deny("request".to_owned()),
            },
            None => Deny(ERROR.to_owned()),
        }
    }

    /// With one more rule about a zone.
    pub(crate) fn add(&mut self, rule: &Rule) {
        let about = places().zip(&mut self.answers).filter(|((_, action), _)| rule.actions.contains(action));
        for ((_, action), (answer, ready)) in about {
            let mut open = match answer {
                // Only what no rule allows can be allowed by one more.
                Answer::Never(by) if by == action.otherwise() => Open::default(),
                Answer::Open(open) => std::mem::take(open),
                Answer::Always(_) | Answer::Never(_) => continue,
            };
            open.reads = open.reads.and(rule.reads);
            open.added.push(Left::whole(rule));
            *answer = Answer::Open(open);
            *ready = OnceLock::new();
        }
    }
}
