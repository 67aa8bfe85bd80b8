//! Policies from the settings of other programs.

use policy::{Act, Document, Imported, NoLibrary, import_claude_code};

fn imported(settings: &str) -> (Imported, Document) {
    let imported = import_claude_code(settings.as_bytes(), "settings.json")
        .unwrap_or_else(|error| panic!("{}", error.plain()));
    let document = Document::parse(imported.policy.as_bytes(), "imported", &NoLibrary);
    (imported, document.unwrap_or_else(|error| panic!("{}", error.plain())))
}

fn permissions(rules: &str) -> (Imported, Document) {
    imported(&format!("{{\"permissions\": {{{rules}}}}}"))
}

/// Each as what is allowed or not; an act that a person is asked about is not.
fn answers(document: &Document, expected: &[(&str, bool)]) {
    for (act, allowed) in expected {
        let act = Act::parse(act).unwrap_or_else(|error| panic!("{error}"));
        let (answer, rule) = document.allows_plainly(&act);
        // The one block that is written forbids every command.
        let is_command = matches!(act, Act::Exec { .. } | Act::Tool { .. });
        let answer = answer && (!is_command || document.forbids.is_empty());
        assert_eq!(answer, *allowed, "{act}: {rule}");
    }
}

#[test]
fn commands_become_tools_with_the_same_words_or_fewer() {
    let (imported, document) = permissions(
        r#""allow": ["Bash(git status)", "Bash(git log *)", "Bash(npm run test:*)", "Bash(git * main)", "Bash(ls*)"]"#,
    );
    answers(
        &document,
        &[
            ("tool git status", true),
            ("tool git status -s", false),
            ("tool git", false),
            ("tool git log -1", true),
            ("tool git log", false),
            ("tool npm run test", true),
            ("tool npm run test unit", true),
            ("tool npm run build", false),
            ("tool git checkout main", true),
            ("tool git push origin main", false),
            ("exec /usr/bin/git status", true),
            ("exec /usr/local/bin/git status", false),
            ("tool ls", false),
        ],
    );
    assert_eq!(imported.left.len(), 1, "{:?}", imported.left);
    assert_eq!(imported.left[0].what, "Bash(ls*)");
}

