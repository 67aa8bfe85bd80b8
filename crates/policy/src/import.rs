//! Policies from the settings of other programs: never wider than they are.
//!
//! What cannot be carried is told. A rule that denies or asks is kept, or what it narrows is not carried; where the two can
//! only perhaps meet, they are taken to meet.

use crate::form::Document;
use crate::problem::{Rejected, Report, excerpt};
use crate::reading::{Kind, Table, Value};
use model::quote;
use std::fmt::Write;

mod commands;
mod hosts;
mod write;

use commands::Commands;
use hosts::Hosts;

/// So many bytes may settings have.
pub const SETTINGS_BYTES_MAX: usize = 1 << 20;

/// A policy from settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The policy, as TOML.
    pub policy: String,
    /// What could not be carried, in the order of the settings.
    pub left: Vec<Left>,
}

/// Something that could not be carried.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Left {
    /// What it is, as the settings write it.
    pub what: String,
    /// Why not.
    pub why: String,
}

/// What a rule of the settings says about what it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Allow,
    Ask,
    Deny,
}

/// Everything that is read of the settings.
#[derive(Default)]
struct Settings {
    commands: Commands,
    hosts: Hosts,
    /// Directories beside the project's own.
    directories: Vec<String>,
    /// Whether some file may not be read.
    denies_reading: bool,
    left: Vec<Left>,
}

/// The tools that rules are about here.
const KNOWN: [&str; 11] = [
    "Bash",
    "WebFetch",
    "Read",
    "Grep",
    "Glob",
    "LS",
    "NotebookRead",
    "Edit",
    "Write",
    "MultiEdit",
    "NotebookEdit",
];

impl Settings {
    /// Something denies, and which acts is not known.
    fn deny_all(&mut self, what: &str, why: &str) {
        self.commands.add(None, Says::Deny, what);
        self.hosts.add(None, Says::Deny, what);
        self.denies_reading = true;
        self.leave(what, format!("{why}: so nothing of what is allowed is carried"));
    }

    fn leave(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.left.push(Left { what: quote(what.into()), why: why.into() });
    }
}

/// Makes a policy of Claude Code's settings (`settings.json`). `origin` is what messages call them.
///
/// # Errors
/// Settings that cannot be read whole: what is not understood could be what denies.
pub fn import_claude_code(source: &[u8], origin: &str) -> Result<Imported, Rejected> {
    let mut report = Report::default();
    let settings = read(source, &mut report);
    let Some(settings) = settings.filter(|_| report.is_empty()) else {
        return Err(report.rejected(&source[..source.len().min(SETTINGS_BYTES_MAX)], origin));
    };
    let imported = write::policy(settings);
    // What is written has to be a policy: if it is none, nothing is given.
    Document::parse(imported.policy.as_bytes(), origin, &crate::NoLibrary)?;
    Ok(imported)
}

fn read(source: &[u8], report: &mut Report) -> Option<Settings> {
    if source.len() > SETTINGS_BYTES_MAX {
        let message =
            format!("the settings have {} bytes, expected at most {SETTINGS_BYTES_MAX}", source.len());
        report.refuse(0..0, message, "name the settings file");
        return None;
    }
    let Ok(text) = std::str::from_utf8(source) else {
        report.refuse(0..0, "the settings are not UTF-8", "save the file as UTF-8");
        return None;
    };
    let root = crate::parse::json(text, report)?;
    let mut settings = Settings::default();
    for (name, value) in &root.0 {
        match name.text.as_str() {
            "permissions" => permissions(value, &mut settings, report),
            "sandbox" => sandbox(value, &mut settings, report),
            "$schema" => {}
            // Programs that may deny what rules allow, and rules of another place in whose stead these are not used.
            "hooks" if value.as_table().is_none_or(|table| !table.0.is_empty()) => {
                settings.deny_all("hooks", "they may deny anything");
            }
            key @ "allowManagedPermissionRulesOnly" if value.as_bool() != Some(false) => {
                settings.deny_all(key, "these rules are not used then");
            }
            key => settings.leave(key, "it is not about what may be done, or has no rule here"),
        }
    }
    Some(settings)
}

fn permissions(value: &Value, settings: &mut Settings, report: &mut Report) {
    let Some(table) = table(value, "permissions", report) else { return };
    // What denies comes first, so that it is known when what allows is looked at.
    for (key, says) in [("deny", Says::Deny), ("ask", Says::Ask), ("allow", Says::Allow)] {
        for text in table.get(key).map(|value| texts(value, key, report)).unwrap_or_default() {
            rule(text, says, settings);
        }
    }
    for (name, value) in &table.0 {
        match name.text.as_str() {
            "allow" | "deny" | "ask" => {}
            "additionalDirectories" => {
                settings.directories =
                    texts(value, "additionalDirectories", report).into_iter().map(str::to_owned).collect();
            }
            "defaultMode" if value.as_str() == Some("default") => {}
            "defaultMode" if value.as_str() == Some("plan") => {
                settings.deny_all("defaultMode", "nothing runs in this mode");
            }
            "defaultMode" => settings.leave("defaultMode", "what no rule allows is denied here"),
            "disableBypassPermissionsMode" => {}
            key => settings.leave(format!("permissions.{key}"), "it has no rule here"),
        }
    }
}

