//! `casemate policy`, as it is used.

mod support;

use serde_json::{Value, json};
use std::path::Path;
use support::run;
use tempfile::TempDir;

/// A directory with these files.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().expect("a directory");
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).expect("a file");
    }
    directory
}

fn path(directory: &TempDir, name: &str) -> String {
    directory.path().join(name).to_str().expect("a path that is text").to_owned()
}

const ANALYST: &str = "version = 1\nname = \"analyst\"\n[compute]\nmemory = \"1GiB\"\n\
                       [[files]]\nat = \"/input\"\naccess = \"read\"\nfrom = \"./reports\"\n";
const REGISTRY: &str = "version = 1\nname = \"registry\"\n\n[[net.allow]]\nhost = \"docs.rs\"\n";

#[test]
fn a_check_names_what_this_version_would_refuse_to_use() {
    let files = directory(&[("a.toml", ANALYST), ("b.toml", REGISTRY), ("c.toml", "version = 1\n")]);
    let (status, text, said) = run(&["policy", "check", &path(&files, "a.toml")]);
    assert_eq!((status, said.as_str()), (0, ""));
    assert!(
        text.contains("policy `analyst` is sound") && text.contains("  read /input -> ./reports read-only\n"),
        "{text}"
    );

    let (status, text, _) = run(&["policy", "check", &path(&files, "b.toml"), "--json"]);
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(status, 1);
    let expected = json!([{
        "rule": "[[net.allow]]", "line": 4, "message": "this version does not enforce `[[net.allow]]`",
        "help": "remove it: without it the sandbox reaches nothing outside itself",
    }]);
    assert_eq!(answer["unenforced"], expected);
    let state = path(&files, "state");
    let (status, _, said) =
        run(&["run", "--policy", &path(&files, "b.toml"), "--state", &state, "--", "true"]);
    assert_eq!(status, 65);
    assert!(said.contains("b.toml:4:3: this version does not enforce `[[net.allow]]`"), "{said}");

    let (status, _, said) = run(&["policy", "check", &path(&files, "c.toml")]);
    assert_eq!(status, 65);
    assert!(said.contains("c.toml:1:1: `name` is missing"), "{said}");
}

#[test]
fn an_act_is_allowed_or_denied_with_the_shape_of_all_denials() {
    let files = directory(&[("a.toml", ANALYST)]);
    let policy = path(&files, "a.toml");
    let (status, text, _) = run(&["policy", "explain", &policy, "write /input/x", "--json"]);
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    let expected = json!({
        "allowed": false, "code": "files", "rule": "files[1] /input", "asked": "write /input/x",
        "nearest_allowed": "write beneath /home/user, /tmp",
        "how_to_ask": "make the zone of `files[1] /input` one with `access = \"write\"`",
    });
    assert_eq!((status, answer), (77, expected));
    for (act, code, rule, nearest) in [
        ("exec as root id", "root", "root", json!("exec id")),
        ("use root", "root", "root", json!("to be the ordinary user")),
        ("use memory 2GiB", "limit.memory", "compute.memory", json!("use memory 1GiB")),
        ("GET https://docs.rs/", "net", "net", Value::Null),
        ("GET https://169.254.169.254/", "net", "net", Value::Null),
        ("write /usr/bin/x", "files", "system", json!("write beneath /home/user, /tmp")),
    ] {
        let (status, text, _) = run(&["policy", "explain", &policy, act, "--json"]);
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        let got =
            (status, answer["code"].as_str(), answer["rule"].as_str(), answer["nearest_allowed"].clone());
        assert_eq!(got, (77, Some(code), Some(rule), nearest), "{act}");
        assert!(answer["how_to_ask"].as_str().is_some_and(|how| !how.is_empty()), "{act}");
    }
    let (status, text, _) = run(&["policy", "explain", &policy, "read /input/x"]);
    assert_eq!(status, 0);
    assert!(text.starts_with("allowed by the rule `files[1] /input`: read /input/x\n"), "{text}");
    let (status, _, said) = run(&["policy", "explain", &policy, "raed /input/x"]);
    assert_eq!(status, 64);
    assert!(
        said.contains("`raed /input/x` is not an act: it begins with no known word\n  help: write one of:"),
        "{said}"
    );
}

