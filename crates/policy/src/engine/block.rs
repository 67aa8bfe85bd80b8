//! The `cedar` block of a document: policies of Cedar's own language that forbid.

use super::encode::Reads;
use super::filter::Filter;
use super::rule::{Action, Effect, Rule};
use super::schema::schema;
use crate::Forbid;
use crate::problem::{excerpt, is_plain};
use cedar_policy::{
    ActionConstraint, Effect as CedarEffect, Policy, PolicySet, Schema, ValidationMode, Validator,
};
use miette::Diagnostic;
use serde_json::Value;
use std::ops::Range;

/// So many bytes has a `cedar` block at most.
pub const BLOCK_BYTES_MAX: usize = 16 << 10;
/// So many policies has one at most.
pub const FORBIDS_MAX: usize = 64;
/// So many words and signs has one policy at most: each may be a level of its tree.
const TOKENS_MAX: usize = 400;
/// So deep are brackets and `if`s nested at most: whatever reads a policy works by recursion.
const DEPTH_MAX: usize = 24;
const RULE_CHARS_MAX: usize = 64;

/// What is wrong with a `cedar` block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockProblem {
    /// The bytes of the block that are meant.
    pub span: Range<usize>,
    /// What was found and what was expected.
    pub message: String,
    /// The mend.
    pub help: String,
}

/// The schema that a `cedar` block is checked against, in Cedar's syntax.
pub fn block_schema() -> String {
    schema(Reads::ALL)
}

/// Reads the `cedar` block of the document `name`: policies that forbid, each well-typed by [`block_schema`].
///
/// # Errors
/// Everything that is wrong with it, at least one thing.
pub fn forbids(block: &str, name: &str) -> Result<Vec<Forbid>, Vec<BlockProblem>> {
    let whole = |message: String, help: &str| {
        Err(vec![BlockProblem { span: 0..block.len(), message, help: help.to_owned() }])
    };
    if block.len() > BLOCK_BYTES_MAX {
        let message =
            format!("the `cedar` block has {} bytes, expected at most {BLOCK_BYTES_MAX}", block.len());
        return whole(message, "say it with the nouns of the language, or with fewer conditions");
    }
    if let Some(span) = too_deep(block) {
        let message = format!("a policy of more than {TOKENS_MAX} words and signs, or {DEPTH_MAX} levels");
        let help = "make several policies of it: each forbids by itself".to_owned();
        return Err(vec![BlockProblem { span, message, help }]);
    }
    let set: PolicySet = match block.parse() {
        Ok(set) => set,
        Err(errors) => {
            let errors: &cedar_policy::ParseErrors = &errors;
            return Err(errors.iter().map(|error| problem(error, &error.to_string(), block)).collect());
        }
    };
    if let Some(template) = set.templates().next() {
        let span = place(block, &template.to_cedar());
        let message = "a template: a policy with `?principal` or `?resource`".to_owned();
        return Err(vec![BlockProblem { span, message, help: "name who and what it is about".to_owned() }]);
    }
    let mut policies: Vec<&Policy> = set.policies().collect();
    // The parser calls them `policy0`, `policy1`, … in the order of the text.
    policies.sort_by_key(|policy| number(policy));
    if policies.is_empty() {
        return whole("a `cedar` block without policies".to_owned(), "write a `forbid`, or leave it out");
    }
    if policies.len() > FORBIDS_MAX {
        let message =
            format!("{} policies in the `cedar` block, expected at most {FORBIDS_MAX}", policies.len());
        return whole(message, "put conditions together with `||`");
    }
    let mut problems = Vec::new();
    let mut found = Vec::new();
    let mut from = 0;
    for (at, policy) in policies.iter().enumerate() {
        let text = policy.to_cedar().unwrap_or_default();
        // Two policies may have the same text: each is looked for behind the one before.
        let span = place(&block[from..], &text);
        let span = from + span.start..from + span.end;
        from = span.end.min(block.len());
        let mut refuse = |message: String, help: &str| {
            problems.push(BlockProblem { span: span.clone(), message, help: help.to_owned() });
        };
        if policy.effect() == CedarEffect::Permit {
            refuse(
                "a `permit`, which the `cedar` block cannot give".to_owned(),
                "write a `forbid` here; the nouns of the language permit: [[files]], [[net.allow]], [[tools]]",
            );
        }
        if let Err(message) = reads(policy) {
            refuse(message, "write `context.path.w0 == \"input\"`, one word at a time");
        }
        if let Some(what) = super::filter::unmatched(policy) {
            refuse(
                format!("{what}, which no act has: nothing would be forbidden by it"),
                "write a path in its shortest form, one name of it or one label of a host as a word, hosts in small letters, \
                 methods in capitals",
            );
        }
        let id = policy.annotation("id");
        if let Some(id) = id.filter(|id| !is_rule_name(id)) {
            refuse(
                format!("the `@id` {}, which is no name of a rule", excerpt(id)),
                "use 1 to 64 characters that show, none of them a space at an end",
            );
        }
        let rule = id.map_or_else(|| format!("{name} cedar[{}]", at + 1), str::to_owned);
        if found.iter().any(|other: &Forbid| other.rule == rule) {
            refuse(format!("two policies called {}", excerpt(&rule)), "give each an `@id` of its own");
        }
        found.push(Forbid { rule, text });
    }
    if problems.is_empty() {
        problems = ill_typed(&set, block);
    }
    if problems.is_empty() { Ok(found) } else { Err(problems) }
}

