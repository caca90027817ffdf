//! config-linux.md#devices and #default-devices, runtime-linux.md#dev-symbolic-links

use serde_json::{Value, json};

use crate::config::{push, strip, user_namespace};
use crate::property::{Expect, PROPERTY, Probe, Property, Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, ensure};

fn device(config: &mut Value, entry: Value) {
    push(config, "/linux/devices", entry);
}

macro_rules! node {
    ($name:literal, $entry:expr, $path:literal, $expect:literal) => {
        Property {
            name: $name,
            set: |_, config| device(config, $entry),
            strip: |config| strip(config, "/linux/devices"),
            probe: Probe::Script(concat!("stat -c '%F %t:%T %a %u:%g' ", $path)),
            expect: Expect::Is($expect),
            ..PROPERTY
        }
    };
}

pub(crate) const PROPERTIES: &[Property] = &[
    node!(
        "linux.devices.char",
        json!({ "path": "/dev/deep/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 5, "gid": 6 }),
        "/dev/deep/null",
        "character special file 1:3 640 5:6"
    ),
    node!(
        "linux.devices.block",
        json!({ "path": "/dev/crate", "type": "b", "major": 7, "minor": 200, "fileMode": 0o600, "uid": 7, "gid": 8 }),
        "/dev/crate",
        "block special file 7:c8 600 7:8"
    ),
    node!(
        "linux.devices.fifo",
        json!({ "path": "/dev/pipe", "type": "p", "fileMode": 0o622, "uid": 1, "gid": 2 }),
        "/dev/pipe",
        "fifo 0:0 622 1:2"
    ),
    node!(
        "linux.devices.unbuffered",
        json!({ "path": "/dev/raw", "type": "u", "major": 1, "minor": 5, "fileMode": 0o666, "uid": 0, "gid": 0 }),
        "/dev/raw",
        "character special file 1:5 666 0:0"
    ),
    node!(
        "linux.devices.outside-dev",
        json!({ "path": "/srv/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o666, "uid": 0, "gid": 0 }),
        "/srv/zero",
        "character special file 1:5 666 0:0"
    ),
];

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("linux.devices.default", defaults),
    scenario("linux.devices.default.user-namespace", |scene| {
        user_namespace(&mut scene.config);
        defaults(scene)
    }),
    scenario("linux.devices.default.work", work),
    scenario("linux.devices.ptmx", multiplexer),
    scenario("linux.devices.ptmx.user-namespace", |scene| {
        user_namespace(&mut scene.config);
        multiplexer(scene)
    }),
    scenario("runtime-linux.dev-symlinks", symlinks),
];

/// Each default device, with its number.
const DEFAULTS: &[(&str, &str)] = &[
    ("null", "1:3"),
    ("zero", "1:5"),
    ("full", "1:7"),
    ("random", "1:8"),
    ("urandom", "1:9"),
    ("tty", "5:0"),
    ("ptmx", "5:2"),
];

fn defaults(scene: &mut Scene<'_>) -> Check {
    scene.script("cd /dev; stat -L -c '%n %F %t:%T %a' *");
    let ran = scene.run()?;
    for (name, number) in DEFAULTS {
        let wanted = format!("{name} character special file {number} 666");
        ensure!(
            ran.stdout.lines().any(|line| line == wanted),
            "no {wanted:?}: {}",
            ran.story()
        );
    }
    Ok(())
}

fn work(scene: &mut Scene<'_>) -> Check {
    scene.script("echo x > /dev/null && head -c 4 /dev/zero | wc -c && head -c 3 /dev/urandom | wc -c; echo x > /dev/full; echo end");
    let ran = scene.run()?;
    ensure!(
        ran.stdout.split_whitespace().eq(["4", "3", "end"]),
        "{}",
        ran.story()
    );
    ensure!(ran.stderr.contains("No space left"), "{}", ran.story());
    Ok(())
}

fn symlinks(scene: &mut Scene<'_>) -> Check {
    scene.script("cd /dev; for l in fd stdin stdout stderr; do echo $l $(readlink $l); done");
    let ran = scene.run()?;
    let wanted =
        "fd /proc/self/fd\nstdin /proc/self/fd/0\nstdout /proc/self/fd/1\nstderr /proc/self/fd/2";
    ensure!(ran.stdout.trim() == wanted, "{}", ran.story());
    Ok(())
}

/// Who gives a container all devices of the host lists this one too.
fn multiplexer(scene: &mut Scene<'_>) -> Check {
    let ptmx = json!({ "path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2, "fileMode": 0o666, "uid": 0, "gid": 0 });
    device(&mut scene.config, ptmx);
    scene.script("readlink /dev/ptmx");
    let ran = scene.run()?;
    ensure!(ran.stdout.trim() == "pts/ptmx", "{}", ran.story());
    Ok(())
}
