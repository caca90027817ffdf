//! The controllers that take a list, and `unified`, as file writes. Pure.

use super::{Missing, Output, Version};
use crate::Error;
use crate::config::resources::{HugepageLimit, Network, Rdma};
use std::collections::BTreeMap;

/// config-linux.md#huge-page-limits: reservations where the kernel counts them, page faults in any case.
pub(super) fn hugepages(limits: &[HugepageLimit], out: &mut Output<'_>) {
    let file = match out.facts.version {
        Version::V1 => "limit_in_bytes",
        Version::V2 | Version::Absent => "max",
    };
    for (index, HugepageLimit { page_size, limit }) in limits.iter().enumerate() {
        let path = format!("linux.resources.hugepageLimits[{index}]");
        if !is_page_size(page_size) {
            let message = format!("{page_size:?} is not a page size, such as 2MB");
            out.refuse(&format!("{path}.pageSize"), message);
            continue;
        }
        if *limit < 0 {
            out.refuse(&format!("{path}.limit"), format!("{limit} is not a limit"));
            continue;
        }
        out.set(
            &path,
            "hugetlb",
            &format!("hugetlb.{page_size}.{file}"),
            limit,
        );
        out.set(
            &path,
            "hugetlb",
            &format!("hugetlb.{page_size}.rsvd.{file}"),
            limit,
        );
        out.amend(|write| write.missing = Missing::InForce);
    }
}

/// It becomes part of a file's name.
fn is_page_size(size: &str) -> bool {
    let number = ["KB", "MB", "GB"]
        .iter()
        .find_map(|unit| size.strip_suffix(unit));
    number.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// config-linux.md#network
pub(super) fn network(network: &Network, out: &mut Output<'_>) {
    const CLASS: &str = "linux.resources.network.classID";
    let v1 = out.facts.version == Version::V1;
    match network.class_id {
        None | Some(0) => {}
        Some(class) if v1 => out.set(CLASS, "net_cls", "net_cls.classid", class),
        Some(_) => out.v1_only(CLASS),
    }
    for (index, (name, priority)) in network.priorities.iter().enumerate() {
        let path = format!("linux.resources.network.priorities[{index}]");
        match is_word(name) {
            _ if !v1 => out.v1_only(&path),
            false => out.refuse(&format!("{path}.name"), "is not the name of an interface"),
            true => out.set(
                &path,
                "net_prio",
                "net_prio.ifpriomap",
                format!("{name} {priority}"),
            ),
        }
    }
}

/// Fields of a line are parted by blanks.
fn is_word(name: &str) -> bool {
    !name.is_empty() && !name.contains(|letter: char| letter.is_whitespace() || letter == '\0')
}

/// config-linux.md#rdma; the same file in both versions.
pub(super) fn rdma(devices: &BTreeMap<String, Rdma>, out: &mut Output<'_>) {
    for (name, Rdma { handles, objects }) in devices {
        let path = format!("linux.resources.rdma ({name})");
        if !is_word(name) {
            out.refuse(&path, "is not the name of a device");
            continue;
        }
        let fields: String = [("hca_handle", handles), ("hca_object", objects)]
            .iter()
            .filter_map(|(key, value)| value.map(|value| format!(" {key}={value}")))
            .collect();
        if !fields.is_empty() {
            out.set(&path, "rdma", "rdma.max", format!("{name}{fields}"));
        }
    }
}

/// config-linux.md#unified: file by file, a write for each line.
pub(super) fn unified(files: &BTreeMap<String, String>, out: &mut Output<'_>) {
    const BASE: &str = "linux.resources.unified";
    if !files.is_empty() && out.facts.version == Version::V1 {
        out.errors
            .push(Error::unsupported(BASE, "this host has cgroup v1"));
        return;
    }
    for (file, value) in files {
        let path = format!("{BASE} ({file})");
        let Some((controller, parameter)) = file.split_once('.') else {
            out.refuse(&path, "is not CONTROLLER.PARAMETER");
            continue;
        };
        if controller.is_empty() || parameter.is_empty() || file.contains(['/', '\0']) {
            out.refuse(&path, "is not CONTROLLER.PARAMETER");
            continue;
        }
        for line in value.lines() {
            out.set(&path, controller, file, line);
        }
    }
}
