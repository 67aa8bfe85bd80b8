//! What Casemate says of its walls is what stands.

use anyhow::{Context, Result, ensure};
use containment::ground::guest;
use containment::{Ground, Profile};
use model::{Wall, Walls};

const LEFT_OUT: &[Wall] = &[
    Wall::Seccomp,
    Wall::NoCapabilities,
    Wall::NetworkNamespace,
    Wall::CgroupNamespace,
    Wall::Rlimits,
    Wall::NamespaceLimits,
];

fn reported(ground: &Ground, mutant: Option<&str>) -> Result<Walls> {
    let output = ground.inside(mutant).command(&["descriptors"]).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{errors}");
    let report: serde_json::Value = serde_json::from_str(errors.lines().last().context("no report")?)?;
    let names = report["walls"].as_array().context("a report without walls")?;
    names.iter().map(|name| Ok(name.as_str().context("a wall without a name")?.parse()?)).collect()
}

/// All there are, but for those that this profile or this kernel has not.
fn expected(profile: Profile) -> Walls {
    let mut walls = Walls::all();
    if !profile.own_block() {
        for wall in [Wall::OwnUid, Wall::CpuLimit, Wall::MemoryLimit, Wall::PidsLimit] {
            walls = walls.without(wall);
        }
    }
    if guest().as_deref() == Some("uml") { walls.without(Wall::Landlock) } else { walls }
}

fn prove(profile: Profile) {
    let name = format!("report::every_wall_that_stands_is_reported_and_no_other::{}", profile.name());
    let Some(ground) = Ground::new(profile, &name).expect("a ground to stand on") else { return };
    let walls = expected(profile);
    assert_eq!(reported(&ground, None).expect("a report").to_string(), walls.to_string());
    for wall in LEFT_OUT {
        let reported = reported(&ground, Some(&format!("without:{wall}"))).expect("a report");
        assert_eq!(reported.to_string(), walls.without(*wall).to_string(), "without {wall}");
    }
}

mod every_wall_that_stands_is_reported_and_no_other {
    use super::{Profile, prove};

    #[test]
    fn root() {
        prove(Profile::Root);
    }

    #[test]
    fn user() {
        prove(Profile::User);
    }

    #[test]
    fn user_after_setup() {
        prove(Profile::UserAfterSetup);
    }
}
