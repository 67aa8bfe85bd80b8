//! What one client does, and what has to come of it, to the byte.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::api::{Client, Sandbox, TEMPLATE};
use crate::bench::turn::ms;
use crate::figures::Series;
use crate::http::Error;
use crate::process::{Command, Ended, Event};
use crate::random::Random;

const LIFE_S: u64 = 1800;
/// How far from its time the end of something may be.
const LATE_MAX: Duration = Duration::from_millis(2500);
const FILE_BYTES_MAX: u64 = 256 << 10;
const LARGE_FILE_BYTES_MAX: u64 = 4 << 20;
const INPUT_BYTES_MAX: u64 = 48 << 10;
const LINES_MAX: u64 = 40_000;
const TICKS: u32 = 30;
/// Counts aloud, a little at a time.
const TICKER: &str = "i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo $i; sleep 0.01; done";

/// What was done, for the record to be compared with.
#[derive(Debug, Default, Clone, Copy)]
pub struct Done {
    /// Sandboxes that were created.
    pub sandboxes: u64,
    /// Commands that started.
    pub commands: u64,
    /// Files that were written.
    pub writes: u64,
}

/// A client, its sandboxes, and what it measured.
#[derive(Debug)]
pub struct Worker {
    number: usize,
    client: Client,
    second: Client,
    random: Random,
    own: Vec<Sandbox>,
    own_max: usize,
    marks: u64,
    /// How long each kind of thing took.
    pub times: BTreeMap<&'static str, Series>,
    /// What it did.
    pub done: Done,
}

impl Worker {
    /// One that keeps up to so many sandboxes.
    pub fn new(number: usize, client: Client, own_max: usize, seed: u64) -> Worker {
        let random = Random::of(seed ^ (number as u64 + 1) << 32);
        let second = client.another();
        Worker {
            number,
            client,
            second,
            random,
            own: Vec::new(),
            own_max,
            marks: 0,
            times: BTreeMap::new(),
            done: Done::default(),
        }
    }

    /// Does one thing.
    ///
    /// # Errors
    /// An answer is not what it has to be. The sandbox it was about is given up.
    pub fn step(&mut self) -> Result<()> {
        let dice = self.random.below(100);
        if self.own.is_empty() || (self.own.len() < self.own_max && dice < 40) {
            return self.create().context("create");
        }
        let index = self.random.below(self.own.len() as u64) as usize;
        let sandbox = self.own[index].clone();
        let (what, result) = match self.random.below(100) {
            0..20 => ("true", self.nothing(&sandbox)),
            20..36 => ("output", self.output(&sandbox)),
            36..42 => ("lines", self.lines(&sandbox)),
            42..50 => ("input", self.input(&sandbox)),
            50..68 => ("file", self.file(&sandbox, FILE_BYTES_MAX)),
            68..70 => ("large file", self.file(&sandbox, LARGE_FILE_BYTES_MAX)),
            70..77 => ("directory", self.directory(&sandbox)),
            77..81 => ("join", self.join(&sandbox)),
            81..85 => ("hang up", self.hang_up(&sandbox)),
            85..87 => ("deadline", self.deadline(&sandbox)),
            87..89 => ("signal", self.signal(&sandbox)),
            89..90 => ("expiry", self.expiry()),
            90..93 => ("connect", self.connect(&sandbox)),
            93..94 => ("list", self.list()),
            _ => {
                self.own.swap_remove(index);
                ("kill", self.kill(&sandbox))
            }
        };
        result.with_context(|| format!("client {}, {what} in {}", self.number, sandbox.id)).inspect_err(
            |_| {
                self.own.retain(|own| *own != sandbox);
                let _ = self.client.kill(&sandbox.id);
            },
        )
    }

    /// Ends all its sandboxes.
    ///
    /// # Errors
    /// One of them was gone, or does not go.
    pub fn finish(&mut self) -> Result<()> {
        while let Some(sandbox) = self.own.pop() {
            self.kill(&sandbox).with_context(|| format!("client {}, last kill", self.number))?;
        }
        self.client.hang_up();
        self.second.hang_up();
        Ok(())
    }

    fn create(&mut self) -> Result<()> {
        let mark = self.mark();
        let words = json!({"templateID": TEMPLATE, "timeout": LIFE_S, "metadata": {"mark": mark},
            "envVars": {"CALLED": mark}});
        let start = Instant::now();
        let sandbox = self.client.create_with(&words)?;
        self.took("create", start);
        self.done.sandboxes += 1;
        let ended = self.run(&sandbox, &Command::of(&["/usr/bin/printenv", "CALLED", "E2B_SANDBOX_ID"]))?;
        let wanted = format!("{mark}\n{}\n", sandbox.id);
        ensure!(
            ended.stdout == wanted.as_bytes(),
            "printenv says {:?}",
            String::from_utf8_lossy(&ended.stdout)
        );
        let told = self.client.get(&sandbox.id)?.context("it is not there")?;
        ensure!(told["metadata"]["mark"] == mark && told["state"] == "running", "described as {told}");
        self.own.push(sandbox);
        Ok(())
    }

