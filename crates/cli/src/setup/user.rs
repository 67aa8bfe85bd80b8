//! For whom: a user by name, and on cgroup v2 one of that user's processes.

use super::{Refused, Result};
use crate::Exit;
use model::quote;

const NAME_BYTES_MAX: usize = 64;

/// An ordinary user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

/// The user that the words name, or the one who called sudo.
pub(super) fn find(word: Option<&str>) -> Result<User> {
    let (word, passwd) = asked(word)?;
    lookup(&passwd, &word)?.ok_or_else(|| {
        let what = format!("user `{}`: not in /etc/passwd", quote(&word));
        Refused::new(Exit::Usage, what, "name a user of this machine with --user NAME")
    })
}

/// The same, but a user who was deleted since may be named by number.
pub(super) fn find_for_undo(word: Option<&str>) -> Result<User> {
    let (word, passwd) = asked(word)?;
    match (lookup(&passwd, &word)?, word.parse()) {
        (Some(user), _) => Ok(user),
        (None, Ok(uid)) if uid != 0 => Ok(User { name: word, uid, gid: uid }),
        (None, _) => {
            let what = format!("user `{}`: not in /etc/passwd", quote(&word));
            Err(Refused::new(Exit::Usage, what, "name the number that the user had: --user UID"))
        }
    }
}

fn asked(word: Option<&str>) -> Result<(String, String)> {
    let word = word.map(str::to_owned).or_else(|| std::env::var("SUDO_USER").ok()).ok_or_else(|| {
        let what = "nobody to set up: neither --user nor SUDO_USER names a user";
        Refused::new(Exit::Usage, what, "name one with --user NAME")
    })?;
    let passwd =
        std::fs::read("/etc/passwd").map_err(|error| Refused::call("read", "/etc/passwd".as_ref(), error))?;
    Ok((word, String::from_utf8_lossy(&passwd).into_owned()))
}

/// The entry of a passwd file for a name, or for a number.
fn lookup(passwd: &str, word: &str) -> Result<Option<User>> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.-@$+".contains(&b);
    if word.is_empty() || word.len() > NAME_BYTES_MAX || word.starts_with('-') || !word.bytes().all(allowed) {
        let what = format!("`{}` is not the name of a user", quote(word));
        return Err(Refused::new(Exit::Usage, what, "expected letters, digits and _ . - @ $ +"));
    }
    let number = word.parse::<u32>().ok();
    let found = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let user = User { name: name.to_owned(), uid: uid.parse().ok()?, gid: gid.parse().ok()? };
        (name == word || number == Some(user.uid)).then_some(user)
    });
    match found.as_ref().map_or(number, |user| Some(user.uid)) {
        Some(0) => {
            let what = "root needs no set-up: it has every wall already";
            Err(Refused::new(Exit::Usage, what, "name an ordinary user with --user NAME"))
        }
        Some(u32::MAX) => {
            Err(Refused::new(Exit::Usage, "the uid 4294967295 is nobody's", "name another user"))
        }
        _ => Ok(found),
    }
}

/// The process that is to enter the user's v2 subtree: the given one, or the nearest of our ancestors that is the
/// user's in all its ids, which is the one that called sudo.
pub(super) fn process(user: &User, given: Option<i32>) -> Result<i32> {
    let help =
        format!("run it from a shell of that user: `sudo casemate setup --user {} --pid $$`", user.name);
    if let Some(pid) = given {
        return match Process::read(pid) {
            Some(process) if process.belongs_to(user.uid) => Ok(pid),
            Some(_) => {
                let what = format!("--pid {pid}: this process does not belong to {}", user.name);
                Err(Refused::new(Exit::Usage, what, help))
            }
            None => Err(Refused::new(Exit::Usage, format!("--pid {pid}: no such process"), help)),
        };
    }
    let mut pid = std::os::unix::process::parent_id() as i32;
    while let Some(process) = Process::read(pid).filter(|_| pid > 1) {
        if process.belongs_to(user.uid) {
            return Ok(pid);
        }
        pid = process.parent;
    }
    let what = format!(
        "on cgroup v2 a process can use the subtree only from within it, and no process of {} called this one",
        user.name
    );
    Err(Refused::new(Exit::Usage, what, help))
}

/// What `/proc/PID/status` says of a process.
struct Process {
    parent: i32,
    /// Real, effective, saved and file-system uid.
    uids: Vec<u32>,
}

impl Process {
    fn read(pid: i32) -> Option<Process> {
        // A pid of 0 or less is no process's.
        let status = std::fs::read(format!("/proc/{}/status", u32::try_from(pid).ok()?)).ok()?;
        let status = String::from_utf8_lossy(&status).into_owned();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let uids = field("Uid:")?.split_whitespace().filter_map(|uid| uid.parse().ok()).collect();
        Some(Process { parent: field("PPid:")?.parse().ok()?, uids })
    }

    fn belongs_to(&self, uid: u32) -> bool {
        self.uids.len() == 4 && self.uids.iter().all(|have| *have == uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0::/root:/bin/sh\nbob:x:1001:1002::/home/bob:/bin/sh\nbroken\ntoor:x:0:0::/:/bin/sh\n";

    #[test]
    fn a_user_is_found_by_name_and_by_number() {
        let bob = User { name: "bob".to_owned(), uid: 1001, gid: 1002 };
        assert_eq!(lookup(PASSWD, "bob").unwrap(), Some(bob.clone()));
        assert_eq!(lookup(PASSWD, "1001").unwrap(), Some(bob));
        assert_eq!(lookup(PASSWD, "eve").unwrap(), None);
    }

    #[test]
    fn root_under_any_name_and_words_that_are_no_names_are_refused() {
        for word in ["root", "0", "toor", "00", "", "-u", "bob:x", "b ob", "../x", "b\u{1b}b", "4294967295"] {
            assert!(lookup(PASSWD, word).is_err(), "{word:?}");
        }
    }
}