/// One rule: `Tool` or `Tool(what)`.
fn rule(text: &str, says: Says, settings: &mut Settings) {
    let (tool, what) = match text.split_once('(') {
        Some((tool, what)) => match what.strip_suffix(')') {
            Some(what) => (tool, Some(what)),
            None => (text, None),
        },
        None => (text, None),
    };
    // Whoever wrote one of these means the tool, in a form that is not looked into here.
    let is_plain = tool.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let is_like_one = KNOWN.iter().any(|known| known.eq_ignore_ascii_case(tool) && *known != tool);
    match tool {
        _ if says != Says::Allow && (!is_plain || is_like_one) => {
            settings.deny_all(text, "it may stand for any tool");
        }
        "Bash" => settings.commands.add(what.filter(|what| *what != "*"), says, text),
        "WebFetch" => settings.hosts.add(what.filter(|what| *what != "*"), says, text),
        "Read" | "Grep" | "Glob" | "LS" | "NotebookRead" if says == Says::Deny || says == Says::Ask => {
            settings.denies_reading = true;
            settings.leave(text, "a zone shows a whole directory: so none is shown at all");
        }
        "Read" | "Edit" | "Write" | "MultiEdit" | "NotebookEdit" => settings.leave(
            text,
            match says {
                Says::Allow => {
                    "zones show directories at places inside: add `[[files]]` for the one that is meant"
                }
                Says::Ask | Says::Deny => "no zone is written to anyway",
            },
        ),
        name if says == Says::Allow => {
            let what = if name.starts_with("mcp__") { "a server of tools" } else { "this tool" };
            settings
                .leave(text, format!("there is no rule for {what} here, and what no rule allows is denied"));
        }
        _ => settings.leave(text, "there is no rule that would allow it here"),
    }
}

fn sandbox(value: &Value, settings: &mut Settings, report: &mut Report) {
    let Some(table) = table(value, "sandbox", report) else { return };
    let is_enabled = table.get("enabled").and_then(Value::as_bool) == Some(true);
    for (name, value) in &table.0 {
        match name.text.as_str() {
            "enabled" => {}
            "network" => {
                if let Some(network) = self::table(value, "sandbox.network", report) {
                    self::network(network, is_enabled, settings, report);
                }
            }
            "filesystem" => {
                let denies = value.as_table().is_none_or(|table| table.get("denyRead").is_some());
                settings.denies_reading |= denies;
                settings.leave(
                    "sandbox.filesystem",
                    "zones show whole directories: add `[[files]]` for those that are meant",
                );
            }
            "credentials" => {
                settings.denies_reading = true;
                settings
                    .leave("sandbox.credentials", "a zone shows a whole directory: so none is shown at all");
            }
            key => {
                settings.leave(format!("sandbox.{key}"), "every command runs inside the walls of this policy")
            }
        }
    }
}

fn network(table: &Table, is_enabled: bool, settings: &mut Settings, report: &mut Report) {
    for domain in
        table.get("deniedDomains").map(|value| texts(value, "deniedDomains", report)).unwrap_or_default()
    {
        settings.hosts.deny(domain);
    }
    for domain in
        table.get("allowedDomains").map(|value| texts(value, "allowedDomains", report)).unwrap_or_default()
    {
        match is_enabled {
            true => settings.hosts.reach(domain),
            false => settings
                .leave(format!("sandbox.network.allowedDomains: {domain}"), "the sandbox is not enabled"),
        }
    }
    for (name, _) in
        table.0.iter().filter(|(name, _)| !matches!(name.text.as_str(), "allowedDomains" | "deniedDomains"))
    {
        settings.leave(format!("sandbox.network.{}", name.text), "it has no rule here");
    }
}

fn table<'v>(value: &'v Value, key: &str, report: &mut Report) -> Option<&'v Table> {
    let table = value.as_table();
    if table.is_none() {
        report.unlike(value, key, "an object", "\"permissions\": {}");
    }
    table
}

/// The texts of a list; anything else in it could be what denies, and is refused.
fn texts<'v>(value: &'v Value, key: &str, report: &mut Report) -> Vec<&'v str> {
    let Kind::List(list) = &value.kind else {
        report.unlike(value, key, "a list of strings", "[\"Bash(git status)\"]");
        return Vec::new();
    };
    let text = |value: &'v Value| {
        let text = value.text();
        if text.is_none() {
            report.unlike(value, key, "a string", "\"Bash(git status)\"");
        }
        text
    };
    list.iter().filter_map(text).collect()
}

/// A string as TOML writes it.
fn toml(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if crate::problem::is_plain(c) => out.push(c),
            c => {
                let _ = write!(out, "\\U{:08X}", u32::from(c));
            }
        }
    }
    out.push('"');
    out
}

/// A rule as messages repeat it.
fn shown(text: &str) -> String {
    excerpt(text)
}
