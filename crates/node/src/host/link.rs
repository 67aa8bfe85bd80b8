//! The connection to the launcher: one task owns it, everybody else sends orders and is told what concerns them.

use super::inner::Inner;
use super::{Error, pipes};
use crate::launcher::Client;
use crate::launcher::protocol::{Order, Report};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::io;
use std::sync::Weak;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

/// Orders that wait for the launcher.
const ORDERS_MAX: usize = 1024;

const ETOOMANYREFS: i32 = 109;
const PAUSE: Duration = Duration::from_millis(2);

/// An order, the descriptors that go with it, and who wants to know when it was sent.
type Sent = (Order, Vec<OwnedFd>, Option<oneshot::Sender<()>>);

/// Sends orders.
#[derive(Debug, Clone)]
pub(super) struct Orders(mpsc::Sender<Sent>);

impl Orders {
    pub(super) fn channel() -> (Orders, mpsc::Receiver<Sent>) {
        let (orders, queue) = mpsc::channel(ORDERS_MAX);
        (Orders(orders), queue)
    }

    pub(super) async fn send(&self, order: Order, descriptors: Vec<OwnedFd>) -> Result<(), Error> {
        self.0.send((order, descriptors, None)).await.map_err(|_| lost())
    }

    /// Sends what may be lost: it is, while the launcher has much to do.
    pub(super) fn send_if_room(&self, order: Order) {
        let _ = self.0.try_send((order, Vec::new(), None));
    }

    /// Returns when the launcher's socket has it: it will be obeyed whatever becomes of this process.
    pub(super) async fn send_through(&self, order: Order, descriptors: Vec<OwnedFd>) -> Result<(), Error> {
        let (tell, told) = oneshot::channel();
        self.0.send((order, descriptors, Some(tell))).await.map_err(|_| lost())?;
        told.await.map_err(|_| lost())
    }
}

fn lost() -> Error {
    Error::Launcher("its connection is closed".to_owned())
}

/// The connection.
#[derive(Debug)]
pub(super) struct Link(AsyncFd<Client>);

impl Link {
    pub(super) fn over(client: Client) -> io::Result<Link> {
        pipes::watch(client).map(Link)
    }

    /// The next thing that the launcher says.
    pub(super) async fn hear(&self) -> io::Result<(Report, Vec<OwnedFd>)> {
        loop {
            if let Ok(said) = self.0.readable().await?.try_io(|socket| socket.get_ref().receive()) {
                return said;
            }
        }
    }

    /// Sends one order, waiting while the launcher does not take it. It is sent whole or, dropped before, not at all.
    pub(super) async fn send(&self, order: &Order, descriptors: &[OwnedFd]) -> io::Result<()> {
        let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(|fd| fd.as_fd()).collect();
        loop {
            let mut ready = self.0.writable().await?;
            match ready.try_io(|socket| socket.get_ref().send(order, &descriptors)) {
                // This user has too many descriptors on their way: the launcher has to take some first.
                Ok(Err(error)) if error.raw_os_error() == Some(ETOOMANYREFS) => {
                    tokio::time::sleep(PAUSE).await
                }
                Ok(sent) => return sent,
                Err(_) => {}
            }
        }
    }
}

/// Serves the connection until it breaks or the node is dropped.
pub(super) async fn tend(link: Link, mut queue: mpsc::Receiver<Sent>, inner: Weak<Inner>) {
    // What is being sent. Meanwhile it is listened all the same: a launcher whose reports nobody takes takes no orders.
    let mut next: Option<Sent> = None;
    loop {
        let sending = async {
            match &next {
                Some((order, descriptors, _)) => link.send(order, descriptors).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            said = link.hear() => match (said, inner.upgrade()) {
                (Ok((report, descriptors)), Some(inner)) => inner.heard(report, descriptors),
                _ => break,
            },
            sent = sending => match sent {
                Ok(()) => if let Some((_, _, Some(tell))) = next.take() {
                    let _ = tell.send(());
                },
                Err(_) => break,
            },
            order = queue.recv(), if next.is_none() => match order {
                Some(order) => next = Some(order),
                None => return,
            },
        }
    }
    // First, so that nobody puts something into a queue that nobody reads.
    drop((queue, next));
    if let Some(inner) = inner.upgrade() {
        inner.launcher_is_gone();
    }
}
