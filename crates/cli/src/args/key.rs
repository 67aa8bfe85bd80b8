//! `casemate key`.

use super::State;
use clap::{Args as ClapArgs, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a key and print it. It is shown this once, and kept as a hash.
    Create {
        /// What to call it: 1 to 64 characters.
        #[arg(long, value_name = "NAME", default_value = "unnamed")]
        name: String,
        /// What it may do: creator (make, use and end its own sandboxes), approver (approve and widen), operator (see all
        /// sandboxes, end any), auditor (read lists and the record) [default: creator]. May be given more than once, but
        /// a creator is neither approver nor operator.
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<model::Role>,
        #[command(flatten)]
        quota: Quota,
        /// Answer as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        state: State,
    },
    /// List the keys: id, when it was made, whether it opens anything, name. Never what opens.
    List {
        /// Answer as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        state: State,
    },
    /// Revoke a key: it opens nothing from now on, also in a server that runs.
    Revoke {
        /// Which one, as `casemate key list` names it.
        #[arg(value_name = "ID")]
        id: String,
        /// Answer as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        state: State,
    },
}

/// What a key may have at one time.
#[derive(Debug, ClapArgs)]
pub(crate) struct Quota {
    /// The most sandboxes that it has at one time.
    #[arg(long, value_name = "N")]
    pub sandboxes: Option<u32>,
    /// The most processors that the policies of its sandboxes give them together, such as 2.5.
    #[arg(long, value_name = "X", value_parser = thousandths)]
    pub cpus: Option<u32>,
    /// The most memory that they give them together, such as 8GiB.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory: Option<u64>,
    /// The most sandboxes that it makes in a second, such as 0.5; so many, or one, at once.
    #[arg(long, value_name = "X", value_parser = thousandths)]
    pub creates_per_second: Option<u32>,
}

impl Quota {
    pub(crate) fn as_model(&self) -> model::Quota {
        model::Quota {
            sandboxes: self.sandboxes,
            cpu_milli: self.cpus.map(u64::from),
            memory_bytes: self.memory,
            creates_per_second_milli: self.creates_per_second,
        }
    }
}

/// A number with up to three digits behind the point, in thousandths.
fn thousandths(text: &str) -> Result<u32, String> {
    let refuse = || format!("`{}`: expected a number such as 2 or 0.5, at least 0.001", model::quote(text));
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 3 {
        return Err(refuse());
    }
    let part: u32 = format!("{part:0<3}").parse().map_err(|_| refuse())?;
    let whole = whole.parse::<u32>().ok().and_then(|whole| whole.checked_mul(1000));
    whole.and_then(|whole| whole.checked_add(part)).filter(|milli| *milli > 0).ok_or_else(refuse)
}

fn size(text: &str) -> Result<u64, String> {
    model::parse_size_bytes(text).map_err(|error| error.to_string())
}
