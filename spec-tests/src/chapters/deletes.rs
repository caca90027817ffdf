//! runtime.md#delete: what create did not make is not deleted.

use std::fs;
use std::path::PathBuf;

use crate::cgroups;
use crate::config::{mount, namespace};
use crate::holder::Holder;
use crate::property::{Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, Stop, ensure};
use serde_json::json;

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("lifecycle.delete.not-others", not_others),
    scenario("lifecycle.delete.not-others.cgroup", not_the_cgroup).deviates(&[
        ("runc", "removes the cgroup whoever made it"),
        ("crun", "removes the cgroup whoever made it"),
    ]),
];

/// Bundle and sources, the namespace that it joined with who holds it, and the cgroups beside and above its own.
fn not_others(scene: &mut Scene<'_>) -> Check {
    let holder = Holder::start("network")?;
    let joined = json!({ "type": "network", "path": holder.path("network") });
    namespace(&mut scene.config, joined);
    scene.file("src/file", "from outside")?;
    scene.file("rootfs/data/below", "of the root")?;
    mount(&mut scene.config, "/data", "bind", "src", &["bind", "rw"]);
    let beside = made(&format!("{}/beside", scene.cgroup))?;
    scene.config["linux"]["cgroupsPath"] = json!(format!("{}/own", scene.cgroup));
    scene.script("echo inside > /data/new; exit 0");
    scene.start()?;
    scene.wait_status("stopped")?;
    scene.must("delete")?;
    let files = [
        "config.json",
        "rootfs/bin/busybox",
        "rootfs/data/below",
        "src/file",
        "src/new",
    ];
    let missing: Vec<_> = files
        .iter()
        .filter(|file| !scene.path(file).exists())
        .collect();
    ensure!(missing.is_empty(), "went with the container: {missing:?}");
    let namespace = fs::read_link(holder.path("network"));
    ensure!(namespace.is_ok(), "the holder of the namespace is gone");
    ensure!(beside.exists(), "{} is gone", beside.display());
    let own = cgroups::directories(&format!("{}/own", scene.cgroup));
    ensure!(own.is_empty(), "left: {own:?}");
    Ok(())
}

/// A cgroup that was there before, empty: it is used, and stays.
fn not_the_cgroup(scene: &mut Scene<'_>) -> Check {
    let dir = made(&scene.cgroup)?;
    scene.script("exit 0");
    scene.start()?;
    scene.wait_status("stopped")?;
    scene.must("delete")?;
    ensure!(dir.exists(), "{} is gone", dir.display());
    let left = cgroups::directories(&scene.cgroup);
    ensure!(left == [dir], "left: {left:?}");
    Ok(())
}

/// A cgroup where the pids are counted.
fn made(cgroup: &str) -> Check<PathBuf> {
    let roots = cgroups::roots();
    let v1 = roots.iter().find(|root| root.ends_with("pids"));
    let root = v1.or(roots.first());
    let root = root.ok_or_else(|| Stop::Skip("needs cgroups".to_owned()))?;
    let dir = root.join(cgroup.trim_start_matches('/'));
    fs::create_dir_all(&dir)?;
    Ok(dir)
}
