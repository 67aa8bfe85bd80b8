//! What it costs to have a policy: reading the document beside reading its cache.
//!
//! `cargo run --release -p policy --example load_cost`

use policy::{Policy, SHIPPED};
use std::hint::black_box;
use std::time::Instant;

fn main() {
    let start = Instant::now();
    let _ = black_box(Policy::parse(SHIPPED[0].1.as_bytes(), SHIPPED[0].0));
    println!("the first document of the process: {:.1} us", start.elapsed().as_secs_f64() * 1e6);
    for (name, text) in SHIPPED {
        let policy = Policy::parse(text.as_bytes(), name).expect("a shipped policy loads");
        let cache = policy.to_cache();
        let parse = median_us(|| drop(black_box(Policy::parse(black_box(text.as_bytes()), name))));
        let cached = median_us(|| drop(black_box(Policy::from_cache(black_box(&cache), policy.hash()))));
        println!(
            "{name}: {} bytes parsed in {parse:.1} us, {} bytes of cache read in {cached:.1} us",
            text.len(),
            cache.len()
        );
    }
}

fn median_us(run: impl Fn()) -> f64 {
    let mut times: Vec<f64> = (0..10_001)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
