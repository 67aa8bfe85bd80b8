//! A sandbox that a later server takes over is decided by the policy that it was started with.

#[path = "support/serving.rs"]
mod serving;
mod support;

use serving::Serving;
use std::fs;
use std::path::PathBuf;
use support::run;

const OPEN: &str = "version = 1\nname = \"open\"\n";
const CLOSED: &str = r#"version = 1
name = "closed"
cedar = """
@id("no-commands")
forbid (principal, action == Action::"exec", resource);
"""
"#;

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place { directory: tempfile::tempdir().expect("a directory can be made") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn state(&self) -> String {
        self.path("state").to_str().expect("a path of ours is text").to_owned()
    }

    /// A server with these policies for `base` and, if there is one, for `other`.
    fn serve(&self, base: &str, other: Option<&str>) -> Serving {
        let file = |name: &str, text: &str| {
            fs::write(self.path(name), text).expect("a file can be written");
            self.path(name).to_str().expect("a path of ours is text").to_owned()
        };
        let base = file("base.toml", base);
        let other = other.map(|text| format!("other={}", file("other.toml", text)));
        let mut words = vec!["--policy", &base];
        words.extend(other.iter().flat_map(|other| ["--template", other]));
        Serving::start(&self.state(), &words)
    }

    /// How a command ends in a sandbox.
    fn exec(&self, id: &str) -> (i32, String) {
        let (status, _, said) = run(&["exec", "--no-terminal", "--state", &self.state(), id, "--", "true"]);
        (status, said)
    }
}

fn made(serving: &Serving, key: &str, template: &str) -> String {
    let (status, made) = serving.create(key, template).expect("it answers");
    assert_eq!(status, 201, "{made}");
    made["sandboxID"].as_str().expect("a name").to_owned()
}

#[test]
fn a_sandbox_keeps_its_policy_over_a_change_of_its_template() {
    let place = Place::new();
    let first = place.serve(OPEN, Some(CLOSED));
    let key = first.key.clone().expect("the first server makes a key");
    let (open, closed) = (made(&first, &key, "base"), made(&first, &key, "other"));
    assert_eq!(place.exec(&open).0, 0);
    assert_eq!(place.exec(&closed).0, 77);
    first.end();
    // The policies change places, and then one template is there no more.
    for (base, other) in [(CLOSED, Some(OPEN)), (CLOSED, None), (OPEN, None)] {
        let next = place.serve(base, other);
        assert_eq!(place.exec(&open), (0, String::new()), "{base}");
        let (status, said) = place.exec(&closed);
        assert!(status == 77 && said.contains("no-commands"), "{status} {said}");
        // What is made now is decided by what holds now.
        assert_eq!(place.exec(&made(&next, &key, "base")).0, if base == OPEN { 0 } else { 77 });
        next.end();
    }
}

#[test]
fn a_sandbox_whose_policy_is_lost_or_changed_is_not_taken_over() {
    let place = Place::new();
    let first = place.serve(CLOSED, None);
    let key = first.key.clone().expect("the first server makes a key");
    let id = made(&first, &key, "base");
    first.end();
    let kept: Vec<PathBuf> = fs::read_dir(place.path("state/policies"))
        .expect("policies are kept")
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    let [kept] = &kept[..] else { panic!("{kept:?}") };
    let whole = fs::read(kept).expect("it can be read");
    for bytes in [b"".to_vec(), whole[..whole.len() - 1].to_vec()] {
        fs::write(kept, bytes).expect("it can be written");
        let next = place.serve(OPEN, None);
        assert_eq!(place.exec(&id).0, 68, "a sandbox without its policy takes commands");
        next.end();
    }
    // It was not ended for that, and is found by a server that finds its policy.
    fs::write(kept, &whole).expect("it can be written");
    let next = place.serve(OPEN, None);
    assert_eq!(place.exec(&id).0, 77);
    let (_, log, _) = run(&["audit", "show", "--state", &place.state(), "--json"]);
    assert!(log.contains("take over 1 sandboxes: no descriptors, no policy"), "{log}");
    // With the last sandbox of it a policy goes, too.
    let (status, _, said) = run(&["kill", "--state", &place.state(), &id]);
    assert_eq!(status, 0, "{said}");
    next.end();
    drop(place.serve(OPEN, None));
    assert!(!kept.exists(), "a policy of nobody is still kept");
}
