//! Everything that is wrong with a configuration at once, for people who write one. Pure.
//!
//! The functions are those that `Config::parse` goes through, which stops where a value can't be read.
//! Here such a value is told and taken out, and the rest is read as if it had not been there.

use super::raw::Raw;
use super::{Config, check, fields, from_spec};
use crate::error::Error;
use serde_json::{Value, json};
use std::collections::HashSet;

/// What a configuration looks like from close by.
#[derive(Debug, Default)]
pub(crate) struct Examined {
    /// Without what can't be read; `None` if that is too much to judge the rest.
    pub(crate) config: Option<Config>,
    pub(crate) problems: Vec<Error>,
    /// Fields that nobody knows.
    pub(crate) unknown: Vec<Error>,
    /// What is left out because the spec says to warn only.
    pub(crate) warnings: Vec<String>,
    /// As it is in the file, for the values of problems.
    pub(crate) value: Value,
}

/// More values that can't be read than anybody wants to be told of.
const MOST: usize = 100;

/// Put where a required field is missing or can't be read, so that what is beside it can be judged.
const STAND_INS: [(&str, &str); 7] = [
    ("cwd", r#""/""#),
    ("path", r#""/stand-in""#),
    ("destination", r#""/stand-in""#),
    ("uid", "0"),
    ("gid", "0"),
    ("soft", "0"),
    ("hard", "0"),
];

pub(crate) fn examine(json: &[u8]) -> Examined {
    let mut raw = match Raw::read(json) {
        Ok(raw) => raw,
        Err(error) => {
            return Examined {
                problems: vec![error],
                ..Examined::default()
            };
        }
    };
    let mut examined = Examined {
        unknown: fields::unknown(&raw.value),
        value: raw.value.clone(),
        problems: raw.not_objects(),
        warnings: raw.warnings.clone(),
        config: None,
    };
    let mut taken: Vec<String> = Vec::new();
    for problem in &examined.problems {
        taken.extend(take_out(
            &mut raw.value,
            problem.config_path().unwrap_or_default(),
        ));
    }
    for _ in 0..MOST {
        let unread = match from_spec::read(&raw) {
            Ok(spec) => {
                // Too much depends on the namespaces.
                if taken
                    .iter()
                    .any(|path| path == "linux" || path == "linux.namespaces")
                {
                    break;
                }
                let mut problems = Vec::new();
                let config = from_spec::convert(&spec, &raw, &mut problems);
                examined.add(problems);
                examined.add(check::check(&config));
                examined.config = Some(config);
                break;
            }
            Err(unread) => unread,
        };
        let place = unread.error.config_path().unwrap_or_default().to_owned();
        let missing = unread.at != place;
        examined.add(vec![unread.error]);
        if missing && stand_in(&mut raw.value, &place) {
            continue;
        }
        let Some(gone) = take_out(&mut raw.value, &unread.at) else {
            break;
        };
        taken.push(gone);
    }
    examined
}

impl Examined {
    /// What a later stage says of a place that was told already, or of what is in it, only follows from that.
    pub(crate) fn add(&mut self, later: Vec<Error>) {
        let told: HashSet<_> = self.problems.iter().map(place).collect();
        let news = |error: &Error| {
            let place = place(error);
            (1..=place.len()).all(|end| !told.contains(&place[..end]))
        };
        self.problems.extend(later.into_iter().filter(news));
    }
}

/// The value that a path of a problem or a warning names.
pub(crate) fn value_at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let steps = steps(path);
    let found = |value: &'a Value, step: &String| {
        value
            .get(step)
            .or_else(|| value.get(step.parse::<usize>().ok()?))
    };
    (!steps.is_empty()).then(|| steps.iter().try_fold(value, found))?
}

fn place(error: &Error) -> Vec<String> {
    steps(error.config_path().unwrap_or_default())
}

/// `mounts[3] (/data).options` is mounts, 3, options.
fn steps(path: &str) -> Vec<String> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let (step, after) = if let Some(inside) = rest.strip_prefix('[') {
            inside.split_once(']').unwrap_or((inside, ""))
        } else if let Some(said) = rest.strip_prefix(" (") {
            rest = said.split_once(')').map_or("", |(_, after)| after);
            continue;
        } else {
            let name = rest.trim_start_matches('.');
            name.split_at(name.find(['.', '[', ' ']).unwrap_or(name.len()))
        };
        if step.is_empty() {
            break;
        }
        steps.push(step.to_owned());
        rest = after;
    }
    steps
}

