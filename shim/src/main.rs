//! The `longshore` command: runc's command line over the longshore library.
//!
//! Parse, one library call, print. No container logic is here (invariant 8).

#![allow(clippy::exit, clippy::disallowed_methods)]
// a command's last act

// Without std's own `main`: it reads /proc/self/maps for a stack guard, which is 5 % of a `state`.
#![cfg_attr(not(test), no_main)]

mod cli;
mod cmd;
mod log;

use cli::Parsed;
use log::Log;
use nix::sys::signal::{SigHandler, Signal, signal};
use std::ffi::{CStr, c_char, c_int};
use std::process::exit;
use std::time::SystemTime;

/// The C library's way in.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[cfg_attr(test, allow(dead_code))]
extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    let begun = SystemTime::now();
    // What std's `main` does besides: a closed pipe is an error of the write, not the end.
    // SAFETY: ignoring runs no handler.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) }; // then the end it is
    let word = |index: usize| {
        let argument = arguments.wrapping_add(index);
        // SAFETY: main's contract: `count` pointers follow each other there.
        let text = unsafe { *argument };
        // SAFETY: main's contract: each points to a string that lives as long as the program.
        unsafe { CStr::from_ptr(text) }
            .to_string_lossy()
            .into_owned()
    };
    let words: Vec<_> = (1..usize::try_from(count).unwrap_or(0)).map(word).collect();
    // Flushes what was printed.
    exit(run(&words, begun))
}

/// A whole invocation; its exit status.
fn run(words: &[String], begun: SystemTime) -> c_int {
    let invocation = match cli::parse(words) {
        Ok(Parsed::Run(invocation)) => invocation,
        Ok(Parsed::Print(text)) => {
            print!("{text}");
            return 0;
        }
        Err(cli::Misuse { message, help }) => {
            println!("Incorrect Usage: {message}\n\n{help}");
            Log::default().error(&cmd::Failure::plain(message));
            return 1;
        }
    };
    // Before anything of ours is opened and takes a number.
    let preserved = cmd::preserved(&invocation);
    let log = match Log::open(&invocation) {
        Ok(log) => log,
        Err(error) => {
            Log::default().error(&error);
            return 1;
        }
    };
    match preserved.and_then(|fds| cmd::run(&invocation, &log, fds, begun)) {
        Ok(status) => status,
        Err(error) => {
            log.error(&error);
            error.status
        }
    }
}
