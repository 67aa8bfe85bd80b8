//! Where a wall that the policy asks for cannot stand, nothing runs.

use anyhow::Result;
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

/// Shows in which profiles a draft of a host directory can be had, and what is said where it cannot.
fn draft(profile: Profile) -> Result<()> {
    let name = format!("refusal::draft::{}", profile.name());
    let Some(ground) = Ground::new(profile, &name)? else { return Ok(()) };
    let original = ground.path("original");
    std::fs::create_dir(&original)?;
    std::fs::write(original.join("file"), "as it was")?;
    ground.give(&original)?;
    ground.give(&original.join("file"))?;
    let mut command = ground.outside(ground.casemate());
    command.args(["run", "--json", "--keep", "--state"]).arg(ground.path("state"));
    command.arg("--policy").arg(ground.path("policy.toml"));
    command.arg("--draft").arg(format!("{}:/work", original.display()));
    command.args(["--", "sh", "-c", "echo ran; echo other > /work/file"]).current_dir("/");
    let output = command.output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(std::fs::read_to_string(original.join("file"))?, "as it was", "{errors}");
    if profile == Profile::UserAfterSetup {
        assert_eq!((output.status.code(), &*said), (Some(66), ""), "{errors}");
        for told in ["draft zone `/work`", "not possible after `casemate setup`", "casemate setup --undo"] {
            assert!(errors.contains(told), "{told}: {errors}");
        }
    } else if !tmpfs_has_user_attributes() {
        assert_eq!((output.status.code(), &*said), (Some(69), ""), "{errors}");
        assert!(errors.contains("a draft zone needs tmpfs with user attributes (Linux 6.6)"), "{errors}");
    } else {
        assert_eq!((output.status.code(), &*said), (Some(0), "ran\n"), "{errors}");
        assert!(errors.contains(r#""changes":1"#), "{errors}");
    }
    Ok(())
}

/// Whether the kernel is 6.6 or newer.
fn tmpfs_has_user_attributes() -> bool {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let numbers: Vec<u32> =
        release.split(['.', '-']).map_while(|number| number.parse().ok()).take(2).collect();
    assert_eq!(numbers.len(), 2, "{release}");
    numbers >= vec![6, 6]
}

#[test]
fn root_has_drafts() -> Result<()> {
    draft(Profile::Root)
}

#[test]
fn a_user_has_drafts() -> Result<()> {
    draft(Profile::User)
}

#[test]
fn a_user_after_setup_is_told_that_there_are_no_drafts() -> Result<()> {
    draft(Profile::UserAfterSetup)
}
