//! One request that was let in: who asks, for which sandbox, and what.

use super::failure::{Failure, Kind, fail};
use super::place::Name;
use crate::App;
use crate::body::{Body, Inbound, Lent};
use crate::bounds::{CONTROL_BYTES_MAX, MESSAGE_BYTES_MAX, MESSAGE_TIME};
use bytes::Bytes;
use hyper::header::{AsHeaderName, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use node::host::Sandbox;
use node::keys::Holder;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::sync::Arc;

pub(crate) type Outcome = Result<Response<Body>, Failure>;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Somebody from the network who showed nothing, or a token.
    Stranger,
    /// Whoever has this key.
    Key(Holder),
    /// Whoever may open the local socket: the user who runs the server.
    Operator,
}

/// One request that was let in.
pub(crate) struct Call {
    pub app: Arc<App>,
    pub caller: Caller,
    /// The one that the request names; it was there when the request came.
    pub named: Option<Named>,
    pub head: Parts,
    pub body: Lent,
}

/// A sandbox that a request names, and that its caller may use.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub name: Name,
    pub sandbox: Sandbox,
}

impl Call {
    /// The sandbox of a route that names one.
    pub(crate) fn sandbox(&self) -> Result<Sandbox, Failure> {
        self.named.as_ref().map(|named| named.sandbox.clone()).ok_or(Failure::Gone)
    }

    /// A header, if it is there once and is text.
    pub(crate) fn header(&self, name: impl AsHeaderName) -> Option<&str> {
        self.head.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The parameters of the target. An unknown one is refused, and one that is there twice.
    pub(crate) fn query(&self, known: &[&str]) -> Result<Query, Failure> {
        let mut found = Vec::new();
        let text = self.head.uri.query().unwrap_or_default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            if !known.contains(&name.as_ref()) {
                return fail(Kind::Invalid, format!("unknown parameter `{}`", model::quote(name.as_bytes())));
            }
            if found.iter().any(|(other, _): &(String, _)| *other == name) {
                return fail(Kind::Invalid, format!("the parameter `{name}` is given twice"));
            }
            found.push((name.into_owned(), value.into_owned()));
        }
        Ok(Query(found))
    }

    /// Reads a control request's body.
    pub(crate) async fn control<T: DeserializeOwned>(self) -> Result<T, Failure> {
        let body = Inbound::new(self.body, CONTROL_BYTES_MAX as u64, MESSAGE_TIME).all().await?;
        super::json::read(&body)
    }

    /// Reads a unary call's message.
    pub(crate) async fn message<T: DeserializeOwned>(self) -> Result<T, Failure> {
        self.is_type("application/json")?;
        if self.header(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return fail(Kind::Unimplemented, "compressed messages are not read by this server");
        }
        let body = Inbound::new(self.body, MESSAGE_BYTES_MAX as u64, MESSAGE_TIME).all().await?;
        super::json::read(&body)
    }

    /// Refuses another content type than this, parameters aside.
    pub(crate) fn is_type(&self, wanted: &str) -> Result<(), Failure> {
        let given = self.header(CONTENT_TYPE).unwrap_or_default();
        let essence = given.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case(wanted) {
            return Ok(());
        }
        fail(Kind::WrongType, format!("this route reads {wanted}, not `{}`", model::quote(essence)))
    }
}

/// The parameters of a target.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Outcome {
    let bytes =
        serde_json::to_vec(value).map_err(|error| Failure::said(Kind::Internal, error.to_string()))?;
    Ok(typed(status, "application/json", Body::whole(Bytes::from(bytes))))
}

pub(crate) fn typed(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// An answer without content.
pub(crate) fn empty(status: StatusCode) -> Outcome {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    Ok(response)
}

/// A path from a client as the node takes it: nothing that the kernel could not be asked for, and not too long.
pub(crate) fn path(text: Cow<'_, str>) -> Result<Vec<u8>, Failure> {
    let most = crate::bounds::PATH_BYTES_MAX;
    if text.contains('\0') {
        return fail(Kind::Invalid, "the path has a NUL byte");
    }
    if text.len() > most {
        return fail(Kind::Invalid, format!("the path is longer than {most} bytes"));
    }
    Ok(text.into_owned().into_bytes())
}

#[cfg(test)]
impl Query {
    pub(crate) fn for_tests(pairs: Vec<(String, String)>) -> Query {
        Query(pairs)
    }
}
