//! Who may do what. Another key's sandbox is not there: the answer does not tell it from one that never was.

use super::call::{Caller, Named};
use super::failure::{Failure, Kind, fail};
use super::place::Name;
use super::routes::Route;
use crate::{App, Origin};
use hyper::HeaderMap;
use model::{Code, Denial, Event, Reach, Role};
use node::host::Sandbox;
use node::keys::Holder;

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
            Some(holder) => Ok(Caller::Key(holder)),
            None => fail(Kind::Unauthenticated, "invalid API key"),
        },
    }
}

/// How far the right that a route takes goes for the caller. What its roles do not carry is refused, and on record.
pub(crate) fn reach(app: &App, caller: Caller, route: &Route) -> Result<Option<Reach>, Failure> {
    let Caller::Key(Holder { id, roles, .. }) = caller else { return Ok(None) };
    if let Some(reach) = roles.reach(route.right) {
        return Ok(Some(reach));
    }
    let asked = format!("{} {} with the key {id} ({roles})", route.method.name(), route.path);
    let holders = Role::ALL.into_iter().filter(|role| role.reach(route.right).is_some());
    let holders: Vec<&str> = holders.map(Role::as_str).collect();
    let how = format!("ask with a key that is {}: `casemate key create --role`", holders.join(" or "));
    let denial = Denial::new(Code::Role, format!("role.{}", route.right.as_str()), asked, how);
    let denial = denial.nearest(format!("what a key may do that is {roles}"));
    app.node.observe(Event::denied(None, Some(id), denial.clone()));
    Err(Failure::denied(denial))
}

/// A sandbox that the caller may reach.
pub(crate) fn reached(app: &App, caller: Caller, reach: Option<Reach>, name: Name) -> Result<Named, Failure> {
    let sandbox = name.id().and_then(|id| app.node.sandbox(id)).filter(|sandbox| match caller {
        Caller::Operator => true,
        Caller::Key(_) if reach == Some(Reach::All) => true,
        Caller::Key(key) => reach == Some(Reach::Own) && sandbox.owner() == key.id,
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