    fn nothing(&mut self, sandbox: &Sandbox) -> Result<()> {
        let start = Instant::now();
        let ended = self.run(sandbox, &Command::of(&["/bin/true"]))?;
        self.took("exec", start);
        exactly(&ended, 0, b"", b"")
    }

    fn output(&mut self, sandbox: &Sandbox) -> Result<()> {
        let mark = self.mark();
        let code = self.random.below(200) as i32;
        let script = format!("printf %s \"out $0\"; printf %s \"err $0\" >&2; exit {code}");
        let ended = self.run(sandbox, &Command::shell(&script, &mark))?;
        exactly(&ended, code, format!("out {mark}").as_bytes(), format!("err {mark}").as_bytes())
    }

    fn lines(&mut self, sandbox: &Sandbox) -> Result<()> {
        let count = 1 + self.random.below(LINES_MAX);
        let ended = self.run(sandbox, &Command::of(&["/usr/bin/seq", &count.to_string()]))?;
        let wanted: String = (1..=count).map(|number| format!("{number}\n")).collect();
        exactly(&ended, 0, wanted.as_bytes(), b"")
    }

    fn input(&mut self, sandbox: &Sandbox) -> Result<()> {
        let count = self.random.below(INPUT_BYTES_MAX) as usize;
        let bytes = self.random.bytes(count);
        let mut stream = self.client.start(sandbox, &Command::of(&["/bin/cat"]).with_input())?;
        let pid = stream.pid()?;
        self.done.commands += 1;
        for piece in bytes.chunks(16 << 10) {
            self.second.input(sandbox, pid, piece)?;
        }
        self.second.close_input(sandbox, pid)?;
        exactly(&stream.finish()?, 0, &bytes, b"")
    }

    fn file(&mut self, sandbox: &Sandbox, bytes_max: u64) -> Result<()> {
        let count = self.random.below(bytes_max) as usize;
        let bytes = self.random.bytes(count);
        let path = format!("/home/user/file-{}", self.random.below(8));
        let start = Instant::now();
        self.client.write(sandbox, &path, &bytes)?;
        self.took("file write", start);
        self.done.writes += 1;
        let mut back = vec![0; count];
        let start = Instant::now();
        self.client.read(sandbox, &path, &mut back)?;
        self.took("file read", start);
        ensure!(back == bytes, "{path}: other bytes come back");
        let entry = self.client.files(sandbox, "Stat", &json!({"path": path}))?;
        // 64-bit numbers are text in proto's JSON; a zero is left out.
        let size = entry["entry"]["size"].as_str().unwrap_or("0").parse::<usize>();
        ensure!(size == Ok(count), "{path}: {count} bytes are described as {entry}");
        Ok(())
    }

    fn directory(&mut self, sandbox: &Sandbox) -> Result<()> {
        let mark = self.mark();
        let base = format!("/home/user/{mark}");
        let mut names: Vec<String> = (0..3).map(|number| format!("{base}/f{number}")).collect();
        self.client.files(sandbox, "MakeDir", &json!({"path": base}))?;
        for name in &names {
            self.client.write(sandbox, name, name.as_bytes())?;
            self.done.writes += 1;
        }
        let moved = format!("{base}/g");
        self.client.files(sandbox, "Move", &json!({"source": names[1], "destination": moved}))?;
        names.remove(1);
        names.push(moved);
        let listed = self.client.files(sandbox, "ListDir", &json!({"path": base, "depth": 1}))?;
        let found: Vec<&str> = listed["entries"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|entry| entry["path"].as_str())
            .collect();
        ensure!(found == names, "{found:?} instead of {names:?}");
        self.client.files(sandbox, "Remove", &json!({"path": base}))?;
        match self.client.files(sandbox, "Stat", &json!({"path": base})) {
            Err(error) if error.status() == Some(404) => Ok(()),
            other => bail!("after its removal, {base} is {other:?}"),
        }
    }

    /// Two see the same command: one from its start, one from somewhere in between.
    fn join(&mut self, sandbox: &Sandbox) -> Result<()> {
        let mark = self.mark();
        let mut stream = self.client.start(sandbox, &Command::shell(TICKER, &mark))?;
        let pid = stream.pid()?;
        self.done.commands += 1;
        let mut first = Vec::new();
        while first.is_empty() {
            if let Some(Event::Stdout(bytes)) = stream.event()? {
                first = bytes;
            }
        }
        let mut joined = self.second.join(sandbox, pid)?;
        let same = joined.pid()?;
        ensure!(same == pid, "joined {same} instead of {pid}");
        let late = joined.finish()?;
        let rest = stream.finish()?;
        let all = [first, rest.stdout].concat();
        ensure!(all == ticks(), "the first one saw {:?}", String::from_utf8_lossy(&all));
        ensure!(rest.code == 0 && late.code == 0, "ended with {} and {}", rest.code, late.code);
        ensure!(
            all.ends_with(&late.stdout),
            "the second one saw {:?}",
            String::from_utf8_lossy(&late.stdout)
        );
        Ok(())
    }

