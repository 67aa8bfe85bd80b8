//! Host names and methods: what a rule may name, and what a request may.

use crate::pattern::{Pattern, Rest, Word};
use model::quote;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;
const METHOD_BYTES_MAX: usize = 32;

/// Endings that no resolver of the open internet answers: what they name lies on this machine or beside it.
pub(crate) const LOCAL: &[&str] =
    &["arpa", "internal", "invalid", "local", "localdomain", "localhost", "onion"];

/// Names under which clouds answer a machine's questions about itself, credentials included.
pub(crate) const METADATA: &[&str] =
    &["metadata.goog", "metadata.tencentyun.com", "metadata.packet.net", "metadata.platformequinix.com"];

/// What a request's host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    /// The labels of a name, in lower case, in the order in which they are written.
    Name(Vec<String>),
    /// An address.
    Address(IpAddr),
}

/// Reads the host of a URL.
pub(crate) fn named(text: &str) -> Result<Named, String> {
    if let Some(address) = text.strip_prefix('[') {
        let address = address.strip_suffix(']').and_then(|address| address.parse::<Ipv6Addr>().ok());
        return address
            .map(|address| Named::Address(address.into()))
            .ok_or("the host is not an address in `[]`".to_owned());
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(Named::Address(address.into()));
    }
    let text = text.to_ascii_lowercase();
    let labels = labels(&text, &|label| is_label(label.as_bytes()))?;
    // What a resolver may take for an address is no name, however it is written.
    match labels.last() {
        Some(last) if is_numeric(last) => {
            Err("the host is neither a name nor an address in its usual form".to_owned())
        }
        _ => Ok(Named::Name(labels)),
    }
}

/// Reads the host of a rule: labels, each of which may hold `*`, the first of which may be `**`. The mend comes with
/// what is wrong.
pub(crate) fn pattern(text: &str) -> Result<Pattern, (String, &'static str)> {
    const NAME: &str = "name the host: `api.example.com`, or what lies beneath one: `*.example.com`";
    let (rest, name) = match text.strip_prefix("**.") {
        Some(name) => (Rest::Some, name),
        None => (Rest::None, text),
    };
    if text.parse::<IpAddr>().is_ok() || text.starts_with('[') || text.contains('/') || text.contains(':') {
        return Err(("an address, a port or a URL is not a host's name".to_owned(), NAME));
    }
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(("a host's name has capitals".to_owned(), "write it in lower case"));
    }
    let fits = |label: &str| label == "*" || is_label(label.as_bytes());
    let labels = labels(name, &fits).map_err(|why| match name.contains('*') {
        true => (format!("{why}; a `*` stands for one whole label, and `**.` only at the beginning"), NAME),
        false => (why, NAME),
    })?;
    if labels.iter().skip(1).any(|label| label == "*") || (rest == Rest::Some && labels[0] == "*") {
        return Err(("a `*` stands for the first label only".to_owned(), NAME));
    }
    let literal: Vec<&str> = labels.iter().map(String::as_str).filter(|label| *label != "*").collect();
    let wild = rest == Rest::Some || literal.len() < labels.len();
    if literal.last().is_some_and(|last| is_numeric(last)) {
        return Err(("an address is not a host's name".to_owned(), NAME));
    }
    if literal.len() < 2 && !wild {
        return Err((
            "a host's name has at least two labels".to_owned(),
            "write the whole name: `api.example.com`",
        ));
    }
    let name = literal.join(".");
    const OWNERS: &str = "name what belongs to one owner: `*.example.com`";
    let is_suffix =
        |name: &str| psl::suffix(name.as_bytes()).is_none_or(|suffix| suffix.as_bytes().len() == name.len());
    if wild && is_suffix(&name) {
        let why = format!("anybody may have a name beneath `{}`, which is a public suffix", quote(&name));
        return Err((why, OWNERS));
    }
    // A list of suffixes has rules for all that is beneath a name, and names whose own names below are suffixes.
    let is_above = is_suffix(&format!("a.{name}")) || (rest == Rest::Some && ABOVE.contains(&name.as_str()));
    if wild && is_above {
        return Err((format!("there are public suffixes beneath `{}`", quote(&name)), OWNERS));
    }
    never_open(&literal, wild)?;
    Ok(Pattern { words: labels.iter().rev().map(|label| Word::new(label)).collect(), rest })
}

/// Names of clouds beneath which are public suffixes several labels deep, such as `s3.amazonaws.com`.
const ABOVE: &[&str] =
    &["amazonaws.com", "amazonaws.com.cn", "azure.com", "core.windows.net", "windows.net", "oraclecloud.com"];

/// Refuses names that lead to this machine, to its network or to what tells a machine's credentials.
fn never_open(literal: &[&str], wild: bool) -> Result<(), (String, &'static str)> {
    const MEND: &str = "leave it out: no policy opens it by a name";
    if let Some(last) = literal.last()
        && LOCAL.contains(last)
    {
        return Err((format!("names that end in `{last}` lead to this machine or to its own network"), MEND));
    }
    let name = literal.join(".");
    let meets = |metadata: &&&str| match wild {
        true => metadata.ends_with(&format!(".{name}")),
        false => **metadata == name,
    };
    match METADATA.iter().find(meets) {
        Some(metadata) => Err((format!("`{metadata}` answers for the machine itself"), MEND)),
        None => Ok(()),
    }
}

