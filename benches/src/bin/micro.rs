//! What parsing, planning and linking a configuration cost by themselves, warm, in microseconds.

use longshore::internals;
use std::path::Path;
use std::time::Instant;

const RUNS: usize = 2000;

fn main() -> std::io::Result<()> {
    let root = std::env::temp_dir().join(format!("longshore-micro-{}", std::process::id()));
    std::fs::create_dir(&root)?;
    table("config.json", include_bytes!("../../config.json"), &root);
    // Its filter is compiled once, then read from the state root.
    table("Docker's", include_bytes!("../../docker.json"), &root);
    std::fs::remove_dir_all(root)
}

fn table(name: &str, json: &[u8], root: &Path) {
    println!(
        "\n| {name}, {} bytes | p10 µs | median µs |\n|---|--:|--:|",
        json.len()
    );
    row("parse", || assert!(internals::parse(json)));
    row("parse, plan and print", || {
        assert!(internals::plan_text(json).is_some())
    });
    row("parse, plan and link", || {
        assert!(matches!(internals::link(json, root), Ok(true)))
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
