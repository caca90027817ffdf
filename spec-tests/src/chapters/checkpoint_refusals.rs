//! De facto: what `checkpoint` refuses. The container stays as it was.

use super::checkpoint::{checkpoint, counting, criu};
use crate::property::{Scenario, scenario};
use crate::runtime::Ran;
use crate::scene::Scene;
use crate::suite::{Check, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("checkpoint.created-is-refused", created),
    scenario("checkpoint.stopped-is-refused", stopped),
    scenario("checkpoint.parent-path-is-checked", parent_path),
];

pub(super) fn must_refuse(scene: &Scene<'_>, ran: &Ran, words: &str) -> Check {
    ensure!(!ran.ok(), "not refused: {}", ran.story());
    let ours = scene.runtime().name == "longshore";
    let told = ran.stderr.lines().count() == 1 && ran.stderr.contains(words);
    ensure!(
        told || !ours,
        "not one line with {words:?}: {}",
        ran.story()
    );
    Ok(())
}

fn created(scene: &mut Scene<'_>) -> Check {
    criu(scene)?;
    scene.create()?;
    must_refuse(scene, &checkpoint(scene, &[])?, "created")?;
    scene.must_be("created")
}

fn stopped(scene: &mut Scene<'_>) -> Check {
    criu(scene)?;
    scene.script("true");
    scene.start()?;
    scene.wait_status("stopped")?;
    must_refuse(scene, &checkpoint(scene, &[])?, "stopped")
}

fn parent_path(scene: &mut Scene<'_>) -> Check {
    counting(scene)?;
    for parent in ["/", "../none"] {
        let ran = checkpoint(scene, &["--parent-path", parent])?;
        must_refuse(scene, &ran, parent)?;
    }
    scene.must_be("running")
}
