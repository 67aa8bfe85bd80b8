//! The schema that every policy is checked against.

use super::encode::Reads;
use crate::Limit;

/// The schema with as many words of each list as `reads` says.
pub(crate) fn schema(reads: Reads) -> String {
    let words = |name: &str, count: u16| {
        let words: String = (0..count).map(|word| format!(", w{word}: String")).collect();
        format!("type {name} = {{ count: Long{words} }};\n")
    };
    let limits: Vec<String> = Limit::ALL
        .iter()
        .map(|limit| limit.name())
        .chain(["root"])
        .map(|name| format!("\"{name}\""))
        .collect();
    let mut text =
        "entity User enum [\"user\", \"root\"];\nentity Program;\nentity File;\nentity Host;\n".to_owned();
    text += &format!("entity Limit enum [{}];\n", limits.join(", "));
    text += &words("Arguments", reads.args);
    text += &words("Directory", reads.cwd);
    text += &words("Path", reads.path);
    text += &words("Labels", reads.host);
    text + concat!(
        "action exec appliesTo { principal: User, resource: Program, context: {\n",
        "  name: String, args: Arguments, cwd: Directory, approved: Bool } };\n",
        "action read, write appliesTo { principal: User, resource: File, context: { path: Path } };\n",
        "action request appliesTo { principal: User, resource: Host, context: {\n",
        "  host: Labels, address?: ipaddr, port: Long, method: String, path: Path, approved: Bool } };\n",
        "action use appliesTo { principal: User, resource: Limit, context: { amount: Long } };\n",
    )
}
