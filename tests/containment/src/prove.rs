//! One class under one profile: the control, the walls, the mutants, in that order.

use crate::ground::guest;
use crate::{Ground, Profile};
use anyhow::Result;

/// A class of failure and how it is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Class {
    /// Its name among the tests, without the profile.
    pub name: &'static str,
    /// What the probe could not do outside.
    pub control: fn(&Ground) -> Result<Vec<String>>,
    /// What is not as it should be, with a mutant or with all walls.
    pub findings: fn(&Ground, Option<&str>) -> Result<Vec<String>>,
    /// Weakenings that it must notice.
    pub mutants: &'static [&'static str],
}

/// Before the name of a mutant that weakens what only a sandbox with ids of its own has.
const OWN_IDS: &str = "own-ids/";

/// Proves one class under one profile.
///
/// # Panics
/// If the probe does not work outside, a wall does not hold, or a mutant goes unnoticed.
pub fn prove(class: &Class, profile: Profile) {
    let name = format!("{}::{}", class.name, profile.name());
    if let Err(error) = try_to_prove(class, profile, &name) {
        panic!("{name}: {error:#}");
    }
}

fn try_to_prove(class: &Class, profile: Profile, name: &str) -> Result<()> {
    let Some(ground) = Ground::new(profile, name)? else { return Ok(()) };
    let failed = (class.control)(&ground)?;
    assert!(failed.is_empty(), "{name}: the probe proves nothing, for outside:\n  {}", shown(&failed));
    let found = (class.findings)(&ground, None)?;
    assert!(found.is_empty(), "{name}: behind all walls:\n  {}", shown(&found));
    for mutant in mutants(class) {
        let mutant = match mutant.strip_prefix(OWN_IDS) {
            Some(_) if !profile.own_block() => continue,
            Some(mutant) => mutant,
            None => mutant,
        };
        let found = (class.findings)(&ground, Some(mutant))?;
        assert!(!found.is_empty(), "{name}: the mutant `{mutant}` goes unnoticed");
        println!("{name}: the mutant `{mutant}` shows as: {}", found[0]);
    }
    Ok(())
}

/// All mutants; under an emulated kernel, where everything is twenty times slower, one of each class unless there is
/// time. That a check notices a weakening is a property of the check, and shown in full on the machine itself.
fn mutants(class: &Class) -> &'static [&'static str] {
    let hurried = guest().is_some() && std::env::var_os("CASEMATE_LONG").is_none();
    if hurried { &class.mutants[..1] } else { class.mutants }
}

/// So many lines that a person still reads them.
fn shown(lines: &[String]) -> String {
    const MOST: usize = 40;
    let mut text = lines[..lines.len().min(MOST)].join("\n  ");
    if lines.len() > MOST {
        text += &format!("\n  and {} more", lines.len() - MOST);
    }
    text
}

/// Makes the three tests of a class: `NAME::root`, `NAME::user`, `NAME::user_after_setup`.
#[macro_export]
macro_rules! proofs {
    ($module:ident :: $name:ident, mutants: $mutants:expr) => {
        mod $name {
            const CLASS: $crate::Class = $crate::Class {
                name: concat!(stringify!($module), "::", stringify!($name)),
                control: super::control,
                findings: super::findings,
                mutants: $mutants,
            };

            #[test]
            fn root() {
                $crate::prove(&CLASS, $crate::Profile::Root);
            }

            #[test]
            fn user() {
                $crate::prove(&CLASS, $crate::Profile::User);
            }

            #[test]
            fn user_after_setup() {
                $crate::prove(&CLASS, $crate::Profile::UserAfterSetup);
            }
        }
    };
}
