//! The six functions that compiled code calls by name to copy, fill, compare and measure memory. A C library would have them.
//!
//! In assembly, because a loop that does what one of them does is turned into a call of it.

use core::arch::asm;

// SAFETY, of all six: the compiler looks for functions of these names and types. It calls them with addresses at
// which there are `count` bytes to read or to write, and for `memcpy` with two that do not overlap; and `strlen` with
// one from which on there is a zero.

#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: reads and writes exactly the bytes that the caller names; the direction flag is clear, as it is
    // between all functions.
    unsafe {
        asm!(
            "rep movsb",
            inout("rdi") to => _,
            inout("rsi") from => _,
            inout("rcx") count => _,
            options(nostack, preserves_flags),
        );
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // Forward unless that would overwrite what is still to be read.
    if to.addr().wrapping_sub(from.addr()) >= count {
        // SAFETY: as for this function; a forward copy to a lower address reads each byte before it overwrites it.
        return unsafe { memcpy(to, from, count) };
    }
    // SAFETY: reads and writes exactly the bytes that the caller names, the last one first; `count` is not 0 here.
    // The direction flag is cleared again.
    unsafe {
        asm!(
            "std",
            "rep movsb",
            "cld",
            inout("rdi") to.add(count - 1) => _,
            inout("rsi") from.add(count - 1) => _,
            inout("rcx") count => _,
            options(nostack),
        );
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, count: usize) -> *mut u8 {
    // SAFETY: writes exactly the bytes that the caller names.
    unsafe {
        asm!(
            "rep stosb",
            inout("rdi") to => _,
            inout("rcx") count => _,
            in("al") byte as u8,
            options(nostack, preserves_flags),
        );
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    let (below, above): (u8, u8);
    // SAFETY: reads at most the bytes that the caller names. The first comparison makes all equal for when there
    // is none after it.
    unsafe {
        asm!(
            "cmp rcx, rcx",
            "repe cmpsb",
            "setb al",
            "seta dl",
            inout("rdi") right => _,
            inout("rsi") left => _,
            inout("rcx") count => _,
            out("al") below,
            out("dl") above,
            options(nostack, readonly),
        );
    }
    i32::from(above) - i32::from(below)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    // SAFETY: as for this function.
    unsafe { memcmp(left, right, count) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(string: *const u8) -> usize {
    let left: usize;
    // SAFETY: reads up to the first zero, which the caller says is there.
    unsafe {
        asm!(
            "repne scasb",
            inout("rdi") string => _,
            inout("rcx") usize::MAX => left,
            in("al") 0u8,
            options(nostack, readonly),
        );
    }
    // All steps but the one over the zero.
    usize::MAX - left - 1
}
