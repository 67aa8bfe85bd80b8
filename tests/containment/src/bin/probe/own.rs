//! What a process is and has.

use containment::Facts;
use std::io::{Read, Write};

/// Becomes a process with threads, says so, and stays until its standard input ends.
pub(crate) fn threads() -> Facts {
    for _ in 0..3 {
        std::thread::spawn(|| {
            loop {
                std::thread::park();
            }
        });
    }
    println!("ready");
    let _ = std::io::stdout().flush();
    let _ = std::io::stdin().read(&mut [0]);
    Facts::new()
}

/// Its open descriptors, other than the one that looks.
pub(crate) fn descriptors() -> Facts {
    let mut facts = Facts::new();
    for number in 0..4096 {
        if let Ok(target) = std::fs::read_link(format!("/proc/self/fd/{number}")) {
            let target = target.display().to_string();
            facts.insert(format!("fd {number}"), containment::posture::class(&target).to_owned());
        }
    }
    facts
}

/// What can be opened of a process, where the probe is, and whether the runtime's program can be read anywhere.
pub(crate) fn exe(pid: &str, runtime: &str) -> Facts {
    let mut facts = Facts::new();
    for (name, flags) in [
        ("exe", libc::O_RDONLY),
        ("exe", libc::O_RDWR),
        ("mem", libc::O_RDONLY),
        ("maps", libc::O_RDONLY),
        ("environ", libc::O_RDONLY),
        ("root", libc::O_RDONLY),
        ("cwd", libc::O_RDONLY),
        ("fd", libc::O_RDONLY),
        ("map_files", libc::O_RDONLY),
        ("fd/0", libc::O_RDONLY),
        ("fd/3", libc::O_RDWR),
    ] {
        let opened = crate::walk::open(&format!("/proc/{pid}/{name}"), flags);
        let how = if flags == libc::O_RDWR { " for writing" } else { "" };
        facts.insert(format!("{name}{how}"), containment::errno::outcome(&opened));
    }
    facts.insert("own exe for writing".to_owned(), {
        let opened = crate::walk::open("/proc/self/exe", libc::O_RDWR);
        containment::errno::outcome(&opened)
    });
    let cwd = std::env::current_dir().map_or_else(|error| error.to_string(), |cwd| cwd.display().to_string());
    facts.insert("working directory".to_owned(), cwd);
    let found = crate::canaries::mount_points().into_iter().filter(|mount| {
        // A mount may show any directory above the program.
        let suffixes = runtime.match_indices('/').map(|(at, _)| &runtime[at..]);
        let mut paths = suffixes.map(|suffix| format!("{}{suffix}", mount.trim_end_matches('/')));
        paths.any(|path| crate::walk::open(&path, libc::O_RDONLY).is_ok())
    });
    facts.insert(
        "runtime's program read below".to_owned(),
        found.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" "),
    );
    facts
}

/// What it sees of the machine and of others on it.
pub(crate) fn visibility() -> Facts {
    let mut facts = Facts::new();
    let own = std::process::id().to_string();
    let mut pids: Vec<String> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .map(|name| if name == own { "own".to_owned() } else { name })
        .collect();
    pids.sort();
    facts.insert("pids".to_owned(), pids.join(" "));
    let read = |path: &str| match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => containment::errno::name(error.raw_os_error().unwrap_or(0)),
    };
    let column = |path: &str, skip: usize, column: usize| {
        let text = read(path);
        let words = text.lines().skip(skip).filter_map(|line| line.split_whitespace().nth(column));
        words.collect::<Vec<_>>().join(" ")
    };
    facts.insert("interfaces".to_owned(), column("/proc/net/dev", 2, 0));
    facts.insert("routes".to_owned(), column("/proc/net/route", 1, 0));
    facts.insert("IPv6 addresses".to_owned(), column("/proc/net/if_inet6", 0, 0));
    facts.insert("neighbours".to_owned(), column("/proc/net/arp", 1, 0));
    facts.insert("unix sockets".to_owned(), column("/proc/net/unix", 1, 6));
    facts.insert("host name".to_owned(), read("/proc/sys/kernel/hostname").trim().to_owned());
    facts.insert("domain name".to_owned(), read("/proc/sys/kernel/domainname").trim().to_owned());
    let buffer = [0_u8; 64];
    let log = containment::sys::call(libc::SYS_syslog, [3, buffer.as_ptr() as u64, 64, 0, 0, 0]);
    facts.insert("syslog".to_owned(), containment::errno::outcome(&log));
    for path in
        ["/proc/kallsyms", "/proc/kmsg", "/dev/kmsg", "/proc/keys", "/proc/timer_list", "/proc/1/environ"]
    {
        let opened = crate::walk::open(path, libc::O_RDONLY | libc::O_NONBLOCK);
        facts.insert(path.to_owned(), containment::errno::outcome(&opened));
    }
    for path in ["/proc/self/cgroup", "/proc/1/cgroup", "/proc/self/mountinfo", "/proc/self/mounts"] {
        facts.insert(path.to_owned(), read(path));
    }
    facts
}
