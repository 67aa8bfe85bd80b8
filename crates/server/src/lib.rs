//! The server: E2B's protocol over HTTP/1.1, in front of one node.
//!
//! ```text
//! listener (TCP, TLS, local socket) ─→ connection: bounded in time, bytes and number ─→ e2b::answer ─→ node::host
//! ```
//!
//! It decides nothing about sandboxes: it reads requests, finds out who asks, and turns answers into bytes. What a client
//! sends is hostile, and so is how it sends: every bound is in [`bounds`].

mod admission;
mod body;
pub mod bounds;
mod connection;
pub mod e2b;
mod listen;
mod open;
mod tls;
mod traffic;
mod worker;

use open::open_local;
pub use open::{LocalName, open_network};
pub use tls::{TlsConfig, TlsError, tls};
pub use worker::{Over, Worker};

use node::host::Node;
use node::keys::Holder;
use std::sync::Arc;

/// Tells whose a key is, and what it may do.
pub type Keys = Arc<dyn Fn(&str) -> Option<Holder> + Send + Sync>;

/// What requests are answered from.
pub(crate) struct App {
    pub(crate) node: Node,
    pub(crate) keys: Keys,
    pub(crate) domain: Option<String>,
    pub(crate) traffic: traffic::Traffic,
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The network: a key or a token is needed.
    Network,
    /// The local socket: whoever can open it is the operator.
    Operator,
}

impl App {
    /// A server of this node's sandboxes. `domain` is told to clients as the one below which hosts name sandboxes.
    pub(crate) fn new(node: Node, keys: Keys, domain: Option<String>) -> Arc<App> {
        Arc::new(App { node, keys, domain, traffic: traffic::Traffic::default() })
    }
}
