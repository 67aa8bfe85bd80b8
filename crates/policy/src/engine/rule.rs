//! One rule as a Cedar policy, and the text that conditions are made of.

use super::encode::{Reads, encode};
use super::filter::{Filter, List};
use crate::User;
use crate::pattern::{Pattern, Rest, Word};
use std::fmt::Write;

/// What an act does, in Cedar's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Runs a command.
    Exec,
    /// Opens, lists or looks at a file.
    Read,
    /// Makes, changes, moves or removes a file.
    Write,
    /// Sends a request through the gateway.
    Request,
    /// Takes an amount of what is limited.
    Use,
}

impl Action {
    /// All of them.
    pub const ALL: [Action; 5] = [Action::Exec, Action::Read, Action::Write, Action::Request, Action::Use];

    /// Its id.
    pub fn name(self) -> &'static str {
        match self {
            Action::Exec => "exec",
            Action::Read => "read",
            Action::Write => "write",
            Action::Request => "request",
            Action::Use => "use",
        }
    }

    /// The type of what it is done to.
    pub fn resource(self) -> &'static str {
        match self {
            Action::Exec => "Program",
            Action::Read | Action::Write => "File",
            Action::Request => "Host",
            Action::Use => "Limit",
        }
    }

    /// As whom it can be done. Requests and limits are the whole sandbox's.
    pub fn users(self) -> &'static [User] {
        match self {
            Action::Exec | Action::Read | Action::Write => &[User::User, User::Root],
            Action::Request | Action::Use => &[User::User],
        }
    }

    /// The rule of what no rule allows.
    pub fn otherwise(self) -> &'static str {
        match self {
            Action::Exec => "tools",
            Action::Read | Action::Write => "files",
            Action::Request => "net",
            Action::Use => "compute",
        }
    }
}

/// The id of a user.
pub(crate) fn user_name(user: User) -> &'static str {
    match user {
        User::User => "user",
        User::Root => "root",
    }
}

/// Whether a rule opens or closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Effect {
    /// What matches is allowed, unless something forbids it.
    Permit,
    /// What matches is denied, whatever permits it.
    Forbid,
}

/// One rule as a Cedar policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What a decision calls it.
    pub name: String,
    /// What it does to what it matches.
    pub effect: Effect,
    /// The policy.
    pub text: String,
    /// The actions that it can be about.
    pub(crate) actions: Vec<Action>,
    /// What an act needs for it to matter.
    pub(crate) filter: Filter,
    /// The words that it looks at.
    pub(crate) reads: Reads,
    /// What is known of it without Cedar. None: it is somebody's own policy.
    pub(crate) shape: Option<Shape>,
}

impl Rule {
    /// Whether it can be about acts of an action.
    pub fn concerns(&self, action: Action) -> bool {
        self.actions.contains(&action)
    }

    /// How many words it looks at of `args`, `cwd`, `path` or `host`.
    pub fn words(&self, list: &str) -> usize {
        let mut reads = self.reads;
        reads.of(list).map_or(0, |most| usize::from(*most))
    }

    /// Whether it is about addresses in place of names alone.
    pub fn is_about_addresses(&self) -> bool {
        self.filter.needs_address()
    }

    /// Whether no act can match both. That they are apart is so when it says so; not all that are apart it finds.
    pub fn is_apart(&self, other: &Rule) -> bool {
        self.filter.is_apart(&other.filter)
    }
}

/// What is known of a rule that was made of a noun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Whose acts it is about; None: everybody's.
    pub(crate) user: Option<User>,
    /// Whether it looks at the act.
    pub(crate) looks: bool,
}

/// A rule in the making.
pub(crate) struct Making {
    effect: Effect,
    actions: Vec<Action>,
    user: Option<User>,
    resource: Option<String>,
    filter: Filter,
    reads: Reads,
    conditions: Vec<String>,
}

impl Making {
    pub(crate) fn new(effect: Effect, actions: &[Action]) -> Making {
        Making {
            effect,
            actions: actions.to_vec(),
            user: None,
            resource: None,
            filter: Filter::Open,
            reads: Reads::default(),
            conditions: Vec::new(),
        }
    }

