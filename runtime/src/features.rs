//! What this runtime can do, for engines that ask. features.md of the runtime spec.
//!
//! Built from the tables that the work itself goes by, so that it can't promise what isn't there. Only keys of
//! the spec version that it names as its maximum.

use crate::config::{NamespaceKind, attributes, mount_options};
use crate::seccomp::names;
use crate::sys::probe;
use serde_json::{Value, json};

/// All six kinds. config.md#posix-platform-hooks
const HOOKS: [&str; 6] = [
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];

/// The features object, as JSON over several lines.
///
/// ```
/// let features = longshore::features();
/// assert!(features.contains("\"rro\""));
/// ```
#[must_use]
pub fn features() -> String {
    let mut text = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut out = serde_json::Serializer::with_formatter(&mut text, format);
    // A tree of strings and booleans, into memory: neither can be refused.
    let _ = serde::Serialize::serialize(&object(), &mut out);
    String::from_utf8(text).unwrap_or_default()
}

fn object() -> Value {
    let namespaces: Vec<_> = NamespaceKind::TABLE.iter().map(|row| row.1).collect();
    let mut capabilities: Vec<_> = caps::all().iter().map(ToString::to_string).collect();
    capabilities.sort();
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": crate::SPEC_VERSION,
        "hooks": HOOKS,
        "mountOptions": mount_options::words(),
        "linux": {
            "namespaces": namespaces,
            "capabilities": capabilities,
            "cgroup": { "v1": true, "v2": true, "systemd": true, "systemdUser": true },
            "seccomp": seccomp(),
            "apparmor": { "enabled": true },
            // Written, but never run on a host that has it.
            "selinux": { "enabled": false },
            "intelRdt": { "enabled": true, "schemata": true, "monitoring": true },
            "netDevices": { "enabled": true },
            "memoryPolicy": memory_policy(),
            "mountExtensions": { "idmap": { "enabled": true } },
        },
        "annotations": {
            "io.github.seccomp.libseccomp.version": libseccomp_version(),
            "org.opencontainers.runc.checkpoint.enabled": "true",
        },
        // What engines should let only those set who may do anything on the host.
        "potentiallyUnsafeConfigAnnotations": [crate::systemd::ANNOTATION, crate::checkpoint::ANNOTATION],
    })
}

fn memory_policy() -> Value {
    let modes: Vec<_> = attributes::MEMORY_MODES.iter().map(|row| row.0).collect();
    let flags: Vec<_> = attributes::MEMORY_FLAGS.iter().map(|row| row.0).collect();
    json!({ "modes": modes, "flags": flags })
}

fn seccomp() -> Value {
    let (known, supported): (Vec<_>, Vec<_>) = names::FLAGS
        .iter()
        .map(|(name, flag)| (*name, probe::seccomp_flag(*flag).then_some(*name)))
        .unzip();
    let supported: Vec<_> = supported.into_iter().flatten().collect();
    let actions: Vec<_> = names::ACTIONS.iter().map(|action| action.name).collect();
    let operators: Vec<_> = names::OPERATORS.iter().map(|(name, _)| *name).collect();
    json!({
        "enabled": true,
        "actions": actions,
        "operators": operators,
        "archs": names::architectures(),
        "knownFlags": known,
        "supportedFlags": supported,
    })
}

fn libseccomp_version() -> String {
    let version = libseccomp::ScmpVersion::current();
    version.map_or_else(|_| String::new(), |version| version.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_find_what_they_look_for() {
        let features: Value = serde_json::from_str(&features()).unwrap();
        let has = |pointer: &str, word: &str| {
            let list = features.pointer(pointer).unwrap().as_array().unwrap();
            list.iter().any(|item| item == word)
        };
        assert!(has("/mountOptions", "rro") && has("/mountOptions", "bind"));
        assert!(has("/mountOptions", "idmap") && has("/mountOptions", "ridmap"));
        assert!(has("/linux/namespaces", "time"));
        assert!(has("/linux/capabilities", "CAP_SYS_ADMIN"));
        assert!(has("/linux/seccomp/actions", "SCMP_ACT_ERRNO"));
        assert!(has("/linux/seccomp/actions", "SCMP_ACT_NOTIFY"));
        assert!(has("/linux/seccomp/archs", "SCMP_ARCH_X86_64"));
        // Who may set these chooses what systemd does, and what CRIU runs.
        for annotation in ["org.systemd.property.", "org.criu.config"] {
            assert!(has("/potentiallyUnsafeConfigAnnotations", annotation));
        }
    }
}
