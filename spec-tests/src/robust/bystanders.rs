//! Who is not ours is left alone.

use std::fs;
use std::path::PathBuf;

use super::{Stranger, alive, force_delete, longshore_only, one_line};
use crate::cgroups;
use crate::property::{Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, Stop, View, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("bystander.in-the-cgroup", |scene| occupied(scene, "")),
    scenario("bystander.below-the-cgroup", |scene| {
        occupied(scene, "below")
    }),
    scenario("bystander.frozen-cgroup", frozen),
    scenario("bystander.frozen-cgroup.v1", frozen_v1).on(View::V1),
    scenario("bystander.empty-cgroup-is-used-and-stays", empty),
    scenario("bystander.entered-later", entered_later),
    scenario("bystander.another-containers-cgroup", shared),
];

/// The container's cgroup in one hierarchy, made beforehand, with a part below it.
fn existing(scene: &Scene<'_>, controller: &str, below: &str) -> Check<PathBuf> {
    let roots = cgroups::roots();
    let root = roots
        .iter()
        .find(|root| root.ends_with(controller))
        .or(roots.first());
    let root = root.ok_or_else(|| Stop::Skip("needs cgroups".to_owned()))?;
    let dir = root.join(scene.cgroup.trim_start_matches('/')).join(below);
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// Back to the root of its hierarchy, so that the directory can go; the stranger ends with the test.
fn occupied(scene: &mut Scene<'_>, below: &str) -> Check {
    longshore_only(scene)?;
    let dir = existing(scene, "pids", below)?;
    let stranger = Stranger::start()?;
    fs::write(dir.join("cgroup.procs"), stranger.pid().to_string())?;
    let ran = scene.try_create()?;
    one_line(&ran)?;
    ensure!(ran.stderr.contains("linux.cgroupsPath"), "{}", ran.story());
    stranger.must_live()?;
    scene.call(&["delete", "--force", &scene.id]).run()?;
    stranger.must_live()?;
    ensure!(dir.exists(), "the bystander's cgroup was removed");
    ensure!(
        !scene.path("state").join(&scene.id).exists(),
        "a state directory was left"
    );
    Ok(())
}

fn frozen(scene: &mut Scene<'_>) -> Check {
    let v2 = cgroups::roots()
        .iter()
        .find(|root| root.join("cgroup.controllers").exists())
        .cloned();
    let Some(v2) = v2 else {
        return Err(Stop::Skip("needs a cgroup2".to_owned()));
    };
    let dir = v2.join(scene.cgroup.trim_start_matches('/'));
    fs::create_dir_all(&dir)?;
    refused_frozen(scene, &dir, ("cgroup.freeze", "1", "0"))
}

fn frozen_v1(scene: &mut Scene<'_>) -> Check {
    let dir = existing(scene, "freezer", "")?;
    refused_frozen(scene, &dir, ("freezer.state", "FROZEN", "THAWED"))
}

fn refused_frozen(
    scene: &Scene<'_>,
    dir: &std::path::Path,
    (file, on, off): (&str, &str, &str),
) -> Check {
    longshore_only(scene)?;
    fs::write(dir.join(file), on)?;
    let ran = scene.try_create();
    fs::write(dir.join(file), off)?;
    let ran = ran?;
    one_line(&ran)?;
    ensure!(
        ran.stderr.contains("linux.cgroupsPath") && ran.stderr.contains("frozen"),
        "{}",
        ran.story()
    );
    ensure!(dir.exists(), "the cgroup was removed");
    Ok(())
}

fn empty(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    let dir = existing(scene, "pids", "")?;
    scene.script("sleep 300");
    let pid = scene.start()?;
    let inside = fs::read_to_string(dir.join("cgroup.procs"))?;
    ensure!(
        inside.lines().any(|line| line == pid.to_string()),
        "init is not in the cgroup"
    );
    scene
        .call(&["delete", "--force", &scene.id])
        .run()?
        .must()?;
    ensure!(!alive(pid), "init is alive");
    ensure!(dir.exists(), "the cgroup that was there before was removed");
    let others: Vec<_> = cgroups::directories(&scene.cgroup)
        .into_iter()
        .filter(|other| *other != dir)
        .collect();
    ensure!(others.is_empty(), "left: {others:?}");
    Ok(())
}

/// Put by hand into the cgroup that was there before the container.
fn entered_later(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    let dir = existing(scene, "pids", "")?;
    scene.script("sleep 300");
    let pid = scene.start()?;
    let stranger = Stranger::start()?;
    fs::write(dir.join("cgroup.procs"), stranger.pid().to_string())?;
    scene
        .call(&["delete", "--force", &scene.id])
        .run()?
        .must()?;
    ensure!(!alive(pid), "init is alive");
    stranger.must_live()
}

/// A second container in the first one's cgroup.
fn shared(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    scene.script("sleep 300");
    let pid = scene.start()?;
    let second = format!("{}-second", scene.id);
    let ran = scene.call(&["create", &second]).run()?;
    one_line(&ran)?;
    ensure!(ran.stderr.contains("linux.cgroupsPath"), "{}", ran.story());
    ensure!(alive(pid), "the first container's init was killed");
    ensure!(
        !scene.path("state").join(&second).exists(),
        "a state directory was left"
    );
    force_delete(scene)
}
