//! `lifecycle`: what the operations of a container's life cost, for several
//! runtimes side by side, and how far they are above the kernel's own cost.
#![deny(unsafe_code)]

mod bench;
mod contender;
mod pairs;
mod sample;
mod table;

use std::process::ExitCode;

use lexopt::prelude::*;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::bench::Workshop;
use crate::contender::{Contender, DOCKER, UNFILTERED};
use crate::table::Table;

const HELP: &str = "\
lifecycle --longshore PATH [OPTION...]     (as root)
    --runc PATH      another runc; also the variable RUNC
    --crun PATH      another crun; also the variable CRUN
    --old PATH       an earlier longshore: is any row worse than it was?
    --pairs N        only these two, N times in turn: bounds of their ratios, and failure if one is above 1.05
    --row NAME       only this row, with those of its group; may be repeated
    --library PATH   a warm process that embeds the library (see contender.rs)
    --runs N         rounds of each measurement, 200 if absent
    --save           also write benches/results.md";

/// What is measured.
#[derive(Debug)]
pub(crate) struct Options {
    longshore: String,
    runc: String,
    crun: String,
    old: Option<String>,
    pub(crate) rows: Vec<String>,
    library: Option<String>,
    pub(crate) runs: usize,
    pairs: usize,
    save: bool,
}

/// A cell of a table: row and column.
type Cell = (&'static str, &'static str);
/// A figure that decides: a cell, what it is measured against, and the goal.
type Goal = (Cell, Cell, f64);
const V1_GOALS: &[Goal] = &[
    (("run", "longshore"), ("run", "crun"), 0.6),
    (("exec", "longshore"), ("exec", "crun"), 0.6),
    ((DOCKER, "longshore"), (UNFILTERED, "longshore"), 1.15),
];
const V2_GOALS: &[Goal] = &[
    (("run", "longshore"), ("run", "floor"), 2.5),
    (("run", "library, warm"), ("run", "floor"), 1.7),
];

fn main() -> ExitCode {
    match parse()
        .map_err(|error| error.to_string())
        .and_then(|options| bench(&options))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lifecycle: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse() -> Result<Options, lexopt::Error> {
    let named =
        |variable: &str, name: &str| std::env::var(variable).unwrap_or_else(|_| name.to_owned());
    let mut options = Options {
        longshore: String::new(),
        runc: named("RUNC", "runc"),
        crun: named("CRUN", "crun"),
        old: None,
        rows: Vec::new(),
        library: None,
        runs: 200,
        pairs: 0,
        save: false,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("longshore") => options.longshore = parser.value()?.string()?,
            Long("runc") => options.runc = parser.value()?.string()?,
            Long("crun") => options.crun = parser.value()?.string()?,
            Long("old") => options.old = Some(parser.value()?.string()?),
            Long("row") => options.rows.push(parser.value()?.string()?),
            Long("library") => options.library = Some(parser.value()?.string()?),
            Long("runs") => options.runs = parser.value()?.parse()?,
            Long("pairs") => options.pairs = parser.value()?.parse()?,
            Long("save") => options.save = true,
            _ => return Err(format!("{}\n{HELP}", arg.unexpected()).into()),
        }
    }
    if options.longshore.is_empty() {
        Err(HELP.into())
    } else {
        Ok(options)
    }
}

fn bench(options: &Options) -> Result<(), String> {
    nix::sys::prctl::set_child_subreaper(true).map_err(|error| error.to_string())?;
    let shop = Workshop::open()?;
    let isolated = isolate()
        .map_err(|error| format!("cannot make a mount namespace (are you root?): {error}"));
    isolated?;

    if let (Some(old), true) = (&options.old, options.pairs > 0) {
        return in_turn(options, old, &shop);
    }
    shop.bundles(false)?;
    let mut contenders = vec![
        Contender::command("longshore", &options.longshore),
        Contender::command("runc", &options.runc),
        Contender::command("crun", &options.crun),
    ];
    let old = || {
        options
            .old
            .iter()
            .map(|old| Contender::command("longshore, old", old))
    };
    contenders.extend(old());
    let v1 = Table::measure(&mut contenders, &shop, options, false)?;

    cover_cgroups().map_err(|error| format!("cgroup2: {error}"))?;
    shop.bundles(true)?;
    let mut contenders = vec![
        Contender::command("longshore", &options.longshore),
        Contender::command("runc", &options.runc),
        Contender::floor(),
    ];
    contenders.extend(old());
    if let Some(program) = &options.library {
        contenders.push(Contender::library(program, &shop, options.runs)?);
    }
    let v2 = Table::measure(&mut contenders, &shop, options, true)?;
    drop(contenders);

    let mut text = format!(
        "# Lifecycle\n\n{}; {} interleaved runs of each.\n\n",
        host(),
        options.runs
    );
    text += &v1.markdown("cgroup v1");
    text += "\n";
    text += &v2.markdown("cgroup2");
    text += "\n## Ratios that matter\n\n";
    text += &goals(&v1, V1_GOALS);
    text += &goals(&v2, V2_GOALS);
    print!("{text}");
    if options.save {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/results.md");
        std::fs::write(path, text).map_err(|error| format!("{path}: {error}"))?;
    }
    Ok(())
}

fn in_turn(options: &Options, old: &str, shop: &Workshop) -> Result<(), String> {
    let new = shop.program("new", &options.longshore)?;
    let old = shop.program("old", old)?;
    let both = (new.as_str(), old.as_str());
    let amount = (options.pairs, options.rows.as_slice());
    println!("# New and old\n\n{}; {} pairs.\n", host(), options.pairs);
    shop.bundles(false)?;
    let (v1, good_on_v1) = pairs::compare(both, shop, amount, false)?;
    println!("## cgroup v1\n\n{v1}");
    cover_cgroups().map_err(|error| format!("cgroup2: {error}"))?;
    shop.bundles(true)?;
    let (v2, good_on_v2) = pairs::compare(both, shop, amount, true)?;
    println!("## cgroup2\n\n{v2}");
    if good_on_v1 && good_on_v2 {
        return Ok(());
    }
    Err("an operation has become slower".to_owned())
}

/// A mount namespace of our own, without the cgroup2 of hybrid hosts: crun 1.8 refuses those.
fn isolate() -> nix::Result<()> {
    const NONE: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    // Not there on a host with v1 or v2 alone.
    let _ = umount2("/sys/fs/cgroup/unified", MntFlags::MNT_DETACH);
    Ok(())
}

/// Mounts cgroup2 over all of the v1 hierarchies.
fn cover_cgroups() -> nix::Result<()> {
    mount(
        Some("cgroup2"),
        "/sys/fs/cgroup",
        Some("cgroup2"),
        MsFlags::empty(),
        None::<&str>,
    )
}

fn host() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "Linux {}, {cpus} CPUs",
        read("/proc/sys/kernel/osrelease").trim()
    )
}

fn goals(table: &Table, goals: &[Goal]) -> String {
    let mut text = String::new();
    for (ours, other, goal) in goals {
        if let (Some(us), Some(them)) = (table.p10(ours.0, ours.1), table.p10(other.0, other.1)) {
            let ratio = us / them;
            let verdict = if ratio <= *goal { "met" } else { "missed" };
            text += &format!(
                "- {} by {} ÷ {} by {} = {ratio:.2} (goal ≤ {goal}: {verdict})\n",
                ours.0, ours.1, other.0, other.1
            );
        }
    }
    text
}
