//! Where a wall that the policy asks for cannot stand, nothing runs.

use containment::ground::guest;
use containment::{Ground, Profile};

/// Under user-mode Linux there is no Landlock at all; elsewhere there is none as new as this.
const NEWEST: &str = "version = 1\nname = \"newest\"\n[walls]\nlandlock = 16\n";

#[test]
fn a_policy_that_asks_for_more_landlock_than_there_is_is_refused() {
    let Some(ground) = Ground::new(Profile::Root, "refusal").unwrap() else { return };
    let newest = ground.file("newest.toml", NEWEST).unwrap();
    let policy = match guest().as_deref() {
        Some("uml") => "default",
        _ => newest.to_str().unwrap(),
    };
    let output = ground.inside(None).policy(policy).command(&["descriptors"]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert_eq!(output.status.code(), Some(69), "{errors}");
    assert!(errors.contains("landlock"), "{errors}");
    assert!(output.stdout.is_empty(), "{output:?}");
}
