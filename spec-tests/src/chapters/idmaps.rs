//! config.md#posix-platform-mounts: whose ids the files of a mount have.

use std::fs;

use serde_json::{Value, json};

use crate::config::{bind, push, set, strip_option, user_namespace};
use crate::holder::Holder;
use crate::kernel;
use crate::property::{Expect, PROPERTY, Probe, Property};
use crate::scene::Scene;
use crate::suite::{Check, Known};

const OLD: Known = &[
    ("runc", "1.1 does not know it"),
    ("crun", "1.8 looks for a relative source elsewhere then"),
];

/// A file and, in a mount below, another; root's.
fn source(scene: &mut Scene<'_>) -> Check {
    scene.file("src/file", "from outside")?;
    // The root filesystem is not the container's root's.
    fs::create_dir_all(scene.path("rootfs/data"))?;
    scene.setup = "cd src; mkdir -p sub; mount -t tmpfs inner sub; echo > sub/file; cd ..";
    Ok(())
}

const OWNERS: Probe = Probe::Script("stat -c %u:%g /data/file");
const OWNERS_BELOW: Probe = Probe::Script("stat -c %u:%g /data/file /data/sub/file");

/// The same, where the kernel can map what is mounted below.
fn mapped_below(scene: &mut Scene<'_>) -> Check {
    kernel::maps_ids_of_tmpfs()?;
    source(scene)
}

/// The last mount, which is the one that `bind` has added.
fn map(config: &mut Value, host: u32) {
    let map = json!([{ "containerID": 0, "hostID": host, "size": 1 }]);
    let last = config["mounts"].as_array().map_or(0, Vec::len) - 1;
    for list in ["uidMappings", "gidMappings"] {
        set(config, &format!("/mounts/{last}/{list}"), map.clone());
    }
}

fn tmpfs(config: &mut Value, options: &[&str]) {
    let mount =
        json!({ "destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": options });
    push(config, "/mounts", mount);
}

fn unmap(config: &mut Value) {
    for mount in config["mounts"].as_array_mut().into_iter().flatten() {
        for list in ["uidMappings", "gidMappings"] {
            mount.as_object_mut().map(|mount| mount.remove(list));
        }
    }
    strip_option(config, "idmap");
}

pub(crate) const PROPERTIES: &[Property] = &[
    Property {
        name: "mounts.uidMappings",
        prepare: source,
        set: |_, config| {
            bind(config, &["bind", "idmap"]);
            map(config, 1234);
        },
        strip: unmap,
        probe: OWNERS,
        expect: Expect::Is("1234:1234"),
        known: OLD,
        ..PROPERTY
    },
    // Maps say enough.
    Property {
        name: "mounts.uidMappings.without-the-word",
        prepare: source,
        set: |_, config| {
            bind(config, &["bind"]);
            map(config, 1234);
        },
        strip: unmap,
        probe: OWNERS,
        expect: Expect::Is("1234:1234"),
        known: OLD,
        ..PROPERTY
    },
    Property {
        name: "mounts.options.ridmap",
        prepare: mapped_below,
        set: |_, config| {
            bind(config, &["rbind", "idmap", "ridmap"]);
            map(config, 1234);
        },
        strip: |config| strip_option(config, "ridmap"),
        probe: OWNERS_BELOW,
        expect: Expect::Is("1234:1234\n1234:1234"),
        known: OLD,
        ..PROPERTY
    },
    Property {
        name: "mounts.uidMappings.tmpfs",
        prepare: mapped_below,
        set: |_, config| {
            tmpfs(config, &["mode=700", "nosuid"]);
            map(config, 1234);
        },
        strip: unmap,
        probe: Probe::Script("stat -c %u:%g:%a /data"),
        expect: Expect::Is("1234:1234:700"),
        known: OLD,
        ..PROPERTY
    },
    // The container's own maps, but for the host's first id.
    Property {
        name: "mounts.uidMappings.tmpfs.user-namespace",
        prepare: mapped_below,
        set: |_, config| {
            tmpfs(config, &["idmap"]);
            user_namespace(config);
            map(config, 100_007);
        },
        strip: unmap,
        probe: Probe::Script("stat -c %u:%g /data"),
        expect: Expect::Is("7:7"),
        known: OLD,
        ..PROPERTY
    },
    // Those of a user namespace that is joined.
    Property {
        name: "mounts.options.idmap.joined",
        prepare: |scene| {
            scene.holder = Some(Holder::start("user")?);
            source(scene)
        },
        set: |scene, config| {
            bind(config, &["bind", "idmap"]);
            let path = scene.holder.as_ref().map(|holder| holder.path("user"));
            push(
                config,
                "/linux/namespaces",
                json!({ "type": "user", "path": path }),
            );
        },
        strip: |config| strip_option(config, "idmap"),
        probe: OWNERS,
        expect: Expect::Is("0:0"),
        known: OLD,
        ..PROPERTY
    },
    // Without maps those of the container's user namespace.
    Property {
        name: "mounts.options.idmap",
        prepare: source,
        set: |_, config| {
            bind(config, &["bind", "idmap"]);
            user_namespace(config);
        },
        strip: |config| strip_option(config, "idmap"),
        probe: OWNERS,
        expect: Expect::Is("0:0"),
        known: OLD,
        ..PROPERTY
    },
];