    /// A client goes away; its command does not, and can be joined.
    fn hang_up(&mut self, sandbox: &Sandbox) -> Result<()> {
        let mark = self.mark();
        let mut stream = self.client.start(sandbox, &Command::shell(TICKER, &mark))?;
        let pid = stream.pid()?;
        self.done.commands += 1;
        self.client.hang_up();
        let running = self.client.processes(sandbox)?;
        ensure!(running.iter().any(|process| process["pid"] == pid), "{pid} is not among {running:?}");
        let mut joined = self.client.join(sandbox, pid)?;
        joined.pid()?;
        let late = joined.finish()?;
        ensure!(late.code == 0 && ticks().ends_with(&late.stdout), "joined late, saw {late:?}");
        Ok(())
    }

    fn deadline(&mut self, sandbox: &Sandbox) -> Result<()> {
        let start = Instant::now();
        let result = self.client.run(sandbox, &Command::of(&["/bin/sleep", "60"]).within_ms(300));
        let took = start.elapsed();
        self.done.commands += 1;
        match result {
            Err(Error::Refused { status: 200, body, .. }) if body.contains("deadline_exceeded") => {}
            other => bail!("past its deadline, it comes to {other:?}"),
        }
        ensure!(took >= Duration::from_millis(300) && took < LATE_MAX, "300 ms took {took:?}");
        Ok(())
    }

    fn signal(&mut self, sandbox: &Sandbox) -> Result<()> {
        let mut stream = self.client.start(sandbox, &Command::of(&["/bin/sleep", "600"]))?;
        let pid = stream.pid()?;
        self.done.commands += 1;
        self.second.kill_process(sandbox, pid)?;
        let ended = stream.finish()?;
        ensure!(ended.code == -1 && ended.status == "signal: killed", "killed, it comes to {ended:?}");
        Ok(())
    }

    /// A sandbox that nobody ends lives as long as it was to, and no longer.
    fn expiry(&mut self) -> Result<()> {
        let start = Instant::now();
        let sandbox = self.client.create(1)?;
        self.done.sandboxes += 1;
        let created = start.elapsed();
        while self.client.get(&sandbox.id)?.is_some() {
            ensure!(start.elapsed() < created + Duration::from_secs(1) + LATE_MAX, "it lives on");
            std::thread::sleep(Duration::from_millis(50));
        }
        ensure!(start.elapsed() >= Duration::from_millis(950), "1 s took {:?}", start.elapsed());
        let health = self.client.health(&sandbox)?;
        ensure!(health == 502, "its health is {health}");
        Ok(())
    }

    fn connect(&mut self, sandbox: &Sandbox) -> Result<()> {
        let found = self.client.connect(&sandbox.id, LIFE_S)?;
        ensure!(found == *sandbox, "connected to {found:?}");
        self.client.set_timeout(&sandbox.id, LIFE_S)?;
        let health = self.client.health(sandbox)?;
        ensure!(health == 204, "its health is {health}");
        Ok(())
    }

    fn list(&mut self) -> Result<()> {
        let listed = self.client.list()?;
        let is_listed = |own: &Sandbox| listed.iter().any(|one: &Value| one["sandboxID"] == own.id);
        ensure!(
            self.own.iter().all(is_listed),
            "one of {} is not among {} listed",
            self.own.len(),
            listed.len()
        );
        Ok(())
    }

    fn kill(&mut self, sandbox: &Sandbox) -> Result<()> {
        let start = Instant::now();
        ensure!(self.client.kill(&sandbox.id)?, "it was gone");
        self.took("kill", start);
        ensure!(self.client.get(&sandbox.id)?.is_none(), "killed, it is still described");
        ensure!(!self.client.kill(&sandbox.id)?, "it could be killed twice");
        let health = self.client.health(sandbox)?;
        ensure!(health == 502, "killed, its health is {health}");
        Ok(())
    }

    fn run(&mut self, sandbox: &Sandbox, command: &Command) -> Result<Ended> {
        let mut stream = self.client.start(sandbox, command)?;
        stream.pid()?;
        self.done.commands += 1;
        Ok(stream.finish()?)
    }

    fn took(&mut self, what: &'static str, start: Instant) {
        let series = self.times.entry(what).or_insert_with(|| Series::of(what));
        series.ms.push(ms(start.elapsed()));
    }

    fn mark(&mut self) -> String {
        self.marks += 1;
        format!("mark-{}-{}", self.number, self.marks)
    }
}

fn ticks() -> Vec<u8> {
    (1..=TICKS).map(|number| format!("{number}\n")).collect::<String>().into_bytes()
}

fn exactly(ended: &Ended, code: i32, stdout: &[u8], stderr: &[u8]) -> Result<()> {
    let shown = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    ensure!(ended.code == code, "ended with {} ({}) instead of {code}", ended.code, ended.status);
    for (name, got, wanted) in [("stdout", &ended.stdout, stdout), ("stderr", &ended.stderr, stderr)] {
        ensure!(
            got == wanted,
            "{name} is {} bytes, `{}`, instead of {} bytes, `{}`",
            got.len(),
            shown(got),
            wanted.len(),
            shown(wanted)
        );
    }
    Ok(())
}
