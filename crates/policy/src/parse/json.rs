//! From the text of a JSON document (RFC 8259) to its values.
//!
//! Written here because no well-kept reader keeps the places of keys and values; it agrees with `serde_json` on what is
//! JSON, which a test shows, but for keys that are there twice.

use crate::problem::{Report, excerpt};
use crate::reading::{Kind, Name, Table, Value};

/// As deep as TOML's.
const DEPTH_MAX: usize = 80;

type Result<T> = std::result::Result<T, (usize, String)>;

/// Reads a document; its first mistake in JSON is reported.
pub(super) fn read(document: &str, report: &mut Report) -> Option<Table> {
    let mut reader = Reader { text: document, at: 0, twice: Vec::new() };
    let root = reader.whole();
    for name in reader.twice {
        let message = format!("{} is written twice", excerpt(&name.text));
        report.refuse(name.span, message, "keep one of the two");
    }
    match root {
        Ok(Value { kind: Kind::Table(table), .. }) => Some(table),
        Ok(value) => {
            report.refuse(value.span(), "expected a table", "begin with `{` and end with `}`");
            None
        }
        Err((at, message)) => {
            let end = at + document[at..].chars().next().map_or(0, char::len_utf8);
            report.refuse(
                at..end,
                format!("not JSON: {message}"),
                "write `\"key\": value` pairs in `{}`, with commas between",
            );
            None
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    twice: Vec<Name>,
}

impl Reader<'_> {
    fn whole(&mut self) -> Result<Value> {
        let value = self.value(0)?;
        match self.peek() {
            None => Ok(value),
            Some(_) => self.refuse("expected nothing more"),
        }
    }

    /// The next byte that is not space.
    fn peek(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.text.as_bytes().get(self.at).copied()
    }

    fn refuse<T>(&self, message: &str) -> Result<T> {
        Err((self.at, message.to_owned()))
    }

    fn take(&mut self, expected: u8) -> bool {
        let found = self.peek() == Some(expected);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Result<Value> {
        let first = self.peek();
        if depth > DEPTH_MAX {
            return self.refuse(&format!("lists and tables are nested more than {DEPTH_MAX} deep"));
        }
        let start = self.at;
        let kind = match first {
            Some(b'{') => self.table(depth)?,
            Some(b'[') => self.list(depth)?,
            Some(b'"') => Kind::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", Kind::Truth(true))?,
            Some(b'f') => self.word("false", Kind::Truth(false))?,
            Some(b'n') => self.word("null", Kind::Null)?,
            _ => return self.refuse("expected a value"),
        };
        Ok(Value::new(kind, start..self.at))
    }

    fn word(&mut self, word: &str, kind: Kind) -> Result<Kind> {
        match self.text[self.at..].starts_with(word) {
            true => {
                self.at += word.len();
                Ok(kind)
            }
            false => self.refuse("expected a value"),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Kind> {
        self.at += 1;
        let mut list = Vec::new();
        if self.take(b']') {
            return Ok(Kind::List(list));
        }
        loop {
            list.push(self.value(depth + 1)?);
            if self.take(b']') {
                return Ok(Kind::List(list));
            }
            if !self.take(b',') {
                return self.refuse("expected `,` or `]`");
            }
        }
    }

    fn table(&mut self, depth: usize) -> Result<Kind> {
        self.at += 1;
        let mut table = Table::default();
        if self.take(b'}') {
            return Ok(Kind::Table(table));
        }
        loop {
            if self.peek() != Some(b'"') {
                return self.refuse("expected a key in double quotes");
            }
            let start = self.at;
            let name = Name { text: self.string()?, span: start..self.at };
            if !self.take(b':') {
                return self.refuse("expected `:`");
            }
            let value = self.value(depth + 1)?;
            match table.get(&name.text) {
                Some(_) => self.twice.push(name),
                None => table.0.push((name, value)),
            }
            if self.take(b'}') {
                return Ok(Kind::Table(table));
            }
            if !self.take(b',') {
                return self.refuse("expected `,` or `}`");
            }
        }
    }

    fn number(&mut self) -> Result<Kind> {
        let bytes = &self.text.as_bytes()[self.at..];
        let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        let sign = usize::from(bytes.first() == Some(&b'-'));
        let whole = digits(sign);
        let mut end = sign + whole;
        if whole == 0 || (whole > 1 && bytes[sign] == b'0') {
            return self.refuse("a number has digits, and no `0` before them");
        }
        let mut is_float = false;
        if bytes.get(end) == Some(&b'.') {
            let part = digits(end + 1);
            if part == 0 {
                return self.refuse("a number has digits behind its point");
            }
            (end, is_float) = (end + 1 + part, true);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let part = digits(end + 1 + sign);
            if part == 0 {
                return self.refuse("a number has digits in its exponent");
            }
            (end, is_float) = (end + 1 + sign + part, true);
        }
        let shown = self.text[self.at..self.at + end].to_owned();
        self.at += end;
        Ok(if is_float { Kind::Float(shown) } else { Kind::Integer(shown.parse().ok(), shown) })
    }

    fn string(&mut self) -> Result<String> {
        self.at += 1;
        let mut string = String::new();
        loop {
            let Some(c) = self.text[self.at..].chars().next() else {
                return self.refuse("a string is not closed");
            };
            match c {
                '"' => {
                    self.at += 1;
                    return Ok(string);
                }
                '\\' => string.push(self.escape()?),
                c if c < ' ' => return self.refuse("a string has a control character"),
                c => {
                    self.at += c.len_utf8();
                    string.push(c);
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char> {
        let c = match self.text.as_bytes().get(self.at + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.code_point(),
            _ => return self.refuse("no such escape"),
        };
        self.at += 2;
        Ok(c)
    }

    /// `\uNNNN`, or two of them for a character beyond the first 65,536.
    fn code_point(&mut self) -> Result<char> {
        let unit = |at: usize| {
            let digits = self.text.get(at..at + 6)?.strip_prefix("\\u")?;
            let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
            hex.then(|| u16::from_str_radix(digits, 16).ok())?
        };
        let first = unit(self.at);
        let units =
            [first, first.filter(|unit| (0xd800..0xdc00).contains(unit)).and_then(|_| unit(self.at + 6))];
        let read = char::decode_utf16(units.into_iter().flatten()).next().and_then(|c| c.ok());
        match read {
            Some(c) => {
                self.at += 6 * c.len_utf16();
                Ok(c)
            }
            None => self.refuse("no such character"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(value: &Value) -> serde_json::Value {
        match &value.kind {
            Kind::Text(text) => text.clone().into(),
            Kind::Integer(_, shown) | Kind::Float(shown) => serde_json::from_str(shown).unwrap(),
            Kind::Truth(truth) => (*truth).into(),
            Kind::Null | Kind::Time => serde_json::Value::Null,
            Kind::List(list) => list.iter().map(plain).collect(),
            Kind::Table(table) => {
                table.0.iter().map(|(name, value)| (name.text.clone(), plain(value))).collect()
            }
        }
    }

    fn ours(text: &str) -> Option<serde_json::Value> {
        let mut reader = Reader { text, at: 0, twice: Vec::new() };
        reader.whole().ok().map(|value| plain(&value))
    }

    fn documents() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<u64>().prop_map(Into::into),
            any::<i16>().prop_map(|n| (f64::from(n) / 8.0).into()),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                proptest::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_as_json_is_read_as_it_was(document in documents()) {
            prop_assert_eq!(ours(&document.to_string()), Some(document.clone()));
            prop_assert_eq!(ours(&serde_json::to_string_pretty(&document).unwrap()), Some(document));
        }

        #[test]
        fn what_serde_json_refuses_is_refused(text in "[\\[\\]{}\",:\\\\ut0-9a-fe.+\\- \n]{0,24}") {
            prop_assert_eq!(ours(&text).is_some(), serde_json::from_str::<serde_json::Value>(&text).is_ok());
        }

        #[test]
        fn a_number_is_what_serde_json_takes_for_one(text in "-?[0-9]{0,3}\\.?[0-9]{0,2}[eE]?[+-]?[0-9]{0,2}") {
            prop_assert_eq!(ours(&text).is_some(), serde_json::from_str::<serde_json::Value>(&text).is_ok());
        }
    }

    #[test]
    fn escapes_are_read_and_half_pairs_are_not() {
        assert_eq!(ours(r#""\ud83d\ude00\u00e9\/""#), Some("😀é/".into()));
        for bad in [r#""\ud83d""#, r#""\ude00""#, r#""\ud83d\u0041""#, r#""\u+041""#, r#""\x41""#, "\"a\nb\""]
        {
            assert_eq!(ours(bad), None, "{bad}");
        }
    }
}
