//! The control plane: makes, shows and ends sandboxes.

mod list;
mod wire;

pub(crate) use list::{list_v1, list_v2};
pub(crate) use wire::rfc3339;

use super::call::{Call, Caller, Outcome, empty, json};
use super::failure::{Failure, Kind, fail};
use crate::App;
use crate::bounds::LIFE_TIME;
use hyper::StatusCode;
use model::{Code, Denial, Event, KeyId, Limits};
use node::host::{Error, Info, Spec, Timeout};
use node::keys::Holder;
use std::time::{Duration, SystemTime};
use wire::{
    Asked, ConnectSandbox, Detail, NewSandbox, Opens, Refresh, SandboxAnswer, SetTimeout, Version, Wanted,
    seconds,
};

pub(crate) async fn health(_: Call) -> Outcome {
    empty(StatusCode::OK)
}

pub(crate) async fn create_v1(call: Call) -> Outcome {
    create(call, Version::One).await
}

pub(crate) async fn create_v2(call: Call) -> Outcome {
    create(call, Version::Two).await
}

async fn create(call: Call, version: Version) -> Outcome {
    if call.head.headers.contains_key("idempotency-key") {
        return fail(Kind::Invalid, "the header `Idempotency-Key` is not implemented by this server");
    }
    let Caller::Key(Holder { id: owner, quota, .. }) = call.caller else {
        return fail(Kind::Unauthenticated, "a sandbox belongs to an API key: give one as X-API-KEY");
    };
    let app = call.app.clone();
    let wanted = call.control::<NewSandbox>().await?.understood(version)?;
    let Wanted { template, metadata, mut env, timeout } = wanted;
    let Some(made_from) = app.node.template(&template) else {
        let names = app.node.templates();
        return fail(
            Kind::NotFound,
            format!("template '{template}' not found: this server has {}", names.join(", ")),
        );
    };
    let life = life(&made_from.policy.limits());
    let timeout = match timeout {
        Asked::For(..=0) => return fail(Kind::Invalid, "Timeout must be greater than 0"),
        Asked::For(timeout_s) if seconds(timeout_s) > life => {
            return Err(beyond(&app, owner, seconds(timeout_s), life, too_long(life)));
        }
        Asked::For(timeout_s) => seconds(timeout_s),
        Asked::Default(timeout_s) => seconds(timeout_s).min(life),
    };
    for (name, value) in [("E2B_SANDBOX", "true"), ("E2B_TEMPLATE_ID", &template)] {
        env.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    let spec = Spec { owner, quota, template, made_from, metadata, env, timeout };
    let sandbox = app.node.create(spec).await.inspect_err(|error| {
        if let Error::Quota(over) = error {
            app.node.observe(Event::denied(None, Some(owner), over.denial.clone()));
        }
    })?;
    json(StatusCode::CREATED, &SandboxAnswer::of(&sandbox.info(), app.domain.as_deref()))
}

pub(crate) async fn detail(call: Call) -> Outcome {
    let info = call.sandbox()?.info();
    // What opens the sandbox is for those who may work in it: its owner, and whoever may do so anyhow.
    let opens = match call.caller {
        Caller::Operator => Opens::Shown,
        Caller::Key(key) if key.id == info.owner => Opens::Shown,
        _ => Opens::Kept,
    };
    json(StatusCode::OK, &Detail::of(&info, opens, call.app.domain.as_deref()))
}

pub(crate) async fn kill(call: Call) -> Outcome {
    call.sandbox()?.kill().await?;
    empty(StatusCode::NO_CONTENT)
}

pub(crate) async fn connect_v1(call: Call) -> Outcome {
    connect(call, Version::One).await
}

pub(crate) async fn connect_v2(call: Call) -> Outcome {
    connect(call, Version::Two).await
}

async fn connect(call: Call, version: Version) -> Outcome {
    let (app, sandbox) = (call.app.clone(), call.sandbox()?);
    let timeout = match call.control::<ConnectSandbox>().await?.timeout(version)? {
        Asked::For(timeout_s) => {
            within_life(&app, &sandbox.info(), seconds(timeout_s))?;
            seconds(timeout_s)
        }
        Asked::Default(timeout_s) => {
            let info = sandbox.info();
            seconds(timeout_s).min(life(&info.limits).saturating_sub(lived(&info)))
        }
    };
    sandbox.set_timeout(Timeout::Extend(timeout)).await?;
    json(StatusCode::OK, &SandboxAnswer::of(&sandbox.info(), app.domain.as_deref()))
}

/// A sandbox that is there is not paused, as this server pauses none.
pub(crate) async fn resume(call: Call) -> Outcome {
    let id = call.sandbox()?.id();
    fail(Kind::Conflict, format!("Sandbox {id} is already running"))
}

pub(crate) async fn timeout(call: Call) -> Outcome {
    let (app, sandbox) = (call.app.clone(), call.sandbox()?);
    let timeout = seconds(call.control::<SetTimeout>().await?.timeout);
    within_life(&app, &sandbox.info(), timeout)?;
    sandbox.set_timeout(Timeout::Set(timeout)).await?;
    empty(StatusCode::NO_CONTENT)
}

pub(crate) async fn refreshes(call: Call) -> Outcome {
    const DEFAULT_S: i64 = 15;
    let (app, sandbox) = (call.app.clone(), call.sandbox()?);
    let duration_s = call.control::<Refresh>().await?.duration.unwrap_or(DEFAULT_S);
    if !(0..=3600).contains(&duration_s) {
        return fail(Kind::Invalid, "duration: expected 0 to 3600 seconds");
    }
    within_life(&app, &sandbox.info(), seconds(duration_s))?;
    sandbox.set_timeout(Timeout::Extend(seconds(duration_s))).await?;
    empty(StatusCode::NO_CONTENT)
}

/// Refuses an end that is further from the sandbox's start than it may live.
fn within_life(app: &App, info: &Info, timeout: Duration) -> Result<(), Failure> {
    let life = life(&info.limits);
    let asked = lived(info).saturating_add(timeout);
    if asked > life {
        let message = format!("Max instance length exceeded: {}", too_long(life));
        return Err(beyond(app, info.owner, asked, life, message));
    }
    Ok(())
}

/// A request for more time than its template gives: refused by that rule, in E2B's words, and on record.
fn beyond(app: &App, owner: KeyId, asked: Duration, life: Duration, message: String) -> Failure {
    let how = "ask for no more, or have the operator raise `wall` in [compute] of the template's policy";
    let asked = format!("{} s of life", asked.as_secs());
    let denial =
        Denial::new(Code::Ceiling, "compute.wall", asked, how).nearest(format!("{} s", life.as_secs()));
    app.node.observe(Event::denied(None, Some(owner), denial.clone()));
    Failure::worded(Kind::Invalid, denial, message)
}

/// How much of its life a sandbox has had. The clock may have been set back since; then none.
fn lived(info: &Info) -> Duration {
    SystemTime::now().duration_since(info.started).unwrap_or_default()
}

fn too_long(life: Duration) -> String {
    match life.as_secs() {
        life_s if life_s % 3600 == 0 => format!("Timeout cannot be greater than {} hours", life_s / 3600),
        life_s => format!("Timeout cannot be greater than {life_s} seconds"),
    }
}

/// How long a sandbox of these limits may live.
fn life(limits: &Limits) -> Duration {
    limits.wall_ms.map_or(LIFE_TIME, |wall_ms| LIFE_TIME.min(Duration::from_millis(wall_ms)))
}
