//! JSON as it arrives: bounded in depth, and with the freedoms that proto3's mapping gives a client.

use crate::bounds::{JSON_DEPTH_MAX, WORDS_MAX};
use crate::e2b::failure::{Failure, Kind, fail};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Reads a JSON text that is not nested too deeply. An empty body is `{}`.
pub(crate) fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, Failure> {
    let text = if text.is_empty() { b"{}" } else { text };
    if depth(text) > JSON_DEPTH_MAX {
        return fail(Kind::Invalid, format!("the JSON is nested more than {JSON_DEPTH_MAX} deep"));
    }
    // Serde would take an array for an object, field by field.
    if !text.trim_ascii_start().starts_with(b"{") {
        return fail(Kind::Invalid, "invalid request: expected a JSON object");
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    let refuse = |why: String| Failure::said(Kind::Invalid, format!("invalid request: {why}"));
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let (path, why) = (error.path().to_string(), in_words(&error.inner().to_string()));
        refuse(if path == "." { why } else { format!("`{}`: {why}", model::quote(path)) })
    })?;
    reader.end().map_err(|error| refuse(error.to_string()))?;
    Ok(value)
}

/// A message without the value that it complains of, which may be a secret, and without the names of Rust's types.
fn in_words(text: &str) -> String {
    for what in ["invalid type", "invalid value"] {
        if let Some(rest) = text.strip_prefix(what) {
            let expected = rest.rfind(", expected").map_or("", |at| &rest[at..]);
            let expected = expected.split(" at line ").next().unwrap_or_default();
            return format!("{what}{}", expected.replace("i64", "a whole number"));
        }
    }
    text.to_owned()
}

/// The deepest nesting of a text, brackets in strings not counted. Of what is no JSON it may be anything.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0usize, 0, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// A field that may be `null`, which is as good as absent.
pub(crate) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A message within a message; `null` is as good as none. Serde alone would take a list for it, field by field.
pub(crate) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(optional_object(from)?.unwrap_or_default())
}

/// The same where it makes a difference whether it is there.
pub(crate) fn optional_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    struct Fields<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
        type Value = Option<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
            Ok(None)
        }
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }
    from.deserialize_any(Fields(PhantomData))
}

/// At most [`WORDS_MAX`] of what a list or a map holds; one more is refused as it is read, not after.
pub(crate) fn bounded<'de, D: Deserializer<'de>, T: Collection<'de>>(from: D) -> Result<T, D::Error> {
    struct Counted<T>(PhantomData<T>);
    impl<'de, T: Collection<'de>> Visitor<'de> for Counted<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{} of at most {WORDS_MAX}", T::NAME)
        }
        fn visit_unit<E: Error>(self) -> Result<T, E> {
            Ok(T::default())
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
            let mut found = T::default();
            while found.len() < WORDS_MAX && found.take_item(&mut seq)? {}
            match found.len() < WORDS_MAX || seq.next_element::<IgnoredAny>()?.is_none() {
                true => Ok(found),
                false => Err(A::Error::custom(format_args!("more than {WORDS_MAX}"))),
            }
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
            let mut found = T::default();
            while found.len() < WORDS_MAX && found.take_pair(&mut map)? {}
            match found.len() < WORDS_MAX || map.next_key::<IgnoredAny>()?.is_none() {
                true => Ok(found),
                false => Err(A::Error::custom(format_args!("more than {WORDS_MAX}"))),
            }
        }
    }
    from.deserialize_any(Counted(PhantomData))
}

/// What [`bounded`] can fill.
pub(crate) trait Collection<'de>: Default {
    const NAME: &'static str;
    fn len(&self) -> usize;
    /// Takes the next item of a list, if this is one and there is one.
    fn take_item<A: SeqAccess<'de>>(&mut self, _: &mut A) -> Result<bool, A::Error> {
        Err(A::Error::invalid_type(Unexpected::Seq, &Self::NAME))
    }
    /// Takes the next pair of a map, if this is one and there is one.
    fn take_pair<A: MapAccess<'de>>(&mut self, _: &mut A) -> Result<bool, A::Error> {
        Err(A::Error::invalid_type(Unexpected::Map, &Self::NAME))
    }
}

impl<'de> Collection<'de> for Vec<String> {
    const NAME: &'static str = "a list of texts";
    fn len(&self) -> usize {
        self.len()
    }
    fn take_item<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        let item = seq.next_element()?;
        Ok(item.map(|item| self.push(item)).is_some())
    }
}

impl<'de> Collection<'de> for BTreeMap<String, String> {
    const NAME: &'static str = "a map of texts";
    fn len(&self) -> usize {
        self.len()
    }
    fn take_pair<A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<bool, A::Error> {
        let pair = map.next_entry()?;
        Ok(pair.map(|(name, value)| self.insert(name, value)).is_some())
    }
}

/// Bytes in base64: either alphabet, padded or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Base64(pub Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Base64;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes in base64")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Base64, E> {
                let decoded = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text));
                // The text is not shown: it is what somebody types into a command.
                decoded.map(Base64).map_err(|_| E::custom("invalid base64"))
            }
        }
        from.deserialize_str(Text)
    }
}

