//! The control plane's requests and answers as they are written.

use crate::bounds::{ENV_BYTES_MAX, METADATA_BYTES_MAX, PAIR_BYTES};
use crate::e2b::failure::{Failure, Kind, fail};
use crate::e2b::json::{nullable, optional_object};
use model::SandboxId;
use node::host::Info;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// What this server can be taken for: the newest published version of E2B's own program inside.
pub(crate) const ENVD_VERSION: &str = "0.6.13";
/// Once the name of a node; clients take any text.
const CLIENT: &str = "casemate";

/// A sandbox that is asked for. Fields that this server does not implement are here to be refused by name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSandbox {
    #[serde(rename = "templateID")]
    template: String,
    timeout: Option<i64>,
    #[serde(rename = "autoPause")]
    auto_pause: Option<bool>,
    #[serde(rename = "autoPauseMemory")]
    auto_pause_memory: Option<bool>,
    #[serde(rename = "autoResume", default, deserialize_with = "optional_object")]
    auto_resume: Option<AutoResume>,
    /// In the first version `false` made a sandbox that everybody could use. Here all are secured.
    #[serde(rename = "secure")]
    _secure: Option<bool>,
    /// The policy alone says what a sandbox may reach.
    #[serde(rename = "allow_internet_access")]
    _allow_internet_access: Option<bool>,
    network: Option<BTreeMap<String, IgnoredAny>>,
    #[serde(default, deserialize_with = "nullable")]
    metadata: BTreeMap<String, String>,
    #[serde(rename = "envVars", default, deserialize_with = "nullable")]
    env: BTreeMap<String, String>,
    mcp: Option<IgnoredAny>,
    iam: Option<BTreeMap<String, IgnoredAny>>,
    #[serde(rename = "volumeMounts")]
    volume_mounts: Option<Vec<IgnoredAny>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AutoResume {
    enabled: bool,
}

/// A version of a route, where they differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

/// What is asked for, understood.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub template: String,
    pub metadata: BTreeMap<String, String>,
    pub env: BTreeMap<String, String>,
    pub timeout: Asked,
}

/// How long a sandbox is to live on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// So many seconds: that, or an error.
    For(i64),
    /// Nobody said; so many seconds if that is allowed.
    Default(i64),
}

impl Asked {
    fn or_default(seconds: Option<i64>, default_s: i64) -> Asked {
        seconds.map_or(Asked::Default(default_s), Asked::For)
    }
}

impl NewSandbox {
    pub(crate) fn understood(self, version: Version) -> Result<Wanted, Failure> {
        let asks = [
            ("autoPause", self.auto_pause == Some(true)),
            ("autoPauseMemory", self.auto_pause_memory.is_some()),
            ("autoResume", self.auto_resume.is_some_and(|resume| resume.enabled)),
            ("network", self.network.is_some_and(|fields| !fields.is_empty())),
            ("mcp", self.mcp.is_some()),
            ("iam", self.iam.is_some_and(|fields| !fields.is_empty())),
            ("volumeMounts", self.volume_mounts.is_some_and(|mounts| !mounts.is_empty())),
        ];
        if let Some((field, _)) = asks.iter().find(|(_, asked)| *asked) {
            return fail(Kind::Invalid, format!("`{field}` is not implemented by this server"));
        }
        within("metadata", &self.metadata, METADATA_BYTES_MAX)?;
        within("envVars", &self.env, ENV_BYTES_MAX)?;
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                let name = model::quote(name);
                return fail(
                    Kind::Invalid,
                    format!("envVars: `{name}` is no variable: a name without `=`, and no NUL bytes"),
                );
            }
        }
        let default_s = if version == Version::One { 15 } else { 300 };
        Ok(Wanted {
            template: template(&self.template)?,
            metadata: self.metadata,
            env: self.env,
            timeout: Asked::or_default(self.timeout, default_s),
        })
    }
}

fn within(field: &str, map: &BTreeMap<String, String>, most: usize) -> Result<(), Failure> {
    let bytes: usize = map.iter().map(|(name, value)| name.len() + value.len() + PAIR_BYTES).sum();
    if bytes > most {
        let counted = format!("a pair counts its text and {PAIR_BYTES}");
        return fail(Kind::Invalid, format!("{field}: {bytes} bytes are more than {most} ({counted})"));
    }
    Ok(())
}

