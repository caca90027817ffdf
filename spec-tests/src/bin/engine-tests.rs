//! `engine-tests --runtime PATH`.

use std::process::ExitCode;

fn main() -> ExitCode {
    longshore_spec_tests::engines()
}
