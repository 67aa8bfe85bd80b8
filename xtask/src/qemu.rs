//! Debian's stock kernel in QEMU's software emulation: cgroup v2, Landlock, two CPUs. Needs no virtualization.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::guest::{self, Machine, Output, Shown};
use crate::program::program;
use crate::{apt, cpio};

/// What the initial root must load to reach the host's files, and what the guest loads later.
const MODULES: [&str; 4] = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];

/// Runs a command under Debian's stock kernel, over this machine's files.
pub(crate) fn run(
    command: &[String],
    env: &[(String, String)],
    timeout: Duration,
    shown: Shown,
) -> Result<Output> {
    apt::programs(&[("qemu-system-x86_64", "qemu-system-x86")])?;
    let package = apt::unpacked(&apt::dependency("linux-image-amd64", "linux-image-")?)?;
    let modules = in_order(&package)?;
    let run = guest::run_directory()?;
    let share = "mount -t 9p -o trans=virtio,version=9p2000.L,msize=131072 run \"$1\"";
    guest::write_init(run.path(), &Machine { mount_run: share, modules: &[] }, command, env)?;
    let initial = run.path().join("initial");
    fs::write(&initial, initial_root(run.path(), &modules)?)?;
    let shared = |id: &str, path: &Path, mode: &str| {
        format!("local,id={id},path={},security_model=none,multidevs=remap{mode}", path.display())
    };
    guest::boot(
        program("qemu-system-x86_64")
            .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2G"])
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"])
            .arg("-kernel")
            .arg(kernel(&package)?)
            .arg("-initrd")
            .arg(&initial)
            .arg("-append")
            .arg("console=ttyS0 quiet panic=-1 lsm=landlock,lockdown,yama,integrity,apparmor,bpf")
            .arg("-fsdev")
            .arg(shared("host", Path::new("/"), ",readonly=on"))
            .args(["-device", "virtio-9p-pci,fsdev=host,mount_tag=host"])
            .arg("-fsdev")
            .arg(shared("run", run.path(), ""))
            .args(["-device", "virtio-9p-pci,fsdev=run,mount_tag=run"]),
        run.path(),
        timeout,
        shown,
    )
}

/// A busybox that loads the modules, mounts the host's files and goes on with the `init` of the run.
fn initial_root(run: &Path, modules: &[PathBuf]) -> Result<Vec<u8>> {
    let mut archive = cpio::Archive::default();
    for directory in ["proc", "dev", "host"] {
        archive.directory(directory);
    }
    archive.file("busybox", &fs::read(guest::busybox()?)?);
    let mut init = String::from("#!/busybox sh\n/busybox mount -t devtmpfs devtmpfs /dev\n");
    for module in modules {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&name, &fs::read(module)?);
        init.push_str(&format!("/busybox insmod /{name}\n"));
    }
    init.push_str(
        "/busybox mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=524288,cache=loose host /host || /busybox poweroff -f\n",
    );
    init.push_str(&format!("exec /busybox switch_root /host '{}'\n", run.join("init").display()));
    archive.file("init", init.as_bytes());
    Ok(archive.finish())
}

fn kernel(package: &Path) -> Result<PathBuf> {
    let boot = fs::read_dir(package.join("boot"))?.flatten().map(|entry| entry.path());
    boot.into_iter()
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz")))
        .context("the package has no kernel")
}

/// The modules and all that they depend on, each after what it needs.
fn in_order(package: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    list(&package.join("lib/modules"), &mut files)?;
    let mut ordered = Vec::new();
    for name in MODULES {
        add(name, &files, &mut ordered)?;
    }
    Ok(ordered)
}

fn add(name: &str, files: &[PathBuf], ordered: &mut Vec<PathBuf>) -> Result<()> {
    let Some(file) = files.iter().find(|file| file.file_stem().is_some_and(|stem| stem == name)) else {
        bail!("the kernel has no module `{name}`");
    };
    for needed in needs(&fs::read(file)?) {
        add(&needed, files, ordered)?;
    }
    if !ordered.contains(file) {
        ordered.push(file.clone());
    }
    Ok(())
}

/// A module names what it needs in a string of its own: `depends=a,b`.
fn needs(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(start) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = module[start + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(value).split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn list(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            list(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}
