//! Why a request was not done, in the three shapes in which E2B's clients read it.

use super::details::details;
use crate::body::{Body, Unread};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use model::{Denial, quote};
use node::host::Error;
use policy::engine::Action;
use serde_json::json;
use std::borrow::Cow;
use std::io::ErrorKind;

/// What the Python SDK reads to decide whether it tries again.
pub(crate) const SHOULD_RETRY: HeaderName = HeaderName::from_static("should-retry");
const TEXT_BYTES_MAX: usize = 2000;
/// Where a Connect error says more than its code and message.
const DETAILS: &str = "details";

/// What kind of failure it is: one row of [`Kind::names`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Invalid,
    Unauthenticated,
    Denied,
    NotFound,
    NoMethod,
    NotAcceptable,
    Slow,
    Conflict,
    Exists,
    TooLong,
    WrongType,
    Headers,
    Exhausted,
    Internal,
    Unknown,
    Unimplemented,
    Unavailable,
    Deadline,
    NoSpace,
}

impl Kind {
    /// The status of plain HTTP, and the code of Connect, which has a status of its own.
    fn names(self) -> (u16, &'static str, u16) {
        match self {
            Kind::Invalid => (400, "invalid_argument", 400),
            Kind::Unauthenticated => (401, "unauthenticated", 401),
            Kind::Denied => (403, "permission_denied", 403),
            Kind::NotFound => (404, "not_found", 404),
            Kind::NoMethod => (405, "unimplemented", 405),
            Kind::NotAcceptable => (406, "invalid_argument", 406),
            Kind::Slow => (408, "deadline_exceeded", 408),
            Kind::Conflict => (409, "failed_precondition", 400),
            Kind::Exists => (409, "already_exists", 409),
            Kind::TooLong => (413, "resource_exhausted", 429),
            Kind::WrongType => (415, "unknown", 415),
            Kind::Headers => (431, "resource_exhausted", 431),
            Kind::Exhausted => (429, "resource_exhausted", 429),
            Kind::Internal => (500, "internal", 500),
            Kind::Unknown => (500, "unknown", 500),
            Kind::Unimplemented => (501, "unimplemented", 501),
            Kind::Unavailable => (503, "unavailable", 503),
            Kind::Deadline => (504, "deadline_exceeded", 504),
            Kind::NoSpace => (507, "resource_exhausted", 429),
        }
    }
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The sandbox is gone, or never was.
    Gone,
    /// Everything else.
    Said { kind: Kind, message: String },
    /// A rule refuses it.
    Denied(Box<Refused>),
}

/// A denial on its way to whoever asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub kind: Kind,
    pub denial: Denial,
    /// In which words, where E2B has its own.
    pub message: Option<String>,
    /// When it makes sense to ask again.
    pub retry_after_s: Option<u64>,
}

pub(crate) fn fail<T>(kind: Kind, message: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::said(kind, message))
}

impl Failure {
    pub(crate) fn said(kind: Kind, message: impl Into<String>) -> Failure {
        let mut message = message.into();
        if message.len() > TEXT_BYTES_MAX {
            message.truncate(message.floor_char_boundary(TEXT_BYTES_MAX));
            message.push('…');
        }
        Failure::Said { kind, message }
    }

    /// What a rule refuses.
    pub(crate) fn denied(denial: Denial) -> Failure {
        Failure::Denied(Refused { kind: Kind::Denied, denial, message: None, retry_after_s: None }.into())
    }

    /// What a rule refuses, in words that clients know.
    pub(crate) fn worded(kind: Kind, denial: Denial, message: String) -> Failure {
        Failure::Denied(Refused { kind, denial, message: Some(message), retry_after_s: None }.into())
    }

    /// What failed of a request that only looks at `path`.
    ///
    /// Where no rule gives a path, nothing of it is inside: E2B's clients are told so, and the denial goes along. A path that
    /// a rule forbids may well be there, and stays denied.
    pub(crate) fn looking(path: &[u8], error: Error) -> Failure {
        match error {
            Error::Denied(denial) if denial.rule == Action::Read.otherwise() => {
                let message = format!("path '{}' does not exist", quote(path));
                Failure::worded(Kind::NotFound, denial, message)
            }
            error => error.into(),
        }
    }

    /// What names a feature that E2B has and this server has not.
    pub(crate) fn unimplemented(what: &str) -> Failure {
        Failure::said(Kind::Unimplemented, format!("{what} is not implemented by this server"))
    }

    fn parts(&self) -> (Kind, Cow<'_, str>) {
        match self {
            Failure::Gone => (Kind::NotFound, "The sandbox was not found".into()),
            Failure::Said { kind, message } => (*kind, message.into()),
            Failure::Denied(refused) => {
                let Refused { kind, denial, message, .. } = &**refused;
                let message = message.as_deref().map(Cow::Borrowed);
                (*kind, message.unwrap_or_else(|| format!("{denial} ({})", denial.how_to_ask).into()))
            }
        }
    }

    fn refused(&self) -> Option<&Refused> {
        match self {
            Failure::Denied(refused) => Some(refused),
            _ => None,
        }
    }

