//! A record as one line to read. It is made from the stored JSON, field by field, and never trusts one: what is
//! missing or of another kind is left out, and every text passes [`output::neutral`].

use crate::output;
use ledger::Entry;
use model::{Wall, quote, unquote};
use serde_json::Value;

/// Letters of an id that are shown where the whole is not needed.
const SHORT: usize = 8;

/// `SEQ MARK TIME SANDBOX EVENT FIELDS…`; the mark is `+` where a signed checkpoint covers the record, else `?`.
pub(super) fn of(entry: &Entry, record: &Value) -> String {
    let mark = if entry.covered { '+' } else { '?' };
    let time = text(&record["time"]).replace('T', " ");
    let sandbox: String = record["sandbox"].as_str().unwrap_or("-").chars().take(SHORT).collect();
    let event = text(&record["event"]);
    let fields = fields(record);
    let shortened = if record["shortened"].is_string() { " (shortened)" } else { "" };
    let sandbox = output::neutral(&sandbox);
    format!("{:>6} {mark} {time} {sandbox:<SHORT$} {event:<15} {fields}{shortened}", entry.seq)
}

fn fields(record: &Value) -> String {
    let part = |name: &str| text(&record[name]);
    match record["event"].as_str().unwrap_or_default() {
        "policy.load" => format!("{} {} from {}", part("policy"), hash(&record["hash"]), part("origin")),
        "sandbox.create" => format!(
            "{} for key {}, template {}, ends after {} ms{}",
            part("sandbox"),
            part("key"),
            part("template"),
            part("timeout_ms"),
            metadata(record),
        ),
        "sandbox.start" => format!(
            "{} profile {}, policy {}, {} walls required{}",
            part("sandbox"),
            part("profile"),
            hash(&record["policy"]),
            count(&record["required"]),
            listed(", zones: ", &record["zones"]),
        ),
        "sandbox.ready" => ready(record),
        "exec.start" => format!(
            "{}{}: #{} {} (as {} in {})",
            decision(record),
            if record["source"] == "api" { " through the API" } else { "" },
            part("exec"),
            command(&record["argv"]),
            part("user"),
            shell_word(record["cwd"].as_str().unwrap_or_default()),
        ),
        "exec.signal" => format!("#{} signal {}", part("exec"), part("signal")),
        "exec.end" => format!("#{} status {}", part("exec"), part("status")),
        "file" => format!("{} (as {})", file(record), part("user")),
        "sandbox.timeout" => format!("ends after {} ms", part("timeout_ms")),
        "denial" => format!("{}{}: {}", decision(record), by_key(record), part("asked")),
        "limit.hit" => part("limit"),
        "zone.handout" => format!("{} -> {}", part("at"), part("to")),
        "zone.handed_out" => format!(
            "{}: {} files, {} bytes{}",
            part("at"),
            part("files"),
            part("bytes"),
            listed(", left behind: ", &record["refused"]),
        ),
        "draft.open" => format!(
            "{} over {}, {} entries {}",
            part("at"),
            part("from"),
            part("entries"),
            hash(&record["manifest"])
        ),
        "draft.end" => format!(
            "{}: {} paths changed, {}",
            part("at"),
            part("changes"),
            if record["kept"] == true { "kept" } else { "not kept" }
        ),
        "draft.commit" => format!(
            "by uid {}{}: {} paths, {} bytes {}{}{}",
            part("uid"),
            if record["resumed"] == true { ", completes an interrupted one" } else { "" },
            part("changes"),
            part("bytes"),
            hash(&record["digest"]),
            listed(" to ", &record["to"]),
            listed(": ", &record["paths"]),
        ),
        "draft.committed" => match record["applied"] == true {
            true => "applied".to_owned(),
            false => format!("not applied: {}", part("why")),
        },
        "draft.refused" => format!("by uid {}{}", part("uid"), listed(": ", &record["reasons"])),
        "draft.discard" => format!("by uid {}: {} paths", part("uid"), part("changes")),
        "sandbox.end" => {
            format!("{}, {} denials{}", reason(&record["reason"]), part("denials"), usage(&record["usage"]))
        }
        "server.start" => format!("version {} listens on {}", part("version"), part("listen")),
        "server.adopt" => format!("{} sandboxes found and taken over", part("sandboxes")),
        "server.stop" => format!("{} sandboxes live on", part("sandboxes")),
        "stop.all" => format!("{} sandboxes ended", part("sandboxes")),
        "key.create" => format!("{} {}{}", part("key"), part("name"), listed(", roles: ", &record["roles"])),
        "key.revoke" => part("key"),
        "ledger.lost" => format!("{} observations are not on record", part("observations")),
        _ => String::new(),
    }
}

