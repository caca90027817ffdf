//! The `longshore` command: runc's command line over the longshore library.
//!
//! Parse, one library call, print. No container logic is here (invariant 8).

#![allow(clippy::exit, clippy::disallowed_methods)] // a command's last act

mod cli;
mod cmd;
mod log;

use cli::Parsed;
use log::Log;
use std::process::exit;

fn main() {
    let words = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>();
    match cli::parse(&words) {
        Ok(Parsed::Run(invocation)) => {
            // Before anything of ours is opened and takes a number.
            let preserved = cmd::preserved(&invocation);
            let log = match Log::open(&invocation) {
                Ok(log) => log,
                Err(error) => {
                    Log::default().error(&error);
                    exit(1);
                }
            };
            match preserved.and_then(|fds| cmd::run(&invocation, &log, fds)) {
                Ok(status) => exit(status),
                Err(error) => {
                    log.error(&error);
                    exit(1);
                }
            }
        }
        Ok(Parsed::Print(text)) => print!("{text}"),
        Err(cli::Misuse { message, help }) => {
            println!("Incorrect Usage: {message}\n\n{help}");
            Log::default().error(&cmd::Failure::plain(message));
            exit(1);
        }
    }
}
