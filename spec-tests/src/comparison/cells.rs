//! From the results of tests to the judgement of a requirement. No I/O.

use std::collections::BTreeMap;

use crate::requirements::{Proof, Requirement, Version};
use crate::suite::{NEEDS_V1, NEEDS_V2};

/// What a test gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As the specification has it.
    Pass,
    /// Otherwise.
    Fail,
    /// Otherwise, and known, with the reason.
    Deviates(String),
    /// It could not be told, and why.
    Skip(String),
}

/// What a runtime does about a requirement.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    /// pass, fail, deviates, skip, n/a, or a dash if there are no tests.
    pub word: &'static str,
    /// Which tests, and why; empty if there is nothing to say.
    pub note: String,
}

impl Outcome {
    /// Of the same test in two cgroup layouts. The worst counts, and a skip only if there is nothing else.
    pub(crate) fn over_views(self, other: Outcome) -> Outcome {
        match (self, other) {
            (Outcome::Skip(one), Outcome::Skip(two)) if is_view(&one) => Outcome::Skip(two),
            (one, two) if one.rank() <= two.rank() => one,
            (_, two) => two,
        }
    }

    fn rank(&self) -> usize {
        match self {
            Outcome::Fail => 0,
            Outcome::Deviates(_) => 1,
            Outcome::Pass => 2,
            Outcome::Skip(_) => 3,
        }
    }
}

fn is_view(reason: &str) -> bool {
    [NEEDS_V1, NEEDS_V2].contains(&reason)
}

/// Judges a requirement by its tests: the worst of them counts. A runtime is not blamed for what is newer than
/// the specification it claims; that it passes all the same is worth telling.
pub(crate) fn judge(
    requirement: &Requirement,
    tests: &[String],
    outcomes: &BTreeMap<String, Outcome>,
    spec: Option<Version>,
) -> Cell {
    if matches!(requirement.proof, Proof::None(_)) {
        return plain("–");
    }
    let own = tests.iter().filter(|test| requirement.owns(test));
    // A test without a result did not end.
    let of = |test| outcomes.get(test).unwrap_or(&Outcome::Fail);
    let told: Vec<(&String, &Outcome)> = own.map(|test| (test, of(test))).collect();
    let worst = told.iter().map(|entry| entry.1.rank()).min();
    let (word, reported) = match worst {
        Some(0) => ("fail", 0),
        Some(1) => ("deviates", 1),
        Some(2) => ("pass", 3),
        _ => ("skip", 3),
    };
    if word != "pass" && spec.is_some_and(|spec| spec < requirement.since) {
        return plain("n/a");
    }
    let reported = told.iter().filter(|entry| entry.1.rank() == reported);
    Cell {
        word,
        note: note(reported.copied()),
    }
}

fn plain(word: &'static str) -> Cell {
    let note = String::new();
    Cell { word, note }
}

/// The tests by their reasons, in the order of the first of each.
fn note<'t>(told: impl Iterator<Item = (&'t String, &'t Outcome)>) -> String {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for (test, outcome) in told {
        let reason = match outcome {
            Outcome::Fail | Outcome::Pass => "failed".to_owned(),
            Outcome::Deviates(reason) => reason.clone(),
            Outcome::Skip(reason) => format!("skipped, {reason}"),
        };
        let test = format!("`{test}`");
        match groups.iter_mut().find(|group| group.0 == reason) {
            Some(group) => group.1.push(test),
            None => groups.push((reason, vec![test])),
        }
    }
    let parts = groups.iter();
    let parts: Vec<String> = parts
        .map(|(reason, tests)| format!("{}: {reason}", tests.join(", ")))
        .collect();
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::{Cell, Outcome, judge};
    use crate::requirements::{Proof, Requirement};
    use crate::suite::NEEDS_V2;

    const ROW: Requirement = Requirement {
        id: "a",
        section: "",
        since: (1, 1, 0),
        wording: "",
        proof: Proof::Tests(&["a.*"]),
    };

    fn deviates() -> Outcome {
        Outcome::Deviates("its way".to_owned())
    }

    fn skip(reason: &str) -> Outcome {
        Outcome::Skip(reason.to_owned())
    }

    fn check(one: Outcome, two: Outcome, spec: (u32, u32, u32), word: &'static str, note: &str) {
        let tests = ["a".to_owned(), "a.b".to_owned()];
        let outcomes = tests.iter().cloned().zip([one, two]).collect();
        let note = note.to_owned();
        assert_eq!(
            judge(&ROW, &tests, &outcomes, Some(spec)),
            Cell { word, note }
        );
    }

    #[test]
    fn the_worst_test_counts() {
        const SPEC: (u32, u32, u32) = (1, 1, 0);
        check(Outcome::Pass, Outcome::Pass, SPEC, "pass", "");
        check(deviates(), Outcome::Fail, SPEC, "fail", "`a.b`: failed");
        check(
            Outcome::Pass,
            deviates(),
            SPEC,
            "deviates",
            "`a.b`: its way",
        );
        check(
            deviates(),
            deviates(),
            SPEC,
            "deviates",
            "`a`, `a.b`: its way",
        );
        let skipped = "`a.b`: skipped, no disk";
        check(Outcome::Pass, skip("no disk"), SPEC, "pass", skipped);
        let skipped = "`a`, `a.b`: skipped, no disk";
        check(skip("no disk"), skip("no disk"), SPEC, "skip", skipped);
    }

    #[test]
    fn nobody_is_blamed_for_a_later_specification() {
        const SPEC: (u32, u32, u32) = (1, 0, 2);
        check(Outcome::Pass, Outcome::Fail, SPEC, "n/a", "");
        check(deviates(), skip(""), SPEC, "n/a", "");
        check(Outcome::Pass, Outcome::Pass, SPEC, "pass", "");
    }

    #[test]
    fn layouts_are_one() {
        let merged = skip(NEEDS_V2).over_views(skip("no disk"));
        assert_eq!(merged, skip("no disk"));
        assert_eq!(skip("no disk").over_views(skip(NEEDS_V2)), skip("no disk"));
        assert_eq!(skip(NEEDS_V2).over_views(Outcome::Pass), Outcome::Pass);
        assert_eq!(Outcome::Pass.over_views(deviates()), deviates());
        assert_eq!(deviates().over_views(Outcome::Fail), Outcome::Fail);
    }
}
