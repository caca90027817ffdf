//! One runtime: what it says of itself, in which cgroup layouts it works, and what its tests gave there.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::cells::Outcome;
use crate::cgroups;
use crate::requirements::Version;

/// What is known of a runtime after its runs.
#[derive(Debug, Default)]
pub(crate) struct Examined {
    /// What it is called.
    pub name: String,
    /// Its version, without what a distribution adds.
    pub version: String,
    /// The version of the specification that it claims.
    pub spec: Option<Version>,
    /// The cgroup layouts of the runs.
    pub views: Vec<&'static str>,
    /// The layouts in which it does not work, with its words.
    pub refused: Vec<(&'static str, String)>,
    /// What each test gave, over all runs.
    pub outcomes: BTreeMap<String, Outcome>,
    /// The last line of each run.
    pub suites: Vec<String>,
}

/// A name, and the option of `spec-tests`.
type View = (&'static str, &'static [&'static str]);

const HOST: View = ("the host's layout", &[]);
const V1: View = ("cgroup v1 alone", &["--cgroup1-view"]);
const V2: View = ("cgroup2 alone", &["--cgroup2-view"]);

/// A test that any runtime passes where it can make a container with a cgroup at all.
const PROBE: &str = "linux.cgroupsPath.removed-by-delete";

/// Runs the tests. The host's layout is a hybrid where controllers are in v1 hierarchies beside a cgroup2; who
/// refuses that is shown v1 alone.
pub(crate) fn examine(name: &str, path: &Path, results: Option<&Path>) -> Result<Examined, String> {
    let mut examined = introduce(name, path)?;
    let others: &[View] = match cgroups::unified() {
        true => &[],
        false => &[V2],
    };
    if !examined.run(HOST, path, results)? && !others.is_empty() {
        examined.run(V1, path, results)?;
    }
    for view in others {
        examined.run(*view, path, results)?;
    }
    Ok(examined)
}

/// Reads `--version`, which has the same lines from all who follow runc.
fn introduce(name: &str, path: &Path) -> Result<Examined, String> {
    let told = Command::new(path).arg("--version").output();
    let told = told.map_err(|error| format!("{}: {error}", path.display()))?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let first = told.lines().next().unwrap_or_default();
    let version = first.split(' ').next_back().unwrap_or_default();
    let spec = told.lines().find_map(|line| line.strip_prefix("spec: "));
    Ok(Examined {
        name: name.to_owned(),
        version: version.split('+').next().unwrap_or_default().to_owned(),
        spec: spec.and_then(parse_version),
        ..Examined::default()
    })
}

/// Major, minor and patch; what follows a dash is left out.
fn parse_version(text: &str) -> Option<Version> {
    let mut numbers = text.trim().split('-').next()?.split('.').map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some((next()?, next()?, next()?))
}

impl Examined {
    /// Runs all tests if the first one passes, and tells whether it did.
    fn run(&mut self, view: View, path: &Path, results: Option<&Path>) -> Result<bool, String> {
        let probe = self.call(view, path, &["--filter", PROBE])?;
        if let Some(words) = refusal(&probe) {
            self.refused.push((view.0, words));
            return Ok(false);
        }
        eprintln!("{}: {}", self.name, view.0);
        let text = self.call(view, path, &[])?;
        if let Some(dir) = results {
            let file = dir.join(format!("{}, {}.json", self.name, view.0));
            fs::create_dir_all(dir)
                .and_then(|()| fs::write(&file, &text))
                .map_err(|error| format!("{}: {error}", file.display()))?;
        }
        let suite = text.lines().last().filter(|line| line.starts_with("SUITE"));
        let suite = suite.ok_or_else(|| format!("spec-tests ended early, {}", view.0))?;
        self.suites.push(format!("{suite} ({})", view.0));
        self.views.push(view.0);
        for (test, outcome) in objects(&text).map(|object| outcome(&object)) {
            let merged = match self.outcomes.remove(&test) {
                Some(before) => before.over_views(outcome),
                None => outcome,
            };
            self.outcomes.insert(test, merged);
        }
        Ok(true)
    }

    /// What `spec-tests`, which lies beside us, writes.
    fn call(&self, view: View, path: &Path, more: &[&str]) -> Result<String, String> {
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let program = own.with_file_name("spec-tests");
        let ran = Command::new(&program)
            .arg("--runtime")
            .arg(path)
            .args(["--name", &self.name, "--format", "json"])
            .args(view.1)
            .args(more)
            .output()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        match ran.status.code() {
            Some(0 | 1) => Ok(String::from_utf8_lossy(&ran.stdout).into_owned()),
            _ => Err(String::from_utf8_lossy(&ran.stderr).trim().to_owned()),
        }
    }
}

fn objects(text: &str) -> impl Iterator<Item = Value> {
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
}

/// Why the probe did not pass: the runtime's words if there are any.
fn refusal(text: &str) -> Option<String> {
    let probe = objects(text).find(|object| object["name"] == PROBE);
    let Some(probe) = probe else {
        return Some("no result".to_owned());
    };
    if probe["result"] == "pass" {
        return None;
    }
    let reason = probe["reason"].as_str().unwrap_or_default();
    let words = reason.split_once("stderr \"").map_or(reason, |half| half.1);
    Some(words.trim_end_matches('"').to_owned())
}

fn outcome(object: &Value) -> (String, Outcome) {
    let word = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
    let outcome = match (object["deviation"].as_str(), object["result"].as_str()) {
        (Some(reason), _) => Outcome::Deviates(reason.to_owned()),
        (None, Some("pass")) => Outcome::Pass,
        (None, Some("skip")) => Outcome::Skip(word("reason")),
        _ => Outcome::Fail,
    };
    (word("name"), outcome)
}

#[cfg(test)]
mod tests {
    use super::{outcome, parse_version, refusal};
    use crate::comparison::cells::Outcome;
    use serde_json::json;

    #[test]
    fn versions_of_the_specification() {
        assert_eq!(parse_version("1.0.2-dev"), Some((1, 0, 2)));
        assert_eq!(parse_version("1.3.0"), Some((1, 3, 0)));
        assert_eq!(parse_version("new"), None);
    }

    #[test]
    fn lines_of_results() {
        let told = json!({ "name": "a", "result": "skip", "reason": "known deviation: b", "deviation": "b" });
        assert_eq!(
            outcome(&told),
            ("a".to_owned(), Outcome::Deviates("b".to_owned()))
        );
        let told = json!({ "name": "a", "result": "fail", "reason": "b", "deviation": null });
        assert_eq!(outcome(&told).1, Outcome::Fail);
    }

    #[test]
    fn words_of_a_refusal() {
        let line = json!({ "name": super::PROBE, "result": "fail", "reason": "`create`: exit 1; stdout \"\"; stderr \"not here\"" });
        assert_eq!(refusal(&line.to_string()), Some("not here".to_owned()));
        let line = json!({ "name": super::PROBE, "result": "pass" });
        assert_eq!(refusal(&line.to_string()), None);
    }
}
