//! The policies that every Casemate carries.

/// The shipped policies, each as its name and its text.
pub const SHIPPED: &[(&str, &str)] = &[
    ("default", include_str!("../../../policies/default.toml")),
    ("coding", include_str!("../../../policies/coding.toml")),
    ("data-analysis", include_str!("../../../policies/data-analysis.toml")),
    ("package-registries", include_str!("../../../policies/package-registries.toml")),
    ("locked", include_str!("../../../policies/locked.toml")),
];

/// The text of the shipped policy `name`.
pub fn shipped(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(shipped, _)| *shipped == name).map(|(_, text)| *text)
}
