//! Debian packages: installed when we are root, or unpacked into a directory of ours by anyone.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::place;
use crate::program::{check, exists, program, read};

/// Makes sure that each program is there: `(program, the package that has it)`.
///
/// # Errors
///
/// Names the command to run as root when something is missing and we are not root.
pub(crate) fn programs(wanted: &[(&str, &str)]) -> Result<()> {
    let mut missing: Vec<&str> =
        wanted.iter().filter(|(name, _)| !exists(name)).map(|(_, package)| *package).collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)
}

/// Installs packages.
///
/// # Errors
///
/// Names the command to run as root when we are not root.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!(
            "something is missing here; as root: apt-get install --no-install-recommends {}",
            packages.join(" ")
        );
    }
    println!("installing {}", packages.join(" "));
    let install = || {
        check(
            program("apt-get")
                .args(["install", "--yes", "--quiet=2", "--no-install-recommends"])
                .args(packages)
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )
    };
    // A fresh machine has no lists of packages, an old one has stale ones.
    install().or_else(|_| {
        check(program("apt-get").args(["update", "--quiet=2"]))?;
        install()
    })
}

/// The contents of a package, unpacked under cargo's target directory. The system stays as it is.
pub(crate) fn unpacked(package: &str) -> Result<PathBuf> {
    let packages = place::cache("packages")?;
    let directory = packages.join(package);
    if directory.is_dir() {
        return Ok(directory);
    }
    let scratch = tempfile::tempdir_in(&packages)?;
    let unpacked = scratch.path().join("unpacked");
    check(program("dpkg-deb").arg("--extract").arg(download(package, scratch.path())?).arg(&unpacked))?;
    // Only a whole one gets the name.
    fs::rename(&unpacked, &directory).with_context(|| format!("could not keep {}", directory.display()))?;
    Ok(directory)
}

fn download(package: &str, into: &Path) -> Result<PathBuf> {
    let fetch = || {
        read(program("apt-get").args(["-o", "APT::Sandbox::User=", "download", package]).current_dir(into))
    };
    fetch().or_else(|error| {
        if !rustix::process::geteuid().is_root() {
            return Err(error.context("as root: apt-get update"));
        }
        check(program("apt-get").args(["update", "--quiet=2"]))?;
        fetch()
    })?;
    fs::read_dir(into)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|end| end == "deb"))
        .with_context(|| format!("apt-get downloaded no {package}"))
}

/// The package that a package depends on whose name starts so: what a metapackage stands for.
pub(crate) fn dependency(package: &str, start: &str) -> Result<String> {
    let listed = read(program("apt-cache").args(["depends", package]))?;
    let names = listed.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names
        .map(str::to_owned)
        .find(|name| name.starts_with(start))
        .with_context(|| format!("{package} depends on no {start}…"))
}
