//! Signed addresses of files: who has one may read or write that one file, without a token.

use crate::e2b::call::Query;
use crate::e2b::failure::{Failure, Kind, fail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use node::host::Sandbox;
use sha2::{Digest, Sha256};
use std::time::{SystemTime, UNIX_EPOCH};
use subtle::ConstantTimeEq;

/// What a signature is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Read,
    Write,
}

/// What a signed address says.
#[derive(Debug)]
pub(crate) struct Signed<'a> {
    operation: Operation,
    path: &'a str,
    user: &'a str,
    expires: Option<&'a str>,
    signature: &'a str,
}

impl<'a> Signed<'a> {
    /// Reads the address.
    pub(crate) fn of(query: &'a Query, operation: Operation) -> Result<Signed<'a>, Failure> {
        let Some(signature) = query.get("signature") else {
            return fail(Kind::Unauthenticated, "missing signature query parameter");
        };
        Ok(Signed {
            operation,
            path: query.get("path").unwrap_or_default(),
            user: query.get("username").unwrap_or_default(),
            expires: query.get("signature_expiration"),
            signature,
        })
    }

    /// The one of `sandboxes` whose token signed it. All are tried, so the time tells nothing of which.
    pub(crate) fn opens(&self, sandboxes: Vec<Sandbox>) -> Result<Sandbox, Failure> {
        let mut found = None;
        for sandbox in sandboxes {
            let signed = self.signature_with(&sandbox.info().token);
            if bool::from(signed.as_bytes().ct_eq(self.signature.as_bytes())) {
                found = Some(sandbox);
            }
        }
        let Some(sandbox) = found else { return fail(Kind::Unauthenticated, "invalid signature") };
        self.in_time(SystemTime::now())?;
        Ok(sandbox)
    }

    fn signature_with(&self, token: &str) -> String {
        let operation = match self.operation {
            Operation::Read => "read",
            Operation::Write => "write",
        };
        let mut text = format!("{}:{operation}:{}:{token}", self.path, self.user);
        if let Some(expires) = self.expires {
            text.push(':');
            text.push_str(expires);
        }
        format!("v1_{}", STANDARD_NO_PAD.encode(Sha256::digest(text)))
    }

    fn in_time(&self, now: SystemTime) -> Result<(), Failure> {
        let now_s = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        match self.expires.map(str::parse::<u64>) {
            None => Ok(()),
            Some(Ok(expires_s)) if expires_s >= now_s => Ok(()),
            Some(Ok(_)) => fail(Kind::Unauthenticated, "signature is already expired"),
            Some(Err(_)) => fail(Kind::Invalid, "signature_expiration: expected seconds since 1970"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn query(pairs: &[(&str, &str)]) -> Query {
        Query::for_tests(pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect())
    }

    #[test]
    fn a_signature_covers_path_operation_user_and_expiry() {
        let made = |pairs: &[(&str, &str)], operation| {
            let query = query(&[pairs, &[("signature", "x")]].concat());
            Signed::of(&query, operation).unwrap().signature_with("token")
        };
        // printf '%s' '/a:read::token' | openssl dgst -sha256 -binary | base64 | tr -d =
        assert_eq!(
            made(&[("path", "/a")], Operation::Read),
            "v1_aplmC4NkJq68ZefW7XTqyoyNGwWxiO32wjsTlW+LEX4"
        );
        let others = [
            made(&[("path", "/b")], Operation::Read),
            made(&[("path", "/a")], Operation::Write),
            made(&[("path", "/a"), ("username", "root")], Operation::Read),
            made(&[("path", "/a"), ("signature_expiration", "1")], Operation::Read),
        ];
        for (n, other) in others.iter().enumerate() {
            assert!(others[..n].iter().all(|before| before != other));
        }
    }

    #[test]
    fn what_expired_is_refused() {
        let at = |expires: &str, now_s| {
            let query = query(&[("signature", "x"), ("signature_expiration", expires)]);
            Signed::of(&query, Operation::Read).unwrap().in_time(UNIX_EPOCH + Duration::from_secs(now_s))
        };
        assert_eq!(at("100", 100), Ok(()));
        let expired = Failure::said(Kind::Unauthenticated, "signature is already expired");
        assert_eq!(at("100", 101), Err(expired));
        assert!(at("soon", 0).is_err());
    }
}