/// A 32-bit number, as a number or as text; also one that an enumeration names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Number(pub i64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of 32 bits")
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Number, E> {
                let fits = (i64::from(i32::MIN)..=i64::from(u32::MAX)).contains(&value);
                if fits { Ok(Number(value)) } else { Err(E::invalid_value(Unexpected::Signed(value), &self)) }
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Number, E> {
                let small =
                    i64::try_from(value).map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))?;
                self.visit_i64(small)
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<Number, E> {
                // proto3 accepts `1.0` and `1e1`. Beyond 2^53 the cast is inexact, and refused by the next line.
                if value.fract() == 0.0 && value.abs() < 9e15 {
                    return self.visit_i64(value as i64);
                }
                Err(E::invalid_value(Unexpected::Float(value), &self))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
                let number = text.parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))?;
                self.visit_i64(number)
            }
        }
        from.deserialize_any(Any)
    }
}

impl Number {
    /// The number, if it is one of an unsigned type.
    pub(crate) fn unsigned<T: TryFrom<i64>>(self, field: &str) -> Result<T, Failure> {
        T::try_from(self.0)
            .map_err(|_| Failure::said(Kind::Invalid, format!("{field}: out of range: {}", self.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Sample {
        #[serde(deserialize_with = "nullable")]
        bytes: Base64,
        #[serde(deserialize_with = "nullable")]
        number: Number,
    }

    #[test]
    fn what_proto3_allows_is_understood() {
        let sample =
            |bytes: &[u8], number| Ok(Sample { bytes: Base64(bytes.to_vec()), number: Number(number) });
        assert_eq!(read(br#"{"bytes":"+/8=","number":7,"unknown":{"a":[]}}"#), sample(&[0xfb, 0xff], 7));
        assert_eq!(read(br#"{"bytes":"-_8","number":"7"}"#), sample(&[0xfb, 0xff], 7));
        assert_eq!(read(br#"{"bytes":null,"number":null}"#), sample(b"", 0));
        assert_eq!(read(br#"{"number":2.0}"#), sample(b"", 2));
        assert_eq!(read(b""), sample(b"", 0));
    }

    #[test]
    fn what_it_does_not_is_refused_and_bytes_are_not_shown() {
        for text in [r#"{"number":1.5}"#, r#"{"number":4294967296}"#, r#"{"number":"x"}"#, "[", "nul", "1"] {
            assert!(read::<Sample>(text.as_bytes()).is_err(), "{text}");
        }
        let refused = read::<Sample>(br#"{"bytes":"se cret"}"#).unwrap_err();
        assert!(!format!("{refused:?}").contains("cret"), "{refused:?}");
        let refused = read::<Sample>(br#"{"number":"se, expected cret"}"#).unwrap_err();
        assert!(!format!("{refused:?}").contains("cret"), "{refused:?}");
    }

    #[test]
    fn a_field_of_another_type_is_named() {
        let refused = read::<Sample>(br#"{"number":[]}"#).unwrap_err();
        let wanted = "invalid request: `number`: invalid type, expected a whole number of 32 bits";
        assert_eq!(refused, Failure::said(Kind::Invalid, wanted));
        assert!(read::<Sample>(b"{} {}").is_err());
    }

    #[test]
    fn words_are_counted_while_they_are_read() {
        #[derive(Debug, Deserialize)]
        struct Words {
            #[serde(default, deserialize_with = "bounded")]
            list: Vec<String>,
            #[serde(default, deserialize_with = "bounded")]
            map: BTreeMap<String, String>,
        }
        let list = |n: usize| format!(r#"{{"list":[{}]}}"#, vec![r#""a""#; n].join(","));
        assert_eq!(read::<Words>(list(WORDS_MAX).as_bytes()).unwrap().list.len(), WORDS_MAX);
        assert!(read::<Words>(list(WORDS_MAX + 1).as_bytes()).is_err());
        assert_eq!(read::<Words>(br#"{"map":{"a":"b"},"list":null}"#).unwrap().map["a"], "b");
        for bad in [r#"{"list":{"a":"b"}}"#, r#"{"map":["a"]}"#, r#"{"list":[1]}"#, r#"["a"]"#] {
            assert!(read::<Words>(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn nesting_is_bounded_and_brackets_in_strings_are_none() {
        let nested = |n: usize| format!(r#"{{"unknown":{}{}}}"#, "[".repeat(n), "]".repeat(n));
        assert!(read::<Sample>(nested(JSON_DEPTH_MAX - 1).as_bytes()).is_ok());
        assert!(read::<Sample>(nested(JSON_DEPTH_MAX).as_bytes()).is_err());
        assert_eq!(depth(br#"{"a":"[[[\"[[["}"#), 1);
    }

    proptest! {
        #[test]
        fn every_byte_string_survives(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let text = serde_json::json!({"bytes": STANDARD.encode(&bytes)}).to_string();
            prop_assert_eq!(read::<Sample>(text.as_bytes()).unwrap().bytes.0, bytes);
        }

        #[test]
        fn no_text_makes_it_panic(text in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = read::<Sample>(&text);
        }
    }
}
