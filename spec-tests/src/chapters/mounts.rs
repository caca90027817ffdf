//! config.md#mounts: filesystems, options and order, each with its stripped run.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use crate::cgroups;
use crate::config::{bind, mount, set, strip_option, unmount, user_namespace};
use crate::kernel;
use crate::property::{Expect, PROPERTY, Probe, Property};
use crate::scene::Scene;
use crate::suite::{Check, Known, Stop, View};
use serde_json::json;

/// A source with a file, a setuid program, and (made by the caller's shell) a submount with the same.
fn source(scene: &mut Scene<'_>) -> Check {
    scene.file("src/file", "from outside")?;
    scene.setup = NESTED;
    Ok(())
}

const NESTED: &str = "cd src; mkdir -p sub; mount -t tmpfs inner sub
for d in . sub; do cp ../rootfs/bin/busybox $d/run; chmod 4755 $d/run; mknod $d/null c 1 3; done; cd ..";

/// A source that is a mount with another one below, and a link in each.
fn linked(scene: &mut Scene<'_>, setup: &'static str) -> Check {
    scene.open_dir("src")?;
    scene.setup = setup;
    Ok(())
}

const LINKS: &str = "mount -t tmpfs source src; mkdir src/sub; mount -t tmpfs inner src/sub
for d in src src/sub; do echo from $d > $d/file; ln -s file $d/link; done";

const LINKS_NOT_FOLLOWED: &str = "mount -t tmpfs source src; mkdir src/sub; mount -t tmpfs inner src/sub
for d in src src/sub; do echo from $d > $d/file; ln -s file $d/link; mount -o remount,bind,nosymfollow $d; done";

const TOO_MANY_LINKS: &str = "Too many levels of symbolic links";

const NO_LINKS: Known = &[("crun", "1.8 knows neither rsymfollow nor rnosymfollow")];

/// A source that is a shared mount, in the caller's own mount namespace.
fn shared_source(scene: &mut Scene<'_>) -> Check {
    scene.setup = "mkdir -p src; mount -t tmpfs source src; mount --make-shared src";
    Ok(())
}

// The sixth field of mountinfo holds the mount's own flags, then come the propagation fields.
const DATA: &str = "grep ' /data ' /proc/self/mountinfo";
const DATA_SUB: &str = "grep ' /data/sub ' /proc/self/mountinfo";

/// A filesystem of its own at `/new`.
macro_rules! filesystem {
    ($name:literal, $kind:literal, $options:expr, $probe:literal, $expect:expr) => {
        Property {
            name: $name,
            set: |_, config| mount(config, "/new", $kind, $kind, $options),
            strip: |config| unmount(config, "/new"),
            probe: Probe::Script($probe),
            expect: $expect,
            ..PROPERTY
        }
    };
}

/// An option of a filesystem at `/new`, seen in a result of the probe.
macro_rules! data_option {
    ($name:literal, $kind:literal, $option:literal, $probe:literal, $expect:literal) => {
        Property {
            name: $name,
            set: |_, config| mount(config, "/new", $kind, $kind, &["nosuid", $option]),
            strip: |config| strip_option(config, $option),
            probe: Probe::Script($probe),
            expect: Expect::Is($expect),
            ..PROPERTY
        }
    };
}

/// A bind mount of something with the file from outside.
macro_rules! bound {
    ($name:literal, $source:literal, $destination:literal, $probe:literal) => {
        Property {
            name: $name,
            prepare: source,
            set: |_, config| mount(config, $destination, "bind", $source, &["bind"]),
            strip: |config| unmount(config, $destination),
            probe: Probe::Script($probe),
            expect: Expect::Is("from outside"),
            ..PROPERTY
        }
    };
}

/// An option of a recursive bind mount on `/data`.
macro_rules! bind_option {
    ($option:literal, $probe:expr, $expect:literal) => {
        Property {
            name: concat!("mounts.options.", $option),
            prepare: source,
            set: |_, config| bind(config, &["rbind", $option]),
            strip: |config| strip_option(config, $option),
            probe: Probe::Script($probe),
            expect: Expect::Has($expect),
            ..PROPERTY
        }
    };
}

/// A propagation option, with the propagation of everything else beside it.
macro_rules! propagation {
    ($root:literal, $option:literal, $check:expr) => {
        Property {
            name: concat!("mounts.options.", $option),
            prepare: shared_source,
            set: |_, config| {
                set(config, "/linux/rootfsPropagation", json!($root));
                bind(config, &["rbind", $option]);
            },
            strip: |config| strip_option(config, $option),
            probe: Probe::Script(DATA),
            expect: Expect::That($check),
            ..PROPERTY
        }
    };
}

