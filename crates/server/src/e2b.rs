//! E2B's wire protocol: one origin for the interface that makes sandboxes and for what is inside each of them.
//!
//! ```text
//! request ─→ place (host, two headers, path) ─→ route (table) ─→ auth ─→ handler ─→ node
//!                └ control plane │ sandbox's plane │ signed file          └ failure, in the route's shape
//! ```
//!
//! Wire types live here and nowhere else: they are read strictly, and turned into the node's own before anything is done.

mod auth;
mod call;
mod control;
mod cors;
mod details;
mod failure;
mod files;
mod filesystem;
pub mod frame;
mod json;
pub mod place;
mod process;
mod routes;
mod timing;
mod user;

pub use files::multipart;
pub use process::signal_of;
pub use routes::{RouteInfo, routes as all_routes};

use crate::body::{Body, Lender, Lent, Rest};
use crate::bounds::HEADER_BYTES_MAX;
use crate::traffic::Full;
use crate::{App, Origin};
use call::{Call, Caller, Named, Outcome};
use failure::{Failure, Kind, fail, gone, port_closed};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONNECTION, HOST, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response};
use place::{ENVD_PORT, Name, Place, place};
use routes::{Action, Auth, Found, Plane, Route, Speaks};
use std::sync::Arc;
use std::time::Duration;

/// Answers one request.
pub(crate) async fn answer(app: Arc<App>, origin: Origin, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let lender = Lender::default();
    let body = lender.lend(body);
    let mut response = if header_bytes(&head) > HEADER_BYTES_MAX {
        drop(body);
        Failure::said(Kind::Headers, format!("the headers are longer than {HEADER_BYTES_MAX} bytes")).plain()
    } else if head.method == Method::OPTIONS {
        drop(body);
        cors::preflight(&head.headers)
    } else {
        let (method, path) = (head.method.clone(), head.uri.path().to_owned());
        let response = addressed(app, origin, head, body).await;
        tracing::debug!(%method, path = %model::quote(&path), status = response.status().as_u16(), "answered");
        response
    };
    if lender.settle().await == Rest::Unread {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    cors::open(response.headers_mut());
    response
}

fn header_bytes(head: &Parts) -> usize {
    let lines = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    head.uri.path_and_query().map_or(0, |target| target.as_str().len()) + lines.sum::<usize>()
}

async fn addressed(app: Arc<App>, origin: Origin, head: Parts, body: Lent) -> Response<Body> {
    // A target that is a whole address names its host there (RFC 9112, 3.2.2).
    let host = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = host.or_else(|| head.headers.get(HOST).map(HeaderValue::as_bytes));
    let (id, port) = (once(&head.headers, place::SANDBOX_ID), once(&head.headers, place::SANDBOX_PORT));
    match place(host, id, port, head.uri.path()) {
        Err(misplaced) => Failure::said(Kind::Invalid, misplaced.to_string()).plain(),
        Ok(Place::Control) => control_plane(app, origin, head, body).await,
        Ok(Place::Sandbox { id, port }) => sandbox_plane(app, origin, id, port, head, body).await,
        Ok(Place::Signed) => signed_file(app, origin, head, body).await,
    }
}

/// A header that may be there once. Twice is as good as unreadable.
fn once<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    Some(if values.next().is_some() { b"twice, and so no name or number" } else { first.as_bytes() })
}

/// The route of a request, or what is said if there is none.
fn route<'a>(
    plane: Plane,
    head: &Parts,
    path: &'a str,
) -> Result<(&'static Route, Option<&'a str>), Box<Response<Body>>> {
    match routes::find(plane, &head.method, path) {
        Found::Route(route, id) => Ok((route, id)),
        Found::Nothing => Err(Failure::said(Kind::NotFound, "no such route").plain().into()),
        Found::OtherMethods(methods) => {
            let failure = Failure::said(Kind::NoMethod, format!("this route has the methods {methods}"));
            let mut response = failure.plain();
            if let Ok(methods) = HeaderValue::try_from(methods) {
                response.headers_mut().insert(ALLOW, methods);
            }
            Err(response.into())
        }
    }
}

async fn control_plane(app: Arc<App>, origin: Origin, head: Parts, body: Lent) -> Response<Body> {
    let path = head.uri.path().to_owned();
    let (route, id) = match route(Plane::Control, &head, &path) {
        Ok(found) => found,
        Err(response) => return *response,
    };
    let admitted = || {
        let caller = match route.auth {
            Auth::Open => Caller::Stranger,
            Auth::Key | Auth::Token | Auth::TokenOrSignature => auth::caller(&app, origin, &head.headers)?,
        };
        let reach = auth::reach(&app, caller, route)?;
        let named = match id.filter(|_| route.names_sandbox()) {
            Some(text) => Some(auth::reached(&app, caller, reach, name(text)?)?),
            None => None,
        };
        Ok((caller, named))
    };
    match admitted() {
        Ok((caller, named)) => {
            let gone = named.as_ref().map(|named| auth::missing(named.name.as_str()));
            let outcome = act(route, Call { app, caller, named, head, body }).await;
            outcome.unwrap_or_else(|failure| match (failure, gone) {
                (Failure::Gone, Some(missing)) => missing.plain(),
                (failure, _) => failure.plain(),
            })
        }
        Err(failure) => Failure::plain(&failure),
    }
}

