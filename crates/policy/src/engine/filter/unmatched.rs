//! Policies that are written about what no act has.

use super::super::encode::path_words;
use super::{Filter, Json, List, Text, equal, like};
use cedar_policy::{Policy, ResourceConstraint};

/// What a policy compares an act with that no act has: such a condition never holds, so a `forbid` that is written with it
/// forbids less than it says.
pub(in crate::engine) fn unmatched(policy: &Policy) -> Option<String> {
    let constraint = match policy.resource_constraint() {
        ResourceConstraint::Eq(uid) => Some(uid),
        _ => None,
    };
    let literals = constraint.into_iter().chain(policy.entity_literals());
    let name = literals.into_iter().find_map(|uid| {
        let id = uid.id().unescaped();
        let is_known = match uid.type_name().to_string().as_str() {
            "File" => path_words(id.as_bytes())
                .is_some_and(|names| [b"/", names.join(&b'/').as_slice()].concat() == id.as_bytes()),
            "Host" => !id.is_empty() && !id.ends_with('.') && !id.contains(|c: char| c.is_ascii_uppercase()),
            _ => !id.is_empty(),
        };
        (!is_known).then(|| format!("the {} {}", uid.type_name(), crate::problem::excerpt(id)))
    });
    let json = policy.to_json().ok()?;
    name.or_else(|| unmatched_word(&json["conditions"]))
}

fn unmatched_word(node: &Json) -> Option<String> {
    let inner = match node {
        Json::Array(list) => return list.iter().find_map(unmatched_word),
        Json::Object(map) => map,
        _ => return None,
    };
    inner.iter().find_map(|(operator, inner)| {
        let (left, right) = (&inner["left"], &inner["right"]);
        let compared = match operator.as_str() {
            "==" | "!=" => equal(left, right).or_else(|| equal(right, left)),
            "like" => like(left, &inner["pattern"]),
            _ => None,
        };
        let wrong = |text: &String, list: List| match list {
            List::Args => false,
            List::Cwd | List::Path => text.contains('/'),
            List::Host => text.contains(|c: char| c == '.' || c.is_ascii_uppercase()),
        };
        match compared {
            Some(Filter::Word(list, _, pieces)) => pieces.into_iter().find(|piece| wrong(piece, list)),
            Some(Filter::Text(Text::Name, text)) => Some(text).filter(|text| text.contains('/')),
            Some(Filter::Text(Text::Method, text)) => {
                Some(text).filter(|text| text.contains(|c: char| c.is_ascii_lowercase()))
            }
            _ => None,
        }
        .map(|text| format!("the word {}", crate::problem::excerpt(&text)))
        .or_else(|| unmatched_word(inner))
    })
}
