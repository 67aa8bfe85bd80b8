//! What an act needs to have for a policy to match it, or to fail on it: found by the policy's form, without asking Cedar.
//!
//! Invariant: a filter that an act does not pass means that the policy neither matches that act nor fails on it. So who asks
//! only the policies whose filters an act passes gets the answer of all of them.

mod unmatched;

pub(super) use unmatched::unmatched;

use super::encode::{Encoded, Value};
use crate::pattern::{Pattern, Rest, Word};
use cedar_policy::{Policy, ResourceConstraint};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// What an act needs to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Filter {
    /// Nothing.
    Open,
    /// Each of these.
    All(Vec<Filter>),
    /// One of these.
    One(Vec<Filter>),
    /// An address in place of a host's name.
    Address,
    /// This resource.
    Resource(String),
    /// This text of the context.
    Text(Text, String),
    /// A list of at least and at most so many words.
    Count(List, i64, i64),
    /// A word of a list that is made of these pieces, with anything between each two.
    Word(List, u16, Vec<String>),
}

/// A text of the context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Text {
    Name,
    Method,
}

/// A list of words of the context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum List {
    Args,
    Cwd,
    Path,
    Host,
}

impl Text {
    const ALL: [(&str, Text); 2] = [("name", Text::Name), ("method", Text::Method)];

    fn of(name: &str) -> Option<Text> {
        Text::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, text)| text)
    }
}

impl List {
    const ALL: [(&str, List); 4] =
        [("args", List::Args), ("cwd", List::Cwd), ("path", List::Path), ("host", List::Host)];

    pub(crate) fn of(name: &str) -> Option<List> {
        List::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, list)| list)
    }
}

