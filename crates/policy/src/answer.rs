//! What a document says to an act, and what would change the answer.

use crate::act::Limit;
use crate::compute::show_millis;
use crate::engine::Engine;
use crate::form::{AskWhen, Document};
use crate::plain::EXEC_RULE;
use crate::rule;
use crate::zones::Access;
use crate::{Act, Request, User};
use serde_json::{Value, json};

/// So many rules a denial names at most.
const NAMED_MAX: usize = 8;

/// What a document says to an act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether it is allowed.
    pub allowed: bool,
    /// What kind of act it is: `files`, `exec`, `tools`, `net`, `root`, `ask`, `limit.memory`.
    pub code: String,
    /// The rule that says so.
    pub rule: String,
    /// The act.
    pub asked: String,
    /// Of a denied act: the nearest that is allowed; none where nothing like it is.
    pub nearest_allowed: Option<String>,
    /// What would change the answer.
    pub how_to_ask: String,
}

impl Answer {
    /// As a program reads it: a denial has the shape of all denials.
    pub fn to_json(&self) -> Value {
        let Answer { allowed, code, rule, asked, nearest_allowed, how_to_ask } = self;
        match allowed {
            true => json!({"allowed": true, "rule": rule, "asked": asked, "changed_by": how_to_ask}),
            false => json!({
                "allowed": false, "code": code, "rule": rule, "asked": asked,
                "nearest_allowed": nearest_allowed, "how_to_ask": how_to_ask,
            }),
        }
    }
}

impl Document {
    /// What it says to an act.
    pub fn answer(&self, act: &Act) -> Answer {
        let (allowed, rule) = self.says(act);
        let asked = act.to_string();
        if allowed {
            let how_to_ask = self.changed_by(act, &rule);
            return Answer {
                allowed,
                code: code(act, &rule),
                rule,
                asked,
                nearest_allowed: None,
                how_to_ask,
            };
        }
        let (nearest_allowed, how_to_ask) = self.nearest(act, &rule);
        Answer { allowed, code: code(act, &rule), rule, asked, nearest_allowed, how_to_ask }
    }

    /// Whether an act is allowed, and the rule that says so. What a `cedar` block forbids only the engine knows.
    fn says(&self, act: &Act) -> (bool, String) {
        match self.forbids.is_empty() {
            true => self.allows_plainly(act),
            false => Engine::new(self).allows(act),
        }
    }

    /// What would have an allowed act denied.
    fn changed_by(&self, act: &Act, rule: &str) -> String {
        match act {
            Act::Use { limit, .. } => format!("a smaller `{}` under [compute]", limit.name()),
            Act::Root => "`root = false`".to_owned(),
            _ if rule == EXEC_RULE => "[[tools]] rules: what none of them names is denied".to_owned(),
            _ if is_every_sandboxes(rule) => "nothing in a policy: every sandbox has it".to_owned(),
            _ => format!("a policy without the rule `{rule}`"),
        }
    }

    /// Of a denied act: the nearest that is allowed, and how to come to have it allowed.
    fn nearest(&self, act: &Act, rule: &str) -> (Option<String>, String) {
        match act {
            _ if self.forbids.iter().any(|forbid| forbid.rule == rule) => {
                (None, format!("change what `{rule}` of the `cedar` block forbids"))
            }
            _ if rule == "error" => {
                (None, "mend the policy of the `cedar` block that cannot be worked out for it".to_owned())
            }
            _ if rule.starts_with("ask[") => {
                let asked = self.ask.iter().enumerate().find(|(place, ask)| ask.rule(*place) == rule);
                let within = asked.map_or(0, |(_, ask)| ask.within_ms);
                (None, format!("a person has to say yes within {}; silence denies", show_millis(within)))
            }
            Act::Root => (Some("to be the ordinary user".to_owned()), ROOT.to_owned()),
            _ if rule == "root" => (self.as_user(act), ROOT.to_owned()),
            Act::Read { path, .. } | Act::Write { path, .. } => self.nearest_file(act, path, rule),
            Act::Exec { argv, .. } => self.nearest_tool(argv.first().map_or(&[][..], Vec::as_slice)),
            Act::Tool { name, .. } => self.nearest_tool(name.as_bytes()),
            Act::Request(request) => self.nearest_request(request),
            Act::Use { limit, amount } => {
                let most =
                    limit.of(&self.limits).map(|most| format!("use {} {}", limit.name(), limit.show(most)));
                let written = match limit {
                    Limit::Memory | Limit::Disk | Limit::Wall => format!("\"{}\"", limit.show(*amount)),
                    _ => limit.show(*amount),
                };
                (most, format!("write `{} = {written}` under [compute]", limit.name()))
            }
        }
    }

    /// The same act of the ordinary user, if that is allowed.
    fn as_user(&self, act: &Act) -> Option<String> {
        let mut act = act.clone();
        match &mut act {
            Act::Exec { user, cwd, .. } => {
                if *cwd == crate::act::home(User::Root) {
                    *cwd = crate::act::home(User::User).to_vec();
                }
                *user = User::User;
            }
            Act::Read { user, .. } | Act::Write { user, .. } => *user = User::User,
            _ => return None,
        }
        self.says(&act).0.then(|| act.to_string())
    }

