//! The table itself.

use super::{Key, Noun, REQUIRED, Takes};

const NONE: &str = "(none)";
pub(crate) const NAME_PATTERN: &str = "^[a-z0-9-]{1,64}$";
const MINUTE: u64 = 60_000;
const DAY: u64 = 86_400_000;

/// So many entries has a list of rules at most.
pub(crate) const RULES_MAX: usize = 256;
/// So many values has a list of values at most.
pub(crate) const VALUES_MAX: usize = 64;
/// So many examples has a document at most.
pub(crate) const EXAMPLES_MAX: usize = 1024;

const fn key(
    name: &'static str,
    takes: Takes,
    example: &'static str,
    default: &'static str,
    about: &'static str,
) -> Key {
    Key { name, takes, expected: "", example, default, about }
}

const fn told(expected: &'static str, key: Key) -> Key {
    Key { expected, ..key }
}

/// The document.
pub(crate) static POLICY: Noun = Noun {
    title: "the policy",
    keys: &[
        VERSION, NAME, ABOUT, EXTENDS, TIER, ROOT, WALLS, COMPUTE, LEASE, FILES, NET, SECRETS, TOOLS, BUDGET,
        CHILDREN, ASK, CEDAR, EXAMPLES,
    ],
};
pub(crate) const VERSION: Key = told(
    "`1`, the only version",
    key(
        "version",
        Takes::Whole { min: 1, max: 1 },
        "version = 1",
        REQUIRED,
        "The version of the language. There is one: `1`.",
    ),
);
pub(crate) const NAME: Key = told(
    "1 to 64 of the characters a-z, 0-9 and `-`",
    key(
        "name",
        Takes::Text(NAME_PATTERN),
        "name = \"analyst\"",
        REQUIRED,
        "1 to 64 of the characters `a-z`, `0-9` and `-`.",
    ),
);
pub(crate) const ABOUT: Key = told(
    "one line of 1 to 200 characters that show",
    key(
        "about",
        Takes::Text("^.{1,200}$"),
        "about = \"reads the reports, writes a summary\"",
        NONE,
        "One line of 1 to 200 characters on what the policy is for.",
    ),
);
pub(crate) const EXTENDS: Key = told(
    "the name of a shipped policy, or a path that begins with `./`, `../` or `/`",
    key(
        "extends",
        Takes::Text("^([a-z0-9-]{1,64}|(\\.{0,2}/).+)$"),
        "extends = \"default\"",
        NONE,
        "The policy that this one narrows: the name of a shipped one, or a file, relative to this one's directory: `./base.toml`.",
    ),
);
pub(crate) const TIER: Key = key(
    "tier",
    Takes::Choice(&["native", "gvisor", "microvm"]),
    "tier = \"native\"",
    "\"native\"",
    "The weakest walls that will do. `\"native\"`: namespaces, seccomp and Landlock on the host's kernel. `\"gvisor\"`: a kernel in user space. `\"microvm\"`: a kernel of its own.",
);
pub(crate) const ROOT: Key = key(
    "root",
    Takes::Truth,
    "root = false",
    "false",
    "Whether commands may run as root inside. Root inside counts nowhere outside.",
);
pub(crate) const WALLS: Key =
    key("walls", Takes::Table(&WALLS_TABLE), "[walls]", NONE, "The walls that it cannot do without.");
pub(crate) const COMPUTE: Key =
    key("compute", Takes::Table(&COMPUTE_TABLE), "[compute]", NONE, "The ceilings on what it uses.");
