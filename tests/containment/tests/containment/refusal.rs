//! Where a wall that the policy asks for cannot stand, nothing runs.

use containment::ground::{guest, not_run};
use containment::{Ground, Profile};

#[test]
fn without_landlock_the_default_policy_is_refused() {
    let name = "refusal::without_landlock_the_default_policy_is_refused";
    if guest().as_deref() != Some("uml") {
        not_run(name, "this kernel has Landlock").unwrap();
        return;
    }
    let ground = Ground::new(Profile::Root, name).unwrap().expect("the guest's tests run as root");
    let output = ground.inside(None).policy("default").command(&["descriptors"]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(69), "{errors}");
    assert!(errors.contains("landlock"), "{errors}");
    assert!(output.stdout.is_empty(), "{output:?}");
}
