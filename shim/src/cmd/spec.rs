//! `spec` and `features`.

use super::{Failure, Outcome};
use crate::cli::Invocation;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::path::Path;

const MASKED: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
];

const READONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

pub(crate) fn features() -> Outcome {
    println!("{}", longshore::features());
    Ok(0)
}

pub(crate) fn spec(invocation: &Invocation) -> Outcome {
    let bundle = invocation.get("bundle").filter(|bundle| !bundle.is_empty());
    let path = Path::new(bundle.unwrap_or(".")).join("config.json");
    let config = config(invocation.has("rootless"));
    let text = serde_json::to_string_pretty(&config).unwrap_or_default() + "\n";
    let refused = |error| Failure::plain(format!("cannot write {}: {error}", path.display()));
    // One that is there is somebody's work.
    let mut file = File::create_new(&path).map_err(refused)?;
    file.write_all(text.as_bytes()).map_err(refused)?;
    Ok(0)
}

/// A configuration that runs a shell, for a start.
fn config(rootless: bool) -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let mut config = json!({
        "ociVersion": longshore::SPEC_VERSION,
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities,
                "effective": capabilities,
                "permitted": capabilities,
            },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "longshore",
        "mounts": mounts(rootless),
        "linux": {
            "namespaces": namespaces(rootless),
            "maskedPaths": MASKED,
            "readonlyPaths": READONLY,
        },
    });
    if rootless {
        config["linux"]["uidMappings"] = own_id(nix::unistd::getuid().as_raw());
        config["linux"]["gidMappings"] = own_id(nix::unistd::getgid().as_raw());
    } else {
        config["linux"]["resources"] = json!({ "devices": [{ "allow": false, "access": "rwm" }] });
    }
    config
}

fn own_id(id: u32) -> Value {
    json!([{ "containerID": 0, "hostID": id, "size": 1 }])
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": kind, "source": source, "options": options })
}

fn mounts(rootless: bool) -> Vec<Value> {
    let pts: &[&str] = &[
        "nosuid",
        "noexec",
        "newinstance",
        "ptmxmode=0666",
        "mode=0620",
        "gid=5",
    ];
    // Group 5 is nobody's in a map of one id.
    let pts = if rootless { &pts[..5] } else { pts };
    let sys = if rootless {
        // sysfs belongs to the network namespace, which a rootless container shares with the host.
        mount(
            "/sys",
            "none",
            "/sys",
            &["rbind", "nosuid", "noexec", "nodev", "ro"],
        )
    } else {
        mount(
            "/sys",
            "sysfs",
            "sysfs",
            &["nosuid", "noexec", "nodev", "ro"],
        )
    };
    vec![
        mount("/proc", "proc", "proc", &[]),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount("/dev/pts", "devpts", "devpts", pts),
        mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        ),
        mount(
            "/dev/mqueue",
            "mqueue",
            "mqueue",
            &["nosuid", "noexec", "nodev"],
        ),
        sys,
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", "ro"],
        ),
    ]
}

fn namespaces(rootless: bool) -> Vec<Value> {
    let mut kinds = vec!["pid", "ipc", "uts", "mount"];
    kinds.push(if rootless { "user" } else { "network" });
    // cgroup v2 as the whole of the host's cgroups: the container sees its own as the root.
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        kinds.push("cgroup");
    }
    kinds.iter().map(|kind| json!({ "type": kind })).collect()
}
