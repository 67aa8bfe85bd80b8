//! A server, and what has to hold after each death of its parts.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::Signal;

use super::command::Victim::{self, Keeper, Launcher, Server, Supervisor};
use super::hand::{Acknowledged, Hand};
use crate::api::{Client, Sandbox};
use crate::left::Ground;
use crate::process::Command;
use crate::procfs::signal;
use crate::random::Random;
use crate::record::Record;
use crate::resident::Resident;
use crate::served::{Parts, Served};
use crate::within;

/// The API has to work again within this, whatever died.
const BACK_WITHIN: Duration = Duration::from_secs(10);
/// What the dead left has to be gone, and on record, within this.
const GONE_WITHIN: Duration = Duration::from_secs(5);
const LIFE_S: u64 = 1800;
const CLIENTS: usize = 3;
/// What is waited after all clients have begun, until the kill; and until they end after it.
const STRIKE_MS_MAX: u64 = 250;
const AFTER_MS_MAX: u64 = 200;
/// An end that was not recorded within this is left to the next server that lives for a while.
const PROMPT: Duration = Duration::from_millis(500);
/// It waits 5 s for others to do it.
const LATE_WITHIN: Duration = Duration::from_secs(15);
/// The launcher ends itself.
const IDLE_WITHIN: Duration = Duration::from_secs(15);
/// Between two looks at the record.
const READ_AGAIN: Duration = Duration::from_millis(100);
/// Between the deaths of several.
const GAP_US_MAX: u64 = 4000;

/// Some rounds with one state directory.
pub(super) struct Epoch {
    served: Served,
    ground: Ground,
    record: Record,
    resident: Option<Resident>,
    sums: Sums,
    /// Sandboxes that are gone, and whose end is not on record yet.
    late: BTreeSet<String>,
}

/// What came of some rounds.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Sums {
    /// Operations that the server acknowledged. All are on record.
    pub(super) acknowledged: usize,
    /// How often a background command lived on.
    pub(super) lived_on: usize,
    /// Ends that only a later server recorded.
    pub(super) late: usize,
}

impl Epoch {
    pub(super) fn begin(directory: &std::path::Path) -> Result<Epoch> {
        let served = Served::start(directory, 256)?;
        works(&mut served.client())?;
        let parts = served.whole(BACK_WITHIN)?;
        let ground = Ground::look(&served, &parts);
        Ok(Epoch {
            record: served.record(),
            served,
            ground,
            resident: None,
            sums: Sums::default(),
            late: BTreeSet::new(),
        })
    }

    /// What the server said last.
    pub(super) fn last_words(&self) -> String {
        self.served.last_words()
    }

    /// One kill, and everything that has to hold after it. How long the API did not work.
    pub(super) fn round(&mut self, random: &mut Random, victims: &[Victim], round: u32) -> Result<Duration> {
        if self.resident.is_none() {
            self.resident = Some(Resident::settle(self.served.client())?);
        }
        let parts = self.served.whole(BACK_WITHIN)?;
        let (done, struck) = self.under_load(random, victims, &parts, round)?;
        self.sums.acknowledged += done.created.len() + done.commands.len() + done.writes.len();

        if victims.contains(&Supervisor) {
            within(BACK_WITHIN, || Ok(self.served.parts().server.is_none()))
                .context("the server outlives its supervisor")?;
            self.served.again().context("after the supervisor's death")?;
        }
        let mut last = anyhow!("never tried");
        within(BACK_WITHIN, || {
            let tried = works(&mut self.served.client());
            let well = tried.is_ok();
            last = tried.err().unwrap_or_else(|| anyhow!("it works"));
            Ok(well)
        })
        .map_err(|_| last.context("the API does not work again"))?;
        let back = struck.elapsed();
        let parts = self.served.whole(BACK_WITHIN).context("after the API worked again")?;
        let mut client = self.served.client();
        if victims.contains(&Launcher) {
            self.all_gone(&mut client, &done)?;
        } else {
            self.all_there(&mut client, &done, random)?;
        }
        self.clear(&mut client)?;
        self.on_record(&done)?;
        let known: BTreeSet<String> =
            self.record.started().iter().cloned().chain(done.created.into_iter().map(|one| one.id)).collect();
        self.ground.only(&parts, &self.live(), &known, GONE_WITHIN)?;
        Ok(back)
    }

