//! What the launcher keeps for the server that comes after this one. Opaque to the launcher, and never on disk.

use super::command::{Argument, Command, CommandInfo, Stdin};
use model::Limits;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most bytes of a command's words and variables that are kept for the next server to show, each.
const SHOWN_BYTES_MAX: usize = 6 << 10;

/// A sandbox, for the next server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SandboxNote {
    pub owner: String,
    pub template: String,
    pub metadata: BTreeMap<String, String>,
    pub env: BTreeMap<String, String>,
    pub token: String,
    /// Nanoseconds since 1970.
    pub started_ns: i64,
    /// The ceilings that it was built with.
    pub limits: Limits,
    /// The policy that it was started with: where it is kept, and the hash of its text.
    pub policy: String,
    pub policy_hash: String,
}

/// A running command, for the next server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct CommandNote {
    argv: Vec<Argument>,
    env: Vec<(Argument, Argument)>,
    cwd: Option<Argument>,
    tag: Option<String>,
    stdin: Stdin,
}

impl CommandNote {
    /// What is worth keeping of `command`: a long one is cut, as only its description is.
    pub(super) fn of(command: &Command) -> CommandNote {
        let mut left = SHOWN_BYTES_MAX;
        let argv = command.argv.iter().map_while(|word| fits(&mut left, word.len()).then(|| word.clone()));
        let argv = argv.collect();
        let mut left = SHOWN_BYTES_MAX;
        let env = command.env.iter();
        let env = env.map_while(|(k, v)| fits(&mut left, k.len() + v.len()).then(|| (k.clone(), v.clone())));
        CommandNote {
            argv,
            env: env.collect(),
            cwd: command.cwd.clone(),
            tag: command.tag.clone(),
            stdin: command.stdin,
        }
    }

    pub(super) fn stdin(&self) -> Stdin {
        self.stdin
    }

    pub(super) fn info(&self, pid: u32) -> CommandInfo {
        let CommandNote { argv, env, cwd, tag, .. } = self.clone();
        CommandInfo { pid, tag, argv, env, cwd }
    }
}

fn fits(left: &mut usize, length: usize) -> bool {
    *left = left.saturating_sub(length + 8);
    *left > 0
}

/// As bytes. Nothing in a note can fail to be written down.
pub(super) fn encode<T: Serialize>(note: &T) -> Vec<u8> {
    postcard::to_allocvec(note).unwrap_or_default()
}

/// From bytes that an earlier server gave to the launcher.
pub(super) fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Option<T> {
    postcard::from_bytes(bytes).ok()
}
