//! `casemate policy`, and the reading of policies for the other commands.

use crate::Exit;
use crate::args::Policy as Command;
use crate::output::{self, Form};
use node::PolicySource;
use policy::{Policy, Rejected};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A longer document is refused by the language anyway; this bounds what is read of one.
const POLICY_BYTES_MAX: u64 = 1 << 20;

pub(crate) fn policy(command: &Command) -> Exit {
    let Command::Check { policy, json, .. } = command;
    let form = Form::of(*json);
    let (source, _) = match source(policy, form) {
        Ok(read) => read,
        Err(exit) => return exit,
    };
    match Policy::parse(&source.text, &source.origin) {
        Ok(policy) => {
            show(form, &policy, &source.origin);
            Exit::Ok
        }
        Err(rejected) => reject(form, &rejected),
    }
}

/// A shipped policy by its name, or a file; and the directory that its relative paths start from.
pub(crate) fn source(word: &OsStr, form: Form) -> Result<(PolicySource, PathBuf), Exit> {
    if let Some(text) = word.to_str().and_then(::policy::shipped) {
        let origin = format!("shipped:{}", word.to_string_lossy());
        return Ok((PolicySource { text: text.into(), origin }, PathBuf::from("/")));
    }
    let shown = model::quote(word.as_bytes());
    let read = || {
        let path = Path::new(word).canonicalize()?;
        let mut text = Vec::new();
        std::fs::File::open(&path)?.take(POLICY_BYTES_MAX).read_to_end(&mut text)?;
        Ok((path, text))
    };
    let (path, text) = read().map_err(|error: std::io::Error| {
        let names: Vec<&str> = ::policy::SHIPPED.iter().map(|(name, _)| *name).collect();
        let help = format!("name a policy file, or a shipped policy: {}", names.join(", "));
        output::failure(form, &format!("policy `{shown}`: {error}"), Some(&help), Exit::Policy)
    })?;
    let base = path.parent().unwrap_or(Path::new("/")).to_owned();
    Ok((PolicySource { text, origin: shown }, base))
}

/// Shows all that is wrong with a document.
pub(crate) fn reject(form: Form, rejected: &Rejected) -> Exit {
    match form {
        Form::Json => {
            let value = serde_json::json!({
                "error": rejected.to_string(),
                "problems": rejected.problems(),
                "exit": Exit::Policy as u8,
            });
            output::say(&value.to_string());
        }
        Form::Text => output::say(rejected.plain().trim_end()),
    }
    Exit::Policy
}

fn show(form: Form, policy: &Policy, origin: &str) {
    let lines = policy.explain();
    match form {
        Form::Json => {
            let rules: Vec<_> = lines
                .iter()
                .map(|line| serde_json::json!({"rule": line.rule.to_string(), "becomes": line.becomes.to_string()}))
                .collect();
            let value = serde_json::json!({
                "policy": policy.name(), "origin": origin, "hash": policy.hash(),
                "required": policy.walls(), "landlock": policy.landlock_min(), "lease": policy.lease(),
                "rules": rules,
            });
            output::print(&value.to_string());
        }
        Form::Text => {
            output::print(&format!("{origin}: policy `{}` is sound\n{}", policy.name(), policy.hash()));
            for line in lines {
                output::print(&format!("  {line}"));
            }
        }
    }
}
