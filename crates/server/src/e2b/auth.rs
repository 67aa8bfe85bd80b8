//! Who may do what. Another key's sandbox is not there: the answer does not tell it from one that never was.

use super::call::{Caller, Named};
use super::failure::{Failure, Kind, fail};
use super::place::Name;
use crate::{App, Origin};
use hyper::HeaderMap;
use node::host::Sandbox;

/// The header with an API key.
pub(crate) const API_KEY: &str = "x-api-key";
/// The header with a sandbox's token.
pub(crate) const ACCESS_TOKEN: &str = "x-access-token";

/// Who asks for something of the control plane.
pub(crate) fn caller(app: &App, origin: Origin, headers: &HeaderMap) -> Result<Caller, Failure> {
    match (headers.get(API_KEY), origin) {
        (None, Origin::Operator) => Ok(Caller::Operator),
        (None, Origin::Network) => fail(Kind::Unauthenticated, "no API key: give one as X-API-KEY"),
        (Some(key), _) => match key.to_str().ok().and_then(|key| (app.keys)(key)) {
            Some(id) => Ok(Caller::Key(id)),
            None => fail(Kind::Unauthenticated, "invalid API key"),
        },
    }
}

/// A sandbox that the caller may see.
pub(crate) fn owned(app: &App, caller: Caller, name: Name) -> Result<Named, Failure> {
    let sandbox = name.id().and_then(|id| app.node.sandbox(id)).filter(|sandbox| match caller {
        Caller::Operator => true,
        Caller::Key(key) => sandbox.owner() == key,
        Caller::Stranger => false,
    });
    match sandbox {
        Some(sandbox) => Ok(Named { name, sandbox }),
        None => Err(missing(name.as_str())),
    }
}

/// What is said of a sandbox that is not there, or not the caller's.
pub(crate) fn missing(name: &str) -> Failure {
    Failure::said(Kind::NotFound, format!("Sandbox \"{name}\" doesn't exist or you don't have access to it"))
}

/// Whether the request shows the sandbox's token.
pub(crate) fn token(sandbox: &Sandbox, headers: &HeaderMap) -> Result<(), Failure> {
    match headers.get(ACCESS_TOKEN) {
        Some(token) if sandbox.opens_with(token.as_bytes()) => Ok(()),
        Some(_) => fail(Kind::Unauthenticated, "invalid access token"),
        None => fail(Kind::Unauthenticated, "no access token: give the sandbox's as X-Access-Token"),
    }
}
