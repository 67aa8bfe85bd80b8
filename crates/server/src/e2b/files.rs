//! `/files` and `/health` of a sandbox.

pub mod multipart;
mod signature;
mod unpack;

pub(crate) use signature::{Operation, Signed};

use super::call::{Call, Outcome, Query, empty, json, path};
use super::failure::{Failure, Kind, fail};
use super::user;
use crate::body::{Body, BrokenOff, Inbound, Source};
use crate::bounds::{UPLOAD_BYTES_MAX, UPLOAD_TIME};
use bytes::Bytes;
use hyper::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, VARY,
};
use hyper::{Response, StatusCode};
use multipart::{Form, Found, NotAForm};
use node::host::{Entry, FileReader, FileWriter, Sandbox, Target};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use policy::User;
use serde_json::{Value, json as value};
use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use unpack::Upload;

const OCTETS: &str = "application/octet-stream";
const FORM: &str = "multipart/form-data";

/// A sandbox that was found answers.
pub(crate) async fn health(_: Call) -> Outcome {
    empty(StatusCode::NO_CONTENT)
}

/// The parameters of both.
pub(crate) fn parameters(call: &Call) -> Result<Query, Failure> {
    call.query(&["path", "username", "signature", "signature_expiration"])
}

pub(crate) async fn download(call: Call) -> Outcome {
    let (sandbox, query) = (call.sandbox()?, parameters(&call)?);
    if call.header(ACCEPT_ENCODING).is_some_and(|accepted| !accepts_identity(accepted)) {
        return fail(Kind::NotAcceptable, "Accept-Encoding: this server sends files as they are");
    }
    let Some(text) = query.get("path").filter(|text| !text.is_empty()) else {
        return fail(Kind::Invalid, "path: no file is named");
    };
    let target = Target { user: user::named(query.get("username"))?, path: path(Cow::Borrowed(text))? };
    let (entry, reader) =
        sandbox.read(&target).await.map_err(|error| Failure::looking(&target.path, error))?;
    let name = disposition(&entry);
    let mut response = Response::new(content(reader).await?);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(OCTETS));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("none"));
    headers.insert(CONTENT_DISPOSITION, name);
    Ok(response)
}

/// Whether a client takes a file that is not packed.
fn accepts_identity(accepted: &str) -> bool {
    let mut any = true;
    for part in accepted.split(',') {
        let (coding, parameter) = part.split_once(';').unwrap_or((part, ""));
        let quality = parameter.trim().strip_prefix("q=").and_then(|text| text.parse::<f32>().ok());
        let refused = quality.is_some_and(|quality| quality <= 0.0);
        match coding.trim() {
            "identity" => return !refused,
            "*" if refused => any = false,
            _ => {}
        }
    }
    any
}

/// The file's name, so that no letter of it means anything in a header.
fn disposition(entry: &Entry) -> HeaderValue {
    const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_');
    let name = String::from_utf8_lossy(&entry.name);
    let encoded = utf8_percent_encode(&name, PLAIN).to_string();
    let text = if encoded == name {
        format!("inline; filename=\"{name}\"")
    } else {
        format!("inline; filename*=UTF-8''{encoded}")
    };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("inline"))
}

/// The body of a download. The kernel's own files cannot tell their length; of those that end within one piece it is known
/// all the same.
async fn content(mut reader: FileReader) -> Result<Body, Failure> {
    let length = reader.bytes_left();
    let Some(first) = reader.next().await? else { return Ok(Body::empty()) };
    let mut ahead = VecDeque::from([first]);
    if length.is_none() {
        match reader.next().await? {
            Some(second) => ahead.push_back(second),
            None => return Ok(Body::whole(ahead.pop_front().unwrap_or_default())),
        }
    }
    Ok(Body::pieces(Reading { ahead, reader }, length))
}

struct Reading {
    ahead: VecDeque<Bytes>,
    reader: FileReader,
}

impl Source for Reading {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, BrokenOff> {
        if let Some(bytes) = self.ahead.pop_front() {
            return Ok(Some((bytes, self)));
        }
        // The headers are sent, so a failure can only break the answer off.
        let bytes = self.reader.next().await.map_err(|_| BrokenOff)?;
        Ok(bytes.map(|bytes| (bytes, self)))
    }
}

