//! `casemate key`.

use crate::args::{Key as Command, State as StateArgs};
use crate::output::{self, Form};
use crate::{Exit, audit, run};
use model::{KeyId, Quota, Role, Roles, rfc3339};
use node::keys::{Error, KeyInfo, Keys};

pub(crate) fn key(command: &Command) -> Exit {
    match command {
        Command::Create { name, roles, quota, json, state } => {
            create(name, roles, quota.as_model(), Form::of(*json), state)
        }
        Command::List { json, state } => list(Form::of(*json), state),
        Command::Revoke { id, json, state } => revoke(id, Form::of(*json), state),
    }
}

/// The secret alone goes to standard output, so that a script can keep it.
fn create(name: &str, roles: &[Role], quota: Quota, form: Form, state: &StateArgs) -> Exit {
    let roles = match roles {
        [] => Ok(Roles::CREATOR),
        some => Roles::new(some.iter().copied()),
    };
    let roles = match roles {
        Ok(roles) => roles,
        Err(error) => return output::error(form, &error, Some("make two keys"), Exit::Usage),
    };
    let made = match run::state(state, form) {
        Ok(state) => Keys::open(&state).and_then(|keys| keys.create(name, roles, quota)),
        Err(exit) => return exit,
    };
    let (id, secret) = match made {
        Ok(made) => made,
        Err(error) => return refuse(form, &error),
    };
    match form {
        Form::Json => {
            let value = serde_json::json!({
                "id": id, "name": name, "roles": roles, "quota": quota, "key": secret.reveal(),
            });
            output::print(&value.to_string());
        }
        Form::Text => {
            output::print(secret.reveal());
            output::say(&format!("casemate: made the key {id} (`{name}`, {roles}); it is shown this once"));
        }
    }
    Exit::Ok
}

fn list(form: Form, state: &StateArgs) -> Exit {
    let keys = match open(state, form).and_then(|keys| keys.list().map_err(|error| refuse(form, &error))) {
        Ok(keys) => keys,
        Err(exit) => return exit,
    };
    match form {
        Form::Json => {
            let keys: Vec<_> = keys
                .iter()
                .map(|key| {
                    serde_json::json!({
                        "id": key.id, "name": key.name,
                        "created": time(key.created_ms), "revoked": key.revoked_ms.map(time),
                        "roles": key.roles, "quota": key.quota,
                    })
                })
                .collect();
            output::print(&serde_json::Value::from(keys).to_string());
        }
        Form::Text if keys.is_empty() => {
            output::say("casemate: there are no keys: make one with `casemate key create`");
        }
        Form::Text => {
            let lines: Vec<String> = keys.iter().map(line).collect();
            output::print(&lines.join("\n"));
        }
    }
    Exit::Ok
}

fn revoke(id: &str, form: Form, state: &StateArgs) -> Exit {
    let id = match id.parse::<KeyId>() {
        Ok(id) => id,
        Err(error) => {
            return output::error(form, &error, Some("the ids are in `casemate key list`"), Exit::Usage);
        }
    };
    if let Err(exit) =
        open(state, form).and_then(|keys| keys.revoke(id).map_err(|error| refuse(form, &error)))
    {
        return exit;
    }
    match form {
        Form::Json => output::print(&serde_json::json!({ "id": id }).to_string()),
        Form::Text => output::say(&format!("casemate: the key {id} is revoked")),
    }
    Exit::Ok
}

/// The keys of a state directory that is there.
fn open(state: &StateArgs, form: Form) -> Result<Keys, Exit> {
    audit::directory(state, form)?;
    Keys::open(&run::state(state, form)?).map_err(|error| refuse(form, &error))
}

fn line(key: &KeyInfo) -> String {
    let stands = match key.revoked_ms {
        None => "opens".to_owned(),
        Some(at) => format!("revoked {}", time(at)),
    };
    let (roles, name) = (key.roles.to_string(), output::neutral(&key.name));
    format!("{}  {}  {stands:<28}  {roles:<9}  {name}{}", key.id, time(key.created_ms), bounds(&key.quota))
}

/// What a key may have, behind its name.
fn bounds(quota: &Quota) -> String {
    let thousandths = |milli: u64| (milli as f64 / 1000.0).to_string();
    let bounds = [
        quota.sandboxes.map(|most| format!("{most} sandboxes")),
        quota.cpu_milli.map(|most| format!("{} cpus", thousandths(most))),
        quota.memory_bytes.map(|most| format!("{} MiB", most >> 20)),
        quota.creates_per_second_milli.map(|most| format!("{} creates/s", thousandths(most.into()))),
    ];
    let bounds: Vec<String> = bounds.into_iter().flatten().collect();
    if bounds.is_empty() { String::new() } else { format!("  (at most {})", bounds.join(", ")) }
}

/// To the second.
fn time(unix_ms: u64) -> String {
    let text = rfc3339(i64::try_from(unix_ms).unwrap_or(0).saturating_mul(1_000_000));
    format!("{}Z", text.split('.').next().unwrap_or_default())
}

pub(crate) fn refuse(form: Form, error: &Error) -> Exit {
    let exit = match error {
        Error::Call { .. } | Error::Damaged { .. } => Exit::State,
        Error::Name(_) | Error::Full | Error::Unknown(_) => Exit::Usage,
        Error::Ledger(_) => Exit::Ledger,
    };
    output::error(form, error, Some(error.mend()), exit)
}
