//! Policies of 200 rules, made the same way every time, and acts that meet their rules.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::Result;

/// So many rules has each of them.
pub(super) const RULES: usize = 200;
/// A `cedar` block holds no more, and a sandbox no more zones.
const MOST: usize = 64;

/// All nouns, without a block.
pub(super) const NOUNS: &str = "nouns.toml";
/// All nouns, and a full block.
pub(super) const BLOCK: &str = "block.toml";
/// The one before, with one rule that is wider.
pub(super) const WIDER: &str = "wider.toml";
/// What a sandbox can have today: zones, and the blocks of three layers.
pub(super) const SANDBOX: &str = "sandbox.toml";

/// Writes them all into `directory`, with the acts that are decided beside each.
pub(super) fn write(directory: &Path) -> Result<()> {
    let nouns = |name: &str, zones: usize, forbids: usize| {
        let net = (RULES - zones - forbids).div_ceil(2);
        let block = if forbids == 0 { String::new() } else { block(0..forbids) };
        let tools = RULES - zones - forbids - net;
        head(name) + &block + &self::zones(zones) + &hosts(net) + &self::tools(tools)
    };
    let put = |name: &str, text: String| fs::write(directory.join(name), text);
    let block_text = nouns("block", 48, MOST);
    put(NOUNS, nouns("nouns", 48, 0))?;
    put(WIDER, block_text.replacen("paths = [\"/v1/**\"]\n", "", 1))?;
    put(BLOCK, block_text)?;
    put("base.toml", head("base") + &block(0..MOST) + &zones(MOST))?;
    let extended =
        |name: &str, base: &str, forbids| head(name) + &format!("extends = \"./{base}\"\n") + &block(forbids);
    put("middle.toml", extended("middle", "base.toml", MOST..2 * MOST))?;
    put(SANDBOX, extended("sandbox", "middle.toml", 2 * MOST..RULES - MOST))?;
    fs::create_dir(directory.join("data"))?;
    for name in [NOUNS, BLOCK, SANDBOX] {
        put(&format!("{name}.acts"), acts(name == SANDBOX))?;
    }
    Ok(())
}

fn head(name: &str) -> String {
    format!("version = 1\nname = \"{name}\"\n")
}

/// Half of them about commands, half about what is written.
fn block(numbers: std::ops::Range<usize>) -> String {
    let mut text = "cedar = '''\n".to_owned();
    for number in numbers {
        // Writing to a string cannot fail.
        let _ = match number % 2 {
            0 => writeln!(
                text,
                "@id(\"no push {number}\") forbid (principal, action == Action::\"exec\", resource) when {{ \
                 context.name == \"tool{number}\" && context.args.count > 1 && context.args.w1 like \"pu*{number}\" }};"
            ),
            _ => writeln!(
                text,
                "@id(\"no hooks {number}\") forbid (principal, action == Action::\"write\", resource) when {{ \
                 context.path.count > 2 && context.path.w1 == \"hooks{number}\" }};"
            ),
        };
    }
    text + "'''\n"
}

fn zones(count: usize) -> String {
    let one = |number| {
        let access = ["scratch\"", "read\"\nfrom = \"./data\""][number % 2];
        format!("[[files]]\nat = \"/zone{number}\"\naccess = \"{access}\n")
    };
    (0..count).map(one).collect()
}

fn hosts(count: usize) -> String {
    let one = |number| {
        let host = ["api", "*.cdn", "**.store"][number % 3];
        format!(
            "[[net.allow]]\nhost = \"{host}.host{number}.example.com\"\nports = [443]\nmethods = [\"GET\", \"POST\"]\n\
             paths = [\"/v1/**\"]\n"
        )
    };
    (0..count).map(one).collect()
}

fn tools(count: usize) -> String {
    let one = |number| {
        format!(
            "[[tools]]\nname = \"tool{number}\"\nprogram = \"/usr/bin/tool{number}\"\n\
             args = [[\"status\", \"**\"], [\"push\", \"origin\", \"*\"]]\n"
        )
    };
    (0..count).map(one).collect()
}

/// Commands, files and requests that are allowed, and as many that are not.
fn acts(sandbox: bool) -> String {
    let mut acts = Vec::new();
    for number in (0..36).step_by(5) {
        acts.extend([
            format!("exec /usr/bin/tool{number} status -s"),
            format!("exec /usr/bin/tool{number} commit -m 'a few words'"),
            format!("read /zone{number}/a/b.csv"),
            format!("write /zone{number}/a/b.csv"),
            format!("write /zone{number}/hooks{number}/x"),
            format!("read /other{number}/a"),
        ]);
        if !sandbox {
            acts.extend([
                format!("GET https://api.host{number}.example.com/v1/items"),
                format!("GET https://a.b.store.host{number}.example.com/v1/items"),
                format!("PUT https://api.host{number}.example.com/v1/items"),
            ]);
        }
    }
    acts.join("\n") + "\n"
}
