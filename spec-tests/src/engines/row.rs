//! A row: what somebody types at an engine, and what they see.

use std::time::Duration;

use super::Which;
use crate::runtime::Call;
use crate::suite::{Case, Check, Known, Stop, Suite, View, ensure};

/// What a script must print.
#[derive(Clone, Copy)]
pub(super) enum Sees {
    /// Exactly this.
    Is(&'static str),
    /// This among other things.
    Has(&'static str),
}

/// One test: a shell script over the engine's commands. `$n` is a name of its own, `$w` a directory, empty
/// and its working directory; `$soak` is not empty where counts are to be high. `engines/row.sh` has functions
/// for all. What lacks something on this host exits with [`SKIP`], its last line being the reason.
pub(super) struct Row {
    name: &'static str,
    script: &'static str,
    sees: Sees,
    engine: Which,
    view: View,
    known: Known,
    limit: Duration,
}

/// What every script begins with, besides its engine's prelude.
const PRELUDE: &str = include_str!("../../engines/row.sh");

/// The status by which a script says that the host lacks something.
const SKIP: i32 = 77;

/// A row under the engine that most have, in any cgroup layout.
pub(super) const fn row(name: &'static str, script: &'static str, sees: Sees) -> Row {
    Row {
        name,
        script,
        sees,
        engine: Which::Docker,
        view: View::Any,
        known: &[],
        limit: Duration::from_secs(90),
    }
}

impl Row {
    /// With limits or the like of cgroup v1.
    pub(super) const fn on_v1(self) -> Row {
        Row {
            view: View::V1,
            ..self
        }
    }

    /// Under another engine.
    pub(super) const fn under(self, engine: Which) -> Row {
        Row { engine, ..self }
    }

    /// What a runtime is known to do otherwise.
    pub(super) const fn deviates(self, known: Known) -> Row {
        Row { known, ..self }
    }

    /// For what takes longer than others, in seconds.
    pub(super) const fn within(self, seconds: u64) -> Row {
        Row {
            limit: Duration::from_secs(seconds),
            ..self
        }
    }
}

impl Case for Row {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn known(&self) -> Known {
        self.known
    }

    fn view(&self) -> View {
        self.view
    }

    fn check(&self, suite: &Suite) -> Check {
        let engine = suite.engines.prelude(suite, self.engine)?;
        let name = format!("t{}", suite.next());
        let dir = suite.dir.join(&name);
        std::fs::create_dir(&dir)?;
        // What takes its time in a soak says so by its count; what hangs ends the run a hundred times as late.
        let (soak, factor) = if suite.soak { ("yes", 100) } else { ("", 1) };
        // In a file of its own, for failures to tell the row's script alone.
        let prelude = dir.with_extension("prelude");
        let text = format!(
            "{engine}\nn={name}; w={}; soak={soak}\n{PRELUDE}",
            dir.display()
        );
        std::fs::write(&prelude, text)?;
        let script = format!(". {}\n{}", prelude.display(), self.script);
        let call = Call {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script],
            dir,
            setup: String::new(),
            fds: Vec::new(),
            ignored: &[],
            env: Vec::new(),
            stdin: None,
            stdout: None,
            stderr: None,
        };
        let ran = call.spawn()?.wait(self.limit * factor)?;
        ensure!(
            ran.status.is_some(),
            "it did not end in time: {}",
            ran.story()
        );
        let seen = ran.stdout.replace('\r', "");
        let seen = seen.trim();
        if ran.code() == SKIP {
            let reason = seen.lines().last().unwrap_or("no reason given");
            return Err(Stop::Skip(reason.to_owned()));
        }
        let good = match self.sees {
            Sees::Is(text) => seen == text,
            Sees::Has(text) => seen.contains(text),
        };
        // Who hangs at the end has printed everything.
        ensure!(good && ran.status.is_some(), "{}", ran.story());
        Ok(())
    }
}
