//! The time that a Connect client gives a call.

use super::failure::{Failure, Kind, fail};
use hyper::HeaderMap;

/// `Connect-Timeout-Ms`: at most ten digits, as the protocol has it. None is no limit.
pub(crate) fn timeout_ms(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    let Some(value) = headers.get("connect-timeout-ms") else { return Ok(None) };
    let digits = value
        .to_str()
        .ok()
        .filter(|text| (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(timeout_ms) => Ok(Some(timeout_ms)),
        None => fail(Kind::Invalid, "Connect-Timeout-Ms: expected up to ten digits"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_up_to_ten_digits() {
        let read = |text: &str| {
            timeout_ms(&HeaderMap::from_iter([(
                "connect-timeout-ms".parse().unwrap(),
                text.parse().unwrap(),
            )]))
        };
        assert_eq!(timeout_ms(&HeaderMap::new()), Ok(None));
        assert_eq!(read("60000"), Ok(Some(60_000)));
        assert_eq!(read("9999999999"), Ok(Some(9_999_999_999)));
        for bad in ["", "-1", "1.5", "99999999999", "1s"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