/// The name of a template. One that is called `NAME:default` is `NAME`; there are no other tags.
fn template(reference: &str) -> Result<String, Failure> {
    let harmless = |b: u8| b.is_ascii_alphanumeric() || b"-_./:".contains(&b);
    if reference.is_empty() || reference.len() > 256 || !reference.bytes().all(harmless) {
        return fail(Kind::Invalid, format!("Invalid template reference: {}", model::quote(reference)));
    }
    Ok(reference.strip_suffix(":default").unwrap_or(reference).to_owned())
}

/// The body of both versions of connect.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConnectSandbox {
    timeout: Option<i64>,
    /// How to wake a paused sandbox. One that runs is not woken, and this server pauses none.
    #[serde(rename = "memory")]
    _memory: Option<bool>,
}

impl ConnectSandbox {
    pub(crate) fn timeout(&self, version: Version) -> Result<Asked, Failure> {
        match (self.timeout, version) {
            (None, Version::One) => fail(Kind::Invalid, "missing field `timeout`"),
            (timeout, _) => Ok(Asked::or_default(timeout, 300)),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetTimeout {
    pub timeout: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refresh {
    pub duration: Option<i64>,
}

/// A sandbox as create and connect answer it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SandboxAnswer<'a> {
    #[serde(rename = "sandboxID")]
    sandbox_id: SandboxId,
    #[serde(rename = "templateID")]
    template_id: &'a str,
    #[serde(rename = "clientID")]
    client_id: &'static str,
    alias: &'a str,
    envd_version: &'static str,
    envd_access_token: &'a str,
    traffic_access_token: Option<&'a str>,
    domain: Option<&'a str>,
}

impl<'a> SandboxAnswer<'a> {
    pub(crate) fn of(info: &'a Info, domain: Option<&'a str>) -> Self {
        SandboxAnswer {
            sandbox_id: info.id,
            template_id: &info.template,
            client_id: CLIENT,
            alias: &info.template,
            envd_version: ENVD_VERSION,
            envd_access_token: &info.token,
            traffic_access_token: None,
            domain,
        }
    }
}

/// A sandbox as a list shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Listed<'a> {
    #[serde(rename = "sandboxID")]
    sandbox_id: SandboxId,
    #[serde(rename = "templateID")]
    template_id: &'a str,
    #[serde(rename = "clientID")]
    client_id: &'static str,
    alias: &'a str,
    started_at: String,
    end_at: String,
    cpu_count: u32,
    #[serde(rename = "memoryMB")]
    memory_mb: u64,
    #[serde(rename = "diskSizeMB")]
    disk_size_mb: u64,
    state: &'static str,
    envd_version: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
}

impl<'a> Listed<'a> {
    pub(crate) fn of(info: &'a Info) -> Self {
        Listed {
            sandbox_id: info.id,
            template_id: &info.template,
            client_id: CLIENT,
            alias: &info.template,
            started_at: rfc3339(info.started),
            end_at: rfc3339(info.ends),
            cpu_count: info.limits.cpu_milli.div_ceil(1000),
            memory_mb: info.limits.memory_bytes >> 20,
            disk_size_mb: info.limits.disk_bytes >> 20,
            state: "running",
            envd_version: ENVD_VERSION,
            metadata: &info.metadata,
        }
    }
}

/// Whether what opens a sandbox is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opens {
    Shown,
    Kept,
}

/// A sandbox as it is shown alone.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Detail<'a> {
    #[serde(flatten)]
    listed: Listed<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    envd_access_token: Option<&'a str>,
    domain: Option<&'a str>,
    lifecycle: Lifecycle,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Lifecycle {
    auto_resume: bool,
    on_timeout: &'static str,
}

impl<'a> Detail<'a> {
    pub(crate) fn of(info: &'a Info, opens: Opens, domain: Option<&'a str>) -> Self {
        let token = (opens == Opens::Shown).then_some(info.token.as_str());
        let lifecycle = Lifecycle { auto_resume: false, on_timeout: "kill" };
        Detail { listed: Listed::of(info), envd_access_token: token, domain, lifecycle }
    }
}

/// A time as RFC 3339 in UTC. What no calendar has is its beginning.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).unwrap_or_default().to_string()
}

/// Whole seconds as a client gives them: less than none is none.
pub(crate) fn seconds(value: i64) -> Duration {
    Duration::from_secs(value.try_into().unwrap_or(0))
}
