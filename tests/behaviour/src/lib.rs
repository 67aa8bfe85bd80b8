//! What `casemate run` looks like from outside: the tools with which the tests of this package start it, watch it and
//! look for what it leaves behind.
//!
//! A test gets a [`Place`]: a directory, a state directory and a user of its own. From the environment it takes
//! `CASEMATE_BIN`, the program to test (default: the release build of this workspace), and `CASEMATE_NOT_RUN`, a file
//! in which a test that cannot run here says so.

mod bytes;
mod leftovers;
mod place;
mod program;
mod terminal;

pub use bytes::{Bytes, digest};
pub use place::{Place, Who, not_run};
pub use program::{Ended, Peak, collect, find, finish, give, program, signal, wait, within};
pub use terminal::Terminal;

/// How long anything may take before it counts as hanging.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// Runs every named function as two tests: in the root profile and as an ordinary user without set-up.
#[macro_export]
macro_rules! for_each_profile {
    ($($name:ident)*) => {
        mod root {
            $(#[test] fn $name() -> anyhow::Result<()> {
                $crate::Place::with(stringify!($name), $crate::Who::Root, super::$name)
            })*
        }
        mod user {
            $(#[test] fn $name() -> anyhow::Result<()> {
                $crate::Place::with(stringify!($name), $crate::Who::User, super::$name)
            })*
        }
    };
}
