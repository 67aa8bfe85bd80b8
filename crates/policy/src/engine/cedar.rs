//! Cedar itself: policies that are ready to be asked.
//!
//! Nothing here is touched by a sandbox whose answers are constants; [`used`] tells.

use super::Outcome;
use super::encode::{Encoded, Reads, Value};
use super::filter::Seen;
use super::rule::{Action, Effect, Rule, user_name};
use super::specialise::{ERROR, Left, Open};
use crate::User;
use cedar_policy::{
    Authorizer, Context, Entities, EntityId, EntityTypeName, EntityUid, Policy, PolicyId, PolicySet, Request,
    RestrictedExpression, Schema,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

static USED: AtomicBool = AtomicBool::new(false);

/// Whether this process has run any of Cedar's code.
pub(crate) fn used() -> bool {
    USED.load(Ordering::Relaxed)
}

pub(crate) fn uid(kind: &str, id: &str) -> Option<EntityUid> {
    USED.store(true, Ordering::Relaxed);
    Some(EntityUid::from_type_name_and_id(kind.parse::<EntityTypeName>().ok()?, EntityId::new(id)))
}

/// The id of the policy at a place of a list.
pub(crate) fn id(place: usize) -> PolicyId {
    PolicyId::new(place.to_string())
}

pub(crate) fn place(id: &PolicyId) -> Option<usize> {
    let text: &str = id.as_ref();
    text.parse().ok()
}

pub(crate) fn policy(place: usize, text: &str) -> Option<Policy> {
    USED.store(true, Ordering::Relaxed);
    Policy::parse(Some(id(place)), text).ok()
}

/// The schema with as many words as are looked at, or a few more: types of many words take long to reason about, and few
/// different schemas need be read.
pub(crate) fn schema(reads: Reads) -> Option<Schema> {
    static READ: Mutex<Vec<(Reads, Schema)>> = Mutex::new(Vec::new());
    const KEPT_MAX: usize = 16;
    USED.store(true, Ordering::Relaxed);
    let reads = reads.rounded();
    // A thread that died while it held the list left it whole.
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, schema)) = read.iter().find(|(known, _)| *known == reads) {
        return Some(schema.clone());
    }
    let (schema, _) = Schema::from_cedarschema_str(&super::schema::schema(reads)).ok()?;
    if read.len() < KEPT_MAX {
        read.push((reads, schema.clone()));
    }
    Some(schema)
}

/// The parts of a request that do not change, read once.
struct Names {
    users: [EntityUid; 2],
    actions: Vec<EntityUid>,
    resources: Vec<EntityTypeName>,
    authorizer: Authorizer,
    entities: Entities,
}

fn names() -> Option<&'static Names> {
    static NAMES: OnceLock<Option<Names>> = OnceLock::new();
    let read = || {
        Some(Names {
            users: [uid("User", user_name(User::User))?, uid("User", user_name(User::Root))?],
            actions: Action::ALL.iter().map(|a| uid("Action", a.name())).collect::<Option<_>>()?,
            resources: Action::ALL.iter().map(|a| a.resource().parse().ok()).collect::<Option<_>>()?,
            authorizer: Authorizer::new(),
            entities: Entities::empty(),
        })
    };
    NAMES.get_or_init(read).as_ref()
}

fn value(value: &Value) -> RestrictedExpression {
    match value {
        Value::Words(count, words) => {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            let mut fields = Vec::with_capacity(words.len() + 1);
            fields.push(("count".to_owned(), RestrictedExpression::new_long(count)));
            fields.extend(
                words
                    .iter()
                    .enumerate()
                    .map(|(at, word)| (format!("w{at}"), RestrictedExpression::new_string(word.clone()))),
            );
            // Names are given once each, so there is nothing to fail.
            RestrictedExpression::new_record(fields).unwrap_or_else(|_| RestrictedExpression::new_bool(false))
        }
        Value::Text(text) => RestrictedExpression::new_string(text.clone()),
        Value::Number(number) => RestrictedExpression::new_long(*number),
        Value::Truth(truth) => RestrictedExpression::new_bool(*truth),
        Value::Address(address) => RestrictedExpression::new_ip(address.to_string()),
    }
}

