//! `casemate serve`.

use super::State;
use clap::Args as ClapArgs;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Debug, ClapArgs)]
#[command(after_long_help = SERVE_HELP)]
pub(crate) struct Serve {
    /// Where to listen. Anything but this machine's loopback needs --tls-cert and --tls-key, or --insecure-listen.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:3000")]
    pub listen: SocketAddr,
    /// The policy of the template `base`, which every request has that names no other: a file, or the name of a
    /// shipped policy.
    #[arg(long, value_name = "FILE|NAME", default_value = "default")]
    pub policy: OsString,
    /// A policy that no policy here goes beyond: what exceeds it is refused, by its first rule that does. One that root put
    /// at /etc/casemate/ceiling.toml holds as well.
    #[arg(long, value_name = "FILE|NAME")]
    pub ceiling: Option<OsString>,
    /// A template by its name, and its policy. May be given more than once.
    #[arg(long = "template", value_name = "NAME=FILE")]
    pub templates: Vec<OsString>,
    /// The most sandboxes at one time.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub sandboxes_max: u16,
    /// The domain that clients are told: hosts `PORT-ID.DOMAIN` name sandboxes. Needs a wildcard name that leads here.
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<String>,
    /// A certificate chain, as PEM: speak TLS.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's key, as PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Listen beyond the loopback without TLS: keys and tokens can be read on the way.
    #[arg(long)]
    pub insecure_listen: bool,
    /// What to write to standard error.
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    pub log: Log,
    /// Say where it listens, and the key if one was made, as one line of JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub state: State,
}

/// How much is written to standard error.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Log {
    Off,
    Error,
    Warn,
    Info,
    Debug,
}

const SERVE_HELP: &str = "\
The first serve of a state directory makes a key and shows it, once; `casemate key` makes more. SIGTERM or Ctrl-C ends
the server, and its sandboxes live on: the next serve of the same state directory finds them. `casemate stop --all` ends
them. One state directory has one server.

Exit status: 0 when it was told to end. Casemate's own failures:
  64 command line    65 policy    69 wall missing    70 server failed    71 system (address, descriptors)
  73 state dir       74 ledger";
