//! Hosts: `WebFetch(domain:example.com)`, and the domains that a sandbox may reach.

use super::{Left, Says, shown};

#[derive(Default)]
pub(super) struct Hosts {
    /// What is said, about which name (none: about all), to what extent, and how it is written.
    rules: Vec<(Says, Option<String>, Extent, String)>,
}

/// How much of a host is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Pages are fetched.
    Fetch,
    /// Everything.
    Reach,
}

/// A host of the policy.
pub(super) struct Open {
    pub(super) host: String,
    pub(super) extent: Extent,
    pub(super) asks: bool,
}

impl Hosts {
    /// Adds a rule about fetching; without a domain it is about all.
    pub(super) fn add(&mut self, what: Option<&str>, says: Says, text: &str) {
        let name = what.and_then(|what| what.strip_prefix("domain:")).map(str::to_owned);
        self.rules.push((says, name, Extent::Fetch, text.to_owned()));
    }

    /// Adds a domain that commands may reach.
    pub(super) fn reach(&mut self, domain: &str) {
        self.rules.push((Says::Allow, Some(domain.to_owned()), Extent::Reach, domain.to_owned()));
    }

    /// Adds a domain that nothing may reach.
    pub(super) fn deny(&mut self, domain: &str) {
        self.rules.push((Says::Deny, Some(domain.to_owned()), Extent::Reach, domain.to_owned()));
    }

    /// The hosts, and what is not among them.
    pub(super) fn open(&self) -> (Vec<Open>, Vec<Left>) {
        let (mut open, mut left): (Vec<Open>, Vec<Left>) = (Vec::new(), Vec::new());
        let of = |wanted: Says| self.rules.iter().filter(move |(says, ..)| *says == wanted);
        for (says, name, extent, text) in of(Says::Ask).chain(of(Says::Allow)) {
            let mut leave = |why: String| left.push(Left { what: model::quote(text), why });
            let Some(name) = name else {
                leave("every host: name the hosts that are meant".to_owned());
                continue;
            };
            let host = name.to_ascii_lowercase();
            if let Err((why, _)) = crate::host::pattern(&host) {
                leave(why);
            } else if let Some((.., denied)) =
                of(Says::Deny).find(|(_, denied, ..)| may_meet(&host, denied.as_deref()))
            {
                leave(format!("{} may deny some of it", shown(denied)));
            } else {
                let asked = of(Says::Ask).filter(|(_, asked, ..)| may_meet(&host, asked.as_deref()));
                let asked: Vec<&(Says, Option<String>, Extent, String)> = asked.collect();
                // A question that is wider or narrower than the host cannot be asked about the host alone.
                if asked.iter().any(|(_, asked, ..)| asked.as_ref() != Some(name)) {
                    leave(
                        "a person is asked about some of it, and the question cannot be carried".to_owned(),
                    );
                } else if !open
                    .iter()
                    .any(|other| other.host == host && (other.extent, says) == (*extent, &Says::Allow))
                {
                    open.push(Open { host, extent: *extent, asks: !asked.is_empty() });
                }
            }
        }
        for (.., text) in of(Says::Deny) {
            let why = "kept by not carrying what it may meet: what no rule allows is denied".to_owned();
            left.push(Left { what: model::quote(text), why });
        }
        (open, left)
    }
}

/// Whether a rule about `other` (none: about all) may be about some host of `host`. A domain may stand for what lies
/// beneath it.
fn may_meet(host: &str, other: Option<&str>) -> bool {
    let name = |text: &str| {
        let text = text.to_ascii_lowercase();
        let name = ["**.", "*.", "."].iter().find_map(|start| text.strip_prefix(start)).unwrap_or(&text);
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        name.split('.').all(is_label).then(|| name.to_owned())
    };
    // What is no plain name could stand for any.
    let (Some(host), Some(other)) = (name(host), other.and_then(name)) else { return true };
    let beneath = |name: &str, tree: &str| {
        name.strip_suffix(tree).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    beneath(&host, &other) || beneath(&other, &host)
}