/// A sandbox's id in a path.
fn name(text: &str) -> Result<Name, Failure> {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8().ok();
    let name = decoded.and_then(|text| Name::read(&text));
    name.ok_or_else(|| Failure::said(Kind::Invalid, "Invalid sandbox ID"))
}

async fn sandbox_plane(
    app: Arc<App>,
    origin: Origin,
    name: Name,
    port: u16,
    head: Parts,
    body: Lent,
) -> Response<Body> {
    let Some(sandbox) = name.id().and_then(|id| app.node.sandbox(id)) else { return gone(name.as_str()) };
    if port != ENVD_PORT {
        return port_closed(name.as_str(), port);
    }
    let path = head.uri.path().to_owned();
    let route = match route(Plane::Sandbox, &head, &path) {
        Ok((route, _)) => route,
        Err(response) => return *response,
    };
    let named = Named { name, sandbox };
    let call = Call { app, caller: Caller::Stranger, named: Some(named.clone()), head, body };
    let admitted = match (origin, route.auth) {
        (Origin::Operator, _) | (_, Auth::Open) => Ok(()),
        (_, Auth::Key | Auth::Token) => auth::token(&named.sandbox, &call.head.headers),
        (_, Auth::TokenOrSignature) => {
            token_or_signature(&call, route, vec![named.sandbox.clone()]).map(|_| ())
        }
    };
    match admitted {
        Ok(()) => in_sandbox(route, named, call).await,
        // This is said before the protocol of the route begins, so it has one shape for all of them.
        Err(failure) => failure.plain(),
    }
}

/// A file of the sandbox that the signature, or the token, tells: the address itself names none.
async fn signed_file(app: Arc<App>, origin: Origin, head: Parts, body: Lent) -> Response<Body> {
    let route = match route(Plane::Sandbox, &head, "/files") {
        Ok((route, _)) => route,
        Err(response) => return *response,
    };
    let caller = if origin == Origin::Operator { Caller::Operator } else { Caller::Stranger };
    let mut call = Call { app, caller, named: None, head, body };
    let found = token_or_signature(&call, route, call.app.node.sandboxes());
    let named = found.and_then(|sandbox| match Name::read(sandbox.id().as_str()) {
        Some(name) => Ok(Named { name, sandbox }),
        None => Err(Failure::Gone),
    });
    match named {
        Ok(named) => {
            call.named = Some(named.clone());
            in_sandbox(route, named, call).await
        }
        Err(failure) => failure.plain(),
    }
}

/// The one of `sandboxes` that the request's token opens, or that signed its address.
fn token_or_signature(
    call: &Call,
    route: &Route,
    sandboxes: Vec<node::host::Sandbox>,
) -> Result<node::host::Sandbox, Failure> {
    if let Some(token) = call.head.headers.get(auth::ACCESS_TOKEN) {
        let mut opened = None;
        for sandbox in sandboxes {
            if sandbox.opens_with(token.as_bytes()) {
                opened = Some(sandbox);
            }
        }
        return opened.ok_or_else(|| Failure::said(Kind::Unauthenticated, "invalid access token"));
    }
    let operation = route.operation();
    files::Signed::of(&files::parameters(call)?, operation)?.opens(sandboxes)
}

/// Does what a route does in its sandbox, and says failures as the route's clients read them.
async fn in_sandbox(route: &'static Route, named: Named, call: Call) -> Response<Body> {
    let held = call.app.traffic.enter(named.sandbox.id(), route.speaks == Speaks::Stream);
    let outcome = match held {
        Ok(held) => act(route, call).await.map(|response| response.map(|body| body.holding(held))),
        Err(Full(most)) => {
            fail(Kind::Exhausted, format!("too many requests to one sandbox at one time: {most}"))
        }
    };
    outcome.unwrap_or_else(|failure| match (&failure, route.speaks) {
        (Failure::Gone, _) => gone(named.name.as_str()),
        (_, Speaks::Plain) => failure.plain(),
        (_, Speaks::Unary) => failure.unary(),
        (_, Speaks::Stream) => process::error(&failure),
    })
}

async fn act(route: &'static Route, call: Call) -> Outcome {
    let does = match route.action {
        Action::Does(does) => does,
        Action::Refuses(what) => return Err(Failure::unimplemented(what)),
    };
    if route.speaks != Speaks::Unary {
        return does(call).await;
    }
    match timing::timeout_ms(&call.head.headers)? {
        None => does(call).await,
        Some(timeout_ms) => tokio::time::timeout(Duration::from_millis(timeout_ms), does(call))
            .await
            .unwrap_or_else(|_| fail(Kind::Deadline, "the call's time is over")),
    }
}
