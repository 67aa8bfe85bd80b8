//! CT-19: of all sockets there are only the plain ones.

use anyhow::Result;
use containment::{Facts, Ground, differences};

containment::proofs!(ct_19::socket_families, mutants: &["without:seccomp", "allow:socket", "allow:socketpair"]);

const UNIX: u64 = libc::AF_UNIX as u64;

/// All that can be opened.
const OPEN: &[(&str, u64, u64, u64)] = &[
    ("socket", UNIX, 1, 0),
    ("socket", UNIX, 2, 0),
    ("socketpair", UNIX, 1, 0),
    ("socketpair", UNIX, 1, 1),
    ("socketpair", UNIX, 2, 0),
    ("socketpair", UNIX, 2, 1),
    ("socketpair", UNIX, 3, 0),
    ("socketpair", UNIX, 3, 1),
    ("socketpair", UNIX, 5, 0),
    ("socketpair", UNIX, 5, 1),
    ("socket", 2, 1, 0),
    ("socket", 2, 1, 6),
    ("socket", 2, 2, 0),
    ("socket", 2, 2, 17),
    ("socket", 10, 1, 0),
    ("socket", 10, 1, 6),
    ("socket", 10, 2, 0),
    ("socket", 10, 2, 17),
];

fn control(ground: &Ground) -> Result<Vec<String>> {
    let found = ground.probe_outside(&["sockets"])?;
    let plain =
        OPEN.iter().map(|(call, family, kind, protocol)| format!("{call}({family}, {kind}, {protocol})"));
    let netlink = format!("socket({}, 3, 0)", libc::AF_NETLINK);
    let wanted = plain.filter(|name| !name.starts_with("socket(10")).chain([netlink]);
    Ok(wanted.filter(|name| !found.contains_key(name)).map(|name| format!("{name} does not open")).collect())
}

fn findings(ground: &Ground, mutant: Option<&str>) -> Result<Vec<String>> {
    let ipv6 = std::path::Path::new("/proc/net/if_inet6").exists();
    let mut expected: Facts = OPEN
        .iter()
        .filter(|(_, family, ..)| ipv6 || *family != 10)
        .map(|(call, family, kind, protocol)| {
            (format!("{call}({family}, {kind}, {protocol})"), "ok".to_owned())
        })
        .collect();
    expected.insert("pair of AF_INET".to_owned(), "EAFNOSUPPORT".to_owned());
    Ok(differences(&expected, &ground.inside(mutant).facts(&["sockets"])?))
}
