//! `pause`, `resume` and `ps`.

use super::{Failure, Outcome};
use crate::cli::Invocation;
use longshore::Runtime;
use std::process::Command;

pub(crate) fn pause(runtime: &Runtime, invocation: &Invocation) -> Outcome {
    runtime.open(invocation.id())?.pause()?;
    Ok(0)
}

pub(crate) fn resume(runtime: &Runtime, invocation: &Invocation) -> Outcome {
    runtime.open(invocation.id())?.resume()?;
    Ok(0)
}

pub(crate) fn ps(runtime: &Runtime, invocation: &Invocation) -> Outcome {
    let pids = runtime.open(invocation.id())?.processes()?;
    match invocation.get("format").unwrap_or("table") {
        "json" if pids.is_empty() => println!("null"),
        "json" => println!("{}", serde_json::json!(pids)),
        "table" => table(&pids, &invocation.words[1..])?,
        other => return Err(Failure::plain(format!("invalid format {other:?}"))),
    }
    Ok(0)
}

/// The header of the host's ps(1), and its lines about these processes.
fn table(pids: &[i32], arguments: &[String]) -> Result<(), Failure> {
    let arguments = match arguments {
        [] => &["-ef".to_owned()],
        given => given,
    };
    let output = Command::new("ps")
        .args(arguments)
        .output()
        .map_err(|error| Failure::plain(format!("cannot run ps: {error}")))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Failure::plain(format!("ps: {complaint}")));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let column = header.split_whitespace().position(|name| name == "PID");
    let column = column.ok_or_else(|| Failure::plain("ps: no PID column in its output"))?;
    println!("{header}");
    for line in lines {
        let pid = line.split_whitespace().nth(column).unwrap_or_default();
        // Blanks in a column before it, as with `-o args,pid`.
        let pid: i32 = pid
            .parse()
            .map_err(|_| Failure::plain(format!("ps: unexpected pid {pid:?}")))?;
        if pids.contains(&pid) {
            println!("{line}");
        }
    }
    Ok(())
}
