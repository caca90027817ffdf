//! Beyond runc: the binary is replaced while there are containers. What one release has created, started or
//! paused, the next takes over; and the other way round, when the new one is taken back.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::exec::says;
use crate::config::set;
use crate::property::{Scenario, scenario};
use crate::scene::{Scene, until, while_reaping};
use crate::suite::{Check, NEEDS_V1, Stop, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("upgrade.created", |scene| created(scene, UP)),
    scenario("upgrade.running", |scene| running(scene, UP)),
    scenario("upgrade.paused", |scene| paused(scene, UP)),
    scenario("upgrade.stopped", |scene| stopped(scene, UP)),
    scenario("upgrade.updated", |scene| updated(scene, UP)),
    scenario("upgrade.hooks", |scene| hooks(scene, UP)),
    scenario("upgrade.list", |scene| list(scene, UP)),
    scenario("downgrade.created", |scene| created(scene, DOWN)),
    scenario("downgrade.running", |scene| running(scene, DOWN)),
    scenario("downgrade.paused", |scene| paused(scene, DOWN)),
    scenario("downgrade.stopped", |scene| stopped(scene, DOWN)),
    scenario("downgrade.updated", |scene| updated(scene, DOWN)),
    scenario("downgrade.hooks", |scene| hooks(scene, DOWN)),
    scenario("downgrade.list", |scene| list(scene, DOWN)),
];

/// From the earlier longshore to the one under test, or back.
#[derive(Clone, Copy)]
struct Swap {
    up: bool,
}

const UP: Swap = Swap { up: true };
const DOWN: Swap = Swap { up: false };

impl Swap {
    /// What follows is done by the one that is there first.
    fn before(self, scene: &mut Scene<'_>) -> Check {
        self.take(scene, self.up)
    }

    /// What follows is done by the one that takes its place.
    fn after(self, scene: &mut Scene<'_>) -> Check {
        self.take(scene, !self.up)
    }

    fn take(self, scene: &mut Scene<'_>, old: bool) -> Check {
        scene.only_longshore()?;
        let lacks = || Stop::Skip("needs --old, an earlier longshore".to_owned());
        let earlier: PathBuf = scene.suite.old.clone().ok_or_else(lacks)?;
        scene.program = match old {
            true => earlier,
            false => scene.runtime().path.clone(),
        };
        Ok(())
    }
}

/// A program that does as it is told by signals, and says so.
fn faithful(scene: &mut Scene<'_>) {
    scene.script("trap 'echo usr >> /said' USR1; trap 'echo term >> /said; exit 3' TERM; echo up >> /said; while :; do sleep 0.05; done");
}

fn said(scene: &Scene<'_>, word: &str) -> Check {
    let path = scene.path("rootfs/said");
    let there = || fs::read_to_string(&path).is_ok_and(|text| text.contains(word));
    until(there, &format!("the program to say {word}"))
}

fn ends(scene: &Scene<'_>) -> Check {
    scene.call(&["kill", &scene.id, "TERM"]).run()?.must()?;
    said(scene, "term")?;
    while_reaping(|| scene.wait_status("stopped"))?;
    scene.must("delete")?;
    scene.leaves_nothing()
}

fn created(scene: &mut Scene<'_>, swap: Swap) -> Check {
    swap.before(scene)?;
    faithful(scene);
    scene.create()?;
    swap.after(scene)?;
    scene.must_be("created")?;
    scene.must("start")?;
    said(scene, "up")?;
    ends(scene)
}

fn running(scene: &mut Scene<'_>, swap: Swap) -> Check {
    swap.before(scene)?;
    faithful(scene);
    let pid = scene.start()?;
    said(scene, "up")?;
    swap.after(scene)?;
    let state = scene.state()?;
    ensure!(
        state["status"] == "running" && state["pid"] == pid,
        "{state}"
    );
    ensure!(says(scene, &[], "echo well")? == "well", "no exec");
    let ps = scene
        .call(&["ps", "--format", "json", &scene.id])
        .run()?
        .must()?;
    ensure!(ps.stdout.contains(&pid.to_string()), "{}", ps.story());
    scene.call(&["kill", &scene.id, "USR1"]).run()?.must()?;
    said(scene, "usr")?;
    ends(scene)
}

