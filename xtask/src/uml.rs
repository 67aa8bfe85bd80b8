//! User-mode Linux: Debian's kernel 6.1 as an ordinary process. Full cgroup v2, one CPU, no Landlock.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::apt;
use crate::guest::{self, Machine, Output, Shown};
use crate::program::program;

const MEMORY: &str = "mem=1536M";

/// Runs a command under user-mode Linux, over this machine's files.
pub(crate) fn run(
    command: &[String],
    env: &[(String, String)],
    timeout: Duration,
    shown: Shown,
) -> Result<Output> {
    let package = apt::unpacked("user-mode-linux")?;
    let modules = std::fs::read_dir(package.join("usr/lib/uml/modules"))?
        .flatten()
        .next()
        .context("user-mode-linux has no modules")?
        .path();
    let run = guest::run_directory()?;
    let share = format!("mount -t hostfs -o '{}' none \"$1\"", run.path().display());
    let overlay = [modules.join("kernel/fs/overlayfs/overlay.ko")];
    guest::write_init(run.path(), &Machine { mount_run: &share, modules: &overlay }, command, env)?;
    guest::boot(
        program(package.join("usr/bin/linux.uml"))
            .args(["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", MEMORY])
            .args(["con=null", "con0=null,fd:1", "quiet", "panic=-1"])
            .arg(format!("init={}", run.path().join("init").display()))
            .arg(format!("uml_dir={}/", run.path().display()))
            .arg("umid=uml"),
        run.path(),
        timeout,
        shown,
    )
}