    /// For one user only.
    pub(crate) fn by(self, user: User) -> Making {
        Making { user: Some(user), ..self }
    }

    /// About one resource only.
    pub(crate) fn on(self, resource: &str) -> Making {
        let id = encode(resource.as_bytes());
        let filter = self.filter.and(Filter::Resource(id.clone()));
        Making { filter, resource: Some(id), ..self }
    }

    /// Only where the words `list` of the context match one of the patterns.
    pub(crate) fn words(mut self, list: &'static str, patterns: &[Pattern]) -> Making {
        let longest = patterns.iter().map(|pattern| pattern.words.len()).max().unwrap_or(0);
        if let Some(reads) = self.reads.of(list) {
            *reads = (*reads).max(u16::try_from(longest).unwrap_or(u16::MAX));
        }
        if let Some(list) = List::of(list) {
            self.filter = self.filter.and(Filter::words(list, patterns));
        }
        let any: Vec<String> = patterns.iter().map(|pattern| matches(list, pattern)).collect();
        self.when(any.join(" || "))
    }

    /// Only for files that match one of the patterns.
    pub(crate) fn paths(self, patterns: &[Pattern]) -> Making {
        self.words("path", patterns)
    }

    /// Only for addresses in place of names, where a condition of Cedar holds.
    pub(crate) fn addresses(self, condition: &str) -> Making {
        let filter = self.filter.clone().and(Filter::Address);
        Making { filter, ..self.when(format!("context has address && ({condition})")) }
    }

    /// Only where a condition of Cedar holds, which looks at no words.
    pub(crate) fn when(mut self, condition: impl Into<String>) -> Making {
        self.conditions.push(condition.into());
        self
    }

    pub(crate) fn named(self, name: impl Into<String>) -> Rule {
        let Making { effect, actions, user, resource, filter, reads, conditions } = self;
        let shape = Shape { user, looks: resource.is_some() || !conditions.is_empty() };
        let mut text = match effect {
            Effect::Permit => "permit (",
            Effect::Forbid => "forbid (",
        }
        .to_owned();
        match user {
            Some(user) => text += &format!("principal == User::\"{}\", ", user_name(user)),
            None => text += "principal, ",
        }
        let names: Vec<String> = actions.iter().map(|a| format!("Action::\"{}\"", a.name())).collect();
        match (names.as_slice(), actions.first()) {
            ([one], _) => text += &format!("action == {one}, "),
            (many, _) => text += &format!("action in [{}], ", many.join(", ")),
        }
        match (resource, actions.first()) {
            (Some(id), Some(action)) => {
                text += &format!("resource == {}::{})", action.resource(), quoted(&id))
            }
            _ => text += "resource)",
        }
        for condition in conditions {
            text += &format!(" when {{ {condition} }}");
        }
        text.push(';');
        Rule { name: name.into(), effect, text, actions, filter, reads, shape: Some(shape) }
    }
}

/// The condition that the words `list` of the context match a pattern.
pub(crate) fn matches(list: &str, pattern: &Pattern) -> String {
    let words = pattern.words.len();
    let mut text = match pattern.rest {
        Rest::None => format!("context.{list}.count == {words}"),
        Rest::Any => format!("context.{list}.count >= {words}"),
        Rest::Some => format!("context.{list}.count >= {}", words + 1),
    };
    for (place, word) in pattern.words.iter().enumerate() {
        let given = format!("context.{list}.w{place}");
        match (word.literal(), word.pieces()) {
            (Some(literal), _) => text += &format!(" && {given} == {}", quoted(&encode(literal.as_bytes()))),
            (None, pieces) if pieces.iter().all(String::is_empty) => {}
            (None, _) => text += &format!(" && {given} like {}", like(word)),
        }
    }
    match words {
        0 => text,
        _ => format!("({text})"),
    }
}

/// A word with stars as Cedar's `like` takes it.
fn like(word: &Word) -> String {
    let pieces: Vec<String> = word.pieces().iter().map(|piece| escaped(&encode(piece.as_bytes()))).collect();
    format!("\"{}\"", pieces.join("*"))
}

/// A string of Cedar's.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            c => _ = write!(out, "\\u{{{:x}}}", u32::from(c)),
        }
    }
    out
}
