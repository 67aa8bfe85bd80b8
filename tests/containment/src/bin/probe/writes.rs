//! Kinds of writes on a directory. Each has a file `f-KIND` and a directory `d-KIND` of its own there.

use crate::walk::open;
use containment::Facts;
use containment::sys::{attempt, call};
use rustix::fd::{AsRawFd, OwnedFd};
use std::ffi::CString;

const AT: u64 = libc::AT_FDCWD as u64;
/// FS_IOC_SETFLAGS, and the flag that keeps a file out of dumps.
const SETFLAGS: u64 = 0x4008_6602;
const NO_DUMP: u64 = 0x40;

/// The kinds, in the order in which they are tried.
const KINDS: &[(&str, Write)] = &[
    ("open for writing", |at| opened(open(&at.file, libc::O_WRONLY))),
    ("open for both", |at| opened(open(&at.file, libc::O_RDWR))),
    ("open and truncate", |at| opened(open(&at.file, libc::O_RDONLY | libc::O_TRUNC))),
    ("open to append", |at| opened(open(&at.file, libc::O_WRONLY | libc::O_APPEND))),
    ("open again for writing", |at| {
        let fd = open(&at.file, libc::O_RDONLY)?;
        opened(open(&format!("/proc/self/fd/{}", fd.as_raw_fd()), libc::O_WRONLY))
    }),
    ("create", |at| on(libc::SYS_creat, &at.new, [0o644, 0])),
    ("mkdir", |at| on(libc::SYS_mkdir, &at.new, [0o755, 0])),
    ("mkfifo", |at| on(libc::SYS_mknod, &at.new, [u64::from(libc::S_IFIFO | 0o644), 0])),
    ("bind a socket", |at| {
        let listener = std::os::unix::net::UnixListener::bind(&at.new);
        listener.map(|_| 0).map_err(|error| error.raw_os_error().unwrap_or(0))
    }),
    ("rmdir", |at| on(libc::SYS_rmdir, &at.directory, [0, 0])),
    ("unlink", |at| on(libc::SYS_unlink, &at.file, [0, 0])),
    ("rename within", |at| two(libc::SYS_rename, &at.file, &at.new)),
    ("rename a directory", |at| two(libc::SYS_rename, &at.directory, &at.new)),
    ("rename out", |at| two(libc::SYS_rename, &at.file, &at.beside("out"))),
    ("rename in", |at| {
        let from = at.beside("in");
        std::fs::write(&from, "x").map_err(|error| error.raw_os_error().unwrap_or(0))?;
        two(libc::SYS_rename, &from, &at.file)
    }),
    ("rename in exchange", |at| {
        let (one, other) = (text(&at.file), text(&at.directory));
        call(libc::SYS_renameat2, [AT, one.as_ptr() as u64, AT, other.as_ptr() as u64, 2, 0])
    }),
    ("link within", |at| two(libc::SYS_link, &at.file, &at.new)),
    ("link out", |at| two(libc::SYS_link, &at.file, &at.beside("linked"))),
    ("symlink", |at| two(libc::SYS_symlink, "/", &at.new)),
    ("chmod", |at| on(libc::SYS_chmod, &at.file, [0o640, 0])),
    ("fchmod", |at| fd(libc::SYS_fchmod, &open(&at.file, libc::O_RDONLY)?, [0o640, 0])),
    ("chown", |at| on(libc::SYS_chown, &at.file, [u64::MAX, u64::MAX])),
    ("change times", |at| {
        let (path, times) = (text(&at.file), [1_u64, 0, 1, 0]);
        call(libc::SYS_utimensat, [AT, path.as_ptr() as u64, times.as_ptr() as u64, 0, 0, 0])
    }),
    ("truncate", |at| on(libc::SYS_truncate, &at.file, [0, 0])),
    ("set an attribute", |at| {
        let (path, name) = (text(&at.file), text("user.probe"));
        let arguments = [path.as_ptr() as u64, name.as_ptr() as u64, name.as_ptr() as u64, 4, 0, 0];
        call(libc::SYS_setxattr, arguments)
    }),
    ("open without a name, then link", |at| {
        let unnamed = open_unnamed(&at.zone)?;
        let from = format!("/proc/self/fd/{}", unnamed.as_raw_fd());
        let (from, to) = (text(&from), text(&at.new));
        let follow = libc::AT_SYMLINK_FOLLOW as u64;
        call(libc::SYS_linkat, [AT, from.as_ptr() as u64, AT, to.as_ptr() as u64, follow, 0])
    }),
    ("map shared for writing", |at| {
        let file = open(&at.file, libc::O_RDWR).or_else(|_| open(&at.file, libc::O_RDONLY))?;
        map(&file, libc::PROT_READ | libc::PROT_WRITE)
    }),
    ("map shared, then allow writing", |at| {
        let file = open(&at.file, libc::O_RDWR).or_else(|_| open(&at.file, libc::O_RDONLY))?;
        let address = map(&file, libc::PROT_READ)? as u64;
        let protection = (libc::PROT_READ | libc::PROT_WRITE) as u64;
        call(libc::SYS_mprotect, [address, 4096, protection, 0, 0, 0])
    }),
    ("set flags", |at| {
        let (file, flags) = (open(&at.file, libc::O_RDONLY)?, [NO_DUMP]);
        call(libc::SYS_ioctl, [file.as_raw_fd() as u64, SETFLAGS, flags.as_ptr() as u64, 0, 0, 0])
    }),
    ("remount", |at| {
        let (path, none) = (text(&at.zone), text("none"));
        let flags = libc::MS_REMOUNT | libc::MS_BIND;
        call(libc::SYS_mount, [none.as_ptr() as u64, path.as_ptr() as u64, none.as_ptr() as u64, flags, 0, 0])
    }),
    ("clear the mount's attribute", |at| {
        let (path, attributes) = (text(&at.zone), [0, 1_u64, 0, 0]);
        call(libc::SYS_mount_setattr, [AT, path.as_ptr() as u64, 0, attributes.as_ptr() as u64, 32, 0])
    }),
    ("unmount", |at| on(libc::SYS_umount2, &at.zone, [libc::MNT_DETACH as u64, 0])),
];

