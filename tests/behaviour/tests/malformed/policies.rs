//! Policies.

use crate::case::{self, Case, invalid};
use anyhow::Result;
use behaviour::Place;

behaviour::for_each_profile! {
    a_malformed_policy_is_refused_with_its_place
    what_is_no_policy_file_is_refused
}

fn a_malformed_policy_is_refused_with_its_place(place: &Place) -> Result<()> {
    let zones = |number: usize| {
        (0..number).map(|n| format!("[[files]]\nat = \"/z{n}\"\naccess = \"scratch\"\n")).collect::<String>()
    };
    let zone = |at: &str, rest: &str| format!("[[files]]\nat = \"{at}\"\n{rest}\n");
    let head = |rest: &str| format!("version = 1\nname = \"test\"\n{rest}\n").into_bytes();
    let scratch = "access = \"scratch\"";
    let documents: Vec<(&'static str, Vec<u8>, &str, &str)> = vec![
        ("an empty document", vec![], "version", "version = 1"),
        ("no TOML", b"version = = 1".to_vec(), ":1:", ""),
        ("half a string", b"version = 1\nname = \"te".to_vec(), ":2:", ""),
        ("a key twice", head("name = \"other\""), ":3:", ""),
        ("no version", b"name = \"test\"\n".to_vec(), "version", "version = 1"),
        ("a version to come", b"version = 2\nname = \"test\"\n".to_vec(), ":1:", ""),
        ("a version of another type", b"version = \"1\"\nname = \"test\"\n".to_vec(), ":1:", ""),
        ("a name that is none", b"version = 1\nname = \"Not A Name\"\n".to_vec(), ":2:", ""),
        ("an unknown key", head("rot = true"), "rot", "root"),
        ("an unknown wall", head("[walls]\nrequire = [\"memory-limits\"]"), "memory-limits", "memory-limit"),
        ("an empty list of walls", head("[walls]\nrequire = []"), ":4:", ""),
        ("a wall twice", head("[walls]\nrequire = [\"seccomp\", \"seccomp\"]"), ":4:", ""),
        ("landlock wanted and not", head("[walls]\nrequire = [\"landlock\"]\nlandlock = 0"), "landlock", ""),
        ("a size as a number", head("[compute]\nmemory = 512"), ":4:10", "memory = \"512MiB\""),
        ("a size that means two things", head("[compute]\nmemory = \"512M\""), "512M", ""),
        ("a size past all bounds", head("[compute]\nmemory = \"99999999999TiB\""), ":4:", ""),
        ("infinite processors", head("[compute]\ncpus = inf"), ":4:", ""),
        ("processors that are no number", head("[compute]\ncpus = nan"), ":4:", ""),
        ("fewer than no processes", head("[compute]\npids = -1"), ":4:", ""),
        ("too few processes", head("[compute]\npids = 1"), ":4:", ""),
        ("no time at all", head("[compute]\nwall = \"0s\""), ":4:", ""),
        ("a table that is a string", head("compute = \"all\""), "compute", ""),
        ("root in words", head("root = \"yes\""), ":3:", ""),
        ("a rule for the network", head("[[net.allow]]\nhost = \"example.org\""), "net.allow", "remove it"),
        (
            "a policy to extend that is not there",
            head("extends = \"./none.toml\""),
            "cannot be read",
            "extends",
        ),
        ("a policy to extend that nobody ships", head("extends = \"defautl\""), "defautl", "default, coding"),
        ("another tier", head("tier = \"microvm\""), "microvm", ""),
        ("a zone in the system", head(&zone("/etc/x", scratch)), "/etc", ""),
        ("a zone that climbs", head(&zone("/a/../etc", scratch)), ":4:", ""),
        ("a zone at no absolute place", head(&zone("input", scratch)), ":4:", ""),
        ("a zone at the root", head(&zone("/", scratch)), ":4:", ""),
        ("zones in each other", head(&(zone("/a", scratch) + &zone("/a/b", scratch))), "/a", ""),
        ("a zone twice", head(&(zone("/a", scratch) + &zone("/a", scratch))), "/a", ""),
        ("a read zone from nowhere", head(&zone("/a", "access = \"read\"")), "from", ""),
        (
            "a scratch zone from somewhere",
            head(&zone("/a", "access = \"scratch\"\nfrom = \"x\"")),
            "from",
            "",
        ),
        ("a home that is not expanded", head(&zone("/a", "access = \"read\"\nfrom = \"~/x\"")), "~", ""),
        ("an unknown access", head(&zone("/a", "access = \"full\"")), "full", ""),
        ("too many zones", head(&zones(65)), "64", ""),
        ("a text of 64 KiB and more", head(&format!("# {}", "x".repeat(65 << 10))), "65536", ""),
        ("bytes that are no text", [head("# "), vec![0xff, b'\n']].concat(), "UTF-8", ""),
        ("a NUL", head("# \0"), ":3:", ""),
        ("a text that runs backwards", head("# \u{202e}txet"), ":3:", ""),
        ("a byte-order mark", [vec![0xef, 0xbb, 0xbf], head("")].concat(), ":1:1", ""),
        ("a deep nest", head(&format!("x = {}1{}", "[".repeat(5000), "]".repeat(5000))), ":3:", ""),
        ("an escape", head("about = \"a\\u001b[2Jb\""), ":3:", ""),
    ];
    let mut cases = Vec::new();
    for (number, (name, text, says, help)) in documents.into_iter().enumerate() {
        let path = place.file(&format!("policy-{number}.toml"), text)?;
        let path = path.to_string_lossy();
        cases.push(Case::new(name, &["--policy", &path, "--", "true"], 65, &[&path, says], ""));
        if let Some(case) = cases.last_mut() {
            // The help is a part of the message, and every problem has one that applies.
            case.says.extend((!help.is_empty()).then(|| help.to_owned()));
        }
    }
    case::all(place, cases)
}

