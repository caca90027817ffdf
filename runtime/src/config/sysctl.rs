//! Kernel parameters: their names, and which namespace each is of.
//! config-linux.md#sysctl, sysctl(8). Pure.

use super::{Config, NamespaceKind};
use crate::error::Error;
use std::collections::BTreeSet;

/// One parameter of `linux.sysctl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sysctl {
    /// As config.json has it.
    pub(crate) key: String,
    /// Below /proc/sys.
    pub(crate) path: String,
    pub(crate) value: String,
    /// Of whose namespace it is.
    pub(crate) kind: NamespaceKind,
}

/// What belongs to a namespace: all else is the machine's. A name that ends with `/` is of all below it.
const NAMESPACED: [(&str, NamespaceKind); 12] = [
    ("fs/mqueue/", NamespaceKind::Ipc),
    ("kernel/msgmax", NamespaceKind::Ipc),
    ("kernel/msgmnb", NamespaceKind::Ipc),
    ("kernel/msgmni", NamespaceKind::Ipc),
    ("kernel/sem", NamespaceKind::Ipc),
    ("kernel/shm_rmid_forced", NamespaceKind::Ipc),
    ("kernel/shmall", NamespaceKind::Ipc),
    ("kernel/shmmax", NamespaceKind::Ipc),
    ("kernel/shmmni", NamespaceKind::Ipc),
    ("kernel/domainname", NamespaceKind::Uts),
    ("net/", NamespaceKind::Network),
    ("user/", NamespaceKind::User),
];

impl Sysctl {
    pub(crate) fn new(key: &str, value: &str) -> Result<Sysctl, Error> {
        let refused = |why: &str| Error::config(place(key), why);
        let path = path(key);
        if path == "kernel/hostname" {
            return Err(refused("is what hostname is for"));
        }
        let named = |part: &str| !part.is_empty() && part != "." && part != "..";
        if !path.split('/').all(named) {
            return Err(refused("is not the name of a kernel parameter"));
        }
        if [key, value].iter().any(|text| text.contains(['\0', '\n'])) {
            return Err(refused("contains a NUL character or a line's end"));
        }
        let of = |name: &str| path == name || name.ends_with('/') && path.starts_with(name);
        let (_, kind) = NAMESPACED
            .iter()
            .find(|(name, _)| of(name))
            .ok_or_else(|| refused("is of no namespace: it would change the host"))?;
        Ok(Sysctl {
            key: key.to_owned(),
            path,
            value: value.to_owned(),
            kind: *kind,
        })
    }

    /// Where it is in config.json.
    pub(crate) fn place(&self) -> String {
        place(&self.key)
    }

    pub(crate) fn needs_namespace(&self) -> Error {
        let words = format!(
            "needs a {} namespace other than the host's",
            self.kind.name()
        );
        Error::config(self.place(), words)
    }
}

fn place(key: &str) -> String {
    format!("linux.sysctl[{key}]")
}

/// sysctl(8): the first separator decides which of `.` and `/` separates; the other one is part of a name.
fn path(key: &str) -> String {
    let swap = |letter| match letter {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    match key.find(['.', '/']) {
        Some(at) if key[at..].starts_with('.') => key.chars().map(swap).collect(),
        _ => key.to_owned(),
    }
}

pub(super) fn check(config: &Config, problems: &mut Vec<Error>) {
    let mut seen = BTreeSet::new();
    for parameter in &config.sysctls {
        if !seen.insert(&parameter.path) {
            problems.push(Error::config(parameter.place(), "is given twice"));
        }
        if config.namespace(parameter.kind).is_none() {
            problems.push(parameter.needs_namespace());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_separator() {
        for (key, expect) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            (
                "net/ipv4/conf/eno2.100/forwarding",
                "net/ipv4/conf/eno2.100/forwarding",
            ),
            (
                "net.ipv4.conf.eno2/100.forwarding",
                "net/ipv4/conf/eno2.100/forwarding",
            ),
        ] {
            assert_eq!(Sysctl::new(key, "1").unwrap().path, expect);
        }
    }

    #[test]
    fn what_is_the_hosts_is_refused() {
        for key in [
            "vm.swappiness",
            "kernel.hostname",
            "kernel/hostname",
            "kernel.core_pattern",
            "kernel.msgmax.x",
            "net",
            "net.",
            "net..x",
            "net/../kernel/core_pattern",
            "net.//.kernel.x",
            "",
            "/net/x",
            "net.a\0",
        ] {
            let error = Sysctl::new(key, "1").unwrap_err();
            assert!(
                error
                    .config_path()
                    .is_some_and(|path| path.starts_with("linux.sysctl[")),
                "{key}"
            );
        }
        Sysctl::new("net.a", "1\n2").unwrap_err();
    }
}
