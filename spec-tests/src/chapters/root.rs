//! config.md#root and #annotations

use serde_json::json;

use crate::config::{set, strip};
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
