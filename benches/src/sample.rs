//! One measured process, and the statistics of many.

use std::io;
use std::process::{Command, Stdio};
use std::time::Instant;

/// What one run cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// From before the spawn until the process was reaped.
    pub wall: f64,
    /// User and system time, with that of the children it waited for.
    pub cpu: Option<f64>,
    /// Peak resident memory in MiB.
    pub memory: Option<f64>,
}

/// All runs of one column in one row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    samples: Vec<Sample>,
}

/// The figures that are printed; times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub p10: f64,
    pub median: f64,
    pub p99: f64,
    pub cpu: Option<f64>,
    pub memory: Option<f64>,
}

/// Runs a command to its end and measures it. std spawns by `posix_spawn`, so
/// that the size of this process is not part of the figure.
pub(crate) fn measure(command: &mut Command) -> Result<Sample, String> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let begin = Instant::now();
    let child = command
        .spawn()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let (status, usage) = wait4(child.id()).map_err(|error| format!("{command:?}: {error}"))?;
    let wall = begin.elapsed().as_secs_f64() * 1e3;
    if status != 0 {
        return Err(format!(
            "{command:?} failed with wait status {status}; run it by hand to see why"
        ));
    }
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let cpu = (seconds(usage.ru_utime) + seconds(usage.ru_stime)) * 1e3;
    Ok(Sample {
        wall,
        cpu: Some(cpu),
        memory: Some(usage.ru_maxrss as f64 / 1024.0),
    })
}

#[allow(unsafe_code)]
fn wait4(pid: u32) -> io::Result<(i32, libc::rusage)> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: all fields are integers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals of the right types.
    let done = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    if done == pid {
        Ok((status, usage))
    } else {
        Err(io::Error::last_os_error())
    }
}

impl Series {
    /// Adds a run.
    pub(crate) fn push(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// How long each run took, in milliseconds.
    pub(crate) fn wall(&self) -> impl Iterator<Item = f64> {
        self.samples.iter().map(|sample| sample.wall)
    }

    /// The figures; None if it was never run.
    pub(crate) fn figures(&self) -> Option<Figures> {
        let wall = sorted(self.samples.iter().map(|sample| sample.wall));
        Some(Figures {
            p10: at(&wall, 10)?,
            median: at(&wall, 50)?,
            p99: at(&wall, 99)?,
            cpu: at(
                &sorted(self.samples.iter().filter_map(|sample| sample.cpu)),
                50,
            ),
            memory: sorted(self.samples.iter().filter_map(|sample| sample.memory))
                .last()
                .copied(),
        })
    }
}

impl Figures {
    /// How far the median lies above the tenth percentile: a quiet host gives little.
    pub(crate) fn noise(&self) -> f64 {
        self.median / self.p10
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn at(sorted: &[f64], percent: usize) -> Option<f64> {
    sorted
        .get(sorted.len().saturating_sub(1) * percent / 100)
        .copied()
}
