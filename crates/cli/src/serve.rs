//! `casemate serve`.
//!
//! Two processes. The one that the user starts stays single-threaded, so that it can fork: it opens the listeners, sees that
//! there is a launcher, and forks the server. When the server crashes or the launcher is lost it does both again; meanwhile
//! clients wait in the listeners' queues, and the sandboxes live on in the launcher.

mod supervise;

use crate::args::{Log, Serve};
use crate::layers::Ceilings;
use crate::output::{self, Form};
use crate::{Exit, policy, run};
use ::server::{Over, TlsConfig, Worker, open_network, tls};
use model::{Quota, Roles};
use node::State;
use node::host::{DEFAULT_TEMPLATE, Settings, Template};
use node::keys::{Keys, Secret};
use node::launcher::Client;
use rustix::fd::OwnedFd;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
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
    templates: BTreeMap<String, Arc<Template>>,
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
        let templates = templates(&args, &state, form)?;
        raise_descriptors();
        let network = open_network(args.listen).map_err(|error| {
            let what = format!("could not listen on {}: {error}", args.listen);
            output::failure(form, &what, Some("choose another address with --listen"), Exit::System)
        })?;
        let (keys, made) = keys(&state, form)?;
        Ok(Serving {
            form,
            state,
            templates,
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
                templates: self.templates,
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

/// What sandboxes are made from, each by its name.
fn templates(args: &Serve, state: &State, form: Form) -> Result<BTreeMap<String, Arc<Template>>, Exit> {
    let mut templates = BTreeMap::new();
    let ceilings = Ceilings::read(args.ceiling.as_ref(), form)?;
    let usage = |what: String| {
        let help = "give NAME=FILE, with a name of 1 to 64 letters, digits, `-`, `_` and `.`";
        output::failure(form, &what, Some(help), Exit::Usage)
    };
    let default = (DEFAULT_TEMPLATE.to_owned(), args.policy.clone());
    let mut named = vec![default];
    for word in &args.templates {
        let text = word.to_string_lossy();
        let shown = model::quote(word.as_encoded_bytes());
        let Some((name, _)) = text.split_once('=') else {
            return Err(usage(format!("--template `{shown}`: there is no `=` in it")));
        };
        let harmless = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(harmless) {
            return Err(usage(format!("--template `{shown}`: this is no name for a template")));
        }
        // The name is ASCII, so what is behind it begins at the same place in the word's own bytes.
        let file = OsStr::from_bytes(&word.as_bytes()[name.len() + 1..]).to_owned();
        named.push((name.to_owned(), file));
    }
    for (name, file) in named {
        let (source, base) = policy::source(&file, form)?;
        let policy = ceilings.hold(state, &source, &base, Vec::new(), form)?;
        let template = Template { policy: Arc::new(policy), origin: source.origin, base };
        if templates.insert(name.clone(), Arc::new(template)).is_some() {
            return Err(usage(format!(
                "--template `{name}`: there are two of this name (`--policy` is `base`)"
            )));
        }
    }
    Ok(templates)
}

/// The keys, and the first one if there never was any.
fn keys(state: &State, form: Form) -> Result<(Keys, Option<Secret>), Exit> {
    let made = Keys::open(state).and_then(|keys| {
        let made =
            keys.list()?.is_empty().then(|| keys.create("first", Roles::CREATOR, Quota::NONE)).transpose()?;
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
