//! Fault points: places between two side effects where a test can stop the
//! program and kill it. Without a test they are a counter.

use nix::sys::signal::{Signal, raise};
use std::sync::atomic::{AtomicU32, Ordering};

/// Counts the points that were passed.
#[derive(Debug, Default)]
pub(crate) struct Fault {
    /// Stop the process at this point, counted from 0.
    pub(crate) stop_at: Option<u32>,
    passed: AtomicU32,
}

impl Fault {
    pub(crate) fn new(stop_at: Option<u32>) -> Fault {
        Fault {
            stop_at,
            passed: AtomicU32::new(0),
        }
    }

    pub(crate) fn point(&self) {
        let here = self.passed.fetch_add(1, Ordering::Relaxed);
        if self.stop_at == Some(here) {
            let _ = raise(Signal::SIGSTOP); // the test goes on from here
        }
    }
}
