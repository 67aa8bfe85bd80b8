//! CT-15: there are no rings into the kernel.

use anyhow::Result;
use containment::{Ground, differences, facts};

containment::proofs!(ct_15::no_io_uring, mutants: &[
    "without:seccomp",
    "allow:io_uring_setup",
    "allow:io_uring_enter",
    "allow:io_uring_register",
]);

fn control(ground: &Ground) -> Result<Vec<String>> {
    let found = ground.probe_outside(&["io_uring"])?;
    let mut expected = facts::all(["enter", "register"], "EBADF");
    expected.insert("setup".to_owned(), "ok".to_owned());
    Ok(differences(&expected, &found))
}

fn findings(ground: &Ground, mutant: Option<&str>) -> Result<Vec<String>> {
    let expected = facts::all(["setup", "enter", "register"], "EPERM");
    Ok(differences(&expected, &ground.inside(mutant).facts(&["io_uring"])?))
}
