//! systemd as the container's first process, with a cgroup of its own to rule, on the host's own Debian.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::exec::exec;
use crate::config::{mount, namespace, push, set};
use crate::property::{Scenario, scenario};
use crate::runtime::Ran;
use crate::scene::{Scene, while_reaping};
use crate::suite::{Check, Stop, View, ensure};
use crate::{cgroups, sys};

pub(crate) const SCENARIOS: &[Scenario] =
    &[scenario("systemd-inside.boots-and-shuts-down", boots).on(View::V2)];

const SYSTEMD: &str = "/lib/systemd/systemd";

/// For a machine that is slow.
const LIMIT: Duration = Duration::from_secs(150);

/// The host's root with a layer above it that nobody keeps. That layer is a tmpfs: on the filesystem of the
/// layer below it would be a part of that.
const ROOT: &str = "mount -t tmpfs tmpfs layers
mkdir layers/upper layers/work
mount -t overlay overlay -o lowerdir=/,upperdir=layers/upper,workdir=layers/work rootfs";

fn boots(scene: &mut Scene<'_>) -> Check {
    let pid = boot(scene)?;
    let state = inside(scene, &["systemctl", "is-system-running", "--wait"])?;
    if state.stdout.trim() != "running" {
        let failed = inside(scene, &["systemctl", "--failed", "--plain", "--no-legend"])?;
        return Err(Stop::Fail(format!("{}: {}", state.story(), failed.stdout)));
    }
    let units = ["systemctl", "list-units", "--plain", "--no-legend"];
    let units = inside(scene, &units)?.must()?.stdout;
    for unit in ["init.scope", "multi-user.target", "dbus.service"] {
        let line = units.lines().find(|line| line.starts_with(unit));
        ensure!(
            line.is_some_and(|line| line.contains("active")),
            "{unit} is not in {units}"
        );
    }
    services(scene, pid)?;
    shuts_down(scene, pid)
}

/// Starts it, and waits until it can be asked; the pid of its first process.
fn boot(scene: &mut Scene<'_>) -> Check<i32> {
    if !Path::new(SYSTEMD).exists() {
        return Err(Stop::Skip("this host has no systemd to run".to_owned()));
    }
    fs::create_dir(scene.path("layers"))?;
    let config = &mut scene.config;
    set(config, "/process/args", json!(["/sbin/init"]));
    push(config, "/process/env", json!("container=longshore"));
    namespace(config, json!({ "type": "cgroup" }));
    mount(config, "/sys/fs/cgroup", "cgroup", "cgroup", &["rw"]);
    mount(config, "/run", "tmpfs", "tmpfs", &["nosuid", "mode=755"]);
    mount(config, "/tmp", "tmpfs", "tmpfs", &["nosuid", "mode=1777"]);
    // It would have to mount one itself, which nobody lets it.
    mount(
        config,
        "/run/lock",
        "tmpfs",
        "tmpfs",
        &["nosuid", "nodev", "mode=1777"],
    );
    // What this host has enabled is meant for this host.
    mount(
        config,
        "/etc/systemd/system",
        "tmpfs",
        "tmpfs",
        &["mode=755"],
    );
    scene.write_config()?;
    let mut create = scene.create_call(&[]);
    create.setup = ROOT.to_owned();
    scene.finish_create(create)?.must()?;
    let pid = fs::read_to_string(scene.path("pid"))?.trim().parse()?;
    scene.must("start")?;
    let socket = format!("/proc/{pid}/root/run/systemd/private");
    let end = Instant::now() + LIMIT;
    while !Path::new(&socket).exists() {
        ensure!(Instant::now() < end, "systemd does not come up");
        scene.must_be("running")?;
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(pid)
}

/// A program that is added, and has time.
fn inside(scene: &Scene<'_>, command: &[&str]) -> Check<Ran> {
    Ok(exec(scene, &[], command).spawn()?.wait(LIMIT)?)
}

/// Its services are in cgroups below the container's, and it tells how they end.
fn services(scene: &Scene<'_>, pid: i32) -> Check {
    // Some put the container one below the cgroup that was asked for.
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::"));
    let own = own.unwrap_or_default();
    let root = own.strip_suffix("/init.scope").unwrap_or_default();
    ensure!(root.starts_with(&scene.cgroup), "systemd is in {own}");
    inside(scene, &["systemd-run", "--wait", "true"])?.must()?;
    let failed = inside(scene, &["systemd-run", "--wait", "--collect", "false"])?;
    ensure!(failed.code() == 1, "{}", failed.story());
    inside(scene, &["systemd-run", "--unit=spec-long", "sleep", "1000"])?.must()?;
    let cgroup = format!("{root}/system.slice/spec-long.service");
    let found = cgroups::processes(&cgroup);
    ensure!(found.len() == 1, "in {cgroup} are {found:?}");
    inside(scene, &["systemctl", "stop", "spec-long"])?.must()?;
    ensure!(
        cgroups::directories(&cgroup).is_empty(),
        "{cgroup} is still there"
    );
    Ok(())
}

/// SIGRTMIN+3, by its number as engines send it: systemd halts. Who may not halt a machine exits instead.
fn shuts_down(scene: &Scene<'_>, pid: i32) -> Check {
    let pidfd = sys::pidfd_open(pid)?;
    scene.call(&["kill", &scene.id, "37"]).run()?.must()?;
    let limit = Duration::from_secs(60);
    let ended = while_reaping(|| sys::readable(pidfd.as_fd(), limit));
    ensure!(ended, "it has not ended after {limit:?}");
    scene.must_be("stopped")?;
    let (status, _) = sys::wait4(pid)?;
    ensure!(status.success(), "systemd ended with {status}");
    scene.must("delete")?;
    scene.leaves_nothing()
}
