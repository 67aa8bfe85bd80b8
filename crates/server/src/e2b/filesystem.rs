//! `filesystem.Filesystem`: files of a sandbox, as messages.

use super::call::{Call, Outcome, json, path, typed};
use super::control::rfc3339;
use super::failure::{Failure, Kind, fail};
use super::json::{Number, nullable};
use super::user;
use crate::body::{Body, BrokenOff, Source};
use crate::bounds::{LIST_DEPTH_MAX, LIST_ENTRIES_STEP};
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::AUTHORIZATION;
use node::host::{Entry, EntryKind, Error, Sandbox, Target};
use policy::User;
use policy::engine::Action;
use serde::{Deserialize, Serialize};
use serde_json::json as value;
use std::borrow::Cow;

/// Stat, MakeDir and Remove.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Naming {
    #[serde(deserialize_with = "nullable")]
    path: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ListDir {
    #[serde(deserialize_with = "nullable")]
    path: String,
    #[serde(deserialize_with = "nullable")]
    depth: Number,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Move {
    #[serde(deserialize_with = "nullable")]
    source: String,
    #[serde(deserialize_with = "nullable")]
    destination: String,
}

/// `EntryInfo`. What is zero is left out, as proto3's JSON does.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EntryInfo {
    name: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    mode: u32,
    permissions: String,
    owner: String,
    group: String,
    modified_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    symlink_target: Option<String>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl From<Entry> for EntryInfo {
    fn from(entry: Entry) -> EntryInfo {
        // JSON has no way to write a name that is not UTF-8; it is shown as well as can be.
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        EntryInfo {
            name: text(&entry.name),
            kind: match entry.kind {
                EntryKind::File => Some("FILE_TYPE_FILE"),
                EntryKind::Directory => Some("FILE_TYPE_DIRECTORY"),
                EntryKind::Other => None,
            },
            path: text(&entry.path),
            size: Some(entry.size).filter(|size| *size != 0).map(|size| size.to_string()),
            mode: entry.mode & 0o777,
            permissions: permissions(&entry),
            modified_time: rfc3339(entry.modified),
            symlink_target: entry.link.as_deref().map(text),
            owner: entry.owner,
            group: entry.group,
        }
    }
}

/// As Go prints a mode: `-rw-r--r--`, `drwxr-xr-x`, `dtrwxrwxrwx`; of a link, its own.
fn permissions(entry: &Entry) -> String {
    if entry.link.is_some() {
        return "Lrwxrwxrwx".to_owned();
    }
    let mut text = String::with_capacity(10);
    if entry.kind == EntryKind::Directory {
        text.push('d');
    }
    for (bit, letter) in [(0o4000, 'u'), (0o2000, 'g'), (0o1000, 't')] {
        if entry.mode & bit != 0 {
            text.push(letter);
        }
    }
    if text.is_empty() {
        text.push('-');
    }
    for (place, letter) in "rwxrwxrwx".chars().enumerate() {
        text.push(if entry.mode & (0o400 >> place) != 0 { letter } else { '-' });
    }
    text
}

/// A path of a message. None at all is the home, as for everything relative.
fn wanted(text: String) -> Result<Vec<u8>, Failure> {
    if text.is_empty() { Ok(b"~".to_vec()) } else { path(Cow::Owned(text)) }
}

fn user_of(call: &Call) -> Result<User, Failure> {
    user::of(call.header(AUTHORIZATION))
}

pub(crate) async fn stat(call: Call) -> Outcome {
    let (sandbox, user) = (call.sandbox()?, user_of(&call)?);
    let target = Target { user, path: wanted(call.message::<Naming>().await?.path)? };
    let entry = sandbox.stat(&target).await.map_err(|error| Failure::looking(&target.path, error))?;
    json(StatusCode::OK, &value!({"entry": EntryInfo::from(entry)}))
}

pub(crate) async fn list_dir(call: Call) -> Outcome {
    let (sandbox, user, traffic) = (call.sandbox()?, user_of(&call)?, call.app.traffic.clone());
    let message = call.message::<ListDir>().await?;
    let depth: u32 = message.depth.unsigned("depth")?;
    if depth > LIST_DEPTH_MAX {
        return fail(Kind::Invalid, format!("depth: {depth} is more than {LIST_DEPTH_MAX}"));
    }
    let target = Target { user, path: wanted(message.path)? };
    let Some(turn) = traffic.list(sandbox.id()).await else { return Err(Failure::Gone) };
    let entries =
        sandbox.list(&target, depth.max(1)).await.map_err(|error| Failure::looking(&target.path, error))?;
    let listing = Listing { entries: entries.into_iter(), stage: Stage::Begin };
    let body = Body::pieces(listing, None).holding(turn);
    Ok(typed(StatusCode::OK, "application/json", body))
}

/// A long listing, written piece by piece: names can be such that it is many times longer written than held.
struct Listing {
    entries: std::vec::IntoIter<Entry>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Begin,
    Going,
    Over,
}

impl Source for Listing {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, BrokenOff> {
        let mut text = match self.stage {
            Stage::Begin => br#"{"entries":["#.to_vec(),
            Stage::Going => Vec::new(),
            Stage::Over => return Ok(None),
        };
        let mut between = self.stage == Stage::Going;
        for entry in self.entries.by_ref().take(LIST_ENTRIES_STEP) {
            if between {
                text.push(b',');
            }
            between = true;
            serde_json::to_writer(&mut text, &EntryInfo::from(entry)).map_err(|_| BrokenOff)?;
        }
        self.stage = Stage::Going;
        if self.entries.len() == 0 {
            text.extend_from_slice(b"]}");
            self.stage = Stage::Over;
        }
        Ok(Some((text.into(), self)))
    }
}

pub(crate) async fn make_dir(call: Call) -> Outcome {
    let (sandbox, user) = (call.sandbox()?, user_of(&call)?);
    let path = wanted(call.message::<Naming>().await?.path)?;
    let entry = sandbox.make_dir(&Target { user, path }).await?;
    json(StatusCode::OK, &value!({"entry": EntryInfo::from(entry)}))
}

pub(crate) async fn rename(call: Call) -> Outcome {
    let (sandbox, user) = (call.sandbox()?, user_of(&call)?);
    let message = call.message::<Move>().await?;
    let from = Target { user, path: wanted(message.source)? };
    match sandbox.rename(&from, &wanted(message.destination)?).await {
        Ok(entry) => json(StatusCode::OK, &value!({"entry": EntryInfo::from(entry)})),
        Err(error) => Err(taking(&sandbox, &from, error).await),
    }
}

/// What failed of a request that takes `target` away. Whoever may not do so for want of a rule may still look there, and is
/// told what looking tells: that there is nothing, if so.
async fn taking(sandbox: &Sandbox, target: &Target, error: Error) -> Failure {
    if !matches!(&error, Error::Denied(denial) if denial.rule == Action::Write.otherwise()) {
        return error.into();
    }
    match sandbox.stat(target).await {
        Err(looked) => Failure::looking(&target.path, looked),
        Ok(_) => error.into(),
    }
}

pub(crate) async fn remove(call: Call) -> Outcome {
    let (sandbox, user) = (call.sandbox()?, user_of(&call)?);
    let text = call.message::<Naming>().await?.path;
    if text.is_empty() {
        return fail(Kind::Invalid, "path: nothing is named");
    }
    let target = Target { user, path: path(Cow::Owned(text))? };
    match sandbox.remove(&target).await {
        Ok(()) => json(StatusCode::OK, &value!({})),
        Err(error) => Err(taking(&sandbox, &target, error).await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    fn entry(kind: EntryKind, mode: u32, link: Option<&str>) -> Entry {
        Entry {
            name: b"a".to_vec(),
            path: b"/home/user/a".to_vec(),
            kind,
            size: 5,
            mode,
            owner: "user".to_owned(),
            group: "user".to_owned(),
            modified: SystemTime::UNIX_EPOCH + Duration::from_millis(1500),
            link: link.map(|link| link.as_bytes().to_vec()),
        }
    }

    #[test]
    fn permissions_are_written_as_go_writes_them() {
        let shown = |kind, mode, link| permissions(&entry(kind, mode, link));
        assert_eq!(shown(EntryKind::File, 0o644, None), "-rw-r--r--");
        assert_eq!(shown(EntryKind::Directory, 0o755, None), "drwxr-xr-x");
        assert_eq!(shown(EntryKind::Directory, 0o1777, None), "dtrwxrwxrwx");
        assert_eq!(shown(EntryKind::File, 0o4755, None), "urwxr-xr-x");
        assert_eq!(shown(EntryKind::File, 0o644, Some("/x")), "Lrwxrwxrwx");
    }

    #[test]
    fn an_entry_reads_as_proto3_writes_it() {
        let shown = serde_json::to_value(EntryInfo::from(entry(EntryKind::File, 0o100_644, None))).unwrap();
        let wanted = value!({
            "name": "a", "type": "FILE_TYPE_FILE", "path": "/home/user/a", "size": "5", "mode": 0o644,
            "permissions": "-rw-r--r--", "owner": "user", "group": "user", "modifiedTime": "1970-01-01T00:00:01.5Z",
        });
        assert_eq!(shown, wanted);
    }
}
