//! What work on files answers.

use super::AnswerError;
use crate::protocol::{
    ANSWER_BYTES_MAX, Answer, DEPTH_MAX, Entry, Kind, LISTED_MAX, Op, PATH_BYTES_MAX, body_length, decode,
};

/// Reads the answers to one [`Op`]: fed with bytes, does no input or output itself.
///
/// After each [`Answers::feed`] call [`Answers::next`] until it gives `None`, and where a file is read, from
/// [`Answer::Reading`] on, [`Answers::data`]. What waits in between is then never more than one frame and what was fed.
#[derive(Debug)]
pub struct Answers {
    asked: Asked,
    state: State,
    received: Vec<u8>,
    /// How much of `received` was handed out already.
    taken: usize,
}

#[derive(Debug)]
enum Asked {
    /// One entry, of this path.
    Entry(Vec<u8>),
    /// At most so many entries below a path, so deep.
    List { path: Vec<u8>, depth: usize, left: usize },
    /// Nothing but that it is done.
    Done,
    /// So many bytes at most of this path.
    Read { path: Vec<u8>, bytes_max: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Answers,
    /// At most so many bytes follow; exactly so many, if that was announced.
    Data {
        left: u64,
        announced: bool,
    },
    Over,
}

impl Answers {
    /// Of work that does `op`.
    pub fn to(op: &Op) -> Self {
        let asked = match op {
            Op::Stat { path } | Op::MakeDir { path } | Op::Write { path, .. } => Asked::Entry(path.clone()),
            Op::Move { to, .. } => Asked::Entry(to.clone()),
            Op::List { path, depth } => {
                let depth = (*depth).clamp(1, DEPTH_MAX) as usize;
                Asked::List { path: path.clone(), depth, left: LISTED_MAX }
            }
            Op::Remove { .. } => Asked::Done,
            Op::Read { path, bytes_max, .. } => Asked::Read { path: path.clone(), bytes_max: *bytes_max },
        };
        Answers { asked, state: State::Answers, received: Vec::new(), taken: 0 }
    }

    /// Takes what has arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.received.drain(..self.taken);
        self.taken = 0;
        self.received.extend_from_slice(bytes);
    }

    /// How many bytes are missing to the next answer, as far as can be told: who reads no more than these leaves a
    /// file's bytes in the pipe, for `splice`. 0 if no answer is missing.
    pub fn wanted(&self) -> usize {
        let here = &self.received[self.taken..];
        if self.state != State::Answers {
            return 0;
        }
        match here.split_first_chunk() {
            None => 4 - here.len(),
            Some((header, rest)) => {
                body_length(*header, ANSWER_BYTES_MAX).map_or(0, |length| length.saturating_sub(rest.len()))
            }
        }
    }

    /// The next answer that is here in full.
    ///
    /// # Errors
    /// What arrived is no answer to what was asked: nothing of it may be believed any more.
    #[expect(clippy::should_implement_trait, reason = "an iterator could not say `not yet`")]
    pub fn next(&mut self) -> Result<Option<Answer>, AnswerError> {
        let here = &self.received[self.taken..];
        match self.state {
            State::Answers => {}
            State::Over if !here.is_empty() => return Err(AnswerError::Unasked),
            State::Data { .. } | State::Over => return Ok(None),
        }
        let Some((header, rest)) = here.split_first_chunk() else { return Ok(None) };
        let length = body_length(*header, ANSWER_BYTES_MAX).map_err(|long| AnswerError::Announced(long.0))?;
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let answer: Answer = decode(body).map_err(|_| AnswerError::NotAnAnswer)?;
        self.taken += 4 + length;
        self.state = self.after(&answer)?;
        Ok(Some(answer))
    }

    /// The bytes of the file that are here, each once.
    ///
    /// # Errors
    /// There are more than were asked for, or announced.
    pub fn data(&mut self) -> Result<&[u8], AnswerError> {
        let State::Data { left, announced } = self.state else { return Ok(&[]) };
        let here = &self.received[self.taken..];
        let left = left.checked_sub(here.len() as u64).ok_or(AnswerError::TooMuch)?;
        self.state = State::Data { left, announced };
        self.taken = self.received.len();
        Ok(here)
    }

    /// To be asked when the pipe has ended: whether all has arrived and was taken.
    ///
    /// # Errors
    /// Something is missing, or left over.
    pub fn end(&self) -> Result<(), AnswerError> {
        match self.state {
            State::Over | State::Data { announced: false, .. } | State::Data { left: 0, .. }
                if self.taken == self.received.len() =>
            {
                Ok(())
            }
            State::Over => Err(AnswerError::Unasked),
            State::Answers | State::Data { .. } => Err(AnswerError::Short),
        }
    }

    /// Checks that `answer` is one to what was asked; gives what may follow it.
    fn after(&mut self, answer: &Answer) -> Result<State, AnswerError> {
        let holds = match answer {
            Answer::Entry(entry) | Answer::Reading { entry, .. } => entry_holds(entry),
            Answer::Failed { errno, .. } => (1..4096).contains(errno),
            Answer::Done => true,
        };
        if !holds {
            return Err(AnswerError::NotAnAnswer);
        }
        match (&mut self.asked, answer) {
            (_, Answer::Failed { .. }) | (Asked::List { .. } | Asked::Done, Answer::Done) => Ok(State::Over),
            (Asked::Entry(path), Answer::Entry(entry)) if entry.path == *path => Ok(State::Over),
            (Asked::List { path, depth, left }, Answer::Entry(entry))
                if *left > 0 && is_below(path, &entry.path, *depth) =>
            {
                *left -= 1;
                Ok(State::Answers)
            }
            (Asked::Read { path, bytes_max }, Answer::Reading { entry, bytes })
                if entry.path == *path
                    && entry.kind == Kind::File
                    && bytes.is_none_or(|bytes| bytes <= *bytes_max) =>
            {
                Ok(State::Data { left: bytes.unwrap_or(*bytes_max), announced: bytes.is_some() })
            }
            _ => Err(AnswerError::Unasked),
        }
    }
}

/// Whether `path` names something in the directory `root`, at most so many levels down.
fn is_below(root: &[u8], path: &[u8], depth: usize) -> bool {
    let Some(rest) = path.strip_prefix(root) else { return false };
    let rest = if root.ends_with(b"/") { Some(rest) } else { rest.strip_prefix(b"/") };
    let is_name = |name: &[u8]| !matches!(name, b"" | b"." | b"..");
    rest.is_some_and(|rest| rest.split(|b| *b == b'/').all(is_name))
        && rest.is_some_and(|rest| rest.split(|b| *b == b'/').count() <= depth)
}

/// Whether an entry says nothing that no kernel says.
fn entry_holds(entry: &Entry) -> bool {
    let target = entry.link.as_ref().and_then(|link| link.target.as_ref());
    path_holds(&entry.path)
        && entry.mode <= 0o7777
        && entry.mtime_ns < 1_000_000_000
        && entry.link.is_some() == (entry.kind == Kind::Link)
        && target.is_none_or(|target| {
            path_holds(&target.path) && target.kind != Kind::Link && target.mode <= 0o7777
        })
}

fn path_holds(path: &[u8]) -> bool {
    path.starts_with(b"/") && path.len() <= PATH_BYTES_MAX && !path.contains(&0)
}
