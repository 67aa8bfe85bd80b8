//! `casemate serve`.
//!
//! Two processes. The one that the user starts stays single-threaded, so that it can fork: it opens the listeners, sees that
//! there is a launcher, and forks the server. When the server crashes or the launcher is lost it does both again; meanwhile
//! clients wait in the listeners' queues, and the sandboxes live on in the launcher.

mod supervise;

use crate::args::{Log, Serve};
use crate::output::{self, Form};
use crate::{Exit, policy, run};
use ::policy::Policy;
use ::server::{Over, TlsConfig, Worker, open_network, tls};
use node::host::Settings;
use node::keys::{Keys, Secret};
use node::launcher::Client;
use node::{PolicySource, State};
use rustix::fd::OwnedFd;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

pub(crate) fn serve(args: Serve) -> Exit {
    let form = Form::of(args.json);
    match Serving::prepare(args, form) {
        Ok(serving) => supervise::supervise(serving),
        Err(exit) => exit,
    }
}

/// All that a server is started with, over and over.
struct Serving {
    form: Form,
    state: State,
    source: PolicySource,
    policy: Policy,
    base: PathBuf,
    sandboxes_max: usize,
    domain: Option<String>,
    log: Log,
    keys: Arc<Keys>,
    /// The key that this serve made, to be shown once.
    made: Option<Secret>,
    network: TcpListener,
    scheme: &'static str,
    tls: Option<TlsConfig>,
}

impl Serving {
    fn prepare(args: Serve, form: Form) -> Result<Serving, Exit> {
        let secured = args.tls_cert.is_some() || args.insecure_listen;
        if !args.listen.ip().is_loopback() && !secured {
            let what = format!("--listen {}: others could read keys and tokens on the way", args.listen);
            let help =
                "give --tls-cert and --tls-key, or --insecure-listen if something else protects the way";
            return Err(output::failure(form, &what, Some(help), Exit::Usage));
        }
        let tls = match (&args.tls_cert, &args.tls_key) {
            (Some(certificate), Some(key)) => Some(tls(certificate, key).map_err(|error| {
                output::error(
                    form,
                    &error,
                    Some("give the chain and the key of one certificate, as PEM"),
                    Exit::Usage,
                )
            })?),
            _ => None,
        };
        let state = run::state(&args.state, form)?;
        let (source, base) = policy::source(&args.policy, form)?;
        let policy = state.load_policy(&source).map_err(|rejected| policy::reject(form, &rejected))?;
        raise_descriptors();
        let network = open_network(args.listen).map_err(|error| {
            let what = format!("could not listen on {}: {error}", args.listen);
            output::failure(form, &what, Some("choose another address with --listen"), Exit::System)
        })?;
        let (keys, made) = keys(&state, form)?;
        Ok(Serving {
            form,
            state,
            source,
            policy,
            base,
            sandboxes_max: args.sandboxes_max.into(),
            domain: args.domain,
            log: args.log,
            keys: Arc::new(keys),
            made,
            network,
            scheme: if tls.is_some() { "https" } else { "http" },
            tls,
        })
    }

    /// The life of one server process. `ready` becomes readable to the supervisor once requests are answered.
    fn work(self, launcher: Client, ending: OwnedFd, ready: OwnedFd, first: bool) -> Exit {
        log_to_stderr(self.log);
        let said = first.then(|| self.said());
        let keys = self.keys.clone();
        let worker = Worker {
            settings: Settings {
                state: self.state,
                policy: self.policy,
                origin: self.source.origin,
                base: self.base,
                sandboxes_max: self.sandboxes_max,
            },
            launcher,
            keys: Arc::new(move |secret| keys.check(secret)),
            domain: self.domain,
            network: self.network,
            tls: self.tls,
            ending,
        };
        let over = worker.serve(|| {
            if let Some(said) = said {
                output::print(&said);
            }
            let _ = rustix::io::write(&ready, b"r");
        });
        match over {
            Over::Asked => Exit::Ok,
            Over::LauncherLost => Exit::NoServer,
            Over::System(error) => output::error(self.form, &error, None, Exit::System),
            Over::Node(error) => output::error(self.form, &error, error.mend().as_deref(), Exit::of(&error)),
        }
    }

    /// What is said when it serves: where, and with which key.
    fn said(&self) -> String {
        let listen = self.network.local_addr().map_or_else(|_| String::new(), |address| address.to_string());
        let key = self.made.as_ref().map(Secret::reveal);
        let state = output::neutral(&self.state.path().to_string_lossy());
        match self.form {
            Form::Json => serde_json::json!({"listen": listen, "key": key, "state": state}).to_string(),
            Form::Text => {
                let url = format!("{}://{listen}", self.scheme);
                let key = key.map_or_else(
                    || "<one of `casemate key list`; make one with `casemate key create`>".to_owned(),
                    |key| format!("{key}   # shown this once"),
                );
                format!(
                    "casemate: serving E2B's protocol on {url}, state directory {state}\n\n  \
                     export E2B_API_URL={url}\n  export E2B_SANDBOX_URL={url}\n  export E2B_API_KEY={key}\n"
                )
            }
        }
    }
}

/// The keys, and the first one if there never was any.
fn keys(state: &State, form: Form) -> Result<(Keys, Option<Secret>), Exit> {
    let made = Keys::open(state).and_then(|keys| {
        let made = keys.list()?.is_empty().then(|| keys.create("first")).transpose()?;
        Ok((keys, made.map(|(_, secret)| secret)))
    });
    made.map_err(|error| crate::key::refuse(form, &error))
}

/// A server holds descriptors for each sandbox, command and connection: as many as its user may have.
fn raise_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // What cannot be raised is a lower limit, which is met with an error by name.
    let _ = setrlimit(Resource::Nofile, limit);
}

fn log_to_stderr(level: Log) {
    use tracing_subscriber::filter::LevelFilter;
    let level = match level {
        Log::Off => LevelFilter::OFF,
        Log::Error => LevelFilter::ERROR,
        Log::Warn => LevelFilter::WARN,
        Log::Info => LevelFilter::INFO,
        Log::Debug => LevelFilter::DEBUG,
    };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_ansi(false).init();
}
