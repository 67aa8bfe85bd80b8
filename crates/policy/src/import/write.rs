//! Writes the policy.

use super::hosts::Extent;
use super::{Imported, Left, Settings, toml};
use crate::zones::check_host_path;
use std::fmt::Write;

/// Where the project lies inside.
const PROJECT: &str = "/work";

const HEAD: &str = "\
# From the settings of Claude Code. What they ask a person about by default is denied here.
# It is never wider than they are; read what `casemate policy import` says it left out.

version = 1
name    = \"imported\"
about   = \"what the settings of Claude Code allow, or less\"
";

pub(super) fn policy(settings: Settings) -> Imported {
    let mut left = settings.left;
    let mut text = String::from(HEAD);
    let allow_all = settings.commands.allow_all();
    let (tools, not_carried) = settings.commands.tools();
    tell(&mut left, not_carried);
    let (hosts, not_carried) = settings.hosts.open();
    tell(&mut left, not_carried);
    let _ = match () {
        () if !tools.is_empty() || allow_all => Ok(()),
        () => writeln!(
            text,
            "\n# No command is allowed.\ncedar = \"\"\"\nforbid (principal, action == Action::\"exec\", resource);\n\"\"\""
        ),
    };
    directories(settings.denies_reading, &settings.directories, &mut text, &mut left);
    for open in &hosts {
        let extent = match open.extent {
            Extent::Fetch => "methods = [\"GET\"]",
            Extent::Reach => "ports   = [80, 443]",
        };
        let _ = writeln!(text, "\n[[net.allow]]\nhost    = {}\n{extent}", toml(&open.host));
    }
    // With every command allowed there are no tools, and so nobody is asked about one.
    for (name, called) in tools.iter().filter(|_| !allow_all) {
        let args: Vec<String> = called.args.iter().map(|words| list(words)).collect();
        let program = toml(&format!("/usr/bin/{name}"));
        let _ = writeln!(
            text,
            "\n[[tools]]\nname    = {}\nprogram = {program}\nargs    = [{}]",
            toml(name),
            args.join(", ")
        );
    }
    for (name, words) in
        tools.iter().flat_map(|(name, called)| called.asks.iter().map(move |words| (name, words)))
    {
        let when = std::iter::once(name).chain(words).map(String::as_str).collect::<Vec<_>>().join(" ");
        let _ = writeln!(text, "\n[[ask]]\nwhen = {}", toml(&format!("tool {when}")));
    }
    for open in hosts.iter().filter(|open| open.asks) {
        let _ = writeln!(text, "\n[[ask]]\nwhen = {}", toml(&format!("net {}", open.host)));
    }
    Imported { policy: text, left }
}

/// What is about commands and hosts is told once.
fn tell(left: &mut Vec<Left>, more: Vec<Left>) {
    for one in more {
        if !left.iter().any(|told| told.what == one.what) {
            left.push(one);
        }
    }
}

fn list(words: &[String]) -> String {
    format!("[{}]", words.iter().map(|word| toml(word)).collect::<Vec<_>>().join(", "))
}

/// The project and the directories beside it, to be read: what the settings let be read without a question.
fn directories(denies_reading: bool, directories: &[String], text: &mut String, left: &mut Vec<Left>) {
    if denies_reading {
        for directory in directories {
            let why = "some files may not be read, and a zone shows a whole directory".to_owned();
            left.push(Left { what: model::quote(directory), why });
        }
        return;
    }
    let _ = writeln!(
        text,
        "\n# The project: put this policy beside it.\n[[files]]\nat     = \"{PROJECT}\"\naccess = \"read\"\nfrom   = \".\""
    );
    for (place, directory) in directories.iter().enumerate() {
        match check_host_path(directory) {
            Ok(()) if place < 32 => {
                let from = toml(directory);
                let _ = writeln!(
                    text,
                    "\n[[files]]\nat     = \"/more/{}\"\naccess = \"read\"\nfrom   = {from}",
                    place + 1
                );
            }
            Ok(()) => {
                left.push(Left { what: model::quote(directory), why: "it is one of more than 32".to_owned() })
            }
            Err(error) => left.push(Left { what: model::quote(directory), why: error.to_string() }),
        }
    }
}
