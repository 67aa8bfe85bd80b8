//! What a launcher costs: `launcher_bench STATE WORD…` with
//!
//! - `ensure`: starts a launcher, says its pid, and nothing else
//! - `create N`: one after the other, Create to Built and Kill to Ended
//! - `rate N WIDTH`: N sandboxes, WIDTH at one time, created and killed
//! - `idle N`: memory of N idle sandboxes, and how long it takes to end all of them at once

use model::{Lease, SandboxId};
use node::State;
use node::launcher::protocol::{Order, Report};
use node::launcher::{Client, ensure};
use policy::Policy;
use std::collections::HashMap;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
const POLICY: &[u8] = include_bytes!("../../../policies/default.toml");

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (state, words) = words.split_first().expect("a state directory");
    let state = State::open(state.as_ref()).expect("the state directory");
    let client = match ensure(&state) {
        Ok(client) => client,
        Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
    };
    // Descriptors of many sandboxes.
    let had = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: had.maximum, ..had };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).expect("setrlimit");
    let number =
        |place: usize| words.get(place).and_then(|word| word.parse::<usize>().ok()).expect("a number");
    match words.first().map(String::as_str) {
        Some("ensure") => println!("{}", client.launcher_pid()),
        Some("create") => create(&Bench::new(client), number(1)),
        Some("rate") => rate(&Bench::new(client), number(1), number(2)),
        Some("idle") => idle(&Bench::new(client), number(1)),
        _ => panic!("ensure, create N, rate N WIDTH or idle N"),
    }
}

/// The server of a launcher.
struct Bench {
    client: Client,
    hash: String,
    policy: Vec<u8>,
}

impl Bench {
    fn new(client: Client) -> Bench {
        let policy = Policy::parse(POLICY, "shipped:default").expect("the policy");
        let bench = Bench { client, hash: policy.hash().to_owned(), policy: policy.to_cache() };
        bench.say(&Order::Serve);
        loop {
            match bench.hear().0 {
                Report::AllTold => return bench,
                Report::Busy => panic!("there is a server"),
                Report::Have { id, ended: Some(_), .. } => bench.say(&Order::Forget { id }),
                _ => {}
            }
        }
    }

    fn say(&self, order: &Order) {
        while let Err(error) = self.client.send(order, &[]) {
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    fn hear(&self) -> (Report, Vec<std::os::fd::OwnedFd>) {
        self.client.receive_within(PATIENCE).expect("the launcher").expect("a report")
    }

    fn create(&self, id: SandboxId) {
        self.say(&Order::Create {
            id,
            policy: self.policy.clone(),
            hash: self.hash.clone(),
            base: "/".into(),
            note: b"bench".to_vec(),
            deadline_boot_ns: None,
            lease: Lease::default(),
        });
    }
}

fn draw_id() -> SandboxId {
    let mut bytes = [0; 20];
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()).expect("getrandom");
    SandboxId::from_random(bytes)
}

fn create(bench: &Bench, count: usize) {
    let (mut built, mut ended) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let id = draw_id();
        let begun = Instant::now();
        bench.create(id);
        let _held = match bench.hear() {
            (Report::Built { .. }, held) => held,
            other => panic!("{other:?}"),
        };
        built.push(begun.elapsed());
        let begun = Instant::now();
        bench.say(&Order::Kill { id });
        match bench.hear().0 {
            Report::Ended { .. } => ended.push(begun.elapsed()),
            other => panic!("{other:?}"),
        }
        bench.say(&Order::Forget { id });
        if let Some(ms) = std::env::var("PAUSE_MS").ok().and_then(|ms| ms.parse().ok()) {
            std::thread::sleep(Duration::from_millis(ms));
        }
    }
    show("Create to Built", built);
    show("Kill to Ended", ended);
}

fn rate(bench: &Bench, count: usize, width: usize) {
    let begun = Instant::now();
    let mut asked = HashMap::new();
    let mut held = HashMap::new();
    let (mut started, mut over, mut built) = (0, 0, Vec::new());
    while over < count {
        while started < count && asked.len() < width {
            let id = draw_id();
            bench.create(id);
            asked.insert(id, Instant::now());
            started += 1;
        }
        match bench.hear() {
            (Report::Built { id, .. }, descriptors) => {
                built.push(asked[&id].elapsed());
                held.insert(id, descriptors);
                bench.say(&Order::Kill { id });
            }
            (Report::Ended { id, .. }, _) => {
                asked.remove(&id);
                held.remove(&id);
                over += 1;
                bench.say(&Order::Forget { id });
            }
            other => panic!("{other:?}"),
        }
    }
    let took = begun.elapsed();
    println!("{:.0} creates and kills per second, {width} at one time", count as f64 / took.as_secs_f64());
    show("Create to Built", built);
}

fn idle(bench: &Bench, count: usize) {
    let before = available();
    let mut alive = HashMap::new();
    let mut built = Vec::new();
    let mut controls = Vec::new();
    for _ in 0..count {
        let begun = Instant::now();
        bench.create(draw_id());
        match bench.hear() {
            (Report::Built { id, standing }, held) => {
                built.push(begun.elapsed());
                alive.insert(id, standing.first_pid);
                // An agent without a door ends when its control socket closes.
                controls.extend(held.into_iter().nth(1));
            }
            other => panic!("{other:?}"),
        }
    }
    show("Create to Built", built);
    std::thread::sleep(Duration::from_secs(2));
    let each = before.saturating_sub(available()) / count as u64;
    let pss: u64 = alive.values().map(|pid| pss(*pid)).sum();
    println!("MemAvailable: {each} KiB each; PSS of an agent: {} KiB", pss / count as u64);
    println!("PSS of the launcher: {} KiB", pss_of_launcher(bench));
    let begun = Instant::now();
    bench.say(&Order::StopAll);
    let mut last = Duration::ZERO;
    loop {
        match bench.hear().0 {
            Report::Ended { id, .. } => {
                last = begun.elapsed();
                bench.say(&Order::Forget { id });
            }
            Report::Stopped { ended } => {
                println!("{ended} ended in {last:?}, nothing left after {:?}", begun.elapsed());
                return;
            }
            other => panic!("{other:?}"),
        }
    }
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!("{what}: p50 {:?}, p90 {:?}, p99 {:?}, most {:?}", at(0.5), at(0.9), at(0.99), at(1.0));
}

fn available() -> u64 {
    field("/proc/meminfo", "MemAvailable:")
}

fn pss(pid: i32) -> u64 {
    field(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

fn pss_of_launcher(bench: &Bench) -> u64 {
    pss(bench.client.launcher_pid())
}

fn field(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
