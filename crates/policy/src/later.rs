//! Parts of the language that this version does not enforce. A document that uses one is refused by name: a
//! rule that is read and not kept would be worse than none.

/// Top-level keys of the whole language: the key, how it is written, and the mend.
pub(crate) const KEYS: &[(&str, &str, &str)] = &[
    ("extends", "extends", "remove it and write the rules of the other policy out here"),
    ("net", "[[net.allow]]", "remove it: without it the sandbox reaches nothing outside itself"),
    ("secrets", "[secrets]", "remove it: nothing secret goes into the sandbox or comes near it"),
    ("tools", "[[tools]]", "remove it, knowing that without it every command may run inside the walls"),
    ("budget", "[budget]", "remove it; the ceilings that this version keeps are those of [compute]"),
    ("children", "[children]", "remove it: a sandbox cannot make others"),
    ("ask", "[[ask]]", "remove it: nobody is asked, and what no rule allows is denied"),
    ("examples", "[[examples]]", "remove them; `casemate policy check` shows what each rule turns into"),
    ("cedar", "cedar", "remove it and narrow the rules themselves"),
];

/// The tiers of the whole language that this version does not build.
pub(crate) const TIERS: &[&str] = &["gvisor", "microvm"];
