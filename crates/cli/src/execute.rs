//! Becoming another program, of which only the bytes are there.

use rustix::fd::AsFd;
use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;

/// Executes `program` from a sealed memory file, with this process's words, environment and descriptors. Returns only if
/// that failed.
pub fn execute(program: &[u8]) -> io::Error {
    let image = match jail::Image::sealed(program) {
        Ok(image) => image,
        Err(error) => return io::Error::other(error),
    };
    let text = |words: Vec<OsString>| -> Result<Vec<CString>, _> {
        words.into_iter().map(|word| CString::new(word.into_vec())).collect()
    };
    let variable = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        name
    };
    // Of what the kernel gave nothing has a NUL byte in it.
    let given = text(std::env::args_os().collect()).and_then(|words| {
        let variables = text(std::env::vars_os().map(variable).collect())?;
        Ok((words, variables))
    });
    match given {
        Ok((words, variables)) => {
            let words: Vec<&CStr> = words.iter().map(CString::as_c_str).collect();
            let variables: Vec<&CStr> = variables.iter().map(CString::as_c_str).collect();
            jail::sys::exec_fd(image.as_fd(), &words, &variables)
        }
        Err(error) => io::Error::other(error),
    }
}
