//! Host directories of zones.

use crate::case::{self, Case};
use anyhow::Result;
use behaviour::{Place, Who};
use std::os::unix::fs::{PermissionsExt, symlink};

behaviour::for_each_profile! {
    a_directory_that_cannot_be_a_zone_is_refused
}

fn a_directory_that_cannot_be_a_zone_is_refused(place: &Place) -> Result<()> {
    let file = place.file("file", "no directory")?;
    let missing = place.path("missing");
    let root = place.path("link-to-root");
    symlink("/", &root)?;
    let proc = place.path("link-to-proc");
    symlink("/proc/self", &proc)?;
    let secret = place.path("link-to-state");
    symlink(place.state(), &secret)?;
    let loops = place.path("loops");
    symlink(&loops, &loops)?;
    let inside = place.directory("state/inside")?;
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let above = text(place.path("").as_path());
    let (state, inside) = (text(&place.state()), text(&inside));
    let mut cases = Vec::new();
    for (option, at) in [("--read", "/input"), ("--write", "/output")] {
        let zone = |name, host: &str, says: &[&str]| {
            let mut says = says.to_vec();
            says.extend([at, host]);
            Case::new(name, &[option, &format!("{host}:{at}"), "--", "true"], 66, &says, "")
        };
        let named = |name, host: &str, says: &[&str]| {
            Case::new(name, &[option, &format!("{host}:{at}"), "--", "true"], 66, says, "")
        };
        cases.extend([
            zone("a file", &text(&file), &[]),
            zone("a directory that misses its parent", &format!("{}/x", text(&missing)), &["No such file"]),
            zone("a directory beneath a file", &format!("{}/x", text(&file)), &["Not a directory"]),
            zone("the root of the host", "/", &["a zone may not"]),
            named("a link to the root", &text(&root), &["a zone may not"]),
            zone("/proc", "/proc", &["the kernel's file systems"]),
            named("a link into /proc", &text(&proc), &["the kernel's file systems"]),
            zone("/sys", "/sys/kernel", &["the kernel's file systems"]),
            zone("/dev", "/dev", &["the kernel's file systems"]),
            zone("the state directory", &state, &["the state directory"]),
            zone("what is in the state directory", &inside, &["the state directory"]),
            named("what the state directory is in", &above, &["the state directory"]),
            named("a link to the state directory", &text(&secret), &["the state directory"]),
            named("a link to itself", &text(&loops), &["symbolic links"]),
            named("a name that climbs into it", &format!("{state}/../state"), &["the state directory"]),
        ]);
    }
    let host = format!("{}:/input", text(&missing));
    cases.push(Case::new(
        "a read zone that is not there",
        &["--read", &host, "--", "true"],
        66,
        &["No such file"],
        "",
    ));
    // The first one is fine, and is not touched when the second is not.
    let (fine, bad) = (format!("{}:/output", text(&place.path("target"))), format!("{}:/input", text(&file)));
    let words = ["--write", &fine, "--read", &bad, "--", "sh", "-c", "echo x >/output/new"];
    cases.push(Case::new("one that is fine beside one that is not", &words, 66, &["/input"], ""));
    if place.who() == Who::User {
        let closed = place.directory("closed")?;
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o500))?;
        let host = format!("{}:/output", text(&closed));
        let says = ["cannot be written", "Permission denied"];
        cases.push(Case::new(
            "a directory that may not be written",
            &["--write", &host, "--", "true"],
            66,
            &says,
            "",
        ));
        cases.push(Case::new(
            "a parent that may not",
            &["--write", "/usr/x:/output", "--", "true"],
            66,
            &["Permission denied"],
            "",
        ));
    }
    case::all(place, cases)
}
