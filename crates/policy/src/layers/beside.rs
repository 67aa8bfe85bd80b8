//! What of a document goes beyond another beside the acts that it allows: which directory of the host a zone shows, what a
//! commit may bring, how often and with which secret a request may go out.

use super::{Exceeds, RULE, Values, merge};
use crate::form::{Document, NetRule, Tool};
use crate::zones::Access;

/// How a document is wider than another in what no act says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beside {
    /// What goes beyond it.
    pub wider: Vec<Exceeds>,
    /// The rules of which structure alone does not tell.
    pub unknown: Vec<String>,
}

impl Document {
    /// What of this document goes beyond `old`, beside the acts that it allows. Nothing: in this it is no wider.
    ///
    /// Host paths are compared as [`Document::narrow`] does.
    pub fn beside(&self, old: &Document) -> Beside {
        let (_, exceeded) = merge(self, old, Values::Holding);
        let mut beside = Beside::default();
        for exceeds in exceeded {
            let key = exceeds.key.as_str();
            let of =
                |list: &str| -> Option<usize> { key.strip_prefix(list)?.strip_suffix(']')?.parse().ok() };
            let is_wider = if let Some(zone) = of("files[").and_then(|place| self.files.get(place)) {
                // What a scratch zone offers is all in the acts.
                Some(!matches!(zone.access(), Access::Scratch))
            } else if let Some(rule) = of("net[").and_then(|place| self.net.get(place)) {
                requests(rule, old)
            } else if let Some(tool) = of("tools[").and_then(|place| self.tools.as_ref()?.get(place)) {
                calls(tool, old)
            } else {
                Some(key != "root" && !key.starts_with("compute."))
            };
            match is_wider {
                Some(true) => beside.wider.push(exceeds),
                Some(false) => {}
                None => beside.unknown.push(exceeds.rule),
            }
        }
        let dropped = old.require.iter().filter(|wall| !self.require.has(*wall));
        beside.wider.extend(dropped.map(|wall| Exceeds {
            rule: "walls.require".to_owned(),
            asked: format!("to do without `{wall}`"),
            most: "that wall".to_owned(),
            mend: RULE,
            key: "walls.require".to_owned(),
        }));
        beside
    }
}

/// Of a rule whose requests lie within one old rule, it is how often or with which secret that is wider. None: within
/// several, or none, and what those bound is not compared.
fn requests(rule: &NetRule, old: &Document) -> Option<bool> {
    let is_bounded = |rule: &NetRule| rule.rate.is_some() || rule.bytes_out.is_some();
    if rule.secret.is_none() && !old.net.iter().any(is_bounded) {
        return Some(false);
    }
    old.net.iter().any(|outer| rule.asks_within(outer)).then_some(true)
}

/// The same of a tool, whose calls have time and memory.
fn calls(tool: &Tool, old: &Document) -> Option<bool> {
    let runs = || old.tools.iter().flatten().filter(|outer| outer.program == tool.program);
    if runs().all(|outer| tool.is_bounded_by(outer)) {
        return Some(false);
    }
    let same = runs().find(|outer| outer.name == tool.name);
    same.is_some_and(|outer| !tool.is_bounded_by(outer)).then_some(true)
}
