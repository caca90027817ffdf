//! The systemd driver: what becomes of the unit, and what of a container whose systemd doesn't answer.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::config::{set, strip};
use crate::property::{Scenario, scenario};
use crate::scene::{Scene, until};
use crate::suite::{Check, Stop, View, ensure};
use crate::{cgroups, leak, sys};

const TAKES: &str = "1.1 goes on in a unit of that name as it is";
const NO_DEADLINE: &str = "waits for an answer as long as there is none";

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("systemd.scope", scope).on(View::V2),
    scenario("systemd.scope.default-name", default_name).on(View::V2),
    scenario("systemd.slice.nested", nested).on(View::V2),
    scenario("systemd.limits", limits)
        .on(View::V2)
        .deviates(&[("runc", "1.1 writes a quota that systemd rounds later")]),
    scenario("systemd.limits.unified", unified).on(View::V2),
    scenario("systemd.update", update)
        .on(View::V2)
        .deviates(&[("runc", "1.1 writes a quota that systemd rounds later")]),
    scenario("systemd.devices.after-reload", devices).on(View::V2),
    scenario("systemd.annotations", annotations).on(View::V2),
    scenario("systemd.annotations.refused", bad_annotation).on(View::V2),
    scenario("systemd.cgroupsPath.refused", bad_path).on(View::V2),
    scenario("systemd.unit.failed-before", failed_before)
        .on(View::V2)
        .deviates(&[("runc", TAKES)]),
    scenario("systemd.unit.taken", taken)
        .on(View::V2)
        .deviates(&[("runc", TAKES)]),
    scenario("systemd.bus.stalled", stalled)
        .on(View::V2)
        .deviates(&[("runc", NO_DEADLINE), ("crun", NO_DEADLINE)]),
    scenario("systemd.bus.dead", dead)
        .on(View::V2)
        .deviates(&[("runc", "takes the manager's own socket then")]),
    scenario("systemd.create.killed", killed)
        .on(View::V2)
        .deviates(&[("runc", "leaves its hook behind")]),
    scenario("systemd.leaves-nothing", many).on(View::V2),
    scenario("systemd.create.beside-runc", beside_runc).on(View::V2),
];

/// A container that would sleep, in a scope of a slice; the unit's name.
fn sleeper(scene: &mut Scene<'_>, slice: &str) -> Check<String> {
    if !Path::new("/run/systemd/system").exists() {
        return Err(Stop::Skip("systemd does not run here".to_owned()));
    }
    scene.script("exec sleep 100");
    Ok(scene.in_scope(slice))
}

fn systemctl(args: &[&str]) -> Check<String> {
    let ran = Command::new("systemctl").args(args).output()?;
    Ok(String::from_utf8_lossy(&ran.stdout).trim().to_owned())
}

/// What systemd says of a unit.
fn shown(unit: &str, property: &str) -> Check<String> {
    systemctl(&["show", unit, "--value", "-p", property])
}

fn must_show(unit: &str, wanted: &[(&str, &str)]) -> Check {
    for (property, value) in wanted {
        let seen = shown(unit, property)?;
        ensure!(seen == *value, "{property} is {seen:?}, not {value:?}");
    }
    Ok(())
}

/// What files of the container's cgroup must say.
fn must_say(scene: &Scene<'_>, wanted: &[(&str, &str)]) -> Check {
    for (file, value) in wanted {
        let seen = cgroups::read("", &scene.cgroup, file)?;
        ensure!(seen.trim() == *value, "{file} says {seen:?}, not {value:?}");
    }
    Ok(())
}

/// Neither loaded nor in the cgroup tree, at once.
fn gone(scene: &Scene<'_>, unit: &str) -> Check {
    must_show(
        unit,
        &[("LoadState", "not-found"), ("ActiveState", "inactive")],
    )?;
    scene.leaves_nothing()
}

fn scope(scene: &mut Scene<'_>) -> Check {
    let unit = sleeper(scene, "system.slice")?;
    let pid = scene.start()?;
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    ensure!(
        own.trim() == format!("0::{}", scene.cgroup),
        "init is in {own}"
    );
    must_show(
        &unit,
        &[
            ("ActiveState", "active"),
            ("Slice", "system.slice"),
            ("Delegate", "yes"),
            ("ControlGroup", &scene.cgroup),
        ],
    )?;
    let shown = scene
        .call(&["exec", &scene.id, "cat", "/proc/self/cgroup"])
        .run()?
        .must()?;
    ensure!(
        shown.stdout.contains(&scene.cgroup),
        "exec is in {}",
        shown.stdout
    );
    scene.call(&["kill", &scene.id, "KILL"]).run()?.must()?;
    scene.wait_status("stopped")?;
    scene.must("delete")?;
    gone(scene, &unit)
}

