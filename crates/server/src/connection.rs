//! One connection: what phase it is in, and how long it may stay there.

use crate::bounds::{HEADER_TIME, IDLE_TIME, STALL_TIME};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until};

const IDLE: u8 = 0;
const HEADERS: u8 = 1;
const BUSY: u8 = 2;

/// What the accepting side and the connection's own task know of it together.
#[derive(Debug)]
pub(crate) struct Phase {
    phase: AtomicU8,
    /// Since when it is idle or reading headers, in milliseconds after `born`.
    since_ms: AtomicU64,
    born: Instant,
    in_progress: AtomicUsize,
    /// Its place is needed for another.
    pub evicted: Notify,
}

/// One request in progress on a connection: until it is dropped.
#[derive(Debug)]
pub(crate) struct InProgress(Arc<Phase>);

impl Phase {
    pub(crate) fn new() -> Phase {
        Phase {
            phase: AtomicU8::new(HEADERS),
            since_ms: AtomicU64::new(0),
            born: Instant::now(),
            in_progress: AtomicUsize::new(0),
            evicted: Notify::new(),
        }
    }

    fn enter(&self, phase: u8) {
        let since_ms = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.since_ms.store(since_ms, Ordering::Relaxed);
        self.phase.store(phase, Ordering::Relaxed);
    }

    /// The headers of a request are there.
    pub(crate) fn begin(self: &Arc<Phase>) -> InProgress {
        self.in_progress.fetch_add(1, Ordering::Relaxed);
        self.enter(BUSY);
        InProgress(self.clone())
    }

    /// Since when nothing is in progress on it, if so.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let idle = self.phase.load(Ordering::Relaxed) != BUSY;
        idle.then(|| self.born + Duration::from_millis(self.since_ms.load(Ordering::Relaxed)))
    }

    /// Until when the next bytes must come.
    fn until(&self) -> Option<Instant> {
        let time = if self.phase.load(Ordering::Relaxed) == HEADERS { HEADER_TIME } else { IDLE_TIME };
        self.idle_since().map(|since| since + time)
    }

    fn read_some(&self) {
        if self.phase.load(Ordering::Relaxed) == IDLE {
            self.enter(HEADERS);
        }
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        if self.0.in_progress.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.enter(IDLE);
        }
    }
}

/// A stream that ends when its other side is silent for too long, or takes nothing for too long.
pub(crate) struct Guarded<S> {
    stream: S,
    phase: Arc<Phase>,
    silence: Pin<Box<Sleep>>,
    stall: Option<Pin<Box<Sleep>>>,
}

impl<S> Guarded<S> {
    pub(crate) fn new(stream: S, phase: Arc<Phase>) -> Self {
        let silence = Box::pin(sleep_until(Instant::now() + HEADER_TIME));
        Guarded { stream, phase, silence, stall: None }
    }

    /// Passes on what writing came to; a write that waits for too long is an error.
    fn written<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stall = None;
            return result;
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + STALL_TIME)));
        stall.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, into);
        if read.is_ready() {
            if into.filled().len() > before {
                this.phase.read_some();
            }
            return read;
        }
        let Some(until) = this.phase.until() else { return Poll::Pending };
        if this.silence.deadline() != until {
            this.silence.as_mut().reset(until);
        }
        this.silence.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.written(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, bytes);
        this.written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_flush(cx);
        this.written(cx, result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.written(cx, result)
    }
}
