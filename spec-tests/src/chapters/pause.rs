//! De facto, as engines use them: `pause`, `resume` and `ps`.

use std::fs;
use std::time::Duration;

use super::exec::{Detached, exec, failed, says, sleeper};
use crate::property::{Scenario, scenario};
use crate::scene::{Scene, until, while_reaping};
use crate::suite::{Check, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("pause.round", pause_round),
    scenario("pause.stops-everything", pause_stops),
    scenario("pause.created", pause_created),
    scenario("pause.words", pause_words),
    scenario("pause.exec.ignore-paused", ignore_paused).deviates(&[("runc", "waits for ever")]),
    scenario("ps.json", ps_json),
    scenario("ps.table", ps_table),
    scenario("ps.arguments", ps_arguments),
];

fn pause_round(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    scene.must("pause")?;
    scene.must_be("paused")?;
    failed(
        &exec(scene, &[], &["true"]).run()?,
        "cannot exec in a paused container (use --ignore-paused to override)",
    )?;
    scene.must("resume")?;
    scene.must_be("running")?;
    ensure!(says(scene, &[], "echo well")? == "well", "no exec after it");
    Ok(())
}

/// The program and what was added to it; and both go on.
fn pause_stops(scene: &mut Scene<'_>) -> Check {
    scene.script("while :; do echo x >> /own; sleep 0.01; done");
    scene.start()?;
    let _detached = Detached::start(
        scene,
        &[],
        &["sh", "-c", "while :; do echo x >> /added; sleep 0.01; done"],
    )?;
    let lengths = || {
        ["rootfs/own", "rootfs/added"]
            .map(|name| fs::metadata(scene.path(name)).map_or(0, |file| file.len()))
    };
    until(
        || lengths().iter().all(|length| *length > 2),
        "both programs",
    )?;
    scene.must("pause")?;
    let before = lengths();
    std::thread::sleep(Duration::from_millis(200));
    ensure!(lengths() == before, "something runs in a paused container");
    scene.must("resume")?;
    until(
        || lengths().iter().zip(before).all(|(now, then)| *now > then),
        "both programs to go on",
    )
}

fn pause_created(scene: &mut Scene<'_>) -> Check {
    scene.create()?;
    scene.must("pause")?;
    scene.must_be("paused")?;
    scene.must("resume")?;
    scene.must_be("created")
}

fn pause_words(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    let refused = |verb, words: &str| {
        let ran = scene.verb(verb)?;
        ensure!(
            ran.code() == 1 && ran.stderr.contains(words),
            "wanted {words:?}: {}",
            ran.story()
        );
        Ok(())
    };
    refused("resume", "container not paused")?;
    scene.must("pause")?;
    refused("pause", "container not running")?;
    scene.must_be("paused")?;
    scene.must("resume")?;
    refused("resume", "container not paused")?;
    scene.call(&["kill", &scene.id, "KILL"]).run()?.must()?;
    scene.wait_status("stopped")?;
    refused("pause", "container not running")?;
    refused("resume", "container not paused")
}

/// It is held until the container goes on, or the runtime gives up; it must not hang, and nothing stays.
fn ignore_paused(scene: &mut Scene<'_>) -> Check {
    let init = sleeper(scene)?;
    scene.must("pause")?;
    let ran = exec(scene, &["--ignore-paused"], &["true"]).run()?;
    ensure!(ran.status.is_some(), "{}", ran.story());
    failed(&ran, "")?;
    scene.must("resume")?;
    until(
        || while_reaping(|| crate::cgroups::processes(&scene.cgroup)) == [init],
        "the end of the process",
    )?;
    ensure!(says(scene, &[], "echo well")? == "well", "no exec after it");
    Ok(())
}

/// All processes, with the host's numbers.
fn ps_json(scene: &mut Scene<'_>) -> Check {
    let init = sleeper(scene)?;
    let detached = Detached::start(scene, &[], &["sleep", "294"])?;
    for args in [&["ps", "--format", "json"][..], &["ps", "-f=json"]] {
        let mut args = args.to_vec();
        args.push(&scene.id);
        let ran = scene.call(&args).run()?.must()?;
        let mut pids: Vec<i32> = serde_json::from_str(&ran.stdout)?;
        pids.sort_unstable();
        let mut wanted = [init, detached.0];
        wanted.sort_unstable();
        ensure!(pids == wanted, "wanted {wanted:?}: {}", ran.story());
    }
    Ok(())
}

fn ps_table(scene: &mut Scene<'_>) -> Check {
    let init = sleeper(scene)?;
    let _detached = Detached::start(scene, &[], &["sleep", "293"])?;
    let ran = scene.must("ps")?;
    let lines: Vec<&str> = ran.stdout.lines().collect();
    ensure!(lines.len() == 3, "{}", ran.story());
    ensure!(
        lines.first().is_some_and(|line| line.starts_with("UID ")),
        "{}",
        ran.story()
    );
    ensure!(
        ran.stdout.contains(&init.to_string()) && ran.stdout.contains("sleep 293"),
        "{}",
        ran.story()
    );
    Ok(())
}

fn ps_arguments(scene: &mut Scene<'_>) -> Check {
    let init = sleeper(scene)?;
    let ran = scene
        .call(&["ps", &scene.id, "-e", "-o", "pid,args"])
        .run()?
        .must()?;
    let words: Vec<&str> = ran.stdout.split_whitespace().collect();
    ensure!(
        words == ["PID", "COMMAND", &init.to_string(), "/bin/sleep", "300"],
        "{}",
        ran.story()
    );
    let ran = scene.call(&["ps", "--format", "runes", &scene.id]).run()?;
    ensure!(ran.code() == 1, "{}", ran.story());
    Ok(())
}
