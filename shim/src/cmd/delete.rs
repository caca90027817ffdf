//! `delete`.

use super::Outcome;
use crate::cli::Invocation;
use crate::log::Log;
use longshore::Runtime;

pub(crate) fn delete(runtime: &Runtime, invocation: &Invocation, log: &Log) -> Outcome {
    let warnings = if invocation.has("force") {
        runtime.force_delete(invocation.id())?
    } else {
        runtime.open(invocation.id())?.delete()?
    };
    log.warnings(&warnings);
    Ok(0)
}
