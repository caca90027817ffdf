//! Where an operation's time goes: points on its way, a line of JSON for each stretch between two of them.
//! The same points are where a test can stop the program.

use crate::error::Result;
use crate::plan::Described;
use crate::wire::{MARKS_MAX, ResultPage, mark};
use nix::sys::signal::{Signal, raise};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::fs::File;
use std::io::Write;
use std::mem::offset_of;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where the time of create, start, exec, delete, checkpoint and restore goes, as lines of JSON in a file.
///
/// | member | what |
/// |---|---|
/// | `id`, `operation` | the container; `create`, `start`, `exec`, `delete`, `checkpoint`, `restore`, or the caller's own |
/// | `side` | `host`, or `init`: the process inside, beside which the host goes on |
/// | `step`, `path` | of a step of the plan: its number from 0 and its property of config.json; else null |
/// | `action` | what was done |
/// | `start` | when it began, RFC 3339 |
/// | `duration` | how long it took, in nanoseconds |
/// | `errno` | 0, or why it failed; -1 where the kernel gave no reason |
/// | `traceparent` | as given, else null |
///
/// The host's lines follow each other without a gap from the operation's begin to its end. An operation's lines are
/// appended at once, at its end: many may share a file. An operation does not fail because they can't be. The clock is
/// the system's real time; setting it meanwhile shows.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use longshore::{Runtime, Timings};
/// let file = std::fs::File::options().append(true).create(true).open("/var/log/timings")?;
/// let runtime = Runtime::builder().timings(Timings::to(file)).build()?;
/// runtime.container("web1").bundle("/bundle").create()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Timings {
    file: Arc<File>,
    parent: Option<String>,
}

impl Timings {
    /// Appends to this file, which should be open for appending.
    #[must_use]
    pub fn to(file: File) -> Timings {
        Timings {
            file: Arc::new(file),
            parent: None,
        }
    }

    /// The trace that the operations belong to, as the value of TRACEPARENT: in each line, and in the environment of
    /// hooks. Anything else is left out. <https://www.w3.org/TR/trace-context/#traceparent-header>
    ///
    /// ```
    /// let timings = longshore::Timings::to(std::fs::File::open("/dev/null").unwrap());
    /// let timings = timings.trace_parent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    /// ```
    #[must_use]
    pub fn trace_parent(mut self, value: &str) -> Timings {
        self.parent = is_trace_parent(value).then(|| value.to_owned());
        self
    }

    /// A line of the caller's own: what was done from `since` up to now.
    ///
    /// ```no_run
    /// let timings = longshore::Timings::to(std::fs::File::create("/tmp/timings").unwrap());
    /// let since = std::time::SystemTime::now();
    /// timings.note("web1", "pull", "fetch the image", since);
    /// ```
    pub fn note(&self, id: &str, operation: &str, action: &str, since: SystemTime) {
        let stretch = Stretch {
            side: "host",
            step: None,
            action: action.to_owned(),
            start: since,
            end: SystemTime::now(),
            errno: 0,
        };
        self.write(&self.line(id, operation, stretch));
    }

    /// NAME=VALUE for the environment of hooks.
    pub(crate) fn variable(&self) -> Option<String> {
        let parent = self.parent.as_ref()?;
        Some(format!("TRACEPARENT={parent}"))
    }

    fn line(&self, id: &str, operation: &str, stretch: Stretch) -> String {
        let duration = stretch.end.duration_since(stretch.start);
        let duration = duration.unwrap_or_default().as_nanos(); // the clock was set back
        let (step, path) = stretch.step.unzip();
        let members = [
            ("id", Value::from(id)),
            ("operation", operation.into()),
            ("side", stretch.side.into()),
            ("step", step.into()),
            ("path", path.into()),
            ("action", stretch.action.into()),
            ("start", crate::timestamp(stretch.start).into()),
            (
                "duration",
                u64::try_from(duration).unwrap_or(u64::MAX).into(),
            ),
            ("errno", stretch.errno.into()),
            ("traceparent", self.parent.clone().into()),
        ];
        let members = members.map(|(name, value)| (name.to_owned(), value));
        let mut line = Value::Object(Map::from_iter(members)).to_string();
        line.push('\n');
        line
    }

    fn write(&self, lines: &str) {
        let _ = (&*self.file).write_all(lines.as_bytes()); // no container is undone for a full disk
    }
}

/// Version 00: two, 32, 16 and two lower-case hexadecimal digits.
fn is_trace_parent(value: &str) -> bool {
    let parts: Vec<_> = value.split('-').collect();
    let digits = |part: &&str| part.bytes().all(|byte| b"0123456789abcdef".contains(&byte));
    parts.iter().map(|part| part.len()).eq([2, 32, 16, 2])
        && parts.iter().all(digits)
        && parts[0] == "00"
}

/// What a line tells.
struct Stretch {
    side: &'static str,
    step: Option<(u32, String)>,
    action: String,
    start: SystemTime,
    end: SystemTime,
    errno: i32,
}

/// The way of one operation. Without a test and without timings its points are a counter.
#[derive(Debug)]
pub(crate) struct Trail {
    /// Stop the process at this point, counted from 0.
    pub(crate) stop_at: Option<u32>,
    passed: AtomicU32,
    times: Option<RefCell<Times>>,
}

#[derive(Debug)]
struct Times {
    timings: Timings,
    id: String,
    operation: &'static str,
    /// The end of the host's last stretch.
    last: SystemTime,
    /// How many of init's marks have been read.
    seen: usize,
    lines: String,
}

