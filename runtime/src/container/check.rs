//! `check`: all that stands between a configuration and a container, before one is made.

use super::builder::ContainerBuilder;
use crate::config::examine::{examine, value_at};
use crate::error::Error;
use serde_json::{Value, json};
use std::fmt;

/// How much of a value is shown, in characters.
const SHOWN: usize = 60;

/// Something to say of a configuration. Prints as one line.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use longshore::Severity;
/// let runtime = longshore::Runtime::builder().state_root(std::env::temp_dir()).build()?;
/// let spec = longshore::oci_spec::runtime::Spec::default();
/// let problems = runtime.container("web1").spec(&spec)?.rootfs("/nowhere").check();
/// let error = problems.iter().find(|problem| problem.severity == Severity::Error).unwrap();
/// assert_eq!(error.path, "root.path");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Does it stop a container from being made?
    pub severity: Severity,
    /// The property, as `mounts[3] (/data)`, or `config.json` as a whole.
    pub path: String,
    /// What is there now, as JSON, shortened. `None`: nothing is.
    pub value: Option<String>,
    /// What is wrong with it; if it is the host that lacks something, it says so.
    pub message: String,
}

/// How bad a [`Problem`] is.
///
/// ```
/// assert_eq!(longshore::Severity::Warning.as_str(), "warning");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// `create` refuses it.
    Error,
    /// Something will be left out, or is likely to be a mistake.
    Warning,
}

impl Severity {
    /// Its name in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

impl ContainerBuilder {
    /// Every problem of the configuration on this host, instead of the first. Touches nothing.
    ///
    /// ```no_run
    /// # fn main() -> longshore::Result<()> {
    /// # let runtime = longshore::Runtime::builder().build()?;
    /// for problem in runtime.container("web1").bundle("/bundle").check() {
    ///     eprintln!("{problem}");
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn check(&self) -> Vec<Problem> {
        let read = self
            .place()
            .and_then(|bundle| Ok((bundle, self.config_bytes()?)));
        let (bundle, json) = match read {
            Ok(read) => read,
            Err(error) => return vec![Problem::new(Severity::Error, &error, &Value::Null)],
        };
        let mut examined = examine(&json);
        if let Some(config) = examined.config.take() {
            let given = config.process.given;
            match self.compile(config, json, bundle) {
                // Those of the configuration are among them.
                Ok(prepared) => examined.warnings = prepared.plan.warnings,
                Err(problems) => examined.add(problems),
            }
            if !given {
                let warning = "process: without it the container can't be started";
                examined.warnings.push(warning.to_owned());
            }
        }
        let value = &examined.value;
        let errors = examined.problems.iter();
        let errors = errors.map(|error| Problem::new(Severity::Error, error, value));
        let unknown = examined.unknown.iter();
        let unknown = unknown.map(|error| Problem::new(Severity::Warning, error, value));
        let warnings = examined.warnings.iter().map(|text| {
            let (path, message) = text.split_once(": ").unwrap_or(("config.json", text));
            Problem::new(Severity::Warning, &Error::config(path, message), value)
        });
        errors.chain(unknown).chain(warnings).collect()
    }
}

impl Problem {
    fn new(severity: Severity, error: &Error, config: &Value) -> Problem {
        let path = error.config_path().unwrap_or("config.json").to_owned();
        let text = error.to_string();
        let message = text.strip_prefix(&format!("{path}: ")).unwrap_or(&text);
        Problem {
            severity,
            value: value_at(config, &path).map(shown),
            message: message.to_owned(),
            path,
        }
    }

    /// `{"severity", "path", "value", "message"}` on one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.object().to_string()
    }

    fn object(&self) -> Value {
        json!({
            "severity": self.severity.as_str(),
            "path": self.path,
            "value": self.value,
            "message": self.message,
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = format!(
            "{}: {}: {}",
            self.severity.as_str(),
            self.path,
            self.message
        );
        // A path may have a name of the configuration's in it.
        f.write_str(&line.replace(char::is_control, " "))?;
        match &self.value {
            Some(value) => write!(f, " (value {value})"),
            None => Ok(()),
        }
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
