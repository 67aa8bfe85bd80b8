//! The names of rules, as denials, the record and messages tell them.

use crate::form::{Ask, AskWhen, NetRule, Rate, Tool};
use crate::pattern::{Pattern, Rest};
use crate::words;
use crate::zones::FileRule;
use model::quote;

impl FileRule {
    /// `files[N] /PLACE`, of the rule at `place` in its list: N counts from 1, `place` from 0.
    pub fn rule(&self, place: usize) -> String {
        format!("files[{}] {}", place + 1, quote(self.at()))
    }
}

impl NetRule {
    /// `net[N] HOST`, of the rule at `place` in its list: N counts from 1, `place` from 0.
    pub fn rule(&self, place: usize) -> String {
        format!("net[{}] {}", place + 1, host(&self.host))
    }
}

impl Tool {
    /// `tools NAME`.
    pub fn rule(&self) -> String {
        format!("tools {}", self.name)
    }
}

impl Ask {
    /// `ask[N] tool NAME ARG...` or `ask[N] net HOST`, of the question at `place` in
    /// its list: N counts from 1, `place` from 0.
    pub fn rule(&self, place: usize) -> String {
        format!("ask[{}] {}", place + 1, self.when)
    }
}

impl std::fmt::Display for AskWhen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AskWhen::Tool { name, args } => {
                write!(f, "tool {name}")?;
                args.words
                    .iter()
                    .try_for_each(|word| write!(f, " {}", words::write(word.to_string().as_bytes(), &[])))
            }
            AskWhen::Net { host } => write!(f, "net {}", self::host(host)),
        }
    }
}

/// A host's pattern as a rule writes it.
pub(crate) fn host(pattern: &Pattern) -> String {
    let labels: Vec<String> = pattern.words.iter().rev().map(ToString::to_string).collect();
    let rest = if pattern.rest == Rest::Some { "**." } else { "" };
    format!("{rest}{}", labels.join("."))
}

/// A path's pattern as a rule writes it.
pub(crate) fn path(pattern: &Pattern) -> String {
    format!("/{}", listed(pattern, "/"))
}

/// The arguments of a tool as a rule writes them, joined with spaces.
pub(crate) fn args(pattern: &Pattern) -> String {
    listed(pattern, " ")
}

fn listed(pattern: &Pattern, between: &str) -> String {
    let mut words: Vec<String> = pattern.words.iter().map(|word| quote(word.to_string())).collect();
    words.extend((pattern.rest != Rest::None).then(|| "**".to_owned()));
    words.join(between)
}

/// As a message tells it: `GET on api.example.com:443 /v1/**, at most 10/s`.
impl std::fmt::Display for NetRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let methods = self.methods.as_ref().map_or("all methods".to_owned(), |methods| methods.join(" "));
        let ports: Vec<String> = self.ports.iter().map(ToString::to_string).collect();
        write!(f, "{methods} on {}:{}", host(&self.host), ports.join(","))?;
        if let Some(paths) = &self.paths {
            write!(f, " {}", paths.iter().map(path).collect::<Vec<_>>().join(" "))?;
        }
        if let Some(rate) = self.rate {
            write!(f, ", at most {rate}")?;
        }
        if let Some(bytes) = self.bytes_out {
            write!(f, ", {} out", crate::compute::show_bytes(bytes))?;
        }
        match &self.secret {
            Some(secret) => write!(f, ", with the secret `{secret}`"),
            None => Ok(()),
        }
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let per = match self.per_ms {
            1000 => "s",
            60_000 => "m",
            3_600_000 => "h",
            _ => "d",
        };
        write!(f, "{}/{per}", self.count)
    }
}

/// As a message tells it: `/usr/bin/git status **, diff **, within 30s`.
impl std::fmt::Display for Tool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |list: &Vec<Pattern>| list.iter().map(args).collect::<Vec<_>>().join(", ");
        let any = "with any arguments".to_owned();
        write!(f, "{} {}", quote(&self.program), self.args.as_ref().map_or(any, list))?;
        if let Some(ms) = self.timeout_ms {
            write!(f, ", within {}", crate::compute::show_millis(ms))?;
        }
        match self.memory_bytes {
            Some(bytes) => write!(f, ", in {}", crate::compute::show_bytes(bytes)),
            None => Ok(()),
        }
    }
}
