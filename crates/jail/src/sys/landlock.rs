//! The three calls of Landlock.

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::io;

const CREATE_RULESET_VERSION: u32 = 1;
const RULE_PATH_BENEATH: u32 = 1;

#[repr(C)]
struct RulesetAttr {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

#[repr(C, packed)]
struct PathBeneathAttr {
    allowed_access: u64,
    parent_fd: i32,
}

/// The kernel's Landlock ABI.
///
/// # Errors
/// `ENOSYS` or `EOPNOTSUPP` where the kernel has none or does not use it.
pub fn abi() -> io::Result<u32> {
    // SAFETY: with the version flag the kernel reads no structure.
    let abi = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0, CREATE_RULESET_VERSION)
    };
    if abi == -1 { Err(io::Error::last_os_error()) } else { Ok(abi as u32) }
}

/// A new set of rules that handles `fs` accesses and scopes `scoped`. `abi` says how much of the structure the
/// kernel knows.
///
/// # Errors
/// What `landlock_create_ruleset` says.
pub fn create(abi: u32, fs: u64, scoped: u64) -> io::Result<OwnedFd> {
    let attributes = RulesetAttr { handled_access_fs: fs, handled_access_net: 0, scoped };
    let size = match abi {
        ..4 => 8,
        4..6 => 16,
        6.. => size_of::<RulesetAttr>(),
    };
    // SAFETY: `attributes` outlives the call and is at least `size` bytes long.
    let fd = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attributes, size, 0) };
    match fd {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the kernel has just opened this descriptor for us.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) }),
    }
}

/// Allows `access` at `beneath` and below.
///
/// # Errors
/// What `landlock_add_rule` says.
pub fn allow(rules: BorrowedFd<'_>, beneath: BorrowedFd<'_>, access: u64) -> io::Result<()> {
    let attributes = PathBeneathAttr { allowed_access: access, parent_fd: beneath.as_raw_fd() };
    // SAFETY: `attributes` has the kernel's packed layout and outlives the call.
    super::check(unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            rules.as_raw_fd(),
            RULE_PATH_BENEATH,
            &raw const attributes,
            0,
        )
    })
}

/// Puts this thread, and all it will start, under `rules`. There is no way back.
///
/// # Errors
/// What `landlock_restrict_self` says.
pub fn restrict_self(rules: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes a descriptor and no memory.
    super::check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) })
}
