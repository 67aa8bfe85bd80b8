//! One sandbox that lives, from its server's side.

use super::command::{Argument, Command, CommandInfo, Input, Output, Selector, TerminalSize};
use super::files::{Entry, FileReader, FileWriter, Target};
use super::inner::boot_ns_in;
use super::room::{Ask, Room, lock};
use super::start::start;
use super::{Error, files, paths};
use crate::effects::api::{NewTimeout, Signaling};
use crate::launcher::protocol::Order;
use agent::{Answer, Op};
use model::{KeyId, Limits, SandboxId, quote};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The most bytes of one list: its paths, where its links lead, and what each entry takes beside.
const LIST_BYTES_MAX: usize = 16 << 20;
const ENTRY_BYTES: usize = 200;
/// How long SIGKILL waits for the command to be reaped.
const REAPED_WITHIN: Duration = Duration::from_secs(2);
const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// What is known of a sandbox.
#[derive(Debug, Clone)]
pub struct Info {
    /// Its name.
    pub id: SandboxId,
    /// Whose it is.
    pub owner: KeyId,
    /// The template, as it was asked for.
    pub template: String,
    /// What its owner wants to remember.
    pub metadata: BTreeMap<String, String>,
    /// When it was ready.
    pub started: SystemTime,
    /// When it will be ended.
    pub ends: SystemTime,
    /// Its ceilings.
    pub limits: Limits,
    /// The secret that opens its data plane; the same for all its life, also across restarts of the server.
    pub token: String,
}

/// How a new timeout changes the end of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// From now on, longer or shorter.
    Set(Duration),
    /// From now on, but never shorter than it was.
    Extend(Duration),
}

/// A handle on one sandbox. Cheap to clone. Every method gives [`Error::Gone`] once the sandbox has ended.
#[derive(Debug, Clone)]
pub struct Sandbox(Arc<Room>);

impl Sandbox {
    pub(super) fn of(room: Arc<Room>) -> Sandbox {
        Sandbox(room)
    }

    /// What is known of it.
    pub fn info(&self) -> Info {
        let room = &self.0;
        Info {
            id: room.id,
            owner: room.owner,
            template: room.note.template.clone(),
            metadata: room.note.metadata.clone(),
            started: UNIX_EPOCH + Duration::from_nanos(room.note.started_ns.max(0) as u64),
            ends: *lock(&room.ends),
            limits: room.limits,
            token: room.note.token.clone(),
        }
    }

    /// Whose it is.
    pub fn owner(&self) -> KeyId {
        self.0.owner
    }

    /// Its name.
    pub fn id(&self) -> SandboxId {
        self.0.id
    }

    /// The secret that opens its data plane.
    pub fn token(&self) -> &str {
        &self.0.note.token
    }

    /// Whether `presented` is its token, in a time that does not depend on where they differ.
    pub fn opens_with(&self, presented: &[u8]) -> bool {
        let token = self.0.note.token.as_bytes();
        presented.len() == token.len()
            && presented.iter().zip(token).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
    }

    /// Changes when it ends, and gives the new end.
    ///
    /// # Errors
    /// It has ended.
    pub async fn set_timeout(&self, timeout: Timeout) -> Result<SystemTime, Error> {
        let room = self.alive()?;
        let (Timeout::Set(length) | Timeout::Extend(length)) = timeout;
        let ends = SystemTime::now() + length;
        let until_now = *lock(&room.ends);
        if matches!(timeout, Timeout::Extend(_)) && ends <= until_now {
            return Ok(until_now);
        }
        let timeout_ms = length.as_millis() as u64;
        let recorded = room.journal.record(NewTimeout { sandbox: room.id, timeout_ms }).await?;
        *lock(&room.ends) = ends;
        let at_boot_ns = Some(boot_ns_in(length));
        let NewTimeout { sandbox: id, .. } = recorded.into_inner();
        room.orders.send(Order::Deadline { id, at_boot_ns }, Vec::new()).await?;
        Ok(ends)
    }

    /// Ends it; returns when nothing in it runs any more.
    ///
    /// # Errors
    /// It had ended before.
    pub async fn kill(&self) -> Result<(), Error> {
        let room = self.alive()?;
        room.orders.send(Order::Kill { id: room.id }, Vec::new()).await?;
        room.until_gone().await;
        Ok(())
    }

    /// Starts a command. It goes on when the output is dropped.
    ///
    /// # Errors
    /// The policy denies it, the ledger cannot record it, or it cannot be started inside.
    pub async fn start(&self, command: Command) -> Result<(CommandInfo, Output), Error> {
        let room = self.alive()?.clone();
        // On a task of its own: whoever asked may go away at any point, and half a command must not be left.
        let started = tokio::spawn(async move {
            let room = &room;
            tokio::select! {
                started = start(room, command) => started,
                () = room.until_gone() => Err(Error::Gone),
            }
        });
        started.await.unwrap_or(Err(Error::Gone))
    }

    /// The commands that run.
    pub fn commands(&self) -> Vec<CommandInfo> {
        let running = self.0.commands().into_iter().filter(|running| !running.has_ended());
        running.map(|running| running.info.clone()).collect()
    }

    /// The output of a running command from now on; of one that ended within the last 30 s, its end.
    ///
    /// # Errors
    /// There is none.
    pub fn attach(&self, selector: &Selector) -> Result<(CommandInfo, Output), Error> {
        let running = self.alive()?.find(selector)?;
        Ok((running.info.clone(), running.listen()?))
    }

    /// Writes to a command's input. Waits while the command does not read.
    ///
    /// # Errors
    /// No such command, or its input is closed, not connected or of the other kind.
    pub async fn input(&self, selector: &Selector, input: Input) -> Result<(), Error> {
        self.alive()?.find(selector)?.write(input).await
    }