impl Times {
    fn push(&mut self, stretch: Stretch) {
        self.lines += &self.timings.line(&self.id, self.operation, stretch);
    }

    fn lap(&mut self, step: Option<(u32, String)>, action: String, errno: i32) {
        let start = std::mem::replace(&mut self.last, SystemTime::now());
        self.push(Stretch {
            side: "host",
            step,
            action,
            start,
            end: self.last,
            errno,
        });
    }
}

impl Trail {
    pub(crate) fn new(
        stop_at: Option<u32>,
        timings: Option<&Timings>,
        operation: &'static str,
        id: &str,
    ) -> Trail {
        let times = timings.map(|timings| Times {
            timings: timings.clone(),
            id: id.to_owned(),
            operation,
            last: SystemTime::now(),
            seen: 0,
            lines: String::new(),
        });
        Trail {
            stop_at,
            passed: AtomicU32::new(0),
            times: times.map(RefCell::new),
        }
    }

    /// A side effect lies behind us: what was done since the last point.
    pub(crate) fn point(&self, done: &str) {
        self.lap(done);
        self.may_stop();
    }

    /// Before a side effect that comes at once.
    pub(crate) fn may_stop(&self) {
        let here = self.passed.fetch_add(1, Ordering::Relaxed);
        if self.stop_at == Some(here) {
            let _ = raise(Signal::SIGSTOP); // the test goes on from here
        }
    }

    /// What was done since the last point without a side effect: no place to stop at.
    pub(crate) fn lap(&self, done: &str) {
        if let Some(times) = &self.times {
            times.borrow_mut().lap(None, done.to_owned(), 0);
        }
    }

    /// The host's part of a step of the plan is done.
    pub(crate) fn step<S: Described>(&self, index: usize, step: Option<&S>) {
        if let (Some(times), Some(step)) = (&self.times, step) {
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            let place = (number, step.path().to_owned());
            times.borrow_mut().lap(Some(place), step.action(), 0);
        }
    }

    /// Does init have to tell its times?
    pub(crate) fn timed(&self) -> bool {
        self.times.is_some()
    }

    /// What init has marked in its page since the last look, and the step at which it has failed.
    pub(crate) fn init<S: Described>(&self, page: &File, steps: &[S]) {
        let Some(times) = &self.times else { return };
        let mut times = times.borrow_mut();
        let Marks { ends, failed } = Marks::read(page);
        let describe = |number: u32| match steps.get(number as usize) {
            Some(step) => (Some((number, step.path().to_owned())), step.action()),
            None => (None, "begin".to_owned()),
        };
        let seen = times.seen.min(ends.len());
        for pair in ends[seen..].windows(2) {
            let (step, action) = describe(pair[1].0);
            times.push(Stretch {
                side: "init",
                step,
                action,
                start: pair[0].1,
                end: pair[1].1,
                errno: 0,
            });
        }
        times.seen = ends.len().saturating_sub(1);
        if let (Some((number, errno)), Some(last)) = (failed, ends.last()) {
            let (step, action) = describe(number);
            times.push(Stretch {
                side: "init",
                step,
                action,
                start: last.1,
                end: SystemTime::now(),
                errno,
            });
        }
        times.lap(None, "read what init has marked".to_owned(), 0);
    }

    /// The operation is at its end: what came of it, and the lines into the file.
    pub(crate) fn end<T>(&self, outcome: Result<T>) -> Result<T> {
        let Some(times) = &self.times else {
            return outcome;
        };
        let mut times = times.borrow_mut();
        if let Err(error) = &outcome {
            let errno = error.errno().unwrap_or(-1);
            times.lap(None, format!("fail: {error}"), errno);
        }
        times.lap(None, "write the timings".to_owned(), 0);
        times.timings.write(&times.lines);
        outcome
    }
}

/// What init has left about its time.
#[derive(Default)]
struct Marks {
    /// When it began, then when each operation ended, by step.
    ends: Vec<(u32, SystemTime)>,
    /// The step that it failed at, with what.
    failed: Option<(u32, i32)>,
}

impl Marks {
    /// None of an init of before, or one that never got so far.
    fn read(page: &File) -> Marks {
        let mut bytes = [0u8; size_of::<ResultPage>()];
        let read = page.read_exact_at(&mut bytes, 0);
        let word = |place: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[place + i]));
        let long = |place: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[place + i]));
        let begin = long(offset_of!(ResultPage, begin));
        if read.is_err() || begin == 0 {
            return Marks::default();
        }
        let at = |nanos: u64| UNIX_EPOCH + Duration::from_nanos(begin.saturating_add(nanos));
        let count = (word(offset_of!(ResultPage, marks_len)) as usize).min(MARKS_MAX);
        let marks = (0..count).map(|index| long(offset_of!(ResultPage, marks) + 8 * index));
        let marks = marks.map(|bits| (mark::step(bits), at(mark::nanos(bits))));
        let errno = word(offset_of!(ResultPage, errno)).cast_signed();
        Marks {
            ends: std::iter::once((0, at(0))).chain(marks).collect(),
            failed: (errno != 0).then(|| (word(offset_of!(ResultPage, step)), errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_parents() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(is_trace_parent(good));
        for bad in [
            "",
            "00",
            &good[..54],
            &good.replace("00-", "01-"),
            &good.to_uppercase(),
            &good.replace('-', " "),
            &format!("{good}-more"),
        ] {
            assert!(!is_trace_parent(bad), "{bad}");
        }
    }
}