fn metadata(record: &Value) -> String {
    match record["metadata_bytes"].as_u64() {
        None | Some(0) => String::new(),
        Some(bytes) => format!(", {bytes} bytes of metadata {}", hash(&record["metadata"])),
    }
}

fn file(record: &Value) -> String {
    let path = |name: &str| record[name].as_str().map(shell_word);
    let words = [Some(text(&record["op"])), path("path"), path("to")];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn ready(record: &Value) -> String {
    let standing: Vec<&str> =
        record["walls"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let missing: Vec<&str> =
        Wall::ALL.iter().map(|wall| wall.name()).filter(|name| !standing.contains(name)).collect();
    let missing =
        if missing.is_empty() { String::new() } else { format!(", without {}", missing.join(", ")) };
    format!("{} walls stand{missing}; landlock {}", standing.len(), text(&record["landlock"]))
}

fn decision(record: &Value) -> String {
    let decision = &record["decision"];
    format!("{} by {}", text(&decision["verdict"]), text(&decision["rule"]))
}

/// Which key a denial was said to, where one was.
fn by_key(record: &Value) -> String {
    match text(&record["key"]) {
        key if key.is_empty() => key,
        key => format!(" to key {key}"),
    }
}

fn reason(reason: &Value) -> String {
    match reason {
        Value::Object(map) => {
            let parts: Vec<String> =
                map.iter().map(|(key, value)| format!("{}: {}", output::neutral(key), text(value))).collect();
            parts.join(", ")
        }
        other => text(other),
    }
}

fn usage(usage: &Value) -> String {
    let mut line = String::new();
    for (name, unit) in [("wall_ms", "ms"), ("cpu_ms", "ms of cpu"), ("memory_peak_bytes", "bytes of memory")]
    {
        if let Some(number) = usage[name].as_u64() {
            line += &format!(", {number} {unit}");
        }
    }
    line
}

/// Enough of a hash to tell it from others at a glance.
fn hash(value: &Value) -> String {
    text(value).chars().take("sha256:".len() + 12).collect()
}

fn count(value: &Value) -> usize {
    value.as_array().map_or(0, Vec::len)
}

fn listed(intro: &str, value: &Value) -> String {
    let items: Vec<String> = value.as_array().into_iter().flatten().map(text).collect();
    if items.is_empty() { String::new() } else { format!("{intro}{}", items.join("; ")) }
}

/// A text or a number; nothing for anything else.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => output::neutral(text),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

/// A command as a shell would take it.
fn command(argv: &Value) -> String {
    let words: Vec<String> =
        argv.as_array().into_iter().flatten().filter_map(Value::as_str).map(shell_word).collect();
    words.join(" ")
}

/// One word, from the spelling in which records keep bytes. Bytes that cannot be shown stand as `\xNN` in `$'…'`, so
/// that two different words never look the same and a shell that is given the line makes the same bytes of it.
fn shell_word(recorded: &str) -> String {
    let Ok(bytes) = unquote(recorded) else { return format!("`{}`", quote(recorded)) };
    let bare = |b: &u8| b.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(b);
    if !bytes.is_empty() && bytes.iter().all(bare) {
        return recorded.to_owned();
    }
    let quoted = quote(&bytes);
    match std::str::from_utf8(&bytes) {
        // Nothing had to be escaped but backslashes, which single quotes keep.
        Ok(text) if quoted.replace(r"\\", r"\") == text => format!("'{}'", text.replace('\'', r"'\''")),
        _ => format!("$'{}'", quoted.replace('\'', r"\'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_shown_as_a_shell_would_take_it_and_never_speaks_to_the_terminal() {
        for (bytes, shown) in [
            (&b"ls"[..], "ls"),
            (b"", "''"),
            (b"a b", "'a b'"),
            (b"it's", r"'it'\''s'"),
            (br"back\slash", r"'back\slash'"),
            (b"\x1b[2J", r"$'\x1b[2J'"),
            (b"\xff'", r"$'\xff\''"),
            (b"\\\x1b", r"$'\\\x1b'"),
            ("größe".as_bytes(), "'größe'"),
        ] {
            assert_eq!(shell_word(&quote(bytes)), shown);
        }
        assert_eq!(shell_word(r"cut short \x1"), r"`cut short \\x1`");
    }

    #[test]
    fn a_record_of_the_wrong_shape_gives_a_line_and_no_panic() {
        for line in ["{}", r#"{"event":7,"sandbox":[]}"#, r#"{"event":"exec.start","argv":"x","decision":3}"#]
        {
            let entry = Entry { seq: 1, line: line.to_owned(), covered: false };
            let shown = of(&entry, &serde_json::from_str(line).unwrap());
            assert!(shown.starts_with("     1 ? "), "{shown}");
        }
    }
}
