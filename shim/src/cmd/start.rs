//! `start`.

use super::{Failure, Outcome};
use crate::cli::Invocation;
use longshore::Runtime;

pub(crate) fn start(runtime: &Runtime, invocation: &Invocation) -> Outcome {
    runtime
        .open(invocation.id())?
        .start()
        .map_err(Failure::from)?;
    Ok(0)
}