    /// Closes a command's standard input; once closed it stays closed and this is no error.
    ///
    /// # Errors
    /// No such command, or it has a terminal.
    pub async fn close_input(&self, selector: &Selector) -> Result<(), Error> {
        let room = self.alive()?;
        let running = room.find(selector)?;
        if running.close_input().await? {
            room.let_go_of_input(running.exec).await?;
        }
        Ok(())
    }

    /// Sends a signal to the command itself. After SIGKILL it returns when the command is reaped.
    ///
    /// # Errors
    /// No such command.
    pub async fn signal(&self, selector: &Selector, signal: i32) -> Result<(), Error> {
        let room = self.alive()?;
        let running = room.find(selector)?;
        if running.has_ended() {
            return Err(Error::NoCommand(format!("pid {}", running.info.pid)));
        }
        let signaling = Signaling { sandbox: room.id, exec: running.exec, signal };
        let recorded = room.journal.record(signaling).await?;
        if signal == SIGTERM || signal == SIGKILL {
            running.cut();
        }
        room.ask(Ask::Signal(recorded)).await?;
        if signal == SIGKILL {
            // A command in the middle of a long system call dies when that is over.
            let _ = tokio::time::timeout(REAPED_WITHIN, running.until_ended()).await;
        }
        Ok(())
    }

    /// Resizes a command's terminal.
    ///
    /// # Errors
    /// No such command, or it has no terminal.
    pub async fn resize(&self, selector: &Selector, size: TerminalSize) -> Result<(), Error> {
        self.alive()?.find(selector)?.resize(size)
    }

    /// Describes a file.
    ///
    /// # Errors
    /// It is not there, or the user may not see it.
    pub async fn stat(&self, target: &Target) -> Result<Entry, Error> {
        self.entry_of(target, |path| Op::Stat { path }).await
    }

    /// Lists a directory and what is below it, down to `depth` levels (at least 1): each directory before what is in it,
    /// siblings by name.
    ///
    /// # Errors
    /// It is not there or no directory; more entries than the stated bound.
    pub async fn list(&self, target: &Target, depth: u32) -> Result<Vec<Entry>, Error> {
        let path = paths::absolute(&target.path, target.user);
        let room = self.alive()?;
        let _place = room.places.list().await?;
        let (mut job, _) = files::begin(room, target.user, Op::List { path, depth }).await?;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        loop {
            match job.answer().await? {
                Answer::Done => return Ok(entries),
                answer => entries.push(files::entry(answer)?),
            }
            bytes += entries
                .last()
                .map_or(0, |entry| ENTRY_BYTES + entry.path.len() + entry.link.as_ref().map_or(0, Vec::len));
            if bytes > LIST_BYTES_MAX {
                let path = quote(&target.path);
                let what = format!("{path}: the list has more than {LIST_BYTES_MAX} bytes; list less deep");
                return Err(Error::TooMuch(what));
            }
        }
    }

    /// Makes a directory and those above it.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NotADirectory`], or what the kernel says.
    pub async fn make_dir(&self, target: &Target) -> Result<Entry, Error> {
        self.entry_of(target, |path| Op::MakeDir { path }).await
    }

    /// Renames; makes the directories above the destination and replaces a file there.
    ///
    /// # Errors
    /// The source is not there, or what the kernel says.
    pub async fn rename(&self, from: &Target, to: &Argument) -> Result<Entry, Error> {
        let to = paths::absolute(to, from.user);
        self.entry_of(from, |path| Op::Move { from: path, to }).await
    }

    /// Removes a file or a whole tree. What is not there needs no removing.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn remove(&self, target: &Target) -> Result<(), Error> {
        let path = paths::absolute(&target.path, target.user);
        let (mut job, _) = files::begin(self.alive()?, target.user, Op::Remove { path }).await?;
        match job.answer().await? {
            Answer::Done => Ok(()),
            other => files::entry(other).map(drop),
        }
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// It is not there, not a file, or the user may not read it.
    pub async fn read(&self, target: &Target) -> Result<(Entry, FileReader), Error> {
        let path = paths::absolute(&target.path, target.user);
        let op = Op::Read { path, offset: 0, bytes_max: u64::MAX };
        let (mut job, _) = files::begin(self.alive()?, target.user, op).await?;
        match job.answer().await? {
            Answer::Reading { entry, bytes } => Ok((entry.into(), FileReader::over(job, bytes))),
            other => {
                files::entry(other).and_then(|_| Err(Error::Unresponsive("an answer to nothing".to_owned())))
            }
        }
    }

    /// Opens a file for writing from its beginning; makes it and the directories above it where they are missing.
    ///
    /// # Errors
    /// What the kernel says; most are found out by [`FileWriter::finish`].
    pub async fn write(&self, target: &Target) -> Result<FileWriter, Error> {
        let path = paths::absolute(&target.path, target.user);
        let (job, data) = files::begin(self.alive()?, target.user, Op::Write { path, offset: None }).await?;
        FileWriter::over(job, data.ok_or(Error::Gone)?)
    }

    async fn entry_of(&self, target: &Target, op: impl FnOnce(Argument) -> Op) -> Result<Entry, Error> {
        let op = op(paths::absolute(&target.path, target.user));
        let (mut job, _) = files::begin(self.alive()?, target.user, op).await?;
        files::entry(job.answer().await?)
    }

    fn alive(&self) -> Result<&Arc<Room>, Error> {
        if self.0.is_gone() { Err(Error::Gone) } else { Ok(&self.0) }
    }
}
