//! Network rules within network rules.

use super::{Comparison, RULE, is_covered};
use crate::form::{Document, NetRule};
use crate::rule;

/// The inner rules, or the outer ones if there are none.
pub(super) fn within(c: &mut Comparison<'_>, within: &Document) -> Vec<NetRule> {
    let asked = &c.asked.net;
    if asked.is_empty() {
        return within.net.clone();
    }
    // What each outer rule still has to give: several inner rules share one outer rule's rate and bytes.
    let mut shared: Vec<Share> = within.net.iter().map(Share::of).collect();
    for (place, rule) in asked.iter().enumerate() {
        let fits = within
            .net
            .iter()
            .zip(&mut shared)
            .any(|(outer, share)| rule.is_within(outer) && share.take(rule));
        if !fits {
            let most = nearest(rule, &within.net);
            c.exceeds(&format!("net[{place}]"), rule.rule(place), rule.to_string(), most, RULE);
        }
    }
    asked.clone()
}

/// The outer rules for the same host, or all there are, for the message.
fn nearest(rule: &NetRule, outer: &[NetRule]) -> String {
    let meets = |outer: &&NetRule| outer.host.covers(&rule.host);
    let same: Vec<String> = outer.iter().filter(meets).take(3).map(ToString::to_string).collect();
    let hosts = || outer.iter().take(8).map(|outer| rule::host(&outer.host)).collect::<Vec<_>>().join(", ");
    match (same.is_empty(), outer.is_empty()) {
        (false, _) => same.join("; "),
        (true, false) => format!("requests to {}", hosts()),
        (true, true) => "no network".to_owned(),
    }
}

impl NetRule {
    /// Whether all requests that it lets through are requests that another does.
    pub(super) fn asks_within(&self, outer: &NetRule) -> bool {
        let listed = |asked: &Option<Vec<String>>, outer: &Option<Vec<String>>| match (asked, outer) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(asked), Some(outer)) => asked.iter().all(|one| outer.contains(one)),
        };
        outer.host.covers(&self.host)
            && self.ports.iter().all(|port| outer.ports.contains(port))
            && listed(&self.methods, &outer.methods)
            && is_covered(&self.paths, &outer.paths)
    }

    fn is_within(&self, outer: &NetRule) -> bool {
        self.asks_within(outer) && (self.secret.is_none() || self.secret == outer.secret)
    }
}

/// What an outer rule has left of its rate and of its bytes.
struct Share {
    per_ms: u64,
    /// How many at once, and how many in `per_ms` over time; none: without bound.
    burst: Option<u64>,
    count: Option<u64>,
    bytes_out: Option<u64>,
}

impl Share {
    fn of(rule: &NetRule) -> Share {
        let count = rule.rate.map(|rate| rate.count);
        let per_ms = rule.rate.map_or(1, |rate| rate.per_ms);
        Share { per_ms, burst: count, count, bytes_out: rule.bytes_out }
    }

    /// Takes what an inner rule asks for, if there is so much.
    fn take(&mut self, rule: &NetRule) -> bool {
        let less = |have: Option<u64>, asked: Option<u64>| match (have, asked) {
            (None, _) => Some(None),
            (Some(_), None) => None,
            (Some(have), Some(asked)) => have.checked_sub(asked).map(Some),
        };
        // Rounded up, so that many small parts never make more than the whole.
        let in_outer_time = |rate: crate::Rate| {
            u64::try_from(
                (u128::from(rate.count) * u128::from(self.per_ms)).div_ceil(u128::from(rate.per_ms)),
            )
            .ok()
        };
        let left = (
            less(self.burst, rule.rate.map(|rate| rate.count)),
            less(self.count, rule.rate.and_then(in_outer_time)),
            less(self.bytes_out, rule.bytes_out),
        );
        let (Some(burst), Some(count), Some(bytes_out)) = left else { return false };
        *self = Share { burst, count, bytes_out, ..*self };
        true
    }
}