    fn nearest_file(&self, act: &Act, path: &[u8], rule: &str) -> (Option<String>, String) {
        let (verb, access) = match act {
            Act::Write { .. } => ("write", "write"),
            _ => ("read", "read"),
        };
        let is_open = |access: &Access| verb == "read" || !matches!(access, Access::Read { .. });
        let mut places: Vec<&str> = self
            .files
            .iter()
            .filter(|zone| is_open(zone.access()))
            .map(|zone| zone.at())
            .take(NAMED_MAX)
            .collect();
        places.push("/home/user");
        places.push("/tmp");
        let how = match rule {
            // Zones do not overlap: what lies in one is that one's to allow.
            zone if zone.starts_with("files[") => {
                format!("make the zone of `{zone}` one with `access = \"write\"`")
            }
            "system" => "nothing in a policy: the system is read-only".to_owned(),
            "proc" => "nothing in a policy: that entry of /proc is masked".to_owned(),
            _ => {
                let place = model::quote(path);
                format!("add `[[files]]` with an `at` around `{place}` and `access = \"{access}\"`")
            }
        };
        (Some(format!("{verb} beneath {}", places.join(", "))), how)
    }

    fn nearest_tool(&self, program: &[u8]) -> (Option<String>, String) {
        let tools = self.tools.as_deref().unwrap_or_default();
        let is_meant = |tool: &&crate::Tool| {
            tool.name.as_bytes() == program
                || tool.program.as_bytes() == program
                || tool.program.as_bytes().rsplit(|b| *b == b'/').next() == Some(program)
        };
        match tools.iter().find(is_meant) {
            Some(tool) => {
                (Some(tool.to_string()), format!("add the arguments to `args` of the tool `{}`", tool.name))
            }
            None => {
                let names: Vec<&str> =
                    tools.iter().map(|tool| tool.program.as_str()).take(NAMED_MAX).collect();
                let how = format!("add `[[tools]]` with the program of `{}`", model::quote(program));
                (Some(names.join(", ")).filter(|names| !names.is_empty()), how)
            }
        }
    }

    fn nearest_request(&self, request: &Request) -> (Option<String>, String) {
        let Request { method, host, port, .. } = request;
        if host.parse::<std::net::IpAddr>().is_ok() || !crate::host::is_open(host) {
            return (
                None,
                "no policy opens an address, this machine or its own network by a rule for hosts".to_owned(),
            );
        }
        let labels: Vec<&str> = host.rsplit('.').collect();
        let same: Vec<String> = self
            .net
            .iter()
            .filter(|rule| rule.host.matches(&labels))
            .take(NAMED_MAX)
            .map(ToString::to_string)
            .collect();
        let hosts: Vec<String> = self.net.iter().take(NAMED_MAX).map(|rule| rule::host(&rule.host)).collect();
        let nearest = match (same.is_empty(), hosts.is_empty()) {
            (false, _) => Some(same.join("; ")),
            (true, false) => Some(format!("requests to {}", hosts.join(", "))),
            (true, true) => None,
        };
        (
            nearest,
            format!(
                "add `[[net.allow]]` with `host = \"{host}\"`, `ports = [{port}]`, `methods = [\"{method}\"]`"
            ),
        )
    }
}

/// Whether a rule is one that every sandbox has.
fn is_every_sandboxes(rule: &str) -> bool {
    matches!(rule, "devices" | "home" | "proc" | "system" | "tmp")
}

const ROOT: &str = "write `root = true`";

fn code(act: &Act, rule: &str) -> String {
    match act {
        _ if rule.starts_with("ask[") => "ask".to_owned(),
        _ if rule == "root" => rule.to_owned(),
        Act::Root => "root".to_owned(),
        Act::Exec { .. } => "exec".to_owned(),
        Act::Tool { .. } => "tools".to_owned(),
        Act::Read { .. } | Act::Write { .. } => "files".to_owned(),
        Act::Request(_) => "net".to_owned(),
        Act::Use { limit, .. } => format!("limit.{}", limit.name()),
    }
}

impl Document {
    /// What the parts of it turn into that a [`crate::Policy`] does not have, one line for each.
    pub(crate) fn explain_more(&self) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        for (place, rule) in self.net.iter().enumerate() {
            lines.push((rule.rule(place), format!("the gateway lets through: {rule}")));
        }
        for secret in &self.secrets {
            let (name, from) = (&secret.name, &secret.from_env);
            lines.push((
                format!("secrets {name}"),
                format!("the gateway puts ${from} into the header {}", secret.header.0),
            ));
        }
        for tool in self.tools.iter().flatten() {
            lines.push((tool.rule(), format!("may be called: {tool}")));
        }
        if let Some(requests) = self.budget.requests {
            lines.push((
                format!("budget.requests = {requests}"),
                "requests of it and its children together".to_owned(),
            ));
        }
        if let Some(bytes) = self.budget.bytes_out {
            let bytes = crate::compute::show_bytes(bytes);
            lines.push((
                format!("budget.bytes_out = {bytes}"),
                "bytes out of it and its children together".to_owned(),
            ));
        }
        if self.children_max > 0 {
            let rule = format!("children.most = {}", self.children_max);
            lines.push((rule, "sandboxes that it may make, each no wider than itself".to_owned()));
        }
        for (place, ask) in self.ask.iter().enumerate() {
            let what = match &ask.when {
                AskWhen::Tool { .. } => "such a call",
                AskWhen::Net { .. } => "such a request",
            };
            let within = show_millis(ask.within_ms);
            lines.push((ask.rule(place), format!("{what} waits for a person, for {within}; silence denies")));
        }
        for forbid in &self.forbids {
            lines.push((forbid.rule.clone(), "forbids what the rules above allow".to_owned()));
        }
        lines
    }
}
