//! The parent and descriptor store of all sandboxes of one state directory.
//!
//! ```text
//! server ──unix seqpacket──→ launcher ──clone3──→ builder → agent, one per sandbox (dies with the launcher)
//!                                │
//!                                └──fork──→ keeper
//! ```
//!
//! The **launcher** is small, single-threaded, and waits for nobody. It is started by the first server and outlives it:
//! [`ensure`]. To its sandboxes it is what a warden is to one: it ends them at their limits and deadlines, refuses trapped
//! system calls, and has them cleaned up. For a server that comes later it keeps every sandbox's descriptors and whatever
//! the server gave it to hold. A server that is gone starts each sandbox's lease.
//!
//! The **keeper** is told of each sandbox before it is one. It removes what ended sandboxes leave and, where no server does,
//! records their ends. When the launcher is gone it waits until its sandboxes are dead, cleans up, and records that they
//! were abandoned. When the keeper is gone the launcher starts another and tells it everything again. Killed together, they
//! leave cgroups, which the next launcher's keeper sweeps.

mod client;
mod clients;
mod creation;
mod ends;
mod ensure;
mod keeper;
mod keeping;
mod news;
mod orders;
mod place;
mod process;
pub mod protocol;
mod sandbox;
mod scribe;
mod timers;
mod wire;

pub use client::Client;
pub use ensure::ensure;

use std::io;

/// Why there is no launcher to speak to.
#[derive(Debug, thiserror::Error)]
pub enum LauncherError {
    /// A call failed.
    #[error("launcher: {call}")]
    Call {
        /// The call.
        call: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// One was started, and another, and each was gone at once.
    #[error("the launcher ended {starts} times before it served")]
    Dies {
        /// So many were started.
        starts: u32,
        /// What was seen of the last.
        #[source]
        source: Box<LauncherError>,
    },
    /// It comes from another version.
    #[error("the launcher that runs speaks protocol {found}; this is {}", protocol::PROTOCOL)]
    Protocol {
        /// Its protocol.
        found: u32,
    },
}

impl LauncherError {
    /// What the reader can do about it.
    pub fn mend(&self) -> String {
        match self {
            LauncherError::Call { .. } => {
                "see that the state directory can be written and that another user's launcher is not meant".to_owned()
            }
            LauncherError::Dies { .. } => {
                "see `casemate doctor`; a launcher takes memfd_create(2), fork(2), epoll(7), and a few open files and processes of its user".to_owned()
            }
            LauncherError::Protocol { .. } => {
                "end its sandboxes with the version that started it (`casemate stop --all`), or wait for them; without sandboxes it ends by itself".to_owned()
            }
        }
    }
}
