//! How long the API takes, beside what the kernel itself takes for the same.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Map, Value, json};

use super::floor::{self, Files, Log};
use super::turn::{APART, BURST, Subject, directory, in_turn, ms, verdict, write};
use crate::api::Client;
use crate::figures::{Series, heading};
use crate::process::{Command, Event};
use crate::random::Random;
use crate::served::Served;

const TRUE: &str = "/bin/true";
const LIFE_S: u64 = 1800;
const SMALL_BYTES: usize = 1 << 10;
const LARGE_BYTES: usize = 100 << 20;
const CLIENTS: [usize; 3] = [1, 4, 8];

const CREATE_P50_MS_MAX: f64 = 4.5;
const CREATE_P99_MS_MAX: f64 = 15.0;
const CREATE_ISOLATED_P50_MS_MAX: f64 = 7.0;
const EXEC_P50_MS_MAX: f64 = 1.8;
const LIVES_PER_S_MIN: f64 = 220.0;
const BYTES_PER_S_MIN: f64 = 1e9;

const NOISE_RATIO_MAX: f64 = 1.5;

const FLOOR_START: &str = "floor: bare walls, /bin/true";
const CREATED: &str = "create -> answer";
const STARTED: &str = "create -> start of /bin/true";
const OUTPUT: &str = "create -> end of /bin/true";
const KILLED: &str = "kill";
const LIFE: &str = "create -> kill answered";
const FLOOR_EXEC: &str = "floor: fork, exec /bin/true";
const EXEC: &str = "exec /bin/true -> end";
const FLOOR_RECORD: &str = "floor: write, fdatasync";
const FLOOR_WRITE: &str = "floor: write 1 KiB";
const WRITE: &str = "file write 1 KiB";
const FLOOR_READ: &str = "floor: read 1 KiB";
const READ: &str = "file read 1 KiB";
const FLOOR_WRITE_LARGE: &str = "floor: write 100 MiB";
const WRITE_LARGE: &str = "file write 100 MiB";
const FLOOR_READ_LARGE: &str = "floor: read 100 MiB";
const READ_LARGE: &str = "file read 100 MiB";

