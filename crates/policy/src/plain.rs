//! The plain reading of a document: what its rules allow, straight from the words. The engine decides for real; this is
//! what examples are checked by, and what the engine is compared with.

use crate::form::{AskWhen, Document, Tool};
use crate::zones::{Access, beneath};
use crate::{Act, Request, User, host};
use std::net::IpAddr;

/// The rule that allows a command while there are no rules about tools.
pub(crate) const EXEC_RULE: &str = "exec (no [[tools]] rule)";
/// The rule that lets a file of the sandbox's own system be read.
const SYSTEM_RULE: &str = "files (the system, read-only)";
/// The rule that gives a sandbox its home and `/tmp`.
const OWN_RULE: &str = "files (its own home and /tmp)";
const OWN: &[&str] = &["/home/user", "/tmp"];

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
            Act::Exec { argv, .. } => self.allows_exec(argv),
            Act::Read { path, .. } => self.allows_file(path, Work::Read),
            Act::Write { path, .. } => self.allows_file(path, Work::Write),
            // Without tools a call of one is a command like any other: so a document with tools lies within one without.
            Act::Tool { name, args } => match &self.tools {
                None => (true, EXEC_RULE.to_owned()),
                Some(tools) => self.allows_call(tools.iter().find(|tool| tool.name == *name), args),
            },
            Act::Request(request) => self.allows_request(request),
            Act::Use { limit, amount } => {
                let most = limit.of(&self.limits);
                (most.is_none_or(|most| *amount <= most), format!("compute.{}", limit.name()))
            }
        }
    }

    fn allows_exec(&self, argv: &[Vec<u8>]) -> (bool, String) {
        let Some(tools) = &self.tools else { return (true, EXEC_RULE.to_owned()) };
        let Some((program, args)) = argv.split_first() else { return (false, "request".to_owned()) };
        self.allows_call(tools.iter().find(|tool| *program == tool.program.as_bytes()), args)
    }

    fn allows_call(&self, tool: Option<&Tool>, args: &[Vec<u8>]) -> (bool, String) {
        let Some(tool) = tool else { return (false, "tools".to_owned()) };
        let fits = |list: &Vec<crate::Pattern>| list.iter().any(|pattern| pattern.matches(args));
        if !tool.args.as_ref().is_none_or(fits) {
            return (false, tool.rule());
        }
        let asks = |when: &AskWhen| matches!(when, AskWhen::Tool { name, args: pattern } if *name == tool.name && pattern.matches(args));
        self.unless_asked(asks, tool.rule())
    }

    fn allows_file(&self, path: &[u8], work: Work) -> (bool, String) {
        let path = String::from_utf8_lossy(path);
        if let Some((place, zone)) = self.files.iter().enumerate().find(|(_, zone)| beneath(&path, zone.at()))
        {
            let is_read_only = matches!(zone.access(), Access::Read { .. });
            return (work == Work::Read || !is_read_only, zone.rule(place));
        }
        if OWN.iter().any(|tree| beneath(&path, tree)) {
            return (true, OWN_RULE.to_owned());
        }
        let is_system = path == "/" || path == "/home" || crate::zones::is_system(&path);
        match is_system {
            true => (work == Work::Read, SYSTEM_RULE.to_owned()),
            false => (false, "files".to_owned()),
        }
    }

    fn allows_request(&self, request: &Request) -> (bool, String) {
        let Request { method, host, port, path } = request;
        if host.parse::<IpAddr>().is_ok() || !host::is_open(host) {
            return (false, "net".to_owned());
        }
        let labels: Vec<&str> = host.rsplit('.').collect();
        let allows = |rule: &crate::NetRule| {
            rule.host.matches(&labels)
                && rule.ports.contains(port)
                && rule.methods.as_ref().is_none_or(|methods| methods.contains(method))
                && rule.paths.as_ref().is_none_or(|paths| paths.iter().any(|pattern| pattern.matches(path)))
        };
        let Some((place, rule)) = self.net.iter().enumerate().find(|(_, rule)| allows(rule)) else {
            return (false, "net".to_owned());
        };
        let asks = |when: &AskWhen| matches!(when, AskWhen::Net { host } if host.matches(&labels));
        self.unless_asked(asks, rule.rule(place))
    }

    /// Allowed by `rule`, unless a person is asked.
    fn unless_asked(&self, asks: impl Fn(&AskWhen) -> bool, rule: String) -> (bool, String) {
        match self.ask.iter().enumerate().find(|(_, ask)| asks(&ask.when)) {
            Some((place, ask)) => (false, ask.rule(place)),
            None => (true, rule),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Read,
    Write,
}