/// Takes a value out; the path of what is gone. An item goes with its list: the others keep their numbers.
fn take_out(value: &mut Value, path: &str) -> Option<String> {
    let parent_end = path.rfind(['.', '[']);
    if path.ends_with(']') {
        return take_out(value, &path[..parent_end?]);
    }
    let (parent, name) = path.split_at(parent_end.unwrap_or(0));
    let parent = pointer(value, parent)?;
    let gone = parent.as_object_mut()?.remove(name.trim_start_matches('.'));
    gone.map(|_| path.to_owned())
}

fn stand_in(value: &mut Value, path: &str) -> bool {
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
    let known = STAND_INS.iter().find(|(field, _)| *field == name);
    let object = pointer(value, parent).and_then(Value::as_object_mut);
    let (Some((_, text)), Some(object)) = (known, object) else {
        return false;
    };
    object.insert(
        name.to_owned(),
        serde_json::from_str(text).unwrap_or(json!(null)),
    );
    true
}

fn pointer<'a>(value: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    let pointer: String = steps(path).iter().map(|step| format!("/{step}")).collect();
    value.pointer_mut(&pointer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: &str = r#""ociVersion":"1.2.0","root":{"path":"rootfs"}"#;
    const PROCESS: &str = r#""process":{"cwd":"/","args":["sh"],"user":{"uid":0,"gid":0}}"#;

    fn check(json: &str, expect: &[&str]) {
        let got: Vec<_> = examine(json.as_bytes())
            .problems
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(got.len(), expect.len(), "{json}: {got:#?}");
        for (got, expect) in got.iter().zip(expect) {
            assert!(got.starts_with(expect), "{json}: {got} is not {expect}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_told() {
        check("{", &["config.json: EOF"]);
        check(&format!("{{{FINE},{PROCESS}}}"), &[]);
        check(
            &format!("{{{PROCESS}}}"),
            &["ociVersion: ", "root: is required"],
        );
        check(
            &format!(
                r#"{{{FINE},"process":{{"cwd":5,"args":"sh","terminal":1,"user":{{"uid":"x","gid":-1}}}},"hostname":7}}"#
            ),
            &[
                "hostname: invalid type",
                "process.args: invalid type",
                "process.cwd: invalid type",
                "process.terminal: invalid type",
                "process.user.gid: invalid value",
                "process.user.uid: invalid type",
            ],
        );
        check(
            &format!(
                r#"{{"ociVersion":7,"root":[],{PROCESS},"hooks":[],"linux":{{"resources":{{"pids":[5]}},"rootfsPropagation":"x"}}}}"#
            ),
            &[
                "root: is not an object",
                "hooks: is not an object",
                "linux.resources.pids: is not an object",
                "ociVersion: invalid type",
                r#"linux.rootfsPropagation: "x" is none of"#,
            ],
        );
    }

    #[test]
    fn what_follows_from_it_is_not() {
        // Without its namespaces there would be much to say of the rest.
        check(
            &format!(
                r#"{{{FINE},{PROCESS},"hostname":"a","linux":{{"namespaces":[{{"type":"uts"}},{{"type":"harbour"}}]}}}}"#
            ),
            &["linux.namespaces[1].type: unknown variant"],
        );
        check(
            &format!(
                r#"{{{FINE},{PROCESS},"mounts":[{{"destination":"/proc"}},{{"type":"bind","destination":"/"}}],"linux":{{"namespaces":[{{"type":"mount"}}]}}}}"#
            ),
            &[
                "mounts[0] (/proc): neither a type",
                "mounts[1] (/): destination is not",
                "mounts[1] (/): a bind mount needs a source",
            ],
        );
    }

    #[test]
    fn too_long_a_destination_is_not_repeated() {
        let (path, namespaces) = (
            "x".repeat(5000),
            r#""linux":{"namespaces":[{"type":"mount"}]}"#,
        );
        check(
            &format!(
                r#"{{{FINE},{PROCESS},"mounts":[{{"destination":"/{path}","type":"tmpfs"}}],{namespaces}}}"#
            ),
            &["mounts[0]: destination is longer than 4095 bytes"],
        );
    }

    #[test]
    fn paths_lead_to_values() {
        let value =
            json!({ "mounts": [{ "options": ["ro"] }], "linux": { "sysctl": { "a.b": "c" } } });
        let text = |path: &str| value_at(&value, path).map(ToString::to_string);
        assert_eq!(
            text("mounts[0] (/data).options").as_deref(),
            Some(r#"["ro"]"#)
        );
        assert_eq!(text("linux.sysctl[a.b]").as_deref(), Some(r#""c""#));
        assert_eq!(text("linux.nothing"), None);
        assert_eq!(text(""), None);
    }
}
