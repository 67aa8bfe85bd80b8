//! CT-02: no descriptor of the caller's survives, whatever the caller leaks.

use anyhow::Result;
use containment::{Facts, Ground, Held, differences, posture};
use rustix::fd::OwnedFd;
use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::io::FdFlags;
use rustix::net::{AddressFamily, SocketType};

containment::proofs!(ct_02::fd_inheritance, mutants: &["inherit-a-directory"]);

const LEAKED: usize = 200;

/// Descriptors that a program started from here inherits: directories, files, memory, pipes and sockets.
fn leak() -> Result<Vec<OwnedFd>> {
    let open = |path: &str, flags| rustix::fs::open(path, flags, Mode::empty());
    let mut fds = Vec::new();
    while fds.len() < LEAKED {
        fds.push(open("/", OFlags::RDONLY | OFlags::DIRECTORY)?);
        fds.push(open("/etc", OFlags::PATH | OFlags::DIRECTORY)?);
        fds.push(open("/proc", OFlags::RDONLY | OFlags::DIRECTORY)?);
        fds.push(open("/proc/self/ns/mnt", OFlags::RDONLY)?);
        fds.push(open("/dev/zero", OFlags::RDWR)?);
        fds.push(rustix::fs::memfd_create("leaked", MemfdFlags::empty())?);
        fds.push(rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)?);
        fds.push(rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?);
        let (read, write) = rustix::pipe::pipe()?;
        fds.extend([read, write]);
    }
    for fd in &fds {
        rustix::io::fcntl_setfd(fd, FdFlags::empty())?;
    }
    Ok(fds)
}

fn control(ground: &Ground) -> Result<Vec<String>> {
    let leaked = leak()?;
    let found = ground.probe_outside(&["descriptors"])?.len();
    drop(leaked);
    let all = found >= LEAKED + 3;
    Ok(if all {
        Vec::new()
    } else {
        vec![format!("a program inherits {found} descriptors, not {LEAKED} and 3")]
    })
}

fn findings(ground: &Ground, mutant: Option<&str>) -> Result<Vec<String>> {
    let leaked = leak()?;
    let child = Held::start(ground.inside(mutant).command(&["threads"]))?;
    drop(leaked);
    let mut found = Vec::new();
    // Below the caller's process: the warden, which runs nothing from inside, the agent, the command.
    for pid in posture::descendants(child.id())? {
        let name = posture::name(pid);
        let fds = |facts: Facts| facts.into_iter().filter(|(name, _)| name.starts_with("fd ")).collect();
        let expected: &[(&str, &str)] = match name.as_str() {
            "casemate-warden" => continue,
            "casemate-agent" => &[
                ("fd 0", "/dev/null"),
                ("fd 1", "/dev/null"),
                ("fd 2", "/dev/null"),
                ("fd 3", "socket"),
                ("fd 4", "anon_inode:[signalfd]"),
            ],
            _ => &[("fd 0", "pipe"), ("fd 1", "pipe"), ("fd 2", "pipe")],
        };
        let expected: Facts =
            expected.iter().map(|(fd, class)| ((*fd).to_owned(), (*class).to_owned())).collect();
        for thread in posture::of_process(pid)? {
            found.extend(
                differences(&expected, &fds(thread)).into_iter().map(|line| format!("{name}: {line}")),
            );
        }
    }
    Ok(found)
}
