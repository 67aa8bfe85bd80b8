//! What to do about a wall that does not stand. Each case was read off the kernel's rules for the call that fails.

use jail::cgroup::Home;
use jail::ids::Profile;
use model::Wall;

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const ENOSYS: i32 = 38;
const EOPNOTSUPP: i32 = 95;

/// The mend for `wall`, whose trial failed with `error`.
pub(super) fn mend(wall: Wall, error: &jail::Error, profile: Profile, home: Option<&Home>) -> String {
    let errno = error.source.raw_os_error();
    let text = match (wall, errno) {
        _ if error.source.kind() == std::io::ErrorKind::TimedOut => "try again when the machine is less busy",
        (Wall::CpuLimit | Wall::MemoryLimit | Wall::PidsLimit, _) => return cgroup(profile, home),
        (Wall::OwnUid, _) => return own_uid(profile),
        (Wall::Landlock, Some(ENOSYS)) => {
            "boot a kernel that has Landlock (CONFIG_SECURITY_LANDLOCK); a policy that says `landlock = 0` does without"
        }
        (Wall::Landlock, Some(EOPNOTSUPP)) => {
            "Landlock is built in and switched off: boot with `lsm=landlock,` before what /sys/kernel/security/lsm lists"
        }
        _ if error.wall == Wall::UserNamespace => return user_namespace(errno),
        (Wall::PrivateProc | Wall::NamespaceLimits, Some(EPERM)) => {
            "something covers parts of this machine's /proc, as in a container, and the kernel then allows no other: run Casemate outside of it"
        }
        (_, Some(EPERM)) => "a container or a security module forbids the call: run Casemate outside of it",
        (_, Some(ENOSYS)) => return format!("boot Linux {} or newer", node::KERNEL_MIN),
        _ => {
            return format!(
                "Casemate is known to work on Linux {} and newer, outside of containers",
                node::KERNEL_MIN
            );
        }
    };
    text.to_owned()
}

fn cgroup(profile: Profile, home: Option<&Home>) -> String {
    match (profile, home) {
        (Profile::User, _) => "run `sudo casemate setup` once: it gives you a cgroup subtree".to_owned(),
        (Profile::UserSetUp, None) => {
            "run `sudo casemate setup --pid $$` in this shell: the subtree is gone after a reboot, and on cgroup v2 only what \
             was moved into it can use it"
                .to_owned()
        }
        (Profile::UserSetUp, Some(_)) => "run `sudo casemate setup` again".to_owned(),
        (Profile::Root, _) => {
            "mount cgroup v2 at /sys/fs/cgroup with cpu, memory and pids; in a container, run Casemate outside of it"
                .to_owned()
        }
    }
}

fn own_uid(profile: Profile) -> String {
    match profile {
        Profile::User => "run `sudo casemate setup` once: it gives you a range of host ids".to_owned(),
        Profile::UserSetUp => {
            "run `sudo casemate setup` again: it checks newuidmap, newgidmap, /etc/subuid and /etc/subgid"
                .to_owned()
        }
        Profile::Root => "make /run writable: the leases of host ids are in /run/casemate".to_owned(),
    }
}

/// The switches that forbid user namespaces, by the one that is thrown here.
fn user_namespace(errno: Option<i32>) -> String {
    let switch = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok()?;
        text.trim().parse::<u64>().ok()
    };
    if errno == Some(ENOENT) {
        return "mount /proc: without it the maps of a user namespace cannot be written".to_owned();
    }
    for (name, forbids, allows) in [
        ("kernel.unprivileged_userns_clone", 0, 1),
        ("user.max_user_namespaces", 0, 15_000),
        ("kernel.apparmor_restrict_unprivileged_userns", 1, 0),
    ] {
        if switch(name) == Some(forbids) {
            return format!("`sysctl -w {name}={allows}` as root, or run Casemate as root");
        }
    }
    "a container or a security module forbids user namespaces: run Casemate outside of it, or as root"
        .to_owned()
}
