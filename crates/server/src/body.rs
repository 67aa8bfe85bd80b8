//! What goes out as the body of an answer, and what comes in as the body of a request, with its bounds.

use crate::bounds::{BODY_IDLE_TIME, DRAIN_BYTES_MAX, DRAIN_TIME};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The body of an answer.
pub(crate) struct Body {
    content: Content,
    /// What is released when the answer has been sent, or its client is gone.
    held: Vec<Box<dyn Send>>,
}

enum Content {
    Whole(Option<Bytes>),
    /// Pieces that are made as they are taken, so that nothing is queued for a client that does not read.
    Pieces {
        pieces: Box<dyn Pieces>,
        left: Option<u64>,
        ended: bool,
    },
}

/// Why an answer breaks off: the client sees a connection that closes before the end.
#[derive(Debug, thiserror::Error)]
#[error("the answer cannot be continued")]
pub(crate) struct BrokenOff;

/// Makes the pieces of an answer one by one.
pub(crate) trait Pieces: Send {
    /// The next piece, or none at the end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>>;
}

/// A state that says by an async function what comes next.
pub(crate) trait Source: Send + Sized + 'static {
    /// The next piece and the state after it, or none at the end.
    fn next(self) -> impl Future<Output = Result<Option<(Bytes, Self)>, BrokenOff>> + Send;
}

type Step<S> = Pin<Box<dyn Future<Output = Result<Option<(Bytes, S)>, BrokenOff>> + Send>>;

/// The step in progress.
struct Steps<S>(Option<Step<S>>);

impl<S: Source> Pieces for Steps<S> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        let Some(future) = &mut self.0 else { return Poll::Ready(None) };
        let done = ready!(future.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(match done {
            Ok(Some((piece, state))) => {
                self.0 = Some(Box::pin(state.next()));
                Some(Ok(piece))
            }
            Ok(None) => None,
            Err(broken) => Some(Err(broken)),
        })
    }
}

impl Body {
    pub(crate) fn empty() -> Body {
        Body { content: Content::Whole(None), held: Vec::new() }
    }

    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
        let bytes = bytes.into();
        Body { content: Content::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())), held: Vec::new() }
    }

    /// A body of pieces; of exactly `length` bytes if that is known.
    pub(crate) fn pieces<S: Source>(source: S, length: Option<u64>) -> Body {
        let pieces = Box::new(Steps(Some(Box::pin(source.next()) as Step<S>)));
        Body { content: Content::Pieces { pieces, left: length, ended: false }, held: Vec::new() }
    }

    /// Keeps something until the answer is over.
    pub(crate) fn holding(mut self, held: impl Send + 'static) -> Body {
        self.held.push(Box::new(held));
        self
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match &mut self.get_mut().content {
            Content::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::Pieces { ended: true, .. } => Poll::Ready(None),
            Content::Pieces { pieces, left, ended } => {
                let mut piece = ready!(pieces.poll_next(cx));
                if let (Some(Ok(bytes)), Some(left)) = (&mut piece, left) {
                    // A file that grows while it is sent ends where it ended when its length was told.
                    bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= bytes.len() as u64;
                    *ended = *left == 0;
                }
                *ended |= !matches!(piece, Some(Ok(_)));
                Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Whole(None) | Content::Pieces { ended: true, .. })
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Content::Pieces { left: Some(left), .. } => SizeHint::with_exact(*left),
            Content::Pieces { .. } => SizeHint::default(),
        }
    }
}

/// Why a request's body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unread {
    #[error("the request's body is longer than {0} bytes")]
    TooLong(u64),
    #[error("the request's body took too long")]
    TooSlow,
    #[error("the request's body broke off")]
    BrokenOff,
}

/// The body of a request. When nobody reads on it goes back to where it was [lent](Lender), to be read to its end.
pub(crate) struct Lent {
    body: Option<Incoming>,
    lender: Lender,
}

/// Where an unread body goes.
#[derive(Clone, Default)]
pub(crate) struct Lender(Arc<Mutex<Option<Incoming>>>);

impl Lender {
    pub(crate) fn lend(&self, body: Incoming) -> Lent {
        Lent { body: Some(body), lender: self.clone() }
    }

    /// Reads what is left of a body that nobody reads. A connection can be kept only behind a body's end; so if this one is
    /// long or slow the connection has to go: that is what is said.
    pub(crate) async fn settle(&self) -> Rest {
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(body) = body.filter(|body| !body.is_end_stream()) else { return Rest::None };
        let lent = Lender::default().lend(body);
        match Inbound::new(lent, DRAIN_BYTES_MAX, DRAIN_TIME).all().await {
            Ok(_) => Rest::None,
            Err(_) => Rest::Unread,
        }
    }
}

/// What is left of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    None,
    Unread,
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.lender.0.lock().unwrap_or_else(PoisonError::into_inner) = self.body.take();
    }
}

/// The body of a request, read within a number of bytes and a time.
pub(crate) struct Inbound {
    body: Lent,
    most: u64,
    left: u64,
    until: Instant,
}

impl Inbound {
    pub(crate) fn new(body: Lent, most: u64, time: Duration) -> Inbound {
        Inbound { body, most, left: most, until: Instant::now() + time }
    }

    /// The next bytes, or none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Unread> {
        let Some(body) = &mut self.body.body else { return Ok(None) };
        if body.size_hint().lower() > self.left {
            return Err(Unread::TooLong(self.most));
        }
        loop {
            let until = self.until.min(Instant::now() + BODY_IDLE_TIME);
            let frame = timeout_at(until, body.frame()).await.map_err(|_| Unread::TooSlow)?;
            let Some(frame) = frame else { return Ok(None) };
            let Ok(bytes) = frame.map_err(|_| Unread::BrokenOff)?.into_data() else { continue };
            self.left = self.left.checked_sub(bytes.len() as u64).ok_or(Unread::TooLong(self.most))?;
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }

    /// All of it.
    pub(crate) async fn all(mut self) -> Result<Bytes, Unread> {
        let Some(first) = self.next().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.next().await? else { return Ok(first) };
        let mut whole = BytesMut::with_capacity((first.len() + second.len()) * 2);
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        while let Some(more) = self.next().await? {
            whole.extend_from_slice(&more);
        }
        Ok(whole.freeze())
    }
}
