//! One question to the solver: policies of one action, and what no act is.

use crate::possible::{impossible, named};
use crate::solver::{Found, Process, at_once};
use cedar_policy::{Policy, PolicyId, PolicySet, RequestEnv, Schema};
use cedar_policy_symcc::{CedarSymCompiler, CompiledPolicySet, Env};
use policy::engine::{Action, Engine, Rule, schema_of};
use std::collections::BTreeSet;

/// Why something could not be proved, nor refuted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failed(pub(crate) String);

impl Failed {
    pub(crate) fn new(what: &str, error: impl std::fmt::Display) -> Failed {
        Failed(format!("{what}: {error}"))
    }
}

/// A solver that is asked.
#[derive(Debug)]
pub struct Prover {
    compiler: CedarSymCompiler<Process>,
}

/// The world of one action: its schema, and what no act of it is.
pub(crate) struct World {
    pub(crate) action: Action,
    schema: Schema,
    env: RequestEnv,
    never: Vec<String>,
    pub(crate) ids: BTreeSet<String>,
}

impl World {
    /// The world of rules, and of more policies that look at so many words of a path.
    pub(crate) fn new(action: Action, rules: &[&Rule], paths: usize) -> Result<World, Failed> {
        let words = |list: &str| {
            let most = rules.iter().map(|rule| rule.words(list)).max().unwrap_or(0);
            if list == "path" { most.max(paths) } else { most }
        };
        let schema = Schema::from_cedarschema_str(&schema_of(words));
        let schema = schema.map_err(|error| Failed::new("the schema", error))?.0;
        let uid = format!("Action::\"{}\"", action.name());
        let part = |what: &str| what.parse().map_err(|error| Failed::new("a name", error));
        let action_uid = uid.parse().map_err(|error| Failed::new("an action", error))?;
        let env = RequestEnv::new(part("User")?, action_uid, part(action.resource())?);
        let ids = named(rules, action);
        Ok(World { action, schema, env, never: impossible(action, words, &ids), ids })
    }

    fn compile<'t>(&self, texts: impl Iterator<Item = &'t str>) -> Result<CompiledPolicySet, Failed> {
        let mut set = PolicySet::new();
        for (place, text) in texts.enumerate() {
            let policy = Policy::parse(Some(PolicyId::new(place.to_string())), text);
            let policy = policy.map_err(|error| Failed::new("a policy", error))?;
            set.add(policy).map_err(|error| Failed::new("a policy", error))?;
        }
        CompiledPolicySet::compile(&set, &self.env, &self.schema)
            .map_err(|error| Failed::new("to compile", error))
    }
}

impl Prover {
    /// Starts a solver.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(found: &Found) -> Result<Prover, Failed> {
        let process =
            Process::start(found).map_err(|error| Failed::new("the solver does not start", error))?;
        let compiler = CedarSymCompiler::new(process).map_err(|error| Failed::new("the solver", error))?;
        Ok(Prover { compiler })
    }

    /// An act that `wide` allows and `narrow` does not; none if there is none.
    pub(crate) fn beyond<'t>(
        &mut self,
        world: &'t World,
        wide: impl Iterator<Item = &'t str>,
        narrow: impl Iterator<Item = &'t str>,
    ) -> Result<Option<Env>, Failed> {
        let wide: Vec<&str> = wide.chain(world.never.iter().map(String::as_str)).collect();
        let (wide, narrow) = (world.compile(wide.into_iter())?, world.compile(narrow)?);
        let asked = self.compiler.check_implies_with_counterexample_opt(&wide, &narrow);
        let waited = || Failed("the solver kept us waiting".to_owned());
        at_once(asked).ok_or_else(waited)?.map_err(|error| Failed::new("the solver", error))
    }

    /// An act that the policies allow; none if there is none.
    pub(crate) fn allowed<'t>(
        &mut self,
        world: &'t World,
        policies: impl Iterator<Item = &'t str>,
    ) -> Result<Option<Env>, Failed> {
        self.beyond(world, policies, std::iter::empty())
    }
}

/// The rules that concern an action. An address in place of a name is no act of a proof, as no rule permits one; and what
/// forbids addresses takes long to compile.
pub(crate) fn concerning(engine: &Engine, action: Action) -> impl Iterator<Item = &Rule> {
    engine.rules().iter().filter(move |rule| rule.concerns(action) && !rule.is_about_addresses())
}

pub(crate) fn about(engine: &Engine, action: Action) -> Vec<&Rule> {
    concerning(engine, action).collect()
}

/// The texts of the rules that concern an action.
pub(crate) fn texts(engine: &Engine, action: Action) -> impl Iterator<Item = &str> {
    concerning(engine, action).map(|rule| rule.text.as_str())
}