/// Measures create, exec, files and throughput.
#[derive(Debug, Args)]
pub struct Words {
    /// Measurements of each in each mode
    #[arg(long, default_value_t = 200)]
    runs: usize,
    /// Transfers of 100 MiB in each direction
    #[arg(long, default_value_t = 15)]
    large_runs: usize,
    /// How long each number of parallel clients creates and kills
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    rate_s: f64,
    /// Fail if a gate is missed
    #[arg(long)]
    gate: bool,
    /// Refuse the run as noisy if the median of the bare walls back to back is above 1.5 times this
    #[arg(long, value_name = "MS")]
    floor_nominal_ms: Option<f64>,
    /// The program with the same walls and nothing else: example `floor` of `jail`
    #[arg(long, value_name = "FILE")]
    floor: PathBuf,
    /// Where state and figures go
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Creates, commands and kills in one second, by so many clients.
struct Rate {
    clients: usize,
    lives_per_s: f64,
    floor_per_s: f64,
    life: Series,
}

/// `casemate-load api`.
///
/// # Errors
/// The server fails; or a gate is missed and that was to be an error.
pub fn run(words: &Words) -> Result<()> {
    ensure!(words.runs > 0 && words.large_runs > 0 && words.rate_s > 0.0, "nothing is to be measured");
    let directory = directory(words.directory.as_deref())?;
    let scratch = tempfile::tempdir_in(&directory)?;
    let mut served = Served::start(scratch.path(), 256)?;

    let modes = [
        ("back to back", small(&served, words, scratch.path(), BURST)?),
        ("60 ms apart", small(&served, words, scratch.path(), 1)?),
    ];
    let large = large(&served, words.large_runs)?;
    let rates: Vec<Rate> =
        CLIENTS.iter().map(|clients| rate(&served, words, *clients)).collect::<Result<_>>()?;
    served.record().verify()?;
    served.end()?;

    for (mode, series) in &modes {
        println!("{}", heading(mode));
        series.iter().for_each(|one| println!("{}", one.line()));
        println!("create -> end / bare walls  {:.2}", median(series, OUTPUT)? / median(series, FLOOR_START)?);
    }
    println!("{}", heading("100 MiB"));
    for series in &large {
        println!("{}  {:>6.2} GB/s", series.line(), bytes_per_s(series) / 1e9);
    }
    println!("{}", heading("create, /bin/true, kill, in parallel"));
    for Rate { clients, lives_per_s, floor_per_s, life } in &rates {
        println!("{}  {clients} clients: {lives_per_s:.0}/s (floor {floor_per_s:.0}/s)", life.line());
    }
    write(&directory, "api.json", figures(words, &modes, &large, &rates))?;
    let floor = median(&modes[0].1, FLOOR_START)?;
    if let Some(nominal) = words.floor_nominal_ms.filter(|nominal| floor > nominal * NOISE_RATIO_MAX) {
        bail!("refused as noisy: the bare walls took {floor:.2} ms, nominal is {nominal} ms");
    }
    judge(words, &modes, &large, &rates)
}

/// Everything small, with `burst` in a row.
fn small(served: &Served, words: &Words, scratch: &Path, burst: usize) -> Result<Vec<Series>> {
    let mut owner = served.client();
    let sandbox = owner.create(LIFE_S)?;
    let bytes = Random::of(7).bytes(SMALL_BYTES);
    let true_command = Command::of(&[TRUE]);
    let path = "/home/user/small";
    let (mut lives, mut execs, mut writes, mut reads) =
        (owner.another(), owner.another(), owner.another(), owner.another());
    let mut log = Log::in_directory(scratch)?;
    let (mut floor_writes, mut floor_reads) = (Files::start()?, Files::start()?);
    floor_reads.write(&bytes)?;
    owner.write(&sandbox, path, &bytes)?;
    let (mut back, mut floor_back) = (vec![0; SMALL_BYTES], vec![0; SMALL_BYTES]);

    let mut subjects = [
        Subject::whole(FLOOR_START, || floor::start(&words.floor, Some(TRUE))),
        Subject::new(&[CREATED, STARTED, OUTPUT, KILLED, LIFE], |times| life(&mut lives, times)),
        Subject::whole(FLOOR_EXEC, || floor::start(Path::new(TRUE), None)),
        Subject::whole(EXEC, || {
            let ended = execs.run(&sandbox, &true_command)?;
            ensure!(ended.code == 0, "/bin/true ended with {ended:?}");
            Ok(())
        }),
        Subject::whole(FLOOR_RECORD, || log.append()),
        Subject::whole(FLOOR_WRITE, || floor_writes.write(&bytes)),
        Subject::whole(WRITE, || Ok(writes.write(&sandbox, path, &bytes)?)),
        Subject::whole(FLOOR_READ, || floor_reads.read(&mut floor_back)),
        Subject::whole(READ, || {
            back.fill(0);
            reads.read(&sandbox, path, &mut back)?;
            ensure!(back == bytes, "other bytes come back");
            Ok(())
        }),
    ];
    let series = in_turn(&mut subjects, words.runs, burst)?;
    drop(subjects);
    owner.kill(&sandbox.id)?;
    Ok(series)
}

/// One life: its create, its command and its end.
fn life(client: &mut Client, times: &mut Vec<f64>) -> Result<()> {
    let start = Instant::now();
    let sandbox = client.create(LIFE_S)?;
    let created = start.elapsed();
    let mut stream = client.start(&sandbox, &Command::of(&[TRUE]))?;
    stream.pid()?;
    let started = start.elapsed();
    let mut code = None;
    while let Some(event) = stream.event()? {
        if let Event::End(exit, _) = event {
            code = Some(exit);
        }
    }
    let output = start.elapsed();
    ensure!(code == Some(0), "/bin/true ended with {code:?}");
    ensure!(client.kill(&sandbox.id)?, "the sandbox was gone before its kill");
    let killed = start.elapsed();
    times.extend([created, started, output, killed - output, killed].map(ms));
    Ok(())
}

fn large(served: &Served, runs: usize) -> Result<Vec<Series>> {
    let mut owner = served.client();
    let sandbox = owner.create(LIFE_S)?;
    let bytes = Random::of(11).bytes(LARGE_BYTES);
    let path = "/home/user/large";
    let (mut writes, mut reads) = (owner.another(), owner.another());
    let (mut floor_writes, mut floor_reads) = (Files::start()?, Files::start()?);
    floor_reads.write(&bytes)?;
    writes.write(&sandbox, path, &bytes)?;
    let mut back = vec![0; LARGE_BYTES];
    let mut floor_back = vec![0; LARGE_BYTES];
    let mut subjects = [
        Subject::whole(FLOOR_WRITE_LARGE, || floor_writes.write(&bytes)),
        Subject::whole(WRITE_LARGE, || Ok(writes.write(&sandbox, path, &bytes)?)),
        Subject::whole(FLOOR_READ_LARGE, || floor_reads.read(&mut floor_back)),
        // The comparison is not a part of it.
        Subject::new(&[READ_LARGE], |times| {
            back.fill(0);
            let start = Instant::now();
            reads.read(&sandbox, path, &mut back)?;
            times.push(ms(start.elapsed()));
            ensure!(back == bytes, "other bytes come back");
            Ok(())
        }),
    ];
    let series = in_turn(&mut subjects, runs, 1)?;
    drop(subjects);
    // What was written last is checked inside, too, by somebody else's reading.
    let counted = owner.run(&sandbox, &Command::of(&["/usr/bin/wc", "-c", path]))?;
    let said = String::from_utf8_lossy(&counted.stdout).into_owned();
    ensure!(said.starts_with(&format!("{LARGE_BYTES} ")), "inside there are `{}` bytes", said.trim());
    owner.kill(&sandbox.id)?;
    Ok(series)
}

/// Lives in parallel, then floors in parallel.
fn rate(served: &Served, words: &Words, clients: usize) -> Result<Rate> {
    let time = Duration::from_secs_f64(words.rate_s);
    let (lives, elapsed) = in_parallel(clients, time, || {
        let mut client = served.client();
        move |times| life(&mut client, times)
    })?;
    let (floors, floor_elapsed) = in_parallel(clients, time / 2, || {
        |times: &mut Vec<f64>| {
            times.push(0.0);
            floor::start(&words.floor, Some(TRUE))
        }
    })?;
    // Five times of each life; the last is the whole.
    let whole = lives.chunks(5).filter_map(|life| life.last().copied()).collect();
    Ok(Rate {
        clients,
        lives_per_s: lives.len() as f64 / 5.0 / elapsed.as_secs_f64(),
        floor_per_s: floors.len() as f64 / floor_elapsed.as_secs_f64(),
        life: Series { name: LIFE.to_owned(), ms: whole },
    })
}

/// Does it with so many threads for so long: all times, and how long it was until the last was done.
fn in_parallel<A>(count: usize, time: Duration, make: impl Fn() -> A) -> Result<(Vec<f64>, Duration)>
where
    A: FnMut(&mut Vec<f64>) -> Result<()> + Send,
{
    let over = AtomicBool::new(false);
    let start = Instant::now();
    let over = &over;
    let all: Result<Vec<Vec<f64>>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|_| {
                let mut act = make();
                scope.spawn(move || {
                    let mut times = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        act(&mut times)?;
                    }
                    Ok(times)
                })
            })
            .collect();
        thread::sleep(time);
        over.store(true, Ordering::Relaxed);
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))?)
            .collect()
    });
    Ok((all?.concat(), start.elapsed()))
}

