//! From a solver's model back to an act that a person can read and the engine can decide about.

use cedar_policy::EvalResult;
use cedar_policy_symcc::Env;
use policy::engine::Action;
use policy::{Act, Limit, Request, User};
use std::collections::BTreeSet;

/// No policy looks at more words.
const KEPT_MAX: usize = 40;

/// An act of a model that `shows` what is claimed, in the plainest words that still do. None: the model is no such act.
pub(crate) fn act(
    env: &Env,
    action: Action,
    ids: &BTreeSet<String>,
    shows: impl Fn(&Act) -> bool,
) -> Option<Act> {
    let act = raw(env, action, ids)?;
    let act = shows(&act).then(|| plainer(act, &shows))?;
    // What cannot be written down is nothing to show.
    (Act::parse(&act.to_string()).as_ref() == Ok(&act)).then_some(act)
}

fn raw(env: &Env, action: Action, ids: &BTreeSet<String>) -> Option<Act> {
    let user = match env.request.principal()?.id().unescaped() {
        "root" => User::Root,
        _ => User::User,
    };
    let resource = env.request.resource()?.id().unescaped().to_owned();
    let context = env.request.context()?;
    let text = |name: &str| match context.get(name) {
        Some(EvalResult::String(text)) => Some(text),
        _ => None,
    };
    let number = |name: &str| match context.get(name) {
        Some(EvalResult::Long(number)) => u64::try_from(number).ok(),
        _ => None,
    };
    let list = |name: &str| match context.get(name)? {
        EvalResult::Record(record) => words(&record),
        _ => None,
    };
    let path = |words: Vec<Vec<u8>>| [b"/".as_slice(), &words.join(&b'/')].concat();
    Some(match action {
        Action::Exec => {
            let name = text("name")?;
            // A program that no policy names is as good as any other that ends in the same name.
            let program = match ids.contains(&resource) || resource.rsplit('/').next() == Some(&name) {
                true => resource,
                false => format!("/opt/{name}"),
            };
            let argv = std::iter::once(program.into_bytes()).chain(list("args")?).collect();
            Act::Exec { argv, cwd: path(list("cwd")?), user }
        }
        Action::Read => Act::Read { path: path(list("path")?), user },
        Action::Write => Act::Write { path: path(list("path")?), user },
        Action::Request => {
            let mut labels: Vec<String> =
                list("host")?.into_iter().map(|label| String::from_utf8_lossy(&label).into_owned()).collect();
            labels.reverse();
            let port = u16::try_from(number("port")?).ok()?;
            Act::Request(Request {
                method: text("method")?,
                host: labels.join("."),
                port,
                path: list("path")?,
            })
        }
        Action::Use if resource == "root" => Act::Root,
        Action::Use => {
            let limit = *Limit::ALL.iter().find(|limit| limit.name() == resource)?;
            Act::Use { limit, amount: number("amount")? }
        }
    })
}

fn words(record: &cedar_policy::Record) -> Option<Vec<Vec<u8>>> {
    let Some(EvalResult::Long(count)) = record.get("count") else { return None };
    let count = usize::try_from(*count).ok()?;
    Some(
        (0..count)
            .map(|place| match record.get(format!("w{place}")) {
                Some(EvalResult::String(word)) => word.clone().into_bytes(),
                // No policy looks at it.
                _ => b"x".to_vec(),
            })
            .collect(),
    )
}

/// An act in plainer words, if it can be said so.
type Change = Box<dyn Fn(&Act) -> Option<Act>>;

/// The same claim in plainer words: fewer of them, and `x` where any will do.
fn plainer(mut act: Act, shows: &impl Fn(&Act) -> bool) -> Act {
    let mut candidates: Vec<Change> = Vec::new();
    let whole = |change: fn(&mut Act)| -> Change {
        Box::new(move |act| {
            let mut changed = act.clone();
            change(&mut changed);
            (changed != *act).then_some(changed)
        })
    };
    candidates.push(whole(|act| {
        if let Act::Exec { user, .. } | Act::Read { user, .. } | Act::Write { user, .. } = act {
            *user = User::User;
        }
    }));
    candidates.push(whole(|act| {
        if let Act::Exec { cwd, .. } = act {
            *cwd = b"/home/user".to_vec();
        }
    }));
    candidates.push(whole(|act| {
        if let Act::Request(request) = act {
            request.port = 443;
        }
    }));
    candidates.push(whole(|act| {
        if let Act::Request(request) = act {
            request.method = "GET".to_owned();
        }
    }));
    type Get = fn(&Act) -> Vec<Vec<u8>>;
    type Put = fn(&mut Act, Vec<Vec<u8>>);
    let lists: [(Get, Put, bool); 2] = [(list_of, put_list, false), (labels_of, put_labels, true)];
    for (list, put, from_the_end) in lists {
        let length = list(&act).len();
        // As few words as will do: the first of a path or a command, the last labels of a host.
        for kept in 0..length.min(KEPT_MAX) {
            candidates.push(Box::new(move |act| {
                let words = list(act);
                let from = if from_the_end { words.len().checked_sub(kept)? } else { 0 };
                let kept = words.get(from..from + kept).filter(|kept| kept.len() < words.len())?.to_vec();
                let mut changed = act.clone();
                put(&mut changed, kept);
                Some(changed)
            }));
        }
        for place in 0..length.min(KEPT_MAX) {
            candidates.push(Box::new(move |act| {
                let mut words = list(act);
                *words.get_mut(place).filter(|word| *word != b"x")? = b"x".to_vec();
                let mut changed = act.clone();
                put(&mut changed, words);
                Some(changed)
            }));
        }
    }
    for change in candidates {
        if let Some(plainer) = change(&act)
            && shows(&plainer)
        {
            act = plainer;
        }
    }
    act
}

/// The words of an act that a person reads: arguments after the program, names of a path.
fn list_of(act: &Act) -> Vec<Vec<u8>> {
    match act {
        Act::Exec { argv, .. } => argv.iter().skip(1).cloned().collect(),
        Act::Read { path, .. } | Act::Write { path, .. } => {
            path.split(|b| *b == b'/').filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect()
        }
        Act::Request(request) => request.path.clone(),
        _ => Vec::new(),
    }
}

fn put_list(act: &mut Act, words: Vec<Vec<u8>>) {
    match act {
        Act::Exec { argv, .. } => {
            argv.truncate(1);
            argv.extend(words);
        }
        Act::Read { path, .. } | Act::Write { path, .. } => {
            *path = [b"/".as_slice(), &words.join(&b'/')].concat();
        }
        Act::Request(request) => request.path = words,
        _ => {}
    }
}

fn labels_of(act: &Act) -> Vec<Vec<u8>> {
    match act {
        Act::Request(request) => request.host.split('.').map(|label| label.as_bytes().to_vec()).collect(),
        _ => Vec::new(),
    }
}

fn put_labels(act: &mut Act, words: Vec<Vec<u8>>) {
    if let Act::Request(request) = act {
        request.host = String::from_utf8_lossy(&words.join(&b'.')).into_owned();
    }
}
