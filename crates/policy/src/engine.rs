//! Decides by Cedar: what a document says as Cedar policies, specialised once, asked for every act.
//!
//! ```text
//! Document, Policy ── rules ──> Rule … ── specialise ──> Always | Never | Open
//!                                 └── decide in full (explain, diff, prove, tests)
//! ```
//!
//! Invariants:
//! - The nouns permit, the `cedar` block forbids, and what nothing permits is denied.
//! - A decision names the first rule that made it, in the order of [`rules`]; forbids before what went wrong, that before
//!   permits.
//! - What goes wrong while deciding denies, by the rule `error`.
//! - Specialised or in full, the decision is the same, its rule included.

mod block;
pub(crate) mod builtin;
mod cedar;
mod encode;
mod filter;
mod rule;
mod rules;
mod schema;
mod specialise;

pub(crate) use block::concern_limits;
pub use block::{BLOCK_BYTES_MAX, BlockProblem, FORBIDS_MAX, block_schema, forbids};
pub(crate) use encode::{
    Encoded, Reads, act as encode_act, exec as encode_exec, file as encode_file, path_words,
};
pub use rule::{Action, Effect, Rule};
pub(crate) use rules::{Nouns, rules, zone as zone_rules};
pub(crate) use specialise::{Answer, Specialised, places, specialise};

use crate::{Act, Document, User};
use model::Decision;

/// What is decided, and by which rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Allow(String),
    Deny(String),
}

impl Outcome {
    pub(crate) fn decision(self) -> Decision {
        match self {
            Outcome::Allow(rule) => Decision { verdict: "allow", rule },
            Outcome::Deny(rule) => Decision { verdict: "deny", rule },
        }
    }
}

/// Whether this process has run any of Cedar's code.
pub fn cedar_was_used() -> bool {
    cedar::used()
}

/// The schema with as many words of `args`, `cwd`, `path` and `host` as `words` says, in Cedar's syntax.
pub fn schema_of(words: impl Fn(&str) -> usize) -> String {
    let most = |list| u16::try_from(words(list)).unwrap_or(u16::MAX);
    schema::schema(Reads { args: most("args"), cwd: most("cwd"), path: most("path"), host: most("host") })
}

/// A document's rules, ready to decide about acts.
#[derive(Debug, Clone)]
pub struct Engine {
    rules: Vec<Rule>,
    /// The names and programs. None: there are no rules about tools.
    tools: Option<Vec<(String, String)>>,
    specialised: Specialised,
}

impl Engine {
    /// The rules of a document, specialised.
    pub fn new(document: &Document) -> Engine {
        let rules = rules(document.nouns());
        let names = |tool: &crate::Tool| (tool.name.clone(), tool.program.clone());
        let tools = document.tools.as_ref().map(|tools| tools.iter().map(names).collect());
        Engine { specialised: Specialised::new(specialise(&rules)), tools, rules }
    }

    /// The rules as Cedar policies, in the order in which a decision names them.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What the document says to an act.
    pub fn decide(&self, act: &Act) -> Decision {
        let (user, action) = who(act);
        self.about(act, || self.specialised.decide(user, action, |reads| self.encoded(act, reads)))
    }

    /// Whether the document allows an act, and the rule that says so.
    pub fn allows(&self, act: &Act) -> (bool, String) {
        let Decision { verdict, rule } = self.decide(act);
        (verdict == "allow", rule)
    }

    /// The same, by all policies and a request that is checked against the schema: slow, and what [`Engine::decide`] has
    /// to agree with.
    pub fn decide_in_full(&self, act: &Act) -> Decision {
        let reads = self.rules.iter().fold(Reads::ALL, |reads, rule| reads.and(rule.reads));
        self.about(act, || match self.encoded(act, reads) {
            Some(encoded) => cedar::in_full(&self.rules, &encoded),
            None => Outcome::Deny("request".to_owned()),
        })
    }

    /// How many words of `args`, `cwd`, `path` and `host` the rules look at.
    pub fn words(&self, list: &str) -> usize {
        self.rules.iter().map(|rule| rule.words(list)).max().unwrap_or(0)
    }

    fn encoded(&self, act: &Act, reads: Reads) -> Option<Encoded> {
        encode_act(act, |name| self.program(name), reads)
    }

    /// What a call of the tool `name` runs. Where there are no rules about tools, that is whatever has the name.
    fn program<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        match &self.tools {
            None => Some(name),
            Some(tools) => tools.iter().find(|(tool, _)| tool == name).map(|(_, program)| program.as_str()),
        }
    }

    /// What could not even be asked for is decided here, so that a constant is not asked about it.
    fn about(&self, act: &Act, decide: impl FnOnce() -> Outcome) -> Decision {
        let program = match act {
            Act::Tool { name, .. } => self.program(name).map(str::as_bytes),
            Act::Exec { argv, .. } => argv.first().map(Vec::as_slice),
            _ => None,
        };
        let is_possible = match act {
            Act::Exec { cwd, .. } => program.is_some() && path_words(cwd).is_some(),
            Act::Read { path, .. } | Act::Write { path, .. } => path_words(path).is_some(),
            _ => true,
        };
        let outcome = match act {
            Act::Tool { .. } if program.is_none() => Outcome::Deny(Action::Exec.otherwise().to_owned()),
            _ if !is_possible => Outcome::Deny("request".to_owned()),
            _ => match decide() {
                // A tool that may not be called so has a name.
                Outcome::Deny(rule) if rule == Action::Exec.otherwise() => {
                    Outcome::Deny(self.of(program.unwrap_or_default()))
                }
                outcome => outcome,
            },
        };
        outcome.decision()
    }

    /// The rule of the tool that `program` belongs to, or that of what no rule allows.
    fn of(&self, program: &[u8]) -> String {
        let mut tools = self.tools.iter().flatten();
        tools
            .find(|(_, path)| path.as_bytes() == program)
            .map_or_else(|| Action::Exec.otherwise().to_owned(), |(name, _)| format!("tools {name}"))
    }
}

/// As whom an act is done, and what it does.
fn who(act: &Act) -> (User, Action) {
    match act {
        Act::Exec { user, .. } => (*user, Action::Exec),
        Act::Read { user, .. } => (*user, Action::Read),
        Act::Write { user, .. } => (*user, Action::Write),
        Act::Request(_) => (User::User, Action::Request),
        Act::Tool { .. } => (User::User, Action::Exec),
        Act::Use { .. } | Act::Root => (User::User, Action::Use),
    }
}

impl Document {
    pub(crate) fn nouns(&self) -> Nouns<'_> {
        Nouns {
            root: self.root,
            limits: &self.limits,
            files: &self.files,
            net: &self.net,
            tools: self.tools.as_deref(),
            ask: &self.ask,
            forbids: &self.forbids,
        }
    }
}
