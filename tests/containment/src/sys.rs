//! Raw system calls and processes for the probe. The only file here that says `unsafe`.

#![allow(unsafe_code, reason = "a probe makes calls that no library offers")]

use std::io;

/// One call with any arguments: what it returned, or its error.
///
/// Arguments that are addresses are dangling on purpose, or point to what outlives the call.
///
/// # Errors
/// The call's own.
pub fn call(number: i64, a: [u64; 6]) -> Result<i64, i32> {
    // SAFETY: the callers of this test program pass addresses that the kernel may write to, or that it refuses.
    let result = unsafe { libc::syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]) };
    if result == -1 { Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(result) }
}

/// One call by the i386 entry, with arguments of 0.
pub fn call_i386(number: u32) -> i32 {
    let result: u64;
    // SAFETY: rbx, which the compiler keeps, is put back; the call has no addresses, and the caller's filter lets
    // no call through.
    unsafe {
        std::arch::asm!(
            "mov {kept}, rbx",
            "xor ebx, ebx",
            "int 0x80",
            "mov rbx, {kept}",
            kept = out(reg) _,
            inlateout("rax") u64::from(number) => result,
            in("rcx") 0_u64,
            in("rdx") 0_u64,
            in("rsi") 0_u64,
            in("rdi") 0_u64,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    result as i32
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
}

/// Runs `body` in a child, for what changes the process or ends it. The child has five seconds.
///
/// # Panics
/// If there can be no child.
pub fn in_child(body: impl FnOnce() -> i32) -> End {
    // SAFETY: the probe has one thread when it forks; the child runs `body` and leaves without unwinding.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork(): {}", io::Error::last_os_error());
    if pid == 0 {
        // SAFETY: neither call touches memory.
        unsafe {
            libc::alarm(5);
            libc::_exit(body());
        }
    }
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    while unsafe { libc::waitpid(pid, &raw mut status, 0) } == -1 {}
    if libc::WIFSIGNALED(status) {
        End::Signaled(libc::WTERMSIG(status))
    } else {
        End::Exited(libc::WEXITSTATUS(status))
    }
}

/// Runs `body` in a child and says in words how it went: `ok`, the error's name, or the signal.
pub fn attempt<T>(body: impl FnOnce() -> Result<T, i32>) -> String {
    match in_child(|| body().err().unwrap_or(0)) {
        End::Exited(0) => "ok".to_owned(),
        End::Exited(errno) => crate::errno::name(errno),
        End::Signaled(signal) => format!("signal {signal}"),
    }
}

/// Memory that a child shares with its parent.
pub struct Shared {
    at: *mut i32,
    count: usize,
}

impl Shared {
    /// So many numbers, all 0.
    ///
    /// # Panics
    /// If there is no memory.
    pub fn new(count: usize) -> Shared {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address of the kernel's choice; it is never unmapped.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), count * 4, protection, flags, -1, 0) };
        assert!(at != libc::MAP_FAILED, "mmap(): {}", io::Error::last_os_error());
        Shared { at: at.cast(), count }
    }

    /// Writes one of them.
    pub fn set(&self, place: usize, value: i32) {
        assert!(place < self.count);
        // SAFETY: within the mapping.
        unsafe { self.at.add(place).write_volatile(value) };
    }

    /// Reads one of them.
    pub fn get(&self, place: usize) -> i32 {
        assert!(place < self.count);
        // SAFETY: within the mapping.
        unsafe { self.at.add(place).read_volatile() }
    }
}

/// Whether [`run_nothing`] keeps a call from being run. Two are the kernel's own: it makes uprobes of them and lets
/// them past every filter (since 6.14). Whoever makes one without a uprobe gets SIGILL or an error.
pub fn can_be_stopped(number: i64) -> bool {
    number != libc::SYS_exit_group && !UPROBES.contains(&number)
}

/// `uretprobe` and `uprobe`.
pub const UPROBES: [i64; 2] = [335, 336];

/// Keeps every later call of this process from being run: without a tracer `SECCOMP_RET_TRACE` fails with `ENOSYS`.
/// Filters from before still come first, where they refuse or end the process. Only `exit_group` stays.
pub fn run_nothing() -> io::Result<()> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let op = |code, k, jf| libc::sock_filter { code, jt: 0, jf, k };
    let mut filter = [
        op(LOAD, 4, 0),
        op(EQUAL, 0xc000_003e, 3),
        op(LOAD, 0, 0),
        op(EQUAL, libc::SYS_exit_group as u32, 1),
        op(RETURN, libc::SECCOMP_RET_ALLOW, 0),
        op(RETURN, libc::SECCOMP_RET_TRACE, 0),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: `program` and what it points to outlive the calls.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) == 0
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}
