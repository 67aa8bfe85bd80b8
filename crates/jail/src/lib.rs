//! Builds native walls, then becomes the agent inside them.
//!
//! ```text
//! caller ──fork──→ warden ──clone3──→ builder: Fresh → Apart → Rooted → Sealed ──exec──→ agent (pid 1 inside)
//!    ↑               │ limits, cgroup, death watch           │
//!    └───────────────┴──── one report: walls + descriptors ──┘
//! ```
//!
//! This crate is the trusted base: synchronous, without an allocator of descriptors other than the kernel, and with
//! every `unsafe` of the host side in [`sys`].

pub mod cgroup;
mod error;
pub mod ids;
pub mod landlock;
mod mounts;
pub mod plan;
mod report;
mod root;
pub mod seccomp;
mod stages;
pub mod sys;
mod warden;
mod zone;

pub use error::{Error, Result};
pub use plan::{Plan, RootInside, Terminal, Zone, ZoneKind};
pub use report::{Built, WRITE_ZONES_MAX};
pub use warden::{Ended, Started, Warden, start};
pub use zone::zone_of_user;
