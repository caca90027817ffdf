//! What the specification asks, row by row, and which tests prove it.
//!
//! Data only: a row names its section, the version that brought it, and its tests: `hostname` is one test, and
//! `program.*` is `program` with all below it. The unit tests hold the rows and the tests of `chapters` against
//! each other.

mod config;
mod linux;
mod runtime;

/// Major, minor, patch.
pub(crate) type Version = (u32, u32, u32);

const V1_0_0: Version = (1, 0, 0);
const V1_0_2: Version = (1, 0, 2);
const V1_1_0: Version = (1, 1, 0);
const V1_2_0: Version = (1, 2, 0);
const V1_2_1: Version = (1, 2, 1);
const V1_3_0: Version = (1, 3, 0);

/// A property of the config, or a statement about a behaviour.
#[derive(Debug)]
pub(crate) struct Requirement {
    /// The property's place in config.json, or the operation and what about it.
    pub id: &'static str,
    /// File and anchor in the specification; empty for what it leaves open.
    pub section: &'static str,
    /// The version of the specification that brought it.
    pub since: Version,
    /// What is asked, in our words.
    pub wording: &'static str,
    /// What shows it.
    pub proof: Proof,
}

/// Whether tests show a requirement.
#[derive(Debug)]
pub(crate) enum Proof {
    /// Names of tests, or prefixes with `.*`.
    Tests(&'static [&'static str]),
    /// There is none, and why.
    None(&'static str),
}

/// The requirements, by the headings of the report.
pub(crate) const PARTS: &[(&str, &[Requirement])] = &[
    ("The configuration", config::CONFIG),
    ("The configuration: linux", linux::LINUX),
    ("The lifecycle", runtime::RUNTIME),
    ("What users of runc expect besides", runtime::COMMANDS),
];

const fn required(
    id: &'static str,
    section: &'static str,
    since: Version,
    wording: &'static str,
    tests: &'static [&'static str],
) -> Requirement {
    Requirement {
        id,
        section,
        since,
        wording,
        proof: Proof::Tests(tests),
    }
}

const fn untested(
    id: &'static str,
    section: &'static str,
    since: Version,
    wording: &'static str,
    why: &'static str,
) -> Requirement {
    Requirement {
        id,
        section,
        since,
        wording,
        proof: Proof::None(why),
    }
}

/// All rows, in the order of the report.
pub(crate) fn all() -> impl Iterator<Item = &'static Requirement> {
    PARTS.iter().flat_map(|part| part.1)
}

impl Requirement {
    /// Whether the test is one of this row's. A row without proof claims what would be called like it, so that its
    /// reason does not outlive the first test.
    pub(crate) fn owns(&self, test: &str) -> bool {
        match &self.proof {
            Proof::Tests(patterns) => patterns.iter().any(|pattern| fits(pattern, test)),
            Proof::None(_) => is_below(self.id, test),
        }
    }
}

fn fits(pattern: &str, test: &str) -> bool {
    match pattern.strip_suffix(".*") {
        Some(prefix) => is_below(prefix, test),
        None => pattern == test,
    }
}

fn is_below(prefix: &str, test: &str) -> bool {
    test.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Proof, all, fits};
    use crate::chapters;

    fn names() -> Vec<String> {
        chapters::all().iter().map(|case| case.name()).collect()
    }

    fn none(what: &str, found: Vec<String>) {
        assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
    }

    #[test]
    fn ids_are_unique() {
        let mut seen = BTreeSet::new();
        let twice = all().filter(|row| !seen.insert((row.section.is_empty(), row.id)));
        none(
            "requirements with the same id",
            twice.map(|row| row.id.to_owned()).collect(),
        );
    }

    #[test]
    fn every_requirement_has_its_tests() {
        let names = names();
        let mut idle = Vec::new();
        for row in all() {
            let Proof::Tests(patterns) = row.proof else {
                continue;
            };
            let without = |pattern: &&&str| !names.iter().any(|name| fits(pattern, name));
            let without = patterns.iter().filter(without);
            idle.extend(without.map(|pattern| format!("{}: {pattern}", row.id)));
            if patterns.is_empty() {
                idle.push(row.id.to_owned());
            }
        }
        none("requirements without their tests", idle);
    }

    #[test]
    fn what_has_a_test_has_no_excuse() {
        let names = names();
        let unproved = all().filter(|row| matches!(row.proof, Proof::None(_)));
        let excused = unproved.filter(|row| names.iter().any(|name| row.owns(name)));
        none(
            "requirements with a test and a reason for having none",
            excused.map(|row| row.id.to_owned()).collect(),
        );
    }

    #[test]
    fn every_test_of_a_property_is_for_a_requirement() {
        let properties = chapters::properties();
        let stray = properties
            .iter()
            .map(|case| case.name())
            .filter(|name| !all().any(|row| row.owns(name)));
        none("tests of properties for no requirement", stray.collect());
    }
}
