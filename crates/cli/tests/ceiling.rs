//! Layers: a policy lies within the ceiling, or is refused with the first rule by which it does not.

mod support;

use support::run;

const HEAD: &str = "version = 1\nname = \"test\"\n";

struct Ground {
    dir: tempfile::TempDir,
    state: String,
}

impl Ground {
    fn new() -> Ground {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let state = dir.path().join("state").to_str().expect("a path of ours is text").to_owned();
        Ground { dir, state }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, format!("{HEAD}{text}\n")).expect("a file can be written");
        path.to_str().expect("a path of ours is text").to_owned()
    }

    fn directory(&self, name: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(&path).expect("a directory can be made");
        path.to_str().expect("a path of ours is text").to_owned()
    }

    /// `casemate run --json` of `true` with these words.
    fn run(&self, words: &[&str]) -> (i32, serde_json::Value) {
        let all = [&["run", "--json", "--state", &self.state], words, &["--", "true"]].concat();
        let (status, _, said) = run(&all);
        (status, serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}")))
    }
}

#[test]
fn the_first_rule_beyond_the_ceiling_is_named_and_nothing_is_clipped() {
    let ground = Ground::new();
    let ceiling = ground.file("ceiling.toml", "[compute]\nmemory = \"256MiB\"\npids = 64");
    let policy = ground.file("policy.toml", "root = true\n[compute]\npids = 65\nmemory = \"512MiB\"");
    let (status, said) = ground.run(&["--policy", &policy, "--ceiling", &ceiling]);
    assert_eq!((status, said["exit"].as_u64()), (77, Some(77)), "{said}");
    assert_eq!(
        (&said["denial"]["code"], &said["denial"]["rule"]),
        (&"ceiling".into(), &"root".into()),
        "{said}"
    );
    let policy = ground.file("policy.toml", "[compute]\npids = 65\nmemory = \"512MiB\"");
    let (status, said) = ground.run(&["--policy", &policy, "--ceiling", &ceiling]);
    let denial = &said["denial"];
    assert_eq!((status, &denial["rule"]), (77, &"compute.pids".into()), "{said}");
    assert!(denial["nearest_allowed"].as_str().unwrap().contains("64"), "{said}");
    let (_, log, _) = run(&["audit", "show", "--state", &ground.state, "--json"]);
    let recorded = log.lines().last().unwrap();
    assert!(recorded.contains(r#""event":"denial""#) && recorded.contains(r#""code":"ceiling""#), "{log}");
    // Within it the command runs; what the policy leaves out comes from the ceiling.
    let policy = ground.file("policy.toml", "[compute]\npids = 64");
    let (status, said) = ground.run(&["--policy", &policy, "--ceiling", &ceiling]);
    assert_eq!((status, &said["reason"]), (0, &"finished".into()), "{said}");
    let (_, log, _) = run(&["audit", "show", "--state", &ground.state, "--json"]);
    let start = log.lines().rev().find(|line| line.contains(r#""event":"sandbox.start""#)).unwrap();
    assert!(start.contains(r#""memory_bytes":268435456"#) && start.contains(r#""pids":64"#), "{start}");
}

#[test]
fn zones_of_the_command_line_lie_within_the_ceiling_links_followed() {
    let ground = Ground::new();
    let inside = ground.directory("data/inside");
    let outside = ground.directory("outside");
    let ceiling =
        ground.file("ceiling.toml", "[[files]]\nat = \"/input\"\nfrom = \"./data\"\naccess = \"read\"");
    let policy = ground.file("policy.toml", "");
    let link = format!("{inside}/link");
    std::os::unix::fs::symlink(&outside, &link).expect("a link can be made");
    let with = |word: &str| ground.run(&["--policy", &policy, "--ceiling", &ceiling, "--read", word]);
    let (status, said) = with(&format!("{inside}:/input"));
    assert_eq!(status, 0, "{said}");
    for beyond in [format!("{outside}:/input"), format!("{link}:/input"), format!("{inside}:/elsewhere")] {
        let (status, said) = with(&beyond);
        assert_eq!((status, &said["denial"]["code"]), (77, &"ceiling".into()), "{beyond}: {said}");
    }
    let write = format!("{inside}:/input");
    let (status, said) = ground.run(&["--policy", &policy, "--ceiling", &ceiling, "--write", &write]);
    assert_eq!((status, &said["denial"]["code"]), (77, &"ceiling".into()), "{said}");
    // A ceiling without zones has no room for any.
    let ceiling = ground.file("none.toml", "");
    let (status, said) =
        ground.run(&["--policy", &policy, "--ceiling", &ceiling, "--read", &format!("{inside}:/input")]);
    assert_eq!((status, &said["denial"]["nearest_allowed"]), (77, &"no zone".into()), "{said}");
}

#[test]
fn a_server_does_not_begin_with_a_template_beyond_its_ceiling_or_without_a_name() {
    let ground = Ground::new();
    let ceiling = ground.file("ceiling.toml", "[compute]\nmemory = \"64GiB\"\npids = 64");
    let wide = ground.file("wide.toml", "[compute]\npids = 65");
    let narrow = ground.file("narrow.toml", "[compute]\npids = 60");
    let serve = |words: &[&str]| {
        let common = ["serve", "--json", "--listen", "127.0.0.1:0", "--state", &ground.state];
        let (status, _, said) = run(&[&common, words].concat());
        (status, serde_json::from_str::<serde_json::Value>(&said).unwrap_or_else(|_| panic!("{said}")))
    };
    let template = format!("big={wide}");
    let (status, said) = serve(&["--policy", &narrow, "--ceiling", &ceiling, "--template", &template]);
    assert_eq!((status, &said["denial"]["rule"]), (77, &"compute.pids".into()), "{said}");
    for wrong in [wide.clone(), format!("={wide}"), format!("base={wide}"), format!("a/b={wide}")] {
        let (status, said) = serve(&["--policy", &narrow, "--template", &wrong]);
        assert_eq!(status, 64, "{wrong}: {said}");
    }
}
