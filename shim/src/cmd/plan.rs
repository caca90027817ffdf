//! `plan`.

use super::{Failure, Outcome, Preserved, create};
use crate::cli::Invocation;
use crate::log::Log;
use longshore::Runtime;

pub(crate) fn plan(
    runtime: &Runtime,
    invocation: &Invocation,
    log: &Log,
    preserved: Preserved,
) -> Outcome {
    let mut builder = create::builder(runtime, invocation, preserved)?;
    // A plan connects to nothing: if the config asks for a terminal, there will be somebody to take it.
    builder = builder.pty_if_asked();
    let plan = builder.plan()?;
    plan.warnings()
        .iter()
        .for_each(|warning| log.warning(warning));
    match invocation.get("format").unwrap_or("text") {
        "text" => print!("{plan}"),
        "json" => println!("{}", plan.to_json()),
        other => return Err(Failure::plain(format!("invalid format {other:?}"))),
    }
    Ok(0)
}