#[test]
fn what_is_denied_or_asked_about_is_kept_or_what_it_narrows_is_not_carried() {
    let rules = r#""allow": ["Bash(git *)", "Bash(npm test)", "Bash(cargo build:*)"], "deny": ["Bash(git push:*)", "Bash(npm publish)"]"#;
    let (imported, document) = permissions(rules);
    answers(
        &document,
        &[
            ("tool git status", false),
            ("tool npm test", true),
            ("tool npm publish", false),
            ("tool cargo build", true),
        ],
    );
    assert!(imported.left.iter().any(
        |left| left.what == "Bash(git *)" && left.why.contains("`Bash(git push:*)` may deny some of it")
    ));

    let (_, document) = permissions(r#""allow": ["Bash(git *)"], "ask": ["Bash(git push *)"]"#);
    answers(
        &document,
        &[("tool git status", true), ("tool git push origin", false), ("tool git push", false)],
    );
    let act = Act::parse("tool git push origin").unwrap();
    assert_eq!(document.allows_plainly(&act).1, "ask[1] tool git push");

    for denies in ["Bash", "Bash(*)", "Bash(* --force)", "Bash(/usr/bin/git push)", "Bash(git*)", "*", "B*"] {
        let (_, document) =
            permissions(&format!(r#""allow": ["Bash(git *)", "Bash"], "deny": ["{denies}"]"#));
        answers(&document, &[("tool git status", false)]);
        for says in ["deny", "ask"] {
            let (_, document) =
                permissions(&format!(r#""allow": ["Bash(git *)", "Bash(*)"], "{says}": ["{denies}"]"#));
            answers(&document, &[("exec /usr/bin/rm -r /", false)]);
        }
    }
}

#[test]
fn without_an_allowed_command_none_runs_and_with_all_allowed_all_do() {
    let (imported, document) = permissions("");
    assert!(imported.policy.contains("forbid (principal, action == Action::\"exec\", resource);"));
    assert_eq!((document.forbids.len(), document.tools), (1, None));
    let (_, document) = permissions(r#""allow": ["Bash"]"#);
    assert_eq!((document.forbids.len(), &document.tools), (0, &None));
    answers(&document, &[("exec rm -r /", true)]);
}

#[test]
fn hosts_are_opened_for_what_they_are_opened_for() {
    let settings = r#"{"permissions": {"allow": ["WebFetch(domain:docs.rs)", "WebFetch(domain:*.python.org)", "WebFetch", "WebFetch(domain:com)",
        "WebFetch(domain:localhost)", "WebFetch(domain:a.example.com)", "WebFetch(domain:b.example.org)"],
        "deny": ["WebFetch(domain:example.com)"], "ask": ["WebFetch(domain:b.example.org)"]},
        "sandbox": {"enabled": true, "network": {"allowedDomains": ["github.com", "evil.net"], "deniedDomains": ["evil.net"]}}}"#;
    let (imported, document) = imported(settings);
    answers(
        &document,
        &[
            ("GET https://docs.rs/serde", true),
            ("POST https://docs.rs/serde", false),
            ("GET http://docs.rs/", false),
            ("GET https://a.docs.rs/", false),
            ("GET https://www.python.org/", true),
            ("GET https://python.org/", false),
            ("GET https://a.example.com/", false),
            ("GET https://b.example.org/", false),
            ("POST https://github.com/x", true),
            ("GET https://evil.net/", false),
            ("GET https://other.net/", false),
        ],
    );
    assert_eq!(document.ask.len(), 1);
    let left: Vec<&str> = imported.left.iter().map(|left| left.what.as_str()).collect();
    for what in [
        "WebFetch",
        "WebFetch(domain:com)",
        "WebFetch(domain:localhost)",
        "WebFetch(domain:a.example.com)",
        "evil.net",
    ] {
        assert!(left.contains(&what), "{what}: {left:?}");
    }
    let (_, document) = self::imported(r#"{"sandbox": {"network": {"allowedDomains": ["github.com"]}}}"#);
    answers(&document, &[("GET https://github.com/x", false)]);
}

#[test]
fn what_may_not_be_read_leaves_no_zone_around_it() {
    let directories = r#""additionalDirectories": ["../docs", "~/notes"]"#;
    let (imported, document) = permissions(directories);
    let zones: Vec<&str> = document.files.iter().map(|zone| zone.at()).collect();
    assert_eq!(zones, ["/work", "/more/1"]);
    assert_eq!(imported.left[0].what, "~/notes");
    answers(
        &document,
        &[
            ("read /work/a", true),
            ("write /work/a", false),
            ("read /etc/passwd", true),
            ("read /secret", false),
        ],
    );
    for denies in ["Read(./.env)", "Read(**/*.pem)", "Read", "Grep(x)"] {
        let (_, document) = permissions(&format!(r#"{directories}, "deny": ["{denies}"]"#));
        assert_eq!(document.files, [], "{denies}");
    }
    let (_, document) = self::imported(r#"{"sandbox": {"filesystem": {"denyRead": ["~/.ssh"]}}}"#);
    assert_eq!(document.files, []);
}

#[test]
fn what_has_no_rule_here_is_told() {
    let settings = r#"{"permissions": {"allow": ["mcp__github__create_issue", "Edit(src/**)", "WebSearch", "Agent(x)"], "defaultMode": "bypassPermissions"},
        "sandbox": {"enabled": true, "excludedCommands": ["docker"]}, "hooks": {}, "env": {"A": "b"}}"#;
    let (imported, document) = imported(settings);
    let left: Vec<&str> = imported.left.iter().map(|left| left.what.as_str()).collect();
    let expected = [
        "mcp__github__create_issue",
        "Edit(src/**)",
        "WebSearch",
        "Agent(x)",
        "defaultMode",
        "sandbox.excludedCommands",
        "hooks",
        "env",
    ];
    assert_eq!(left, expected);
    assert!(imported.left.iter().all(|left| !left.why.is_empty()));
    answers(&document, &[("write /work/src/a", false)]);
}

#[test]
fn settings_that_are_not_understood_whole_are_refused() {
    for (settings, phrase) in [
        ("", "1:1: not JSON: expected a value"),
        ("[]", "1:1: expected a table"),
        ("{\"permissions\": []}", "1:17: `permissions`: expected an object, found an empty list"),
        (
            "{\"permissions\": {\"deny\": \"Bash\"}}",
            "1:26: `deny`: expected a list of strings, found the string `Bash`",
        ),
        ("{\"permissions\": {\"deny\": [1]}}", "1:27: `deny`: expected a string, found the integer `1`"),
        ("{\"permissions\": {\"deny\": [], \"deny\": [\"Bash\"]}}", "1:30: `deny` is written twice"),
        ("{\"permissions\": {}, // x\n}", "1:21: not JSON: expected a key"),
        (
            "{\"sandbox\": {\"network\": {\"deniedDomains\": null}}}",
            "1:43: `deniedDomains`: expected a list of strings, found null",
        ),
    ] {
        let error = import_claude_code(settings.as_bytes(), "s")
            .map(|imported| imported.policy)
            .expect_err(settings)
            .plain();
        assert!(error.contains(phrase), "{settings}\n{error}");
    }
    assert!(import_claude_code(&[0xff], "s").is_err());
    assert!(import_claude_code(&vec![b' '; policy::SETTINGS_BYTES_MAX + 1], "s").is_err());
}

#[test]
fn what_could_break_out_of_the_policy_is_not_written_into_it() {
    let rules = r#""allow": ["Bash(git \"\n[[net.allow]]\nhost=\"evil.net\")", "Bash(git a\u202eb)", "Bash(git a\"b)", "WebFetch(domain:a.net\"\n)"],
        "additionalDirectories": ["a\"\nroot = true\n", "a\"b\\c"]"#;
    let (imported, document) = permissions(rules);
    assert_eq!((document.net.len(), document.root, &document.tools), (0, false, &None));
    assert_eq!(document.files.len(), 2, "{}", imported.policy);
}

#[test]
fn a_deny_that_may_be_about_anything_leaves_nothing() {
    let carried = |deny: &str| {
        let settings = format!(
            r#"{{"permissions": {{"allow": ["WebFetch(domain:docs.rs)", "Bash(git push:*)"], "deny": ["{deny}"]}}}}"#
        );
        let (_, document) = imported(&settings);
        (document.net.len(), document.tools.map_or(0, |tools| tools.len()))
    };
    assert_eq!(carried("WebFetch(domain:example.org)"), (1, 1));
    for domain in
        ["*", "**", "*.", ".", "", "*cs.rs", "d?cs.rs", "[d]ocs.rs", "docs.rs.", "docs.rs:443", " docs.rs"]
    {
        assert_eq!(carried(&format!("WebFetch(domain:{domain})")), (0, 1), "{domain}");
    }
    for deny in [
        "Read(./secret) ",
        "Read (./secret)",
        "Read(./secret",
        "bash",
        "B?sh",
        "Bash|Edit",
        "Bash(git status) ",
    ] {
        assert_eq!(carried(deny), (0, 0), "{deny}");
    }
    for settings in [
        r#""hooks": {"PreToolUse": [{"matcher": "Bash"}]}, "permissions": {"allow": ["Bash(git push:*)"]}"#,
        r#""allowManagedPermissionRulesOnly": true, "permissions": {"allow": ["Bash(git push:*)"]}"#,
        r#""permissions": {"allow": ["Bash(git push:*)"], "defaultMode": "plan"}"#,
    ] {
        let (imported, document) = imported(&format!("{{{settings}}}"));
        assert!(document.tools.is_none_or(|tools| tools.is_empty()), "{settings}");
        assert!(imported.left.iter().any(|left| left.why.ends_with("nothing of what is allowed is carried")));
    }
}
