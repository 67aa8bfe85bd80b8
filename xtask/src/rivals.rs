//! The programs that a start is measured against, each over an equal root: the host's `/usr` read-only, its links,
//! a private `/proc`, `/dev` and `/tmp`, and every namespace of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::json;

use crate::program::{program, read};

/// What every one of them runs.
pub(crate) const COMMAND: &str = "/bin/true";

/// One way to start [`COMMAND`].
pub(crate) enum Rival {
    /// Ours, with its default policy and its durable record.
    Casemate { binary: PathBuf, state: PathBuf },
    /// `bwrap --unshare-all`.
    Bwrap,
    /// `runc run` with the namespaces and mounts of [`Rival::Bwrap`] and no seccomp filter, which is in its favour.
    Runc { bundle: PathBuf, root: PathBuf, started: u32 },
    /// The same walls by a program that does nothing else: what the kernel itself costs.
    Floor { binary: PathBuf },
    /// No walls.
    Bare,
}

impl Rival {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Casemate { .. } => "casemate",
            Self::Bwrap => "bwrap",
            Self::Runc { .. } => "runc",
            Self::Floor { .. } => "floor",
            Self::Bare => "bare",
        }
    }

    /// The next start.
    pub(crate) fn command(&mut self) -> Command {
        let mut command = match self {
            Self::Casemate { binary, state } => {
                let mut command = program(binary);
                command.args(["run", "--state"]).arg(state).args(["--", COMMAND]);
                command
            }
            Self::Bwrap => {
                let mut command = program("/usr/bin/bwrap");
                command.args(["--unshare-all", "--ro-bind", "/usr", "/usr"]);
                for (link, to) in links() {
                    command.arg("--symlink").arg(to).arg(link);
                }
                command.args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--", COMMAND]);
                command
            }
            Self::Runc { bundle, root, started } => {
                *started += 1;
                let mut command = program("/usr/sbin/runc");
                command.arg("--root").arg(root).args(["run", "--bundle"]).arg(bundle);
                command.arg(format!("bench-{}-{started}", std::process::id()));
                command
            }
            Self::Floor { binary } => {
                let mut command = program(binary);
                command.arg(COMMAND);
                command
            }
            Self::Bare => program(COMMAND),
        };
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }
}

/// A bundle for `runc` in `directory`.
pub(crate) fn bundle(directory: &Path) -> Result<()> {
    let root = directory.join("rootfs");
    for name in ["usr", "proc", "dev", "tmp"] {
        fs::create_dir_all(root.join(name))?;
    }
    for (link, to) in links() {
        symlink(to, root.join(link.trim_start_matches('/')))?;
    }
    read(program("runc").arg("spec").current_dir(directory))?;
    let file = directory.join("config.json");
    let mut config: serde_json::Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
    let mut mounts = config["mounts"].as_array().context("runc's own example has no mounts")?.clone();
    mounts.retain(|mount| mount["destination"] == "/proc" || mount["destination"] == "/dev");
    mounts.push(
        json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance"]}),
    );
    mounts.push(
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev"]}),
    );
    mounts.push(json!({"destination": "/usr", "type": "bind", "source": "/usr", "options": ["bind", "ro"]}));
    config["mounts"] = mounts.into();
    config["process"]["terminal"] = false.into();
    config["process"]["args"] = json!([COMMAND]);
    config["linux"]["namespaces"] = ["user", "pid", "network", "ipc", "uts", "mount", "cgroup"]
        .map(|kind| json!({"type": kind}))
        .to_vec()
        .into();
    let identity = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    config["linux"]["uidMappings"] = identity.clone();
    config["linux"]["gidMappings"] = identity;
    fs::write(file, config.to_string())?;
    Ok(())
}

/// The links into `/usr` that this machine's root has: `(link, where it points)`.
fn links() -> Vec<(String, String)> {
    let names = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"].map(|name| format!("/{name}"));
    names
        .into_iter()
        .filter_map(|link| Some((link.clone(), fs::read_link(&link).ok()?.to_string_lossy().into_owned())))
        .collect()
}
