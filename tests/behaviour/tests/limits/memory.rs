//! CT-23: memory, in the shapes in which a program can ask for it.

use crate::bombs::{Casemate, ended_by, finished, hits, number, red};
use anyhow::{Context, Result, ensure};
use behaviour::{Place, Who, finish};

const MIB: u64 = 1 << 20;
/// 48 MiB in all: what is written to disk counts.
const COMPUTE: &str = "memory = \"32MiB\"\ndisk = \"16MiB\"\npids = 64\ninodes = 2000000\nwall = \"60s\"";
const BOUND: u64 = 48 * MIB;

/// Each takes about 150 MiB and ends with 21 if it gets it, or if it is told that there is no more.
const ANONYMOUS: &str = "
import mmap, sys
m = mmap.mmap(-1, 150 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for at in range(0, 150 << 20, 4096): m[at] = 1
sys.exit(21)
";
const MEMFD: &str = "
import os, sys
fd = os.memfd_create('bomb')
for _ in range(150): os.write(fd, b'x' * (1 << 20))
sys.exit(21)
";
const SHARED: &str = "
import mmap, sys
m = mmap.mmap(-1, 150 << 20)
for at in range(0, 150 << 20, 4096): m[at] = 1
sys.exit(21)
";
const PIPES: &str = "
import fcntl, os, sys
ends, total = [], 0
for _ in range(480):
    r, w = os.pipe(); ends.append((r, w))
    try: fcntl.fcntl(w, 1031, 1 << 20)
    except OSError: pass
    os.set_blocking(w, False)
    try:
        while total < 150 << 20: total += os.write(w, b'x' * 4096)
    except BlockingIOError: pass
print(f'total={total}')
sys.exit(21)
";
const SOCKETS: &str = "
import socket, sys
pairs, total = [], 0
for _ in range(480):
    a, b = socket.socketpair(); pairs.append((a, b)); a.setblocking(False)
    try: a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
    except OSError: pass
    try:
        while total < 150 << 20: total += a.send(b'x' * 16384)
    except BlockingIOError: pass
print(f'total={total}')
sys.exit(21)
";
const INODES: &str = "
import os, sys
os.chdir('/tmp')
for n in range(200000):
    if n % 10000 == 0: os.mkdir(f'{n}'); os.chdir(f'{n}')
    os.close(os.open(f'{n:0100}', os.O_CREAT | os.O_WRONLY))
sys.exit(21)
";
const PAGE_TABLES: &str = "
import mmap, sys
size = 64 << 30
m = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, prot=mmap.PROT_READ)
m.madvise(15)
for at in range(0, size, 2 << 20): m[at]
sys.exit(21)
";
/// A group: what does not grow ends with what does.
const GROUP: &str = "
import mmap, os, signal, sys
for _ in range(5):
    if os.fork() == 0: os.setsid(); signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()
if os.fork() == 0:
    m = mmap.mmap(-1, 150 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, 150 << 20, 4096): m[at] = 1
    os._exit(0)
