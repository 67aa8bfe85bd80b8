//! A client under load, and what it was told.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::api::{Client, Sandbox};
use crate::http::Error;
use crate::process::Command;
use crate::random::Random;

const LIFE_S: u64 = 1800;

/// What the server said that it did.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    pub(super) created: Vec<Sandbox>,
    pub(super) commands: Vec<(String, String)>,
    pub(super) writes: Vec<(String, String)>,
    /// Whose end was asked for, whatever was answered.
    pub(super) given_up: BTreeSet<String>,
}

impl Acknowledged {
    pub(super) fn add(&mut self, other: Acknowledged) {
        self.created.extend(other.created);
        self.commands.extend(other.commands);
        self.writes.extend(other.writes);
        self.given_up.extend(other.given_up);
    }
}

/// One client under load.
pub(super) struct Hand {
    client: Client,
    pub(super) done: Acknowledged,
    own: Option<Sandbox>,
    mark: String,
    count: u32,
    loses_sandboxes: bool,
}

impl Hand {
    /// One that works under this mark. When the launcher dies, its sandboxes do too.
    pub(super) fn new(client: Client, mark: String, loses_sandboxes: bool) -> Hand {
        Hand { client, done: Acknowledged::default(), own: None, mark, count: 0, loses_sandboxes }
    }

    /// Works until it is over; an error before the strike, or one that no death excuses, ends everything.
    pub(super) fn work(
        &mut self,
        random: &mut Random,
        begun: &AtomicUsize,
        struck: &AtomicBool,
        over: &AtomicBool,
    ) -> Result<()> {
        let mut first = true;
        while !over.load(Ordering::SeqCst) {
            match self.step(random) {
                Ok(()) if first && !self.done.writes.is_empty() => {
                    first = false;
                    begun.fetch_add(1, Ordering::SeqCst);
                }
                Ok(()) => {}
                Err(error) if struck.load(Ordering::SeqCst) && self.excused(&error) => {
                    self.own = None;
                    sleep(Duration::from_millis(5));
                }
                Err(error) => {
                    over.store(true, Ordering::SeqCst);
                    // Nobody waits for the others any more.
                    begun.fetch_add(1 << 20, Ordering::SeqCst);
                    bail!("{error} (struck: {})", struck.load(Ordering::SeqCst));
                }
            }
        }
        Ok(())
    }

    /// What may be answered, or not, when parts of the server have just died.
    fn excused(&self, error: &Error) -> bool {
        match error {
            Error::Broken { .. } => true,
            Error::Refused { status, .. } => {
                *status >= 500 || (self.loses_sandboxes && matches!(status, 200 | 404))
            }
            Error::Wrong { .. } => false,
        }
    }

    fn step(&mut self, random: &mut Random) -> crate::http::Result<()> {
        self.count += 1;
        let Some(sandbox) = self.own.clone() else {
            let sandbox = self.client.create(LIFE_S)?;
            self.done.created.push(sandbox.clone());
            self.own = Some(sandbox);
            return Ok(());
        };
        let name = format!("{}-{}", self.mark, self.count);
        match random.below(10) {
            0..4 => {
                let path = format!("/home/user/{name}");
                self.client.write(&sandbox, &path, name.as_bytes())?;
                self.done.writes.push((sandbox.id.clone(), path.clone()));
                let mut back = vec![0; name.len()];
                self.client.read(&sandbox, &path, &mut back)?;
                if back == name.as_bytes() { Ok(()) } else { Err(Error::wrong("read", "other bytes")) }
            }
            4..8 => {
                let mut stream = self.client.start(&sandbox, &Command::shell("echo \"$0\"", &name))?;
                stream.pid()?;
                self.done.commands.push((sandbox.id.clone(), name.clone()));
                let ended = stream.finish()?;
                let right = ended.code == 0 && ended.stdout == format!("{name}\n").as_bytes();
                if right { Ok(()) } else { Err(Error::wrong("echo", format!("{ended:?}"))) }
            }
            8 => {
                self.own = None;
                self.done.given_up.insert(sandbox.id.clone());
                if self.client.kill(&sandbox.id)? || self.loses_sandboxes {
                    Ok(())
                } else {
                    Err(Error::wrong("kill", "it was gone"))
                }
            }
            // This one stays, and the next step makes another.
            _ => {
                self.own = None;
                Ok(())
            }
        }
    }
}
