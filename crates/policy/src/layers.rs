//! Layers only narrow: a document within another.
//!
//! What the inner one leaves out it has from the outer one; what it says must be shown to be no wider, rule by rule, and is
//! refused otherwise, never clipped. Entries of lists stand for themselves: a rule without `methods` asks for all of them.
//! Shown is by structure: an inner rule lies within *one* outer rule. So some that are no wider are refused, and none that
//! is wider gets through.

use crate::act::Limit;
use crate::form::{Ask, Budget, Document, NetRule, Secret, Tier, Tool};
use crate::parse::hash_of;
use crate::pattern::Pattern;
use model::{Lease, Limits, Then};

mod beside;
mod files;
mod net;

pub use beside::Beside;

/// The first rule by which a document asks for more than the one around it allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{rule}` asks for {asked}; the most is {most}")]
pub struct Exceeds {
    /// The rule of the inner document: `compute.memory`, `files[1] /input`.
    pub rule: String,
    /// What it asks for.
    pub asked: String,
    /// The most that the outer document allows.
    pub most: String,
    /// The mend.
    pub mend: &'static str,
    /// What its place is found by.
    pub(crate) key: String,
}

impl Document {
    /// This document within another: what it leaves out comes from there, and so do all walls, questions and forbids.
    /// So what the result allows, both allow.
    ///
    /// Host paths are compared as they are written, name by name; [`Document::rooted`] makes those of documents of
    /// different directories comparable. Links on the host are the caller's to follow first.
    ///
    /// # Errors
    /// The first rule of this document, in the order of its text, that exceeds the other.
    pub fn narrow(&self, within: &Document) -> Result<Document, Exceeds> {
        let (mut narrowed, exceeded) = merge(self, within, Values::Written);
        if let Some(first) = exceeded.into_iter().min_by_key(|exceeds| self.read.order(&exceeds.key)) {
            return Err(first);
        }
        if self.hash != within.hash {
            narrowed.hash = hash_of(format!("{}\n{}\n", self.hash, within.hash).as_bytes());
        }
        Ok(narrowed)
    }

    /// The first rule by which this document goes beyond another, with all that it has: also what it did not write itself.
    pub fn exceeds(&self, within: &Document) -> Option<Exceeds> {
        let (_, exceeded) = merge(self, within, Values::Holding);
        exceeded.into_iter().min_by_key(|exceeds| self.read.order(&exceeds.key))
    }
}

/// What is found while two documents are compared.
struct Comparison<'d> {
    asked: &'d Document,
    values: Values,
    exceeded: Vec<Exceeds>,
}

/// Which single values of a document are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Values {
    /// Those that it has written; the rest comes from the outer document.
    Written,
    /// All, those that hold by default too.
    Holding,
}

impl Comparison<'_> {
    fn has(&self, key: &str) -> bool {
        self.values == Values::Holding || self.asked.read.written.contains(key)
    }

    fn exceeds(&mut self, key: &str, rule: String, asked: String, most: String, mend: &'static str) {
        self.exceeded.push(Exceeds { rule, asked, most, mend, key: key.to_owned() });
    }

    /// A single value: the outer one if it is left out, else its own, which `fits` or exceeds.
    fn value<T: Copy>(&mut self, key: &str, values: (T, T), fits: bool, show: impl Fn(T) -> String) -> T {
        let (asked, most) = values;
        if !self.has(key) {
            return most;
        }
        if !fits {
            self.exceeds(key, key.to_owned(), show(asked), show(most), LESS);
        }
        asked
    }
}

const LESS: &str =
    "ask for no more than the policy around this one allows, or have that one widened by whoever may";
const RULE: &str =
    "ask for what one rule of the policy around this one allows, or have that one widened by whoever may";

