//! Finding and entering a command's program.

use crate::sys::{self, Strings};
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;
use rustix::io::Errno;

/// Where programs are looked for when the command's environment has no `PATH`.
const PATH_DEFAULT: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const PATH_BYTES_MAX: usize = 4096;

/// A program with its arguments and environment, made ready before the fork.
pub(crate) struct Program {
    name: Vec<u8>,
    argv: Strings,
    env: Strings,
    /// The value of `PATH`, or nothing if the program's name has a `/`.
    path: Option<Vec<u8>>,
    /// Place for one full name at a time.
    candidate: [u8; PATH_BYTES_MAX],
}

impl Program {
    /// Reads `argv` and `env` of a request.
    pub(crate) fn new(argv: Vec<Vec<u8>>, env: Vec<(Vec<u8>, Vec<u8>)>) -> Result<Self, Errno> {
        let name = argv.first().ok_or(Errno::INVAL)?.clone();
        let path = (!name.contains(&b'/')).then(|| {
            let set = env.iter().find(|(key, _)| key == b"PATH");
            set.map_or_else(|| PATH_DEFAULT.to_vec(), |(_, value)| value.clone())
        });
        let argv = argv.into_iter().map(terminated).collect::<Result<_, _>>()?;
        let env = env.into_iter().map(variable).collect::<Result<_, _>>()?;
        let (argv, env) = (Strings::new(argv), Strings::new(env));
        Ok(Program { name, argv, env, path, candidate: [0; PATH_BYTES_MAX] })
    }

    /// Becomes the program; returns only to say why not.
    ///
    /// Looks for it as execvp(3) does: goes on past what is not there or may not be entered, and tells of the
    /// latter if nothing else is found.
    pub(crate) fn enter(mut self) -> Errno {
        let Some(path) = self.path.take() else {
            return match place(&mut self.candidate, &[&self.name]) {
                Ok(()) => self.enter_candidate(),
                Err(errno) => errno,
            };
        };
        let mut worst = Errno::NOENT;
        for directory in path.split(|b| *b == b':') {
            let between: &[u8] = if directory.is_empty() { b"" } else { b"/" };
            let placed = place(&mut self.candidate, &[directory, between, &self.name]);
            if self.name.is_empty() || placed.is_err() {
                continue;
            }
            match self.enter_candidate() {
                Errno::ACCESS => worst = Errno::ACCESS,
                Errno::NOENT | Errno::NOTDIR | Errno::STALE | Errno::NAMETOOLONG => {}
                errno => return errno,
            }
        }
        worst
    }

    fn enter_candidate(&self) -> Errno {
        let Ok(candidate) = CStr::from_bytes_until_nul(&self.candidate) else { return Errno::NAMETOOLONG };
        match sys::execve(candidate, &self.argv, &self.env) {
            Errno::NOEXEC => {
                let script = self.argv.led_by(&[c"/bin/sh", candidate]);
                sys::execve(c"/bin/sh", &script, &self.env)
            }
            errno => errno,
        }
    }
}

/// Writes `parts` one after the other, and a NUL.
fn place(candidate: &mut [u8; PATH_BYTES_MAX], parts: &[&[u8]]) -> Result<(), Errno> {
    let mut rest = &mut candidate[..];
    for part in parts.iter().chain(&[&b"\0"[..]]) {
        let (here, after) = rest.split_at_mut_checked(part.len()).ok_or(Errno::NAMETOOLONG)?;
        here.copy_from_slice(part);
        rest = after;
    }
    Ok(())
}

fn terminated(bytes: Vec<u8>) -> Result<CString, Errno> {
    CString::new(bytes).map_err(|_| Errno::INVAL)
}

fn variable((mut key, value): (Vec<u8>, Vec<u8>)) -> Result<CString, Errno> {
    if key.is_empty() || key.contains(&b'=') {
        return Err(Errno::INVAL);
    }
    key.push(b'=');
    key.extend(value);
    terminated(key)
}
