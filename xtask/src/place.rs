//! Where things are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::program::{check, program, read};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// Cargo, as the one that started us.
pub(crate) fn cargo() -> std::process::Command {
    let mut cargo = program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// What cargo knows of the workspace's own packages.
pub(crate) fn metadata() -> Result<serde_json::Value> {
    let text = read(cargo().args(["metadata", "--format-version=1", "--no-deps", "--offline"]))?;
    serde_json::from_str(&text).context("`cargo metadata` wrote no JSON")
}

/// Cargo's target directory.
pub(crate) fn target() -> Result<PathBuf> {
    let metadata = metadata()?;
    let directory =
        metadata["target_directory"].as_str().context("`cargo metadata` names no target directory")?;
    Ok(directory.into())
}

/// A directory of ours under cargo's target directory. Made if missing.
pub(crate) fn cache(name: &str) -> Result<PathBuf> {
    let directory = target()?.join("xtask").join(name);
    std::fs::create_dir_all(&directory).with_context(|| format!("could not make {}", directory.display()))?;
    Ok(directory)
}

/// Builds the release binary that users install, and says where it is.
pub(crate) fn casemate() -> Result<PathBuf> {
    check(cargo().args(["build", "--release", "--package", "cli"]))?;
    Ok(target()?.join("release/casemate"))
}
