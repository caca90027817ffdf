//! `check`.

use super::{Failure, Outcome, Preserved, create};
use crate::cli::Invocation;
use longshore::{Problem, Runtime, Severity};

pub(crate) fn check(runtime: &Runtime, invocation: &Invocation) -> Outcome {
    // If the config asks for a terminal, there will be somebody to take it.
    let builder = create::builder(runtime, invocation, Preserved::default())?.pty_if_asked();
    let problems = builder.check();
    match invocation.get("format").unwrap_or("text") {
        "text" => problems.iter().for_each(|problem| println!("{problem}")),
        "json" => {
            let objects: Vec<_> = problems.iter().map(Problem::to_json).collect();
            println!("{{\"problems\":[{}]}}", objects.join(","));
        }
        other => return Err(Failure::plain(format!("invalid format {other:?}"))),
    }
    let error = |problem: &Problem| problem.severity == Severity::Error;
    Ok(i32::from(problems.iter().any(error)))
}
