//! Where errors and warnings go: standard error as text, or a file of lines
//! that engines read (engines expect `level`, `msg` and `time` of JSON lines).

use crate::cli::Invocation;
use crate::cmd::Failure;
use serde_json::{Map, Value};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::time::SystemTime;

#[derive(Debug, Default)]
pub(crate) struct Log {
    json: bool,
    file: Option<File>,
}

impl Log {
    pub(crate) fn open(invocation: &Invocation) -> Result<Log, Failure> {
        let json = match invocation.get("log-format").unwrap_or("text") {
            "json" => true,
            "text" => false,
            other => return Err(Failure::plain(format!("invalid log-format: {other}"))),
        };
        let open = |path| {
            let file = OpenOptions::new().append(true).create(true).open(path);
            file.map_err(|error| Failure::plain(format!("cannot open log {path}: {error}")))
        };
        let file = invocation
            .get("log")
            .filter(|path| !path.is_empty())
            .map(open)
            .transpose()?;
        Ok(Log { json, file })
    }

    /// The one line for what ended the command; in the log, and on standard error for callers that read only that.
    pub(crate) fn error(&self, failure: &Failure) {
        self.line("error", failure);
        if self.file.is_some() {
            eprintln!("{}", failure.message);
        }
    }

    pub(crate) fn warnings(&self, messages: &[String]) {
        messages.iter().for_each(|message| self.warning(message));
    }

    pub(crate) fn warning(&self, message: &str) {
        // Podman takes a log of more than one line for no log at all.
        if self.file.is_none() {
            self.line("warning", &Failure::plain(message));
        }
    }

    fn line(&self, level: &str, failure: &Failure) {
        let time = longshore::timestamp(SystemTime::now());
        let line = if self.json {
            let mut object = Map::new();
            object.insert("level".into(), level.into());
            object.insert("msg".into(), failure.message.clone().into());
            object.insert("time".into(), time.into());
            let details = [
                ("kind", failure.kind.map(Value::from)),
                ("step", failure.step.clone().map(Value::from)),
                ("path", failure.path.clone().map(Value::from)),
                ("errno", failure.errno.map(Value::from)),
            ];
            for (name, value) in details {
                if let Some(value) = value {
                    object.insert(name.into(), value);
                }
            }
            Value::Object(object).to_string()
        } else {
            format!("time={time:?} level={level} msg={:?}", failure.message)
        };
        // One write: several commands append to one file.
        let line = line + "\n";
        let _ = match self.file.as_ref() {
            Some(file) => (&*file).write_all(line.as_bytes()),
            None => std::io::stderr().write_all(line.as_bytes()),
        }; // there is nowhere else to say it
    }
}
