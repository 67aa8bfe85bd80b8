//! What a run causes, in the form in which the ledger takes it: nothing of this happens before it is written.

pub mod api;

use model::{Beside, Effect, Event, Limits, SandboxId, Source, Walls, quote};
use policy::{ExecRequest, Permit, User};

/// A sandbox is about to be built from a policy that was just read.
#[derive(Debug)]
pub(crate) struct Beginning {
    pub sandbox: SandboxId,
    pub policy: String,
    pub hash: String,
    pub origin: String,
    pub profile: &'static str,
    pub limits: Limits,
    pub required: Walls,
    pub zones: Vec<String>,
    /// What its draft zones open over.
    pub drafts: Vec<Event>,
}

impl Effect for Beginning {
    fn events(&self) -> Vec<Event> {
        let mut events = vec![
            Event::PolicyLoad {
                policy: self.policy.clone(),
                hash: self.hash.clone(),
                origin: self.origin.clone(),
            },
            Event::Start {
                sandbox: self.sandbox,
                policy: self.hash.clone(),
                profile: self.profile,
                limits: self.limits,
                required: self.required,
                zones: self.zones.clone(),
            },
        ];
        events.extend(self.drafts.iter().cloned());
        events
    }
}

/// A permitted command is about to run.
#[derive(Debug)]
pub(crate) struct Execution {
    pub sandbox: SandboxId,
    pub exec: u32,
    pub permit: Permit<ExecRequest>,
    pub source: Source,
    /// In a sandbox with draft zones of a server, what goes on beside it.
    pub beside: Option<Beside>,
}

impl Effect for Execution {
    fn events(&self) -> Vec<Event> {
        let request = self.permit.request();
        vec![Event::Exec {
            sandbox: self.sandbox,
            exec: self.exec,
            argv: request.argv.iter().map(quote).collect(),
            cwd: quote(&request.cwd),
            user: name_of(request.user),
            decision: self.permit.decision().clone(),
            source: self.source,
            beside: self.beside.clone(),
        }]
    }
}

/// A user inside, for the record.
fn name_of(user: User) -> String {
    match user {
        User::User => "user".to_owned(),
        User::Root => "root".to_owned(),
    }
}

/// A write zone is about to be copied to the host.
#[derive(Debug)]
pub(crate) struct HandOut {
    pub sandbox: SandboxId,
    pub at: String,
    pub to: std::path::PathBuf,
}

impl Effect for HandOut {
    fn events(&self) -> Vec<Event> {
        use std::os::unix::ffi::OsStrExt;
        let to = quote(self.to.as_os_str().as_bytes());
        vec![Event::HandOut { sandbox: self.sandbox, at: quote(&self.at), to }]
    }
}
