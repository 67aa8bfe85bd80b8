//! Decides as documented, and the same way on every path.

#![allow(clippy::unwrap_used, reason = "helpers of tests: what cannot go on fails the test")]

use model::FileOp;
use policy::engine::{BLOCK_BYTES_MAX, FORBIDS_MAX, forbids};
use policy::{Access, ExecRequest, FileRequest, FileRule, Policy, User};

fn shipped() -> Policy {
    Policy::parse(policy::shipped("default").unwrap().as_bytes(), "default").unwrap()
}

fn forbidding(block: &str) -> Policy {
    shipped().with_forbids(forbids(block, "default").unwrap())
}

fn command(line: &str) -> ExecRequest {
    let argv = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
    ExecRequest { argv, cwd: b"/home/user".to_vec(), env: Vec::new(), user: User::User, terminal: None }
}

fn exec(policy: &Policy, line: &str) -> (&'static str, String) {
    match policy.exec(&command(line)) {
        Ok(permit) => ("allow", permit.decision().rule.clone()),
        Err(denied) => ("deny", denied.rule),
    }
}

fn file(policy: &Policy, op: FileOp, path: &str, to: Option<&str>, user: User) -> (&'static str, String) {
    let to = to.map(|to| to.as_bytes().to_vec());
    match policy.file(FileRequest { op, path: path.as_bytes().to_vec(), to, user }) {
        Ok(permit) => ("allow", permit.decision().rule.clone()),
        Err(denied) => ("deny", denied.rule),
    }
}

fn allow(rule: &str) -> (&'static str, String) {
    ("allow", rule.to_owned())
}

fn deny(rule: &str) -> (&'static str, String) {
    ("deny", rule.to_owned())
}

#[test]
fn a_block_forbids_by_the_words_of_a_command() {
    let policy = forbidding(
        r#"
        forbid (principal, action == Action::"exec", resource)
        when { context.name == "git" && context.args.count >= 1 && context.args.w0 like "pu*" };
        @id("no shell at the top")
        forbid (principal, action == Action::"exec", resource == Program::"/bin/sh")
        unless { context.cwd.count >= 1 };
        "#,
    );
    let any = allow("exec (no [[tools]] rule)");
    assert_eq!(exec(&policy, "git push origin"), deny("default cedar[1]"));
    assert_eq!(exec(&policy, "/usr/bin/git pull"), deny("default cedar[1]"));
    assert_eq!(exec(&policy, "git status pull"), any);
    assert_eq!(exec(&policy, "git"), any);
    assert_eq!(exec(&policy, "/bin/sh -c true"), any);
    let mut at_the_top = command("/bin/sh");
    at_the_top.cwd = b"/".to_vec();
    let denied = policy.exec(&at_the_top).unwrap_err();
    assert_eq!(denied.rule, "no shell at the top");
    // The same from the cache, which holds what is left of the policies as text.
    let cached = Policy::from_cache(&policy.to_cache(), policy.hash()).unwrap();
    assert_eq!(cached, policy);
    for line in ["git push origin", "git status pull", "/bin/sh", "git"] {
        assert_eq!(exec(&cached, line), exec(&policy, line), "{line}");
    }
}

#[test]
fn a_file_is_read_and_written_where_a_rule_says_so() {
    let zones = vec![
        FileRule::new("/input", Access::Read { from: "in".to_owned() }).unwrap(),
        FileRule::new("/home/user/a*", Access::Scratch).unwrap(),
    ];
    let policy = shipped().with_zones(zones).unwrap();
    let user = |op, path| file(&policy, op, path, None, User::User);
    for (path, read, write) in [
        ("/input/a", allow("files[1] /input"), deny("files[1] /input")),
        ("/home/user/a*/x", allow("files[2] /home/user/a*"), allow("files[2] /home/user/a*")),
        ("/home/user/ab/x", allow("home"), allow("home")),
        ("/inputs", deny("files"), deny("files")),
        ("/tmp", allow("tmp"), allow("tmp")),
        ("/var/tmp/x", allow("tmp"), allow("tmp")),
        ("/var/x", allow("system"), deny("files")),
        ("/usr/bin/git", allow("system"), deny("system")),
        ("/etc/shadow", deny("files"), deny("files")),
        ("/etc/passwd", allow("system"), deny("files")),
        ("/dev/null", allow("system"), allow("devices")),
        ("/proc/kcore", deny("proc"), deny("proc")),
        ("/proc/self/status", allow("system"), allow("proc")),
        ("/", allow("system"), deny("files")),
        ("/home/eve/x", deny("files"), deny("files")),
        ("/input/../home/user/x", deny("request"), deny("request")),
    ] {
        assert_eq!(user(FileOp::Read, path), read, "read {path}");
        assert_eq!(user(FileOp::Write, path), write, "write {path}");
        for op in [FileOp::Stat, FileOp::List] {
            assert_eq!(user(op, path), read, "{op} {path}");
        }
        for op in [FileOp::MakeDir, FileOp::Remove] {
            assert_eq!(user(op, path), write, "{op} {path}");
        }
    }
    let moved = |from, to| file(&policy, FileOp::Move, from, Some(to), User::User);
    assert_eq!(moved("/tmp/a", "/home/user/a"), allow("tmp"));
    assert_eq!(moved("/tmp/a", "/input/a"), deny("files[1] /input"));
    assert_eq!(moved("/input/a", "/tmp/a"), deny("files[1] /input"));
    assert_eq!(file(&policy, FileOp::Read, "/tmp/a", None, User::Root), deny("root"));
}

