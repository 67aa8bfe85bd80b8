//! Runs a command in a machine of its own: another kernel over this machine's files.
//!
//! The guest sees the host's file system read-only, beneath an overlay that keeps writes in its own memory. The one
//! host directory it may write is the run's, made for it, where it leaves the command's exit status.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::place;
use crate::program::{end, wait};

/// What came of the command.
pub(crate) struct Output {
    /// Its exit status.
    pub(crate) status: i32,
    /// What it wrote, standard output and error together.
    pub(crate) log: String,
    /// Lines that it left in the file `CASEMATE_NOT_RUN`.
    pub(crate) not_run: Vec<String>,
}

impl Output {
    /// The exit code that says the same.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(u8::try_from(self.status).unwrap_or(u8::MAX))
    }
}

/// Runs a command, with these variables, in a machine of one kind.
pub(crate) type Run = fn(&[String], &[(String, String)], Duration, Shown) -> Result<Output>;

/// When what the command writes is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    AsItComes,
    /// By the caller, who has it in the [`Output`]; something else runs meanwhile.
    Later,
}

/// How this kind of machine is built on.
pub(crate) struct Machine<'a> {
    /// A shell line that mounts the run's directory, writable, at `$1`.
    pub(crate) mount_run: &'a str,
    /// Modules to load first, in order.
    pub(crate) modules: &'a [std::path::PathBuf],
}

const STARTS: &str = "--- the command starts ---";
const ENDS: &str = "--- the command has ended ---";

/// Writes the guest's `init` into the run's directory.
pub(crate) fn write_init(
    run: &Path,
    machine: &Machine<'_>,
    command: &[String],
    env: &[(String, String)],
) -> Result<()> {
    let mut modules = String::new();
    for module in machine.modules {
        fs::copy(module, run.join(module.file_name().context("a module without a name")?))?;
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        modules.push_str(&format!(
            "'{}' insmod {}\n",
            run.join("busybox").display(),
            quoted(&run.join(&*name).to_string_lossy())
        ));
    }
    fs::copy(busybox()?, run.join("busybox"))?;
    let exports: String =
        env.iter().map(|(name, value)| format!("export {name}={}\n", quoted(value))).collect();
    let words: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    let text = INIT
        .replace("@BUSYBOX@", &quoted(&run.join("busybox").to_string_lossy()))
        .replace("@MODULES@", &modules)
        .replace("@MOUNT_RUN@", machine.mount_run)
        .replace("@EXPORTS@", &exports)
        .replace("@WORKSPACE@", &quoted(&place::root().to_string_lossy()))
        .replace("@STARTS@", STARTS)
        .replace("@ENDS@", ENDS)
        .replace("@COMMAND@", &words.join(" "));
    let init = run.join("init");
    fs::write(&init, text)?;
    fs::set_permissions(&init, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(())
}

/// A busybox that needs no library, so that it runs before anything else is there.
pub(crate) fn busybox() -> Result<std::path::PathBuf> {
    Ok(crate::apt::unpacked("busybox-static")?.join("bin/busybox"))
}

/// Boots, and ends the machine when the time is over.
pub(crate) fn boot(machine: &mut Command, run: &Path, timeout: Duration, shown: Shown) -> Result<Output> {
    let console = run.join("console");
    let file = File::create(&console)?;
    let mut child = machine
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(file)
        .spawn()
        .with_context(|| format!("could not start {}", machine.get_program().display()))?;
    let stdout = child.stdout.take().context("a machine without a console")?;
    let reader = thread::spawn(move || relay(BufReader::new(stdout), shown));
    let ended = wait(&mut child, timeout)?;
    if ended.is_none() {
        end(&mut child)?;
    }
    let (before, log) = reader.join().map_err(|_| anyhow::anyhow!("the console's reader panicked"))?;
    if ended.is_none() {
        bail!("the guest was ended after {} s; it wrote:\n{before}{log}", timeout.as_secs());
    }
    let status = fs::read_to_string(run.join("status"))
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .with_context(|| {
            let errors = fs::read_to_string(&console).unwrap_or_default();
            format!("the guest left no exit status; it wrote:\n{before}{log}{errors}")
        })?;
    let not_run = fs::read_to_string(run.join("not-run")).unwrap_or_default();
    Ok(Output { status, log, not_run: not_run.lines().map(str::to_owned).collect() })
}

/// Splits what the console shows into the boot's messages and the command's output.
fn relay(mut console: impl BufRead, shown: Shown) -> (String, String) {
    let (mut before, mut log) = (String::new(), String::new());
    let (mut started, mut ended) = (false, false);
    let mut line = Vec::new();
    while console.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&line).replace('\r', "");
        line.clear();
        // The last line of the command may lack its end.
        let (text, last) = text.trim_end().strip_suffix(ENDS).map_or((&*text, false), |rest| (rest, true));
        if text.trim_end() == STARTS {
            started = true;
        } else if started && !ended {
            if shown == Shown::AsItComes {
                print!("{text}");
            }
            log.push_str(text);
        } else {
            before.push_str(text);
        }
        ended |= last;
    }
    (before, log)
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A directory made for one run. It goes when the value goes.
pub(crate) fn run_directory() -> Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("run-").tempdir_in(place::cache("guests")?).map_err(Into::into)
}

/// The first process. The lower layer is the root the kernel mounted: the host's files, read-only.
const INIT: &str = r#"#!/bin/sh
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH HOME=/root TERM=dumb LANG=C.UTF-8
box=@BUSYBOX@
give_up() { echo "guest: $1"; $box poweroff -f; }

mount -t proc proc /proc
@MODULES@
mount -t tmpfs -o size=75% tmpfs /mnt || give_up "no tmpfs"
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root || give_up "no overlay root"
cd /mnt/root
mkdir -p proc sys dev run tmp mnt
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t securityfs securityfs sys/kernel/security 2>/dev/null
mount -t cgroup2 cgroup2 sys/fs/cgroup || give_up "no cgroup2"
for controller in cpu io memory pids; do echo "+$controller" >sys/fs/cgroup/cgroup.subtree_control; done
mount -t devtmpfs devtmpfs dev
mkdir -p dev/pts dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -sf pts/ptmx dev/ptmx; ln -sf /proc/self/fd dev/fd
mount -t tmpfs -o mode=755 tmpfs run
mkdir run/guest
mount_run() { @MOUNT_RUN@; }
mount_run run/guest || give_up "no directory for the run"
ip link set lo up
hostname guest

# A chroot would not do: inside one the kernel refuses user namespaces.
pivot_root . mnt && cd / && umount -l /mnt || give_up "no pivot_root"
export CASEMATE_NOT_RUN=/run/guest/not-run
@EXPORTS@
cd @WORKSPACE@
exec </dev/null
echo "@STARTS@"
# Through a pipe, so that the command does not take the console for a terminal.
{ @COMMAND@; echo $? >/run/guest/status; } 2>&1 | cat
echo "@ENDS@"
sync
exec /run/guest/busybox poweroff -f
"#;
