//! Shows that the walls hold, by attacks from inside and looks from outside.
//!
//! Each class of failure (`CT-nn`) is one file of tests. It has three parts, and a test of it is all of them:
//!
//! - *findings*: what is not as it should be. Behind all walls there are none.
//! - *control*: the same probe outside must succeed, or its failure inside proves nothing.
//! - *mutants*: with one wall weakened there must be findings, or the check cannot see that wall fall.
//!
//! Probes are one program, brought in through a read zone; what it learns it prints as [`Facts`].

pub mod errno;
pub mod facts;
pub mod ground;
pub mod held;
pub mod mutants;
pub mod posture;
pub mod profile;
pub mod prove;
pub mod sys;

pub use facts::{Facts, differences};
pub use ground::{Ground, Inside};
pub use held::Held;
pub use profile::Profile;
pub use prove::{Class, prove};