fn default_name(scene: &mut Scene<'_>) -> Check {
    sleeper(scene, "system.slice")?;
    strip(&mut scene.config, "/linux/cgroupsPath");
    let unit = format!("{}-{}.scope", scene.runtime().name, scene.id);
    scene.cgroup = format!("/system.slice/{unit}");
    scene.create()?;
    must_show(
        &unit,
        &[("ActiveState", "active"), ("Slice", "system.slice")],
    )?;
    scene
        .call(&["delete", "--force", &scene.id])
        .run()?
        .must()?;
    gone(scene, &unit)
}

fn nested(scene: &mut Scene<'_>) -> Check {
    let top = format!("spec{}", scene.id.replace('-', ""));
    let slice = format!("{top}-a-b.slice");
    let unit = sleeper(scene, &slice)?;
    scene.cgroup = format!("/{top}.slice/{top}-a.slice/{slice}/{unit}");
    let made = scene.create();
    let place = shown(&unit, "ControlGroup");
    let deleted = scene.call(&["delete", "--force", &scene.id]).run();
    // Nobody else would.
    systemctl(&[
        "stop",
        &format!("{top}.slice"),
        &format!("{top}-a.slice"),
        &slice,
    ])?;
    made?;
    deleted?.must()?;
    let place = place?;
    ensure!(place == scene.cgroup, "the scope is at {place}");
    gone(scene, &unit)
}

fn limits(scene: &mut Scene<'_>) -> Check {
    let unit = sleeper(scene, "system.slice")?;
    let resources = json!({
        "memory": { "limit": 67_108_864, "swap": 134_217_728, "reservation": 33_554_432 },
        "cpu": { "quota": 12_345, "period": 100_000, "cpus": "0", "mems": "0" },
        "pids": { "limit": 77 },
    });
    set(&mut scene.config, "/linux/resources", resources);
    scene.create()?;
    must_show(
        &unit,
        &[
            ("MemoryMax", "67108864"),
            ("MemoryLow", "33554432"),
            ("MemorySwapMax", "67108864"),
            ("TasksMax", "77"),
            ("CPUQuotaPerSecUSec", "130ms"),
            ("AllowedCPUs", "0"),
            ("AllowedMemoryNodes", "0"),
        ],
    )?;
    // systemd writes its own to the files when it reloads.
    for reload in [false, true] {
        if reload {
            systemctl(&["daemon-reload"])?;
        }
        must_say(
            scene,
            &[
                ("memory.max", "67108864"),
                ("memory.low", "33554432"),
                ("pids.max", "77"),
                ("cpu.max", "13000 100000"),
                ("cpuset.cpus", "0"),
                ("cpuset.mems", "0"),
            ],
        )?;
    }
    Ok(())
}

fn unified(scene: &mut Scene<'_>) -> Check {
    let unit = sleeper(scene, "system.slice")?;
    let files = json!({ "memory.high": "50331648", "pids.max": "66", "cpu.weight": "55" });
    set(&mut scene.config, "/linux/resources/unified", files);
    scene.create()?;
    let wanted = [
        ("MemoryHigh", "50331648"),
        ("TasksMax", "66"),
        ("CPUWeight", "55"),
    ];
    must_show(&unit, &wanted)?;
    must_say(
        scene,
        &[
            ("memory.high", "50331648"),
            ("pids.max", "66"),
            ("cpu.weight", "55"),
        ],
    )
}

/// The filter is the runtime's: what systemd does later must not lift it.
/// The unit holds them too: what systemd writes anew one day is what was asked for last.
fn update(scene: &mut Scene<'_>) -> Check {
    let unit = sleeper(scene, "system.slice")?;
    set(
        &mut scene.config,
        "/linux/resources/pids",
        json!({ "limit": 50 }),
    );
    scene.start()?;
    let limits = [
        "--pids-limit",
        "60",
        "--cpu-quota",
        "25500",
        "--cpu-period",
        "100000",
    ];
    let mut args = vec!["update"];
    args.extend(limits);
    args.push(&scene.id);
    scene.call(&args).run()?.must()?;
    must_show(
        &unit,
        &[("TasksMax", "60"), ("CPUQuotaPerSecUSec", "260ms")],
    )?;
    systemctl(&["daemon-reload"])?;
    systemctl(&["set-property", "--runtime", &unit, "MemoryHigh=1G"])?;
    must_say(scene, &[("pids.max", "60"), ("cpu.max", "26000 100000")])
}

