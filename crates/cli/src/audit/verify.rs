//! `casemate audit verify`.

use crate::Exit;
use crate::args::State as StateArgs;
use crate::output::{self, Form};
use ledger::Report;
use model::quote;
use rustix::fs::{Mode, OFlags};
use std::io::{self, Read};
use std::path::Path;

/// A note is a few hundred bytes; a public key is one line.
const NOTE_BYTES_MAX: u64 = 64 << 10;
const KEY: &str = "keys/ledger.pub";

pub(super) fn verify(against: Option<&Path>, save: Option<&Path>, form: Form, state: &StateArgs) -> Exit {
    let note = match against.map(read_note).transpose() {
        Ok(note) => note,
        Err(what) => {
            let help = "name a file that `casemate audit verify --save FILE` wrote";
            return output::failure(form, &what, Some(help), Exit::Usage);
        }
    };
    let directory = match super::directory(state, form) {
        Ok(directory) => directory,
        Err(exit) => return exit,
    };
    let report = match ledger::verify(&directory, note.as_deref()) {
        Ok(report) => report,
        Err(error) => return super::unreadable(form, &error),
    };
    let exit = if report.problems.is_empty() { Exit::Ok } else { Exit::NotSound };
    let key = read(&directory.join(KEY), NOTE_BYTES_MAX).ok();
    let key = key.map(|line| quote(line.trim_ascii_end()));
    match form {
        Form::Json => output::print(&json(&report, key.as_deref(), exit).to_string()),
        Form::Text => tell(&report, key.as_deref()),
    }
    match (save, &report.checkpoint) {
        (Some(path), Some(checkpoint)) if exit == Exit::Ok => keep(path, checkpoint.note(), form),
        (Some(_), _) if exit == Exit::Ok => {
            let help = "a checkpoint is signed at the end of every sandbox: run one";
            output::failure(form, "--save: the log has no checkpoint yet", Some(help), Exit::Usage)
        }
        _ => exit,
    }
}

fn tell(report: &Report, key: Option<&str>) {
    let sound = if report.problems.is_empty() { "is sound" } else { "is NOT sound" };
    let mut lines = vec![format!("the log {sound}: {} records", report.records)];
    lines.push(match report.covered {
        Some(seq) => format!("  covered     up to record {seq}"),
        None => "  covered     nothing".to_owned(),
    });
    lines.push(match report.uncovered {
        0 => "  uncovered   nothing".to_owned(),
        n => format!("  uncovered   {n} records after that: nothing signed vouches for them yet"),
    });
    lines.push(match &report.checkpoint {
        Some(checkpoint) => {
            format!("  checkpoint  over {} records, root {}", checkpoint.size(), checkpoint.root())
        }
        None => "  checkpoint  none".to_owned(),
    });
    if report.torn_bytes > 0 {
        let torn = report.torn_bytes;
        lines.push(format!("  torn        {torn} bytes of a record that was never acknowledged"));
    }
    lines.push(format!("  key         {}", key.unwrap_or("none")));
    lines.extend(
        report.problems.iter().map(|problem| format!("problem: {}", output::neutral(&problem.to_string()))),
    );
    if report.problems.is_empty() && report.checkpoint.is_some() {
        lines.push(
            "Whoever holds the key could rewrite all of it. Save the checkpoint to another machine with --save FILE;\n\
             --against FILE then finds any change to what it covers."
                .to_owned(),
        );
    }
    output::print(&lines.join("\n"));
}

fn json(report: &Report, key: Option<&str>, exit: Exit) -> serde_json::Value {
    let problems: Vec<_> = report
        .problems
        .iter()
        .map(|problem| {
            serde_json::json!({
                "file": problem.file, "offset": problem.offset, "seq": problem.seq,
                "what": output::neutral(&problem.flaw.to_string()),
            })
        })
        .collect();
    let checkpoint = report.checkpoint.as_ref().map(|checkpoint| {
        serde_json::json!({
            "size": checkpoint.size(), "root": checkpoint.root().to_string(), "note": checkpoint.note(),
        })
    });
    serde_json::json!({
        "sound": exit == Exit::Ok, "records": report.records, "covered": report.covered,
        "uncovered": report.uncovered, "torn_bytes": report.torn_bytes, "checkpoint": checkpoint,
        "key": key, "problems": problems, "exit": exit as u8,
    })
}

fn read_note(path: &Path) -> Result<String, String> {
    let shown = quote(path.as_os_str().as_encoded_bytes());
    let bytes = read(path, NOTE_BYTES_MAX).map_err(|error| format!("--against `{shown}`: read: {error}"))?;
    String::from_utf8(bytes).map_err(|_| format!("--against `{shown}`: not a checkpoint: it is not text"))
}

/// Never waits: a pipe in the place of the file has nothing to say.
fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = std::fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn keep(path: &Path, note: &str, form: Form) -> Exit {
    let shown = quote(path.as_os_str().as_encoded_bytes());
    match std::fs::write(path, note) {
        Ok(()) => Exit::Ok,
        Err(error) => {
            let what = format!("--save `{shown}`: write: {error}");
            output::failure(form, &what, Some("name a file that you may write"), Exit::System)
        }
    }
}
