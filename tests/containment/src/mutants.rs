//! Weakenings, each of one thing. The mutant program takes one by name from `CASEMATE_MUTANT`.

use jail::seccomp::{Action, Rule};
use jail::{Plan, RootInside, Zone, ZoneKind};
use model::Wall;
use rustix::fs::{Mode, OFlags};
use std::process::exit;

/// Where the mutant `show-temporary` puts what must not be seen.
pub const HOST_AT: &str = "/host";

/// Weakens the plan as the environment says. Ends the process if it names no weakening, or one that does not apply.
pub fn mutate(plan: &mut Plan) {
    let Ok(name) = std::env::var("CASEMATE_MUTANT") else { return };
    if apply(&name, plan).is_none() {
        eprintln!("casemate-mutant: `{name}` weakens nothing here");
        exit(2);
    }
}

fn apply(name: &str, plan: &mut Plan) -> Option<()> {
    if let Some(wall) = name.strip_prefix("without:") {
        let wall: Wall = wall.parse().ok()?;
        plan.walls = plan.walls.without(wall);
        return Some(());
    }
    if let Some(call) = name.strip_prefix("allow:") {
        plan.seccomp.to_mut().iter_mut().find(|rule| rule.name == call)?.action = Action::Allow;
        return Some(());
    }
    match name {
        "allow-an-unlisted-call" => {
            let number = libc::SYS_ustat as u32;
            plan.seccomp.to_mut().push(Rule { number, name: "ustat", action: Action::Allow });
        }
        // A filter needs one or the other: without the first the second must stay.
        "new-privileges" => {
            plan.walls = plan.walls.without(Wall::NoNewPrivileges).without(Wall::NoCapabilities);
        }
        "inherit-a-directory" => {
            let directory = plan.zones.iter().find_map(|zone| match &zone.kind {
                ZoneKind::Read { directory, .. } => Some(directory),
                _ => None,
            })?;
            // Far above the numbers that the builder puts the agent's own descriptors at, and so over what was there.
            let leaked = rustix::io::fcntl_dupfd_cloexec(directory, 500).ok()?;
            rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).ok()?;
            std::mem::forget(leaked);
            plan.first_closed = u32::MAX;
        }
        "show-var" => plan.system.push("/var"),
        "show-temporary" => show(plan, &std::env::temp_dir().to_string_lossy())?,
        "tell-the-environment" => {
            let all: Vec<String> =
                std::env::vars().map(|(name, value)| format!("{name}={value}\n")).collect();
            plan.own_etc.push(("environment", all.concat()));
        }
        "writable-read-zone" => {
            let zone = plan.zones.iter_mut().find(|zone| zone.at.ends_with("zone"))?;
            zone.kind = ZoneKind::Scratch;
        }
        "unmasked-proc" => plan.proc_kept.extend(["kallsyms", "keys", "interrupts", "bus", "irq", "tty"]),
        "writable-knobs" => plan.proc_read_only.clear(),
        "one-more-device" => plan.devices.push(("kmsg", 1, 11)),
        "root-granted" => plan.root = RootInside::Granted,
        _ => return None,
    }
    Some(())
}

/// Shows a host directory inside.
fn show(plan: &mut Plan, path: &str) -> Option<()> {
    let directory =
        rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let kind = ZoneKind::Read { from: path.into(), directory, mount: None };
    plan.zones.push(Zone { at: HOST_AT.into(), kind });
    Some(())
}