pub(crate) const LEASE: Key = key(
    "lease",
    Takes::Table(&LEASE_TABLE),
    "[lease]",
    NONE,
    "What becomes of a sandbox without its server.",
);
pub(crate) const FILES: Key = told(
    "a list of zones",
    key(
        "files",
        Takes::Tables(&FILES_TABLE, crate::ZONES_MAX),
        "[[files]]` above each zone, or leave it out",
        NONE,
        "The zones: places where files go in, stay a while or come out.",
    ),
);
pub(crate) const NET: Key = key(
    "net",
    Takes::Table(&NET_TABLE),
    "[[net.allow]]",
    NONE,
    "The requests that the gateway lets through. Without it there is no network.",
);
pub(crate) const SECRETS: Key = key(
    "secrets",
    Takes::Named(&SECRETS_TABLE, VALUES_MAX),
    "[secrets.example]",
    NONE,
    "What the gateway puts into requests and the sandbox never sees.",
);
pub(crate) const TOOLS: Key = told(
    "a list of tools",
    key(
        "tools",
        Takes::Tables(&TOOLS_TABLE, RULES_MAX),
        "[[tools]]` above each tool, or leave it out",
        NONE,
        "The programs that may be called. Without it every command may run inside the walls.",
    ),
);
pub(crate) const BUDGET: Key = key(
    "budget",
    Takes::Table(&BUDGET_TABLE),
    "[budget]",
    NONE,
    "What the sandbox and its children may spend together.",
);
pub(crate) const CHILDREN: Key =
    key("children", Takes::Table(&CHILDREN_TABLE), "[children]", NONE, "The sandboxes that it may make.");
pub(crate) const ASK: Key = told(
    "a list of questions",
    key(
        "ask",
        Takes::Tables(&ASK_TABLE, VALUES_MAX),
        "[[ask]]` above each question, or leave it out",
        NONE,
        "What a person decides.",
    ),
);
pub(crate) const CEDAR: Key = told(
    "Cedar policies that forbid",
    key(
        "cedar",
        Takes::Text("."),
        "cedar = \"\"\"forbid (principal, action, resource);\"\"\"",
        NONE,
        "Cedar policies that forbid what the rules above would allow. A `permit` is refused.",
    ),
);
pub(crate) const EXAMPLES: Key = told(
    "a list of examples",
    key(
        "examples",
        Takes::Tables(&EXAMPLES_TABLE, EXAMPLES_MAX),
        "[[examples]]` above each example, or leave it out",
        NONE,
        "Acts with the answers that the policy has to give, checked when it is loaded.",
    ),
);

pub(crate) static WALLS_TABLE: Noun = Noun { title: "[walls]", keys: &[REQUIRE, LANDLOCK] };
pub(crate) const REQUIRE: Key = told(
    "a list of walls",
    key(
        "require",
        Takes::List(&Takes::Wall, VALUES_MAX),
        "require = [\"memory-limit\"]` or leave it out",
        NONE,
        "Walls without which the sandbox does not start, beyond those that always stand. An empty list is refused: leave the key out.",
    ),
);
/// Far above what any kernel offers, so that a slip of the pen is caught here.
pub(crate) const LANDLOCK_MAX: u32 = 16;
pub(crate) const LANDLOCK: Key = told(
    "an integer from 0 to 16, the least Landlock ABI",
    key(
        "landlock",
        Takes::Whole { min: 0, max: LANDLOCK_MAX as u64 },
        "landlock = 1",
        "1",
        "The least Landlock ABI that will do. `0` permits its absence; it is used where the kernel has it.",
    ),
);

// The smallest values are those with which a shell still starts.
pub(crate) static COMPUTE_TABLE: Noun =
    Noun { title: "[compute]", keys: &[CPUS, MEMORY, PIDS, DISK, INODES, OPEN_FILES, WALL] };
pub(crate) const CPUS: Key = key(
    "cpus",
    Takes::Cpus { min: 1, max: 1_024_000 },
    "cpus = 1.5",
    "1.0",
    "Processor time per second of wall-clock time, in processors, in steps of 0.001.",
);
pub(crate) const MEMORY: Key = key(
    "memory",
    Takes::Size { min: 4 << 20, max: 16 << 40 },
    "memory = \"512MiB\"",
    "\"512MiB\"",
    "Memory of all processes together, page cache and what they write to their disk included.",
);
/// The kernel has no more process ids (PID_MAX_LIMIT).
pub(crate) const PIDS: Key = key(
    "pids",
    Takes::Whole { min: 4, max: 4_194_304 },
    "pids = 256",
    "256",
    "Processes and threads together.",
);
pub(crate) const DISK: Key = key(
    "disk",
    Takes::Size { min: 1 << 20, max: 16 << 40 },
    "disk = \"1GiB\"",
    "\"1GiB\"",
    "Bytes of all that can be written. It lies in memory: it counts into `memory` as it fills.",
);
pub(crate) const INODES: Key = key(
    "inodes",
    Takes::Whole { min: 64, max: 1 << 32 },
    "inodes = 262144",
    "262144",
    "Files, directories and links in what can be written.",
);
/// The kernel's own ceiling where nobody raised it (fs.nr_open).
pub(crate) const OPEN_FILES: Key = key(
    "open_files",
    Takes::Whole { min: 16, max: 1 << 20 },
    "open_files = 1024",
    "1024",
    "Open descriptors of one process.",
);
pub(crate) const WALL: Key = key(
    "wall",
    Takes::TimeOrNone { min: 100, max: 365 * DAY },
    "wall = \"10m\"` or `wall = \"none\"",
    "\"10m\"",
    "How long the sandbox may live. `\"none\"` is without end.",
);

