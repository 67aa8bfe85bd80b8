//! The agent's program in a memory file, from which every sandbox executes it.

use crate::error::{For, Result};
use model::Wall;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{MemfdFlags, SealFlags};

/// A program that nobody can change any more. Sandboxes that are started from one image share its pages.
#[derive(Debug)]
pub struct Image(OwnedFd);

impl Image {
    /// Copies `program` and seals the copy.
    ///
    /// # Errors
    /// The memory file cannot be made.
    pub fn sealed(program: &[u8]) -> Result<Image> {
        let image = Image::empty()?;
        image.fill(program)?;
        Ok(image)
    }

    /// A memory file that somebody fills by the time the program is needed.
    pub(crate) fn empty() -> Result<Image> {
        rustix::fs::memfd_create("casemate-agent", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
            .map(Image)
            .wall(Wall::OwnRoot, || "memfd_create(\"casemate-agent\")".to_owned())
    }

    /// Fills the memory file and makes it unchangeable for ever: what runs inside can be read there, never replaced.
    pub(crate) fn fill(&self, program: &[u8]) -> Result<()> {
        let wall = Wall::OwnRoot;
        let mut rest = program;
        while !rest.is_empty() {
            let written = rustix::io::write(&self.0, rest).wall(wall, || "write(memfd)".to_owned())?;
            rest = &rest[written..];
        }
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        rustix::fs::fcntl_add_seals(&self.0, seals).wall(wall, || "fcntl(F_ADD_SEALS)".to_owned())
    }

    /// A program that the caller put into a memory file itself.
    pub(crate) fn of(program: OwnedFd) -> Image {
        Image(program)
    }

    pub(crate) fn descriptor(&self) -> Result<OwnedFd> {
        self.0.try_clone().wall(Wall::OwnRoot, || "dup(memfd)".to_owned())
    }
}

impl AsFd for Image {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
