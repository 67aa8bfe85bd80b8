//! What can go wrong while walls are built: always one call, with its arguments, for one wall.

use model::Wall;
use std::io;

/// A wall that did not come to stand.
#[derive(Debug, thiserror::Error)]
#[error("{wall}: {call}")]
pub struct Error {
    /// The wall that was being built.
    pub wall: Wall,
    /// The call that failed, printed as strace would.
    pub call: String,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

/// Short for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Says which wall a failed call belonged to.
pub(crate) trait For<T> {
    /// Names the wall and the call.
    fn wall(self, wall: Wall, call: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> For<T> for std::result::Result<T, E> {
    fn wall(self, wall: Wall, call: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error { wall, call: call(), source: error.into() })
    }
}