fn find<'a>(series: &'a [Series], name: &str) -> Result<&'a Series> {
    series.iter().find(|one| one.name == name).with_context(|| format!("`{name}` was not measured"))
}

fn median(series: &[Series], name: &str) -> Result<f64> {
    find(series, name)?.quantile(0.5).with_context(|| format!("nothing of `{name}`"))
}

fn bytes_per_s(series: &Series) -> f64 {
    series.quantile(0.5).map_or(0.0, |ms| LARGE_BYTES as f64 / (ms / 1e3))
}

fn judge(words: &Words, modes: &[(&str, Vec<Series>); 2], large: &[Series], rates: &[Rate]) -> Result<()> {
    let mut missed = Vec::new();
    let [(_, near), (_, apart)] = modes;
    let mut at_most = |what: String, value: Option<f64>, most: f64| {
        let value = value.unwrap_or(f64::INFINITY);
        if value > most {
            missed.push(format!("{what} takes {value:.2} ms, not {most}"));
        }
    };
    at_most(format!("{OUTPUT}, p50"), find(near, OUTPUT)?.quantile(0.5), CREATE_P50_MS_MAX);
    at_most(format!("{OUTPUT}, p99"), find(near, OUTPUT)?.quantile(0.99), CREATE_P99_MS_MAX);
    at_most(
        format!("{OUTPUT}, isolated p50"),
        find(apart, OUTPUT)?.quantile(0.5),
        CREATE_ISOLATED_P50_MS_MAX,
    );
    at_most(format!("{EXEC}, p50"), find(near, EXEC)?.quantile(0.5), EXEC_P50_MS_MAX);
    let best = rates.iter().map(|rate| rate.lives_per_s).fold(0.0, f64::max);
    if best < LIVES_PER_S_MIN {
        missed.push(format!("{best:.0} lives per second, not {LIVES_PER_S_MIN}"));
    }
    for name in [WRITE_LARGE, READ_LARGE] {
        let speed = bytes_per_s(find(large, name)?);
        if speed < BYTES_PER_S_MIN {
            missed.push(format!("{name} at {:.2} GB/s, not 1", speed / 1e9));
        }
    }
    let gates = format!(
        "create -> output p50 <= {CREATE_P50_MS_MAX} ms, p99 <= {CREATE_P99_MS_MAX}, isolated p50 <= \
         {CREATE_ISOLATED_P50_MS_MAX}; exec p50 <= {EXEC_P50_MS_MAX}; >= {LIVES_PER_S_MIN} lives/s; files >= 1 GB/s"
    );
    verdict(&gates, &missed, words.gate)
}

fn figures(words: &Words, modes: &[(&str, Vec<Series>); 2], large: &[Series], rates: &[Rate]) -> Value {
    let all = |series: &[Series]| -> Map<String, Value> {
        series.iter().map(|one| (one.name.clone(), one.json())).collect()
    };
    let modes: Map<String, Value> =
        modes.iter().map(|(mode, series)| ((*mode).to_owned(), all(series).into())).collect();
    let rates: Vec<Value> = rates
        .iter()
        .map(|rate| {
            json!({"clients": rate.clients, "lives_per_s": rate.lives_per_s,
                "floor_per_s": rate.floor_per_s, "life": rate.life.json()})
        })
        .collect();
    json!({
        "runs": words.runs, "apart_ms": APART.as_millis() as u64, "burst": BURST,
        "modes": modes, "large": all(large), "rates": rates,
    })
}
