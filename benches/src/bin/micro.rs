//! What parsing, planning and linking a configuration cost by themselves, warm, in microseconds.

use longshore::internals;
use std::time::Instant;

const RUNS: usize = 2000;

fn main() {
    let json = include_bytes!("../../config.json");
    println!(
        "| config.json of {} bytes | p10 µs | median µs |\n|---|--:|--:|",
        json.len()
    );
    row("parse", || assert!(internals::parse(json)));
    row("parse, plan and print", || {
        assert!(internals::plan_text(json).is_some())
    });
    row("parse, plan and link", || {
        assert!(matches!(internals::link(json), Ok(true)))
    });
}

fn row(name: &str, mut work: impl FnMut()) {
    let mut times: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        "| {name} | {:.1} | {:.1} |",
        times[RUNS / 10],
        times[RUNS / 2]
    );
}
