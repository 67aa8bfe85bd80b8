//! A sandbox with a command in the background that has to outlive the server.

use anyhow::{Context, Result, ensure};

use crate::api::{Client, Sandbox};
use crate::process::{Command, Event};

const LIFE_S: u64 = 1800;
const COUNTER: &str = "/home/user/counter";
/// Counts, to a file and aloud.
const COUNT: &str = "i=0; while :; do i=$((i+1)); echo $i >> /home/user/counter; echo $i; sleep 0.02; done";
/// How many numbers in a row are enough to say that it goes on.
const NUMBERS: usize = 5;

/// It, and how far it was seen to count.
#[derive(Debug)]
pub struct Resident {
    sandbox: Sandbox,
    pid: u32,
    last: u64,
}

impl Resident {
    /// Creates the sandbox and starts the command.
    ///
    /// # Errors
    /// It is refused, or does not count.
    pub fn settle(mut client: Client) -> Result<Resident> {
        let sandbox = client.create(LIFE_S)?;
        let mut stream = client.start(&sandbox, &Command::of(&["/bin/bash", "-c", COUNT, "resident"]))?;
        let pid = stream.pid()?;
        let seen = numbers(|| stream.event())?;
        ensure!(seen[0] == 1, "it begins with {}", seen[0]);
        Ok(Resident { sandbox, pid, last: *seen.last().context("nothing")? })
    }

    /// Its sandbox.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Finds it again: the same id and token, the same pid, counting on from where it was.
    ///
    /// # Errors
    /// Something of that is not so.
    pub fn lives_on(&mut self, client: &mut Client) -> Result<()> {
        let found = client.connect(&self.sandbox.id, LIFE_S)?;
        ensure!(found == self.sandbox, "{:?} became {found:?}", self.sandbox);
        let running = client.processes(&self.sandbox)?;
        let there = running.iter().any(|process| process["pid"] == self.pid);
        ensure!(there, "pid {} is not among {running:?}", self.pid);
        let mut stream = client.join(&self.sandbox, self.pid)?;
        let same = stream.pid()?;
        ensure!(same == self.pid, "{} became {same}", self.pid);
        let seen = numbers(|| stream.event())?;
        ensure!(seen[0] > self.last, "after {} comes {}", self.last, seen[0]);
        self.last = *seen.last().context("nothing")?;

        let text = client.run(&self.sandbox, &Command::of(&["/bin/cat", COUNTER]))?.stdout;
        let text = String::from_utf8_lossy(&text).into_owned();
        let written: Vec<&str> = text.lines().collect();
        let whole = written.iter().enumerate().all(|(index, line)| *line == (index + 1).to_string());
        ensure!(whole, "its file does not count from 1 on without a gap");
        ensure!(
            written.len() as u64 >= self.last,
            "its file ends with {}, aloud it was at {}",
            written.len(),
            self.last
        );
        Ok(())
    }
}

/// The next numbers that it says: each one more than the one before.
fn numbers(mut next: impl FnMut() -> crate::http::Result<Option<Event>>) -> Result<Vec<u64>> {
    let mut text = String::new();
    loop {
        match next()? {
            Some(Event::Stdout(bytes)) => text.push_str(&String::from_utf8_lossy(&bytes)),
            Some(Event::KeepAlive) => continue,
            other => anyhow::bail!("{other:?} instead of output"),
        }
        // The last line may not be whole yet.
        let whole: Vec<&str> = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).collect();
        if whole.len() < NUMBERS {
            continue;
        }
        let numbers = whole.iter().map(|line| line.trim_end().parse().with_context(|| format!("`{line}`")));
        let numbers: Vec<u64> = numbers.collect::<Result<_>>()?;
        let gap = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1);
        ensure!(gap.is_none(), "{gap:?} are not neighbours");
        return Ok(numbers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pieces: &[&str]) -> Result<Vec<u64>> {
        let mut pieces = pieces.iter();
        numbers(|| Ok(pieces.next().map(|piece| Event::Stdout(piece.as_bytes().to_vec()))))
    }

    #[test]
    fn numbers_may_be_cut_anywhere_and_may_not_have_a_gap() {
        assert_eq!(said(&["7\n8", "\n9\n1", "0\n11\n1"]).unwrap(), [7, 8, 9, 10, 11]);
        assert!(said(&["7\n8\n10\n11\n12\n"]).is_err());
        assert!(said(&["7\n8\n"]).is_err());
    }
}
