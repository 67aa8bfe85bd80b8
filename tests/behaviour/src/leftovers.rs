//! What a sandbox may leave behind.

use anyhow::Result;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A process that belongs to a test.
pub(crate) struct Process {
    pid: String,
    pub(crate) name: String,
}

/// Processes that carry the mark, belong to a user of the test's own or live in a sandbox's cgroup.
pub(crate) fn processes(mark: &str, user: Option<u32>, ids: &[String]) -> Result<Vec<Process>> {
    let mut found = Vec::new();
    let me = std::process::id().to_string();
    for entry in fs::read_dir("/proc")?.flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if !pid.bytes().all(|b| b.is_ascii_digit()) || pid == me {
            continue;
        }
        let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
        let status = String::from_utf8_lossy(&read("status")).into_owned();
        if status.is_empty() || status.contains("\nState:\tZ") {
            continue;
        }
        let marked = read("environ").windows(mark.len()).any(|part| part == mark.as_bytes());
        let cgroups = String::from_utf8_lossy(&read("cgroup")).into_owned();
        let listed = ids.iter().any(|id| cgroups.contains(id.as_str()));
        let theirs = user.is_some() && entry.metadata().ok().map(|metadata| metadata.uid()) == user;
        if marked || listed || theirs {
            let name = String::from_utf8_lossy(&read("comm")).trim().to_owned();
            found.push(Process { pid, name });
        }
    }
    Ok(found)
}

/// Such processes, cgroups and mounts with a sandbox's name, and half-written files, in words.
pub(crate) fn list(mark: &str, uid: u32, ids: &[String], place: &Path) -> Result<Vec<String>> {
    let names_one = |text: &str| ids.iter().any(|id| text.contains(id.as_str()));
    let user = (uid != rustix::process::geteuid().as_raw()).then_some(uid);
    let mut left: Vec<String> =
        processes(mark, user, ids)?.iter().map(|one| format!("process {} {}", one.pid, one.name)).collect();
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let place_name = place.to_string_lossy();
    left.extend(
        mounts.lines().filter(|line| names_one(line) || line.contains(&*place_name)).map(str::to_owned),
    );
    search(Path::new("/sys/fs/cgroup"), &|name| names_one(name), &mut left);
    search(place, &|name| names_one(name) || name.starts_with(".casemate-"), &mut left);
    Ok(left)
}

fn search(directory: &Path, wanted: &dyn Fn(&str) -> bool, left: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if wanted(&entry.file_name().to_string_lossy()) {
            left.push(entry.path().display().to_string());
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            search(&entry.path(), wanted, left);
        }
    }
}