/// The inner document with what it has from the outer one, and everything by which it exceeds that, in no order.
pub(crate) fn merge(asked: &Document, within: &Document, values: Values) -> (Document, Vec<Exceeds>) {
    let mut comparison = Comparison { asked, values, exceeded: Vec::new() };
    let c = &mut comparison;
    let mut merged = asked.clone();
    merged.tier = c.value("tier", (asked.tier, within.tier), asked.tier >= within.tier, tier);
    merged.root =
        c.value("root", (asked.root, within.root), !asked.root || within.root, |root| root.to_string());
    let landlock = (asked.landlock_min, within.landlock_min);
    let fits = landlock.0 >= landlock.1;
    merged.landlock_min = c.value("walls.landlock", landlock, fits, |abi| abi.to_string());
    merged.require = asked.require.iter().chain(within.require.iter()).collect();
    merged.limits = limits(c, &asked.limits, &within.limits);
    merged.lease = lease(c, asked.lease, within.lease);
    merged.files = files::within(c, &asked.files, &within.files, merged.root);
    merged.net = net::within(c, within);
    merged.secrets = secrets(c, within, &merged.net);
    merged.tools = tools(c, within);
    merged.budget = budget(c, asked.budget, within.budget);
    let most = (asked.children_max, within.children_max);
    merged.children_max = c.value("children.most", most, most.0 <= most.1, |most| most.to_string());
    merged.ask = asks(c, &asked.ask, &within.ask);
    let own = |forbid: &&crate::Forbid| !within.forbids.contains(forbid);
    merged.forbids = within.forbids.iter().chain(asked.forbids.iter().filter(own)).cloned().collect();
    merged.read.written.extend(within.read.written.iter().cloned());
    (merged, comparison.exceeded)
}

fn tier(tier: Tier) -> String {
    let name = match tier {
        Tier::Native => "native",
        Tier::Gvisor => "gvisor",
        Tier::Microvm => "microvm",
    };
    format!("the tier `{name}`")
}

fn limits(c: &mut Comparison<'_>, asked: &Limits, within: &Limits) -> Limits {
    let mut number = |limit: Limit| {
        let of = |limits| limit.of(limits).unwrap_or(u64::MAX);
        let values = (of(asked), of(within));
        let key = format!("compute.{}", limit.name());
        c.value(&key, values, values.0 <= values.1, |amount| limit.show(amount))
    };
    // Each number comes from a field of the same width.
    Limits {
        cpu_milli: number(Limit::Cpus) as u32,
        memory_bytes: number(Limit::Memory),
        pids: number(Limit::Pids) as u32,
        disk_bytes: number(Limit::Disk),
        disk_inodes: number(Limit::Inodes),
        open_files: number(Limit::OpenFiles) as u32,
        wall_ms: Some(number(Limit::Wall)).filter(|ms| *ms != u64::MAX),
    }
}

/// To be ended is narrower than to stand still, and that than to live on; sooner is narrower than later.
fn lease(c: &mut Comparison<'_>, asked: Lease, within: Lease) -> Lease {
    let rank = |then| match then {
        Then::Keep => 0,
        Then::Freeze => 1,
        Then::End => 2,
    };
    let show = |then| match then {
        Then::Keep => "keep".to_owned(),
        Then::Freeze => "freeze".to_owned(),
        Then::End => "end".to_owned(),
    };
    let then = (asked.then, within.then);
    // Of what nothing happens after, the time does not matter.
    let is_sooner = asked.after_ms <= within.after_ms || within.then == Then::Keep;
    Lease {
        after_ms: c.value(
            "lease.after",
            (asked.after_ms, within.after_ms),
            is_sooner,
            crate::compute::show_millis,
        ),
        then: c.value("lease.then", then, rank(then.0) >= rank(then.1), show),
    }
}