os.wait()
sys.exit(21)
";
/// Past the limit one by one: each process is small, together they are not.
const MANY: &str = "
import mmap, os, signal, sys
ready = os.pipe()
for _ in range(30):
    if os.fork() == 0:
        m = mmap.mmap(-1, 5 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        for at in range(0, 5 << 20, 4096): m[at] = 1
        os.write(ready[1], b'x'); signal.pause()
for _ in range(30): os.read(ready[0], 1)
sys.exit(21)
";

fn only_the_sandbox_ends(casemate: &Casemate, place: &Place, bomb: &str) -> Result<()> {
    let ended = casemate.python(place, COMPUTE, &[], bomb)?;
    ended_by(place, &ended, "memory", 137)?;
    hits(place, &ended, &["memory"])?;
    let report = ended.report()?;
    let peak = report["usage"]["memory_peak_bytes"].as_u64().context("no peak")?;
    ensure!(peak <= BOUND, "{peak} bytes at its peak");
    Ok(())
}

/// A shape that the sandbox's memory limit ends, as two tests.
macro_rules! shapes {
    ($($name:ident $bomb:ident)*) => {
        mod root {
            $(mod $name {
                use crate::bombs::{Casemate, red};
                use behaviour::{Place, Who};

                #[test]
                fn ends_the_sandbox_alone() -> anyhow::Result<()> {
                    Place::with(stringify!($name), Who::Root, |place| {
                        super::super::only_the_sandbox_ends(&Casemate::real()?, place, super::super::$bomb)
                    })
                }

                #[test]
                fn without_the_limit_is_noticed() -> anyhow::Result<()> {
                    Place::with(stringify!($name), Who::Root, |place| {
                        let mutant = Casemate::without("memory");
                        let checked = super::super::only_the_sandbox_ends(&mutant, place, super::super::$bomb);
                        red(checked, "it ended with 21")
                    })
                }
            })*
        }
        mod user {
            $(#[test]
            fn $name() -> anyhow::Result<()> {
                behaviour::Place::with(stringify!($name), behaviour::Who::User, super::is_refused_or_bounded)
            })*
        }
    };
}

shapes! {
    anonymous_memory ANONYMOUS
    shared_memory SHARED
    a_memory_file MEMFD
    pipe_buffers PIPES
    socket_buffers SOCKETS
    inodes_and_names INODES
    page_tables PAGE_TABLES
    a_group_with_one_that_grows GROUP
    many_that_are_small MANY
}

/// Without a cgroup nothing bounds these shapes; a policy that needs the bound says so, and then nothing starts.
fn is_refused_or_bounded(place: &Place) -> Result<()> {
    let walls = "[walls]\nrequire = [\"memory-limit\"]\n[compute]\n";
    let policy = place.policy(&format!("{walls}{COMPUTE}"))?;
    let ended = finish(place.run()?.arg("--policy").arg(policy).args(["--", "true"]))?;
    ensure!(ended.code() == 69, "it ended with {}: {}", ended.code(), ended.err());
    let report = ended.report()?;
    ensure!(report["error"].to_string().contains("memory-limit"), "{report}");
    ensure!(report["help"].to_string().contains("casemate setup"), "{report}");
    ensure!(place.records_of("exec.start")?.is_empty(), "something ran");
    Ok(())
}

#[test]
fn as_user_one_process_is_bounded_by_a_resource_limit() -> Result<()> {
    Place::with("as_user_one_process_is_bounded", Who::User, |place| data(&Casemate::real()?, place))
}

#[test]
fn as_user_a_missing_resource_limit_is_noticed() -> Result<()> {
    Place::with("as_user_a_missing_resource_limit", Who::User, |place| {
        red(data(&Casemate::without("data"), place), "it ended with 21")
    })
}

fn data(casemate: &Casemate, place: &Place) -> Result<()> {
    let program = "
import sys
try: x = bytearray(150 << 20); x[::4096] = b'x' * len(x[::4096])
except MemoryError: sys.exit(22)
sys.exit(21)
";
    let ended = casemate.python(place, COMPUTE, &[], program)?;
    finished(&ended, 22)?;
    hits(place, &ended, &[])
}

/// Page cache is memory that can be taken back: a file larger than the limit is read to its end within the limit.
fn page_cache(casemate: &Casemate, place: &Place) -> Result<()> {
    let zone = place.directory("zone")?;
    let file = place.file("zone/large", "")?;
    std::fs::File::options().write(true).open(file)?.set_len(150 * MIB)?;
    let program = "
import mmap, sys
f = open('/input/large', 'rb')
m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
print(f'sum={sum(m[at] for at in range(0, len(m), 4096)) + len(m)}')
total = 0
while True:
    piece = f.read(1 << 20)
    if not piece: break
    total += len(piece)
print(f'total={total}')
sys.exit(23)
";
    let read = format!("{}:/input", zone.display());
    let ended = casemate.python(place, COMPUTE, &["--read", &read], program)?;
    let report = finished(&ended, 23)?;
    assert_eq!((number(&ended, "sum")?, number(&ended, "total")?), (150 * MIB, 150 * MIB));
    hits(place, &ended, &[])?;
    if place.who() == Who::Root {
        let peak = report["usage"]["memory_peak_bytes"].as_u64().context("no peak")?;
        ensure!(peak <= BOUND, "{peak} bytes at its peak");
    }
    Ok(())
}

#[test]
fn page_cache_of_a_zone_stays_within_the_limit() -> Result<()> {
    Place::with("page_cache", Who::Root, |place| page_cache(&Casemate::real()?, place))
}

#[test]
fn page_cache_without_the_limit_is_noticed() -> Result<()> {
    Place::with("page_cache_mutant", Who::Root, |place| {
        red(page_cache(&Casemate::without("memory"), place), "bytes at its peak")
    })
}

#[test]
fn page_cache_as_user_is_the_hosts_to_take_back() -> Result<()> {
    Place::with("page_cache_user", Who::User, |place| page_cache(&Casemate::real()?, place))
}
