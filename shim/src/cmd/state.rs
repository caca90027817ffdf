//! `state`.

use super::Outcome;
use crate::cli::Invocation;
use longshore::Runtime;

pub(crate) fn state(runtime: &Runtime, invocation: &Invocation) -> Outcome {
    println!("{}", runtime.open(invocation.id())?.state()?.to_json());
    Ok(0)
}
