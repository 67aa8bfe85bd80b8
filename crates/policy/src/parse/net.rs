//! The network: `[[net.allow]]` and `[secrets]`.

use super::{Places, is_name};
use crate::form::{NetRule, Rate, Secret};
use crate::host;
use crate::keys::{
    self, ALLOW, BYTES_OUT, HEADER, HOST, METHODS, PATHS, PORTS, RATE, SECRET, SECRET_FROM, Takes, VALUES_MAX,
};
use crate::pattern::{Pattern, Rest, WORDS_MAX, Word};
use crate::problem::{Report, excerpt, is_plain};
use crate::reading::Table;

/// Headers that say how a message is to be read, or for whom it is: what is put into one could change the request.
const FRAMING: &[&str] = &[
    "connection",
    "content-length",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "keep-alive",
];
const HEADER_BYTES_MAX: usize = 1024;

pub(super) fn read(root: &Table, places: &mut Places<'_>, report: &mut Report) -> Vec<NetRule> {
    let Some(net) = report.table(root, &keys::NET) else { return Vec::new() };
    let mut rules = Vec::new();
    for (table, span) in report.tables(net, &ALLOW) {
        if let Some(rule) = rule(table, places.line(span.start), report) {
            let name = format!("net[{}]", rules.len());
            if let Some(secret) = table.get(SECRET.name) {
                places.add(format!("{name}.secret"), secret.span());
            }
            places.add(name, span);
            rules.push(rule);
        }
    }
    rules
}

fn rule(table: &Table, line: u32, report: &mut Report) -> Option<NetRule> {
    let host = report.text(table, &HOST, host::pattern);
    let ports = report.list(table, &PORTS, |report, value| {
        let port = value.integer().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
        port.or_else(|| {
            report.unlike(value, PORTS.name, "a port from 1 to 65535", PORTS.example);
            None
        })
    });
    let methods = report.list(table, &METHODS, |report, value| match value.text() {
        Some(method) if host::is_method(method) => Some(method.to_owned()),
        _ => {
            report.unlike(value, METHODS.name, "a method in capitals", METHODS.example);
            None
        }
    });
    let paths = report.list(table, &PATHS, |report, value| {
        let Some(text) = value.text() else {
            report.unlike(value, PATHS.name, "a path", PATHS.example);
            return None;
        };
        path(text)
            .map_err(|why| {
                report.refuse(
                    value.span(),
                    format!("{} is not a path of a rule: {why}", excerpt(text)),
                    PATH_MEND,
                )
            })
            .ok()
    });
    let rate = report.value(table, &RATE, |value| rate(value.text()?)).map(|(rate, _)| rate);
    let bytes_out = report.number(table, &BYTES_OUT);
    let secret = report.value(table, &SECRET, |value| value.text().filter(|name| is_name(name)));
    let sorted = |mut list: Vec<_>| {
        list.sort();
        list
    };
    Some(NetRule {
        host: host?,
        ports: ports.map_or(vec![443], |mut ports| {
            ports.sort_unstable();
            ports
        }),
        methods: methods.map(sorted),
        paths,
        rate,
        bytes_out,
        secret: secret.map(|(name, _)| name.to_owned()),
        line: Some(line),
    })
}

const PATH_MEND: &str = "write it from `/`, each segment as it reads when decoded, `*` for any characters of one segment and a \
last `**` for any further ones: `/v1/**`";

/// Reads the path of a rule.
fn path(text: &str) -> Result<Pattern, &'static str> {
    let Some(path) = text.strip_prefix('/') else { return Err("it does not begin with `/`") };
    if path.is_empty() {
        return Ok(Pattern { words: Vec::new(), rest: Rest::None });
    }
    // A `?` or a `{id}` is meant as more than itself by whoever writes it here, and would never match.
    if let Some(c) = path.chars().find(|c| "?#%\\[]{}".contains(*c) || !is_plain(*c)) {
        return Err(match c {
            '%' => "it has a `%`",
            '?' | '#' => "it has a `?` or a `#`, and no rule looks behind them",
            '[' | ']' | '{' | '}' => "it has a bracket, and only `*` stands for something else",
            '\\' => "it has a `\\`",
            _ => "it has a character that does not show",
        });
    }
    if path.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err("it has a segment that is empty, `.` or `..`");
    }
    words(path.split('/'))
}

/// A pattern of words of which the last may be `**`.
pub(super) fn words<'w>(words: impl Iterator<Item = &'w str>) -> Result<Pattern, &'static str> {
    let mut words: Vec<&str> = words.collect();
    let rest = if words.last() == Some(&"**") { Rest::Any } else { Rest::None };
    if rest == Rest::Any {
        words.pop();
    }
    match () {
        () if words.len() > WORDS_MAX => Err("it has more than 32 words"),
        () if words.iter().any(|word| word.contains("**")) => Err("`**` stands alone, and last"),
        () if words.iter().any(|word| word.contains('\0')) => Err("it has a NUL byte"),
        () => Ok(Pattern { words: words.into_iter().map(Word::new).collect(), rest }),
    }
}

