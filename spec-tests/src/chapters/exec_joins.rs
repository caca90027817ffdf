//! What a further process joins: init's cgroups and namespaces, and its root.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::exec::{Detached, exec, failed, says, sleeper};
use crate::config::{self, set};
use crate::holder::Holder;
use crate::property::{Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, Stop, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("exec.cgroups", cgroups),
    scenario("exec.namespaces", namespaces),
    scenario("exec.namespaces.time", time_namespace)
        .deviates(&[("runc", "1.1 knows no time namespaces")]),
    scenario("exec.namespaces.user", user_namespace),
    scenario("exec.namespaces.user.path", user_namespace_by_path),
    scenario("exec.namespaces.user.beside-others", beside_others)
        .deviates(&[("runc", "1.1 enters the user namespace first")]),
    scenario("exec.namespaces.no-pid", no_pid_namespace),
    scenario("exec.namespaces.no-mount", no_mount_namespace),
];

/// Each line of `/proc/PID/cgroup`: all v1 hierarchies and cgroup2.
fn cgroups(scene: &mut Scene<'_>) -> Check {
    let init = sleeper(scene)?;
    let detached = Detached::start(scene, &[], &["sleep", "297"])?;
    let (own, others) = (
        detached.proc("cgroup"),
        fs::read_to_string(format!("/proc/{init}/cgroup"))?,
    );
    ensure!(
        own == others && own.contains(&scene.cgroup),
        "it is in {own}, init in {others}"
    );
    Ok(())
}

fn links(pid: i32) -> Check<Vec<(String, PathBuf)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/ns"))? {
        let entry = entry?;
        all.push((
            entry.file_name().to_string_lossy().into_owned(),
            fs::read_link(entry.path())?,
        ));
    }
    all.sort();
    Ok(all)
}

/// Init's in every kind; the number of those that are not the host's.
fn same_namespaces(scene: &Scene<'_>, init: i32) -> Check<usize> {
    let detached = Detached::start(scene, &[], &["sleep", "296"])?;
    let (its, inits) = (links(detached.0)?, links(init)?);
    ensure!(its == inits, "it is in {its:?}, init in {inits:?}");
    let host = links(i32::try_from(std::process::id())?)?;
    Ok(its.iter().filter(|link| !host.contains(link)).count())
}

fn namespaces(scene: &mut Scene<'_>) -> Check {
    config::namespace(&mut scene.config, json!({ "type": "cgroup" }));
    let init = sleeper(scene)?;
    // pid counts twice, for itself and for children.
    let own = same_namespaces(scene, init)?;
    ensure!(own == 7, "{own} of its namespaces are not the host's");
    Ok(())
}

fn time_namespace(scene: &mut Scene<'_>) -> Check {
    config::namespace(&mut scene.config, json!({ "type": "time" }));
    let init = sleeper(scene)?;
    let own = same_namespaces(scene, init)?;
    ensure!(own == 8, "{own} of its namespaces are not the host's");
    Ok(())
}

fn user_namespace(scene: &mut Scene<'_>) -> Check {
    config::user_namespace(&mut scene.config);
    let init = sleeper(scene)?;
    let own = same_namespaces(scene, init)?;
    ensure!(own == 7, "{own} of its namespaces are not the host's");
    let seen = says(
        scene,
        &["--user", "1000:5"],
        "id -u; id -g; cut -c1-40 /proc/self/uid_map | tr -s ' '",
    )?;
    ensure!(
        seen.starts_with("1000\n5\n") && seen.contains("100000"),
        "{seen}"
    );
    let ran = exec(scene, &[], &["/no/such/tool"]).run()?;
    failed(&ran, "no such file or directory")
}

/// The container's user namespace does not own what the container has joined.
fn beside_others(scene: &mut Scene<'_>) -> Check {
    let kinds = ["network", "cgroup"];
    let holders = [Holder::start("network")?, Holder::start("cgroup")?];
    config::user_namespace(&mut scene.config);
    config::unmount(&mut scene.config, "/sys");
    for (kind, holder) in kinds.iter().zip(&holders) {
        let joined = json!({ "type": kind, "path": holder.path(kind) });
        config::namespace(&mut scene.config, joined);
    }
    let init = sleeper(scene)?;
    let own = same_namespaces(scene, init)?;
    ensure!(own == 8, "{own} of its namespaces are not the host's");
    for (kind, holder) in kinds.iter().zip(&holders) {
        let links = [init, holder.pid].map(|pid| {
            let name = crate::holder::proc_name(kind);
            fs::read_link(format!("/proc/{pid}/ns/{name}")).ok()
        });
        ensure!(links[0] == links[1], "{kind}: {links:?}");
    }
    Ok(())
}

fn user_namespace_by_path(scene: &mut Scene<'_>) -> Check {
    let holder = Holder::start("user")?;
    config::user_namespace(&mut scene.config);
    config::namespace(
        &mut scene.config,
        json!({ "type": "user", "path": holder.path("user") }),
    );
    scene.holder = Some(holder);
    let init = sleeper(scene)?;
    let own = same_namespaces(scene, init)?;
    ensure!(own == 7, "{own} of its namespaces are not the host's");
    let seen = says(scene, &[], "id -u; touch /tmp/x && stat -c %u /tmp/x")?;
    ensure!(seen == "0\n0", "{seen}");
    Ok(())
}

fn no_pid_namespace(scene: &mut Scene<'_>) -> Check {
    config::no_namespace(&mut scene.config, "pid");
    let init = sleeper(scene)?;
    same_namespaces(scene, init)?;
    let ran = exec(scene, &[], &["sh", "-c", "kill -TERM $$; sleep 5"]).run()?;
    ensure!(ran.code() == 143, "{}", ran.story());
    scene.must_be("running")
}

/// Its root is the container's, though its mount namespace is the host's.
fn no_mount_namespace(scene: &mut Scene<'_>) -> Check {
    if scene.runtime().name == "runc" {
        let why = "it needs a /proc there, and leaves the root mounted on the host";
        return Err(Stop::Skip(why.to_owned()));
    }
    config::no_namespace(&mut scene.config, "mount");
    set(&mut scene.config, "/mounts", json!([]));
    scene.file("rootfs/etc/mark", "chroot")?;
    let outside = scene.executable("outside", "#!/bin/sh\n")?;
    let init = sleeper(scene)?;
    same_namespaces(scene, init)?;
    let seen = says(
        scene,
        &["--cwd", "/etc"],
        "cat mark; ls -d ../../../../bin/busybox",
    )?;
    ensure!(seen == "chroot../../../../bin/busybox", "{seen}");
    failed(
        &exec(scene, &[], &[&outside]).run()?,
        "no such file or directory",
    )
}
