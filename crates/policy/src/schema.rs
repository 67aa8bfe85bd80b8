//! The JSON Schema of the language, written from the table that the reader reads by.
//!
//! It says less than the reader: bounds of sizes and times, and what one key means for another, are not in it. So what the
//! reader takes the schema takes; a key that the language does not have neither takes.

use crate::keys::{Key, Noun, POLICY, Takes};
use model::Wall;
use serde_json::{Map, Value, json};

/// What the schema is called: the version of the language, and of the program that wrote it.
pub const SCHEMA_ID: &str = concat!("urn:casemate:policy:1:", env!("CARGO_PKG_VERSION"));

/// The JSON Schema (2020-12) of a document.
pub fn schema() -> Value {
    let mut schema = noun(&POLICY);
    if let Some(map) = schema.as_object_mut() {
        map.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        map.insert("$id".to_owned(), json!(SCHEMA_ID));
        map.insert("title".to_owned(), json!("What a sandbox may do, as Casemate reads it"));
    }
    schema
}

fn noun(noun: &Noun) -> Value {
    let properties: Map<String, Value> =
        noun.keys.iter().map(|key| (key.name.to_owned(), described(key))).collect();
    let required: Vec<&str> = noun.keys.iter().filter(|key| key.required()).map(|key| key.name).collect();
    let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if let Some(map) = schema.as_object_mut()
        && !required.is_empty()
    {
        map.insert("required".to_owned(), json!(required));
    }
    schema
}

fn described(key: &Key) -> Value {
    let mut schema = takes(&key.takes);
    if let Some(map) = schema.as_object_mut() {
        map.insert("description".to_owned(), json!(key.about));
        if let Some(default) = key.written_default() {
            map.insert("default".to_owned(), serde_json::from_str(default).unwrap_or(Value::Null));
        }
    }
    schema
}

fn takes(takes: &Takes) -> Value {
    const SIZE: &str = "^[0-9]+(B|KiB|MiB|GiB|TiB)$";
    const TIME: &str = "^[0-9]+(ms|s|m|h|d)$";
    match takes {
        Takes::Truth => json!({"type": "boolean"}),
        Takes::Whole { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Takes::Cpus { min, max } => {
            json!({"type": "number", "minimum": *min as f64 / 1000.0, "maximum": *max as f64 / 1000.0})
        }
        Takes::Size { .. } => json!({"type": "string", "pattern": SIZE}),
        Takes::Time { .. } => json!({"type": "string", "pattern": TIME}),
        Takes::TimeOrNone { .. } => json!({"type": "string", "pattern": format!("{TIME}|^none$")}),
        Takes::Choice(words) => json!({"enum": words}),
        Takes::Wall => json!({"enum": Wall::ALL.iter().map(|wall| wall.name()).collect::<Vec<_>>()}),
        Takes::Text("") => json!({"type": "string"}),
        Takes::Text(pattern) => json!({"type": "string", "pattern": pattern}),
        Takes::List(one, most) => {
            json!({"type": "array", "items": self::takes(one), "minItems": 1, "maxItems": most, "uniqueItems": true})
        }
        Takes::ListOrEmpty(one, most) => {
            json!({"type": "array", "items": self::takes(one), "maxItems": most})
        }
        Takes::Table(inner) => noun(inner),
        Takes::Tables(inner, most) => {
            json!({"type": "array", "items": noun(inner), "minItems": 1, "maxItems": most})
        }
        Takes::Named(inner, most) => json!({
            "type": "object",
            "propertyNames": {"pattern": crate::keys::NAME_PATTERN},
            "additionalProperties": noun(inner),
            "minProperties": 1,
            "maxProperties": most,
        }),
    }
}
