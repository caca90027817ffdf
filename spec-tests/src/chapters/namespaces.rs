//! config-linux.md#namespaces: new, joined by path, inherited.
//!
//! The stripped run of each "new" test is the test of inheritance: without the
//! entry the container must show the caller's own namespace.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::config::{bind, mount, namespace, no_namespace, set, strip, unmount, user_namespace};
use crate::holder::{Holder, proc_name};
use crate::property::{Expect, PROPERTY, Probe, Property};
use crate::scene::Scene;
use crate::suite::{Check, Known, ensure};

const NO_TIME: Known = &[("runc", "1.1 knows no time namespaces")];

fn own(kind: &str) -> String {
    link(&format!("/proc/self/ns/{}", proc_name(kind)))
}

fn link(path: &str) -> String {
    fs::read_link(path)
        .map(|target| target.display().to_string())
        .unwrap_or_default()
}

/// A namespace that must differ from the caller's. The time namespace is asked
/// of the program itself: it is entered at exec.
macro_rules! new {
    ($name:literal, $kind:literal, $known:expr) => {
        Property {
            name: $name,
            set: |_, config| namespace(config, json!({ "type": $kind })),
            strip: |config| no_namespace(config, $kind),
            probe: Probe::Script("cd /proc/self/ns; for n in cgroup ipc mnt net pid time user uts; do echo $n $(readlink $n); done"),
            expect: Expect::That(|_, seen| differs(seen, $kind)),
            known: $known,
            ..PROPERTY
        }
    };
}

fn differs(seen: &str, kind: &str) -> bool {
    let inside = seen
        .lines()
        .find_map(|line| line.strip_prefix(proc_name(kind)))
        .unwrap_or_default()
        .trim();
    inside.contains(":[") && inside != own(kind)
}

/// A namespace joined by path must be the holder's. Stripped of its path, it is a new one.
macro_rules! joined {
    ($name:literal, $kind:literal, $link:literal, $known:expr) => {
        Property {
            name: $name,
            prepare: |scene| hold(scene, $kind),
            set: |scene, config| namespace(config, json!({ "type": $kind, "path": held($kind, scene) })),
            strip: |config| {
                let list = config["linux"]["namespaces"].as_array_mut();
                let entry = list.and_then(|list| list.iter_mut().find(|entry| entry["type"] == $kind));
                if let Some(entry) = entry.and_then(|entry| entry.as_object_mut()) {
                    entry.remove("path");
                }
            },
            probe: Probe::Script(concat!("readlink /proc/self/ns/", $link)),
            expect: Expect::That(|scene, seen| !seen.is_empty() && seen == link(&held($kind, scene))),
            known: $known,
            ..PROPERTY
        }
    };
}

/// The same with a new user namespace, which does not own the one that is joined.
macro_rules! joined_from_user {
    ($name:literal, $kind:literal, $link:literal, $known:expr) => {
        Property {
            name: $name,
            set: |scene, config| {
                user_namespace(config);
                // The sysfs of a network can only be mounted by who rules the network.
                unmount(config, "/sys");
                let joined = json!({ "type": $kind, "path": held($kind, scene) });
                namespace(config, joined);
            },
            probe: Probe::Script(concat!("readlink /proc/self/ns/", $link, "; id -u")),
            expect: Expect::That(|scene, seen| {
                seen.lines()
                    .eq([link(&held($kind, scene)).as_str(), "0"])
            }),
            ..joined!($name, $kind, $link, $known)
        }
    };
}

fn hold(scene: &mut Scene<'_>, kind: &str) -> Check {
    scene.holder = Some(Holder::start(kind)?);
    Ok(())
}

fn held(kind: &str, scene: &Scene<'_>) -> String {
    scene
        .holder
        .as_ref()
        .map(|holder| holder.path(kind))
        .unwrap_or_default()
}

/// Without mounts there is no /proc inside to ask.
fn mount_namespace(_: &Scene<'_>, pid: i32) -> Check<String> {
    Ok(link(&format!("/proc/{pid}/ns/mnt")))
}

