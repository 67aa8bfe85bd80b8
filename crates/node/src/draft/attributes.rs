//! What keeps an entry of a draft from being committed: mode bits, further names, extended attributes.

use policy::Taint;
use rustix::fd::OwnedFd;
use rustix::fs::Stat;
use rustix::io::Errno;

/// What of a file is never committed.
pub(super) fn taint_of(file: &OwnedFd, stat: &Stat) -> Option<Taint> {
    if stat.st_mode & 0o7000 != 0 {
        return Some(Taint::ModeBits(stat.st_mode & 0o7000));
    }
    if stat.st_nlink > 1 {
        return Some(Taint::HardLinks(stat.st_nlink));
    }
    Attributes::of(file).forbidden.map(Taint::Attribute)
}

/// Extended attributes that mean something.
pub(super) struct Attributes {
    pub opaque: bool,
    /// The first that is never committed.
    pub forbidden: Option<String>,
}

/// Attributes that the overlay itself sets on files of its upper layer; only the first one changes what is shown.
const OF_OVERLAY: &[&str] = &["opaque", "origin", "impure", "nlink", "uuid", "upper", "protattr"];
/// Labels that the kernel puts on every file of a labelled system.
const LABELS: &[&str] = &["security.selinux", "security.SMACK64", "security.apparmor"];

impl Attributes {
    pub(super) fn of(file: &OwnedFd) -> Attributes {
        let mut found = Attributes { opaque: false, forbidden: None };
        let mut names = vec![0; 64 << 10];
        let length = match rustix::fs::flistxattr(file, &mut names[..]) {
            Ok(length) => length,
            Err(Errno::OPNOTSUPP) => 0,
            Err(error) => {
                found.forbidden = Some(format!("unreadable: {error}"));
                return found;
            }
        };
        for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let name = String::from_utf8_lossy(name).into_owned();
            let overlay =
                name.strip_prefix("user.overlay.").or_else(|| name.strip_prefix("trusted.overlay."));
            let forbidden = match overlay {
                Some("opaque") => {
                    let mut value = [0; 8];
                    let value = match rustix::fs::fgetxattr(file, name.as_str(), &mut value[..]) {
                        Ok(length) => value[..length].to_vec(),
                        Err(_) => Vec::new(),
                    };
                    found.opaque = value == b"y";
                    // `x` would say that files may be whiteouts; nobody but an administrator sets it.
                    value != b"y"
                }
                // What the inside sets is escaped as `overlay.overlay.NAME`, and means nothing.
                Some(known) => !OF_OVERLAY.contains(&known) && !known.starts_with("overlay."),
                None => !name.starts_with("user.") && !LABELS.contains(&name.as_str()),
            };
            if forbidden && found.forbidden.is_none() {
                found.forbidden = Some(name);
            }
        }
        found
    }
}
