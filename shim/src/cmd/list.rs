//! `list`.

use super::{Failure, Outcome};
use crate::cli::Invocation;
use crate::log::Log;
use longshore::{Runtime, State};

pub(crate) fn list(runtime: &Runtime, invocation: &Invocation, log: &Log) -> Outcome {
    // A missing default root is an empty one; a missing explicit one is a mistake.
    if let Some(root) = invocation
        .get("root")
        .filter(|root| !std::path::Path::new(root).is_dir())
    {
        return Err(Failure::plain(format!(
            "open {root}: no such file or directory"
        )));
    }
    let (states, broken) = runtime.list_all()?;
    broken
        .iter()
        .for_each(|error| log.warning(&error.to_string()));
    if invocation.has("quiet") {
        states.iter().for_each(|state| println!("{}", state.id()));
        return Ok(0);
    }
    match invocation.get("format").unwrap_or("table") {
        "table" => table(&states),
        "json" if states.is_empty() => println!("null"),
        "json" => {
            let lines: Vec<_> = states
                .iter()
                .map(|state| state.to_json_line(&owner(state)))
                .collect();
            println!("[{}]", lines.join(","));
        }
        other => return Err(Failure::plain(format!("invalid format {other:?}"))),
    }
    Ok(0)
}

/// By the file alone: libc's own look-up loads modules, which a static program can't.
fn owner(state: &State) -> String {
    let uid = state.owner();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| format!("#{uid}"))
}

fn table(states: &[State]) {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows = states.iter().map(|state| {
        let pid = state.pid().unwrap_or(0).to_string();
        [
            state.id().to_owned(),
            pid,
            state.status().to_string(),
            state.bundle().to_owned(),
            state.created().to_owned(),
            owner(state),
        ]
    });
    let rows: Vec<[String; 6]> = std::iter::once(header).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0) + 3;
    for row in &rows {
        let cells: String = row
            .iter()
            .enumerate()
            .map(|(column, cell)| format!("{cell:<0$}", width(column).max(12)))
            .collect();
        println!("{}", cells.trim_end());
    }
}
