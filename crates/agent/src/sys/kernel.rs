//! The system calls that rustix does not wrap.

use core::arch::asm;
use rustix::io::Errno;

/// Asks the kernel; gives its answer, which for most calls is 0.
///
/// # Safety
/// Every argument is what the call `number` takes: where it takes an address, what it reads there is initialised and
/// what it writes there is the caller's.
pub(super) unsafe fn call(number: u32, arguments: [usize; 4]) -> Result<usize, Errno> {
    let [first, second, third, fourth] = arguments;
    let answer: isize;
    // SAFETY: the registers are those of the kernel's calling convention, which changes no others but the three
    // named; that the call may read and write memory is what the compiler expects of assembly. What the call itself
    // does is for the caller to answer for.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as usize => answer,
            in("rdi") first,
            in("rsi") second,
            in("rdx") third,
            in("r10") fourth,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    match answer {
        -4095..=-1 => Err(Errno::from_raw_os_error(-answer as i32)),
        _ => Ok(answer as usize),
    }
}