fn is_shared(_: &Scene<'_>, line: &str) -> bool {
    line.contains(" shared:")
}

fn is_slave_only(_: &Scene<'_>, line: &str) -> bool {
    line.contains(" master:") && !line.contains(" shared:")
}

fn is_private(_: &Scene<'_>, line: &str) -> bool {
    line.contains(" /data ") && !line.contains(" shared:") && !line.contains(" master:")
}

const CGROUP: Property = Property {
    set: |_, config| {
        mount(
            config,
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "ro"],
        )
    },
    strip: |config| unmount(config, "/sys/fs/cgroup"),
    ..PROPERTY
};

/// Whether what the container has of each v1 hierarchy is its own cgroup there.
fn own_cgroups(scene: &Scene<'_>, pid: i32) -> Check<String> {
    let place = |path: &Path| Some((path.metadata().ok()?.dev(), path.metadata().ok()?.ino()));
    let mut seen = String::new();
    for host in cgroups::directories(&scene.cgroup) {
        let name = host.strip_prefix("/sys/fs/cgroup")?.iter().next();
        let name = name.unwrap_or_default().to_string_lossy();
        let inside = format!("/proc/{pid}/root/sys/fs/cgroup/{name}");
        let same = place(&host).is_some() && place(&host) == place(Path::new(&inside));
        // A container need not see the cgroup2 of a hybrid host.
        if name != "unified" {
            seen += &format!("{name} {}\n", if same { "own" } else { "not" });
        }
    }
    Ok(seen)
}

/// A host where cpu and cpuacct share a hierarchy: this one, or what the caller makes of one where each has
/// its own. Both hierarchies and /proc/PID/cgroup then look so to the runtime.
fn merged(scene: &mut Scene<'_>) -> Check {
    if Path::new("/sys/fs/cgroup/cpu,cpuacct").is_dir() {
        return Ok(());
    }
    if !cgroups::has("cpu") || !cgroups::has("cpuacct") {
        return Err(Stop::Skip(
            "this host has no cpu or no cpuacct controller".to_owned(),
        ));
    }
    if scene.runtime().name != "longshore" {
        let words = "no merged controllers here, and only longshore takes the made up ones";
        return Err(Stop::Skip(words.to_owned()));
    }
    scene.setup = MERGE;
    Ok(())
}

const MERGE: &str = "mkdir -p old; mount --rbind /sys/fs/cgroup old; mount -t tmpfs cgroup /sys/fs/cgroup
for n in $(ls old | grep -vx cpuacct); do
m=$n; [ $n != cpu ] || m=cpu,cpuacct; mkdir /sys/fs/cgroup/$m; mount --bind old/$n /sys/fs/cgroup/$m; done
ln -s cpu,cpuacct /sys/fs/cgroup/cpu; ln -s cpu,cpuacct /sys/fs/cgroup/cpuacct; umount -l old
sed -e /:cpuacct:/d -e s/:cpu:/:cpu,cpuacct:/ /proc/self/cgroup > faked; mount --bind faked /proc/$$/cgroup";

