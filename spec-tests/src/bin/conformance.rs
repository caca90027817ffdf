//! `conformance --runtime NAME=PATH... --output FILE`.

use std::process::ExitCode;

fn main() -> ExitCode {
    longshore_spec_tests::compare()
}
