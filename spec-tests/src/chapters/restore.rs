//! De facto: `restore`, of what `checkpoint` has written.

use std::fs;

use serde_json::json;

use super::cgroups::loop_control;
use super::checkpoint::{begin, checkpoint, counting, criu, goes_on_from_here, try_restore};
use super::checkpoint_refusals::must_refuse;
use crate::cgroups;
use crate::config::set;
use crate::property::{Scenario, scenario};
use crate::scene::{Scene, until};
use crate::suite::{Check, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("restore.exec-and-kill", exec_and_kill),
    scenario("restore.foreground", foreground),
    scenario("restore.without-images", without_images),
    scenario("restore.damaged-image", damaged),
    scenario("restore.id-that-exists", existing_id),
    scenario("restore.limits", limits),
    scenario("restore.device-rules", device_rules),
];

/// A container like any other.
fn exec_and_kill(scene: &mut Scene<'_>) -> Check {
    goes_on_from_here(scene)?;
    let ran = scene
        .call(&["exec", &scene.id, "sh", "-c", "echo $$; exit 5"])
        .run()?;
    ensure!(ran.code() == 5 && !ran.stdout.is_empty(), "{}", ran.story());
    scene.must("pause")?;
    scene.must_be("paused")?;
    scene.must("resume")?;
    scene.call(&["kill", &scene.id, "KILL"]).run()?.must()?;
    scene.wait_status("stopped")?;
    scene.must("delete")?;
    scene.leaves_nothing()
}

/// Its status is the program's.
fn foreground(scene: &mut Scene<'_>) -> Check {
    criu(scene)?;
    scene.script(
        "exec </dev/null >/dev/null 2>&1; [ $(cat /tmp/begin) = 0 ] && exit 24; echo up > /tmp/up; \
        while [ ! -e /tmp/go ]; do usleep 20000; done; exit 23",
    );
    begin(scene)?;
    until(|| scene.path("rootfs/tmp/up").exists(), "the program")?;
    checkpoint(scene, &[])?.must()?;
    scene.file("rootfs/tmp/go", "")?;
    let images = scene.path("images").display().to_string();
    let ran = scene
        .call(&["restore", "--image-path", &images, &scene.id])
        .run()?;
    ensure!(ran.code() == 23, "{}", ran.story());
    scene.leaves_nothing()
}

fn without_images(scene: &mut Scene<'_>) -> Check {
    criu(scene)?;
    scene.write_config()?;
    must_refuse(scene, &try_restore(scene, &[])?, "images")?;
    scene.leaves_nothing()
}

fn damaged(scene: &mut Scene<'_>) -> Check {
    counting(scene)?;
    checkpoint(scene, &[])?.must()?;
    fs::write(
        scene.path("images/inventory.img"),
        "nothing that CRIU wrote",
    )?;
    must_refuse(scene, &try_restore(scene, &[])?, "restore.log")?;
    scene.leaves_nothing()
}

fn existing_id(scene: &mut Scene<'_>) -> Check {
    counting(scene)?;
    checkpoint(scene, &["--leave-running"])?.must()?;
    let ran = try_restore(scene, &[])?;
    must_refuse(scene, &ran, "exist")?;
    scene.must_be("running")
}

fn limits(scene: &mut Scene<'_>) -> Check {
    set(
        &mut scene.config,
        "/linux/resources/pids",
        json!({ "limit": 77 }),
    );
    goes_on_from_here(scene)?;
    let limit = cgroups::read("pids", &scene.cgroup, "pids.max")?;
    ensure!(limit.trim() == "77", "pids.max is {limit}");
    Ok(())
}

fn device_rules(scene: &mut Scene<'_>) -> Check {
    loop_control(scene)?;
    set(
        &mut scene.config,
        "/linux/resources/devices",
        json!([
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm" }
        ]),
    );
    goes_on_from_here(scene)?;
    // /dev/loop-control: whom the rules let, nobody else asks for a capability.
    let look = "mknod /tmp/node c 10 237 && exec 3</tmp/node && echo opened";
    let ran = scene
        .call(&["exec", "--cap", "CAP_MKNOD", &scene.id, "sh", "-c", look])
        .run()?;
    ensure!(
        !ran.ok() && ran.stderr.contains("not permitted"),
        "the device rules are not in force: {}",
        ran.story()
    );
    Ok(())
}
