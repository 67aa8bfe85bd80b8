//! A process of its own, because it tells whether Cedar was ever run in this one.

#![allow(clippy::unwrap_used, reason = "helpers of tests: what cannot go on fails the test")]

use policy::engine::{cedar_was_used, forbids};
use policy::{Access, ExecRequest, FileRule, Policy, User};

#[test]
fn a_policy_without_conditions_on_commands_runs_none_of_cedars_code() {
    let source = policy::shipped("default").unwrap().as_bytes();
    let parsed = Policy::parse(source, "default").unwrap();
    // Written by another process: what the cache of a policy is that has conditions, but only on files.
    let path = std::env::temp_dir().join(format!("casemate-constant-{}", std::process::id()));
    if let Ok(child) = std::env::var("CASEMATE_TEST_WRITE_CACHE") {
        let block =
            r#"forbid (principal, action == Action::"write", resource) when { context.path.w0 == "tmp" };"#;
        std::fs::write(child, parsed.with_forbids(forbids(block, "a").unwrap()).to_cache()).unwrap();
        assert!(cedar_was_used());
        return;
    }
    #[allow(clippy::disallowed_methods)] // This test, in a second process.
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    assert!(command.env("CASEMATE_TEST_WRITE_CACHE", &path).status().unwrap().success());
    let cache = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let cached = Policy::from_cache(&cache, &policy::hash_of(source)).unwrap();
    assert_eq!(cached.forbids().len(), 1);
    for policy in [parsed, cached] {
        decides_about_commands(policy);
    }
    assert!(!cedar_was_used());
}

fn decides_about_commands(policy: Policy) {
    let zone = FileRule::new("/out", Access::Write { to: "x".to_owned() }).unwrap();
    let policy = policy.with_zones(vec![zone]).unwrap();
    let request = |user| ExecRequest {
        argv: vec![b"true".to_vec()],
        cwd: b"/".to_vec(),
        env: Vec::new(),
        user,
        terminal: None,
    };
    assert_eq!(policy.exec(&request(User::User)).unwrap().decision().rule, "exec (no [[tools]] rule)");
    assert_eq!(policy.exec(&request(User::Root)).unwrap_err().rule, "root");
}
