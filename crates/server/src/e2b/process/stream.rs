//! Streams of events: the one message that asks for a stream, and the frames that it is made of.

use super::wire::{self, Stream};
use crate::body::{Body, BrokenOff, Inbound, Lent, Source};
use crate::bounds::{KEEPALIVE_TIME, MESSAGE_TIME, STREAM_REQUEST_BYTES_MAX};
use crate::e2b::call::{Call, typed};
use crate::e2b::failure::{Failure, Kind, fail};
use crate::e2b::frame::{self, Frames, NotAFrame, Received};
use crate::e2b::timing;
use bytes::Bytes;
use hyper::{Response, StatusCode};
use node::host::{Output, OutputPiece};
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// What Connect calls a stream of JSON messages. Clients compare it letter by letter.
pub(crate) const STREAM_TYPE: &str = "application/connect+json";

/// What the headers of a stream's request say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub timeout_ms: Option<u64>,
    pub keepalive: Duration,
}

impl Head {
    pub(crate) fn of(call: &Call) -> Result<Head, Failure> {
        call.is_type(STREAM_TYPE)?;
        if call.header("connect-content-encoding").is_some_and(|coding| coding != "identity") {
            return fail(Kind::Unimplemented, "compressed messages are not read by this server");
        }
        let asked = call.header("keepalive-ping-interval").and_then(|text| text.parse().ok());
        let keepalive = asked.filter(|s| (1..=3600).contains(s)).map_or(KEEPALIVE_TIME, Duration::from_secs);
        Ok(Head { timeout_ms: timing::timeout_ms(&call.head.headers)?, keepalive })
    }
}

/// Reads the one message of a stream's request.
pub(crate) async fn message<T: DeserializeOwned>(body: Lent) -> Result<T, Failure> {
    let mut body = Inbound::new(body, STREAM_REQUEST_BYTES_MAX as u64, MESSAGE_TIME);
    let (mut frames, mut message) = (Frames::default(), None);
    while let Some(bytes) = body.next().await? {
        frames.push(&bytes);
        while let Some(received) = frames.next_frame()? {
            match received {
                Received::Message(_) if message.is_some() => {
                    return fail(Kind::Invalid, "this stream takes one message");
                }
                Received::Message(content) => message = Some(content),
                Received::Last(_) => {}
            }
        }
    }
    frames.end()?;
    match message {
        Some(content) => crate::e2b::json::read(&content),
        None => fail(Kind::Invalid, "this stream takes one message, and none came"),
    }
}

impl From<NotAFrame> for Failure {
    fn from(error: NotAFrame) -> Failure {
        let kind = match error {
            NotAFrame::TooLong(_) => Kind::Exhausted,
            NotAFrame::Compressed => Kind::Unimplemented,
            NotAFrame::Flags | NotAFrame::BrokenOff => Kind::Invalid,
        };
        Failure::said(kind, error.to_string())
    }
}

/// Answers with the events of a command. With a `limit` the stream ends there, and the command goes on.
pub(crate) fn events(pid: u32, output: Output, keepalive: Duration, limit_ms: Option<u64>) -> Response<Body> {
    let until = limit_ms.and_then(|limit_ms| Instant::now().checked_add(Duration::from_millis(limit_ms)));
    let pace = Pace { keepalive, until, stage: Stage::Start };
    typed(StatusCode::OK, STREAM_TYPE, Body::pieces(Events { pid, output, pace }, None))
}

/// A stream that is one error. Connect says that with the status of success.
pub(crate) fn error(failure: &Failure) -> Response<Body> {
    typed(StatusCode::OK, STREAM_TYPE, Body::whole(frame::last(Some(failure.last_frame()))))
}

struct Events {
    pid: u32,
    output: Output,
    pace: Pace,
}

/// How far a stream is, and what its clock says.
struct Pace {
    keepalive: Duration,
    until: Option<Instant>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Start,
    Output,
    Over,
}

impl Source for Events {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, BrokenOff> {
        let piece = match self.pace.stage {
            Stage::Start => {
                self.pace.stage = Stage::Output;
                wire::start(self.pid)
            }
            Stage::Output => self.pace.event(self.output.next()).await,
            Stage::Over => return Ok(None),
        };
        Ok(Some((piece, self)))
    }
}

impl Pace {
    /// What comes next: the piece, or what the clock says before it is there.
    async fn event(&mut self, piece: impl Future<Output = Option<OutputPiece>>) -> Bytes {
        let now = Instant::now();
        // A command that writes without a pause always has a piece ready: the time is looked at first.
        if self.until.is_some_and(|until| until <= now) {
            return self.time_is_over();
        }
        let alive = now + self.keepalive;
        let wake = self.until.map_or(alive, |until| until.min(alive));
        let piece = tokio::select! {
            biased;
            piece = piece => piece,
            () = sleep_until(wake) => {
                return match self.until.is_some_and(|until| until <= wake) {
                    true => self.time_is_over(),
                    false => wire::keepalive(),
                };
            }
        };
        match piece {
            Some(OutputPiece::Stdout(bytes)) => wire::data(Stream::Stdout, bytes),
            Some(OutputPiece::Stderr(bytes)) => wire::data(Stream::Stderr, bytes),
            Some(OutputPiece::Terminal(bytes)) => wire::data(Stream::Pty, bytes),
            Some(OutputPiece::End(end)) => self.over(wire::end(end)),
            None => self.over(Err(Failure::Gone)),
        }
    }

    fn time_is_over(&mut self) -> Bytes {
        self.over(Err(Failure::said(Kind::Deadline, "the stream's time is over")))
    }

    /// The end of the stream: the end event if there is one, and the last frame.
    fn over(&mut self, end: Result<Bytes, Failure>) -> Bytes {
        self.stage = Stage::Over;
        match end {
            Ok(event) => [event, frame::last(None)].concat().into(),
            Err(failure) => frame::last(Some(failure.last_frame())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    fn pace(until: Option<Instant>) -> Pace {
        Pace { keepalive: Duration::from_secs(90), until, stage: Stage::Output }
    }

    fn piece() -> Option<OutputPiece> {
        Some(OutputPiece::Stdout(Bytes::from_static(b"y")))
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_at_its_time_though_output_is_ready() {
        let mut pace = pace(Some(Instant::now() + Duration::from_secs(1)));
        assert_eq!(pace.event(ready(piece())).await, wire::data(Stream::Stdout, Bytes::from_static(b"y")));
        tokio::time::advance(Duration::from_secs(1)).await;
        let last = pace.event(ready(piece())).await;
        assert!(String::from_utf8_lossy(&last).contains("deadline_exceeded"), "{last:?}");
        assert_eq!(pace.stage, Stage::Over);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_a_keepalive_until_the_time_is_over() {
        let mut pace = pace(Some(Instant::now() + Duration::from_secs(100)));
        assert_eq!(pace.event(pending()).await, wire::keepalive());
        let last = pace.event(pending()).await;
        assert!(String::from_utf8_lossy(&last).contains("deadline_exceeded"), "{last:?}");
    }
}
