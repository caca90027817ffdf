//! Root filesystems that lead somewhere else: `/proc`, `/sys` and `/dev` as
//! links. Refused or followed inside the root, at once; a tree on the host
//! that they point at stays as it was, to the byte and the nanosecond.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::time::Duration;

use super::{longshore_only, one_line};
use crate::property::{Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("hostile.root.proc-is-a-link", |scene| linked(scene, "proc")),
    scenario("hostile.root.sys-is-a-link", |scene| linked(scene, "sys")),
    scenario("hostile.root.dev-is-a-link", |scene| linked(scene, "dev")),
];

/// How long one answer may take.
const LIMIT: Duration = Duration::from_secs(1);

/// The four ways to say it; `canary` is the tree's absolute path on the host.
fn contents(canary: &str) -> [(&'static str, String); 4] {
    [
        ("absolute", canary.to_owned()),
        ("relative", format!("../../../../../../..{canary}")),
        ("dotdot", format!("tmp/../../../../../../../..{canary}")),
        ("chained", "first".to_owned()),
    ]
}

fn linked(scene: &mut Scene<'_>, name: &str) -> Check {
    longshore_only(scene)?;
    let canary = scene.path("canary");
    fs::create_dir(&canary)?;
    scene.file("canary/file", "untouched")?;
    scene.file("canary/sub/file", "untouched too")?;
    let before = tree(&canary)?;
    let root = scene.path("rootfs");
    let target = canary.display().to_string();
    symlink("second", root.join("first"))?;
    symlink(format!("../..{target}"), root.join("second"))?;
    fs::remove_dir(root.join(name))?;
    scene.script("true");
    for (how, contents) in contents(&target) {
        symlink(&contents, root.join(name))?;
        let ran = scene.run()?;
        ensure!(
            ran.took < LIMIT,
            "{how}: took {:?}: {}",
            ran.took,
            ran.story()
        );
        if !ran.ok() {
            one_line(&ran)?;
        }
        ensure!(
            tree(&canary)? == before,
            "{how}: the tree on the host has changed: {}",
            ran.story()
        );
        fs::remove_file(root.join(name))?;
    }
    fs::create_dir(root.join(name))?;
    Ok(())
}

/// Everything that can be seen of a tree: names, modes, owners, times, contents.
fn tree(top: &Path) -> Check<Vec<String>> {
    let mut seen = Vec::new();
    let mut pending = vec![top.to_owned()];
    while let Some(path) = pending.pop() {
        let data = fs::symlink_metadata(&path)?;
        let contents = if data.is_file() {
            fs::read(&path)?
        } else {
            Vec::new()
        };
        seen.push(format!(
            "{} {:o} {}:{} {}.{} {}.{} {contents:?}",
            path.display(),
            data.mode(),
            data.uid(),
            data.gid(),
            data.mtime(),
            data.mtime_nsec(),
            data.ctime(),
            data.ctime_nsec(),
        ));
        if data.is_dir() {
            for entry in fs::read_dir(&path)? {
                pending.push(entry?.path());
            }
        }
    }
    seen.sort();
    Ok(seen)
}