/// An act as filters look at it. What its kind of act does not have is not there.
pub(crate) struct Seen<'a> {
    resource: &'a str,
    address: bool,
    texts: [Option<&'a str>; Text::ALL.len()],
    lists: [Option<(usize, &'a [String])>; List::ALL.len()],
}

impl<'a> Seen<'a> {
    pub(crate) fn of(act: &'a Encoded) -> Seen<'a> {
        let mut seen = Seen { resource: &act.resource, address: false, texts: [None; 2], lists: [None; 4] };
        for (name, value) in &act.context {
            match value {
                Value::Text(text) => {
                    if let Some(slot) = Text::of(name) {
                        seen.texts[slot as usize] = Some(text);
                    }
                }
                Value::Words(count, words) => {
                    if let Some(slot) = List::of(name) {
                        seen.lists[slot as usize] = Some((*count, words));
                    }
                }
                Value::Address(_) => seen.address = true,
                Value::Number(_) | Value::Truth(_) => {}
            }
        }
        seen
    }
}

impl Filter {
    /// All of two.
    pub(crate) fn and(self, other: Filter) -> Filter {
        match (self, other) {
            (Filter::Open, one) | (one, Filter::Open) => one,
            (Filter::All(mut all), Filter::All(more)) => {
                all.extend(more);
                Filter::All(all)
            }
            (Filter::All(mut all), one) => {
                all.push(one);
                Filter::All(all)
            }
            (one, other) => Filter::All(vec![one, other]),
        }
    }

    fn or(self, other: Filter) -> Filter {
        match (self, other) {
            (Filter::Open, _) | (_, Filter::Open) => Filter::Open,
            (Filter::One(mut any), one) => {
                any.push(one);
                Filter::One(any)
            }
            (one, other) => Filter::One(vec![one, other]),
        }
    }

    /// A list of words that one of the patterns matches.
    pub(crate) fn words(list: List, patterns: &[Pattern]) -> Filter {
        let one = |pattern: &Pattern| {
            let words = pattern.words.len() as i64;
            let (least, most) = match pattern.rest {
                Rest::None => (words, words),
                Rest::Any => (words, i64::MAX),
                Rest::Some => (words + 1, i64::MAX),
            };
            let encoded = |word: &Word| -> Vec<String> {
                word.pieces().iter().map(|piece| super::encode::encode(piece.as_bytes())).collect()
            };
            let word = |(place, word): (usize, &Word)| Filter::word(list, place as u16, encoded(word));
            let words = pattern.words.iter().enumerate().map(word);
            words.fold(Filter::Open, Filter::and).and(Filter::Count(list, least, most))
        };
        patterns.iter().map(one).reduce(Filter::or).unwrap_or(Filter::Open)
    }

    fn word(list: List, place: u16, pieces: Vec<String>) -> Filter {
        match pieces.iter().all(String::is_empty) && pieces.len() > 1 {
            true => Filter::Open,
            false => Filter::Word(list, place, pieces),
        }
    }

    /// What a policy of somebody's own needs.
    pub(crate) fn of(policy: &Policy) -> Filter {
        let resource = match policy.resource_constraint() {
            ResourceConstraint::Eq(uid) => Filter::Resource(uid.id().unescaped().to_owned()),
            _ => Filter::Open,
        };
        let Ok(json) = policy.to_json() else { return resource };
        let mut conditions = json["conditions"].as_array().into_iter().flatten();
        // As of operands of `&&`: what is behind one that may fail does not matter.
        let (mut filter, mut is_total) = (resource, true);
        while let Some(condition) = conditions.next().filter(|_| is_total) {
            if condition["kind"] == "when" {
                filter = filter.and(needed(&condition["body"]));
            }
            is_total = total(&condition["body"]);
        }
        filter
    }

    /// Whether an act has it.
    pub(crate) fn passes(&self, act: &Seen<'_>) -> bool {
        match self {
            Filter::Open => true,
            Filter::All(all) => all.iter().all(|filter| filter.passes(act)),
            Filter::One(any) => any.iter().any(|filter| filter.passes(act)),
            Filter::Address => act.address,
            Filter::Resource(id) => act.resource == id,
            Filter::Text(name, text) => act.texts[*name as usize].is_none_or(|given| given == text),
            Filter::Count(list, least, most) => act.lists[*list as usize].is_none_or(|(count, _)| {
                (*least..=*most).contains(&i64::try_from(count).unwrap_or(i64::MAX))
            }),
            Filter::Word(list, place, pieces) => act.lists[*list as usize].is_none_or(|(count, words)| {
                match words.get(usize::from(*place)) {
                    Some(word) => is_made_of(word, pieces),
                    // It is not there, and so empty; or it was not encoded, and could be any.
                    None => usize::from(*place) < count || is_made_of("", pieces),
                }
            }),
        }
    }

    /// Whether an act has to be about an address.
    pub(crate) fn needs_address(&self) -> bool {
        match self {
            Filter::Address => true,
            Filter::All(all) => all.iter().any(Filter::needs_address),
            Filter::One(any) => any.iter().all(Filter::needs_address),
            _ => false,
        }
    }

    /// Whether no act has what both need.
    pub(crate) fn is_apart(&self, other: &Filter) -> bool {
        match (self, other) {
            (Filter::One(any), other) | (other, Filter::One(any)) => {
                any.iter().all(|one| one.is_apart(other))
            }
            (Filter::All(all), other) | (other, Filter::All(all)) => {
                all.iter().any(|one| one.is_apart(other))
            }
            (Filter::Resource(one), Filter::Resource(other)) => one != other,
            (Filter::Text(name, one), Filter::Text(of, other)) => name == of && one != other,
            (Filter::Count(list, least, most), Filter::Count(of, from, to)) => {
                list == of && (most < from || to < least)
            }
            (Filter::Word(list, place, pieces), Filter::Word(of, at, others))
                if (list, place) == (of, at) =>
            {
                match (pieces.as_slice(), others.as_slice()) {
                    ([one], others) => !is_made_of(one, others),
                    (pieces, [other]) => !is_made_of(other, pieces),
                    _ => false,
                }
            }
            _ => false,
        }
    }
}

/// As Cedar's `like`.
fn is_made_of(word: &str, pieces: &[String]) -> bool {
    match pieces {
        [one] => word == one,
        pieces => Word::of_pieces(pieces).matches(word.as_bytes()),
    }
}

/// What an act needs for an expression to be true, or to fail.
fn needed(node: &Json) -> Filter {
    let Some((operator, inner)) = node.as_object().and_then(|map| map.iter().next()) else {
        return Filter::Open;
    };
    let (left, right) = (&inner["left"], &inner["right"]);
    match operator.as_str() {
        "&&" if total(left) => needed(left).and(needed(right)),
        "&&" => needed(left),
        "||" => needed(left).or(needed(right)),
        "==" => equal(left, right).or_else(|| equal(right, left)).unwrap_or(Filter::Open),
        "has" if is_address(inner) => Filter::Address,
        "like" => like(left, &inner["pattern"]).unwrap_or(Filter::Open),
        ">" => at_least(left, right, 1).unwrap_or(Filter::Open),
        ">=" => at_least(left, right, 0).unwrap_or(Filter::Open),
        _ => Filter::Open,
    }
}

/// Whether an expression can be worked out for every act.
fn total(node: &Json) -> bool {
    let Some((operator, inner)) = node.as_object().and_then(|map| map.iter().next()) else { return false };
    match operator.as_str() {
        "Value" => true,
        "Var" => inner != "context",
        // An address is not always there.
        "." => attribute(node).is_some_and(|(of, name)| of.is_some() || name != "address"),
        "==" | "!=" | "&&" | "||" | "<" | "<=" | ">" | ">=" => {
            total(&inner["left"]) && total(&inner["right"])
        }
        "has" => is_address(inner),
        "!" => total(&inner["arg"]),
        "like" => total(&inner["left"]),
        _ => false,
    }
}

/// The operands of `context has address`.
fn is_address(inner: &Json) -> bool {
    inner["left"]["Var"] == "context" && inner["attr"] == "address"
}

/// `context.NAME`, or `context.LIST.NAME`.
fn attribute(node: &Json) -> Option<(Option<&str>, &str)> {
    let inner = &node["."];
    let name = inner["attr"].as_str()?;
    if inner["left"]["Var"] == "context" {
        return Some((None, name));
    }
    let list = &inner["left"]["."];
    (list["left"]["Var"] == "context").then_some(())?;
    Some((Some(list["attr"].as_str()?), name))
}

fn place(name: &str) -> Option<u16> {
    name.strip_prefix('w')?.parse().ok()
}

fn equal(what: &Json, value: &Json) -> Option<Filter> {
    if what["Var"] == "resource" {
        let id = value["Value"]["__entity"]["id"].as_str()?;
        return Some(Filter::Resource(id.to_owned()));
    }
    let value = &value["Value"];
    match attribute(what)? {
        (None, name) => Some(Filter::Text(Text::of(name)?, value.as_str()?.to_owned())),
        (Some(list), "count") => {
            let count = value.as_i64()?;
            Some(Filter::Count(List::of(list)?, count, count))
        }
        (Some(list), name) => {
            Some(Filter::word(List::of(list)?, place(name)?, vec![value.as_str()?.to_owned()]))
        }
    }
}

/// `LEFT >= number + more`.
fn at_least(left: &Json, number: &Json, more: i64) -> Option<Filter> {
    match attribute(left)? {
        (Some(list), "count") => {
            let least = number["Value"].as_i64()?.checked_add(more)?;
            Some(Filter::Count(List::of(list)?, least, i64::MAX))
        }
        _ => None,
    }
}

fn like(left: &Json, pattern: &Json) -> Option<Filter> {
    let (Some(list), name) = attribute(left)? else { return None };
    let mut pieces = vec![String::new()];
    for part in pattern.as_array()? {
        match part["Literal"].as_str() {
            Some(text) => pieces.last_mut()?.push_str(text),
            None if part == "Wildcard" => pieces.push(String::new()),
            None => return None,
        }
    }
    Some(Filter::word(List::of(list)?, place(name)?, pieces))
}