pub(crate) async fn upload(call: Call) -> Outcome {
    let (sandbox, query) = (call.sandbox()?, parameters(&call)?);
    let user = user::named(query.get("username"))?;
    if let Some(name) = call.head.headers.keys().find(|name| name.as_str().starts_with("x-metadata-")) {
        return fail(Kind::Invalid, format!("`{name}`: metadata of files is not implemented by this server"));
    }
    let at = query
        .get("path")
        .filter(|text| !text.is_empty())
        .map(|text| path(Cow::Borrowed(text)))
        .transpose()?;
    let kind = call.header(CONTENT_TYPE).unwrap_or_default().to_owned();
    let coding = call.header(CONTENT_ENCODING).map(str::to_owned);
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let body = Inbound::new(call.body, UPLOAD_BYTES_MAX, UPLOAD_TIME);
    let body = Upload::of(body, coding.as_deref())?;
    let written = match (essence.as_str(), at) {
        (OCTETS, Some(path)) => vec![octets(&sandbox, Target { user, path }, body).await?],
        (OCTETS, None) => return fail(Kind::Invalid, "path: no file is named"),
        (FORM, at) => form(&sandbox, user, at, Form::of(&kind)?, body).await?,
        _ => return fail(Kind::WrongType, format!("this route reads {FORM} and {OCTETS}")),
    };
    json(StatusCode::OK, &written)
}

/// A file as an upload answers it.
fn written(entry: &Entry) -> Value {
    let text = |bytes| String::from_utf8_lossy(bytes);
    value!({"name": text(&entry.name), "type": "file", "path": text(&entry.path)})
}

async fn octets(sandbox: &Sandbox, target: Target, mut body: Upload) -> Result<Value, Failure> {
    let mut writer = sandbox.write(&target).await?;
    while let Some(bytes) = body.next().await? {
        writer.write(bytes).await?;
    }
    Ok(written(&writer.finish().await?))
}

/// Writes the files of a form: one to `at`, or each to where its name says.
async fn form(
    sandbox: &Sandbox,
    user: User,
    at: Option<Vec<u8>>,
    mut form: Form,
    mut body: Upload,
) -> Result<Vec<Value>, Failure> {
    let (mut answers, mut seen, mut writer) = (Vec::new(), BTreeSet::new(), None::<FileWriter>);
    while let Some(bytes) = body.next().await? {
        form.push(bytes);
        while let Some(found) = form.next_found()? {
            match found {
                Found::Part(part) => {
                    let path = destination(part, at.as_deref())?;
                    if !seen.insert(path.clone()) {
                        return fail(Kind::Invalid, "the form has two files for one path");
                    }
                    writer = Some(sandbox.write(&Target { user, path }).await?);
                }
                Found::Content(bytes) => match &mut writer {
                    Some(writer) => writer.write(bytes).await?,
                    None => return fail(Kind::Internal, "content outside a part"),
                },
                Found::PartEnd => {
                    if let Some(writer) = writer.take() {
                        answers.push(written(&writer.finish().await?));
                    }
                }
                Found::End => {}
            }
        }
    }
    form.end()?;
    if answers.is_empty() {
        return fail(Kind::Invalid, "the form has no file");
    }
    Ok(answers)
}

/// Where a part's file goes.
fn destination(part: multipart::Part, at: Option<&[u8]>) -> Result<Vec<u8>, Failure> {
    match part.name.as_deref() {
        Some("file") => {}
        Some(other) => {
            return fail(Kind::Invalid, format!("unknown part `{}`: expected `file`", model::quote(other)));
        }
        None => return fail(Kind::Invalid, "a part has no name: expected `file`"),
    }
    match (at, part.filename) {
        (Some(at), _) => Ok(at.to_vec()),
        (None, Some(name)) if !name.is_empty() => path(Cow::Owned(name)),
        (None, _) => fail(Kind::Invalid, "a file has no name, and `path` names none"),
    }
}

impl From<NotAForm> for Failure {
    fn from(error: NotAForm) -> Failure {
        Failure::said(Kind::Invalid, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_wants_it_packed_and_nothing_else_is_told() {
        for accepted in ["", "gzip", "gzip, deflate, br", "*", "gzip;q=1, identity;q=0.5", "*;q=0, identity"]
        {
            assert!(accepts_identity(accepted), "{accepted}");
        }
        for refused in ["gzip, identity;q=0", "*;q=0", "gzip, *; q=0.0"] {
            assert!(!accepts_identity(refused), "{refused}");
        }
    }
}
