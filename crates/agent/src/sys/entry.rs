//! Where the kernel enters, and where the agent ends if it cannot go on.

use super::exit;
use core::arch::naked_asm;
use core::panic::PanicInfo;

/// The first code of the process. Nothing is to be done before the agent's own: the program is linked to where it is
/// loaded, so it has no addresses to put right; and it has one thread and no variables of a thread. Arguments and
/// environment stay unread.
// SAFETY: the linker looks for a function of this name and makes it the entry. The kernel jumps here, with nothing to
// return to and a stack that is aligned as a call needs it (the System V ABI for x86-64, 3.4.1).
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    // A frame pointer of zero marks the outermost frame.
    naked_asm!("xor ebp, ebp", "call {enter}", enter = sym enter)
}

extern "C" fn enter() -> ! {
    exit(crate::run())
}

/// A mistake of the agent's is its end, or that of the child that made it; there is nobody to tell.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    exit(101)
}