fn what_is_no_policy_file_is_refused(place: &Place) -> Result<()> {
    let shipped = "default, coding, data-analysis, package-registries, locked";
    let directory = place.directory("directory")?;
    let missing = place.path("missing.toml");
    let large = place.file("large", vec![b'#'; 3 << 20])?;
    let socket = place.path("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket)?;
    let loops = place.path("loops");
    std::os::unix::fs::symlink(&loops, &loops)?;
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let policy = |name, word: &str, says: &[&str], help| {
        Case::new(name, &["--policy", word, "--", "true"], 65, says, help)
    };
    let mut cases = vec![
        policy("a name that nobody ships", "lockd", &["lockd", "No such file"], shipped),
        policy("no name", "", &["policy"], shipped),
        policy("a file that is not there", &text(&missing), &["missing.toml", "No such file"], shipped),
        policy("a directory", &text(&directory), &["directory"], shipped),
        policy("a socket", &text(&socket), &["socket"], shipped),
        policy("a link to itself", &text(&loops), &["loops", "symbolic links"], shipped),
        policy("a device without end", "/dev/zero", &["/dev/zero"], ""),
        policy("an empty device", "/dev/null", &["/dev/null", "version"], ""),
        policy("a file beneath a file", &format!("{}/x", text(&large)), &["Not a directory"], shipped),
        policy("a huge file", &text(&large), &["65536"], ""),
        policy("a name of 5000 letters", &"x".repeat(5000), &["File name too long"], shipped),
        policy("a name with an escape in it", "a\x1b[2Jb", &["\\x1b[2J"], shipped),
    ];
    let mut case = policy("a name that is no text", "", &["\\xff"], shipped);
    case.words[1] = invalid("no", "text");
    cases.push(case);
    if place.who() == behaviour::Who::User {
        let closed = place.file("closed.toml", "version = 1\nname = \"closed\"\n")?;
        std::fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o000))?;
        cases.push(policy("a file that may not be read", &text(&closed), &["Permission denied"], shipped));
    }
    case::all(place, cases)
}
