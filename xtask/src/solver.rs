//! The solver that the tests of `policy diff` and `policy prove` ask: the wheel from PyPI that is pinned beside them, behind the
//! front end that Casemate has for it, as one program.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{place, sdks};

/// Sets it up if it is not there yet.
pub(crate) fn ready() -> Result<PathBuf> {
    let home = place::cache("solver")?;
    let sources = place::root().join("crates/analysis");
    let pins = sources.join("tests/requirements.txt");
    let read = |file: PathBuf| {
        fs::read_to_string(&file).with_context(|| format!("could not read {}", file.display()))
    };
    let (pinned, front) = (read(pins.clone())?, read(sources.join("src/front.py"))?);
    // Written last: a setup that broke off is begun anew.
    let installed = home.join("installed");
    if fs::read_to_string(&installed).ok().as_deref() != Some(&pinned) {
        println!("setting up cvc5");
        fs::remove_dir_all(&home)?;
        fs::create_dir_all(&home)?;
        sdks::environment(&home.join("python"), &pins)?;
        fs::write(&installed, &pinned)?;
    }
    let solver = home.join("cvc5");
    fs::write(&solver, format!("#!{}\n{front}", home.join("python/bin/python").display()))?;
    fs::set_permissions(&solver, fs::Permissions::from_mode(0o755))?;
    Ok(solver)
}
