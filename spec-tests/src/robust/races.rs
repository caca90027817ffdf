//! Operations at the same time.

use std::fs::File;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use serde_json::json;

use super::{alive, longshore_only, one_line, start_with_slow_hook};
use crate::cgroups;
use crate::config::set;
use crate::property::{Scenario, scenario};
use crate::runtime::LIMIT;
use crate::scene::Scene;
use crate::suite::{Check, Stop, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("race.create", creates),
    scenario("race.start", starts),
    scenario("race.delete", deletes),
    scenario("race.runs", runs),
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

/// Many short ones, four at a time, each with a status of its own; then nothing is there.
fn runs(scene: &mut Scene<'_>) -> Check {
    const AT_ONCE: usize = 4;
    let (count, soaked) = (1000, 10_000);
    let count = if scene.suite.soak { soaked } else { count };
    scene.script("exit $(cat /status.$(hostname))");
    let root = json!(scene.path("rootfs"));
    set(&mut scene.config, "/root/path", root);
    for number in 0..AT_ONCE {
        set(&mut scene.config, "/hostname", json!(number.to_string()));
        let path = format!("{}-{number}", scene.cgroup);
        set(&mut scene.config, "/linux/cgroupsPath", json!(path));
        scene.write_config()?;
        let bundle = format!("bundle.{number}");
        std::fs::create_dir(scene.path(&bundle))?;
        std::fs::rename(
            scene.path("config.json"),
            scene.path(&format!("{bundle}/config.json")),
        )?;
    }
    for turn in 0..count / AT_ONCE {
        let mut running = Vec::new();
        for number in 0..AT_ONCE {
            let status = (turn * AT_ONCE + number) % 256;
            scene.file(&format!("rootfs/status.{number}"), &status.to_string())?;
            let (bundle, id) = (format!("bundle.{number}"), format!("{}-{number}", scene.id));
            let mut call = scene.call(&["run", "--bundle", &bundle, &id]);
            // A file a call would be many.
            (call.stdout, call.stderr) = (Some(null()?), Some(null()?));
            running.push((status, call.spawn()?));
        }
        for (status, running) in running {
            let ran = running.wait(LIMIT)?;
            let right = i32::try_from(status).is_ok_and(|status| ran.code() == status);
            ensure!(right, "turn {turn}: not {status}: {}", ran.story());
        }
    }
    let left = std::fs::read_dir(scene.path("state"))?.count();
    let cgroups = cgroups::named(&format!("{}-", scene.cgroup));
    ensure!(
        left == 0 && cgroups.is_empty(),
        "{left} state directories, {cgroups:?}"
    );
    scene.leaves_nothing()
}

fn null() -> std::io::Result<std::os::fd::OwnedFd> {
    Ok(File::options().write(true).open("/dev/null")?.into())
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
