//! What runs, what it may spend, whom it asks, and what is expected of the whole: `[[tools]]`, `[budget]`, `[children]`,
//! `[[ask]]`, `cedar`, `[[examples]]`.

use super::net::words;
use super::{Places, is_name};
use crate::engine;
use crate::form::{Ask, AskWhen, Budget, Example, Forbid, Tool};
use crate::keys::{
    self, ARGS, BYTES_OUT, CEDAR, EXAMPLE_ALLOW, EXAMPLE_DENY, MOST, PROGRAM, REQUESTS, TIMEOUT, TOOL_MEMORY,
    TOOL_NAME, WHEN, WITHIN, WITHIN_MS,
};
use crate::pattern::{Pattern, Rest};
use crate::problem::{Report, excerpt, is_plain};
use crate::reading::{Table, Value};
use crate::words::split;
use crate::{Act, host};

const PROGRAM_BYTES_MAX: usize = 4096;

pub(super) fn read(root: &Table, places: &mut Places<'_>, report: &mut Report) -> Option<Vec<Tool>> {
    root.get(keys::TOOLS.name)?;
    let mut tools: Vec<Tool> = Vec::new();
    for (table, span) in report.tables(root, &keys::TOOLS) {
        let Some(tool) = tool(table, places.line(span.start), report) else { continue };
        if tools.iter().any(|other| other.name == tool.name) {
            let message = format!("two tools have the name `{}`", tool.name);
            let place = table.get(TOOL_NAME.name).map_or(span.clone(), Value::span);
            report.refuse(place, message, "give each its own name, and write all its `args` in one list");
        }
        // A question about one of them would not be one about the other, which runs the same.
        if let Some(other) =
            tools.iter().find(|other| is_same(&other.program, &tool.program) && other.name != tool.name)
        {
            let message = format!("the tools `{}` and `{}` are the same program", other.name, tool.name);
            let place = table.get(PROGRAM.name).map_or(span.clone(), Value::span);
            report.refuse(place, message, "make them one tool, with all its `args` in one list");
        }
        places.add(format!("tools[{}]", tools.len()), span);
        tools.push(tool);
    }
    Some(tools)
}

/// Whether two paths lead to one program: inside, `/bin` and its like are links to what is beneath `/usr`.
fn is_same(one: &str, other: &str) -> bool {
    let name = |path: &'_ str| path.strip_prefix("/usr").unwrap_or(path).to_owned();
    name(one) == name(other)
}

fn tool(table: &Table, line: u32, report: &mut Report) -> Option<Tool> {
    let name = report.value(table, &TOOL_NAME, |value| value.text().filter(|name| is_name(name)));
    let program = report.text(table, &PROGRAM, program);
    let args = report.list(table, &ARGS, |report, value| {
        let list = value.as_list().map(|list| list.iter().map(Value::as_str).collect::<Option<Vec<&str>>>());
        let Some(Some(list)) = list else {
            report.unlike(value, ARGS.name, "a list of words", ARGS.example);
            return None;
        };
        let mend = "write `*` for any characters of one word, and a last `**` for any further words";
        words(list.into_iter())
            .map_err(|why| report.refuse(value.span(), format!("`args`: {why}"), mend))
            .ok()
    });
    let timeout_ms = report.number(table, &TIMEOUT);
    let memory_bytes = report.number(table, &TOOL_MEMORY);
    Some(Tool {
        name: name?.0.to_owned(),
        program: program?,
        args,
        timeout_ms,
        memory_bytes,
        line: Some(line),
    })
}

fn program(text: &str) -> Result<String, (String, &'static str)> {
    const MEND: &str = "write the path from `/`, without empty names, `.` and `..`: `/usr/bin/git`";
    let refuse = |why: &str| Err((format!("{} is not a program's path: {why}", excerpt(text)), MEND));
    let Some(names) = text.strip_prefix('/') else { return refuse("it does not begin with `/`") };
    match () {
        () if text.len() > PROGRAM_BYTES_MAX => refuse("it has more than 4096 bytes"),
        () if names.split('/').any(|name| matches!(name, "" | "." | "..")) => {
            refuse("it is not in its shortest form")
        }
        () if !text.chars().all(is_plain) => refuse("it has characters that do not show"),
        () if text.contains('*') => refuse("it has a `*`, and a tool is one program"),
        () => Ok(text.to_owned()),
    }
}

