//! The plain reading of a document: what its rules allow, straight from the words. The engine decides for real; this is
//! what examples are checked by, and what the engine is compared with.

use crate::engine::{builtin as places, path_words};
use crate::form::{AskWhen, Document, Tool};
use crate::zones::Access;
use crate::{Act, Request, User, host};
use std::net::IpAddr;

/// The rule that allows a command while there are no rules about tools.
pub(crate) const EXEC_RULE: &str = "exec (no [[tools]] rule)";

impl Document {
    /// Whether the rules allow an act, and which rule says so. The `cedar` block is not looked at.
    ///
    /// An act that a person is asked about is denied: nobody has answered.
    pub fn allows_plainly(&self, act: &Act) -> (bool, String) {
        let as_root = |user: &User| *user == User::Root && !self.root;
        match act {
            Act::Root => (self.root, "root".to_owned()),
            Act::Exec { user, .. } | Act::Read { user, .. } | Act::Write { user, .. } if as_root(user) => {
                (false, "root".to_owned())
            }
            Act::Exec { cwd, .. } if path_words(cwd).is_none() => (false, "request".to_owned()),
            Act::Exec { argv, .. } => self.allows_exec(argv),
            Act::Read { path, user } => self.allows_file(path, Work::Read, *user),
            Act::Write { path, user } => self.allows_file(path, Work::Write, *user),
            // Without tools a call of one is a command like any other: so a document with tools lies within one without.
            Act::Tool { name, args } => match &self.tools {
                None => (true, EXEC_RULE.to_owned()),
                Some(tools) => match tools.iter().find(|tool| tool.name == *name) {
                    Some(tool) => self.allows_call(tool, args),
                    None => (false, "tools".to_owned()),
                },
            },
            Act::Request(request) => self.allows_request(request),
            Act::Use { limit, amount } => {
                let most = limit.of(&self.limits);
                (most.is_none_or(|most| *amount <= most), format!("compute.{}", limit.name()))
            }
        }
    }

    fn allows_exec(&self, argv: &[Vec<u8>]) -> (bool, String) {
        let Some((program, args)) = argv.split_first() else { return (false, "request".to_owned()) };
        let Some(tools) = &self.tools else { return (true, EXEC_RULE.to_owned()) };
        // What a name alone leads to is not the policy's to say.
        match tools.iter().find(|tool| tool.program.as_bytes() == program) {
            Some(tool) => self.allows_call(tool, args),
            None => (false, "tools".to_owned()),
        }
    }

    fn allows_call(&self, tool: &Tool, args: &[Vec<u8>]) -> (bool, String) {
        let asks = |when: &AskWhen| matches!(when, AskWhen::Tool { name, args: pattern } if *name == tool.name && pattern.matches(args));
        if let Some(rule) = self.asked(asks) {
            return (false, rule);
        }
        let fits = |list: &Vec<crate::Pattern>| list.iter().any(|pattern| pattern.matches(args));
        (tool.args.as_ref().is_none_or(fits), tool.rule())
    }

    fn allows_file(&self, path: &[u8], work: Work, user: User) -> (bool, String) {
        let Some(names) = path_words(path) else { return (false, "request".to_owned()) };
        let lies_in = |places: Vec<crate::Pattern>| places.iter().any(|place| place.matches(&names));
        let always = |is_allowed: bool, rule: &str| (is_allowed, rule.to_owned());
        if work == Work::Write && lies_in(places::read_only()) {
            return always(false, "system");
        }
        if names.len() > 1 && names[0] == b"proc" && !lies_in(places::proc()) {
            return always(false, "proc");
        }
        let zone = self.files.iter().enumerate().find(|(_, zone)| places::place(zone.at()).matches(&names));
        if let Some((place, zone)) = zone {
            let is_read_only = matches!(zone.access(), Access::Read { .. });
            return (work == Work::Read || !is_read_only, zone.rule(place));
        }
        if lies_in(places::home()) {
            return always(true, "home");
        }
        if lies_in(places::temporary()) {
            return always(true, "tmp");
        }
        match work {
            Work::Write if lies_in(places::devices()) => always(true, "devices"),
            Work::Write if lies_in(places::processes()) => always(true, "proc"),
            Work::Read if lies_in(places::system()) => always(true, "system"),
            _ if self.root && (work == Work::Read || user == User::Root) => always(true, "root-directory"),
            _ => always(false, "files"),
        }
    }

    fn allows_request(&self, request: &Request) -> (bool, String) {
        let Request { method, host, port, path } = request;
        if self.net.is_empty() {
            return (false, "net".to_owned());
        }
        if host.parse::<IpAddr>().is_ok() || !host::is_open(host) {
            return (false, "never-open".to_owned());
        }
        let labels: Vec<&str> = host.rsplit('.').collect();
        if let Some(rule) = self.asked(|when| matches!(when, AskWhen::Net { host } if host.matches(&labels)))
        {
            return (false, rule);
        }
        let allows = |rule: &crate::NetRule| {
            rule.host.matches(&labels)
                && rule.ports.contains(port)
                && rule.methods.as_ref().is_none_or(|methods| methods.contains(method))
                && rule.paths.as_ref().is_none_or(|paths| paths.iter().any(|pattern| pattern.matches(path)))
        };
        match self.net.iter().enumerate().find(|(_, rule)| allows(rule)) {
            Some((place, rule)) => (true, rule.rule(place)),
            None => (false, "net".to_owned()),
        }
    }

    /// The question to a person that comes first, if there is one.
    fn asked(&self, asks: impl Fn(&AskWhen) -> bool) -> Option<String> {
        let mut asked = self.ask.iter().enumerate().filter(|(_, ask)| asks(&ask.when));
        asked.next().map(|(place, ask)| ask.rule(place))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Read,
    Write,
}
