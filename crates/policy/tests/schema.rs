//! The schema takes what the reader takes, and knows no key that the reader does not.

use jsonschema::Validator;
use policy::{Document, NoLibrary, SCHEMA_ID, SHIPPED, schema};
use serde_json::{Value, json};

fn validator() -> Validator {
    jsonschema::draft202012::new(&schema()).expect("a schema")
}

/// A document that has every key of the language.
const WHOLE: &str = include_str!("documents/whole.toml");

fn json_of(toml: &str) -> Value {
    serde_json::to_value(toml.parse::<toml::Table>().expect("TOML")).expect("JSON")
}

/// What is wrong with a document, as the reader says.
fn problems(document: &Value) -> Vec<String> {
    match Document::parse(document.to_string().as_bytes(), "t.json", &NoLibrary) {
        Ok(_) => Vec::new(),
        Err(rejected) => rejected.problems().iter().map(|problem| problem.message.clone()).collect(),
    }
}

#[test]
fn the_schema_is_one_and_says_which() {
    assert!(jsonschema::meta::is_valid(&schema()));
    assert_eq!(schema()["$id"], json!(SCHEMA_ID));
    assert_eq!(SCHEMA_ID, concat!("urn:casemate:policy:1:", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_the_reader_takes_the_schema_takes_in_either_form() {
    let validator = validator();
    let documents = SHIPPED.iter().map(|(name, text)| (*name, *text)).chain([("whole", WHOLE)]);
    for (name, text) in documents {
        let from_toml = Document::parse(text.as_bytes(), name, &NoLibrary)
            .unwrap_or_else(|error| panic!("{}", error.plain()));
        let json = json_of(text);
        let errors: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{name}");
        let from_json = Document::parse(json.to_string().as_bytes(), name, &NoLibrary)
            .unwrap_or_else(|error| panic!("{}", error.plain()));
        // The same but for the hash and the lines, which are the text's.
        assert_eq!(unlined(from_json), unlined(from_toml), "{name}");
    }
}

fn unlined(mut document: Document) -> (Document, Vec<(String, policy::Access)>) {
    let zones = document.files.drain(..).map(|zone| (zone.at().to_owned(), zone.access().clone())).collect();
    document.hash.clear();
    document.net.iter_mut().for_each(|rule| rule.line = None);
    document.secrets.iter_mut().for_each(|secret| secret.line = None);
    document.tools.iter_mut().flatten().for_each(|tool| tool.line = None);
    document.ask.iter_mut().for_each(|ask| ask.line = None);
    document.examples.iter_mut().for_each(|example| example.line = None);
    (document, zones)
}

#[test]
fn the_whole_document_has_every_key_but_extends() {
    fn missing(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
        let each: Vec<&Value> = match value {
            Value::Array(list) => list.iter().collect(),
            value => vec![value],
        };
        let schema = schema.get("items").unwrap_or(schema);
        for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
            match each.iter().find_map(|value| value.get(key)) {
                Some(value) => missing(inner, value, &format!("{path}/{key}"), found),
                None => found.push(format!("{path}/{key}")),
            }
        }
    }
    let mut found = Vec::new();
    missing(&schema(), &json_of(WHOLE), "", &mut found);
    assert_eq!(found, ["/extends"]);
}

/// Every table of a document, by its path.
fn tables(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            found.push(path.to_owned());
            map.iter().for_each(|(key, value)| tables(value, &format!("{path}/{key}"), found));
        }
        Value::Array(list) => {
            list.iter()
                .enumerate()
                .for_each(|(place, value)| tables(value, &format!("{path}/{place}"), found));
        }
        _ => {}
    }
}

#[test]
fn a_key_that_the_language_does_not_have_is_refused_by_both_in_every_table() {
    let (validator, whole) = (validator(), json_of(WHOLE));
    assert_eq!(problems(&whole), Vec::<String>::new());
    let mut paths = Vec::new();
    tables(&whole, "", &mut paths);
    assert!(paths.len() > 15, "{paths:?}");
    for path in paths {
        let mut document = whole.clone();
        document.pointer_mut(&path).unwrap().as_object_mut().unwrap().insert("zzz".to_owned(), json!(1));
        assert!(!validator.is_valid(&document), "the schema takes `zzz` in {path}");
        assert!(!problems(&document).is_empty(), "the reader takes `zzz` in {path}");
    }
}

#[test]
fn a_value_of_another_type_is_refused_by_both_wherever_it_stands() {
    let (validator, whole) = (validator(), json_of(WHOLE));
    let mut leaves = Vec::new();
    fn collect(value: &Value, path: String, leaves: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                map.iter().for_each(|(key, value)| collect(value, format!("{path}/{key}"), leaves))
            }
            Value::Array(list) => {
                list.iter().enumerate().for_each(|(n, value)| collect(value, format!("{path}/{n}"), leaves))
            }
            _ => {}
        }
        leaves.push(path);
    }
    collect(&whole, String::new(), &mut leaves);
    for path in leaves.iter().filter(|path| !path.is_empty()) {
        for wrong in [json!(null), json!(-1), json!(1.5), json!({}), json!([])] {
            let mut document = whole.clone();
            let place = document.pointer_mut(path).unwrap();
            // Some tables and lists of words may be empty.
            let is_empty =
                place.is_object() && wrong == json!({}) || path.contains("/args/") && wrong == json!([]);
            if *place == wrong || is_empty {
                continue;
            }
            *place = wrong.clone();
            assert!(!problems(&document).is_empty(), "the reader takes {wrong} at {path}");
            assert!(!validator.is_valid(&document), "the schema takes {wrong} at {path}");
        }
    }
}

#[test]
fn every_required_key_is_required_by_both() {
    let validator = validator();
    for key in [
        "/version",
        "/name",
        "/files/0/at",
        "/files/0/access",
        "/net/allow/0/host",
        "/tools/0/program",
        "/ask/0/when",
    ] {
        let mut document = json_of(WHOLE);
        let (table, key) = key.rsplit_once('/').unwrap();
        document.pointer_mut(table).unwrap().as_object_mut().unwrap().remove(key);
        assert!(!validator.is_valid(&document) && !problems(&document).is_empty(), "{table} {key}");
    }
}