fn paused(scene: &mut Scene<'_>, swap: Swap) -> Check {
    swap.before(scene)?;
    faithful(scene);
    scene.start()?;
    said(scene, "up")?;
    scene.must("pause")?;
    swap.after(scene)?;
    scene.must_be("paused")?;
    scene.must("resume")?;
    scene.must_be("running")?;
    scene.must("pause")?;
    swap.before(scene)?;
    scene.must("resume")?;
    swap.after(scene)?;
    ends(scene)
}

fn stopped(scene: &mut Scene<'_>, swap: Swap) -> Check {
    swap.before(scene)?;
    scene.config["process"]["args"] = json!(["true"]);
    scene.start()?;
    while_reaping(|| scene.wait_status("stopped"))?;
    swap.after(scene)?;
    scene.must_be("stopped")?;
    scene.must("delete")?;
    scene.leaves_nothing()
}

/// What an update has changed is neither forgotten nor undone by the next.
fn updated(scene: &mut Scene<'_>, swap: Swap) -> Check {
    if crate::cgroups::unified() {
        return Err(Stop::Skip(NEEDS_V1.to_owned()));
    }
    swap.before(scene)?;
    set(
        &mut scene.config,
        "/linux/resources",
        json!({ "pids": { "limit": 50 }, "cpu": { "shares": 300 } }),
    );
    faithful(scene);
    scene.start()?;
    scene
        .call(&["update", "--pids-limit", "60", &scene.id])
        .run()?
        .must()?;
    swap.after(scene)?;
    scene
        .call(&["update", "--cpu-share", "400", &scene.id])
        .run()?
        .must()?;
    for (controller, file, value) in [("pids", "pids.max", "60"), ("cpu", "cpu.shares", "400")] {
        let path = format!("/sys/fs/cgroup/{controller}{}/{file}", scene.cgroup);
        let now = fs::read_to_string(&path)?;
        ensure!(now.trim() == value, "{path}: {now}");
    }
    ends(scene)
}

/// What one has written down the other runs.
fn hooks(scene: &mut Scene<'_>, swap: Swap) -> Check {
    swap.before(scene)?;
    let directory = scene.dir.display().to_string();
    let script = format!("#!/bin/sh\ncat > {directory}/hook.$1\n");
    let hook = scene.executable("hook", &script)?;
    for kind in ["startContainer", "poststart", "poststop"] {
        // startContainer hooks are inside: there is no such file, and true is what runs.
        let entry = match kind {
            "startContainer" => json!([{ "path": "/bin/true" }]),
            _ => json!([{ "path": hook, "args": ["hook", kind] }]),
        };
        set(&mut scene.config, &format!("/hooks/{kind}"), entry);
    }
    faithful(scene);
    scene.create()?;
    swap.after(scene)?;
    scene.must("start")?;
    said(scene, "up")?;
    ends(scene)?;
    for (kind, status) in [("poststart", "running"), ("poststop", "stopped")] {
        let state = fs::read_to_string(scene.path(&format!("hook.{kind}")))?;
        ensure!(
            state.contains(&scene.id) && state.contains(status),
            "{kind}: {state}"
        );
    }
    Ok(())
}

/// Nobody calls another's record damaged.
fn list(scene: &mut Scene<'_>, swap: Swap) -> Check {
    swap.before(scene)?;
    faithful(scene);
    scene.create()?;
    let before = scene
        .call(&["list", "--format", "json"])
        .run()?
        .must()?
        .stdout;
    swap.after(scene)?;
    let ran = scene.call(&["list", "--format", "json"]).run()?.must()?;
    ensure!(
        ran.stdout == before && ran.stderr.is_empty(),
        "{before}, then {}",
        ran.story()
    );
    scene
        .call(&["delete", "--force", &scene.id])
        .run()?
        .must()?;
    scene.leaves_nothing()
}
