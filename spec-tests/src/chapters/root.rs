//! config.md#root and #annotations

use serde_json::json;

use crate::config::{set, strip, unmount};
use crate::property::{Expect, PROPERTY, Probe, Property};
use crate::rootfs;

pub(crate) const PROPERTIES: &[Property] = &[
    Property {
        name: "root.path",
        prepare: |scene| {
            rootfs::busybox(scene.suite, &scene.path("other"))?;
            scene.file("other/which", "other")
        },
        set: |_, config| set(config, "/root/path", json!("other")),
        strip: |config| set(config, "/root/path", json!("rootfs")),
        probe: Probe::Script("cat /which"),
        expect: Expect::Is("other"),
        ..PROPERTY
    },
    Property {
        name: "root.path.absolute",
        prepare: |scene| {
            rootfs::busybox(scene.suite, &scene.path("other"))?;
            scene.file("other/which", "other")
        },
        set: |scene, config| set(config, "/root/path", json!(scene.path("other"))),
        strip: |config| set(config, "/root/path", json!("rootfs")),
        probe: Probe::Script("cat /which"),
        expect: Expect::Is("other"),
        ..PROPERTY
    },
    Property {
        name: "root.readonly",
        set: |_, config| set(config, "/root/readonly", json!(true)),
        strip: |config| strip(config, "/root/readonly"),
        probe: Probe::Script("touch /file"),
        expect: Expect::Has("Read-only file system"),
        ..PROPERTY
    },
    Property {
        // They SHOULD be there: engines list them, and no runtime adds one that is not listed. Without
        // /proc runc does not even start, so that it stays in the stripped run.
        name: "linux.default-filesystems",
        strip: |config| {
            for place in ["/sys", "/dev/pts", "/dev/shm"] {
                unmount(config, place);
            }
        },
        probe: Probe::Script("stat -f -c %T /proc /sys /dev/pts /dev/shm"),
        expect: Expect::Is("proc\nsysfs\ndevpts\ntmpfs"),
        ..PROPERTY
    },
    Property {
        name: "annotations",
        set: |_, config| {
            set(
                config,
                "/annotations",
                json!({ "org.example.cargo": "tea" }),
            )
        },
        strip: |config| strip(config, "/annotations"),
        probe: Probe::Created(|scene, _| Ok(scene.state()?["annotations"].to_string())),
        expect: Expect::Is("{\"org.example.cargo\":\"tea\"}"),
        ..PROPERTY
    },
];
