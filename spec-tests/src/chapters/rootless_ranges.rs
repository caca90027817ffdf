//! De facto: a caller without the host's root, to whom /etc/subuid and /etc/subgid give ranges of ids: newuidmap(1)
//! and newgidmap(1) write its maps.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::json;

use super::rootless::{USER, call, call_in, detached, hand_over, must_refuse};
use crate::config::set;
use crate::property::{Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, Stop, ensure};

const ALONE: &str = "1.1 gives and takes no groups without the host's root";

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("rootless.ranges.run", run),
    scenario("rootless.ranges.user", user),
    scenario("rootless.ranges.exec", exec),
    scenario("rootless.ranges.files", files),
    scenario("rootless.ranges.additionalGids", groups).deviates(&[("runc", ALONE)]),
    scenario("rootless.ranges.no-groups-of-the-caller", no_others).deviates(&[("runc", ALONE)]),
    scenario("rootless.ranges.delete-force", delete_force),
    scenario("rootless.ranges.refused", foreign_range),
    scenario("rootless.ranges.no-helper", no_helper),
    scenario("rootless.ranges.helper-hangs", hung_helper),
];

/// The first of the ids that are the user's, and how many there are.
const FIRST: u32 = 700_000;
const COUNT: u32 = 1000;

/// The lists of users as this scene has them, for the runtime and its helpers alone.
const LISTS: &str =
    "for list in passwd subuid subgid; do mount --bind lists/$list /etc/$list; done";
const WITHOUT_HELPERS: &str =
    "for list in passwd subuid subgid; do mount --bind lists/$list /etc/$list; done
    for helper in newuidmap newgidmap; do mount --bind /dev/null \"$(command -v $helper)\"; done";
const HUNG_HELPER: &str =
    "for list in passwd subuid subgid; do mount --bind lists/$list /etc/$list; done
    mount --bind lists/hangs \"$(command -v newuidmap)\"";

/// The container's root is the user, and its other ids are the range.
fn ranges(scene: &mut Scene<'_>, first: u32) -> Check {
    let missing = |path: &&&str| !Path::new(path).exists();
    let needed = ["/etc/subuid", "/etc/subgid", "/usr/bin/newuidmap"];
    if let Some(path) = needed.iter().find(missing) {
        return Err(Stop::Skip(format!("there is no {path}: install uidmap")));
    }
    let passwd = format!("root:x:0:0::/:/bin/sh\ntester:x:{USER}:{USER}::/:/bin/sh\n");
    scene.file("lists/passwd", &passwd)?;
    for list in ["lists/subuid", "lists/subgid"] {
        scene.file(list, &format!("tester:{FIRST}:{COUNT}\n"))?;
    }
    scene.executable("lists/hangs", "#!/bin/sh\nexec sleep 12\n")?;
    scene.setup = LISTS;
    let map = json!([
        { "containerID": 0, "hostID": USER, "size": 1 },
        { "containerID": 1, "hostID": first, "size": COUNT },
    ]);
    hand_over(scene, map)
}

fn run(scene: &mut Scene<'_>) -> Check {
    scene.script("id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map; exit 3");
    ranges(scene, FIRST)?;
    let ran = call(scene, &["run", &scene.id]).run()?;
    let words: Vec<_> = ran.stdout.split_whitespace().collect();
    let map = format!("0 {USER} 1 1 {FIRST} {COUNT}");
    ensure!(
        words.join(" ") == format!("0 0 {map} {map}") && ran.code() == 3,
        "{}",
        ran.story()
    );
    Ok(())
}

fn user(scene: &mut Scene<'_>) -> Check {
    scene.script("id -u; id -g");
    set(
        &mut scene.config,
        "/process/user",
        json!({ "uid": 5, "gid": 6 }),
    );
    ranges(scene, FIRST)?;
    let ran = call(scene, &["run", &scene.id]).run()?.must()?;
    ensure!(ran.stdout == "5\n6\n", "{}", ran.story());
    Ok(())
}

