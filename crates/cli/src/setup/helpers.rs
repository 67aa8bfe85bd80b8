//! The two programs that write the id maps of an ordinary user's sandboxes.

use super::{Refused, Result};
use crate::Exit;
use rustix::fs::{FileType, StatVfsMountFlags};
use std::path::Path;

/// By the paths at which `jail` starts them.
const HELPERS: [&str; 2] = ["/usr/bin/newuidmap", "/usr/bin/newgidmap"];
const S_ISUID: u32 = 0o4000;

/// Sees to it that both are there, are root's alone, and have the right they need.
pub(super) fn check() -> Result<()> {
    HELPERS.iter().try_for_each(|path| check_one(Path::new(path)))
}

fn check_one(path: &Path) -> Result<()> {
    let refuse = |why: &str, help: &str| {
        Err(Refused::new(Exit::Wall, format!("own-uid: {}: {why}", path.display()), help))
    };
    let reinstall = "install it anew: `apt-get install --reinstall uidmap`";
    let Ok(stat) = rustix::fs::stat(path) else {
        return refuse("there is no such program", "install it: `apt-get install uidmap`");
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile
        || stat.st_uid != 0
        || stat.st_mode & 0o022 != 0
    {
        return refuse("others than root could change it", reinstall);
    }
    // Distributions give it one or the other.
    let file_capable = rustix::fs::getxattr(path, "security.capability", &mut [0_u8; 64]).is_ok();
    if stat.st_mode & S_ISUID == 0 && !file_capable {
        return refuse("it is neither set-user-id root nor has file capabilities", reinstall);
    }
    let nosuid = rustix::fs::statvfs(path).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::NOSUID));
    if nosuid {
        return refuse("its file system is mounted nosuid", "mount it without nosuid");
    }
    Ok(())
}
