//! What is shown without a solver.

#![allow(clippy::unwrap_used, reason = "helpers of tests: what cannot go on fails the test")]

use analysis::is_within;
use policy::{Document, NoLibrary};

fn document(tail: &str) -> Document {
    let text = format!("version = 1\nname = \"a\"\n{tail}");
    Document::parse(text.as_bytes(), "t", &NoLibrary).unwrap()
}

#[test]
fn what_is_left_out_is_not_taken_for_what_the_old_document_says() {
    let git = "[[tools]]\nname = \"git\"\nprogram = \"/usr/bin/git\"\n";
    let status = format!("{git}args = [[\"status\"]]\n");
    assert!(is_within(&document(&status), &document(git)));
    assert!(!is_within(&document(git), &document(&status)));
    // Without rules about tools every command may run; without [compute] the limits are the defaults.
    assert!(!is_within(&document(""), &document(git)));
    assert!(!is_within(&document(""), &document("[compute]\npids = 5\n")));
    assert!(is_within(&document("[compute]\npids = 5\n"), &document("")));
    let forbids = "cedar = 'forbid (principal, action == Action::\"exec\", resource);'\n";
    assert!(is_within(&document(forbids), &document("")));
    assert!(!is_within(&document(""), &document(forbids)));
}