#[test]
fn a_policy_extends_a_file_beside_it_wherever_it_is_called_from() {
    let narrowed = "version = 1\nname = \"n\"\nextends = \"./a.toml\"\n[compute]\nmemory = \"512MiB\"\n";
    let files = directory(&[
        ("a.toml", ANALYST),
        ("n.toml", narrowed),
        ("w.toml", &narrowed.replace("512MiB", "2GiB")),
    ]);
    std::fs::create_dir(files.path().join("reports")).expect("a directory");
    let (status, text, said) = run(&["policy", "check", &path(&files, "n.toml")]);
    assert_eq!((status, said.as_str()), (0, ""));
    assert!(text.contains("memory = 512MiB") && text.contains("read /input -> ./reports"), "{text}");
    let (status, _, said) = run(&["policy", "check", &path(&files, "w.toml")]);
    assert_eq!(status, 65);
    assert!(
        said.contains("w.toml:5:10: `compute.memory` asks for 2GiB; the most is 1GiB, says `./a.toml`"),
        "{said}"
    );

    // What changes beneath a policy changes the policy: no older form of it is used.
    std::fs::write(files.path().join("a.toml"), REGISTRY).expect("a file");
    let state = path(&files, "state");
    let (status, _, said) =
        run(&["run", "--policy", &path(&files, "n.toml"), "--state", &state, "--", "true"]);
    assert_eq!(status, 65);
    assert!(said.contains("n.toml:3:11: this version does not enforce `[[net.allow]]`"), "{said}");
}

#[test]
fn what_a_policy_extends_is_a_file_and_no_pipe() {
    let files = directory(&[("a.toml", "version = 1\nname = \"a\"\nextends = \"./pipe\"\n")]);
    rustix::fs::mkfifoat(rustix::fs::CWD, files.path().join("pipe"), rustix::fs::Mode::RUSR).expect("a pipe");
    let (status, _, said) = run(&["policy", "check", &path(&files, "a.toml")]);
    assert_eq!(status, 65);
    assert!(said.contains("a.toml:3:11: `./pipe` cannot be read"), "{said}");
}

#[test]
fn the_schema_and_an_import_are_printed_and_what_was_left_out_is_said() {
    let (status, text, _) = run(&["policy", "schema"]);
    assert_eq!((status, serde_json::from_str::<Value>(&text).expect("JSON")), (0, policy::schema()));

    let settings = "{\"permissions\": {\"allow\": [\"Bash(git status)\", \"WebSearch\"]}}";
    let files = directory(&[("settings.json", settings), ("broken.json", "{\"permissions\": 1}")]);
    let (status, text, said) =
        run(&["policy", "import", "--from", "claude-code", &path(&files, "settings.json")]);
    assert_eq!(status, 0);
    assert_eq!(
        said,
        "not carried: WebSearch: there is no rule for this tool here, and what no rule allows is denied\n"
    );
    let imported = files.path().join("imported.toml");
    std::fs::write(&imported, text).expect("a file");
    let (status, text, _) = run(&["policy", "explain", &path(&files, "imported.toml"), "tool git status"]);
    assert_eq!(status, 0, "{text}");
    let (status, _, said) = run(&["policy", "import", "--from", "claude-code", &path(&files, "broken.json")]);
    assert_eq!(status, 65);
    assert!(said.contains("broken.json:1:17: `permissions`: expected an object"), "{said}");
    assert!(Path::new(&imported).exists());
}

/// The settings, the policy and what is said of them in the guide.
#[test]
fn the_policies_of_the_guide_load() {
    let guide = include_str!("../../../docs/guide/policy.md");
    let blocks: Vec<&str> =
        guide.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let [analyst, examples, tonight] = blocks.as_slice() else { panic!("{} policies", blocks.len()) };
    let analyst = format!("{analyst}\n{examples}");
    let files = directory(&[("analyst.toml", &analyst), ("tonight.toml", tonight)]);
    for name in ["analyst.toml", "tonight.toml"] {
        let (status, _, said) = run(&["policy", "check", &path(&files, name)]);
        assert_eq!((status, said.as_str()), (0, ""), "{name}");
    }
}
