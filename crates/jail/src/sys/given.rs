//! What the caller left open, looked at before the standard library looks.

use rustix::fd::RawFd;

/// Which of the descriptors 0, 1 and 2 the caller left open, as seen before the standard library's start-up put
/// `/dev/null` in the gaps.
pub fn standard_descriptors_given() -> [bool; 3] {
    let bits = GIVEN.load(std::sync::atomic::Ordering::Relaxed);
    [bits & 1 != 0, bits & 2 != 0, bits & 4 != 0]
}

static GIVEN: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(7);

/// Runs before `main`: the C library calls what stands in `.init_array`, the standard library mends later.
// SAFETY: a function pointer of the type that `.init_array` holds; it touches only an atomic and `fcntl`.
#[used]
#[unsafe(link_section = ".init_array")]
static NOTE_GIVEN: extern "C" fn() = {
    extern "C" fn note_given() {
        let open = |fd: RawFd| {
            // SAFETY: F_GETFD takes any number and changes nothing.
            unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 }
        };
        let bits = u8::from(open(0)) | u8::from(open(1)) << 1 | u8::from(open(2)) << 2;
        GIVEN.store(bits, std::sync::atomic::Ordering::Relaxed);
    }
    note_given
};