/// A directory of the root filesystem with something of each kind in it.
fn copied_source(scene: &mut Scene<'_>) -> Check {
    scene.file("rootfs/new/sub/file", "from inside\n")?;
    scene.file("rootfs/new/tool", "")?;
    symlink("sub/file", scene.path("rootfs/new/link"))?;
    for (name, mode) in [("sub", 0o750), ("tool", 0o4711)] {
        let path = scene.path("rootfs/new").join(name);
        std::os::unix::fs::chown(&path, Some(7), Some(7))?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

const DROPS: Known = &[
    ("runc", "1.1 drops what the mount had"),
    ("crun", "drops what the mount had"),
];

const LAYERS: usize = 50;

/// Where layer `n` is: a hundred bytes of path.
fn layer(scene: &Scene<'_>, n: usize) -> String {
    scene
        .path(&format!("{}{n}", "l".repeat(100)))
        .display()
        .to_string()
}

fn layers(scene: &mut Scene<'_>) -> Check {
    for n in 0..LAYERS {
        scene.file(
            &format!("{}{n}/{n}", "l".repeat(100)),
            &format!("layer {n}\n"),
        )?;
    }
    Ok(())
}

fn overlay(scene: &Scene<'_>, config: &mut serde_json::Value, count: usize) {
    let layers: Vec<_> = (0..count).map(|n| layer(scene, n)).collect();
    let option = format!("lowerdir={}", layers.join(":"));
    mount(config, "/new", "overlay", "overlay", &[&option]);
}

pub(crate) const PROPERTIES: &[Property] = &[
    filesystem!(
        "mounts.proc",
        "proc",
        &["nosuid"],
        "head -1 /new/1/status",
        Expect::Has("Name:")
    ),
    filesystem!(
        "mounts.sysfs",
        "sysfs",
        &["ro"],
        "ls /new",
        Expect::Has("kernel")
    ),
    filesystem!(
        "mounts.tmpfs",
        "tmpfs",
        &["nosuid"],
        "grep ' /new ' /proc/mounts",
        Expect::Has("tmpfs /new tmpfs")
    ),
    filesystem!(
        "mounts.devpts",
        "devpts",
        &["newinstance"],
        "ls /new",
        Expect::Is("ptmx")
    ),
    filesystem!(
        "mounts.mqueue",
        "mqueue",
        &["nosuid"],
        "grep ' /new ' /proc/mounts",
        Expect::Has("mqueue /new mqueue")
    ),
    data_option!(
        "mounts.tmpfs.size",
        "tmpfs",
        "size=1m",
        "df -k /new | tail -1 | awk '{print $2}'",
        "1024"
    ),
    data_option!(
        "mounts.tmpfs.mode",
        "tmpfs",
        "mode=0711",
        "stat -c %a /new",
        "711"
    ),
    data_option!(
        "mounts.tmpfs.uid",
        "tmpfs",
        "uid=77",
        "stat -c %u /new",
        "77"
    ),
    data_option!(
        "mounts.devpts.ptmxmode",
        "devpts",
        "ptmxmode=0640",
        "stat -c %a /new/ptmx",
        "640"
    ),
    Property {
        name: "mounts.cgroup.v1",
        probe: Probe::Script("cat /sys/fs/cgroup/pids/cgroup.procs"),
        expect: Expect::Has("1"),
        view: View::V1,
        ..CGROUP
    },
    Property {
        name: "mounts.cgroup.v1.own-only",
        probe: Probe::Created(own_cgroups),
        expect: Expect::That(|_, seen| {
            !seen.is_empty() && seen.lines().all(|line| line.ends_with(" own"))
        }),
        view: View::V1,
        ..CGROUP
    },
    Property {
        name: "mounts.cgroup.v1.ro",
        strip: |config| {
            unmount(config, "/sys/fs/cgroup");
            mount(config, "/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid"]);
        },
        probe: Probe::Script("cd /sys/fs/cgroup; mkdir new; mkdir pids/new; rmdir pids/new"),
        expect: Expect::That(|_, seen| seen.matches("Read-only file system").count() == 3),
        known: &[
            ("runc", "1.1 leaves the tmpfs above writable"),
            ("crun", "leaves the tmpfs above writable"),
        ],
        view: View::V1,
        ..CGROUP
    },
    Property {
        name: "mounts.cgroup.v1.merged",
        prepare: merged,
        probe: Probe::Script(
            "cd /sys/fs/cgroup; for l in cpu cpuacct; do readlink $l; done; grep -c '^1$' cpu/cgroup.procs; grep -c '^1$' cpu,cpuacct/cgroup.procs",
        ),
        expect: Expect::Is("cpu,cpuacct\ncpu,cpuacct\n1\n1"),
        view: View::V1,
        ..CGROUP
    },
    Property {
        name: "mounts.cgroup.v2",
        probe: Probe::Script("grep ' /sys/fs/cgroup ' /proc/mounts"),
        expect: Expect::Has("/sys/fs/cgroup cgroup2 ro"),
        view: View::V2,
        ..CGROUP
    },
    // No cgroup namespace that its user namespace would own.
    Property {
        name: "mounts.cgroup.v2.user-namespace",
        set: |scene, config| {
            (CGROUP.set)(scene, config);
            user_namespace(config);
        },
        probe: Probe::Script(
            "grep ' /sys/fs/cgroup ' /proc/mounts; cat /sys/fs/cgroup$(sed -n s/0:://p /proc/self/cgroup)/cgroup.procs",
        ),
        expect: Expect::That(|_, seen| {
            seen.contains(" /sys/fs/cgroup cgroup2 ro") && seen.contains("\n1")
        }),
        view: View::V2,
        ..CGROUP
    },
    // The submount is not taken along: there is no `run` in `sub`.
    bound!(
        "mounts.bind.directory",
        "src",
        "/data",
        "cat /data/file; ls /data/sub"
    ),
    Property {
        name: "mounts.rbind.directory",
        prepare: source,
        set: |_, config| bind(config, &["rbind"]),
        strip: |config| unmount(config, "/data"),
        probe: Probe::Script(DATA_SUB),
        expect: Expect::Has("inner"),
        ..PROPERTY
    },
    bound!(
        "mounts.bind.file",
        "src/file",
        "/etc/given",
        "cat /etc/given"
    ),
    Property {
        name: "mounts.bind.file.ro",
        prepare: source,
        set: |_, config| mount(config, "/etc/given", "bind", "src/file", &["bind", "ro"]),
        strip: |config| strip_option(config, "ro"),
        probe: Probe::Script("echo more >> /etc/given"),
        expect: Expect::Has("Read-only file system"),
        ..PROPERTY
    },
    Property {
        name: "mounts.bind.source.absolute",
        prepare: source,
        set: |scene, config| {
            mount(
                config,
                "/data",
                "bind",
                &scene.path("src").display().to_string(),
                &["bind"],
            )
        },
        strip: |config| unmount(config, "/data"),
        probe: Probe::Script("cat /data/file"),
        expect: Expect::Is("from outside"),
        ..PROPERTY
    },
    bind_option!("ro", "touch /data/new", "Read-only file system"),
    bind_option!("noexec", "/data/run true", "Permission denied"),
    bind_option!("nodev", "echo x > /data/null", "Permission denied"),
    bind_option!("nosuid", DATA, "nosuid"),
    bind_option!("rro", "touch /data/sub/new", "Read-only file system"),
    bind_option!("rnoexec", "/data/sub/run true", "Permission denied"),
    bind_option!("rnodev", "echo x > /data/sub/null", "Permission denied"),
    bind_option!("rnosuid", DATA_SUB, "nosuid"),
    bind_option!("rnoatime", DATA_SUB, "noatime"),
    bind_option!("rnodiratime", DATA_SUB, "nodiratime"),
    Property {
        name: "mounts.options.rnosymfollow",
        prepare: |scene| linked(scene, LINKS),
        set: |_, config| bind(config, &["rbind", "rnosymfollow"]),
        strip: |config| strip_option(config, "rnosymfollow"),
        probe: Probe::Script("cat /data/link /data/sub/link"),
        expect: Expect::That(|_, seen| seen.matches(TOO_MANY_LINKS).count() == 2),
        known: NO_LINKS,
        ..PROPERTY
    },
    Property {
        name: "mounts.options.rsymfollow",
        prepare: |scene| linked(scene, LINKS_NOT_FOLLOWED),
        set: |_, config| bind(config, &["rbind", "rsymfollow"]),
        strip: |config| strip_option(config, "rsymfollow"),
        probe: Probe::Script("cat /data/link /data/sub/link"),
        expect: Expect::Is("from src\nfrom src/sub"),
        known: NO_LINKS,
        ..PROPERTY
    },
    bind_option!("unbindable", DATA, " unbindable "),
    bind_option!("runbindable", DATA_SUB, " unbindable "),
    Property {
        // Without `r` an option stops at the first mount.
        name: "mounts.options.ro.not-recursive",
        prepare: source,
        set: |_, config| bind(config, &["rbind", "ro"]),
        strip: |config| strip_option(config, "ro"),
        probe: Probe::Script("touch /data/new; touch /data/sub/new && echo sub writable"),
        expect: Expect::That(|_, seen| seen.contains("Read-only") && seen.contains("sub writable")),
        ..PROPERTY
    },
    // A tree cloned from a slave is a slave: that is what `private` must change.
    propagation!("rslave", "rprivate", is_private),
    propagation!("rslave", "private", is_private),
    // With a shared root the clone is a peer of its source: that is what `slave` must change.
    propagation!("rshared", "rslave", is_slave_only),
    propagation!("rshared", "slave", is_slave_only),
    propagation!("rslave", "rshared", is_shared),
    propagation!("rslave", "shared", is_shared),
    Property {
        name: "linux.rootfsPropagation",
        set: |_, config| set(config, "/linux/rootfsPropagation", json!("shared")),
        strip: |config| crate::config::strip(config, "/linux/rootfsPropagation"),
        probe: Probe::Script(
            "grep ' / / ' /proc/self/mountinfo || grep '/rootfs / ' /proc/self/mountinfo",
        ),
        expect: Expect::Has("shared:"),
        known: &[(
            "runc",
            "1.1 sets it on the old root, whose clone is made private again",
        )],
        ..PROPERTY
    },
    Property {
        // In their order: a slave that has peers of its own.
        name: "mounts.options.propagation.several",
        prepare: shared_source,
        set: |_, config| {
            set(config, "/linux/rootfsPropagation", json!("rslave"));
            bind(config, &["rbind", "rslave", "rshared"]);
        },
        strip: |config| strip_option(config, "rshared"),
        probe: Probe::Script(DATA),
        expect: Expect::That(|_, line| line.contains(" master:") && line.contains(" shared:")),
        ..PROPERTY
    },
    Property {
        name: "mounts.options.remount",
        prepare: source,
        set: |_, config| {
            bind(config, &["bind", "nosuid"]);
            bind(config, &["bind", "remount", "ro"]);
        },
        strip: |config| drop(config["mounts"].as_array_mut().map(Vec::pop)),
        probe: Probe::Script("touch /data/new; grep ' /data ' /proc/mounts"),
        expect: Expect::That(|_, seen| seen.contains("Read-only") && seen.contains("nosuid")),
        known: DROPS,
        ..PROPERTY
    },
    Property {
        name: "mounts.options.remount.filesystem",
        set: |_, config| {
            mount(config, "/new", "tmpfs", "tmpfs", &["size=1m", "nosuid"]);
            mount(config, "/new", "tmpfs", "tmpfs", &["remount", "size=2m"]);
        },
        strip: |config| drop(config["mounts"].as_array_mut().map(Vec::pop)),
        probe: Probe::Script("df -k /new | tail -1 | awk '{print $2}'"),
        expect: Expect::Is("2048"),
        ..PROPERTY
    },
    Property {
        name: "mounts.tmpfs.tmpcopyup",
        prepare: copied_source,
        set: |_, config| mount(config, "/new", "tmpfs", "tmpfs", &["nosuid", "tmpcopyup"]),
        strip: |config| strip_option(config, "tmpcopyup"),
        probe: Probe::Script(
            "grep -q ' /new tmpfs ' /proc/mounts && cat /new/sub/file && cat /new/link && stat -c %a:%u /new/sub /new/tool; touch /new/x",
        ),
        expect: Expect::Is("from inside\nfrom inside\n750:7\n4711:7"),
        ..PROPERTY
    },
    Property {
        name: "mounts.tmpfs.tmpcopyup.ro",
        prepare: copied_source,
        set: |_, config| mount(config, "/new", "tmpfs", "tmpfs", &["ro", "tmpcopyup"]),
        strip: |config| strip_option(config, "tmpcopyup"),
        probe: Probe::Script("cat /new/sub/file; touch /new/x"),
        expect: Expect::That(|_, seen| seen.contains("from inside") && seen.contains("Read-only")),
        ..PROPERTY
    },
    Property {
        name: "mounts.overlay",
        prepare: layers,
        set: |scene, config| overlay(scene, config, 2),
        strip: |config| unmount(config, "/new"),
        probe: Probe::Script("cat /new/0 /new/1"),
        expect: Expect::Is("layer 0\nlayer 1"),
        ..PROPERTY
    },
    Property {
        name: "mounts.overlay.beyond-fsconfig",
        prepare: layers,
        set: |scene, config| overlay(scene, config, 10),
        strip: |config| unmount(config, "/new"),
        probe: Probe::Script("cat /new/0 /new/9"),
        expect: Expect::Is("layer 0\nlayer 9"),
        ..PROPERTY
    },
    Property {
        name: "mounts.overlay.beyond-a-page",
        prepare: |scene| {
            layers(scene)?;
            kernel::takes_layers_one_by_one(&layer(scene, 0), &layer(scene, 1))
        },
        set: |scene, config| overlay(scene, config, LAYERS),
        strip: |config| unmount(config, "/new"),
        probe: Probe::Script("cat /new/0 /new/49"),
        expect: Expect::Is("layer 0\nlayer 49"),
        known: &[
            ("runc", "mount(2) takes a page of options"),
            ("crun", "mount(2) takes a page of options"),
        ],
        ..PROPERTY
    },
    Property {
        name: "mounts.order",
        prepare: source,
        set: |_, config| {
            mount(config, "/m", "tmpfs", "tmpfs", &["nosuid"]);
            mount(config, "/m/inner", "bind", "src", &["bind"]);
        },
        strip: |config| {
            if let Some(list) = config["mounts"].as_array_mut() {
                let last = list.len() - 1;
                list.swap(last, last - 1);
            }
        },
        probe: Probe::Script("cat /m/inner/file"),
        expect: Expect::Is("from outside"),
        ..PROPERTY
    },
    bound!(
        "mounts.destination.missing",
        "src",
        "/a/b/c",
        "cat /a/b/c/file"
    ),
    bound!(
        "mounts.destination.missing-file",
        "src/file",
        "/a/b/file",
        "cat /a/b/file"
    ),
];