/// The request as Cedar takes it. With a schema it is checked against it, and has all words that the schema knows.
fn request(act: &Encoded, reads: Reads, schema: Option<&Schema>) -> Option<Request> {
    let names = names()?;
    let action = Action::ALL.iter().position(|action| *action == act.action)?;
    let pairs = act.context.iter().map(|(name, given)| {
        let mut given = given.clone();
        if let Value::Words(_, words) = &mut given {
            // Words that are not there are empty; `count` says that they are not there.
            let mut reads = reads;
            let most = reads.of(name).map_or(0, |most| usize::from(*most));
            words.resize(most, String::new());
        }
        ((*name).to_owned(), value(&given))
    });
    let context = Context::from_pairs(pairs).ok()?;
    let resource =
        EntityUid::from_type_name_and_id(names.resources.get(action)?.clone(), EntityId::new(&act.resource));
    let user = match act.user {
        User::User => &names.users[0],
        User::Root => &names.users[1],
    };
    Request::new(user.clone(), names.actions.get(action)?.clone(), resource, context, schema).ok()
}

/// The policies of one user and action. Each is read when the first act comes that passes its filter.
#[derive(Debug, Clone)]
pub(crate) struct Cedar {
    policies: Vec<(Left, OnceLock<Option<PolicySet>>)>,
    reads: Reads,
    /// Whether they could not be unpacked: then nothing is allowed.
    broken: bool,
}

impl Cedar {
    pub(crate) fn new(open: &Open) -> Cedar {
        let left = open.policies();
        let broken = left.is_none();
        let policies = left.unwrap_or_default().into_iter().map(|left| (left, OnceLock::new())).collect();
        Cedar { policies, reads: open.reads, broken }
    }

    /// Asks the policies whose filters the act passes, one after the other: forbids stand before permits.
    pub(crate) fn decide(&self, act: &Encoded) -> Outcome {
        let error = || Outcome::Deny(ERROR.to_owned());
        let seen = Seen::of(act);
        let mut near = self.policies.iter().filter(|(left, _)| left.filter.passes(&seen)).peekable();
        if self.broken {
            return error();
        }
        if near.peek().is_none() {
            return Outcome::Deny(act.action.otherwise().to_owned());
        }
        let (Some(request), Some(names)) = (request(act, self.reads, None), names()) else { return error() };
        let mut failed = false;
        for (left, ready) in near {
            // Permits come of nouns, which can be worked out for every act: one that matches is enough.
            if failed && left.effect == Effect::Permit {
                break;
            }
            let read = || policy(0, &left.text).and_then(|policy| PolicySet::from_policies([policy]).ok());
            let Some(set) = ready.get_or_init(read) else { return error() };
            let response = names.authorizer.is_authorized(&request, set, &names.entities);
            let diagnostics = response.diagnostics();
            if diagnostics.reason().next().is_some() {
                return match left.effect {
                    Effect::Forbid => Outcome::Deny(left.rule.clone()),
                    Effect::Permit => Outcome::Allow(left.rule.clone()),
                };
            }
            failed |= diagnostics.errors().next().is_some();
        }
        match failed {
            true => error(),
            false => Outcome::Deny(act.action.otherwise().to_owned()),
        }
    }
}

/// Decides by all rules in full, each request checked against the schema: what every shorter way has to agree with.
pub(crate) fn in_full(rules: &[Rule], act: &Encoded) -> Outcome {
    let error = || Outcome::Deny(ERROR.to_owned());
    let reads = rules.iter().fold(Reads::ALL, |reads, rule| reads.and(rule.reads));
    let reads = reads.rounded();
    let Some(schema) = schema(reads) else { return error() };
    let mut set = PolicySet::new();
    for (place, rule) in rules.iter().enumerate() {
        let Some(policy) = policy(place, &rule.text) else { return error() };
        if set.add(policy).is_err() {
            return error();
        }
    }
    let names: Vec<(String, Effect)> = rules.iter().map(|rule| (rule.name.clone(), rule.effect)).collect();
    ask(act, reads, Some(&schema), &set, &names)
}

/// Of the rules that match, the first that forbids decides; then what went wrong; then the first that permits.
fn ask(
    act: &Encoded,
    reads: Reads,
    schema: Option<&Schema>,
    set: &PolicySet,
    rules: &[(String, Effect)],
) -> Outcome {
    let error = || Outcome::Deny(ERROR.to_owned());
    let (Some(request), Some(names)) = (request(act, reads, schema), names()) else { return error() };
    let response = names.authorizer.is_authorized(&request, set, &names.entities);
    let diagnostics = response.diagnostics();
    let first = diagnostics.reason().filter_map(place).min().and_then(|place| rules.get(place));
    match first {
        Some((rule, Effect::Forbid)) => Outcome::Deny(rule.clone()),
        _ if diagnostics.errors().next().is_some() => error(),
        Some((rule, Effect::Permit)) => Outcome::Allow(rule.clone()),
        None => Outcome::Deny(act.action.otherwise().to_owned()),
    }
}
