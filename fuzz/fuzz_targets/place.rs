//! Whose a request is: never two answers, and never a name with a letter that means something.
#![no_main]

use libfuzzer_sys::fuzz_target;
use server::e2b::place::{Place, place};

fuzz_target!(|input: (Option<&[u8]>, Option<&[u8]>, Option<&[u8]>, &str)| {
    let (host, id, port, path) = input;
    let found = place(host, id, port, path);
    if let Ok(Place::Sandbox { id, port }) = &found {
        assert!(*port != 0);
        assert!(id.as_str().bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
    }
    if id.is_some() != port.is_some() {
        assert!(found.is_err());
    }
});
