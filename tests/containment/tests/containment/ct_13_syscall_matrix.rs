//! CT-13: every system call number, in three ABIs, gets what the table says.

use anyhow::Result;
use containment::ground::guest;
use containment::{Facts, Ground, differences, errno, sys};
use jail::seccomp::{Action, Test, X86_64};

containment::proofs!(ct_13::syscall_matrix, mutants: &[
    "without:seccomp",
    "allow:ptrace",
    "allow:unshare",
    "allow:clone",
    "allow:clone3",
    "allow-an-unlisted-call",
]);

/// Numbers past the last one of the table.
const BEYOND: u32 = 64;

/// Calls that are in the table as allowed and are not made for real, with the reason. What the filter says to them is
/// looked at all the same.
const NOT_MADE: &[(&str, &str)] = &[
    ("exit", "it ends the process with status 255"),
    ("exit_group", "it ends the process with status 255"),
    ("pause", "it does not return"),
    ("rt_sigreturn", "it ends the process: there is no signal frame"),
    ("fork", "it returns twice"),
    ("vfork", "it returns twice, into one stack"),
    ("kill", "its target would be every process"),
];

fn most() -> u32 {
    X86_64.iter().map(|rule| rule.number).max().unwrap_or(0) + BEYOND
}

fn control(ground: &Ground) -> Result<Vec<String>> {
    let most = most();
    let mut failed =
        differences(&expected_of_no_filter(most), &ground.probe_outside(&["matrix", &most.to_string()])?);
    let lives = |(abi, found): (&str, &Facts)| {
        (0..=most)
            .filter(|number| found.get(&format!("{abi} {number}")).is_none_or(|end| end != "lives"))
            .map(|number| format!("{abi} {number} ends the process"))
            .collect::<Vec<_>>()
    };
    let foreign = ground.probe_outside(&["foreign", &most.to_string()])?;
    failed.extend(lives(("x32", &foreign)));
    failed.extend(lives(("i386", &foreign)));
    // The kernel has most of the calls that are refused as if it had not.
    let real = ground.probe_outside(&made(Refusal::Missing))?;
    let missing = real.values().filter(|outcome| *outcome == "ENOSYS").count();
    for call in ["clone3", "ustat"] {
        let number = number(call);
        if real.get(&number).is_none_or(|outcome| outcome == "ENOSYS") {
            failed.push(format!("{call} is missing from this kernel ({missing} are)"));
        }
    }
    Ok(failed)
}

fn findings(ground: &Ground, mutant: Option<&str>) -> Result<Vec<String>> {
    let inside = ground.inside(mutant);
    let most = most();
    let mut found = differences(&expected(most), &inside.facts(&["matrix", &most.to_string()])?);
    // What follows takes a process for each call: a mutant that shows already needs none of it.
    if mutant.is_some() && !found.is_empty() {
        return Ok(found);
    }
    // A weakened rule changes nothing for other ABIs.
    if mutant.is_none() {
        found
            .extend(differences(&expected_of_foreign(most), &inside.facts(&["foreign", &most.to_string()])?));
    }

    // The look above cannot tell a call that is refused with ENOSYS from one that is let through.
    for (number, outcome) in inside.facts(&made(Refusal::Missing))? {
        let uprobe = sys::UPROBES.iter().any(|uprobe| uprobe.to_string() == number);
        if outcome != "ENOSYS" && !(uprobe && ["signal 4", "ENXIO"].contains(&outcome.as_str())) {
            found.push(format!("{number} must not exist and gives {outcome}"));
        }
    }
    let missing: Vec<String> = inside
        .facts(&made(Refusal::None))?
        .into_iter()
        .filter(|(_, o)| o == "ENOSYS")
        .map(|(n, _)| n)
        .collect();
    if !missing.is_empty() {
        let mut words = vec!["real"];
        words.extend(missing.iter().map(String::as_str));
        for (number, outcome) in ground.probe_outside(&words)? {
            if outcome != "ENOSYS" {
                found.push(format!("{number} is allowed and gives ENOSYS; outside it gives {outcome}"));
            }
        }
    }
    Ok(found)
}

/// What the filter says, where the probe's own answers ENOSYS to what gets past it.
fn expected(most: u32) -> Facts {
    let mut facts = expected_of_no_filter(most);
    for rule in X86_64.iter().filter(|rule| sys::can_be_stopped(rule.number.into())) {
        for (arguments, value) in [("0", 0), ("-1", u32::MAX)] {
            let refused = match rule.action {
                Action::Allow => false,
                Action::Deny(_) | Action::Refuse(_) => true,
                Action::AllowIf(checks, _) => !checks.iter().all(|check| match check.test {
                    Test::In(values) => values.contains(&(value & check.mask)),
                    Test::NotIn(values) => !values.contains(&(value & check.mask)),
                }),
            };
            if refused {
                facts.insert(format!("{}({arguments})", rule.number), errno::name(rule.errno()));
            }
        }
    }
    facts
}

fn expected_of_foreign(most: u32) -> Facts {
    let mut facts = Facts::new();
    for number in 0..=most {
        facts.insert(format!("x32 {number}"), "signal 31".to_owned());
        // User-mode Linux takes the i386 entry for the native one, so there is no foreign ABI to refuse.
        let end = if guest().as_deref() == Some("uml") { "lives" } else { "signal 31" };
        facts.insert(format!("i386 {number}"), end.to_owned());
    }
    facts
}

fn expected_of_no_filter(most: u32) -> Facts {
    let mut facts = Facts::from([("end".to_owned(), "Exited(0)".to_owned())]);
    for number in (0..=most).filter(|number| sys::can_be_stopped((*number).into())) {
        for arguments in ["0", "-1"] {
            facts.insert(format!("{number}({arguments})"), "ENOSYS".to_owned());
        }
    }
    facts
}

#[derive(PartialEq, Eq)]
enum Refusal {
    /// The call runs.
    None,
    /// It fails as if the kernel did not have it.
    Missing,
}

/// Words that have the probe make all calls of one kind.
fn made(refusal: Refusal) -> Vec<&'static str> {
    let mut words = vec!["real"];
    for number in 0..=most() {
        let rule = X86_64.iter().find(|rule| rule.number == number);
        let kind = match rule.map(|rule| rule.action) {
            None | Some(Action::Refuse(libc::ENOSYS)) => Refusal::Missing,
            Some(Action::Allow) => Refusal::None,
            Some(_) => continue,
        };
        let not_made = rule.is_some_and(|rule| NOT_MADE.iter().any(|(name, _)| *name == rule.name));
        if kind == refusal && !not_made {
            words.push(number.to_string().leak());
        }
    }
    words
}

fn number(name: &str) -> String {
    let known = [("ustat", libc::SYS_ustat)].into_iter().find(|(known, _)| *known == name).map(|(_, n)| n);
    let listed = X86_64.iter().find(|rule| rule.name == name).map(|rule| i64::from(rule.number));
    known.or(listed).unwrap_or(-1).to_string()
}
