//! The run as a whole: which cases, in two threads, with one line for each result.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use serde_json::json;

use crate::engines::Engines;
use crate::runtime::RuntimeUnderTest;
use crate::without::Feature;
use crate::{cgroups, known, leak, rootfs};

/// Why a test did not pass.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The runtime does something else than expected.
    Fail(String),
    /// It can't be told here, and why.
    Skip(String),
    /// The runtime is known to do something else.
    Deviates(Deviation),
}

/// A known deviation, whether or not it showed.
#[derive(Debug)]
pub(crate) struct Deviation {
    reason: &'static str,
    seen: bool,
}

/// What a step of a test gives.
pub(crate) type Check<T = ()> = Result<T, Stop>;

impl<E: std::error::Error> From<E> for Stop {
    fn from(error: E) -> Stop {
        Stop::Fail(format!("the test itself: {error}"))
    }
}

/// Ends a test as failed unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::suite::Stop::Fail(format!($($message)+)));
        }
    };
}
pub(crate) use ensure;

/// Why a test is skipped in the other cgroup layout.
pub(crate) const NEEDS_V1: &str = "needs the cgroup v1 hierarchies";
/// The same, of the tests for cgroup2.
pub(crate) const NEEDS_V2: &str = "needs --cgroup2-view";

const OF_DIRECTORIES: &str = "is about directories that the runtime makes itself";

/// Cases, or chapters, that have no meaning with --systemd-cgroup, and why.
const WITHOUT_SYSTEMD: [(&str, &str); 9] = [
    ("linux.cgroupsPath", OF_DIRECTORIES),
    ("cgroup2.threaded", OF_DIRECTORIES),
    ("cgroup2.threaded.needs-a-domain", OF_DIRECTORIES),
    ("cgroup2.frozen.parent", OF_DIRECTORIES),
    ("cgroup2.devices.one-after-the-other", OF_DIRECTORIES),
    ("lifecycle.delete.not-others", OF_DIRECTORIES),
    ("lifecycle.delete.not-others.cgroup", OF_DIRECTORIES),
    (
        "gc.cgroup-without-a-container",
        "systemd itself removes a scope that is empty",
    ),
    ("rootless.", "runs as a user without a systemd of its own"),
];

/// The cgroup layout that a case needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// Any layout.
    Any,
    /// Controllers in cgroup v1 hierarchies.
    V1,
    /// cgroup2 on `/sys/fs/cgroup`.
    V2,
}

/// Runtimes that are known to deviate, with the reason.
pub(crate) type Known = &'static [(&'static str, &'static str)];

/// One test.
pub(crate) trait Case: Sync {
    /// The property or the behaviour, named after the config where it has a place there.
    fn name(&self) -> String;
    /// Who is known to fail it.
    fn known(&self) -> Known;
    /// The cgroup layout it needs.
    fn view(&self) -> View;
    /// Runs it.
    fn check(&self, suite: &Suite) -> Check;
}

/// Cases, and what each runtime is told less than they think.
pub(crate) struct Round {
    pub without: Option<&'static Feature>,
    pub cases: Vec<&'static dyn Case>,
}

