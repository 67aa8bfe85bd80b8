//! What it costs to have a policy, beside what it cannot cost less than: `cargo xtask bench policy` runs it.
//!
//! `cost FILE…`: each file is a document, and beside it in `FILE.acts` are acts, one a line, that are decided in turn. What a
//! document extends is looked for beside it. One line of JSON for each, times in microseconds.

use cedar_policy::{Authorizer, Context, Entities, PolicySet, Request};
use policy::engine::{Engine, Rule};
use policy::{Act, Document, ExecRequest, Library, Policy};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

type Failed = Box<dyn std::error::Error>;

/// Loads and compiles so often; decides so often.
const LOADS: usize = 41;
const DECISIONS: usize = 20_000;

/// The documents beside the first.
struct Beside(PathBuf);

impl Library for Beside {
    fn text(&self, path: &str) -> Result<Vec<u8>, String> {
        std::fs::read(self.0.join(path)).map_err(|error| error.to_string())
    }
}

fn main() -> Result<(), Failed> {
    for file in std::env::args().skip(1) {
        println!("{}", measured(Path::new(&file))?);
    }
    Ok(())
}

fn measured(file: &Path) -> Result<Value, Failed> {
    let text = std::fs::read(file)?;
    let acts = std::fs::read_to_string(file.with_extension("toml.acts"))?;
    let acts: Vec<Act> = acts.lines().map(Act::parse).collect::<Result<_, _>>()?;
    let origin = file.display().to_string();
    let beside = Beside(file.parent().unwrap_or(Path::new("/")).to_owned());
    let parsed = || Document::parse(&text, &origin, &beside).map_err(|rejected| rejected.plain());

    // Before anything else, as the first document of a process finds it: compiled until the first act of each kind is decided.
    let mut out = Map::new();
    let begun = Instant::now();
    let document = parsed()?;
    out.insert("first load".to_owned(), us(begun).into());
    let begun = Instant::now();
    let engine = Engine::new(&document);
    acts.iter().for_each(|act| drop(black_box(engine.decide(act))));
    out.insert("first compile".to_owned(), us(begun).into());

    let mut put = |name: &str, times: Times| out.insert(name.to_owned(), times.json());
    put("load", Times::of(LOADS, || drop(black_box(parsed()))));
    put(
        "compile",
        Times::of(LOADS, || {
            let engine = Engine::new(black_box(&document));
            acts.iter().for_each(|act| drop(black_box(engine.decide(act))));
        }),
    );
    put("decision", Times::in_turn(&acts, |act| drop(black_box(engine.decide(black_box(act))))));
    put(
        "plain reading",
        Times::in_turn(&acts, |act| drop(black_box(document.allows_plainly(black_box(act))))),
    );

    // The floors: the same text read as TOML, the same rules read by Cedar alone, and one policy asked without a condition.
    let source = String::from_utf8(text.clone())?;
    put("floor: text as TOML", Times::of(LOADS, || drop(black_box(source.parse::<toml::Table>()))));
    let rules: String = engine.rules().iter().map(|Rule { text, .. }| text.as_str()).collect();
    put("floor: rules as Cedar", Times::of(LOADS, || drop(black_box(rules.parse::<PolicySet>()))));
    let ask = asked_without_condition()?;
    put("floor: one policy asked", Times::of(DECISIONS, ask));

    let allowed = acts.iter().filter(|act| engine.allows(act).0).count();
    let mut about = json!({
        "document": document.name, "bytes": text.len(), "rules": rules_of(&document), "forbids": document.forbids.len(),
        "acts": acts.len(), "allowed": allowed,
    });
    if let Ok(policy) = document.clone().enforce() {
        let cache = policy.to_cache();
        about["cache_bytes"] = cache.len().into();
        let command = command();
        let decide = |policy: &Policy| drop(black_box(policy.exec(&command)));
        let cached = || Policy::from_cache(black_box(&cache), policy.hash());
        put("from the cache", Times::of(LOADS, || drop(black_box(cached()))));
        put("from the cache, and a command decided", Times::of(LOADS, || cached().iter().for_each(decide)));
        put(
            "floor: hash of the cache",
            Times::of(LOADS, || _ = black_box(Sha256::digest(black_box(&cache)))),
        );
        put("command decided", Times::of(DECISIONS, || decide(&policy)));
    }
    about["us"] = out.into();
    Ok(about)
}

/// What stands in a document: rules, by whatever noun.
fn rules_of(document: &Document) -> usize {
    let Document { files, net, tools, forbids, ask, .. } = document;
    files.len() + net.len() + tools.as_ref().map_or(0, Vec::len) + forbids.len() + ask.len()
}

fn command() -> ExecRequest {
    let argv = ["/usr/bin/git", "status", "-s"].map(|word| word.as_bytes().to_vec()).to_vec();
    let env = vec![(b"PATH".to_vec(), b"/usr/bin:/bin".to_vec())];
    ExecRequest { argv, cwd: b"/home/user".to_vec(), env, user: policy::User::User, terminal: None }
}

/// The least that Cedar takes for any answer.
fn asked_without_condition() -> Result<impl Fn(), Failed> {
    let set: PolicySet = "permit (principal, action, resource);".parse()?;
    let (authorizer, entities) = (Authorizer::new(), Entities::empty());
    let names = ["User::\"user\"", "Action::\"read\"", "File::\"/\""].map(str::parse);
    let [user, action, file] = names;
    let request = Request::new(user?, action?, file?, Context::empty(), None)?;
    Ok(move || drop(black_box(authorizer.is_authorized(black_box(&request), &set, &entities))))
}

fn us(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e6
}

struct Times(Vec<f64>);

impl Times {
    fn of(count: usize, mut work: impl FnMut()) -> Times {
        let one = |_| {
            let begun = Instant::now();
            work();
            us(begun)
        };
        Times((0..count).map(one).collect())
    }

    fn in_turn(acts: &[Act], mut work: impl FnMut(&Act)) -> Times {
        let mut turn = acts.iter().cycle();
        Times::of(DECISIONS, || {
            if let Some(act) = turn.next() {
                work(act);
            }
        })
    }

    fn json(mut self) -> Value {
        self.0.sort_by(f64::total_cmp);
        let at = |share: f64| self.0[((self.0.len() - 1) as f64 * share) as usize];
        json!({"p50": at(0.5), "p99": at(0.99), "min": at(0.0)})
    }
}
