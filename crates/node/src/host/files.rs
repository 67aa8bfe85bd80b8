//! Files of a sandbox, as its server sees them. Every access happens inside, with the rights of the user named.

use super::command::Argument;
use super::places::Place;
use super::room::{Ask, AskWork, Room};
use super::{Error, paths, pipes};
use crate::effects::api::FileAccess;
use agent::{Answer, AnswerError, Answers, End, Kind, Op, Why};
use bytes::Bytes;
use model::{FileOp, quote};
use policy::{FileRequest, User};
use rustix::fd::OwnedFd;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

/// The most bytes of a file that are on their way at one time, and of one piece of it.
const PIECE_BYTES_MAX: usize = 1 << 20;
/// The most bytes of answers that are taken in at one time.
const ANSWERS_BYTES_MAX: usize = 64 << 10;

/// A file and who asks for it.
#[derive(Debug, Clone)]
pub struct Target {
    /// With whose rights.
    pub user: User,
    /// Absolute, or relative to the user's home (`~` is the home).
    pub path: Argument,
}

/// A file, as the sandbox describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The last part of its path.
    pub name: Argument,
    /// Absolute and cleaned, as it was asked for (links not resolved).
    pub path: Argument,
    /// What it is; of a link, what it leads to, if anything.
    pub kind: EntryKind,
    /// Bytes.
    pub size: u64,
    /// Permission bits; of a link, those of what it leads to.
    pub mode: u32,
    /// Owner inside, by name where there is one.
    pub owner: String,
    /// Group inside, by name where there is one.
    pub group: String,
    /// When its content last changed.
    pub modified: SystemTime,
    /// If it is a link: where it leads in the end; its own path if it leads nowhere.
    pub link: Option<Argument>,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Something else, or a link that leads nowhere.
    Other,
}

impl From<agent::Entry> for Entry {
    fn from(entry: agent::Entry) -> Entry {
        let agent::Entry { path, kind, mode, size, uid, gid, mtime_s, mtime_ns, link } = entry;
        let target = link.map(|link| link.target);
        let (kind, mode, link) = match target {
            None => (kind, mode, None),
            Some(None) => (Kind::Other, mode, Some(path.clone())),
            Some(Some(target)) => (target.kind, target.mode, Some(target.path)),
        };
        let kind = match kind {
            Kind::File => EntryKind::File,
            Kind::Directory => EntryKind::Directory,
            Kind::Link | Kind::Other => EntryKind::Other,
        };
        let modified = match u64::try_from(mtime_s) {
            Ok(seconds) => UNIX_EPOCH.checked_add(Duration::new(seconds, mtime_ns)).unwrap_or(UNIX_EPOCH),
            Err(_) => UNIX_EPOCH,
        };
        let name = paths::name(&path);
        Entry { name, path, kind, size, mode, owner: person(uid), group: person(gid), modified, link }
    }
}

/// The names that the sandbox's own `/etc/passwd` began with; users that root inside may have added go by number.
fn person(id: u32) -> String {
    match id {
        0 => "root".to_owned(),
        jail::ids::USER => "user".to_owned(),
        jail::ids::NOBODY => "nobody".to_owned(),
        other => other.to_string(),
    }
}

/// What the policy is asked about `op`.
fn request(user: User, op: &Op) -> FileRequest {
    let (op, path, to) = match op {
        Op::Stat { path } => (FileOp::Stat, path, None),
        Op::List { path, .. } => (FileOp::List, path, None),
        Op::MakeDir { path } => (FileOp::MakeDir, path, None),
        Op::Move { from, to } => (FileOp::Move, from, Some(to.clone())),
        Op::Remove { path } => (FileOp::Remove, path, None),
        Op::Read { path, .. } => (FileOp::Read, path, None),
        Op::Write { path, .. } => (FileOp::Write, path, None),
    };
    FileRequest { op, path: path.clone(), to, user }
}

/// One piece of work on its way, and what it says.
pub(super) struct Job {
    room: Arc<Room>,
    pipe: AsyncFd<OwnedFd>,
    answers: Answers,
    buffer: Vec<u8>,
    ended: oneshot::Receiver<Result<End, Error>>,
    /// Whether a file's bytes follow the answers in the same pipe, and are to be left there.
    bytes_follow: bool,
    path: String,
    _place: Place,
}

/// Decides about `op`, records it and has it done.
pub(super) async fn begin(room: &Arc<Room>, user: User, op: Op) -> Result<(Job, Option<OwnedFd>), Error> {
    let failed = |error: io::Error| Error::Unresponsive(error.to_string());
    let place = room.places.work().await?;
    let request = request(user, &op);
    let path = quote(&request.path);
    let permit = room.policy.file(request).inspect_err(|denied| room.denied(denied))?;
    let begun = room.beside.begin(None);
    let look = room.look(&begun).await;
    let recorded = begun
        .recorded(look, |beside| room.journal.record(FileAccess { sandbox: room.id, permit, beside }))
        .await?;
    let bytes_follow = matches!(op, Op::Read { .. });
    let wide = if bytes_follow { PIECE_BYTES_MAX } else { 0 };
    let (read, answered) = pipes::pipe(pipes::Here::Reads, wide).map_err(failed)?;
    let mut passed = vec![answered];
    let answers = Answers::to(&op);
    let mut data = None;
    if let Op::Write { .. } = op {
        let (read, write) = pipes::pipe(pipes::Here::Writes, PIECE_BYTES_MAX).map_err(failed)?;
        passed.push(read);
        data = Some(write);
    }
    let depth = if let Op::List { depth, .. } = op { depth } else { 0 };
    let (tell, ended) = oneshot::channel();
    let ask = AskWork { id: room.new_work(), recorded, depth, passed, begun, tell };
    room.ask(Ask::Work(Box::new(ask))).await?;
    let pipe = pipes::watch(read).map_err(failed)?;
    let room = room.clone();
    Ok((Job { room, pipe, answers, buffer: Vec::new(), ended, bytes_follow, path, _place: place }, data))
}