/// The cases of some tables, in their order.
pub(crate) fn cases<C: Case>(tables: &[&'static [C]]) -> Vec<&'static dyn Case> {
    let all = tables.iter().copied().flatten();
    all.map(|case| case as &dyn Case).collect()
}

/// How results are printed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// Test Anything Protocol.
    Tap,
    /// One object per line.
    Json,
}

/// What all tests of a run share.
#[derive(Debug)]
pub(crate) struct Suite {
    /// Who is examined.
    pub runtime: RuntimeUnderTest,
    /// Part of each id, cgroup and path that the run makes.
    pub tag: String,
    /// Temporary directory of the run.
    pub dir: PathBuf,
    /// Names of busybox's applets.
    pub applets: Vec<String>,
    /// An earlier release of the same runtime.
    pub old: Option<PathBuf>,
    /// Repeat what is a matter of chance more often.
    pub soak: bool,
    /// Every container is in a scope of systemd's.
    pub systemd: bool,
    /// What is taken out of all that the runtime is told, for tests to fail.
    pub without: Option<&'static Feature>,
    /// The engines that use the runtime, in their tests.
    pub engines: Engines,
    format: Format,
    serial: AtomicUsize,
    leaks: Mutex<Vec<String>>,
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Suite {
    /// Makes the directory of the run.
    pub(crate) fn new(runtime: RuntimeUnderTest, format: Format) -> Check<Suite> {
        let tag = format!("longshore-spec-{}", std::process::id());
        let dir = std::env::temp_dir().join(&tag);
        fs::create_dir(&dir)?;
        // A container's root in a user namespace must get through to its files.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o711))?;
        let applets = rootfs::prepare(&dir)?;
        Ok(Suite {
            runtime,
            tag,
            dir,
            applets,
            old: None,
            soak: false,
            systemd: false,
            without: None,
            engines: Engines::default(),
            format,
            serial: AtomicUsize::new(0),
            leaks: Mutex::default(),
        })
    }

    /// A number that no other test of the run has.
    pub(crate) fn next(&self) -> usize {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    /// Unmounts what a runtime left mounted below the directory, lest the removal
    /// of the directory reach through a bind mount, and notes it as a leak.
    pub(crate) fn clear_mounts(&self, dir: &Path) {
        for line in leak::mounts_below(dir) {
            let point = line.split(' ').nth(4).unwrap_or_default().to_owned();
            let _ = umount2(point.as_str(), MntFlags::MNT_DETACH); // gone with its parent, perhaps
            self.leaks
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line);
        }
    }

    /// The mounts that runtimes left in our namespace.
    pub(crate) fn leaks(&self) -> Vec<String> {
        self.leaks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Runs the cases, checks for leaks, and tells whether nothing failed.
    pub(crate) fn run(&mut self, rounds: &[Round]) -> bool {
        let before = leak::Snapshot::take(&self.tag);
        let tally = Mutex::new(Tally::default());
        if matches!(self.format, Format::Tap) {
            let count: usize = rounds.iter().map(|round| round.cases.len()).sum();
            println!("TAP version 13\n1..{}", count + 1);
        }
        for round in rounds {
            self.without = round.without;
            self.run_round(&round.cases, &tally);
        }
        self.engines.stop();
        let _ = fs::remove_dir_all(&self.dir); // the leak check tells if it stays
        cgroups::remove(&format!("/{}", self.tag));
        self.report(
            &tally,
            "suite.leaves-nothing",
            &leak::check(&before, self),
            Duration::ZERO,
        );
        let Ok(tally) = tally.into_inner() else {
            return false;
        };
        println!(
            "SUITE {}: {} passed, {} failed, {} skipped",
            self.runtime.name, tally.passed, tally.failed, tally.skipped
        );
        tally.failed == 0
    }

    fn run_round(&self, cases: &[&dyn Case], tally: &Mutex<Tally>) {
        let turn = AtomicUsize::new(0);
        let work = || {
            while let Some(case) = cases.get(turn.fetch_add(1, Ordering::Relaxed)) {
                let begin = Instant::now();
                let result = self.judge(*case);
                let name = match self.without {
                    None => case.name(),
                    Some(feature) => format!("without {}: {}", feature.name, case.name()),
                };
                let result = self.turned(&name, result);
                self.report(tally, &name, &result, begin.elapsed());
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(work);
            }
        });
    }

    /// Without what it shows, a test must fail.
    fn turned(&self, name: &str, result: Check) -> Check {
        match (self.without, result) {
            (None, result) => result,
            (Some(_), Ok(())) => Err(Stop::Fail("it passes".to_owned())),
            (Some(_), Err(Stop::Fail(why))) => {
                eprintln!("{name} fails as it must: {why}");
                Ok(())
            }
            (Some(_), other) => other,
        }
    }

    fn judge(&self, case: &dyn Case) -> Check {
        match (case.view(), cgroups::unified()) {
            (View::V1, true) => return Err(Stop::Skip(NEEDS_V1.to_owned())),
            (View::V2, false) => return Err(Stop::Skip(NEEDS_V2.to_owned())),
            _ => {}
        }
        let name = case.name();
        let meant = |word: &str| word == name || word.ends_with('.') && name.starts_with(word);
        let senseless = WITHOUT_SYSTEMD.iter().find(|row| meant(row.0));
        if let Some((_, why)) = senseless.filter(|_| self.systemd) {
            return Err(Stop::Skip((*why).to_owned()));
        }
        let beside = case
            .known()
            .iter()
            .find(|entry| entry.0 == self.runtime.name);
        let known = beside
            .map(|entry| entry.1)
            .or_else(|| known::elsewhere(&self.runtime.name, &case.name()));
        match (case.check(self), known) {
            // A known deviation never counts as a pass: the table may be out of date.
            (Ok(()), Some(reason)) => Err(Stop::Deviates(Deviation {
                reason,
                seen: false,
            })),
            (Err(Stop::Fail(_)), Some(reason)) => {
                Err(Stop::Deviates(Deviation { reason, seen: true }))
            }
            (result, _) => result,
        }
    }

    fn report(&self, tally: &Mutex<Tally>, name: &str, result: &Check, took: Duration) {
        // A panicking printer would poison the lock; the numbers stay usable.
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        let (word, why) = match result {
            Ok(()) => ("pass", String::new()),
            Err(Stop::Fail(why)) => ("fail", why.clone()),
            Err(Stop::Skip(why)) => ("skip", why.clone()),
            Err(Stop::Deviates(known)) => ("skip", known.to_string()),
        };
        let deviation = match result {
            Err(Stop::Deviates(known)) => Some(known.reason),
            _ => None,
        };
        match result {
            Ok(()) => tally.passed += 1,
            Err(Stop::Fail(_)) => tally.failed += 1,
            Err(Stop::Skip(_) | Stop::Deviates(_)) => tally.skipped += 1,
        }
        let number = tally.passed + tally.failed + tally.skipped;
        println!(
            "{}",
            Line {
                format: self.format,
                number,
                name,
                word,
                why: &why,
                deviation,
                took
            }
        );
    }
}

struct Line<'a> {
    format: Format,
    number: usize,
    name: &'a str,
    word: &'a str,
    why: &'a str,
    deviation: Option<&'static str>,
    took: Duration,
}

impl fmt::Display for Deviation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unseen = if self.seen {
            ""
        } else {
            ", not seen this time"
        };
        write!(out, "known deviation{unseen}: {}", self.reason)
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line {
            number,
            name,
            word,
            why,
            ..
        } = self;
        let millis = self.took.as_millis();
        match (self.format, *word) {
            (Format::Json, _) => {
                let object = json!({ "name": name, "result": word, "reason": why, "deviation": self.deviation, "milliseconds": u64::try_from(millis).unwrap_or(0) });
                write!(out, "{object}")
            }
            (Format::Tap, "pass") => write!(out, "ok {number} - {name}"),
            (Format::Tap, "skip") => write!(out, "ok {number} - {name} # SKIP {why}"),
            (Format::Tap, _) => write!(
                out,
                "not ok {number} - {name}\n# {}",
                why.replace('\n', "\n# ")
            ),
            (Format::Text, "pass") => write!(out, "pass {name} ({millis} ms)"),
            (Format::Text, "skip") => write!(out, "skip {name}: {why}"),
            (Format::Text, _) => write!(out, "FAIL {name}: {why}"),
        }
    }
}
