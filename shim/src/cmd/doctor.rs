//! `doctor`.

use super::{Failure, Outcome};
use crate::cli::Invocation;
use longshore::Runtime;
use serde_json::json;

/// 1 if this host runs no container at all.
pub(crate) fn doctor(runtime: &Runtime, invocation: &Invocation) -> Outcome {
    let format = invocation.get("format").unwrap_or("text");
    if !["text", "json"].contains(&format) {
        return Err(Failure::plain(format!("invalid format {format:?}")));
    }
    let findings = runtime.doctor()?;
    if format == "json" {
        let object = |finding: &longshore::Finding| json!({ "id": finding.id, "able": finding.able, "detail": finding.detail });
        println!(
            "{}",
            json!({ "findings": findings.iter().map(object).collect::<Vec<_>>() })
        );
    } else {
        for finding in &findings {
            let able = if finding.able { "yes" } else { "no" };
            let line = format!("{able:<4}{:<34}{}", finding.id, finding.detail);
            println!("{}", line.trim_end());
        }
    }
    Ok(i32::from(!findings.iter().any(|finding| finding.able)))
}
