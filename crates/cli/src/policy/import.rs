//! `casemate policy import`.

use crate::Exit;
use crate::output::{self, Form};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub(super) fn claude_code(file: &Path, form: Form) -> Exit {
    let shown = model::quote(file.as_os_str().as_bytes());
    let read = || {
        let mut text = Vec::new();
        std::fs::File::open(file)?.take(policy::SETTINGS_BYTES_MAX as u64 + 1).read_to_end(&mut text)?;
        Ok(text)
    };
    let text = match read() {
        Ok(text) => text,
        Err(error) => {
            let error: std::io::Error = error;
            let help = "name the settings, such as `.claude/settings.json`";
            return output::failure(form, &format!("settings `{shown}`: {error}"), Some(help), Exit::Policy);
        }
    };
    let imported = match policy::import_claude_code(&text, &shown) {
        Ok(imported) => imported,
        Err(rejected) => return super::reject(form, &rejected),
    };
    match form {
        Form::Json => {
            let value = serde_json::json!({"policy": imported.policy, "left": imported.left});
            output::print(&value.to_string());
        }
        Form::Text => {
            output::print(imported.policy.trim_end());
            for left in imported.left {
                output::say(&format!("not carried: {}: {}", left.what, left.why));
            }
        }
    }
    Exit::Ok
}