#[test]
fn root_inside_may_write_the_root_directory_and_no_zone_that_is_only_read() {
    let text =
        "version = 1\nname = \"a\"\nroot = true\n[[files]]\nat = \"/in\"\naccess = \"read\"\nfrom = \".\"\n";
    let policy = Policy::parse(text.as_bytes(), "a").unwrap();
    let by = |user, op, path| file(&policy, op, path, None, user);
    assert_eq!(by(User::Root, FileOp::Write, "/srv/x"), allow("root-directory"));
    assert_eq!(by(User::User, FileOp::Write, "/srv/x"), deny("files"));
    assert_eq!(by(User::User, FileOp::Read, "/new/x"), allow("root-directory"));
    assert_eq!(by(User::Root, FileOp::Write, "/in/x"), deny("files[1] /in"));
    assert_eq!(by(User::Root, FileOp::Write, "/usr/x"), deny("system"));
    assert_eq!(by(User::Root, FileOp::Write, "/proc/sys/kernel/x"), deny("system"));
}

#[test]
fn zones_that_are_added_are_decided_as_if_the_document_had_them() {
    let with = |extra: &str| format!("version = 1\nname = \"a\"\n{extra}");
    let zones = || {
        vec![
            FileRule::new("/in", Access::Read { from: "x".to_owned() }).unwrap(),
            FileRule::new("/out", Access::Write { to: "y".to_owned() }).unwrap(),
        ]
    };
    let written = "[[files]]\nat = \"/in\"\naccess = \"read\"\nfrom = \"x\"\n[[files]]\nat = \"/out\"\naccess = \"write\"\nto = \"y\"\n";
    for root in ["", "root = true\n"] {
        let plain = Policy::parse(with(root).as_bytes(), "a").unwrap();
        let late = Policy::from_cache(&plain.to_cache(), plain.hash()).unwrap().with_zones(zones()).unwrap();
        let soon = Policy::parse(with(&format!("{root}{written}")).as_bytes(), "a").unwrap();
        for path in ["/in", "/in/a", "/out/a", "/outer", "/tmp/a", "/usr/a", "/a"] {
            for op in [FileOp::Read, FileOp::Write] {
                for user in [User::User, User::Root] {
                    let answers = [&late, &soon].map(|policy| file(policy, op, path, None, user));
                    assert_eq!(answers[0], answers[1], "{op} {path} as {user:?}, {root}");
                }
            }
        }
        // They are not the document's, so the cache is as it was.
        assert_eq!(late.to_cache(), plain.to_cache());
    }
}

#[test]
fn what_cannot_be_worked_out_is_denied() {
    let policy = forbidding(
        r#"forbid (principal, action == Action::"exec", resource)
           when { context.args.count + 9223372036854775807 > 9223372036854775807 };"#,
    );
    assert_eq!(exec(&policy, "true"), allow("exec (no [[tools]] rule)"));
    assert_eq!(exec(&policy, "true x"), deny("error"));
}

