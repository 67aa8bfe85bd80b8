//! Builds native walls, then becomes the agent inside them.
//!
//! ```text
//! caller ──clone3──→ builder: Fresh → Apart → Rooted → Sealed ──exec──→ agent (pid 1 inside)
//!   │  ↑                                         │
//!   │  └──── one report: walls + descriptors ────┘
//!   └──fork──→ warden: limits that need somebody awake; cleans up if the caller dies
//! ```
//!
//! [`start`] is for a caller that waits for one sandbox; [`launch`] for one that keeps many, and does a warden's work itself.
//!
//! This crate is the trusted base: synchronous, without an allocator of descriptors other than the kernel, and with
//! every `unsafe` of the host side in [`sys`].

pub mod cgroup;
mod error;
pub mod ids;
mod image;
pub mod landlock;
mod launch;
mod mounts;
pub mod plan;
pub mod probe;
mod report;
mod root;
mod sandbox;
pub mod seccomp;
mod stages;
pub mod sys;
pub mod terminal;
mod warden;
mod zone;

pub use error::{Error, Result};
pub use image::Image;
pub use launch::{Building, Launched, aside, launch};
pub use plan::{Door, Plan, RootInside, Terminal, Zone, ZoneKind};
pub use report::{Built, WRITE_ZONES_MAX};
pub use root::{BOARD_BYTES, TERMINALS_MAX, upper_layer};
pub use sandbox::{Ended, Remains, Sandbox, Started, bare, start, with_rights_over};
pub use zone::zone_of_user;
