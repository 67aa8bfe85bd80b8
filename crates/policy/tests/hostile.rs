//! Documents that try to be taken for more, or for something else, than they say. Each is refused with one problem, at its
//! place, in words that name it.

use policy::{Document, Library, Problem};

/// Documents that extend one another in ways that do not end.
struct Shelf;

impl Library for Shelf {
    fn text(&self, path: &str) -> Result<Vec<u8>, String> {
        let text = match path {
            "./circle.toml" => "version = 1\nname = \"circle\"\nextends = \"./circle.toml\"\n",
            "./one.toml" => "version = 1\nname = \"one\"\nextends = \"./two.json\"\n",
            "./two.json" => "{\"version\": 1, \"name\": \"two\", \"extends\": \"./one.toml\"}",
            "./net.toml" => {
                "version = 1\nname = \"net\"\n[[net.allow]]\nhost = \"api.example.com\"\nmethods = [\"GET\"]\n"
            }
            "./read.toml" => {
                "version = 1\nname = \"read\"\n[[files]]\nat = \"/in\"\naccess = \"read\"\nfrom = \"/srv/data\"\n"
            }
            "./ask.toml" => {
                "version = 1\nname = \"ask\"\n[[tools]]\nname = \"git\"\nprogram = \"/usr/bin/git\"\n[[ask]]\nwhen = \"tool git push\"\n"
            }
            "./latin1.toml" => return Ok(b"version = 1\nname = \"\xe9\"\n".to_vec()),
            "./huge.toml" => return Ok(vec![b'#'; 70_000]),
            _ => return Err("no such file".to_owned()),
        };
        Ok(text.as_bytes().to_vec())
    }
}

const HEAD: &str = "version = 1\nname = \"a\"\n";