#[test]
fn a_program_that_forbids_by_name_leaves_the_others() {
    let policy = forbidding(r#"forbid (principal, action, resource == Program::"/usr/bin/nc");"#);
    assert_eq!(exec(&policy, "/usr/bin/nc -l"), deny("default cedar[1]"));
    assert_eq!(exec(&policy, "/usr/bin/ls"), allow("exec (no [[tools]] rule)"));
    let policy = forbidding(
        r#"forbid (principal, action in [Action::"read", Action::"write"], resource == File::"/tmp/x");"#,
    );
    assert_eq!(file(&policy, FileOp::Read, "/tmp//x/.", None, User::User), deny("default cedar[1]"));
    assert_eq!(file(&policy, FileOp::Read, "/tmp/xy", None, User::User), allow("tmp"));
}

#[test]
fn a_block_is_refused_with_its_place_and_its_mend() {
    for (block, at, message) in [
        ("permit (principal, action, resource);", 0, "a `permit`, which the `cedar` block cannot give"),
        ("forbid (", 8, "unexpected end of input"),
        ("", 0, "a `cedar` block without policies"),
        ("// nothing\n", 0, "a `cedar` block without policies"),
        (
            "forbid (principal == ?principal, action, resource);",
            0,
            "a template: a policy with `?principal` or `?resource`",
        ),
        (
            "forbid (principal, action == Action::\"use\", resource) when { context.amont > 1 };",
            61,
            "attribute `amont` in context for Action::\"use\" not found",
        ),
        (
            "forbid (principal, action == Action::\"exec\", resource) when { context.args == context.args };",
            0,
            "the words of `context.args` as a whole value",
        ),
        (
            "forbid (principal, action == Action::\"walk\", resource);",
            29,
            "unrecognized action `Action::\"walk\"`",
        ),
        (
            "@id(\" x\") forbid (principal, action, resource);",
            0,
            "the `@id` ` x`, which is no name of a rule",
        ),
        (
            "@id(\"x\") forbid (principal, action, resource);\n@id(\"x\") forbid (principal, action, resource);",
            47,
            "two policies called `x`",
        ),
        (
            "forbid (principal, action == Action::\"exec\", resource) when { context.args.w32 == \"\" };",
            62,
            "attribute `args.w32` in context for Action::\"exec\" not found",
        ),
    ] {
        let problems = forbids(block, "a").unwrap_err();
        let first = &problems[0];
        assert_eq!((first.span.start, first.message.as_str()), (at, message), "{block}");
        assert!(!first.help.is_empty() && first.span.end <= block.len(), "{block}");
    }
}

#[test]
fn a_block_is_bounded_in_length_number_and_depth() {
    let one = "forbid (principal, action, resource);";
    assert_eq!(forbids(&one.repeat(FORBIDS_MAX), "a").unwrap().len(), FORBIDS_MAX);
    assert!(forbids(&one.repeat(FORBIDS_MAX + 1), "a").is_err());
    assert!(forbids(&format!("{one}//{}", "x".repeat(BLOCK_BYTES_MAX)), "a").is_err());
    let when = |condition: String| format!("forbid (principal, action, resource) when {{ {condition} }};");
    for deep in [
        format!("{}true{}", "(".repeat(4000), ")".repeat(4000)),
        format!("{}true", "!".repeat(4000)),
        format!("true{}", " && true".repeat(1900)),
        format!("{}true", "if true then true else ".repeat(600)),
        format!("1 == {}1", "-".repeat(4000)),
        format!("{}1{} == {{}}", "{a:".repeat(3000), "}".repeat(3000)),
        format!("{}{} == []", "[".repeat(6000), "]".repeat(6000)),
        format!("context{} == 1", ".a".repeat(6000)),
        format!("context{} == 1", "[\"a\"]".repeat(3000)),
    ] {
        assert!(forbids(&when(deep.clone()), "a").is_err(), "{}", &deep[..40]);
    }
    // As long and as deep as it may be, in a thread with the stack that threads have.
    for fine in [
        format!("{}true{}", "(".repeat(22), ")".repeat(22)),
        format!("true{}", " && true".repeat(110)),
        format!("{}true", "if context has path then true else ".repeat(20)),
    ] {
        let fine = when(fine);
        let thread = std::thread::Builder::new().stack_size(2 << 20);
        thread.spawn(move || assert!(forbids(&fine, "a").is_ok(), "{fine}")).unwrap().join().unwrap();
    }
}

#[test]
fn a_forbid_that_is_written_about_what_no_act_has_is_refused() {
    let file =
        |id: &str| format!("forbid (principal, action == Action::\"write\", resource == File::\"{id}\");");
    let when = |action: &str, condition: &str| {
        format!("forbid (principal, action == Action::\"{action}\", resource) when {{ {condition} }};")
    };
    for block in [
        file("/tmp/"),
        file("/tmp//a"),
        file("/tmp/../a"),
        file("tmp/a"),
        when("request", "resource == Host::\"API.example.com\""),
        when("request", "resource == Host::\"api.example.com.\""),
        when("write", "context.path.w0 == \"/tmp\""),
        when("write", "!(context.path.w0 != \"tmp/a\")"),
        when("write", "context.path.w0 like \"tmp/*\""),
        when("exec", "context.name == \"/usr/bin/git\""),
        when("exec", "context.cwd.w0 == \"home/user\""),
        when("request", "context.host.w0 == \"COM\""),
        when("request", "context.host.w0 == \"example.com\""),
        when("request", "context.method == \"post\""),
    ] {
        let problems = forbids(&block, "a").unwrap_err();
        assert!(problems.iter().any(|p| p.message.contains("which no act has")), "{block}: {problems:?}");
    }
    for block in [
        file("/tmp/a"),
        file("/"),
        when("exec", "context.args.w0 == \"a/B.c\""),
        when("request", "context.host.w0 == \"com\" && context.method == \"POST\""),
    ] {
        assert!(forbids(&block, "a").is_ok(), "{block}");
    }
}