/// Tries one kind.
type Write = fn(&Place) -> Result<i64, i32>;

/// Where one kind is tried.
struct Place {
    zone: String,
    file: String,
    directory: String,
    new: String,
}

impl Place {
    /// A name on the same file system where the zone is a directory of its own machine, else merely outside of it.
    fn beside(&self, name: &str) -> String {
        let parent = self.zone.rsplit_once('/').map_or("", |(parent, _)| parent);
        if parent.is_empty() { format!("/tmp/{name}") } else { format!("{parent}/{name}") }
    }
}

/// Tries all kinds.
pub(crate) fn all(zone: &str) -> Facts {
    let mut facts = Facts::new();
    for (kind, write) in KINDS {
        let name = kind.replace(' ', "-");
        let place = Place {
            zone: zone.to_owned(),
            file: format!("{zone}/f-{name}"),
            directory: format!("{zone}/d-{name}"),
            new: format!("{zone}/n-{name}"),
        };
        facts.insert((*kind).to_owned(), attempt(|| write(&place)));
    }
    facts
}

fn opened(result: Result<OwnedFd, i32>) -> Result<i64, i32> {
    result.map(|_| 0)
}

fn text(path: &str) -> CString {
    CString::new(path).unwrap_or_default()
}

fn on(number: i64, path: &str, [a, b]: [u64; 2]) -> Result<i64, i32> {
    let path = text(path);
    call(number, [path.as_ptr() as u64, a, b, 0, 0, 0])
}

fn two(number: i64, one: &str, other: &str) -> Result<i64, i32> {
    let (one, other) = (text(one), text(other));
    call(number, [one.as_ptr() as u64, other.as_ptr() as u64, 0, 0, 0, 0])
}

fn fd(number: i64, fd: &OwnedFd, [a, b]: [u64; 2]) -> Result<i64, i32> {
    call(number, [fd.as_raw_fd() as u64, a, b, 0, 0, 0])
}

fn open_unnamed(directory: &str) -> Result<OwnedFd, i32> {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open(directory, OFlags::TMPFILE | OFlags::WRONLY, Mode::RUSR)
        .map_err(rustix::io::Errno::raw_os_error)
}

fn map(file: &OwnedFd, protection: i32) -> Result<i64, i32> {
    call(libc::SYS_mmap, [0, 4096, protection as u64, libc::MAP_SHARED as u64, file.as_raw_fd() as u64, 0])
}
