//! `linux.netDevices`: devices of the runtime's network namespace that become the container's. Pure.
//! config-linux.md#network-devices

use super::{Config, NamespaceKind};
use crate::error::Error;
use oci_spec::runtime as oci;

/// A device, and what it is called in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetDevice {
    /// In the runtime's network namespace.
    pub(crate) host: String,
    /// In the container's; with a `%d` the kernel puts the first free number there.
    pub(crate) name: String,
}

impl NetDevice {
    pub(crate) fn is_template(&self) -> bool {
        self.name.contains('%')
    }

    /// Its place in config.json.
    pub(crate) fn place(&self) -> String {
        place(&self.host)
    }
}

/// The kernel's IFNAMSIZ, without the NUL.
const MAX_NAME: usize = 15;

fn place(host: &str) -> String {
    // A name that can't be one may be anything: it is not carried along as a whole.
    let name: String = host.chars().take(2 * MAX_NAME).collect();
    format!("linux.netDevices.{}", name.escape_debug())
}

/// In the order of their moves: names that are given before those that the kernel makes, which could
/// be one of them.
pub(super) fn net_devices(linux: &oci::Linux) -> Vec<NetDevice> {
    let given = linux.net_devices().iter().flatten();
    let mut devices: Vec<_> = given
        .map(|(host, device)| {
            let name = device.name().clone().filter(|name| !name.is_empty());
            NetDevice {
                name: name.unwrap_or_else(|| host.clone()),
                host: host.clone(),
            }
        })
        .collect();
    devices.sort_by(|a, b| (a.is_template(), &a.host).cmp(&(b.is_template(), &b.host)));
    devices
}

/// What the kernel takes for a name, told here so that no device moves before all names are good.
pub(super) fn check(config: &Config, problems: &mut Vec<Error>) {
    let devices = &config.net_devices;
    if !devices.is_empty() && config.namespace(NamespaceKind::Network).is_none() {
        let message = "needs a network namespace in linux.namespaces";
        problems.push(Error::config("linux.netDevices", message));
    }
    for (index, device) in devices.iter().enumerate() {
        let at = device.place();
        if !is_name(&device.host) || device.host.contains('%') {
            problems.push(Error::config(at, "is not a name of a network device"));
            continue;
        }
        let at = format!("{at}.name");
        if !is_name(&device.name) {
            let message = "is not a name for a network device";
            problems.push(Error::config(at, message));
            continue;
        }
        if device.is_template() && !is_template(&device.name) {
            let message = "may have one %d, and no other %";
            problems.push(Error::config(at, message));
            continue;
        }
        let same = |other: &&super::NetDevice| other.name == device.name && !device.is_template();
        if let Some(other) = devices[..index].iter().find(same) {
            let message = format!("is the name that {} gets", other.host);
            problems.push(Error::config(at, message));
        }
    }
}

/// The kernel's rule for names of devices; its table of characters has Latin-1's no-break space among
/// the spaces, which in UTF-8 may be a byte of a letter.
fn is_name(name: &str) -> bool {
    let bad = |byte: &u8| matches!(byte, 0 | b'/' | b':' | b' ' | b'\t'..=b'\r' | 0xa0);
    (1..=MAX_NAME).contains(&name.len())
        && ![".", ".."].contains(&name)
        && !name.as_bytes().iter().any(bad)
}

/// The kernel's own rule for what it makes a name from.
fn is_template(name: &str) -> bool {
    name.matches('%').count() == 1 && name.contains("%d")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(devices: &str, namespaces: &str) -> Vec<String> {
        let json = format!(
            r#"{{"ociVersion":"1.2.0","root":{{"path":"r"}},"linux":{{"namespaces":{namespaces},"netDevices":{devices}}}}}"#
        );
        match Config::parse(json.as_bytes()) {
            Ok(_) => Vec::new(),
            Err(found) => found.iter().map(ToString::to_string).collect(),
        }
    }

    fn check(devices: &str, expect: &[&str]) {
        let own = r#"[{"type":"network"}]"#;
        assert_eq!(problems(devices, own), expect, "{devices}");
    }

    #[test]
    fn names_are_the_kernels() {
        check(r#"{"eth0":{},"a.b":{"name":""}}"#, &[]);
        check(r#"{"eth0":{"name":"net%d"},"eth1":{"name":"net%d"}}"#, &[]);
        check(r#"{"123456789012345":{"name":"ü"}}"#, &[]);
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a:b",
            "a b",
            "a\\tb",
            "a\\u0000b",
            "1234567890123456",
            "\u{e0}",
        ] {
            let path = place(&serde_json::from_str::<String>(&format!("\"{bad}\"")).unwrap());
            let host = format!("{path}: is not a name of a network device");
            check(&format!(r#"{{"{bad}":{{"name":"x"}}}}"#), &[&host]);
            if !bad.is_empty() {
                check(
                    &format!(r#"{{"eth0":{{"name":"{bad}"}}}}"#),
                    &["linux.netDevices.eth0.name: is not a name for a network device"],
                );
            }
        }
        check(
            r#"{"eth%d":{"name":"x"}}"#,
            &["linux.netDevices.eth%d: is not a name of a network device"],
        );
        for bad in ["%", "a%s", "%d%d", "a%%d", "%d%"] {
            check(
                &format!(r#"{{"eth0":{{"name":"{bad}"}}}}"#),
                &["linux.netDevices.eth0.name: may have one %d, and no other %"],
            );
        }
    }

    #[test]
    fn a_name_is_given_once() {
        check(
            r#"{"eth0":{"name":"eth1"},"eth1":{}}"#,
            &["linux.netDevices.eth1.name: is the name that eth0 gets"],
        );
        check(r#"{"eth0":{"name":"eth1"},"eth1":{"name":"eth0"}}"#, &[]);
    }

    #[test]
    fn they_need_somewhere_to_go() {
        let words = "linux.netDevices: needs a network namespace in linux.namespaces";
        assert_eq!(problems(r#"{"eth0":{}}"#, "[]"), [words]);
        assert!(problems("{}", "[]").is_empty());
        let joined = r#"[{"type":"network","path":"/run/netns/a"}]"#;
        assert!(problems(r#"{"eth0":{}}"#, joined).is_empty());
    }

    #[test]
    fn what_is_no_object_is_told() {
        check("[]", &["linux.netDevices: is not an object"]);
        check(
            r#"{"eth0":["net0"],"eth1":null}"#,
            &[
                "linux.netDevices.eth0: is not an object",
                "linux.netDevices.eth1: is not an object",
            ],
        );
    }

    #[test]
    fn given_names_come_first() {
        let json = br#"{"ociVersion":"1.2.0","root":{"path":"r"},"linux":{"namespaces":[{"type":"network"}],
            "netDevices":{"a":{"name":"net%d"},"c":{},"b":{"name":"net0"}}}}"#;
        let devices = Config::parse(json).unwrap().net_devices;
        let hosts: Vec<_> = devices.iter().map(|device| device.host.as_str()).collect();
        assert_eq!(hosts, ["b", "c", "a"]);
    }
}
