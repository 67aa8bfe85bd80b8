//! Where the C library enters.

use std::ffi::{c_char, c_int};

/// In place of the standard library's own entry, which reads `/proc/self/maps` and installs handlers of which nothing
/// here has any use. Every start of a sandbox would wait for that.
// SAFETY: the C library looks for a function of this name and type, and calls it once, on the only thread.
#[unsafe(no_mangle)]
extern "C" fn main(_count: c_int, _arguments: *const *const c_char) -> c_int {
    c_int::from(crate::run())
}