fn whole_of(scene: &Scene<'_>, seen: &str) -> bool {
    let _ = scene;
    seen.split_whitespace()
        .eq(["0", "100000", "65536", "0", "100000", "65536", "uid", "0"])
}

pub(crate) const PROPERTIES: &[Property] = &[
    new!("linux.namespaces.pid", "pid", &[]),
    new!("linux.namespaces.network", "network", &[]),
    new!("linux.namespaces.ipc", "ipc", &[]),
    new!("linux.namespaces.uts", "uts", &[]),
    new!("linux.namespaces.cgroup", "cgroup", &[]),
    new!("linux.namespaces.time", "time", NO_TIME),
    joined!("linux.namespaces.pid.path", "pid", "pid", &[]),
    joined!("linux.namespaces.network.path", "network", "net", &[]),
    joined!("linux.namespaces.ipc.path", "ipc", "ipc", &[]),
    joined!("linux.namespaces.uts.path", "uts", "uts", &[]),
    joined!("linux.namespaces.cgroup.path", "cgroup", "cgroup", &[]),
    joined!("linux.namespaces.time.path", "time", "time", NO_TIME),
    joined_from_user!(
        "linux.namespaces.network.path.user-namespace",
        "network",
        "net",
        &[]
    ),
    joined_from_user!(
        "linux.namespaces.ipc.path.user-namespace",
        "ipc",
        "ipc",
        &[]
    ),
    joined_from_user!(
        "linux.namespaces.uts.path.user-namespace",
        "uts",
        "uts",
        &[]
    ),
    joined_from_user!(
        "linux.namespaces.cgroup.path.user-namespace",
        "cgroup",
        "cgroup",
        &[]
    ),
    Property {
        // A runtime may refuse to mount in a namespace that it did not make, so the config mounts nothing.
        name: "linux.namespaces.mount.path",
        prepare: |scene| {
            hold(scene, "mount")?;
            // runc wants a /proc in the root that it finds.
            let (namespace, target) = (held("mount", scene), scene.path("rootfs/proc"));
            let mut command = Command::new("nsenter");
            command
                .arg(format!("--mount={namespace}"))
                .args(["mount", "--rbind", "/proc"]);
            ensure!(command.arg(target).status()?.success(), "nsenter failed");
            Ok(())
        },
        set: |scene, config| {
            set(config, "/mounts", json!([]));
            namespace(
                config,
                json!({ "type": "mount", "path": held("mount", scene) }),
            )
        },
        strip: |config| {
            namespace(config, json!({ "type": "mount" }));
            mount(config, "/proc", "proc", "proc", &[]);
        },
        probe: Probe::Created(mount_namespace),
        expect: Expect::That(|scene, seen| !seen.is_empty() && seen == link(&held("mount", scene))),
        ..PROPERTY
    },
    Property {
        name: "linux.namespaces.mount",
        // In its stripped run the container stays in its caller's namespace: one made for it.
        prepare: |scene| {
            scene.setup = "readlink /proc/self/ns/mnt > caller; mount --rbind /proc rootfs/proc";
            Ok(())
        },
        set: |_, config| {
            set(config, "/mounts", json!([]));
            namespace(config, json!({ "type": "mount" }))
        },
        strip: |config| no_namespace(config, "mount"),
        probe: Probe::Created(mount_namespace),
        expect: Expect::That(|scene, seen| {
            let caller = fs::read_to_string(scene.path("caller")).unwrap_or_default();
            seen.starts_with("mnt:[") && caller.starts_with("mnt:[") && seen != caller.trim()
        }),
        ..PROPERTY
    },
    Property {
        // Engines send the mappings besides the path.
        name: "linux.namespaces.user.path-and-mappings",
        prepare: |scene| hold(scene, "user"),
        set: |scene, config| {
            user_namespace(config);
            namespace(
                config,
                json!({ "type": "user", "path": held("user", scene) }),
            );
        },
        strip: |config| namespace(config, json!({ "type": "user" })),
        probe: Probe::Script("readlink /proc/self/ns/user; id -u"),
        expect: Expect::That(|scene, seen| {
            seen.lines().eq([link(&held("user", scene)).as_str(), "0"])
        }),
        ..PROPERTY
    },
    Property {
        name: "linux.namespaces.user.path",
        prepare: |scene| hold(scene, "user"),
        set: |scene, config| {
            namespace(
                config,
                json!({ "type": "user", "path": held("user", scene) }),
            )
        },
        strip: |config| no_namespace(config, "user"),
        probe: Probe::Script("readlink /proc/self/ns/user; id -u"),
        expect: Expect::That(|scene, seen| {
            seen.lines().eq([link(&held("user", scene)).as_str(), "0"])
        }),
        known: &[("runc", "1.1 wants mappings besides the path")],
        ..PROPERTY
    },
    Property {
        name: "linux.namespaces.network.loopback",
        set: |_, config| namespace(config, json!({ "type": "network" })),
        strip: |config| no_namespace(config, "network"),
        probe: Probe::Script(
            "readlink /proc/self/ns/net; ip -o link show lo; ping -c 1 -w 1 127.0.0.1 | grep -o '1 packets received'",
        ),
        expect: Expect::That(|_, seen| {
            !seen.starts_with(&own("network"))
                && seen.contains("LOOPBACK,UP")
                && seen.contains("1 packets received")
        }),
        ..PROPERTY
    },
    Property {
        name: "linux.uidMappings",
        set: |_, config| user_namespace(config),
        strip: |config| {
            no_namespace(config, "user");
            strip(config, "/linux/uidMappings");
            strip(config, "/linux/gidMappings");
        },
        probe: Probe::Script("cat /proc/self/uid_map /proc/self/gid_map; echo uid $(id -u)"),
        expect: Expect::That(whole_of),
        ..PROPERTY
    },
    Property {
        name: "linux.uidMappings.ownership",
        prepare: |scene| {
            // The container's root may not make directories in a root filesystem of ours.
            scene.open_dir("rootfs/data")?;
            scene.open_dir("src")
        },
        set: |_, config| {
            user_namespace(config);
            bind(config, &["bind"]);
        },
        strip: |config| {
            no_namespace(config, "user");
            strip(config, "/linux/uidMappings");
            strip(config, "/linux/gidMappings");
        },
        probe: Probe::Script("touch /data/file; stat -c '%u:%g' /data/file"),
        expect: Expect::That(|scene, seen| {
            use std::os::unix::fs::MetadataExt;
            let outside = fs::metadata(scene.path("src/file"));
            seen == "0:0"
                && outside.is_ok_and(|meta| (meta.uid(), meta.gid()) == (100_000, 100_000))
        }),
        ..PROPERTY
    },
    Property {
        name: "linux.timeOffsets",
        set: |_, config| {
            namespace(config, json!({ "type": "time" }));
            set(
                config,
                "/linux/timeOffsets",
                json!({ "boottime": { "secs": 1_000_000_000, "nanosecs": 0 } }),
            );
        },
        strip: |config| strip(config, "/linux/timeOffsets"),
        probe: Probe::Script("cut -d. -f1 /proc/uptime"),
        expect: Expect::That(|_, seen| {
            seen.parse()
                .is_ok_and(|seconds: u64| seconds > 1_000_000_000)
        }),
        known: NO_TIME,
        ..PROPERTY
    },
    Property {
        // Only children enter a new time namespace, and without a new one of pids nothing else asks for a child.
        name: "linux.timeOffsets.shared-pid-namespace",
        set: |_, config| {
            no_namespace(config, "pid");
            namespace(config, json!({ "type": "time" }));
            set(
                config,
                "/linux/timeOffsets",
                json!({ "boottime": { "secs": 1_000_000_000, "nanosecs": 0 } }),
            );
        },
        strip: |config| {
            no_namespace(config, "time");
            strip(config, "/linux/timeOffsets");
        },
        probe: Probe::Script(
            "echo time $(readlink /proc/self/ns/time); echo pid $(readlink /proc/self/ns/pid); cut -d. -f1 /proc/uptime",
        ),
        expect: Expect::That(|_, seen| {
            let uptime = seen.lines().last().and_then(|line| line.parse().ok());
            differs(seen, "time")
                && !differs(seen, "pid")
                && uptime.is_some_and(|seconds: u64| seconds > 1_000_000_000)
        }),
        known: NO_TIME,
        ..PROPERTY
    },
    Property {
        name: "linux.timeOffsets.nanosecs",
        set: |_, config| {
            namespace(config, json!({ "type": "time" }));
            let offsets = json!({
                "monotonic": { "secs": 77, "nanosecs": 250_000_001 },
                "boottime": { "secs": 1_000, "nanosecs": 999_999_999 },
            });
            set(config, "/linux/timeOffsets", offsets);
        },
        strip: |config| {
            strip(config, "/linux/timeOffsets/monotonic/nanosecs");
            strip(config, "/linux/timeOffsets/boottime/nanosecs");
        },
        probe: Probe::Script("awk '{print $2, $3}' /proc/self/timens_offsets"),
        expect: Expect::Is("77 250000001\n1000 999999999"),
        known: NO_TIME,
        ..PROPERTY
    },
    Property {
        name: "hostname",
        set: |_, config| set(config, "/hostname", json!("pier-seven")),
        strip: |config| strip(config, "/hostname"),
        probe: Probe::Script("hostname"),
        expect: Expect::Is("pier-seven"),
        ..PROPERTY
    },
    Property {
        name: "domainname",
        set: |_, config| set(config, "/domainname", json!("harbour.example")),
        strip: |config| strip(config, "/domainname"),
        probe: Probe::Script("cat /proc/sys/kernel/domainname"),
        expect: Expect::Is("harbour.example"),
        known: &[("runc", "1.1 knows no domainname")],
        ..PROPERTY
    },
    Property {
        name: "linux.sysctl.ipc",
        set: |_, config| set(config, "/linux/sysctl", json!({ "kernel.msgmax": "4096" })),
        strip: |config| strip(config, "/linux/sysctl"),
        probe: Probe::Script("cat /proc/sys/kernel/msgmax"),
        expect: Expect::Is("4096"),
        ..PROPERTY
    },
    Property {
        name: "linux.sysctl.slashes",
        set: |_, config| {
            set(
                config,
                "/linux/sysctl",
                json!({ "net/ipv4/conf/lo/forwarding": "1" }),
            )
        },
        strip: |config| strip(config, "/linux/sysctl"),
        probe: Probe::Script("cat /proc/sys/net/ipv4/conf/lo/forwarding"),
        expect: Expect::Is("1"),
        ..PROPERTY
    },
    Property {
        name: "linux.sysctl.user",
        set: |_, config| {
            user_namespace(config);
            set(
                config,
                "/linux/sysctl",
                json!({ "user.max_user_namespaces": "5" }),
            );
        },
        strip: |config| strip(config, "/linux/sysctl"),
        probe: Probe::Script("cat /proc/sys/user/max_user_namespaces"),
        expect: Expect::Is("5"),
        known: &[("runc", "refuses them"), ("crun", "refuses them")],
        ..PROPERTY
    },
    Property {
        // Written before it can't be any more.
        name: "linux.sysctl.read-only",
        set: |_, config| {
            set(config, "/linux/sysctl", json!({ "kernel.shmmni": "99" }));
            set(config, "/linux/readonlyPaths", json!(["/proc/sys"]));
        },
        strip: |config| strip(config, "/linux/sysctl"),
        probe: Probe::Script("cat /proc/sys/kernel/shmmni"),
        expect: Expect::Is("99"),
        ..PROPERTY
    },
    Property {
        name: "linux.sysctl.network",
        set: |_, config| {
            set(
                config,
                "/linux/sysctl",
                json!({ "net.ipv4.ip_default_ttl": "77" }),
            )
        },
        strip: |config| strip(config, "/linux/sysctl"),
        probe: Probe::Script("cat /proc/sys/net/ipv4/ip_default_ttl"),
        expect: Expect::Is("77"),
        ..PROPERTY
    },
];
