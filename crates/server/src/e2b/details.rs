//! A denial as a detail of a Connect error: the message `google.rpc.ErrorInfo`, which clients of any language have.
//!
//! <https://connectrpc.com/docs/protocol/#error-end-stream>: a detail is the name of a type, the bytes of a message of it
//! in base64 without padding, and `debug`, which is for people.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use model::Denial;
use serde_json::{Value, json};

const KIND: &str = "google.rpc.ErrorInfo";
const DOMAIN: &str = "casemate";

/// The list of details: one.
pub(super) fn details(denial: &Denial) -> Value {
    json!([{ "type": KIND, "value": STANDARD_NO_PAD.encode(error_info(denial)), "debug": denial }])
}

/// `reason` (1), `domain` (2), and `metadata` (3), a map.
fn error_info(denial: &Denial) -> Vec<u8> {
    let Denial { code, rule, asked, nearest_allowed, how_to_ask } = denial;
    let mut message = Vec::new();
    push(&mut message, 1, code.as_str().as_bytes());
    push(&mut message, 2, DOMAIN.as_bytes());
    let nearest = nearest_allowed.as_deref().map(|nearest| ("nearest_allowed", nearest));
    let fixed = [("rule", rule.as_str()), ("asked", asked), ("how_to_ask", how_to_ask)];
    for (name, text) in fixed.into_iter().chain(nearest) {
        let mut pair = Vec::new();
        push(&mut pair, 1, name.as_bytes());
        push(&mut pair, 2, text.as_bytes());
        push(&mut message, 3, &pair);
    }
    message
}

/// A field of bytes: its tag, its length as a varint, itself.
fn push(message: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    const BYTES: u8 = 2;
    message.push(field << 3 | BYTES);
    let mut length = bytes.len();
    while length >= 0x80 {
        message.push(length as u8 | 0x80);
        length >>= 7;
    }
    message.push(length as u8);
    message.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Code;

    #[test]
    fn a_detail_is_an_error_info() {
        let denial = Denial::new(Code::Root, "root", "a".repeat(200), "h");
        let details = details(&denial);
        let [detail] = &details.as_array().unwrap()[..] else { panic!() };
        assert_eq!(detail["type"], KIND);
        assert_eq!(detail["debug"]["code"], "root");
        let bytes = STANDARD_NO_PAD.decode(detail["value"].as_str().unwrap()).unwrap();
        let mut wanted = b"\x0a\x04root\x12\x08casemate\x1a\x0c\x0a\x04rule\x12\x04root\x1a\xd2\x01\x0a\x05asked\x12\xc8\x01".to_vec();
        wanted.extend([b'a'; 200]);
        wanted.extend(b"\x1a\x0f\x0a\x0ahow_to_ask\x12\x01h");
        assert_eq!(bytes, wanted);
    }
}