/// Reads a rate: `10/s`.
fn rate(text: &str) -> Option<Rate> {
    const COUNT_MAX: u64 = 999_999_999;
    let (count, per) = text.split_once('/')?;
    let per_ms = match per {
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let digits = count.bytes().all(|b| b.is_ascii_digit()) && !count.starts_with('0');
    let count = digits.then(|| count.parse().ok())?.filter(|count| (1..=COUNT_MAX).contains(count))?;
    Some(Rate { count, per_ms })
}

pub(super) fn secrets(root: &Table, places: &mut Places<'_>, report: &mut Report) -> Vec<Secret> {
    let key = &keys::SECRETS;
    let (Some(value), Takes::Named(noun, _)) = (root.get(key.name), &key.takes) else { return Vec::new() };
    let Some(table) = value.as_table().filter(|table| !table.0.is_empty()) else {
        report.unexpected(value, key);
        return Vec::new();
    };
    if let Some((name, _)) = table.0.get(VALUES_MAX) {
        report.refuse(
            name.span.clone(),
            format!("more than {VALUES_MAX} secrets"),
            "leave out what is not needed",
        );
    }
    let mut secrets = Vec::new();
    for (name, value) in table.0.iter().take(VALUES_MAX) {
        if !is_name(&name.text) {
            let message = format!("{} is not a secret's name", excerpt(&name.text));
            report.refuse(
                name.span.clone(),
                message,
                "a name has 1 to 64 of the characters a-z, 0-9 and `-`",
            );
        }
        let Some(table) = value.as_table() else {
            report.unlike(value, &name.text, "a table", "[secrets.example]");
            continue;
        };
        report.only(table, noun, name.span.clone());
        places.add(format!("secrets.{}", name.text), name.span.clone());
        secrets.extend(secret(&name.text, table, places.line(name.span.start), report));
    }
    secrets
}

fn secret(name: &str, table: &Table, line: u32, report: &mut Report) -> Option<Secret> {
    let from = report.value(table, &SECRET_FROM, |value| variable(value.text()?));
    let header = report.text(table, &HEADER, header);
    Some(Secret { name: name.to_owned(), from_env: from?.0.to_owned(), header: header?, line: Some(line) })
}

fn variable(text: &str) -> Option<&str> {
    let name = text.strip_prefix("env:")?;
    let fits = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (fits && (1..=128).contains(&name.len()) && !name.starts_with(|c: char| c.is_ascii_digit()))
        .then_some(name)
}

/// Reads `Name: ...{}...`.
fn header(text: &str) -> Result<(String, String), (String, &'static str)> {
    const MEND: &str = "write it like `header = \"Authorization: Bearer {}\"`";
    let refuse = |why: &str| Err((format!("{} is not a secret's header: {why}", excerpt(text)), MEND));
    let Some((name, value)) = text.split_once(": ") else { return refuse("it is not `Name: value`") };
    let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match () {
        () if !letters || !(1..=64).contains(&name.len()) => {
            refuse("its name has other characters than letters, digits and `-`")
        }
        () if FRAMING.contains(&name.to_ascii_lowercase().as_str()) => {
            refuse("that header says how the request is read")
        }
        () if text.len() > HEADER_BYTES_MAX => refuse("it has more than 1024 bytes"),
        () if !value.bytes().all(|b| matches!(b, b' '..=b'~')) || value != value.trim() => {
            refuse("its value has characters that a header may not have")
        }
        () if value.matches("{}").count() != 1 || value.matches(['{', '}']).count() != 2 => {
            refuse("`{}` stands in it exactly once")
        }
        () => Ok((name.to_owned(), value.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_matches_by_whole_segments() {
        let fits = |pattern: &str, path: &str| {
            let words: Vec<&str> = path.split('/').skip(1).filter(|_| path != "/").collect();
            super::path(pattern).unwrap().matches(&words)
        };
        assert!(fits("/", "/") && !fits("/", "/a"));
        assert!(fits("/**", "/") && fits("/**", "/a/b"));
        assert!(fits("/v1/**", "/v1") && fits("/v1/**", "/v1/a/b") && !fits("/v1/**", "/v10"));
        assert!(
            fits("/v1/*", "/v1/a")
                && fits("/v1/*", "/v1/")
                && !fits("/v1/*", "/v1/a/b")
                && !fits("/v1/*", "/v1")
        );
        assert!(fits("/*.json", "/a.json") && !fits("/*.json", "/a/b.json"));
    }

    #[test]
    fn a_path_that_could_mean_two_things_is_none() {
        for text in [
            "", "v1", "//", "/a//b", "/a/", "/./a", "/a/..", "/a%20b", "/a?x", "/a#x", "/{id}", "/[ab]",
            "/a\\b", "/**/a", "/a**", "/***",
        ] {
            assert!(path(text).is_err(), "{text}");
        }
        assert!(path(&"/a".repeat(WORDS_MAX)).is_ok());
        assert!(path(&"/a".repeat(WORDS_MAX + 1)).is_err());
    }

    #[test]
    fn a_rate_has_a_count_and_a_unit() {
        assert_eq!(rate("10/s"), Some(Rate { count: 10, per_ms: 1000 }));
        assert_eq!(rate("1/d"), Some(Rate { count: 1, per_ms: 86_400_000 }));
        for text in
            ["", "10", "/s", "0/s", "010/s", "+1/s", "10/sec", "10/2s", "-1/s", "9999999999/s", "1.5/s"]
        {
            assert_eq!(rate(text), None, "{text}");
        }
    }

    #[test]
    fn a_header_has_one_place_for_the_secret() {
        assert_eq!(
            header("Authorization: Bearer {}"),
            Ok(("Authorization".to_owned(), "Bearer {}".to_owned()))
        );
        for text in [
            "",
            "{}",
            "X: ",
            "X: a",
            "X: {}{}",
            "X: {a}",
            "X: {} {",
            "X:{}",
            ": {}",
            "X Y: {}",
            "Host: {}",
            "content-LENGTH: {}",
            "X: {}\r\nY: z",
            "X: é{}",
            "X:  {}",
            "X: {} ",
        ] {
            assert!(header(text).is_err(), "{text:?}");
        }
    }
}
