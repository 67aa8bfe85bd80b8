//! Trials of the cgroup limits: each runs into its limit, in a cgroup of its own that is removed afterwards.

use super::child::limited;
use super::not_so;
use crate::cgroup::{Cgroup, Home};
use crate::error::{Error, For, Result};
use crate::sys::{self, Forked};
use model::{LimitHit, Limits, SandboxId, Wall};
use rustix::io::Errno;
use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

const MEMORY_BYTES: u64 = 8 << 20;
const PIDS: u32 = 4;
const CPU_MILLI: u32 = 100;
/// How long the processor is asked for.
const SPIN: Duration = Duration::from_millis(500);

pub(super) fn cpu(home: Option<&Home>) -> Result<String> {
    let wall = Wall::CpuLimit;
    let (seen, _) = within(wall, home, || {
        let begun = Instant::now();
        while begun.elapsed() < SPIN {
            std::hint::spin_loop();
        }
        let used = clock_gettime(ClockId::ProcessCPUTime);
        let used = Duration::new(used.tv_sec as u64, used.tv_nsec as u32);
        // A tenth is the limit; the rest is for periods that had begun.
        let share = used.as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0;
        if share < 50.0 {
            return Ok(format!("{} % of a processor asked for, {share:.0} % had", CPU_MILLI / 10));
        }
        Err(not_so(wall, format!("use a processor for {SPIN:?}"), format!("had {share:.0} % of it")))
    })?;
    seen.ok_or_else(|| not_so(wall, "use a processor", "the process was killed"))
}

pub(super) fn memory(home: Option<&Home>) -> Result<String> {
    let wall = Wall::MemoryLimit;
    let (lived, hits) = within(wall, home, || {
        let much = std::hint::black_box(vec![1_u8; 2 * MEMORY_BYTES as usize]);
        Ok(much.len().to_string())
    })?;
    let asked = format!("use {} bytes in a cgroup of {MEMORY_BYTES}", 2 * MEMORY_BYTES);
    match (lived, hits.contains(&LimitHit::Memory)) {
        (None, true) => Ok(format!("a process that used more than {} MiB was ended", MEMORY_BYTES >> 20)),
        (None, false) => Err(not_so(wall, asked, "the process ended, and not by its limit")),
        (Some(_), _) => Err(not_so(wall, asked, "it worked")),
    }
}

pub(super) fn pids(home: Option<&Home>) -> Result<String> {
    let wall = Wall::PidsLimit;
    let (seen, _) = within(wall, home, || {
        for number in 1..=2 * PIDS {
            match sys::clone3(0, None) {
                Ok(Forked::Child) => {
                    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
                    loop {
                        let _ = rustix::event::poll(&mut [], None);
                    }
                }
                Ok(Forked::Parent { .. }) => {}
                Err(error) if error.raw_os_error() == Some(Errno::AGAIN.raw_os_error()) => {
                    return Ok(format!("process {} was refused where {PIDS} is the limit", number + 1));
                }
                Err(error) => return Err(error).wall(wall, || "clone3()".to_owned()),
            }
        }
        Err(not_so(wall, format!("start {} processes in a cgroup of {PIDS}", 2 * PIDS), "it worked"))
    })?;
    seen.ok_or_else(|| not_so(wall, "clone3()", "the process was killed"))
}

/// Does `work` in a new cgroup; gives its answer, if it lived to give one, and the limits that were hit.
fn within(
    wall: Wall,
    home: Option<&Home>,
    work: impl FnOnce() -> Result<String>,
) -> Result<(Option<String>, Vec<LimitHit>)> {
    let Some(home) = home else {
        let call = "find a cgroup of one's own below \"/sys/fs/cgroup\"".to_owned();
        return Err(Error { wall, call, source: Errno::NOENT.into() });
    };
    // The one limit that is tried is tight; the others must not be what the trial meets.
    let limits = Limits {
        cpu_milli: if wall == Wall::CpuLimit { CPU_MILLI } else { 4000 },
        memory_bytes: if wall == Wall::MemoryLimit { MEMORY_BYTES } else { 64 << 20 },
        pids: if wall == Wall::PidsLimit { PIDS } else { 64 },
        disk_bytes: 0,
        disk_inodes: 0,
        open_files: 0,
        wall_ms: None,
    };
    let cgroup: Cgroup = home.create(draw_id(wall)?, &limits)?;
    let seen = limited(wall, &cgroup, work);
    let hits = cgroup.hits();
    cgroup.remove();
    Ok((seen?, hits))
}

fn draw_id(wall: Wall) -> Result<SandboxId> {
    let mut bytes = [0; 20];
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())
        .wall(wall, || "getrandom()".to_owned())?;
    Ok(SandboxId::from_random(bytes))
}
