//! Questions that a policy has to answer.

use crate::model;
use crate::query::{Failed, Prover, World, about, concerning, texts};
use policy::engine::{Action, Effect, Engine};
use policy::{Access, Act, Document};

/// A question by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Which hosts, methods and paths can it reach?
    Reach,
    /// Can it reach a private or metadata address, or a name of the machine's own network?
    Private,
    /// Can a secret travel to a host that another rule, without that secret, is about?
    Secrets,
    /// Can it write what somebody with more rights later executes or parses?
    Trusted,
    /// Are there rules that can never match, or that fail on every act?
    Dead,
}

/// The questions by the names that a command line has for them, and what each asks.
pub const QUESTIONS: &[(&str, Question, &str)] = &[
    ("reach", Question::Reach, "which hosts, methods and paths can it reach?"),
    ("private", Question::Private, "can it reach a private or metadata address?"),
    ("secrets", Question::Secrets, "can a request fall under rules with different secrets?"),
    (
        "trusted",
        Question::Trusted,
        "can it write what somebody with more rights later runs or reads as settings?",
    ),
    ("dead", Question::Dead, "are there rules that can never allow or forbid anything?"),
];

/// What was found about one part of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It is so for every act.
    Proved(String),
    /// It can happen, and this is an act that does it.
    Example(String, Act),
    /// It is so, and no act says it.
    Told(String),
    /// Neither.
    Unknown(String),
}

/// The answer to a question.
#[derive(Debug, Default)]
pub struct Proof {
    /// What was found.
    pub findings: Vec<Finding>,
}

/// Files by which whoever works on a tree later runs something: hooks, and settings of editors and builders.
const TRUSTED: &[&str] = &[
    ".git/hooks",
    ".git/config",
    ".github/workflows",
    ".gitlab-ci.yml",
    ".vscode",
    ".idea",
    ".envrc",
    ".mcp.json",
    ".claude",
];

/// Answers a question about a document.
pub fn prove(document: &Document, question: Question, prover: &mut Prover) -> Proof {
    let engine = Engine::new(document);
    let mut proof = Proof::default();
    let done = match question {
        Question::Reach => reach(&engine, prover, &mut proof),
        Question::Private => private(&engine, prover, &mut proof),
        Question::Secrets => secrets(document, &engine, prover, &mut proof),
        Question::Trusted => trusted(document, &engine, prover, &mut proof),
        Question::Dead => dead(&engine, prover, &mut proof),
    };
    if let Err(failed) = done {
        proof.findings.push(Finding::Unknown(failed.to_string()));
    }
    proof
}

impl Proof {
    /// An act of a model that the engine allows, or that nothing is known.
    pub(crate) fn shown(
        &mut self,
        said: String,
        engine: &Engine,
        env: &cedar_policy_symcc::Env,
        world: &World,
        more: impl Fn(&Act) -> bool,
    ) {
        let shows = |act: &Act| engine.decide(act).verdict == "allow" && more(act);
        self.findings.push(match model::act(env, world.action, &world.ids, shows) {
            Some(act) => Finding::Example(said, act),
            None => {
                Finding::Unknown(format!("{said}: the solver says so, and no act was found that shows it"))
            }
        });
    }
}

pub(crate) fn forbids(engine: &Engine, action: Action) -> impl Iterator<Item = &str> {
    concerning(engine, action)
        .filter(move |rule| rule.effect == Effect::Forbid)
        .map(|rule| rule.text.as_str())
}

fn reach(engine: &Engine, prover: &mut Prover, proof: &mut Proof) -> Result<(), Failed> {
    let world = World::new(Action::Request, &about(engine, Action::Request), 0)?;
    let permits =
        engine.rules().iter().filter(|rule| rule.concerns(Action::Request) && rule.effect == Effect::Permit);
    let mut any = false;
    for rule in permits {
        let policies = std::iter::once(rule.text.as_str()).chain(forbids(engine, Action::Request));
        match prover.allowed(&world, policies)? {
            Some(env) => {
                any = true;
                proof.shown(format!("by `{}` it can reach", rule.name), engine, &env, &world, |_| true);
            }
            None => proof.findings.push(Finding::Proved(format!("by `{}` it can reach nothing", rule.name))),
        }
    }
    if !any {
        proof.findings.push(Finding::Proved("it can reach nothing outside itself".to_owned()));
    }
    Ok(())
}

fn private(engine: &Engine, prover: &mut Prover, proof: &mut Proof) -> Result<(), Failed> {
    const SAID: &str =
        "it can reach no name of the machine's own network, no metadata service, no name of one label";
    let world = World::new(Action::Request, &about(engine, Action::Request), 0)?;
    // What is asked about, as a policy that forbids all else.
    let endings = ["arpa", "internal", "local", "localhost", "localdomain"];
    let own: Vec<String> = endings.iter().map(|last| format!("context.host.w0 == \"{last}\"")).collect();
    let words = engine.words("host");
    if words == 0 {
        proof.findings.push(Finding::Proved(SAID.to_owned()));
        return Ok(());
    }
    let only = format!(
        "forbid (principal, action == Action::\"request\", resource) unless {{ context.host.count == 1 || {} }};",
        own.join(" || ")
    );
    let policies = texts(engine, Action::Request).chain([only.as_str()]);
    match prover.allowed(&world, policies)? {
        Some(env) => proof.shown("it can reach".to_owned(), engine, &env, &world, |_| true),
        None => {
            proof.findings.push(Finding::Proved(SAID.to_owned()));
            proof.findings.push(Finding::Told(
                "an address instead of a name is denied by every policy; where a name leads is the gateway's to check"
                    .to_owned(),
            ));
        }
    }
    Ok(())
}

