//! The process that serves: a runtime, a node, and listeners that somebody else opened.

use crate::listen::{Ending, Local, Network};
use crate::{App, Keys, TlsConfig, open_local};
use model::Event;
use node::host::{Node, Settings};
use node::launcher::Client;
use rustix::fd::OwnedFd;
use std::io;
use std::net::TcpListener;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;

/// All that a server is made of.
pub struct Worker {
    /// What the node is opened with.
    pub settings: Settings,
    /// The launcher that holds the sandboxes.
    pub launcher: Client,
    /// Whose a key is.
    pub keys: Keys,
    /// What clients are told as the domain below which hosts name sandboxes.
    pub domain: Option<String>,
    /// For the network.
    pub network: TcpListener,
    /// Its TLS, if it speaks that.
    pub tls: Option<TlsConfig>,
    /// A pipe's reading end: the server is to end when something is written to it, or its other end closes.
    pub ending: OwnedFd,
}

/// Why a server ended.
#[derive(Debug)]
pub enum Over {
    /// It was told to.
    Asked,
    /// Its launcher is gone, and its sandboxes with it. Another server with another launcher can go on.
    LauncherLost,
    /// It could not begin: the runtime or a listener.
    System(io::Error),
    /// It could not begin: the node.
    Node(node::Error),
}

impl Worker {
    /// Serves until it is told to end. `ready` is called once requests are answered.
    pub fn serve(self, ready: impl FnOnce()) -> Over {
        // Two at least: one long step of one request must not keep the others waiting.
        let threads = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 8));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return Over::System(error),
        };
        let over = runtime.block_on(self.serve_in_runtime(ready));
        runtime.shutdown_background();
        over
    }

    async fn serve_in_runtime(self, ready: impl FnOnce()) -> Over {
        let listen = self.network.local_addr().map_or_else(|_| String::new(), |address| address.to_string());
        let state = self.settings.state.path().to_owned();
        let node = match Node::open(self.settings, self.launcher).await {
            Ok(node) => node,
            Err(error) => return Over::Node(error),
        };
        // Only now is it known that no other server answers there.
        let local = open_local(&state).and_then(Local::new);
        let network = Network::new(self.network, self.tls);
        let ending = Receiver::from_owned_fd(self.ending);
        let (network, local, told) = match (network, local, ending) {
            (Ok(network), Ok(local), Ok(told)) => (network, local, told),
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => return Over::System(error),
        };
        node.observe(Event::ServerStart { version: env!("CARGO_PKG_VERSION").to_owned(), listen });
        let app = App::new(node.clone(), self.keys, self.domain);
        let (end, ending): (_, Ending) = watch::channel(false);
        let network = tokio::spawn(network.serve(app.clone(), ending.clone()));
        let local = tokio::spawn(local.serve(app, ending));
        ready();
        let over = tokio::select! {
            _ = told.readable() => Over::Asked,
            () = node.until_lost() => Over::LauncherLost,
        };
        let _ = end.send(true);
        let _ = tokio::join!(network, local);
        if matches!(over, Over::Asked) {
            let sandboxes = u32::try_from(node.sandboxes().len()).unwrap_or(u32::MAX);
            node.observe(Event::ServerStop { sandboxes });
        }
        node.seal().await;
        over
    }
}
