//! Operations at the same time.

use std::fs::File;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

use super::{alive, longshore_only, one_line, start_with_slow_hook};
use crate::property::{Scenario, scenario};
use crate::runtime::LIMIT;
use crate::scene::Scene;
use crate::suite::{Check, Stop, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("race.create", creates),
    scenario("race.start", starts),
    scenario("race.delete", deletes),
    scenario("lock.readers-and-kill-never-wait", readers),
    scenario("lock.kill-while-start-waits", kill_during_start),
];

/// Twenty at one id: one wins, and its container is whole.
fn creates(scene: &mut Scene<'_>) -> Check {
    scene.script("sleep 300");
    scene.write_config()?;
    let mut running = Vec::new();
    for _ in 0..20 {
        running.push(scene.create_call(&[]).spawn()?);
    }
    let mut winners = 0;
    for running in running {
        let ran = running.wait(LIMIT)?;
        if ran.ok() {
            winners += 1;
        } else if scene.runtime().name == "longshore" {
            one_line(&ran)?;
            ensure!(ran.stderr.contains("already exists"), "{}", ran.story());
        }
    }
    ensure!(winners == 1, "{winners} creates of one id succeeded");
    ensure!(
        scene.status()? == "created",
        "the winner's container is {}",
        scene.status()?
    );
    let pid: i32 = std::fs::read_to_string(scene.path("pid"))?.trim().parse()?;
    ensure!(alive(pid), "the winner's init is dead");
    scene.must("start")?;
    ensure!(
        scene.status()? == "running",
        "the winner's container is {}",
        scene.status()?
    );
    Ok(())
}

fn starts(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    scene.script("echo x >> /ran; sleep 300");
    scene.create()?;
    let mut running = Vec::new();
    for _ in 0..10 {
        running.push(scene.call(&["start", &scene.id]).spawn()?);
    }
    let mut winners = 0;
    for running in running {
        let ran = running.wait(LIMIT)?;
        winners += usize::from(ran.ok());
        if !ran.ok() {
            one_line(&ran)?;
        }
    }
    ensure!(winners == 1, "{winners} starts succeeded");
    Ok(())
}

/// All succeed: what is gone is what was asked for.
fn deletes(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    scene.script("sleep 300");
    scene.start()?;
    let mut running = Vec::new();
    for _ in 0..10 {
        running.push(scene.call(&["delete", "--force", &scene.id]).spawn()?);
    }
    for running in running {
        running.wait(LIMIT)?.must()?;
    }
    scene.leaves_nothing()
}

fn at_once(scene: &Scene<'_>, args: &[&str]) -> Check {
    let begin = Instant::now();
    scene.call(args).run()?.must()?;
    ensure!(
        begin.elapsed() < Duration::from_secs(1),
        "{args:?} took {:?}",
        begin.elapsed()
    );
    Ok(())
}

/// Somebody holds the id's lock.
fn readers(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    scene.script("trap 'exit 0' TERM; sleep 300 & wait");
    scene.start()?;
    let directory = File::open(scene.path("state").join(&scene.id))?;
    let held = Flock::lock(directory, FlockArg::LockExclusive)
        .map_err(|(_, errno)| Stop::Fail(format!("flock: {errno}")))?;
    at_once(scene, &["state", &scene.id])?;
    at_once(scene, &["list"])?;
    at_once(scene, &["kill", &scene.id, "KILL"])?;
    scene.wait_status("stopped")?;
    drop(held);
    Ok(())
}

fn kill_during_start(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    let (starting, _) = start_with_slow_hook(scene)?;
    at_once(scene, &["state", &scene.id])?;
    at_once(scene, &["list"])?;
    at_once(scene, &["kill", &scene.id, "KILL"])?;
    one_line(&starting.wait(Duration::from_secs(2))?)
}