pub(crate) static LEASE_TABLE: Noun = Noun { title: "[lease]", keys: &[AFTER, THEN] };
/// Shorter, and a server that is merely restarted would lose its sandboxes.
pub(crate) const AFTER: Key = key(
    "after",
    Takes::Time { min: 1000, max: 365 * DAY },
    "after = \"10m\"",
    "\"10m\"",
    "How long the sandbox lives without a server before `then` happens.",
);
pub(crate) const THEN: Key = key(
    "then",
    Takes::Choice(&["keep", "freeze", "end"]),
    "then = \"keep\"",
    "\"keep\"",
    "`\"keep\"`: nothing; it lives until its own time is over. `\"freeze\"`: it stands still until a server comes. `\"end\"`: it is ended.",
);

pub(crate) static FILES_TABLE: Noun = Noun { title: "[[files]]", keys: &[AT, ACCESS, FROM, TO, COMMIT] };
pub(crate) const AT: Key =
    told("a place inside", key("at", Takes::Text("^/.+$"), "at = \"/input\"", REQUIRED, "The place inside."));
pub(crate) const ACCESS: Key = key(
    "access",
    Takes::Choice(&["read", "scratch", "write", "draft"]),
    "access = \"read\"",
    REQUIRED,
    "What the zone is for.",
);
pub(crate) const FROM: Key = told(
    "a host directory",
    key(
        "from",
        Takes::Text("^[^~]"),
        "from = \"./reports\"",
        NONE,
        "The host directory that is shown. Required for `read` and `draft`, refused for the others.",
    ),
);
pub(crate) const TO: Key = told(
    "a host directory",
    key(
        "to",
        Takes::Text("^[^~]"),
        "to = \"./results\"",
        NONE,
        "The host directory that files are copied to. Required for `write`, refused for the others.",
    ),
);
pub(crate) const COMMIT: Key = told(
    "a table of rules",
    key(
        "commit",
        Takes::Table(&COMMIT_TABLE),
        "commit = { files = 1000 }",
        NONE,
        "What `casemate commit` may bring from a `draft` zone to its original. Refused for the others.",
    ),
);
pub(crate) static COMMIT_TABLE: Noun = Noun {
    title: "`commit`",
    keys: &[COMMIT_PATHS, COMMIT_BYTES, COMMIT_FILES, COMMIT_EXECUTABLES, UNPROTECT],
};
const TREE_PATTERN: Takes = Takes::Text("^[^/].*$");
pub(crate) const COMMIT_PATHS: Key = told(
    "a list of 1 to 64 patterns of paths",
    key(
        "paths",
        Takes::List(&TREE_PATTERN, crate::commit::PATTERNS_MAX),
        "paths = [\"src/**\"]` or leave it out for all of them",
        "(all)",
        "The paths beneath the zone that may change.",
    ),
);
pub(crate) const COMMIT_BYTES: Key = key(
    "bytes",
    Takes::Size { min: 1, max: crate::commit::BYTES_MAX },
    "bytes = \"10MiB\"",
    "\"64MiB\"",
    "The most bytes of new content in one commit.",
);
pub(crate) const COMMIT_FILES: Key = key(
    "files",
    Takes::Whole { min: 1, max: crate::commit::FILES_MAX },
    "files = 1000",
    "10000",
    "The most changed files in one commit, deleted ones and links included.",
);
pub(crate) const COMMIT_EXECUTABLES: Key =
    key("executables", Takes::Truth, "executables = false", "false", "Whether a file may become executable.");
