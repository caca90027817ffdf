//! config-linux.md#masked-paths and #readonly-paths

use serde_json::json;

use crate::config::{set, strip};
use crate::property::{Expect, PROPERTY, Probe, Property};
use crate::scene::Scene;
use crate::suite::Check;

fn secrets(scene: &mut Scene<'_>) -> Check {
    scene.file("rootfs/secret/file", "told\n")?;
    scene.file("rootfs/plain", "told\n")
}

pub(crate) const PROPERTIES: &[Property] = &[
    Property {
        name: "linux.maskedPaths.file",
        prepare: secrets,
        set: |_, config| set(config, "/linux/maskedPaths", json!(["/plain"])),
        strip: |config| strip(config, "/linux/maskedPaths"),
        probe: Probe::Script("cat /plain"),
        expect: Expect::Is(""),
        ..PROPERTY
    },
    Property {
        name: "linux.maskedPaths.directory",
        prepare: secrets,
        set: |_, config| set(config, "/linux/maskedPaths", json!(["/secret"])),
        strip: |config| strip(config, "/linux/maskedPaths"),
        probe: Probe::Script("ls -A /secret; touch /secret/new; ls -A /secret"),
        expect: Expect::That(|_, seen| {
            seen.ends_with("Read-only file system") && !seen.contains("file\n")
        }),
        ..PROPERTY
    },
    Property {
        name: "linux.maskedPaths.missing-is-skipped",
        prepare: secrets,
        set: |_, config| {
            set(
                config,
                "/linux/maskedPaths",
                json!(["/not/there", "/plain"]),
            )
        },
        strip: |config| strip(config, "/linux/maskedPaths"),
        probe: Probe::Script("cat /plain; ls -d /not"),
        expect: Expect::Is("ls: /not: No such file or directory"),
        ..PROPERTY
    },
    Property {
        name: "linux.readonlyPaths.directory",
        prepare: secrets,
        set: |_, config| set(config, "/linux/readonlyPaths", json!(["/secret"])),
        strip: |config| strip(config, "/linux/readonlyPaths"),
        probe: Probe::Script("cat /secret/file; touch /secret/new"),
        expect: Expect::That(|_, seen| {
            seen.starts_with("told") && seen.ends_with("Read-only file system")
        }),
        ..PROPERTY
    },
    Property {
        name: "linux.readonlyPaths.file",
        prepare: secrets,
        set: |_, config| {
            set(
                config,
                "/linux/readonlyPaths",
                json!(["/plain", "/not/there"]),
            )
        },
        strip: |config| strip(config, "/linux/readonlyPaths"),
        probe: Probe::Script("echo more >> /plain"),
        expect: Expect::Has("Read-only file system"),
        ..PROPERTY
    },
    Property {
        name: "linux.readonlyPaths.proc",
        set: |_, config| set(config, "/linux/readonlyPaths", json!(["/proc/sys"])),
        strip: |config| strip(config, "/linux/readonlyPaths"),
        probe: Probe::Script("echo 5000 > /proc/sys/kernel/msgmax"),
        expect: Expect::Has("Read-only file system"),
        ..PROPERTY
    },
];