impl Job {
    /// The next answer.
    pub(super) async fn answer(&mut self) -> Result<Answer, Error> {
        loop {
            match self.answers.next() {
                Ok(Some(Answer::Failed { why, errno })) => {
                    return Err(failure(self.path.clone(), why, errno));
                }
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {}
                Err(error) => return Err(Error::Unresponsive(error.to_string())),
            }
            let wanted = if self.bytes_follow { self.answers.wanted() } else { ANSWERS_BYTES_MAX };
            self.buffer.resize(wanted, 0);
            match pipes::read(&self.pipe, &mut self.buffer).await {
                Ok(count @ 1..) => self.answers.feed(&self.buffer[..count]),
                _ => return Err(self.lost().await),
            }
        }
    }

    /// How the work ended.
    async fn end(&mut self) -> Result<End, Error> {
        tokio::select! {
            end = &mut self.ended => end.unwrap_or(Err(Error::Gone)),
            () = self.room.until_gone() => Err(Error::Gone),
        }
    }

    /// Why there is no more, where there should be.
    async fn lost(&mut self) -> Error {
        match self.end().await {
            Ok(end) => Error::Unresponsive(format!("file work ended without an answer ({end:?})")),
            Err(error) => error,
        }
    }
}

fn failure(path: String, why: Why, errno: i32) -> Error {
    match why {
        Why::Exists => Error::Exists(path),
        Why::NotADirectory => Error::NotADirectory(path),
        Why::NotRegular => Error::NotAFile(path),
        Why::TooMany => Error::TooMuch(format!("{path}: {why}; the most is {}", agent::protocol::LISTED_MAX)),
        Why::BadPath | Why::OtherMount | Why::Changed => Error::BadPath { path, why: why.to_string() },
        _ => Error::File { path, source: io::Error::from_raw_os_error(errno) },
    }
}

/// A file that is being read.
pub struct FileReader {
    job: Job,
    left: Option<u64>,
}

impl std::fmt::Debug for FileReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileReader").field("path", &self.job.path).field("left", &self.left).finish()
    }
}

impl FileReader {
    pub(super) fn over(job: Job, bytes: Option<u64>) -> FileReader {
        FileReader { job, left: bytes }
    }

    /// How many bytes are still to come, if the file can tell.
    pub fn bytes_left(&self) -> Option<u64> {
        self.left
    }

    /// The next bytes (up to 1 MiB), or none at the end.
    ///
    /// # Errors
    /// Reading failed half-way.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.left == Some(0) {
            return Ok(None);
        }
        let mut buffer = Vec::with_capacity(PIECE_BYTES_MAX);
        let failed = |source| Error::File { path: self.job.path.clone(), source };
        let count = pipes::read_into(&self.job.pipe, &mut buffer).await.map_err(failed)? as u64;
        match (&mut self.left, count) {
            (Some(_), 0) => Err(self.job.lost().await),
            // Only how it ended tells whether that was all.
            (None, 0) => match self.job.end().await? {
                End::Exited(0) => Ok(None),
                end => Err(Error::Unresponsive(format!("reading ended in the middle ({end:?})"))),
            },
            (Some(left), count) if count > *left => {
                Err(Error::Unresponsive(AnswerError::TooMuch.to_string()))
            }
            (left, count) => {
                *left = left.map(|left| left - count);
                Ok(Some(Bytes::from(buffer)))
            }
        }
    }
}

/// A file that is being written. Dropping it unfinished leaves what was written so far.
pub struct FileWriter {
    job: Job,
    data: AsyncFd<OwnedFd>,
}

impl std::fmt::Debug for FileWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileWriter").field("path", &self.job.path).finish()
    }
}

impl FileWriter {
    pub(super) fn over(job: Job, data: OwnedFd) -> Result<FileWriter, Error> {
        let data = pipes::watch(data).map_err(|error| Error::Unresponsive(error.to_string()))?;
        Ok(FileWriter { job, data })
    }

    /// Writes on. Waits while the sandbox does not take more.
    ///
    /// # Errors
    /// Writing failed: no space, no permission...
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        match pipes::write_all(&self.data, &bytes).await {
            Ok(()) => Ok(()),
            // It stopped reading: it has said why.
            Err(_) => Err(match self.job.answer().await {
                Err(error) => error,
                Ok(_) => Error::Unresponsive("the writing of a file ended early".to_owned()),
            }),
        }
    }

    /// The end of the file: returns when everything is written.
    ///
    /// # Errors
    /// As [`FileWriter::write`].
    pub async fn finish(self) -> Result<Entry, Error> {
        let FileWriter { mut job, data } = self;
        drop(data);
        entry(job.answer().await?)
    }
}

/// The entry that an answer has to be.
pub(super) fn entry(answer: Answer) -> Result<Entry, Error> {
    match answer {
        Answer::Entry(entry) => Ok(entry.into()),
        other => Err(Error::Unresponsive(format!("an answer to nothing: {other:?}"))),
    }
}
