//! `casemate doctor` and `casemate setup`, as far as they go on any machine and change nothing of it.

mod support;

use model::Wall;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use support::{casemate, run, told};

/// Somebody without rights.
const NOBODY: u32 = 65534;

#[test]
fn doctor_lists_every_wall_with_what_was_seen_or_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let (status, text, said) = run(&["doctor", "--json", "--state", dir.path().to_str().unwrap()]);
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    let walls = answer["walls"].as_array().unwrap();
    let names: Vec<&str> = walls.iter().map(|wall| wall["wall"].as_str().unwrap()).collect();
    let all: Vec<&str> = Wall::ALL.iter().map(|wall| wall.name()).collect();
    assert_eq!(names, all);
    for wall in walls {
        assert!(!wall["detail"].as_str().unwrap().is_empty(), "{wall}");
        assert_eq!(wall["stands"].as_bool().unwrap(), wall["mend"].is_null(), "{wall}");
    }
    assert_eq!(answer["policies"].as_array().unwrap().len(), policy::SHIPPED.len());
    assert_eq!(status, if answer["sound"].as_bool().unwrap() { 0 } else { 1 }, "{text}");
    assert_eq!(answer["exit"], status);
    assert_eq!(said, "");
}

#[test]
fn doctor_says_that_a_state_directory_cannot_be_used() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (status, text, _) = run(&["doctor", "--state", file.to_str().unwrap()]);
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("NOT USABLE") && text.contains("is not a directory"), "{text}");
}

#[test]
fn setup_is_refused_to_anybody_but_root() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    // Where the program was built, nobody may be let in.
    let program = dir.path().join("casemate");
    std::fs::copy(Path::new(env!("CARGO_BIN_EXE_casemate")), &program).unwrap();
    for words in [&["setup", "--user", "daemon"][..], &["setup", "--undo", "--user", "daemon"]] {
        let mut command = casemate(&program, words);
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let (status, text, said) = told(command.output().unwrap());
        assert_eq!((status, text.as_str()), (77, ""), "{said}");
        assert!(said.contains("sudo casemate setup"), "{said}");
    }
}
