//! CT-24: bytes and inodes of the disk. Who fills it sees ENOSPC and goes on.

use crate::bombs::{Casemate, finished, hits, number, red};
use anyhow::{Result, ensure};
use behaviour::Place;

const MIB: u64 = 1 << 20;
const COMPUTE: &str = "memory = \"256MiB\"\ndisk = \"8MiB\"\ninodes = 500\nwall = \"60s\"";

/// Fills a place with one file until it is full, at most 64 MiB, then does some more work.
const FILL: &str = "
import errno, os, sys
written = 0
fd = os.open(PLACE + '/filler', os.O_CREAT | os.O_WRONLY)
try:
    while written < 64 << 20: written += os.write(fd, b'x' * 65536)
except OSError as error: assert error.errno == errno.ENOSPC, error
else: sys.exit(20)
print(f'written={written}', flush=True)
pid = os.fork()
if pid == 0: os._exit(0)
assert os.waitpid(pid, 0)[1] == 0 and os.path.getsize(PLACE + '/filler') >= written
sys.exit(24)
";
const FILES: &str = "
import errno, os, sys
count = 0
try:
    for n in range(4000):
        os.close(os.open(f'{PLACE}/{n}', os.O_CREAT | os.O_WRONLY)); count += 1
except OSError as error: assert error.errno == errno.ENOSPC, error
else: sys.exit(20)
print(f'files={count}')
with open(f'{PLACE}/0', 'w') as file: file.write('there is room for bytes')
sys.exit(25)
";

behaviour::for_each_profile! {
    who_fills_the_disk_sees_enospc_and_goes_on
    who_takes_all_inodes_sees_enospc_and_goes_on
    the_checks_of_the_disk_notice_a_missing_limit
    all_places_share_one_disk
    a_full_write_zone_is_handed_out
    room_that_is_given_back_can_be_used_again
}

const PLACES: [&str; 5] = ["/tmp", "/home/user", "/var/tmp", "/dev/shm", "/scratch"];

fn at_place(program: &str, at: &str) -> String {
    format!("PLACE = {at:?}\n{program}")
}

fn filled(casemate: &Casemate, place: &Place, at: &str) -> Result<()> {
    let scratch = "[[files]]\nat = \"/scratch\"\naccess = \"scratch\"";
    let ended = casemate.python(place, &format!("{COMPUTE}\n{scratch}"), &[], &at_place(FILL, at))?;
    finished(&ended, 24)?;
    let written = number(&ended, "written")?;
    ensure!((7 * MIB..=9 * MIB).contains(&written), "{at}: {written} bytes");
    hits(place, &ended, &["disk-bytes"])
}

fn who_fills_the_disk_sees_enospc_and_goes_on(place: &Place) -> Result<()> {
    PLACES.into_iter().try_for_each(|at| filled(&Casemate::real()?, place, at))
}

fn files(casemate: &Casemate, place: &Place, at: &str) -> Result<()> {
    let ended = casemate.python(place, COMPUTE, &[], &at_place(FILES, at))?;
    finished(&ended, 25)?;
    let count = number(&ended, "files")?;
    ensure!((400..=1100).contains(&count), "{at}: {count} files");
    hits(place, &ended, &["disk-inodes"])
}

fn who_takes_all_inodes_sees_enospc_and_goes_on(place: &Place) -> Result<()> {
    files(&Casemate::real()?, place, "/tmp")?;
    files(&Casemate::real()?, place, "/home/user")
}

fn the_checks_of_the_disk_notice_a_missing_limit(place: &Place) -> Result<()> {
    red(filled(&Casemate::without("disk"), place, "/tmp"), "it ended with 20")?;
    red(files(&Casemate::without("inodes"), place, "/tmp"), "it ended with 20")
}

fn all_places_share_one_disk(place: &Place) -> Result<()> {
    let text = "
import errno, os, sys
total = 0
for place in ['/tmp', '/home/user', '/var/tmp', '/dev/shm'] * 2:
    fd = os.open(f'{place}/{total}', os.O_CREAT | os.O_WRONLY)
    try:
        for _ in range(3 << 4): total += os.write(fd, b'x' * 65536)
    except OSError as error: assert error.errno == errno.ENOSPC, error
print(f'written={total}')
sys.exit(26)
";
    let ended = Casemate::real()?.python(place, COMPUTE, &[], text)?;
    finished(&ended, 26)?;
    let written = number(&ended, "written")?;
    ensure!((7 * MIB..=9 * MIB).contains(&written), "{written} bytes");
    hits(place, &ended, &["disk-bytes"])
}

fn a_full_write_zone_is_handed_out(place: &Place) -> Result<()> {
    let results = place.directory("results")?;
    let write = format!("{}:/output", results.display());
    let text = at_place(FILL, "/output");
    let ended = Casemate::real()?.python(place, COMPUTE, &["--write", &write], &text)?;
    finished(&ended, 24)?;
    let filler = std::fs::read(results.join("filler"))?;
    ensure!(filler.len() as u64 >= number(&ended, "written")?, "{} bytes came out", filler.len());
    ensure!(filler.iter().all(|byte| *byte == b'x'));
    hits(place, &ended, &["disk-bytes"])
}

fn room_that_is_given_back_can_be_used_again(place: &Place) -> Result<()> {
    let text = "
import errno, os, sys
for turn in range(3):
    fd = os.open('/tmp/filler', os.O_CREAT | os.O_WRONLY)
    try:
        while True: os.write(fd, b'x' * 65536)
    except OSError as error: assert error.errno == errno.ENOSPC, error
    os.close(fd); os.unlink('/tmp/filler')
    with open('/tmp/small', 'w') as file: file.write('y' * 4096)
sys.exit(27)
";
    let ended = Casemate::real()?.python(place, COMPUTE, &[], text)?;
    finished(&ended, 27).map(drop)
}
