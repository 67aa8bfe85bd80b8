//! CT-18: nothing is typed into a terminal for somebody else, and the caller's terminal is not there at all.

use anyhow::Result;
use containment::{Facts, Ground, differences};
use rustix::pty::OpenptFlags;

containment::proofs!(ct_18::tty_injection, mutants: &["without:seccomp", "allow:ioctl"]);

const REQUESTS: [&str; 3] = ["TIOCSTI", "TIOCLINUX", "TIOCSETD"];

fn control(ground: &Ground) -> Result<Vec<String>> {
    let found = ground.probe_outside(&["terminal"])?;
    let outcome = found.get("own TIOCSTI").map_or("", String::as_str);
    // Kernels since 6.2 may be set not to do it for anybody (dev.tty.legacy_tiocsti); then no EPERM comes either.
    Ok(if outcome == "ok" || outcome == "EIO" { Vec::new() } else { vec![format!("TIOCSTI: {outcome}")] })
}

fn findings(ground: &Ground, mutant: Option<&str>) -> Result<Vec<String>> {
    let mut expected = Facts::new();
    for request in REQUESTS {
        for terminal in ["own", "stdin"] {
            expected.insert(format!("{terminal} {request}"), "EPERM".to_owned());
        }
    }
    let mut found = Vec::new();

    // Without a terminal of the caller's.
    let mut facts = ground.inside(mutant).facts(&["terminal"])?;
    forget_devices(&mut facts);
    let mut none = expected.clone();
    none.extend(REQUESTS.map(|request| (format!("/dev/tty {request}"), "ENXIO".to_owned())));
    none.insert("/dev/tty".to_owned(), "ENXIO".to_owned());
    found.extend(differences(&none, &facts).into_iter().map(|line| format!("no terminal: {line}")));

    // With one: the sandbox has its own in its place.
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::pty::unlockpt(&master)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(
        &master,
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )?;
    let device = rustix::fs::fstat(&slave)?.st_dev.to_string();
    let mut command = ground.inside(mutant).command(&["terminal"]);
    let output = command.stdin(slave).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut facts: Facts = serde_json::from_slice(&output.stdout)?;
    if facts.get("stdin device") == Some(&device) {
        found.push("standard input is the caller's terminal".to_owned());
    }
    if facts.get("stdin").map(String::as_str) != Some("/dev/pts/0") {
        found.push(format!("standard input is {:?}", facts.get("stdin")));
    }
    forget_devices(&mut facts);
    let mut own = expected;
    own.extend(REQUESTS.map(|request| (format!("/dev/tty {request}"), "EPERM".to_owned())));
    own.insert("/dev/tty".to_owned(), "ok".to_owned());
    found.extend(differences(&own, &facts).into_iter().map(|line| format!("with a terminal: {line}")));
    Ok(found)
}

fn forget_devices(facts: &mut Facts) {
    facts.remove("stdin device");
    facts.remove("stdin");
}