fn number(policy: &Policy) -> usize {
    policy.id().to_string().strip_prefix("policy").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX)
}

fn is_rule_name(id: &str) -> bool {
    (1..=RULE_CHARS_MAX).contains(&id.chars().count()) && id.trim() == id && id.chars().all(is_plain)
}

/// What the types of the schema say against it. A policy that can never apply is a mistake, too.
fn ill_typed(set: &PolicySet, block: &str) -> Vec<BlockProblem> {
    let schema = match Schema::from_cedarschema_str(&block_schema()) {
        Ok((schema, _)) => schema,
        Err(error) => {
            return vec![BlockProblem { span: 0..0, message: error.to_string(), help: String::new() }];
        }
    };
    let result = Validator::new(schema).validate(set, ValidationMode::Strict);
    let errors = result.validation_errors().map(|error| problem(error, &error.to_string(), block));
    // Letters that look like others are refused in the whole document already.
    let warnings = result.validation_warnings().map(|warning| problem(warning, &warning.to_string(), block));
    // The same words are looked at for every action that they could be about.
    let mut problems: Vec<BlockProblem> = errors.collect();
    if problems.is_empty() {
        problems = warnings.collect();
    }
    problems.sort_by(|a, b| (a.span.start, &a.message).cmp(&(b.span.start, &b.message)));
    problems.dedup_by_key(|problem| problem.span.clone());
    problems
}

fn problem(error: &dyn Diagnostic, message: &str, block: &str) -> BlockProblem {
    let label = error.labels().and_then(|mut labels| labels.next());
    let span = label.map_or(0..block.len(), |label| label.offset()..label.offset() + label.len());
    // Which policy it is, the place tells.
    let told = |text: &str| match text.strip_prefix("for policy ").and_then(|text| text.split_once(", ")) {
        Some((_, rest)) => model::quote(rest),
        None => model::quote(text),
    };
    let help = error.help().map(|help| told(&help.to_string()));
    BlockProblem {
        span: span.start.min(block.len())..span.end.min(block.len()),
        message: told(message),
        help: help
            .unwrap_or_else(|| "docs/reference/cedar.md has the names and types that it may use".to_owned()),
    }
}

fn place(block: &str, text: &str) -> Range<usize> {
    block.find(text).map_or(0..block.len(), |at| at..at + text.len())
}

