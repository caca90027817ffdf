//! The runtime's own hooks after `create`, and the state that every hook reads.
//! runtime.md#state, config.md#posix-platform-hooks

use super::record::{InitId, Record};
use super::store::Entry;
use crate::config::Hook;
use crate::error::Result;
use crate::launch::hooks::{Surroundings, run_all, run_each};
use crate::sys::proc;
use std::path::Path;

/// The state on a hook's stdin, in two parts around the pid.
pub(super) fn state(id: &str, record: &Record, status: &str) -> (String, String) {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let before = format!(
        "{{\"ociVersion\":{},\"id\":{},\"status\":{},\"pid\":",
        text(&record.oci_version),
        text(id),
        text(status)
    );
    let annotations = serde_json::json!(record.annotations);
    let after = format!(
        ",\"bundle\":{},\"annotations\":{annotations}}}",
        text(&record.bundle)
    );
    (before, after)
}

/// Which process a hook is: when we are killed, `delete --force` must end it.
pub(super) fn note(entry: &Entry, pid: i32) -> Result<()> {
    // One that has ended already needs no ending.
    let Some(stat) = proc::stat(pid) else {
        return Ok(());
    };
    entry.write_hook(&InitId {
        pid,
        start_time: stat.start_time,
        boot_id: proc::boot_id().to_owned(),
    })
}

/// A container whose runtime runs hooks.
pub(super) struct Subject<'a> {
    pub(super) id: &'a str,
    pub(super) record: &'a Record,
    pub(super) state_root: &'a Path,
    /// Called with each hook's pid.
    pub(super) started: &'a dyn Fn(i32) -> Result<()>,
}

impl Subject<'_> {
    /// The program runs; the first failure ends it.
    pub(super) fn poststart(&self, pid: i32) -> Result<()> {
        run_all(
            "poststart",
            &self.record.poststart,
            &self.around("running", pid),
        )
    }

    /// The container is gone; a failure is something to say, and the next hook runs.
    pub(super) fn poststop(&self) -> Vec<String> {
        run_each(
            "poststop",
            &self.record.poststop,
            &self.around("stopped", 0),
        )
    }

    fn around(&self, status: &str, pid: i32) -> Surroundings<'_> {
        let (before, after) = state(self.id, self.record, status);
        Surroundings {
            state: format!("{before}{pid}{after}"),
            bundle: &self.record.bundle,
            state_root: self.state_root,
            // The program may end while its hooks run: they have their work all the same.
            init: None,
            started: self.started,
        }
    }
}

/// In the record's JSON.
pub(super) fn to_json(hooks: &[Hook]) -> serde_json::Value {
    let one = |hook: &Hook| serde_json::json!({"path": hook.path, "args": hook.args, "env": hook.env, "timeout": hook.timeout});
    hooks.iter().map(one).collect()
}

/// `None`: damaged. An older record has none.
pub(super) fn from_json(value: Option<&serde_json::Value>) -> Option<Vec<Hook>> {
    let Some(value) = value else {
        return Some(Vec::new());
    };
    value.as_array()?.iter().map(one_from_json).collect()
}

fn one_from_json(value: &serde_json::Value) -> Option<Hook> {
    let texts = |value: &serde_json::Value| {
        let texts = value.as_array()?.iter();
        texts
            .map(|text| text.as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
    };
    let env = match value.get("env")? {
        serde_json::Value::Null => None,
        given => Some(texts(given)?),
    };
    let timeout = match value.get("timeout")? {
        serde_json::Value::Null => None,
        given => Some(u32::try_from(given.as_u64()?).ok()?),
    };
    Some(Hook {
        path: value.get("path")?.as_str()?.to_owned(),
        args: texts(value.get("args")?)?,
        env,
        timeout,
    })
}