/// Whether a name may be asked for at all: [`pattern`] refuses the names that may not, and this those that a wildcard
/// would let in.
pub(crate) fn is_open(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    !LOCAL.contains(&last) && !METADATA.contains(&host) && host.contains('.')
}

fn labels(name: &str, fits: &dyn Fn(&str) -> bool) -> Result<Vec<String>, String> {
    if name.is_empty() {
        return Err("the host has no name".to_owned());
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("the host's name has more than {NAME_BYTES_MAX} bytes"));
    }
    if let Some(c) = name.chars().find(|c| !c.is_ascii()) {
        return Err(format!(
            "the host's name has U+{:04X}, which is not ASCII: write it as `xn--`",
            u32::from(c)
        ));
    }
    let label = |label: &str| match label {
        "" => Err("the host's name has an empty label".to_owned()),
        label if label.len() > LABEL_BYTES_MAX => {
            Err(format!("a label of the host's name has more than {LABEL_BYTES_MAX} bytes"))
        }
        label if !fits(label) => {
            Err(format!("`{}` has characters that a label of a host's name may not have", quote(label)))
        }
        label => Ok(label.to_owned()),
    };
    name.split('.').map(label).collect()
}

/// Letters in lower case, digits and hyphens, none of them at an end.
fn is_label(label: &[u8]) -> bool {
    label.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !label.starts_with(b"-")
        && !label.ends_with(b"-")
}

/// Whether a resolver may take a name that ends so for an address: `1`, `0x7f`.
fn is_numeric(label: &str) -> bool {
    let hex = label.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    hex || label.bytes().all(|b| b.is_ascii_digit())
}

/// A token of RFC 9110, its letters capitals.
pub(crate) fn is_method(text: &str) -> bool {
    let token = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b);
    (1..=METHOD_BYTES_MAX).contains(&text.len())
        && text.bytes().all(token)
        && text.starts_with(|c: char| c.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_names_a_host_or_what_lies_beneath_one() {
        let fits = |text: &str, name: &str| {
            let labels: Vec<&str> = name.rsplit('.').collect();
            pattern(text).unwrap_or_else(|(why, _)| panic!("{text}: {why}")).matches(&labels)
        };
        assert!(fits("api.example.com", "api.example.com") && !fits("api.example.com", "x.api.example.com"));
        assert!(fits("*.example.com", "a.example.com") && !fits("*.example.com", "example.com"));
        assert!(!fits("*.example.com", "a.b.example.com") && fits("**.example.com", "a.b.example.com"));
        assert!(!fits("**.example.com", "example.com") && !fits("**.example.com", "example.com.evil.net"));
        assert!(fits("xn--bcher-kva.example", "xn--bcher-kva.example"));
        assert!(fits("alice.github.io", "alice.github.io"));
    }

    #[test]
    fn a_name_that_is_none_or_is_never_open_is_refused() {
        for (text, why) in [
            ("", "no name"),
            ("com", "at least two labels"),
            ("localhost", "at least two labels"),
            ("db.localhost", "lead to this machine"),
            ("printer.local", "lead to this machine"),
            ("metadata.google.internal", "lead to this machine"),
            ("metadata.goog", "answers for the machine itself"),
            ("*.tencentyun.com", "answers for the machine itself"),
            ("1.0.0.127.in-addr.arpa", "lead to this machine"),
            ("127.0.0.1", "an address"),
            ("127.1", "an address"),
            ("*.1", "an address"),
            ("*.example", "public suffix"),
            ("0x7f.1", "an address"),
            ("::1", "an address"),
            ("[::1]", "an address"),
            ("https://example.com", "a URL"),
            ("example.com:443", "a port"),
            ("Example.com", "capitals"),
            ("example.com.", "empty label"),
            (".example.com", "empty label"),
            ("a..b", "empty label"),
            ("-a.example.com", "characters"),
            ("a_b.example.com", "characters"),
            ("ex\u{430}mple.com", "U+0430"),
            ("*", "public suffix"),
            ("**", "a `*` stands for one whole label"),
            ("*.com", "public suffix"),
            ("**.co.uk", "public suffix"),
            ("*.github.io", "public suffix"),
            ("a*.example.com", "one whole label"),
            ("a.*.example.com", "first label only"),
            ("**.*.example.com", "first label only"),
            ("*.**.example.com", "one whole label"),
            ("exa?ple.com", "characters"),
        ] {
            let (message, mend) = pattern(text).expect_err(text);
            assert!(message.contains(why) && !mend.is_empty(), "{text}: {message}");
        }
        assert!(pattern(&format!("{}.com", "a".repeat(64))).is_err());
        assert!(pattern(&format!("{}com", "a.".repeat(130))).is_err());
    }

    #[test]
    fn a_method_is_a_token_in_capitals() {
        for method in ["GET", "M-SEARCH", "VERSION-CONTROL", "X1"] {
            assert!(is_method(method), "{method}");
        }
        for text in ["", "get", "Get", "GET ", "*", "1GET", "G(T", "G\u{42d}T"] {
            assert!(!is_method(text), "{text}");
        }
    }
}