pub(crate) const UNPROTECT: Key = told(
    "a list of 1 to 64 patterns of paths",
    key(
        "unprotect",
        Takes::List(&TREE_PATTERN, crate::commit::PATTERNS_MAX),
        "unprotect = [\".github/**\"]` or leave it out for none",
        NONE,
        "Paths that may change although they have a protected name.",
    ),
);

pub(crate) static NET_TABLE: Noun = Noun { title: "[net]", keys: &[ALLOW] };
pub(crate) const ALLOW: Key = told(
    "a list of rules",
    key(
        "allow",
        Takes::Tables(&ALLOW_TABLE, RULES_MAX),
        "[[net.allow]]` above each rule, or leave it out",
        REQUIRED,
        "The rules. What none of them allows is denied.",
    ),
);
pub(crate) static ALLOW_TABLE: Noun =
    Noun { title: "[[net.allow]]", keys: &[HOST, PORTS, METHODS, PATHS, RATE, BYTES_OUT, SECRET] };
const HOST_PATTERN: &str =
    "^(\\*\\*\\.|\\*\\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
pub(crate) const HOST: Key = told(
    "a host's name",
    key(
        "host",
        Takes::Text(HOST_PATTERN),
        "host = \"api.example.com\"",
        REQUIRED,
        "The host's name. `*.example.com` is any one label before it, `**.example.com` one or more.",
    ),
);
pub(crate) const PORTS: Key = told(
    "a list of ports",
    key(
        "ports",
        Takes::List(&Takes::Whole { min: 1, max: 65_535 }, VALUES_MAX),
        "ports = [443]",
        "[443]",
        "The ports.",
    ),
);
const METHOD_PATTERN: &str = "^[A-Z][A-Z0-9!#$%&'*+.^_`|~-]{0,31}$";
pub(crate) const METHODS: Key = told(
    "a list of methods",
    key(
        "methods",
        Takes::List(&Takes::Text(METHOD_PATTERN), VALUES_MAX),
        "methods = [\"GET\"]",
        "(all)",
        "The methods, in capitals.",
    ),
);
pub(crate) const PATHS: Key = told(
    "a list of paths",
    key(
        "paths",
        Takes::List(&Takes::Text("^/[^?#%\\\\]*$"), VALUES_MAX),
        "paths = [\"/v1/**\"]",
        "(all)",
        "The paths, percent-decoded. `*` is any characters of one segment, a last `**` any further segments.",
    ),
);
pub(crate) const RATE: Key = told(
    "a rate such as `10/s`, with `s`, `m`, `h` or `d`",
    key(
        "rate",
        Takes::Text("^[1-9][0-9]{0,8}/[smhd]$"),
        "rate = \"10/s\"",
        NONE,
        "Requests per second, minute, hour or day.",
    ),
);
pub(crate) const BYTES_OUT: Key = key(
    "bytes_out",
    Takes::Size { min: 1, max: 16 << 40 },
    "bytes_out = \"10MiB\"",
    NONE,
    "Bytes that may go out.",
);
pub(crate) const SECRET: Key = told(
    "the name of a secret",
    key(
        "secret",
        Takes::Text(NAME_PATTERN),
        "secret = \"example\"",
        NONE,
        "The secret that the gateway puts into these requests.",
    ),
);

pub(crate) static SECRETS_TABLE: Noun = Noun { title: "[secrets]", keys: &[SECRET_FROM, HEADER] };
pub(crate) const SECRET_FROM: Key = told(
    "a variable of the gateway's environment",
    key(
        "from",
        Takes::Text("^env:[A-Za-z_][A-Za-z0-9_]{0,127}$"),
        "from = \"env:EXAMPLE_TOKEN\"",
        REQUIRED,
        "Where it is: `env:NAME`, a variable of the gateway's environment.",
    ),
);
pub(crate) const HEADER: Key = told(
    "a header with one `{}`",
    key(
        "header",
        Takes::Text("^[A-Za-z0-9-]{1,64}: [^{}]*\\{\\}[^{}]*$"),
        "header = \"Authorization: Bearer {}\"",
        REQUIRED,
        "The header that it goes into, with one `{}` where it stands.",
    ),
);

