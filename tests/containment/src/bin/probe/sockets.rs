//! Sockets of all families, types and protocols.

use containment::Facts;
use containment::sys::call;

const FAMILIES: u64 = 48;
const TYPES: u64 = 12;
const PROTOCOLS: &[u64] = &[0, 1, 2, 3, 6, 16, 17, 33, 41, 47, 50, 58, 103, 132, 136, 255, 262, 768, 0x300];

/// Families whose protocols differ. Of others the default one and the first are asked for.
const WITH_PROTOCOLS: &[u64] = &[1, 2, 10, 16, 17, 38, 40];

/// Those that can be opened; what cannot is left out.
pub(crate) fn all() -> Facts {
    let mut facts = Facts::new();
    for family in 0..FAMILIES {
        for kind in 0..TYPES {
            let all = WITH_PROTOCOLS.contains(&family);
            for protocol in PROTOCOLS.iter().take(if all { PROTOCOLS.len() } else { 2 }) {
                let mut open = |call_name: &str, number: i64, arguments: [u64; 6]| {
                    if let Ok(fd) = call(number, arguments) {
                        let fd = if call_name == "socket" { fd } else { 0 };
                        facts.insert(format!("{call_name}({family}, {kind}, {protocol})"), "ok".to_owned());
                        if fd > 2 {
                            let _ = call(libc::SYS_close, [fd as u64, 0, 0, 0, 0, 0]);
                        }
                    }
                };
                open("socket", libc::SYS_socket, [family, kind, *protocol, 0, 0, 0]);
                let mut pair = [-1_i32; 2];
                open(
                    "socketpair",
                    libc::SYS_socketpair,
                    [family, kind, *protocol, pair.as_mut_ptr() as u64, 0, 0],
                );
                for fd in pair.into_iter().filter(|fd| *fd > 2) {
                    let _ = call(libc::SYS_close, [fd as u64, 0, 0, 0, 0, 0]);
                }
            }
        }
    }
    // Hardly any family has pairs; a filter refuses the others in words of its own.
    let mut pair = [-1_i32; 2];
    let pairs = call(libc::SYS_socketpair, [libc::AF_INET as u64, 1, 0, pair.as_mut_ptr() as u64, 0, 0]);
    facts.insert("pair of AF_INET".to_owned(), containment::errno::outcome(&pairs));
    facts
}