fn secrets(
    document: &Document,
    engine: &Engine,
    prover: &mut Prover,
    proof: &mut Proof,
) -> Result<(), Failed> {
    let world = World::new(Action::Request, &about(engine, Action::Request), 0)?;
    let rules: Vec<(&policy::NetRule, &policy::engine::Rule)> = document
        .net
        .iter()
        .zip(
            engine
                .rules()
                .iter()
                .filter(|rule| rule.concerns(Action::Request) && rule.effect == Effect::Permit),
        )
        .collect();
    for secret in &document.secrets {
        let (with, without): (Vec<_>, Vec<_>) =
            rules.iter().partition(|(net, _)| net.secret.as_deref() == Some(secret.name.as_str()));
        let mut travels = false;
        for (_, bound) in &with {
            for (_, other) in &without {
                // Both rules allow it: whoever reads the first one sends the secret, whoever reads the other does not.
                let never_other = other.text.replacen("permit", "forbid", 1);
                let wide = std::iter::once(bound.text.as_str()).chain(forbids(engine, Action::Request));
                let narrow = [bound.text.as_str(), never_other.as_str()];
                if let Some(env) = prover.beyond(&world, wide, narrow.into_iter())? {
                    travels = true;
                    let said = format!(
                        "`{}` goes out by `{}`, where `{}` is about the same",
                        secret.name, bound.name, other.name
                    );
                    proof.shown(said, engine, &env, &world, |_| true);
                }
            }
        }
        if !travels {
            let hosts: Vec<&str> = with.iter().map(|(_, rule)| rule.name.as_str()).collect();
            let said = format!("`{}` goes out by {} alone", secret.name, hosts.join(", "));
            proof.findings.push(Finding::Proved(said));
        }
    }
    if document.secrets.is_empty() {
        proof.findings.push(Finding::Proved("it has no secrets".to_owned()));
    }
    Ok(())
}

fn trusted(
    document: &Document,
    engine: &Engine,
    prover: &mut Prover,
    proof: &mut Proof,
) -> Result<(), Failed> {
    let mut zones =
        document.files.iter().filter(|zone| !matches!(zone.access(), Access::Read { .. } | Access::Scratch));
    let mut any = false;
    for zone in zones.by_ref() {
        any = true;
        let names: Vec<&str> = zone.at().split('/').filter(|name| !name.is_empty()).collect();
        let world = World::new(Action::Write, &about(engine, Action::Write), names.len() + 3)?;
        for trusted in TRUSTED {
            let words: Vec<&str> = names.iter().copied().chain(trusted.split('/')).collect();
            let mut same = format!("context.path.count >= {}", words.len());
            for (place, word) in words.iter().enumerate() {
                same += &format!(" && context.path.w{place} == {}", crate::possible::quoted(word));
            }
            let only =
                format!("forbid (principal, action == Action::\"write\", resource) unless {{ {same} }};");
            let policies = texts(engine, Action::Write).chain([only.as_str()]);
            let path = format!("{}/{trusted}", zone.at());
            let beneath = |act: &Act| matches!(act, Act::Write { path: written, .. } if written.starts_with(path.as_bytes()));
            match prover.allowed(&world, policies)? {
                Some(env) => {
                    let said = format!("what is written to `{path}` goes out with the zone `{}`", zone.at());
                    proof.shown(said, engine, &env, &world, beneath);
                }
                None => proof.findings.push(Finding::Proved(format!("nothing is written to `{path}`"))),
            }
        }
    }
    if !any {
        proof.findings.push(Finding::Proved("nothing that it writes goes out".to_owned()));
    }
    Ok(())
}

fn dead(engine: &Engine, prover: &mut Prover, proof: &mut Proof) -> Result<(), Failed> {
    let mut any = false;
    let own = |name: &str| ["files[", "net[", "tools ", "ask["].iter().any(|noun| name.starts_with(noun));
    let built_in = ["system", "proc", "root", "never-open", "home", "tmp", "devices", "root-directory"];
    for rule in engine.rules() {
        let is_block =
            rule.effect == Effect::Forbid && !own(&rule.name) && !built_in.contains(&rule.name.as_str());
        let is_noun = rule.effect == Effect::Permit && own(&rule.name);
        if !is_block && !(is_noun) || rule.name.starts_with("compute.") {
            continue;
        }
        let mut lives = false;
        for action in Action::ALL.into_iter().filter(|action| rule.concerns(*action)) {
            let world = World::new(action, &about(engine, action), 0)?;
            let found = if is_noun {
                let policies = std::iter::once(rule.text.as_str()).chain(forbids(engine, action));
                prover.allowed(&world, policies)?
            } else {
                // Something that the others allow and this one forbids.
                let others = concerning(engine, action).filter(|other| *other != rule);
                let wide: Vec<&str> = others.map(|other| other.text.as_str()).collect();
                prover.beyond(&world, wide.into_iter(), texts(engine, action))?
            };
            lives |= found.is_some();
        }
        if !lives {
            any = true;
            let what = if is_noun { "allows" } else { "forbids" };
            proof.findings.push(Finding::Told(format!(
                "`{}` {what} nothing: remove it, or look at the rules around it",
                rule.name
            )));
        }
    }
    if !any {
        proof.findings.push(Finding::Proved("every rule of the document makes a difference".to_owned()));
    }
    Ok(())
}