fn devices(scene: &mut Scene<'_>) -> Check {
    let unit = sleeper(scene, "system.slice")?;
    let node = json!([{ "path": "/dev/x", "type": "c", "major": 10, "minor": 237 }]);
    set(&mut scene.config, "/linux/devices", node);
    scene.start()?;
    systemctl(&["daemon-reload"])?;
    systemctl(&["set-property", "--runtime", &unit, "CPUWeight=50"])?;
    let call = |path| {
        scene.call(&[
            "exec",
            &scene.id,
            "dd",
            &format!("if={path}"),
            "bs=1",
            "count=0",
        ])
    };
    call("/dev/zero").run()?.must()?;
    let refused = call("/dev/x").run()?;
    ensure!(
        refused.output().contains("not permitted"),
        "opened a device that is not allowed: {}",
        refused.story()
    );
    Ok(())
}

fn annotations(scene: &mut Scene<'_>) -> Check {
    let unit = sleeper(scene, "system.slice")?;
    scene.config["annotations"] = json!({
        "org.systemd.property.TimeoutStopSec": "uint32 17",
        "org.systemd.property.CollectMode": "'inactive-or-failed'",
        "org.systemd.property.After": "['basic.target']",
    });
    scene.create()?;
    must_show(
        &unit,
        &[
            ("TimeoutStopUSec", "17s"),
            ("CollectMode", "inactive-or-failed"),
        ],
    )?;
    let after = shown(&unit, "After")?;
    ensure!(after.contains("basic.target"), "After is {after:?}");
    Ok(())
}

fn bad_annotation(scene: &mut Scene<'_>) -> Check {
    sleeper(scene, "system.slice")?;
    for (name, value) in [
        ("CollectMode", "inactive"),
        ("X", "true"),
        ("TimeoutStopSec", "'5'"),
    ] {
        let key = format!("org.systemd.property.{name}");
        scene.config["annotations"] = json!({ &key: value });
        let ran = scene.try_create()?;
        ensure!(
            !ran.ok() && ran.stderr.contains(name),
            "{key}={value}: {}",
            ran.story()
        );
        scene.leaves_nothing()?;
    }
    Ok(())
}

fn bad_path(scene: &mut Scene<'_>) -> Check {
    sleeper(scene, "system.slice")?;
    for path in ["/a/b", "a:b", "a:b:c:d", "x--y.slice:p:n", "x:p:n"] {
        set(&mut scene.config, "/linux/cgroupsPath", json!(path));
        let ran = scene.try_create()?;
        ensure!(!ran.ok(), "{path}: {}", ran.story());
        if scene.runtime().name == "longshore" {
            ensure!(
                ran.stderr.contains("linux.cgroupsPath: "),
                "{path}: {}",
                ran.story()
            );
        }
        scene.leaves_nothing()?;
    }
    Ok(())
}

fn systemd_run(unit: &str, options: &[&str]) -> Check<std::process::Child> {
    let mut command = Command::new("systemd-run");
    command
        .args(["--quiet", "--scope", "--unit", unit])
        .args(options);
    Ok(command.args(["sleep", "100"]).spawn()?)
}

fn failed_before(scene: &mut Scene<'_>) -> Check {
    let unit = sleeper(scene, "system.slice")?;
    systemd_run(&unit, &["-p", "RuntimeMaxSec=1"])?.wait()?;
    until(
        || shown(&unit, "ActiveState").is_ok_and(|state| state == "failed"),
        "a unit that has failed",
    )?;
    let created = scene.create();
    let state = shown(&unit, "ActiveState");
    // Nobody else would, where create has not.
    systemctl(&["reset-failed", &unit])?;
    created?;
    let state = state?;
    ensure!(state == "active", "the unit is {state}");
    scene
        .call(&["delete", "--force", &scene.id])
        .run()?
        .must()?;
    gone(scene, &unit)
}

fn taken(scene: &mut Scene<'_>) -> Check {
    let unit = sleeper(scene, "system.slice")?;
    let mut other = systemd_run(&unit, &[])?;
    let active = || shown(&unit, "ActiveState").is_ok_and(|state| state == "active");
    let result = until(active, "a unit of that name").and_then(|()| {
        let ran = scene.try_create()?;
        ensure!(!ran.ok(), "took somebody else's unit: {}", ran.story());
        let deleted = scene.call(&["delete", "--force", &scene.id]).run()?;
        ensure!(
            active(),
            "somebody else's unit was stopped: {}",
            deleted.story()
        );
        ensure!(
            other.try_wait()?.is_none(),
            "somebody else's process was killed"
        );
        Ok(())
    });
    other.kill()?;
    other.wait()?;
    result
}

