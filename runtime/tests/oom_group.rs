//! Containers that run out of memory, and are killed as a group: whoever made them is not among the killed.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Stage, assert_childless, require_root, watchdog};
use longshore::{ExitStatus, Result};
use serde_json::{Value, json};
use std::fs;

/// A child that wants all of the memory that the machine might give for a moment, in one piece, and a parent that wants
/// nothing: it dies with the group alone.
const GREEDY: &[&str] = &[
    "/bin/busybox",
    "sh",
    "-c",
    "/bin/busybox dd if=/dev/zero of=/dev/null bs=512M; exit 3",
];

/// CI promises root, but no layout of cgroups: the machine for tests has this one.
fn have_memory() -> bool {
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let have = controllers.split_whitespace().any(|name| name == "memory");
    if !have {
        println!("skipped: needs the memory controller of cgroup v2");
    }
    have
}

fn limited(stage: &Stage, id: &str, limit: u64, group: &str) -> Value {
    let mut config = stage.config(id, GREEDY);
    config["linux"]["resources"]["unified"] = json!({
        "memory.max": limit.to_string(), "memory.swap.max": "0", "memory.oom.group": group,
    });
    config
}

fn soak() -> bool {
    std::env::var("LONGSHORE_SOAK").as_deref() == Ok("1")
}

/// The whole life. What can't be made, or can't be started, is an error, and leaves as little.
fn life(stage: &Stage, id: &str, limit: u64, group: &str) -> Result<ExitStatus> {
    let config = limited(stage, id, limit, group);
    let container = stage.container(id, &config).create()?;
    let status = container.start()?.wait()?;
    stage.runtime.force_delete(id)?;
    Ok(status)
}

#[test]
fn the_program_runs_out_of_memory() {
    if !require_root() || !have_memory() {
        return;
    }
    let count = if soak() { 500 } else { 50 };
    let _watchdog = watchdog(count * 10);
    let stage = Stage::new();
    for number in 0..count {
        let status = life(&stage, &format!("oom-{number}"), 8 << 20, "1").unwrap();
        assert_eq!(status, ExitStatus::Signaled(9), "container {number}");
    }
    // What shows that it was the group.
    let alone = life(&stage, "alone", 8 << 20, "0").unwrap();
    assert_eq!(alone, ExitStatus::Exited(3), "without memory.oom.group");
    assert_childless();
    stage.assert_clean();
    println!("{count} containers ran out of memory");
}

/// Limits from nothing at all to what init gets along with: it is killed at the clone, in the middle of its work, or
/// as late as the program.
#[test]
fn init_runs_out_of_memory() {
    if !require_root() || !have_memory() {
        return;
    }
    let rounds = if soak() { 10 } else { 1 };
    let _watchdog = watchdog(600 * rounds);
    let stage = Stage::new();
    let (mut made, mut refused) = (0, 0);
    for round in 0..rounds {
        for pages in (0..24).chain((24..256).step_by(16)) {
            let id = format!("tiny-{round}-{pages}");
            match life(&stage, &id, pages * 4096, "1") {
                Ok(status) => {
                    assert_eq!(status, ExitStatus::Signaled(9), "{pages} pages");
                    made += 1;
                }
                Err(error) => {
                    // An init that dies between create and start is told of by start, in other words.
                    let at = error.config_path();
                    let left = stage.runtime.list().unwrap().len();
                    if left == 0 {
                        assert_eq!(at, Some("linux.resources.memory.limit"), "{error}");
                    }
                    println!("{pages} pages, {left} left to delete: {error}");
                    let _ = stage.runtime.force_delete(&id); // start failed, and it is there
                    refused += 1;
                }
            }
            assert_childless();
        }
    }
    stage.assert_clean();
    assert!(refused > 0, "none of them was too small for init");
    println!("{made} programs ran out of memory, {refused} inits");
}
