//! A probe that stays until it is let go.

use anyhow::{Context, Result};
use std::io::Read;
use std::process::{Child, Command, Stdio};

/// A command whose probe has said that it is ready.
#[derive(Debug)]
pub struct Held {
    child: Child,
}

impl Held {
    /// Starts it and waits until it is ready. The probe's words must be `threads`.
    ///
    /// # Errors
    /// It ends before.
    pub fn start(mut command: Command) -> Result<Held> {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut held = Held { child };
        let mut ready = [0; 6];
        let stdout = held.child.stdout.as_mut().context("no pipe")?;
        if stdout.read_exact(&mut ready).is_err() {
            let mut errors = String::new();
            held.child.stderr.as_mut().context("no pipe")?.read_to_string(&mut errors)?;
            anyhow::bail!("the probe was not ready: {errors}");
        }
        Ok(held)
    }

    /// The process id of what was started.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
