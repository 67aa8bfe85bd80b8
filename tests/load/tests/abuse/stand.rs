//! A server, its dishonest clients, and an honest one beside them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use load::api::{Client, Sandbox};
use load::left::Ground;
use load::process::Command;
use load::procfs::status_kib;
use load::raise_descriptor_limit;
use load::served::{Parts, Served};

/// What a request of the honest client may take. A healthy one takes milliseconds; this machine may be busy.
const LATENCY_MAX: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(30);
const DESCRIPTORS: u64 = 32_768;
pub(crate) const LIFE_S: u64 = 600;

/// Where a test takes place.
pub(crate) struct Stand {
    pub(crate) served: Served,
    pub(crate) sandbox: Sandbox,
    pub(crate) client: Client,
    pub(crate) parts: Parts,
}

impl Stand {
    /// Runs a test, with an honest client beside it. Afterwards the server has to be as it was.
    pub(crate) fn with(memory_mib_max: u64, test: impl FnOnce(&mut Stand) -> Result<()>) -> Result<()> {
        raise_descriptor_limit(DESCRIPTORS)?;
        let scratch = tempfile::Builder::new().prefix("casemate-abuse-").tempdir()?;
        let served = Served::start(scratch.path(), 64)?;
        let mut client = served.client();
        let first = client.create(LIFE_S)?;
        client.run(&first, &Command::of(&["/bin/true"]))?;
        client.kill(&first.id)?;
        client.hang_up();
        let parts = served.whole(PATIENCE)?;
        let ground = Ground::look(&served, &parts);
        let sandbox = client.create(LIFE_S)?;
        let mut stand = Stand { served, sandbox, client, parts };

        let server = parts.server.context("no server")?;
        let before = status_kib(server, "VmRSS").context("no VmRSS")?;
        let bystander = Bystander::beside(&stand);
        let tested = test(&mut stand);
        let seen = bystander.leave();
        tested?;
        let (worst, rounds) = seen.context("the honest client")?;
        ensure!(worst <= LATENCY_MAX, "the honest client waited {worst:?}");
        ensure!(rounds > 0, "the honest client got nothing done");
        let most = status_kib(server, "VmHWM").context("the server died")?;
        let grown = most.saturating_sub(before) >> 10;
        println!(
            "the server grew by {grown} MiB; the honest client waited {worst:?} at most, in {rounds} rounds"
        );
        ensure!(grown <= memory_mib_max, "the server grew by {grown} MiB, more than {memory_mib_max}");

        // Whoever idles may have lost its connection to others.
        stand.client.hang_up();
        stand.client.kill(&stand.sandbox.id)?;
        stand.client.hang_up();
        let mut record = stand.served.record();
        record.read_on()?;
        ground.only(&parts, &BTreeSet::new(), record.started(), PATIENCE).context("afterwards")?;
        record.verify()?;
        stand.served.end()
    }

    /// How many sandboxes there are.
    pub(crate) fn sandboxes(&mut self) -> Result<BTreeSet<String>> {
        let all = self.client.list()?;
        Ok(all.iter().filter_map(|one| one["sandboxID"].as_str().map(str::to_owned)).collect())
    }
}

/// An honest client that goes on with its work.
struct Bystander {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Result<(Duration, u32)>>,
}

impl Bystander {
    fn beside(stand: &Stand) -> Bystander {
        let over = Arc::new(AtomicBool::new(false));
        let (until, mut kept, sandbox) = (over.clone(), stand.client.another(), stand.sandbox.clone());
        let thread = thread::spawn(move || {
            let (mut worst, mut rounds) = (Duration::ZERO, 0);
            // Once at least, however short the test.
            while rounds == 0 || !until.load(Ordering::Relaxed) {
                // Over a connection that it keeps, and over a new one.
                let mut fresh = kept.another();
                for client in [&mut kept, &mut fresh] {
                    let start = Instant::now();
                    let ended = client.run(&sandbox, &Command::of(&["/bin/echo", "honest"]))?;
                    ensure!(ended.stdout == b"honest\n" && ended.code == 0, "echo comes to {ended:?}");
                    worst = worst.max(start.elapsed());
                }
                rounds += 1;
                thread::sleep(Duration::from_millis(10));
            }
            Ok((worst, rounds))
        });
        Bystander { over, thread }
    }

    fn leave(self) -> Result<(Duration, u32)> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("it panicked"))?
    }
}
