//! `linux.intelRdt`: which resctrl group the container is in. Pure. config-linux.md#intelrdt

use crate::error::Error;
use oci_spec::runtime as oci;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rdt {
    pub(crate) class: Class,
    /// What is written to the group's `schemata`, one write after the other; each of one line or more.
    pub(crate) schemata: Vec<String>,
    /// A monitoring group of the container's own.
    pub(crate) monitoring: bool,
}

/// The class of service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Named like the container.
    OfContainer,
    /// The one of all processes that are in no other.
    Default,
    Named(String),
}

/// What resctrl has in each group, and is no group.
const RESERVED: [&str; 5] = [".", "..", "info", "mon_groups", "mon_data"];

const AT: &str = "linux.intelRdt";

/// An object without a member asks for a group of the container's own.
pub(super) fn convert(linux: &oci::Linux, problems: &mut Vec<Error>) -> Option<Rdt> {
    let given = linux.intel_rdt().as_ref()?;
    judge(given, problems);
    let text = |given: &Option<String>| given.clone().filter(|text| !text.is_empty());
    let class = match text(given.clos_id()) {
        None => Class::OfContainer,
        Some(name) if name == "/" => Class::Default,
        Some(name) => Class::Named(name),
    };
    let (cache, bandwidth) = (text(given.l3_cache_schema()), text(given.mem_bw_schema()));
    // The bandwidth has a property of its own: that one counts.
    let kept = |line: &&str| bandwidth.is_none() || !line.trim_start().starts_with("MB:");
    let cache: Vec<_> = cache
        .iter()
        .flat_map(|text| text.lines())
        .filter(kept)
        .collect();
    let mut first = cache;
    first.extend(bandwidth.as_deref());
    let lines = given.schemata().clone().unwrap_or_default();
    let schemata = [first.join("\n"), lines.join("\n")];
    Some(Rdt {
        class,
        schemata: schemata
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect(),
        monitoring: monitoring(given),
    })
}

/// Before version 1.3 it had two properties, one for each thing that is monitored.
#[allow(deprecated)] // configurations of before are to have it
fn monitoring(given: &oci::LinuxIntelRdt) -> bool {
    let given = [
        given.enable_monitoring(),
        given.enable_cmt(),
        given.enable_mbm(),
    ];
    given.into_iter().any(|asked| *asked == Some(true))
}

const BANDWIDTH: &str = "is no line that starts with MB:";

fn is_bandwidth(text: &str) -> bool {
    text.starts_with("MB:") && !text.contains('\n')
}

/// `memBwSchema` of an update; the other property takes any lines.
pub(crate) fn check_bandwidth(text: &str) -> Result<(), Error> {
    if is_bandwidth(text) {
        return Ok(());
    }
    Err(Error::config(format!("{AT}.memBwSchema"), BANDWIDTH))
}

/// What could be written, but would mean something else.
fn judge(given: &oci::LinuxIntelRdt, problems: &mut Vec<Error>) {
    let mut bad = |field: &str, message: &str| {
        problems.push(Error::config(format!("{AT}.{field}"), message));
    };
    let bandwidth = given.mem_bw_schema().as_ref();
    if bandwidth.is_some_and(|text| !text.is_empty() && !is_bandwidth(text)) {
        bad("memBwSchema", BANDWIDTH);
    }
    let name = given.clos_id().as_deref().unwrap_or_default();
    if name != "/" && (RESERVED.contains(&name) || name.contains(['/', '\0', '\n'])) {
        bad("closID", "is no name of a group");
    }
    for (index, line) in given.schemata().iter().flatten().enumerate() {
        if line.is_empty() || line.contains('\n') {
            bad(&format!("schemata[{index}]"), "is not one line");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Rdt {
        let linux = serde_json::from_str(&format!(r#"{{"intelRdt":{json}}}"#)).unwrap();
        convert(&linux, &mut Vec::new()).unwrap()
    }

    #[test]
    fn schemata_in_their_order() {
        let check = |json: &str, expect: &[&str]| assert_eq!(read(json).schemata, expect, "{json}");
        check("{}", &[]);
        check(r#"{"l3CacheSchema":"L3:0=f"}"#, &["L3:0=f"]);
        check(
            r#"{"l3CacheSchema":"L3:0=f\nMB:0=10"}"#,
            &["L3:0=f\nMB:0=10"],
        );
        check(
            r#"{"l3CacheSchema":"L3:0=f\nMB:0=10\nL2:0=1","memBwSchema":"MB:0=20","schemata":["L3:0=3","L2:0=7"]}"#,
            &["L3:0=f\nL2:0=1\nMB:0=20", "L3:0=3\nL2:0=7"],
        );
    }

    #[test]
    fn classes() {
        assert_eq!(read("{}").class, Class::OfContainer);
        assert_eq!(read(r#"{"closID":"/"}"#).class, Class::Default);
        assert_eq!(
            read(r#"{"closID":"gold"}"#).class,
            Class::Named("gold".into())
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |json: &str, path: &str| {
            let linux: oci::Linux =
                serde_json::from_str(&format!(r#"{{"intelRdt":{json}}}"#)).unwrap();
            let mut problems = Vec::new();
            convert(&linux, &mut problems);
            assert_eq!(problems[0].config_path(), Some(path), "{json}");
        };
        check(r#"{"memBwSchema":"L3:0=f"}"#, "linux.intelRdt.memBwSchema");
        check(
            r#"{"memBwSchema":"MB:0=1\nL3:0=f"}"#,
            "linux.intelRdt.memBwSchema",
        );
        check(
            r#"{"schemata":["L3:0=f","a\nb"]}"#,
            "linux.intelRdt.schemata[1]",
        );
        check(r#"{"closID":".."}"#, "linux.intelRdt.closID");
        check(r#"{"closID":"a/b"}"#, "linux.intelRdt.closID");
    }
}