    /// Lets clients work, and kills. What they were told, and when it was.
    fn under_load(
        &self,
        random: &mut Random,
        victims: &[Victim],
        parts: &Parts,
        round: u32,
    ) -> Result<(Acknowledged, Instant)> {
        let begun = AtomicUsize::new(0);
        let (struck, over) = (AtomicBool::new(false), AtomicBool::new(false));
        let all = Mutex::new(Acknowledged::default());
        let (strike_ms, after_ms) = (random.below(STRIKE_MS_MAX), random.below(AFTER_MS_MAX));
        let mut order: Vec<Victim> = victims.to_vec();
        let turn = random.below(order.len() as u64) as usize;
        order.rotate_left(turn);
        let loses_sandboxes = victims.contains(&Launcher);
        let (begun, struck, over, all) = (&begun, &struck, &over, &all);
        let when = scope(|scope| {
            let threads: Vec<_> = (0..CLIENTS)
                .map(|number| {
                    let mark = format!("round-{round}-{number}");
                    let mut hand = Hand::new(self.served.client(), mark, loses_sandboxes);
                    let mut random = Random::of(random.number());
                    scope.spawn(move || {
                        let result = hand.work(&mut random, begun, struck, over);
                        all.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add(hand.done);
                        result
                    })
                })
                .collect();
            let ready = within(BACK_WITHIN, || Ok(begun.load(Ordering::Relaxed) >= CLIENTS));
            sleep(Duration::from_millis(strike_ms));
            struck.store(true, Ordering::SeqCst);
            let when = Instant::now();
            for victim in order {
                let pid = match victim {
                    Server => parts.server,
                    Supervisor => parts.supervisor,
                    Launcher => parts.launcher,
                    Keeper => parts.keeper,
                };
                signal(pid.unwrap_or(0), Signal::KILL);
                sleep(Duration::from_micros(random.below(GAP_US_MAX)));
            }
            sleep(Duration::from_millis(after_ms));
            over.store(true, Ordering::SeqCst);
            for thread in threads {
                thread.join().map_err(|_| anyhow!("a client panicked"))??;
            }
            ready.context("the clients do not get to work")?;
            Ok::<_, anyhow::Error>(when)
        })?;
        let done = std::mem::take(&mut *all.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        Ok((done, when))
    }

    /// The launcher lives: so does every sandbox whose end nobody asked for.
    fn all_there(&mut self, client: &mut Client, done: &Acknowledged, random: &mut Random) -> Result<()> {
        let listed = listed(client)?;
        let left: Vec<&Sandbox> =
            done.created.iter().filter(|one| !done.given_up.contains(&one.id)).collect();
        for sandbox in &left {
            ensure!(listed.contains(&sandbox.id), "{} was created and is not listed", sandbox.id);
            let found = client.connect(&sandbox.id, LIFE_S)?;
            ensure!(found == **sandbox, "{sandbox:?} became {found:?}");
        }
        if !left.is_empty() {
            let sandbox = *random.one(&left);
            let ended = client.run(sandbox, &Command::of(&["/bin/echo", "there"]))?;
            ensure!(ended.stdout == b"there\n", "in {}, echo comes to {ended:?}", sandbox.id);
        }
        let resident = self.resident.as_mut().context("no resident")?;
        resident.lives_on(client).context("the background command")?;
        self.sums.lived_on += 1;
        Ok(())
    }

    /// The launcher is dead: so is every sandbox that it had.
    fn all_gone(&mut self, client: &mut Client, done: &Acknowledged) -> Result<()> {
        let resident = self.resident.take().context("no resident")?;
        let mut left = Vec::new();
        within(GONE_WITHIN, || {
            let listed = listed(client)?;
            left = listed.into_iter().filter(|id| *id == resident.sandbox().id).collect();
            Ok(left.is_empty())
        })
        .with_context(|| format!("still listed after the launcher's death: {left:?}"))?;
        // Those of the clients may be from before its death or from after it; whoever is listed has to work.
        for sandbox in &done.created {
            if listed(client)?.contains(&sandbox.id) {
                client.run(sandbox, &Command::of(&["/bin/true"])).context("listed, and does not work")?;
            }
        }
        Ok(())
    }

    /// Ends every sandbox but the resident.
    fn clear(&mut self, client: &mut Client) -> Result<()> {
        let live = self.live();
        for id in listed(client)? {
            if !live.contains(&id) {
                client.kill(&id).with_context(|| format!("could not end {id}"))?;
            }
        }
        Ok(())
    }

    fn live(&self) -> BTreeSet<String> {
        self.resident.iter().map(|resident| resident.sandbox().id.clone()).collect()
    }

    /// Everything acknowledged is on record; every sandbox that is gone has one end there, or will have it when the
    /// next server has lived for a while; and it verifies.
    fn on_record(&mut self, done: &Acknowledged) -> Result<()> {
        let live = self.live();
        let (mut wrong, mut missing) = (Vec::new(), BTreeSet::new());
        let (start, record) = (Instant::now(), &mut self.record);
        let fits = within(GONE_WITHIN, || {
            record.read_on()?;
            wrong = unrecorded(record, done);
            missing =
                record.started().difference(&live).filter(|id| record.ends(id).is_empty()).cloned().collect();
            let several = record.started().iter().filter(|id| record.ends(id).len() > 1);
            wrong.extend(several.map(|id| format!("{id} has the ends {:?}", record.ends(id))));
            let early = live.iter().filter(|id| !record.ends(id).is_empty());
            wrong.extend(early.map(|id| format!("{id} lives and has an end")));
            let fits = wrong.is_empty() && (missing.is_subset(&self.late) || start.elapsed() > PROMPT);
            sleep(if fits { Duration::ZERO } else { READ_AGAIN });
            Ok(fits)
        });
        wrong.truncate(20);
        fits.map_err(|error| anyhow!("the record: {error}: {}", wrong.join("; ")))?;
        self.sums.late += missing.difference(&self.late).count();
        self.late = missing;
        self.record.verify()
    }

    /// The end of the rounds: nothing is left of anything.
    pub(super) fn end(mut self) -> Result<Sums> {
        if let Some(resident) = self.resident.take() {
            ensure!(self.served.client().kill(&resident.sandbox().id)?, "the resident is gone");
        }
        let parts = self.served.whole(BACK_WITHIN)?;
        let known = self.record.started().clone();
        self.ground.only(&parts, &BTreeSet::new(), &known, GONE_WITHIN)?;
        within(LATE_WITHIN, || {
            self.on_record(&Acknowledged::default())?;
            Ok(self.late.is_empty())
        })
        .with_context(|| format!("gone, and without an end on record: {:?}", self.late))?;
        self.served.end()?;
        // Without a server and without sandboxes nobody needs the launcher.
        within(IDLE_WITHIN, || Ok(self.served.parts().named().is_empty()))
            .with_context(|| format!("still there: {:?}", self.served.parts()))?;
        Ok(self.sums)
    }
}

/// A whole life: everything that the API is for, once.
fn works(client: &mut Client) -> Result<()> {
    let sandbox = client.create(LIFE_S)?;
    let ended = client.run(&sandbox, &Command::of(&["/bin/echo", "works"]))?;
    ensure!(ended.code == 0 && ended.stdout == b"works\n", "echo comes to {ended:?}");
    client.write(&sandbox, "/home/user/works", b"works")?;
    let mut back = [0; 5];
    client.read(&sandbox, "/home/user/works", &mut back)?;
    ensure!(&back == b"works", "other bytes come back");
    ensure!(client.kill(&sandbox.id)?, "{} was gone", sandbox.id);
    Ok(())
}

fn listed(client: &mut Client) -> Result<BTreeSet<String>> {
    let all = client.list()?;
    Ok(all.iter().filter_map(|one| one["sandboxID"].as_str().map(str::to_owned)).collect())
}

fn unrecorded(record: &Record, done: &Acknowledged) -> Vec<String> {
    let created = done.created.iter().map(|one| &one.id).filter(|id| !record.started().contains(*id));
    let commands = done.commands.iter().filter(|(id, mark)| !record.has_command(id, mark));
    let writes = done.writes.iter().filter(|(id, path)| !record.has_write(id, path));
    created
        .map(|id| format!("the create of {id} is lost"))
        .chain(commands.map(|(id, mark)| format!("the command {mark} in {id} is lost")))
        .chain(writes.map(|(id, path)| format!("the write of {path} in {id} is lost")))
        .collect()
}
