//! The base `config.json` and the edits that tests make to it.

use serde_json::{Value, json};

/// A config close to what `runc spec` writes: it runs on any Linux host as root.
pub(crate) fn base(cgroup: &str) -> Value {
    let caps = json!([
        "CAP_AUDIT_WRITE",
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_MKNOD",
        "CAP_NET_BIND_SERVICE",
        "CAP_NET_RAW",
        "CAP_SETFCAP",
        "CAP_SETGID",
        "CAP_SETPCAP",
        "CAP_SETUID",
        "CAP_SYS_CHROOT"
    ]);
    json!({
        "ociVersion": "1.0.2",
        "root": { "path": "rootfs" },
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": ["/bin/sh", "-c", "exit 0"],
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": { "bounding": caps, "effective": caps, "permitted": caps },
        },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
              "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs",
              "options": ["nosuid", "noexec", "nodev", "ro"] },
        ],
        "linux": {
            "cgroupsPath": cgroup,
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" },
                { "type": "uts" }, { "type": "mount" }
            ],
        },
    })
}

/// Sets the value at a JSON pointer; objects on the way are created.
pub(crate) fn set(config: &mut Value, pointer: &str, value: Value) {
    let mut at = config;
    for key in pointer.split('/').skip(1) {
        at = match key.parse::<usize>() {
            Ok(index) if at.is_array() => &mut at[index],
            _ => &mut at[key],
        };
    }
    *at = value;
}

/// Removes the value at a JSON pointer; nothing happens if it is not there.
pub(crate) fn strip(config: &mut Value, pointer: &str) {
    let (parent, key) = pointer.rsplit_once('/').unwrap_or(("", pointer));
    match config.pointer_mut(parent) {
        Some(Value::Object(map)) => drop(map.remove(key)),
        Some(Value::Array(list)) => {
            if let Ok(index) = key.parse::<usize>() {
                list.remove(index);
            }
        }
        _ => {}
    }
}

/// Appends to the array at a JSON pointer, which is created if missing.
pub(crate) fn push(config: &mut Value, pointer: &str, value: Value) {
    if config.pointer(pointer).is_none() {
        set(config, pointer, json!([]));
    }
    if let Some(list) = config.pointer_mut(pointer).and_then(Value::as_array_mut) {
        list.push(value);
    }
}

/// Adds a mount.
pub(crate) fn mount(
    config: &mut Value,
    destination: &str,
    kind: &str,
    source: &str,
    options: &[&str],
) {
    let mount =
        json!({ "destination": destination, "type": kind, "source": source, "options": options });
    push(config, "/mounts", mount);
}

/// Adds a bind mount of `src` in the bundle on `/data`, with further options.
pub(crate) fn bind(config: &mut Value, options: &[&str]) {
    mount(config, "/data", "bind", "src", options);
}

/// Removes each mount on the destination.
pub(crate) fn unmount(config: &mut Value, destination: &str) {
    if let Some(list) = config["mounts"].as_array_mut() {
        list.retain(|mount| mount["destination"] != destination);
    }
}

/// Removes one option, by name, from each mount.
pub(crate) fn strip_option(config: &mut Value, option: &str) {
    for mount in config["mounts"].as_array_mut().into_iter().flatten() {
        if mount["destination"]
            .as_str()
            .is_some_and(|path| path.starts_with("/sys") || path.starts_with("/dev"))
        {
            continue;
        }
        if let Some(options) = mount["options"].as_array_mut() {
            options.retain(|word| word != option);
        }
    }
}

/// Makes the namespace list hold exactly one entry of the type, as given.
pub(crate) fn namespace(config: &mut Value, entry: Value) {
    no_namespace(config, entry["type"].as_str().unwrap_or_default());
    push(config, "/linux/namespaces", entry);
}

/// Removes the namespaces of a type.
pub(crate) fn no_namespace(config: &mut Value, kind: &str) {
    if let Some(list) = config["linux"]["namespaces"].as_array_mut() {
        list.retain(|entry| entry["type"] != kind);
    }
}

/// A new user namespace in which 0..65536 are 100000..165536 outside.
pub(crate) fn user_namespace(config: &mut Value) {
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    namespace(config, json!({ "type": "user" }));
    set(config, "/linux/uidMappings", map.clone());
    set(config, "/linux/gidMappings", map);
}

/// Sets the shell script that the container runs.
pub(crate) fn script(config: &mut Value, text: &str) {
    set(config, "/process/args", json!(["/bin/sh", "-c", text]));
}