pub(super) fn budget(root: &Table, report: &mut Report) -> Budget {
    let Some(table) = report.table(root, &keys::BUDGET) else { return Budget::default() };
    Budget { requests: report.number(table, &REQUESTS), bytes_out: report.number(table, &BYTES_OUT) }
}

pub(super) fn children(root: &Table, report: &mut Report) -> u32 {
    let table = report.table(root, &keys::CHILDREN);
    // The bound fits the field that it is cut to.
    table.and_then(|table| report.number(table, &MOST)).map_or(0, |most| most as u32)
}

pub(super) fn ask(root: &Table, places: &mut Places<'_>, report: &mut Report) -> Vec<Ask> {
    let mut asks: Vec<Ask> = Vec::new();
    for (table, span) in report.tables(root, &keys::ASK) {
        let when = report.text(table, &WHEN, when);
        let within_ms = match table.get(WITHIN.name) {
            Some(_) => report.number(table, &WITHIN),
            None => Some(WITHIN_MS),
        };
        let (Some(when), Some(within_ms)) = (when, within_ms) else { continue };
        let place = table.get(WHEN.name).map_or(span.clone(), Value::span);
        if asks.iter().any(|other| other.when == when) {
            report.refuse(place.clone(), "the same question is asked twice", "keep one of the two");
        }
        let line = Some(places.line(span.start));
        places.add(format!("ask[{}]", asks.len()), place);
        asks.push(Ask { when, within_ms, line });
    }
    asks
}

fn when(text: &str) -> Result<AskWhen, (String, &'static str)> {
    const MEND: &str = "write `tool NAME ARG...`, such as `tool git push`, or `net HOST`";
    let refuse =
        |why: &str| Err((format!("{} is not what a person can be asked about: {why}", excerpt(text)), MEND));
    let all = match split(text) {
        Ok(all) => all,
        Err(why) => return refuse(why),
    };
    match all.as_slice() {
        [first, name, args @ ..] if first.is("tool") => {
            let name = String::from_utf8_lossy(&name.bytes).into_owned();
            let args: Result<Vec<&str>, _> =
                args.iter().map(|word| std::str::from_utf8(&word.bytes)).collect();
            match (is_name(&name), args.ok().and_then(|args| words(args.into_iter()).ok())) {
                (false, _) => refuse("a name has 1 to 64 of the characters a-z, 0-9 and `-`"),
                (_, None) => refuse("its words cannot be read"),
                // Calls that begin so: more words ask as well.
                (_, Some(args)) => Ok(AskWhen::Tool { name, args: Pattern { rest: Rest::Any, ..args } }),
            }
        }
        [first, name] if first.is("net") => {
            host::pattern(&String::from_utf8_lossy(&name.bytes)).map(|host| AskWhen::Net { host })
        }
        _ => refuse("it begins with neither `tool NAME` nor `net HOST`"),
    }
}

/// The `cedar` block: policies that forbid.
pub(super) fn cedar(root: &Table, name: &str, places: &Places<'_>, report: &mut Report) -> Vec<Forbid> {
    let text = report.value(root, &CEDAR, |value| value.text().filter(|text| !text.trim().is_empty()));
    let Some((text, span)) = text else { return Vec::new() };
    engine::forbids(text, name).unwrap_or_else(|problems| {
        for problem in problems {
            report.refuse(places.within(&span, text, &problem.span), problem.message, problem.help);
        }
        Vec::new()
    })
}

pub(super) fn examples(root: &Table, places: &mut Places<'_>, report: &mut Report) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    for (table, span) in report.tables(root, &keys::EXAMPLES) {
        let (key, allowed) = match (table.key(EXAMPLE_ALLOW.name), table.key(EXAMPLE_DENY.name)) {
            (Some(_), None) => (&EXAMPLE_ALLOW, true),
            (None, Some(_)) => (&EXAMPLE_DENY, false),
            _ => {
                let mend = format!("write `{}` or `{}`", EXAMPLE_ALLOW.example, EXAMPLE_DENY.example);
                report.refuse(span, "an example has either `allow` or `deny`", mend);
                continue;
            }
        };
        let act = report
            .text(table, key, |text| Act::parse(text).map_err(|error| (error.to_string(), error.mend())));
        let place = table.get(key.name).map_or(span.clone(), Value::span);
        if let Some(act) = act {
            let line = Some(places.line(place.start));
            places.add(format!("examples[{}]", examples.len()), place);
            examples.push(Example { act, allowed, line });
        }
    }
    examples
}
