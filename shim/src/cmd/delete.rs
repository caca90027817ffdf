//! `delete`.

use super::Outcome;
use crate::cli::Invocation;
use longshore::Runtime;

pub(crate) fn delete(runtime: &Runtime, invocation: &Invocation) -> Outcome {
    if invocation.has("force") {
        runtime.force_delete(invocation.id())?;
    } else {
        runtime.open(invocation.id())?.delete()?;
    }
    Ok(0)
}