/// Where a policy is longer or deeper than one may be.
fn too_deep(block: &str) -> Option<Range<usize>> {
    let (mut tokens, mut depth, mut start, mut in_string) = (0, 0_usize, 0, false);
    let (mut bytes, mut word) = (block.bytes().enumerate(), 0);
    while let Some((at, byte)) = bytes.next() {
        let is_word = !in_string && (byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_word && &block.as_bytes()[at - word..at] == b"if" {
            depth += 1;
        }
        match byte {
            b'\\' if in_string => drop(bytes.next()),
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b';' => (tokens, depth, start) = (0, 0, at + 1),
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let goes_on = in_string || byte.is_ascii_whitespace() || byte == b'"' || (is_word && word > 0);
        tokens += usize::from(!goes_on);
        word = if is_word { word + 1 } else { 0 };
        if tokens > TOKENS_MAX || depth > DEPTH_MAX {
            return Some(start..at + 1);
        }
    }
    None
}

/// The words that a policy looks at.
///
/// # Errors
/// It uses the context, or a list of words, in another way than word by word: as a whole they are not what the engine gives
/// to Cedar, which is only what somebody looks at.
fn reads(policy: &Policy) -> Result<Reads, String> {
    let json = policy.to_json().map_err(|error| error.to_string())?;
    let mut reads = Reads::default();
    for condition in json.get("conditions").and_then(Value::as_array).into_iter().flatten() {
        walk(condition.get("body").unwrap_or(&Value::Null), &mut reads)?;
    }
    Ok(reads)
}

const LISTS: [&str; 4] = ["args", "cwd", "path", "host"];

fn walk(node: &Value, reads: &mut Reads) -> Result<(), String> {
    match node {
        Value::Object(map) => {
            for (operator, inner) in map {
                match operator.as_str() {
                    "Value" => {}
                    "Var" if inner == "context" => return Err("`context` as a whole value".to_owned()),
                    "." | "has" => attribute(operator, inner, reads)?,
                    _ => walk(inner, reads)?,
                }
            }
            Ok(())
        }
        Value::Array(list) => list.iter().try_for_each(|node| walk(node, reads)),
        _ => Ok(()),
    }
}

/// `LEFT.attr` or `LEFT has attr`.
fn attribute(operator: &str, node: &Value, reads: &mut Reads) -> Result<(), String> {
    let left = node.get("left").unwrap_or(&Value::Null);
    let Some(attr) = node.get("attr").and_then(Value::as_str) else {
        return Err("`has` with a path of names".to_owned());
    };
    if is_context(left) {
        return match attr {
            list if operator == "." && LISTS.contains(&list) => {
                Err(format!("the words of `context.{list}` as a whole value"))
            }
            _ => Ok(()),
        };
    }
    let list = left.get(".").filter(|inner| is_context(inner.get("left").unwrap_or(&Value::Null)));
    let list = list.and_then(|inner| inner.get("attr")).and_then(Value::as_str);
    match (list.and_then(|list| reads.of(list)), attr) {
        (Some(most), word) => {
            let place = word.strip_prefix('w').and_then(|number| number.parse::<u16>().ok());
            *most = (*most).max(place.map_or(0, |place| place.saturating_add(1)));
            Ok(())
        }
        (None, _) if operator == "has" || list.is_none() => walk(left, reads),
        _ => Ok(()),
    }
}

fn is_context(node: &Value) -> bool {
    node.get("Var").is_some_and(|var| var == "context")
}

/// A policy of the block as a rule. What does not read as one any more, though it did when the document was loaded,
/// forbids everything.
pub(crate) fn rule(forbid: &Forbid) -> Rule {
    let everything = || Rule {
        name: forbid.rule.clone(),
        effect: Effect::Forbid,
        text: "forbid (principal, action, resource);".to_owned(),
        actions: Action::ALL.to_vec(),
        filter: Filter::Open,
        reads: Reads::default(),
        shape: None,
    };
    let Ok(policy) = Policy::parse(None, &forbid.text) else { return everything() };
    let Ok(reads) = reads(&policy) else { return everything() };
    if policy.effect() == CedarEffect::Permit {
        return everything();
    }
    let actions: Vec<Action> = Action::ALL.into_iter().filter(|action| concerns(&policy, *action)).collect();
    Rule { text: forbid.text.clone(), actions, filter: Filter::of(&policy), reads, ..everything() }
}

/// Whether some of them are about limits: no decision while running is about those.
pub(crate) fn concern_limits(forbids: &[Forbid]) -> bool {
    forbids.iter().any(|forbid| rule(forbid).actions.contains(&Action::Use))
}

/// Whether the scope leaves room for an action.
fn concerns(policy: &Policy, action: Action) -> bool {
    let named = |uid: &cedar_policy::EntityUid| {
        uid.type_name().to_string() == "Action" && uid.id().unescaped() == action.name()
    };
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::In(uids) => uids.iter().any(named),
        ActionConstraint::Eq(uid) => named(&uid),
    }
}