fn exec(scene: &mut Scene<'_>) -> Check {
    scene.script("echo up > /tmp/up; exec sleep 100");
    ranges(scene, FIRST)?;
    detached(scene)?;
    for (user, expected) in [("0:0", "0\n0\n"), ("7:8", "7\n8\n")] {
        let args = [
            "exec",
            "--user",
            user,
            &scene.id,
            "sh",
            "-c",
            "id -u; id -g",
        ];
        let ran = call(scene, &args).run()?.must()?;
        ensure!(ran.stdout == expected, "{}", ran.story());
    }
    Ok(())
}

/// What they own on the host.
fn files(scene: &mut Scene<'_>) -> Check {
    scene.script("echo > /tmp/own; echo > /tmp/given; chown 5:6 /tmp/given");
    ranges(scene, FIRST)?;
    call(scene, &["run", &scene.id]).run()?.must()?;
    for (name, uid, gid) in [("own", USER, USER), ("given", FIRST + 4, FIRST + 5)] {
        let file = scene.path("rootfs/tmp").join(name).metadata()?;
        ensure!(
            (file.uid(), file.gid()) == (uid, gid),
            "{name} is {}:{}'s",
            file.uid(),
            file.gid()
        );
    }
    Ok(())
}

fn groups(scene: &mut Scene<'_>) -> Check {
    scene.script("grep ^Groups: /proc/self/status");
    let gids = json!([3, 9]);
    set(&mut scene.config, "/process/user/additionalGids", gids);
    ranges(scene, FIRST)?;
    let ran = call(scene, &["run", &scene.id]).run()?.must()?;
    let found: Vec<_> = ran.stdout.split_whitespace().skip(1).collect();
    ensure!(found == ["3", "9"], "{}", ran.story());
    Ok(())
}

/// Where setgroups(2) is allowed, they are left.
fn no_others(scene: &mut Scene<'_>) -> Check {
    scene.script("grep ^Groups: /proc/self/status; cat /proc/self/setgroups");
    ranges(scene, FIRST)?;
    let ran = call_in(scene, "--groups=424243", &["run", &scene.id])
        .run()?
        .must()?;
    let words: Vec<_> = ran.stdout.split_whitespace().collect();
    ensure!(words == ["Groups:", "allow"], "{}", ran.story());
    Ok(())
}

fn delete_force(scene: &mut Scene<'_>) -> Check {
    scene.script("echo up > /tmp/up; exec sleep 100");
    ranges(scene, FIRST)?;
    detached(scene)?;
    call(scene, &["delete", "--force", &scene.id])
        .run()?
        .must()?;
    let left = scene.left_behind();
    ensure!(left.is_empty(), "left {left:?}");
    Ok(())
}

/// Ids that nobody gave to this user: the helper says so, and we say what it says.
fn foreign_range(scene: &mut Scene<'_>) -> Check {
    scene.script("echo ran");
    ranges(scene, FIRST + 1)?;
    let ran = call(scene, &["run", &scene.id]).run()?;
    must_refuse(scene, &ran, "linux.uidMappings: newuidmap: uid range [1-")
}

fn no_helper(scene: &mut Scene<'_>) -> Check {
    scene.script("echo ran");
    ranges(scene, FIRST)?;
    scene.setup = WITHOUT_HELPERS;
    let ran = call(scene, &["run", &scene.id]).run()?;
    let place = "linux.uidMappings: newuidmap is not installed";
    must_refuse(scene, &ran, place)
}

/// The deadline is shorter than this helper's sleep.
fn hung_helper(scene: &mut Scene<'_>) -> Check {
    scene.script("echo ran");
    ranges(scene, FIRST)?;
    scene.setup = HUNG_HELPER;
    let ran = call(scene, &["run", &scene.id]).run()?;
    must_refuse(scene, &ran, "linux.uidMappings: newuidmap: no end after")
}
