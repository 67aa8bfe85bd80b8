//! Commands: `Bash(git status)`, `Bash(npm run test:*)`.

use super::{Left, Says, shown};
use crate::parse::is_name;
use std::collections::BTreeMap;

/// Characters by which a shell does more than run a program with words.
const SHELL: &[char] = &[
    '|', '&', ';', '<', '>', '(', ')', '$', '`', '"', '\'', '\\', '{', '}', '[', ']', '~', '?', '#', '!',
    '=', '\n', '\t',
];

#[derive(Default)]
pub(super) struct Commands {
    rules: Vec<(Says, Option<String>, String)>,
}

/// A tool of the policy.
#[derive(Default)]
pub(super) struct Called {
    pub(super) args: Vec<Vec<String>>,
    /// The first words of calls that a person is asked about.
    pub(super) asks: Vec<Vec<String>>,
}

impl Commands {
    /// Adds a rule; without a command it is about every command.
    pub(super) fn add(&mut self, command: Option<&str>, says: Says, text: &str) {
        self.rules.push((says, command.map(str::to_owned), text.to_owned()));
    }

    /// Whether every command may run.
    pub(super) fn allow_all(&self) -> bool {
        let all = self.rules.iter().any(|(says, command, _)| *says == Says::Allow && command.is_none());
        all && !self.rules.iter().any(|(says, ..)| *says != Says::Allow)
    }

    /// The tools by their names, and what is not among them.
    pub(super) fn tools(&self) -> (BTreeMap<String, Called>, Vec<Left>) {
        let mut tools: BTreeMap<String, Called> = BTreeMap::new();
        let mut left = Vec::new();
        let of = |wanted: Says| self.rules.iter().filter(move |(says, ..)| *says == wanted);
        for (says, command, text) in of(Says::Ask).chain(of(Says::Allow)) {
            let why = match command.as_deref().map(words) {
                None if self.allow_all() => continue,
                None => {
                    "every command, while others are denied or asked about: name the commands that are meant"
                }
                Some(None) => "what a shell makes of it is more than a program with words",
                Some(Some(words)) => {
                    match of(Says::Deny).find(|(_, denied, _)| may_meet(&words, denied.as_deref())) {
                        Some((.., denied)) => {
                            let why = format!("{} may deny some of it", shown(denied));
                            left.push(Left { what: model::quote(text), why });
                            continue;
                        }
                        None => match self.carry(*says, words, &mut tools) {
                            true => continue,
                            false => "a person is asked about some of it, and the question cannot be carried",
                        },
                    }
                }
            };
            left.push(Left { what: model::quote(text), why: why.to_owned() });
        }
        for (.., text) in of(Says::Deny) {
            let why = "kept by not carrying what it may meet: what no rule allows is denied";
            left.push(Left { what: model::quote(text), why: why.to_owned() });
        }
        (tools, left)
    }

    /// Adds a command to the tools, with the questions that it may meet.
    fn carry(&self, says: Says, words: Vec<String>, tools: &mut BTreeMap<String, Called>) -> bool {
        let asks: Vec<Vec<String>> = self
            .rules
            .iter()
            .filter(|(says, command, _)| *says == Says::Ask && may_meet(&words, command.as_deref()))
            .map(|(_, command, _)| leading(command.as_deref().unwrap_or_default()))
            .collect();
        let Some((program, args)) = words.split_first() else { return false };
        // A question about any program has no tool that it could name.
        if asks.iter().any(|ask| ask.first() != Some(program)) || (says == Says::Ask && asks.is_empty()) {
            return false;
        }
        let tool = tools.entry(program.clone()).or_default();
        tool.args.push(args.to_vec());
        tool.asks.extend(asks.into_iter().map(|ask| ask[1..].to_vec()));
        for list in [&mut tool.args, &mut tool.asks] {
            list.sort();
            list.dedup();
        }
        true
    }
}

/// The words of a command, with `**` for any further ones; none if it is more than a program with words.
///
/// There, `*` stands for anything, spaces included; here for one word. So what is made of it is narrower.
fn words(command: &str) -> Option<Vec<String>> {
    let (command, rest) = match command.strip_suffix(":*") {
        Some(command) => (command, &["**"][..]),
        // Whether the bare command is meant too is not said: so it is not.
        None => match command.strip_suffix(" *") {
            Some(command) => (command, &["*", "**"][..]),
            None => (command, &[][..]),
        },
    };
    let plain = |c: char| crate::problem::is_plain(c) && c.is_ascii() && !SHELL.contains(&c) && c != ':';
    let mut words: Vec<String> =
        command.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let is_program = words.first().is_some_and(|program| is_name(program));
    let fits = words.iter().all(|word| !word.contains("**") && word.chars().all(|c| plain(c) || c == ':'));
    words.extend(rest.iter().map(|word| (*word).to_owned()));
    (is_program && fits && words.len() <= crate::WORDS_MAX).then_some(words)
}

/// The first words of a rule that stand for themselves.
fn leading(command: &str) -> Vec<String> {
    let command = command.strip_suffix(":*").unwrap_or(command);
    // A word that goes on behind its star stands for more than itself, and so may what follows.
    let words = command.split(' ').filter(|word| !word.is_empty());
    words.take_while(|word| !word.contains('*') && !word.contains(SHELL)).map(str::to_owned).collect()
}

/// Whether a rule about `other` (none: about every command) may be about some command of `words`.
fn may_meet(words: &[String], other: Option<&str>) -> bool {
    let Some(other) = other else { return true };
    let is_literal = |word: &&String| !word.contains('*');
    let mut leading = leading(other);
    // A program that is named by its path may be the one that is meant by its name.
    if let Some(program) = leading.first_mut() {
        *program = program.rsplit('/').next().unwrap_or_default().to_owned();
    }
    !words.iter().take_while(is_literal).zip(&leading).any(|(word, other)| word != other)
}
