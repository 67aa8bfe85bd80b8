//! `casemate policy`, and the reading of policies for the other commands.

use crate::Exit;
use crate::args::{From, Policy as Command};
use crate::output::{self, Form};
use node::PolicySource;
use policy::{Act, Document, Rejected};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

mod import;
mod prove;

/// A longer document is refused by the language anyway; this bounds what is read of one.
const POLICY_BYTES_MAX: u64 = 1 << 20;

pub(crate) fn policy(command: &Command) -> Exit {
    match command {
        Command::Check { policy, json, .. } => check(policy, Form::of(*json)),
        Command::Explain { policy, act, json } => explain(policy, act.as_deref(), Form::of(*json)),
        Command::Diff { old, new, json } => prove::diff(old, new, Form::of(*json)),
        Command::Prove { policy, question, other, json } => {
            prove::prove(policy, question, other.as_deref(), Form::of(*json))
        }
        Command::Schema => {
            output::print(&format!("{:#}", ::policy::schema()));
            Exit::Ok
        }
        Command::Import { from: From::ClaudeCode, file, json } => import::claude_code(file, Form::of(*json)),
    }
}

fn document(word: &OsStr, form: Form) -> Result<(Document, String), Exit> {
    let (source, _) = source(word, form)?;
    let document =
        Document::parse(&source.text, &source.origin, &source).map_err(|rejected| reject(form, &rejected))?;
    Ok((document, source.origin))
}

fn check(word: &OsStr, form: Form) -> Exit {
    let (document, origin) = match document(word, form) {
        Ok(read) => read,
        Err(exit) => return exit,
    };
    show(form, &document, &origin);
    match document.unenforced().is_empty() {
        true => Exit::Ok,
        false => Exit::NotSound,
    }
}

fn explain(word: &OsStr, act: Option<&str>, form: Form) -> Exit {
    let (document, origin) = match document(word, form) {
        Ok(read) => read,
        Err(exit) => return exit,
    };
    let Some(act) = act else {
        show(form, &document, &origin);
        return Exit::Ok;
    };
    let act = match Act::parse(act) {
        Ok(act) => act,
        Err(error) => return output::failure(form, &error.to_string(), Some(error.mend()), Exit::Usage),
    };
    let answer = document.answer(&act);
    match form {
        Form::Json => output::print(&answer.to_json().to_string()),
        Form::Text => {
            let verdict = if answer.allowed { "allowed" } else { "denied" };
            output::print(&format!("{verdict} by the rule `{}`: {}", answer.rule, answer.asked));
            if let Some(nearest) = &answer.nearest_allowed {
                output::print(&format!("  nearest that is allowed: {nearest}"));
            }
            output::print(&format!("  what would change the answer: {}", answer.how_to_ask));
        }
    }
    if answer.allowed { Exit::Ok } else { Exit::Denied }
}

/// A shipped policy by its name, or a file; and the directory that its relative paths start from.
pub(crate) fn source(word: &OsStr, form: Form) -> Result<(PolicySource, PathBuf), Exit> {
    if let Some(text) = word.to_str().and_then(::policy::shipped) {
        let origin = format!("shipped:{}", word.to_string_lossy());
        let directory = PathBuf::from("/");
        return Ok((PolicySource { text: text.into(), origin, directory: directory.clone() }, directory));
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
    Ok((PolicySource { text, origin: shown, directory: base.clone() }, base))
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

fn show(form: Form, document: &Document, origin: &str) {
    let (lines, unenforced) = (document.explain(), document.unenforced());
    match form {
        Form::Json => {
            let rules: Vec<_> = lines
                .iter()
                .map(|line| serde_json::json!({"rule": line.rule, "becomes": line.becomes}))
                .collect();
            let value = serde_json::json!({
                "policy": document.name, "origin": origin, "hash": document.hash,
                "required": document.walls(), "landlock": document.landlock_min, "lease": document.lease,
                "rules": rules, "unenforced": unenforced,
            });
            output::print(&value.to_string());
        }
        Form::Text => {
            output::print(&format!("{origin}: policy `{}` is sound\n{}", document.name, document.hash));
            for line in lines {
                output::print(&format!("  {line}"));
            }
            for rule in unenforced {
                output::print(&format!("{origin}:{}: {}\n  help: {}", rule.line, rule.message, rule.help));
            }
        }
    }
}