    /// An answer of this status; a denial is a field of its own there, which E2B's clients pass over.
    fn answer(&self, status: u16, mut value: serde_json::Value, field: &str) -> Response<Body> {
        let Some(refused) = self.refused() else { return answer(status, &value) };
        value[field] = match field {
            DETAILS => details(&refused.denial),
            _ => json!(refused.denial),
        };
        let mut response = answer(status, &value);
        if let Some(retry_after_s) = refused.retry_after_s {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after_s));
        }
        response
    }

    /// As the control plane and the file endpoints say it.
    pub(crate) fn plain(&self) -> Response<Body> {
        let (kind, message) = self.parts();
        let (status, _, _) = kind.names();
        self.answer(status, json!({"code": status, "message": message}), "denial")
    }

    /// As a unary call says it.
    pub(crate) fn unary(&self) -> Response<Body> {
        let (kind, message) = self.parts();
        let (_, code, status) = kind.names();
        self.answer(status, json!({"code": code, "message": message}), DETAILS)
    }

    /// As the last frame of a stream says it.
    pub(crate) fn last_frame(&self) -> serde_json::Value {
        let (code, message) = match self {
            // A stream had begun, so the sandbox was there. Clients that read "not found" would not ask how it is now.
            Failure::Gone => ("unavailable", "the sandbox ended before the stream did".into()),
            failure => (failure.parts().0.names().1, failure.parts().1),
        };
        let mut error = json!({"code": code, "message": message});
        if let Some(refused) = self.refused() {
            error[DETAILS] = details(&refused.denial);
        }
        json!({"error": error})
    }
}

/// A JSON answer. No status above 400 that this server gives gets better by asking again, so none invites to.
pub(crate) fn answer(status: u16, value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::whole(value.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if matches!(status, 429 | 502..=504) {
        response.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    response
}

/// What the data plane of a sandbox that is not there answers.
pub(crate) fn gone(id: &str) -> Response<Body> {
    answer(502, &json!({"sandboxId": id, "message": "The sandbox was not found", "code": 502}))
}

/// What a port of a sandbox answers on which nothing can be reached.
pub(crate) fn port_closed(id: &str, port: u16) -> Response<Body> {
    let message = "The sandbox is running but port is not open";
    let reason = "this server does not open ports of a sandbox to the outside yet";
    answer(502, &json!({"sandboxId": id, "message": message, "port": port, "code": 502, "reason": reason}))
}

impl From<Unread> for Failure {
    fn from(unread: Unread) -> Failure {
        let kind = match unread {
            Unread::TooLong(_) => Kind::TooLong,
            Unread::TooSlow => Kind::Slow,
            Unread::BrokenOff => Kind::Invalid,
        };
        Failure::said(kind, unread.to_string())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let kind = match &error {
            Error::Gone => return Failure::Gone,
            Error::File { path, source } => return file(path, source),
            Error::Quota(over) => {
                let retry_after_s =
                    over.retry_after.map(|wait| wait.as_millis().div_ceil(1000).max(1) as u64);
                let denial = over.denial.clone();
                return Failure::Denied(
                    Refused { kind: Kind::Exhausted, denial, message: None, retry_after_s }.into(),
                );
            }
            Error::NoCommand(_) => Kind::NotFound,
            Error::Full { .. } => Kind::Exhausted,
            Error::Refused { .. } => Kind::Internal,
            Error::Denied(denial) => return Failure::denied(denial.clone()),
            Error::Ledger(_) | Error::Unresponsive(_) | Error::Launcher(_) => Kind::Unavailable,
            Error::NotStarted { .. } | Error::NoDirectory { .. } => Kind::Invalid,
            Error::InputClosed | Error::WrongInput(_) => Kind::Internal,
            Error::Exists(_) => Kind::Exists,
            Error::NotADirectory(_) | Error::NotAFile(_) => Kind::Invalid,
            Error::BadPath { .. } | Error::TooMuch(_) => Kind::Invalid,
        };
        let message = match &error {
            Error::Refused { what, mend: Some(mend) } => {
                format!("the sandbox could not be built: {what} ({mend})")
            }
            _ => error.to_string(),
        };
        if matches!(kind, Kind::Internal | Kind::Unavailable) {
            tracing::warn!(error = %quote(&message), "refused");
        }
        Failure::said(kind, message)
    }
}

/// What the kernel said inside about a file.
fn file(path: &str, source: &std::io::Error) -> Failure {
    let (kind, what) = match source.kind() {
        ErrorKind::NotFound => (Kind::NotFound, format!("path '{path}' does not exist")),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            (Kind::Denied, format!("path '{path}': permission denied"))
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            (Kind::NoSpace, format!("path '{path}': not enough disk space"))
        }
        ErrorKind::IsADirectory => (Kind::Invalid, format!("path '{path}' is a directory")),
        ErrorKind::NotADirectory => (Kind::Invalid, format!("path '{path}': not a directory")),
        ErrorKind::AlreadyExists => (Kind::Exists, format!("path '{path}' already exists")),
        ErrorKind::InvalidFilename | ErrorKind::InvalidInput => {
            (Kind::Invalid, format!("path '{path}': invalid path"))
        }
        _ => match source.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
            Some(rustix::io::Errno::LOOP) => (Kind::Invalid, format!("path '{path}': too many links")),
            Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE | rustix::io::Errno::FBIG) => {
                (Kind::Exhausted, format!("path '{path}': {source}"))
            }
            _ => (Kind::Internal, format!("path '{path}': {source}")),
        },
    };
    Failure::said(kind, what)
}
