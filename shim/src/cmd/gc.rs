//! `gc`.

use super::Outcome;
use crate::cli::Invocation;
use crate::log::Log;
use longshore::Runtime;

/// Says what goes, or what would.
pub(crate) fn gc(runtime: &Runtime, invocation: &Invocation, log: &Log) -> Outcome {
    for garbage in runtime.garbage()? {
        if invocation.has("dry-run") || runtime.remove_garbage(&garbage)? {
            println!("{garbage}");
        } else {
            log.warning(&format!("left alone, it is in use: {garbage}"));
        }
    }
    Ok(0)
}