fn budget(c: &mut Comparison<'_>, asked: Budget, within: Budget) -> Budget {
    let mut number = |key: &str, asked: Option<u64>, most: Option<u64>, show: fn(u64) -> String| {
        let values = (asked.unwrap_or(u64::MAX), most.unwrap_or(u64::MAX));
        Some(c.value(key, values, values.0 <= values.1, show)).filter(|number| *number != u64::MAX)
    };
    Budget {
        requests: number("budget.requests", asked.requests, within.requests, |n| n.to_string()),
        bytes_out: number("budget.bytes_out", asked.bytes_out, within.bytes_out, crate::compute::show_bytes),
    }
}

/// Its own secrets, and those of the outer document that the rules name.
fn secrets(c: &mut Comparison<'_>, within: &Document, net: &[NetRule]) -> Vec<Secret> {
    let mut secrets = c.asked.secrets.clone();
    for secret in &c.asked.secrets {
        let key = format!("secrets.{}", secret.name);
        match within.secrets.iter().find(|outer| outer.name == secret.name) {
            Some(outer) if (&outer.from_env, &outer.header) == (&secret.from_env, &secret.header) => {}
            Some(_) => c.exceeds(
                &key,
                format!("secrets {}", secret.name),
                "another secret".to_owned(),
                "the one of that name".to_owned(),
                RULE,
            ),
            None => c.exceeds(
                &key,
                format!("secrets {}", secret.name),
                "a secret".to_owned(),
                "none of that name".to_owned(),
                RULE,
            ),
        }
    }
    let is_named = |secret: &&Secret| net.iter().any(|rule| rule.secret.as_ref() == Some(&secret.name));
    let is_new = |secret: &&Secret| !c.asked.secrets.iter().any(|own| own.name == secret.name);
    secrets.extend(within.secrets.iter().filter(is_named).filter(is_new).cloned());
    secrets
}

fn is_covered(asked: &Option<Vec<Pattern>>, outer: &Option<Vec<Pattern>>) -> bool {
    match (asked, outer) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(asked), Some(outer)) => asked.iter().all(|one| outer.iter().any(|outer| outer.covers(one))),
    }
}

fn tools(c: &mut Comparison<'_>, within: &Document) -> Option<Vec<Tool>> {
    let Some(asked) = &c.asked.tools else { return within.tools.clone() };
    let Some(outer) = &within.tools else { return Some(asked.clone()) };
    for (place, tool) in asked.iter().enumerate() {
        let of_its_name = outer.iter().find(|outer| outer.name == tool.name);
        if !of_its_name.is_some_and(|outer| tool.is_within(outer)) {
            let most = of_its_name.map_or("no tool of that name".to_owned(), ToString::to_string);
            c.exceeds(&format!("tools[{place}]"), tool.rule(), tool.to_string(), most, RULE);
        }
    }
    Some(asked.clone())
}

impl Tool {
    fn is_within(&self, outer: &Tool) -> bool {
        self.program == outer.program && is_covered(&self.args, &outer.args) && self.is_bounded_by(outer)
    }

    /// Whether a call takes no more time and memory.
    fn is_bounded_by(&self, outer: &Tool) -> bool {
        let less = |asked: Option<u64>, most: Option<u64>| match (asked, most) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(asked), Some(most)) => asked <= most,
        };
        less(self.timeout_ms, outer.timeout_ms) && less(self.memory_bytes, outer.memory_bytes)
    }
}

/// Its own questions and all of the outer document, which it may ask with less time to answer and not drop.
fn asks(c: &mut Comparison<'_>, asked: &[Ask], outer: &[Ask]) -> Vec<Ask> {
    let mut asks = asked.to_vec();
    for outer in outer {
        match asked.iter().enumerate().find(|(_, ask)| ask.when == outer.when) {
            None => asks.push(outer.clone()),
            Some((place, ask)) if ask.within_ms > outer.within_ms => {
                let show = crate::compute::show_millis;
                c.exceeds(
                    &format!("ask[{place}]"),
                    ask.rule(place),
                    show(ask.within_ms),
                    show(outer.within_ms),
                    LESS,
                );
            }
            Some(_) => {}
        }
    }
    asks
}
