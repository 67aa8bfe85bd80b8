//! Listeners: accept, admit, serve, part.

use crate::admission::{Admission, Admitted};
use crate::bounds::{
    CONNECTIONS_MAX, HEADER_TIME, HEADERS_MAX, LINGER_BYTES_MAX, LINGER_TIME, PARTING_TIME, READ_AHEAD_BYTES,
};
use crate::connection::Guarded;
use crate::{App, Origin, TlsConfig, e2b};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// How long a listener rests when the system has no descriptor left.
const EXHAUSTED_TIME: Duration = Duration::from_millis(100);
/// What tells the listeners to end.
pub(crate) type Ending = watch::Receiver<bool>;

/// A TCP listener of the network plane.
pub(crate) struct Network {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    most: usize,
}

impl Network {
    pub(crate) fn new(listener: std::net::TcpListener, tls: Option<TlsConfig>) -> io::Result<Network> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        Ok(Network { listener, tls: tls.map(TlsAcceptor::from), most: connections_max() })
    }

    /// Serves until it is told to end.
    pub(crate) async fn serve(self, app: Arc<App>, ending: Ending) {
        let admission = Admission::new(self.most);
        let accept = |cx: &mut Context<'_>| self.listener.poll_accept(cx);
        accept_all(accept, ending.clone(), |(stream, peer)| {
            // Refused by closing: whoever opens more than its share gets no work done for it.
            let admitted = admission.admit(Some(peer.ip()))?;
            let _ = stream.set_nodelay(true);
            Some(network_connection(app.clone(), stream, self.tls.clone(), admitted, ending.clone()))
        })
        .await;
    }
}

async fn network_connection(
    app: Arc<App>,
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    admitted: Admitted,
    ending: Ending,
) {
    let Some(tls) = tls else { return connection(app, Origin::Network, stream, admitted, ending).await };
    let handshake = Box::pin(tokio::time::timeout(HEADER_TIME, tls.accept(stream)));
    let evicted = admitted.phase.clone();
    let stream = tokio::select! {
        handshake = handshake => handshake,
        () = evicted.evicted.notified() => return,
    };
    match stream {
        // Boxed: what TLS needs would otherwise be part of each connection without it, which is most of what one takes.
        Ok(Ok(stream)) => Box::pin(connection(app, Origin::Network, stream, admitted, ending)).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake"),
        Err(_) => tracing::debug!("TLS handshake took too long"),
    }
}

/// The local socket of the operator's plane.
pub(crate) struct Local {
    listener: UnixListener,
    most: usize,
}

impl Local {
    pub(crate) fn new(listener: std::os::unix::net::UnixListener) -> io::Result<Local> {
        listener.set_nonblocking(true)?;
        Ok(Local { listener: UnixListener::from_std(listener)?, most: connections_max() })
    }

    /// Serves until it is told to end.
    pub(crate) async fn serve(self, app: Arc<App>, ending: Ending) {
        let admission = Admission::new(self.most);
        let accept = |cx: &mut Context<'_>| self.listener.poll_accept(cx);
        accept_all(accept, ending.clone(), |(stream, _)| {
            let admitted = if is_operator(&stream) { admission.admit(None)? } else { return None };
            Some(connection(app.clone(), Origin::Operator, stream, admitted, ending.clone()))
        })
        .await;
    }
}

/// Accepts until it is told to end, and lets what was begun finish. `begin` gives nothing for a connection that is refused.
async fn accept_all<S, C: Future<Output = ()> + Send + 'static>(
    mut accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<S>>,
    mut ending: Ending,
    begin: impl Fn(S) -> Option<C>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = told(&mut ending) => break,
            accepted = poll_fn(&mut accept) => accepted,
        };
        while connections.try_join_next().is_some() {}
        if let Some(connection) = accepted_or_rest(accepted).await.and_then(&begin) {
            connections.spawn(connection);
        }
    }
    part(connections).await;
}

/// Whether the other side is the user that runs the server, or root.
fn is_operator(stream: &UnixStream) -> bool {
    let peer = rustix::net::sockopt::socket_peercred(stream.as_fd());
    peer.is_ok_and(|peer| peer.uid.is_root() || peer.uid == rustix::process::geteuid())
}

/// Connections of one listener: as many as the bound says, or a quarter of the descriptors that there may be.
fn connections_max() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let descriptors = limit.current.and_then(|most| usize::try_from(most).ok());
    descriptors.map_or(CONNECTIONS_MAX, |most| (most / 4).clamp(16, CONNECTIONS_MAX))
}

async fn accepted_or_rest<T>(accepted: io::Result<T>) -> Option<T> {
    match accepted {
        Ok(accepted) => Some(accepted),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) =>
        {
            None
        }
        Err(error) => {
            tracing::warn!(%error, "accept");
            tokio::time::sleep(EXHAUSTED_TIME).await;
            None
        }
    }
}

/// Serves one connection: one request after another.
async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    app: Arc<App>,
    origin: Origin,
    stream: S,
    admitted: Admitted,
    mut ending: Ending,
) {
    let phase = admitted.phase.clone();
    let service = {
        let phase = phase.clone();
        service_fn(move |request| {
            let (app, in_progress) = (app.clone(), phase.begin());
            Box::pin(async move {
                let response = e2b::answer(app, origin, request).await;
                Ok::<_, Infallible>(response.map(|body| body.holding(in_progress)))
            })
        })
    };
    let mut builder = http1::Builder::new();
    builder.max_headers(HEADERS_MAX).max_buf_size(READ_AHEAD_BYTES).pipeline_flush(false);
    let mut served = builder.serve_connection(TokioIo::new(Guarded::new(stream, phase.clone())), service);
    let ended = tokio::select! {
        biased;
        ended = poll_fn(|cx| served.poll_without_shutdown(cx)) => ended,
        () = phase.evicted.notified() => return,
        () = told(&mut ending) => {
            std::pin::Pin::new(&mut served).graceful_shutdown();
            poll_fn(|cx| served.poll_without_shutdown(cx)).await
        }
    };
    match ended {
        Ok(()) => linger(served.into_parts().io.into_inner()).await,
        Err(error) => tracing::debug!(%error, "connection"),
    }
}

/// Closes a connection after an answer. A socket that is closed while bytes of a refused upload are unread is reset, and its
/// client never sees the answer that refused it.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let rest = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES_MAX), &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(LINGER_TIME, rest).await;
}

/// Waits until the listeners are to end. Who could tell them being gone tells them, too.
async fn told(ending: &mut Ending) {
    let _ = ending.wait_for(|ending| *ending).await;
}

/// Gives what is in progress a moment to end.
async fn part(mut connections: JoinSet<()>) {
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(PARTING_TIME, all).await.is_err() {
        connections.shutdown().await;
    }
}