/// Somebody listens, and says nothing.
fn stalled(scene: &mut Scene<'_>) -> Check {
    sleeper(scene, "system.slice")?;
    let path = scene.path("bus");
    let _listener = UnixListener::bind(&path)?;
    scene.write_config()?;
    let mut call = scene.create_call(&[]);
    call.setup = format!(
        "export DBUS_SYSTEM_BUS_ADDRESS=unix:path={}",
        path.display()
    );
    let ran = call.run()?;
    // A second more for a machine that is slow.
    ensure!(
        ran.code() == 1 && ran.took < Duration::from_secs(11),
        "{:?}: {}",
        ran.took,
        ran.story()
    );
    ensure!(ran.stderr.contains("systemd"), "{}", ran.story());
    scene.leaves_nothing()
}

fn dead(scene: &mut Scene<'_>) -> Check {
    sleeper(scene, "system.slice")?;
    scene.write_config()?;
    let mut call = scene.create_call(&[]);
    call.setup = "export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nonexistent/bus".to_owned();
    let ran = call.run()?;
    ensure!(
        !ran.ok() && ran.stderr.contains("/nonexistent/bus"),
        "{}",
        ran.story()
    );
    scene.leaves_nothing()
}

/// Its caller's death is no reason to leave a unit behind.
fn killed(scene: &mut Scene<'_>) -> Check {
    let unit = sleeper(scene, "system.slice")?;
    let hook = scene.executable(
        "hook",
        "#!/bin/sh\ncd \"$(dirname \"$0\")\"\necho $$ > pid.new\nmv pid.new begun\nexec sleep 50\n",
    )?;
    set(
        &mut scene.config,
        "/hooks/createRuntime",
        json!([{ "path": hook }]),
    );
    scene.write_config()?;
    let running = scene.create_call(&[]).spawn()?;
    until(|| scene.path("begun").exists(), "the hook")?;
    running.signal(libc::SIGKILL);
    running.wait(Duration::from_secs(5))?;
    scene
        .call(&["delete", "--force", &scene.id])
        .run()?
        .must()?;
    let hook: i32 = fs::read_to_string(scene.path("begun"))?.trim().parse()?;
    let ended = |hook: OwnedFd| sys::readable(hook.as_fd(), Duration::from_secs(2));
    if !sys::pidfd_open(hook).map_or(true, ended) {
        kill(Pid::from_raw(hook), Signal::SIGKILL)?;
        return Err(Stop::Fail("the hook goes on".to_owned()));
    }
    gone(scene, &unit)
}

fn many(scene: &mut Scene<'_>) -> Check {
    let unit = sleeper(scene, "system.slice")?;
    let rounds: usize = if scene.suite.soak { 200 } else { 20 };
    let before = sys::bpf_programs()?;
    for _ in 0..rounds {
        scene.create()?;
        scene
            .call(&["delete", "--force", &scene.id])
            .run()?
            .must()?;
    }
    gone(scene, &unit)?;
    ensure!(
        leak::units(&scene.id).is_empty(),
        "left: {:?}",
        leak::units(&scene.id)
    );
    // Other tests have some, too; each round of this one would have left one.
    until(
        || sys::bpf_programs().is_ok_and(|now| now < before + rounds / 2),
        "the kernel to forget the device filters",
    )
}

/// What a create takes, of twenty the second fastest: what else the machine does disturbs that one least.
fn beside_runc(scene: &mut Scene<'_>) -> Check {
    scene.only_longshore()?;
    sleeper(scene, "system.slice")?;
    let own = scene.program.clone();
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..20 {
        for (number, took) in took.iter_mut().enumerate() {
            match number {
                0 => scene.program.clone_from(&own),
                _ => scene.use_runc()?,
            }
            took.push(scene.try_create()?.must()?.took);
            let delete = scene.call(&["delete", "--force", &scene.id]).run()?;
            delete.must()?;
        }
    }
    took.iter_mut().for_each(|took| took.sort());
    let [ours, theirs] = took.map(|took| took[1]);
    eprintln!("a create with systemd, p10: {ours:?}, runc {theirs:?}");
    ensure!(ours < theirs, "{ours:?}, runc {theirs:?}");
    Ok(())
}
