//! One event as the bytes that are hashed: a line of JSON with a fixed order of fields.

use crate::{Error, Hash};
use model::{Event, Moment};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The longest record, because an entry bundle counts its bytes in 16 bits.
pub(crate) const RECORD_BYTES_MAX: usize = 65_535;

/// What a record says beside its event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp<'a> {
    pub(crate) seq: u64,
    pub(crate) at: Moment,
    pub(crate) boot: &'a str,
    pub(crate) prev: Hash,
}

#[derive(Serialize)]
struct Record<'a, E> {
    v: u32,
    seq: u64,
    time: String,
    boot_ns: u64,
    boot: &'a str,
    #[serde(flatten)]
    event: E,
    #[serde(skip_serializing_if = "Option::is_none")]
    shortened: Option<String>,
    prev: String,
}

/// The bytes of a record. An event that does not fit is shortened, never refused.
pub(crate) fn encode(event: &Event, stamp: Stamp<'_>) -> Result<Vec<u8>, Error> {
    let whole = line(event, None, stamp)?;
    if whole.len() <= RECORD_BYTES_MAX { Ok(whole) } else { shortened(event, stamp) }
}

fn line(event: impl Serialize, shortened: Option<String>, stamp: Stamp<'_>) -> Result<Vec<u8>, Error> {
    let record = Record {
        v: 1,
        seq: stamp.seq,
        time: rfc3339(stamp.at.wall_ns),
        boot_ns: stamp.at.boot_ns,
        boot: stamp.boot,
        event,
        shortened,
        prev: stamp.prev.to_string(),
    };
    serde_json::to_vec(&record).map_err(Error::Encode)
}

/// Cuts strings to ever fewer bytes, and lists to a 64th as many items, until the record fits. The field
/// `shortened` holds the hash of the whole event, so that whoever kept it can prove what it was.
fn shortened(event: &Event, stamp: Stamp<'_>) -> Result<Vec<u8>, Error> {
    let text = serde_json::to_vec(event).map_err(Error::Encode)?;
    let whole: Value = serde_json::from_slice(&text).map_err(Error::Encode)?;
    let hash = format!("sha256:{:x}", Sha256::digest(&text));
    for shift in 0..9 {
        let bytes = line(cut(&whole, 16_384 >> shift), Some(hash.clone()), stamp)?;
        if bytes.len() <= RECORD_BYTES_MAX {
            return Ok(bytes);
        }
    }
    line(json!({ "event": whole["event"] }), Some(hash), stamp)
}

fn cut(value: &Value, bytes_max: usize) -> Value {
    match value {
        Value::String(text) if text.len() > bytes_max => {
            let kept = &text[..text.floor_char_boundary(bytes_max)];
            Value::String(format!("{kept}[+{} bytes]", text.len() - kept.len()))
        }
        Value::Array(items) => {
            let kept = items.len().min((bytes_max / 64).max(1));
            let mut list: Vec<Value> = items[..kept].iter().map(|item| cut(item, bytes_max)).collect();
            if kept < items.len() {
                list.push(Value::String(format!("[+{} items]", items.len() - kept)));
            }
            Value::Array(list)
        }
        Value::Object(fields) => fields.iter().map(|(name, v)| (name.clone(), cut(v, bytes_max))).collect(),
        other => other.clone(),
    }
}

/// `2026-01-31T12:00:00.000000Z`. The calendar is Howard Hinnant's `civil_from_days`, by years that begin in
/// March, so that the leap day is the last of its year.
fn rfc3339(wall_ns: i64) -> String {
    let micros = wall_ns.div_euclid(1000);
    let (seconds, micro) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (days, second) = (seconds.div_euclid(86_400) + 719_468, seconds.rem_euclid(86_400));
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{micro:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Decision, SandboxId};
    use proptest::prelude::*;

    fn stamp() -> Stamp<'static> {
        let at = Moment { wall_ns: 1_700_000_000_123_456_789, boot_ns: 7 };
        Stamp { seq: 3, at, boot: "b", prev: Hash::ZERO }
    }

    fn exec(argv: Vec<String>) -> Event {
        Event::Exec {
            sandbox: SandboxId::from_random([0; 20]),
            exec: 1,
            argv,
            cwd: "/".into(),
            user: "root".into(),
            decision: Decision { verdict: "allow", rule: "exec".into() },
        }
    }

    #[test]
    fn the_fields_of_a_record_stand_in_a_fixed_order() {
        let bytes = encode(&exec(vec!["ls".into()]), stamp()).unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            concat!(
                r#"{"v":1,"seq":3,"time":"2023-11-14T22:13:20.123456Z","boot_ns":7,"boot":"b","#,
                r#""event":"exec.start","sandbox":"iaaaaaaaaaaaaaaaaaaaa","exec":1,"argv":["ls"],"#,
                r#""cwd":"/","user":"root","decision":{"verdict":"allow","rule":"exec"},"#,
                r#""prev":"0000000000000000000000000000000000000000000000000000000000000000"}"#
            )
        );
    }

    #[test]
    fn the_calendar_knows_leap_days_and_what_was_before_1970() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.000000Z"),
        ] {
            assert_eq!(rfc3339(seconds * 1_000_000_000), text);
        }
    }

    #[test]
    fn a_long_command_keeps_its_beginning_and_the_hash_of_the_whole() {
        let event = exec((0..100_000).map(|n| format!("argument {n}")).collect());
        let bytes = encode(&event, stamp()).unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        let argv = value["argv"].as_array().unwrap();
        assert_eq!(argv[0], "argument 0");
        assert_eq!(argv.last().unwrap(), &format!("[+{} items]", 100_000 - (argv.len() - 1)));
        let whole = format!("sha256:{:x}", Sha256::digest(serde_json::to_vec(&event).unwrap()));
        assert_eq!(value["shortened"], whole);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn every_event_fits(argument in "\\PC{0,40}", repeat in 0..4_000usize, count in 0..300usize) {
            let event = exec(vec![argument.repeat(repeat); count.min(500_000 / (1 + argument.len() * repeat))]);
            let bytes = encode(&event, stamp()).unwrap();
            prop_assert!(bytes.len() <= RECORD_BYTES_MAX);
            prop_assert!(serde_json::from_slice::<Value>(&bytes).is_ok());
        }
    }
}