pub(crate) static TOOLS_TABLE: Noun =
    Noun { title: "[[tools]]", keys: &[TOOL_NAME, PROGRAM, ARGS, TIMEOUT, TOOL_MEMORY] };
pub(crate) const TOOL_NAME: Key = told(
    "1 to 64 of the characters a-z, 0-9 and `-`",
    key("name", Takes::Text(NAME_PATTERN), "name = \"git\"", REQUIRED, "Its name."),
);
pub(crate) const PROGRAM: Key = told(
    "an absolute path inside",
    key(
        "program",
        Takes::Text("^/.+$"),
        "program = \"/usr/bin/git\"",
        REQUIRED,
        "The program inside, an absolute path in its shortest form.",
    ),
);
const WORD_LISTS: Takes = Takes::ListOrEmpty(&Takes::Text(""), 33);
pub(crate) const ARGS: Key = told(
    "a list of lists of words",
    key(
        "args",
        Takes::List(&WORD_LISTS, VALUES_MAX),
        "args = [[\"status\", \"**\"]]",
        "(any)",
        "The arguments that may follow. `*` is any characters of one word, a last `**` any further words, an empty list no argument.",
    ),
);
pub(crate) const TIMEOUT: Key = key(
    "timeout",
    Takes::Time { min: 100, max: DAY },
    "timeout = \"30s\"",
    NONE,
    "How long a call may take.",
);
pub(crate) const TOOL_MEMORY: Key = key(
    "memory",
    Takes::Size { min: 4 << 20, max: 16 << 40 },
    "memory = \"256MiB\"",
    NONE,
    "Memory of a call.",
);

pub(crate) static BUDGET_TABLE: Noun = Noun { title: "[budget]", keys: &[REQUESTS, BYTES_OUT] };
pub(crate) const REQUESTS: Key = key(
    "requests",
    Takes::Whole { min: 1, max: 1_000_000_000_000 },
    "requests = 1000",
    NONE,
    "Requests through the gateway.",
);

pub(crate) static CHILDREN_TABLE: Noun = Noun { title: "[children]", keys: &[MOST] };
pub(crate) const MOST: Key = key(
    "most",
    Takes::Whole { min: 0, max: 4096 },
    "most = 4",
    REQUIRED,
    "How many sandboxes it may make, each no wider than itself.",
);

pub(crate) static ASK_TABLE: Noun = Noun { title: "[[ask]]", keys: &[WHEN, WITHIN] };
pub(crate) const WHEN: Key = told(
    "`tool NAME ARG...` or `net HOST`",
    key(
        "when",
        Takes::Text("^(tool|net) .+$"),
        "when = \"tool git push\"",
        REQUIRED,
        "Which acts: `tool NAME ARG...` for calls whose arguments begin so, `net HOST` for requests of a host, named as in the rules.",
    ),
);
pub(crate) const WITHIN: Key = key(
    "within",
    Takes::Time { min: 1000, max: 7 * DAY },
    "within = \"5m\"",
    "\"5m\"",
    "For how long the question stands; silence denies.",
);
pub(crate) const WITHIN_MS: u64 = 5 * MINUTE;

pub(crate) static EXAMPLES_TABLE: Noun = Noun { title: "[[examples]]", keys: &[EXAMPLE_ALLOW, EXAMPLE_DENY] };
pub(crate) const EXAMPLE_ALLOW: Key = told(
    "an act",
    key(
        "allow",
        Takes::Text("."),
        "allow = \"GET https://api.example.com/v1/items\"",
        NONE,
        "An act that is allowed.",
    ),
);
pub(crate) const EXAMPLE_DENY: Key = told(
    "an act",
    key(
        "deny",
        Takes::Text("."),
        "deny = \"exec as root id\"",
        NONE,
        "An act that is denied. An example has one of the two.",
    ),
);
