//! What ran in a sandbox of a server, from its record.

use super::Error;
use super::who::{Act, What};
use model::SandboxId;
use serde_json::Value;
use std::path::Path;

/// Files are dated by a clock that goes on with each tick, and later where the machine is busy: so much earlier than its
/// record a change may be dated.
const LATE_NS: i128 = 100_000_000;

/// The commands of a sandbox, and the work through the API that changes files.
///
/// Each ended when something else began beside which it is not named: that list is the kernel's word on what ran then, and
/// stands where it was known. Until then it may have changed files.
pub(super) fn acts(state: &Path, id: SandboxId) -> Result<Vec<Act>, Error> {
    let mut acts: Vec<Act> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    for entry in ledger::read(state)? {
        let entry = entry?;
        // Most are another sandbox's.
        if !entry.line.contains(id.as_str()) {
            continue;
        }
        let Ok(record) = serde_json::from_str::<Value>(&entry.line) else { continue };
        if record["sandbox"] != id.as_str() || !(record["event"] == "exec.start" || record["event"] == "file")
        {
            continue;
        }
        let at = record["time"].as_str().and_then(unix_ns);
        let beside = beside(&record["beside"]);
        if let Some((Some(beside), at)) = &beside {
            open.retain(|number| {
                let act = &mut acts[*number];
                let goes_on = matches!(act.what, What::Command { exec, .. } if beside.contains(&exec));
                if !goes_on {
                    act.end_ns = Some(*at);
                }
                goes_on
            });
        }
        if let Some(what) = what(&record, entry.seq) {
            open.push(acts.len());
            let recorded = at.map_or(i128::MIN / 2, |at| at - LATE_NS);
            let start_ns = beside.map_or(recorded, |(_, at)| at);
            acts.push(Act { what, start_ns, end_ns: None });
        }
    }
    Ok(acts)
}

/// The commands that a record names as going on, where that was known and not shortened, and since when.
fn beside(beside: &Value) -> Option<(Option<Vec<u32>>, i128)> {
    let number = |value: &Value| value.as_u64().and_then(|exec| u32::try_from(exec).ok());
    let commands = beside["commands"].as_array().and_then(|list| list.iter().map(number).collect());
    Some((commands, beside["ns"].as_u64()?.into()))
}

fn what(record: &Value, seq: u64) -> Option<What> {
    let text = |name: &str| record[name].as_str();
    if record["event"] == "exec.start" {
        let words = record["argv"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let exec = record["exec"].as_u64().unwrap_or(0) as u32;
        return Some(What::Command { exec, argv: words.collect::<Vec<_>>().join(" ") });
    }
    // What only looks changes nothing.
    let op = text("op").filter(|op| matches!(*op, "write" | "make-dir" | "move" | "remove"))?;
    let words = [Some(op), text("path"), text("to")];
    Some(What::Operation { record: seq, done: words.into_iter().flatten().collect::<Vec<_>>().join(" ") })
}

/// A time as the record has it, `2026-11-23T19:21:05.123456Z`, in nanoseconds since 1970.
fn unix_ns(text: &str) -> Option<i128> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i128>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    // Days since 1970 of a date of the Gregorian calendar, counted in years that begin in March.
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days =
        year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year - 719_468;
    let seconds = ((days * 24 + number(11, 13)?) * 60 + number(14, 16)?) * 60 + number(17, 19)?;
    let fraction = text.get(19..)?.trim_start_matches('.').trim_end_matches('Z');
    let fraction = format!("{fraction:0<9}").get(..9)?.parse::<i128>().ok()?;
    Some(seconds * 1_000_000_000 + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_record_are_read() {
        for (text, ns) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:01.5Z", 1_500_000_000),
            ("2000-02-29T12:00:00.000001Z", 951_825_600_000_001_000),
            ("2026-11-23T19:21:05.123Z", 1_795_461_665_123_000_000),
        ] {
            assert_eq!(unix_ns(text), Some(ns), "{text}");
        }
        assert_eq!(unix_ns("yesterday"), None);
    }
}