/// What follows the head of a document in TOML, where its one problem is, and what is said.
const TOML: &[(&str, &str, &str)] = &[
    // Other types than the ones that are meant.
    ("root = \"false\"", "3:8", "`root`: expected `true` or `false`, found the string `false`"),
    ("root = 0", "3:8", "`root`: expected `true` or `false`, found the integer `0`"),
    ("compute = \"none\"", "3:11", "`compute`: expected a table, found the string `none`"),
    ("[[net]]\nhost = \"a.example.com\"", "3:1", "`net`: expected a table, found a list"),
    ("net = \"none\"", "3:7", "`net`: expected a table, found the string `none`"),
    ("[net]\nallow = \"*\"", "4:9", "`allow`: expected a list of rules, found the string `*`"),
    (
        "[net]\nallow = [\"api.example.com\"]",
        "4:10",
        "`allow`: expected a table, found the string `api.example.com`",
    ),
    ("[[net.allow]]\nhost = [\"api.example.com\"]", "4:8", "`host`: expected a host's name, found a list"),
    (
        "[[net.allow]]\nhost = \"api.example.com\"\nports = 443",
        "5:9",
        "`ports`: expected a list of ports, found the integer `443`",
    ),
    (
        "[[net.allow]]\nhost = \"api.example.com\"\nports = [\"443\"]",
        "5:10",
        "a port from 1 to 65535, found the string `443`",
    ),
    (
        "[[net.allow]]\nhost = \"api.example.com\"\nmethods = \"GET\"",
        "5:11",
        "`methods`: expected a list of methods, found the string `GET`",
    ),
    (
        "[[tools]]\nname = \"git\"\nprogram = \"/usr/bin/git\"\nargs = [\"status\"]",
        "6:9",
        "`args`: expected a list of words, found the string `status`",
    ),
    (
        "[[tools]]\nname = \"git\"\nprogram = \"/usr/bin/git\"\nargs = [[1]]",
        "6:9",
        "`args`: expected a list of words, found a list",
    ),
    (
        "[secrets]\nexample = \"env:TOKEN\"",
        "4:11",
        "`example`: expected a table, found the string `env:TOKEN`",
    ),
    ("[[examples]]\nallow = true", "4:9", "`allow`: expected an act, found the boolean `true`"),
    // Numbers that are too large, too small, or none.
    (
        "[budget]\nrequests = 99999999999999999999",
        "4:12",
        "`requests`: expected an integer from 1 to 1000000000000, found the integer",
    ),
    ("[budget]\nrequests = -1", "4:12", "found the integer `-1`"),
    ("[budget]\nbytes_out = \"99999999TiB\"", "4:13", "`bytes_out`: expected a size from `1B` to `16TiB`"),
    ("[children]\nmost = 4097", "4:8", "`most`: expected an integer from 0 to 4096"),
    (
        "[[net.allow]]\nhost = \"api.example.com\"\nports = [0]",
        "5:10",
        "a port from 1 to 65535, found the integer `0`",
    ),
    (
        "[[net.allow]]\nhost = \"api.example.com\"\nports = [65979]",
        "5:10",
        "a port from 1 to 65535, found the integer `65979`",
    ),
    (
        "[[net.allow]]\nhost = \"api.example.com\"\nrate = \"0/s\"",
        "5:8",
        "`rate`: expected a rate such as `10/s`",
    ),
    ("[[net.allow]]\nhost = \"api.example.com\"\nrate = \"1e9/s\"", "5:8", "`rate`: expected a rate"),
    (
        "[[ask]]\nwhen = \"net a.example.com\"\nwithin = \"8d\"",
        "5:10",
        "`within`: expected a time from `1s` to `7d`",
    ),
    // Lists that are empty, and could mean nothing or everything.
    ("tools = []", "3:9", "`tools`: expected a list of tools, found an empty list"),
    ("[net]\nallow = []", "4:9", "`allow`: expected a list of rules, found an empty list"),
    ("[net]", "3:2", "[net] without `allow`"),
    ("ask = []", "3:7", "`ask`: expected a list of questions, found an empty list"),
    ("secrets = {}", "3:11", "`secrets`: expected a table, found a table"),
    (
        "[[net.allow]]\nhost = \"api.example.com\"\nmethods = []",
        "5:11",
        "`methods`: expected a list of methods, found an empty list",
    ),
    (
        "[[net.allow]]\nhost = \"api.example.com\"\npaths = []",
        "5:9",
        "`paths`: expected a list of paths, found an empty list",
    ),
    (
        "[[tools]]\nname = \"git\"\nprogram = \"/usr/bin/git\"\nargs = []",
        "6:8",
        "`args`: expected a list of lists of words, found an empty list",
    ),
    ("cedar = \"  \"", "3:9", "`cedar`: expected Cedar policies that forbid"),
    // Hosts that are more than one, or lead back here.
    ("[[net.allow]]\nhost = \"*\"", "4:8", "which is a public suffix"),
    ("[[net.allow]]\nhost = \"*.com\"", "4:8", "anybody may have a name beneath `com`"),
    ("[[net.allow]]\nhost = \"**.co.uk\"", "4:8", "anybody may have a name beneath `co.uk`"),
    ("[[net.allow]]\nhost = \"*.s3.amazonaws.com\"", "4:8", "anybody may have a name beneath"),
    (
        "[[net.allow]]\nhost = \"**.amazonaws.com\"",
        "4:8",
        "there are public suffixes beneath `amazonaws.com`",
    ),
    ("[[net.allow]]\nhost = \"*.kawasaki.jp\"", "4:8", "there are public suffixes beneath"),
    ("[[net.allow]]\nhost = \"*example.com\"", "4:8", "a `*` stands for one whole label"),
    ("[[net.allow]]\nhost = \"localhost\"", "4:8", "at least two labels"),
    ("[[net.allow]]\nhost = \"a.localhost\"", "4:8", "lead to this machine"),
    (
        "[[net.allow]]\nhost = \"metadata.google.internal\"",
        "4:8",
        "lead to this machine or to its own network",
    ),
    ("[[net.allow]]\nhost = \"169.254.169.254\"", "4:8", "an address, a port or a URL is not a host's name"),
    ("[[net.allow]]\nhost = \"0x7f.1\"", "4:8", "an address is not a host's name"),
    ("[[net.allow]]\nhost = \"api.example.com@evil.net\"", "4:8", "has characters that a label"),
    ("[[net.allow]]\nhost = \"api.ex\u{430}mple.com\"", "4:8", "U+0430, which is not ASCII"),
    ("[[net.allow]]\nhost = \"API.example.com\"", "4:8", "has capitals"),
    (
        "[[net.allow]]\nhost = \"api.example.com\"\nmethods = [\"get\"]",
        "5:12",
        "a method in capitals, found the string `get`",
    ),
    (
        "[[net.allow]]\nhost = \"api.example.com\"\nmethods = [\"*\"]",
        "5:12",
        "a method in capitals, found the string `*`",
    ),
    (
        "[[net.allow]]\nhost = \"api.example.com\"\nmethods = [\"GET\", \"GET\"]",
        "5:19",
        "`methods` has the same value twice",
    ),
    // Paths that lead elsewhere than they seem to.
    (
        "[[net.allow]]\nhost = \"api.example.com\"\npaths = [\"/v1/../admin\"]",
        "5:10",
        "a segment that is empty, `.` or `..`",
    ),
    ("[[net.allow]]\nhost = \"api.example.com\"\npaths = [\"/v1/%2e%2e/**\"]", "5:10", "it has a `%`"),
    (
        "[[net.allow]]\nhost = \"api.example.com\"\npaths = [\"/**/public\"]",
        "5:10",
        "`**` stands alone, and last",
    ),
    ("[[net.allow]]\nhost = \"api.example.com\"\npaths = [\"/v1\\\\admin\"]", "5:10", "it has a `\\`"),
    (
        "[[files]]\nat = \"/in/../etc\"\naccess = \"scratch\"",
        "4:6",
        "not an absolute path in its shortest form",
    ),
    ("[[files]]\nat = \"/usr\"\naccess = \"scratch\"", "4:6", "`/usr` belongs to the sandbox's system"),
    (
        "[[tools]]\nname = \"git\"\nprogram = \"git\"",
        "5:11",
        "`git` is not a program's path: it does not begin with `/`",
    ),
    (
        "[[tools]]\nname = \"git\"\nprogram = \"/usr/bin/../../tmp/git\"",
        "5:11",
        "it is not in its shortest form",
    ),
    (
        "[[tools]]\nname = \"git\"\nprogram = \"/usr/bin/*\"",
        "5:11",
        "it has a `*`, and a tool is one program",
    ),
    (
        "[[tools]]\nname = \"git\"\nprogram = \"/usr/bin/git\"\nargs = [[\"**\", \"status\"]]",
        "6:9",
        "`**` stands alone, and last",
    ),
    // Secrets that go elsewhere, or nowhere.
    ("[[net.allow]]\nhost = \"a.example.com\"\nsecret = \"key\"", "5:10", "there is no secret `key`"),
    ("[secrets.key]\nfrom = \"env:KEY\"\nheader = \"X: {}\"", "3:10", "no rule puts the secret `key` in"),
    (
        "[[net.allow]]\nhost = \"a.example.com\"\nsecret = \"key\"\n[secrets.key]\nfrom = \"file:/etc/shadow\"\nheader = \"X: {}\"",
        "7:8",
        "a variable of the gateway's environment, found the string `file:/etc/shadow`",
    ),
    (
        "[[net.allow]]\nhost = \"a.example.com\"\nsecret = \"key\"\n[secrets.key]\nfrom = \"env:KEY\"\nheader = \"X: {}\\r\\nHost: evil.net\"",
        "8:10",
        "characters that a header may not have",
    ),
    (
        "[[net.allow]]\nhost = \"a.example.com\"\nsecret = \"key\"\n[secrets.key]\nfrom = \"env:KEY\"\nheader = \"Host: {}\"",
        "8:10",
        "that header says how the request is read",
    ),
    (
        "[[net.allow]]\nhost = \"a.example.com\"\nsecret = \"key\"\n[secrets.key]\nfrom = \"env:KEY\"\nheader = \"X: {}{}\"",
        "8:10",
        "`{}` stands in it exactly once",
    ),
    // Tools and questions that are not what they seem.
    (
        "[[tools]]\nname = \"git\"\nprogram = \"/usr/bin/git\"\n[[tools]]\nname = \"git\"\nprogram = \"/bin/sh\"",
        "7:8",
        "two tools have the name `git`",
    ),
    (
        "[[tools]]\nname = \"g\u{456}t\"\nprogram = \"/usr/bin/git\"",
        "4:8",
        "`name`: expected 1 to 64 of the characters",
    ),
    ("[[ask]]\nwhen = \"tool gti push\"", "4:8", "there is no tool `gti` to ask about"),
    ("[[ask]]\nwhen = \"exec git push\"", "4:8", "it begins with neither `tool NAME` nor `net HOST`"),
    (
        "[[tools]]\nname = \"git\"\nprogram = \"/usr/bin/git\"\n[[tools]]\nname = \"twin\"\nprogram = \"/usr/bin/git\"",
        "8:11",
        "the tools `git` and `twin` are the same program",
    ),
    (
        "[[tools]]\nname = \"git\"\nprogram = \"/usr/bin/git\"\n[[tools]]\nname = \"twin\"\nprogram = \"/bin/git\"",
        "8:11",
        "the tools `git` and `twin` are the same program",
    ),
    ("[[ask]]\nwhen = \"tool git pu\u{ad}sh\"", "4:20", "U+00AD, which does not show"),
    (
        "cedar = \"forbid (principal, action, resource) when { context.args.w0 == 'pu\u{fe0f}sh' };\"",
        "3:76",
        "U+FE0F",
    ),
    (
        "[[examples]]\ndeny = \"GET https://a.example.com/public/..;/admin\"",
        "4:8",
        "a segment `.` or `..` with parameters",
    ),
    ("[[examples]]\ndeny = \"GET https://a.example.com/%252e%252e/admin\"", "4:8", "is encoded twice"),
    (
        "[[tools]]\nname = \"git\"\nprogram = \"/usr/bin/git\"\n[[examples]]\nallow = \"exec git status\"",
        "7:9",
        "`exec git status` is denied by the rule `tools`",
    ),
    // Examples that its own rules contradict, or that are no acts.
    (
        "[[examples]]\nallow = \"GET https://example.com/\"",
        "4:9",
        "`GET https://example.com/` is denied by the rule `net`",
    ),
    (
        "[[examples]]\ndeny = \"exec rm -r /\"",
        "4:8",
        "`exec rm -r /` is allowed by the rule `exec (no [[tools]] rule)`",
    ),
    (
        "[[files]]\nat = \"/in\"\naccess = \"read\"\nfrom = \"x\"\n[[examples]]\nallow = \"write /in/a\"",
        "8:9",
        "`write /in/a` is denied by the rule `files[1] /in`",
    ),
    (
        "[compute]\nmemory = \"1GiB\"\n[[examples]]\ndeny = \"use memory 1GiB\"",
        "6:8",
        "`use memory 1GiB` is allowed by the rule `compute.memory`",
    ),
    ("[[examples]]\nallow = \"read /in/../etc/shadow\"", "4:9", "the path is not in its shortest form"),
    (
        "[[examples]]\nallow = \"exec true\"\ndeny = \"exec true\"",
        "3:1",
        "an example has either `allow` or `deny`",
    ),
    // Layers that would widen.
    (
        "extends = \"./circle.toml\"",
        "3:11",
        "a policy extends itself: `t` -> `./circle.toml` -> `./circle.toml`",
    ),
    (
        "extends = \"./one.toml\"",
        "3:11",
        "a policy extends itself: `t` -> `./one.toml` -> `./two.json` -> `./one.toml`",
    ),
    ("extends = \"http://example.com/base.toml\"", "3:11", "is not a shipped policy"),
    (
        "extends = [\"default\", \"locked\"]",
        "3:11",
        "the name of a shipped policy, or a path that begins with `./`, `../` or `/`, found a list",
    ),
    ("extends = \"./latin1.toml\"", "3:11", "the byte 0xe9, which is not UTF-8"),
    ("extends = \"./huge.toml\"", "3:11", "the document has 70000 bytes, expected at most 65536"),
    ("extends = \"locked\"\nroot = true", "4:8", "`root` asks for true; the most is false, says `locked`"),
    ("extends = \"locked\"\n[walls]\nlandlock = 0", "5:12", "`walls.landlock` asks for 0; the most is 2"),
    (
        "extends = \"locked\"\n[[net.allow]]\nhost = \"example.com\"",
        "4:1",
        "the most is no network, says `locked`",
    ),
    (
        "extends = \"./net.toml\"\n[[net.allow]]\nhost = \"api.example.com\"",
        "4:1",
        "asks for all methods on api.example.com:443; the most is GET on",
    ),
    (
        "extends = \"./read.toml\"\n[[files]]\nat = \"/in\"\naccess = \"write\"\nto = \"/srv/data\"",
        "4:1",
        "the most is read of `/srv/data` at `/in`",
    ),
    (
        "extends = \"./read.toml\"\n[[files]]\nat = \"/in\"\naccess = \"read\"\nfrom = \"/srv/data/../../etc\"",
        "4:1",
        "the most is read of `/srv/data`",
    ),
    (
        "extends = \"./ask.toml\"\n[[ask]]\nwhen = \"tool git push\"\nwithin = \"1h\"",
        "5:8",
        "`ask[1] tool git push` asks for 1h; the most is 5m",
    ),
    // Characters that do not show, and what is no TOML.
    ("about = \"safe\u{202e}\"", "3:14", "U+202E, which does not show"),
    ("# \u{200b}\nroot = true", "3:3", "U+200B"),
    ("\"ro\u{43e}t\" = true", "3:1", "U+043E, which is not ASCII"),
    ("root = false\nroot = true", "4:1", "`root` is written twice"),
    (
        "[net]\nallow = [{ host = \"a.example.com\", host = \"b.example.com\" }]",
        "4:36",
        "`host` is written twice",
    ),
];

