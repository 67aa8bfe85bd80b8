//! From what a document says to Cedar policies.

use super::block;
use super::builtin;
use super::rule::{Action, Effect, Making, Rule};
use crate::plain::EXEC_RULE;
use crate::{Access, Ask, AskWhen, FileRule, Forbid, Limit, NetRule, Pattern, Rest, Tool};
use model::Limits;

/// What the engine reads of a document or of a policy.
#[derive(Clone, Copy)]
pub(crate) struct Nouns<'d> {
    pub(crate) root: bool,
    pub(crate) limits: &'d Limits,
    pub(crate) files: &'d [FileRule],
    pub(crate) net: &'d [NetRule],
    pub(crate) tools: Option<&'d [Tool]>,
    pub(crate) ask: &'d [Ask],
    pub(crate) forbids: &'d [Forbid],
}

/// All rules in the order in which a decision names them: of several that match, the first.
pub(crate) fn rules(nouns: Nouns<'_>) -> Vec<Rule> {
    let mut out = Vec::new();
    builtin::forbids(nouns.root, &mut out);
    // Without a rule there is nothing to keep closed, and the slice of requests is a constant.
    if !nouns.net.is_empty() {
        builtin::never_open(&mut out);
    }
    out.extend(nouns.forbids.iter().map(block::rule));
    out.extend(nouns.files.iter().enumerate().filter_map(|(place, zone)| unwritable(place, zone)));
    for (place, ask) in nouns.ask.iter().enumerate() {
        out.extend(self::ask(place, ask, nouns.tools.unwrap_or_default()));
    }
    match nouns.tools {
        None => out.push(Making::new(Effect::Permit, &[Action::Exec]).named(EXEC_RULE)),
        Some(tools) => out.extend(tools.iter().map(tool)),
    }
    out.extend(nouns.files.iter().enumerate().map(|(place, zone)| file(place, zone)));
    out.extend(nouns.net.iter().enumerate().map(|(place, rule)| net(place, rule)));
    out.extend(limits(nouns.limits));
    builtin::permits(nouns.root, &mut out);
    out
}

/// A tool may be called by its program. A name alone is not enough: what it leads to is not the policy's to say.
fn tool(tool: &Tool) -> Rule {
    let rule = Making::new(Effect::Permit, &[Action::Exec]).on(&tool.program);
    let rule = match &tool.args {
        Some(args) => rule.words("args", args),
        None => rule,
    };
    rule.named(tool.rule())
}

/// The rules of one zone.
pub(crate) fn zone(place: usize, zone: &FileRule) -> impl Iterator<Item = Rule> {
    unwritable(place, zone).into_iter().chain([file(place, zone)])
}

fn file(place: usize, zone: &FileRule) -> Rule {
    let acts: &[Action] = match zone.access() {
        Access::Read { .. } => &[Action::Read],
        _ => &[Action::Read, Action::Write],
    };
    // A place is no pattern: its characters stand for themselves.
    Making::new(Effect::Permit, acts).paths(&[builtin::place(zone.at())]).named(zone.rule(place))
}

fn net(place: usize, rule: &NetRule) -> Rule {
    let host = &rule.host;
    let literal: Option<Vec<&str>> = match host.rest {
        Rest::None => host.words.iter().rev().map(|word| word.literal()).collect(),
        _ => None,
    };
    let name = rule.rule(place);
    let making = Making::new(Effect::Permit, &[Action::Request]);
    let making = match literal {
        Some(labels) => making.on(&labels.join(".")).words("host", std::slice::from_ref(host)),
        None => making.words("host", std::slice::from_ref(host)),
    };
    let ports: Vec<String> = rule.ports.iter().map(u16::to_string).collect();
    let mut making = making.when(format!("[{}].contains(context.port)", ports.join(", ")));
    if let Some(methods) = &rule.methods {
        let methods: Vec<String> = methods.iter().map(|method| super::rule::quoted(method)).collect();
        making = making.when(format!("[{}].contains(context.method)", methods.join(", ")));
    }
    match &rule.paths {
        Some(paths) => making.words("path", paths).named(name),
        None => making.named(name),
    }
}

/// What a person is asked about is forbidden until one has said yes.
fn ask(place: usize, ask: &Ask, tools: &[Tool]) -> Vec<Rule> {
    let forbid = |action| Making::new(Effect::Forbid, &[action]).when("!context.approved");
    match &ask.when {
        AskWhen::Net { host } => {
            vec![forbid(Action::Request).words("host", std::slice::from_ref(host)).named(ask.rule(place))]
        }
        AskWhen::Tool { name: asked, args } => {
            let begin = Pattern { rest: Rest::Any, ..args.clone() };
            let programs = tools.iter().filter(|tool| tool.name == *asked).map(|tool| tool.program.as_str());
            let about = |program: &str| {
                forbid(Action::Exec)
                    .on(program)
                    .words("args", std::slice::from_ref(&begin))
                    .named(ask.rule(place))
            };
            programs.map(about).collect()
        }
    }
}

/// A zone that is only read stays as it is, also where root inside may write everywhere else.
fn unwritable(place: usize, zone: &FileRule) -> Option<Rule> {
    let forbid = Making::new(Effect::Forbid, &[Action::Write]).paths(&[builtin::place(zone.at())]);
    matches!(zone.access(), Access::Read { .. }).then(|| forbid.named(zone.rule(place)))
}

/// What is limited: any amount may be used but for more than there is.
fn limits(limits: &Limits) -> impl Iterator<Item = Rule> {
    Limit::ALL.iter().flat_map(|limit| {
        let name = format!("compute.{}", limit.name());
        let about = |effect| Making::new(effect, &[Action::Use]).on(limit.name());
        let above = |most: u64| {
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            about(Effect::Forbid).when(format!("context.amount > {most}")).named(name.clone())
        };
        [limit.of(limits).map(above), Some(about(Effect::Permit).named(name.clone()))].into_iter().flatten()
    })
}
