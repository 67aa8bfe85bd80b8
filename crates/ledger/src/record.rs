//! One event as the bytes that are hashed: a line of JSON with a fixed order of fields.

use crate::{Error, Hash};
use model::{Event, Moment, rfc3339};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The longest record, because an entry bundle counts its bytes in 16 bits.
pub(crate) const RECORD_BYTES_MAX: usize = 65_535;

/// An event on its way into the log: its JSON, made where somebody has time for it, and when it was handed over.
#[derive(Debug)]
pub(crate) struct Draft {
    at: Moment,
    json: Vec<u8>,
}

impl Draft {
    /// Writes an event as JSON.
    pub(crate) fn new(event: &Event, at: Moment) -> Result<Draft, Error> {
        Ok(Draft { at, json: serde_json::to_vec(event).map_err(Error::Encode)? })
    }

    /// Bytes that it holds.
    pub(crate) fn len(&self) -> usize {
        self.json.len()
    }
}

/// What a record says beside its event and its time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp<'a> {
    pub(crate) seq: u64,
    pub(crate) boot: &'a str,
    pub(crate) prev: Hash,
}

#[derive(Serialize)]
struct Record<'a> {
    v: u32,
    seq: u64,
    time: String,
    boot_ns: u64,
    boot: &'a str,
}

/// The bytes of a record. An event that does not fit is shortened, never refused.
pub(crate) fn encode(draft: &Draft, stamp: Stamp<'_>) -> Result<Vec<u8>, Error> {
    let whole = line(&draft.json, None, draft.at, stamp)?;
    if whole.len() <= RECORD_BYTES_MAX { Ok(whole) } else { shortened(draft, stamp) }
}

/// Joins three objects into one: the stamp's fields, those of the event as they were written, and the rest.
fn line(event: &[u8], shortened: Option<&str>, at: Moment, stamp: Stamp<'_>) -> Result<Vec<u8>, Error> {
    let Stamp { seq, boot, prev } = stamp;
    let record = Record { v: 1, seq, time: rfc3339(at.wall_ns), boot_ns: at.boot_ns, boot };
    let mut bytes = serde_json::to_vec(&record).map_err(Error::Encode)?;
    bytes.reserve(event.len() + 256);
    *bytes.last_mut().ok_or(Error::Nothing)? = b',';
    // Every event is an object with at least its name in it.
    bytes.extend_from_slice(event.get(1..event.len() - 1).ok_or(Error::Nothing)?);
    if let Some(hash) = shortened {
        bytes.extend_from_slice(format!(r#","shortened":"{hash}""#).as_bytes());
    }
    bytes.extend_from_slice(format!(r#","prev":"{prev}"}}"#).as_bytes());
    Ok(bytes)
}

/// Cuts strings to ever fewer bytes, and lists to a 64th as many items, until the record fits. The field
/// `shortened` holds the hash of the whole event, so that whoever kept it can prove what it was.
fn shortened(draft: &Draft, stamp: Stamp<'_>) -> Result<Vec<u8>, Error> {
    let whole: Value = serde_json::from_slice(&draft.json).map_err(Error::Encode)?;
    let hash = format!("sha256:{:x}", Sha256::digest(&draft.json));
    for shift in 0..9 {
        let event = serde_json::to_vec(&cut(&whole, 16_384 >> shift)).map_err(Error::Encode)?;
        let bytes = line(&event, Some(&hash), draft.at, stamp)?;
        if bytes.len() <= RECORD_BYTES_MAX {
            return Ok(bytes);
        }
    }
    let event = serde_json::to_vec(&json!({ "event": whole["event"] })).map_err(Error::Encode)?;
    line(&event, Some(&hash), draft.at, stamp)
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

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Decision, SandboxId, Source};
    use proptest::prelude::*;

    fn record(event: &Event) -> Vec<u8> {
        let at = Moment { wall_ns: 1_700_000_000_123_456_789, boot_ns: 7 };
        encode(&Draft::new(event, at).unwrap(), Stamp { seq: 3, boot: "b", prev: Hash::ZERO }).unwrap()
    }

    fn exec(argv: Vec<String>) -> Event {
        Event::Exec {
            sandbox: SandboxId::from_random([0; 20]),
            exec: 1,
            argv,
            cwd: "/".into(),
            user: "root".into(),
            decision: Decision { verdict: "allow", rule: "exec".into() },
            source: Source::Caller,
            beside: None,
        }
    }

    #[test]
    fn the_fields_of_a_record_stand_in_a_fixed_order() {
        let bytes = record(&exec(vec!["ls".into()]));
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
    fn a_long_command_keeps_its_beginning_and_the_hash_of_the_whole() {
        let event = exec((0..100_000).map(|n| format!("argument {n}")).collect());
        let bytes = record(&event);
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
            let bytes = record(&event);
            prop_assert!(bytes.len() <= RECORD_BYTES_MAX);
            prop_assert!(serde_json::from_slice::<Value>(&bytes).is_ok());
        }
    }
}