/// Whole documents in JSON.
const JSON: &[(&str, &str, &str)] = &[
    ("{\"version\": 1, \"name\": \"a\", \"root\": false, \"root\": true}", "1:44", "`root` is written twice"),
    (
        "{\"version\": 1, \"name\": \"a\", \"ro\\u006ft\": false, \"root\": true}",
        "1:49",
        "`root` is written twice",
    ),
    ("{\"version\": 1.0, \"name\": \"a\"}", "1:13", "found the float `1.0`"),
    ("{\"version\": 1e0, \"name\": \"a\"}", "1:13", "found the float `1e0`"),
    ("{\"version\": 01, \"name\": \"a\"}", "1:13", "a number has digits, and no `0` before them"),
    ("{\"version\": 1, \"name\": null}", "1:24", "found null"),
    ("{\"version\": 1, \"name\": \"a\", // allow\n}", "1:29", "not JSON: expected a key in double quotes"),
    ("{\"version\": 1, \"name\": \"a\",}", "1:28", "not JSON: expected a key in double quotes"),
    ("{\"version\": 1, \"name\": \"a\"} {}", "1:29", "not JSON: expected nothing more"),
    ("{\"version\": 1, \"name\": \"a\", \"about\": \"\\ud800\"}", "1:39", "not JSON: no such character"),
    ("{\"version\": 1, \"name\": \"a\\u0000\"}", "1:24", "`name`: expected 1 to 64 of the characters"),
    (
        "{\"version\": 1, \"name\": \"a\", \"compute\": {\"pids\": 1e99}}",
        "1:49",
        "`pids`: expected an integer from 4 to 4194304, found the float `1e99`",
    ),
    (
        "{\"version\": 1, \"name\": \"a\", \"__proto__\": {\"root\": true}}",
        "1:29",
        "unknown key `__proto__` in the policy",
    ),
    (
        "{\"version\": 1,\n \"name\": \"a\",\n \"net\": {\"allow\": [{\"host\": \"a.example.com\", \"port\": 443}]}}",
        "3:46",
        "unknown key `port` in [[net.allow]]",
    ),
];

