//! Who is inside can read what is allowed there and what was denied, and cannot write it.

use crate::bombs::{Casemate, finished};
use anyhow::{Result, ensure};
use behaviour::{Place, Who, finish};

behaviour::for_each_profile! {
    what_is_allowed_is_told_without_a_shell
    a_refused_call_is_told_at_once
    a_limit_that_ends_nothing_is_told_within_a_second
    nobody_inside_writes_the_board
    a_denial_is_one_shape_in_text_json_and_record
}

/// Waits for a text on the board, for two seconds at most, and prints all of it.
const AWAIT: &str = "
import subprocess, time
def told(what):
    end = time.monotonic() + 2
    while True:
        text = subprocess.run(['casemate-why'], stdout=subprocess.PIPE, check=True).stdout.decode()
        if what in text: return text
        assert time.monotonic() < end, text
        time.sleep(0.05)
";

fn what_is_allowed_is_told_without_a_shell(place: &Place) -> Result<()> {
    let directory = place.directory("secret-name")?;
    let read = format!("{}:/input", directory.display());
    let mut command = Casemate::real()?.run(place, "pids = 40")?;
    let ended = finish(command.args(["--read", &read, "--", "casemate-why"]))?;
    ensure!(ended.code() == 0, "{}", ended.err());
    let out = ended.out();
    ensure!(out.contains("  pids = 40 -> ") && out.contains("  read /input -> read-only\n"), "{out}");
    ensure!(out.ends_with("Nothing was denied so far.\n"), "{out}");
    ensure!(!out.contains("secret-name"), "a name of the host is told: {out}");
    Ok(())
}

fn a_refused_call_is_told_at_once(place: &Place) -> Result<()> {
    let text = format!(
        "{AWAIT}
import socket
try: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
except OSError: pass
print(told('seccomp.socket'))
"
    );
    let ended = Casemate::real()?.python(place, "memory = \"256MiB\"", &[], &text)?;
    finished(&ended, 0)?;
    let out = ended.out();
    ensure!(out.contains("  syscall: socket(0x10, "), "{out}");
    let records = place.records_of("denial")?;
    ensure!(records.iter().any(|record| record["code"] == "syscall" && record["how_to_ask"].is_string()));
    Ok(())
}

fn a_limit_that_ends_nothing_is_told_within_a_second(place: &Place) -> Result<()> {
    // The disk is full to the last byte: the board has its own.
    let text = format!(
        "{AWAIT}
import errno, os
fd = os.open('/tmp/filler', os.O_CREAT | os.O_WRONLY)
try:
    while True: os.write(fd, b'x' * 4096)
except OSError as error: assert error.errno == errno.ENOSPC, error
print(told('limit.disk: more than 8388608 bytes of disk'))
"
    );
    let ended = Casemate::real()?.python(place, "disk = \"8MiB\"\nmemory = \"256MiB\"", &[], &text)?;
    let report = finished(&ended, 0)?;
    ensure!(report["denied"][0]["code"] == "limit.disk", "{report}");
    let records = place.records_of("limit.hit")?;
    ensure!(records.iter().any(|record| record["code"] == "limit.disk"), "{records:?}");
    // Without a cgroup nobody counts refusals.
    if place.who() != Who::Root {
        return Ok(());
    }
    let text = format!(
        "{AWAIT}
import os, signal
children = []
try:
    while True:
        pid = os.fork()
        if pid == 0: signal.pause()
        children.append(pid)
except OSError: pass
for pid in children: os.kill(pid, signal.SIGKILL)
for pid in children: os.wait()
print(told('limit.pids: more than 40 processes'))
"
    );
    let ended = Casemate::real()?.python(place, "pids = 40\nmemory = \"256MiB\"", &[], &text)?;
    finished(&ended, 0).map(drop)
}

const WRITE: &str = "
import os
for what in [
    lambda: open('/.casemate/denials', 'a'), lambda: os.unlink('/.casemate/denials'),
    lambda: os.chmod('/.casemate/denials', 0o666), lambda: os.rename('/.casemate', '/other'),
    lambda: open('/.casemate/new', 'w'), lambda: os.truncate('/.casemate/denials', 0),
    lambda: os.unlink('/.casemate/casemate-why'), lambda: os.rmdir('/.casemate'),
]:
    try: what()
    except OSError: continue
    raise SystemExit('written')
assert os.path.getsize('/.casemate/denials') <= 16384
print(open('/.casemate/denials').read())
";

fn nobody_inside_writes_the_board(place: &Place) -> Result<()> {
    let ended = Casemate::real()?.python(place, "memory = \"256MiB\"", &[], WRITE)?;
    finished(&ended, 0)?;
    ensure!(ended.out().contains("Nothing was denied so far."), "{}", ended.out());
    if place.who() != Who::Root {
        return Ok(());
    }
    let policy = place.policy("root = true")?;
    let mut command = place.run_as(&[], &Place::binary()?)?;
    let ended = finish(command.arg("--policy").arg(policy).args(["--root", "--", "python3", "-c", WRITE]))?;
    ensure!(ended.code() == 0 && ended.out().contains("Nothing was denied so far."), "{}", ended.err());
    Ok(())
}

fn a_denial_is_one_shape_in_text_json_and_record(place: &Place) -> Result<()> {
    let run = |json: &[&str]| -> Result<behaviour::Ended> {
        let mut command = place.casemate()?;
        command.args(["run", "--state"]).arg(place.state()).args(json);
        finish(command.args(["--root", "--", "true"]))
    };
    let text = run(&[])?;
    ensure!(text.code() == 77, "{}", text.err());
    ensure!(text.err().contains("casemate: denied by the rule `root`: run `true` as root"), "{}", text.err());
    ensure!(text.err().contains("  allowed: the same as the ordinary user"), "{}", text.err());
    let denial = run(&["--json"])?.report()?["denial"].clone();
    ensure!(denial["code"] == "root" && denial["rule"] == "root", "{denial}");
    let records = place.records_of("denial")?;
    let record = records.last().ok_or_else(|| anyhow::anyhow!("nothing on record"))?;
    for field in ["code", "asked", "nearest_allowed", "how_to_ask"] {
        ensure!(record[field] == denial[field] && record[field].is_string(), "{field}: {record}");
    }
    ensure!(record["decision"]["rule"] == "root", "{record}");
    Ok(())
}
