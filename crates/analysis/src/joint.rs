//! What two agents reach together that share a directory of the host: what one leaves there, the other finds, and takes
//! wherever it may go. The shape is that of CVE-2026-39861: neither policy is wide, both together are.

use crate::prove::{Finding, Proof, forbids};
use crate::query::{Failed, Prover, World, about, concerning, texts};
use policy::engine::{Action, Effect, Engine};
use policy::{Access, Document, FileRule};

/// What two documents share, and what one reaches by way of the other. Host paths are compared as they are written:
/// [`Document::rooted`] makes those of different directories comparable.
pub fn joint(one: &Document, other: &Document, prover: &mut Prover) -> Proof {
    let mut proof = Proof::default();
    for (from, by) in [(one, other), (other, one)] {
        let shared = shared(from, by);
        for (left, found) in &shared {
            proof.findings.push(Finding::Told(format!(
                "what `{}` leaves at `{}`, `{}` finds at `{}`",
                from.name,
                left.at(),
                by.name,
                found.at()
            )));
        }
        if !shared.is_empty() {
            handed_on(from, by, &mut proof);
            if let Err(failed) = reached(from, by, prover, &mut proof) {
                proof.findings.push(Finding::Unknown(failed.to_string()));
            }
        }
    }
    if proof.findings.is_empty() {
        proof.findings.push(Finding::Proved(
            "neither finds what the other leaves: no directory that one writes is shown to the other"
                .to_owned(),
        ));
    }
    proof
}

fn shared<'d>(from: &'d Document, by: &'d Document) -> Vec<(&'d FileRule, &'d FileRule)> {
    let pairs = from.files.iter().flat_map(|left| by.files.iter().map(move |found| (left, found)));
    pairs.filter(|(left, found)| left.is_found_in(found)).collect()
}

/// Directories of the host that only the second one writes: what the first one left may go on to them.
fn handed_on(from: &Document, by: &Document, proof: &mut Proof) {
    for zone in &by.files {
        let (Access::Write { to: directory } | Access::Draft { from: directory, .. }) = zone.access() else {
            continue;
        };
        if !from.files.iter().any(|own| own.writes_around(zone)) {
            proof.findings.push(Finding::Told(format!(
                "by `{}`, `{}` reaches the directory `{directory}`",
                by.name, from.name
            )));
        }
    }
}

/// Requests that only the second one may make.
fn reached(from: &Document, by: &Document, prover: &mut Prover, proof: &mut Proof) -> Result<(), Failed> {
    let (from_engine, by_engine) = (Engine::new(from), Engine::new(by));
    let rules = [about(&from_engine, Action::Request), about(&by_engine, Action::Request)].concat();
    let world = World::new(Action::Request, &rules, 0)?;
    let mut any = false;
    for rule in concerning(&by_engine, Action::Request).filter(|rule| rule.effect == Effect::Permit) {
        let wide = std::iter::once(rule.text.as_str()).chain(forbids(&by_engine, Action::Request));
        let Some(env) = prover.beyond(&world, wide, texts(&from_engine, Action::Request))? else { continue };
        any = true;
        let said = format!("by `{}` of `{}`, `{}` can reach", rule.name, by.name, from.name);
        proof.shown(said, &by_engine, &env, &world, |act| !from_engine.allows(act).0);
    }
    if !any {
        let said = format!("by `{}`, `{}` reaches no host that it does not reach itself", by.name, from.name);
        proof.findings.push(Finding::Proved(said));
    }
    Ok(())
}