fn wrong(source: &[u8], place: &str, phrase: &str) -> Option<String> {
    let shown = String::from_utf8_lossy(&source[..source.len().min(300)]).into_owned();
    let rejected = match Document::parse(source, "t", &Shelf) {
        Ok(document) => return Some(format!("{shown}\nis taken: {document:?}\n")),
        Err(rejected) => rejected,
    };
    match rejected.problems() {
        [Problem { line, column, message, help, .. }]
            if format!("{line}:{column}") == place && message.contains(phrase) && !help.is_empty() =>
        {
            None
        }
        _ => Some(format!("{shown}\nexpected {place} {phrase}\n{}\n", rejected.plain())),
    }
}

#[test]
fn each_is_refused_at_its_place_and_by_its_name() {
    assert!(TOML.len() + JSON.len() >= 60);
    let toml = TOML
        .iter()
        .filter_map(|(tail, place, phrase)| wrong(format!("{HEAD}{tail}").as_bytes(), place, phrase));
    let json = JSON.iter().filter_map(|(text, place, phrase)| wrong(text.as_bytes(), place, phrase));
    let all: Vec<String> = toml.chain(json).collect();
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn what_is_deep_long_or_many_is_refused_in_bounded_time() {
    let repeated = |begin: &str, one: &str, count: usize| format!("{HEAD}{begin}{}", one.repeat(count));
    let rule = "[[net.allow]]\nhost = \"a.example.com\"\n";
    let ports: String = (1..=65).map(|port| format!("{port}, ")).collect();
    let deep =
        format!("{{\"version\": 1, \"name\": \"a\", \"x\": {}{}}}", "[".repeat(5000), "]".repeat(5000));
    let tables = format!(
        "{{\"version\": 1, \"name\": \"a\", \"x\": {}1{}}}",
        "{\"a\": ".repeat(5000),
        "}".repeat(5000)
    );
    for (source, place, phrase) in [
        (repeated("", rule, 257), "515:1".to_owned(), "more than 256 of [[net.allow]]"),
        (format!("{HEAD}{rule}ports = [{ports}]"), "5:257".to_owned(), "`ports` has more than 64 values"),
        (
            format!("{HEAD}{rule}paths = [\"{}\"]", "/a".repeat(33)),
            "5:10".to_owned(),
            "it has more than 32 words",
        ),
        (
            format!("{HEAD}{rule}paths = [\"/{}\"]", "*".repeat(60_000)),
            "5:10".to_owned(),
            "`**` stands alone",
        ),
        (
            format!("{HEAD}[[examples]]\nallow = \"read /{}\"", "a".repeat(9000)),
            "4:9".to_owned(),
            "it has more than 8192 bytes",
        ),
        (deep, "1:114".to_owned(), "lists and tables are nested more than 80 deep"),
        (tables, "1:514".to_owned(), "lists and tables are nested more than 80 deep"),
        (format!("{HEAD}x = {}", "[".repeat(60_000)), "3:85".to_owned(), "not TOML"),
        (format!("{HEAD}# {}", "a".repeat(65_536)), "3:65514".to_owned(), "expected at most 65536"),
        (format!("{{{}", " ".repeat(65_536)), "1:65537".to_owned(), "expected at most 65536"),
    ] {
        if let Some(said) = wrong(source.as_bytes(), &place, phrase) {
            panic!("{}", &said[..said.len().min(1500)]);
        }
    }
}

#[test]
fn stars_that_could_be_tried_in_many_ways_are_matched_at_once() {
    let word = format!("{}b", "*a".repeat(30_000 / 2));
    let source = format!(
        "{HEAD}[[tools]]\nname = \"t\"\nprogram = \"/t\"\nargs = [[\"{word}\"]]\n[[examples]]\ndeny = \"tool t {}\"",
        "a".repeat(8000)
    );
    let document =
        Document::parse(source.as_bytes(), "t", &Shelf).unwrap_or_else(|error| panic!("{}", error.plain()));
    assert_eq!(document.examples.len(), 1);
}
