//! Calls of the runtime under strace(1), and what it wrote.

use std::fs;
use std::path::Path;

use crate::runtime::Call;
use crate::scene::Scene;
use crate::suite::{Check, Stop};

const PROGRAM: &str = "/usr/bin/strace";

/// The same call under strace, with its options.
pub(crate) fn traced(mut call: Call, options: &[&str]) -> Check<Call> {
    if !Path::new(PROGRAM).exists() {
        return Err(Stop::Skip("needs strace".to_owned()));
    }
    let mut args: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
    args.push(call.program.display().to_string());
    args.append(&mut call.args);
    Ok(Call {
        program: PROGRAM.into(),
        args,
        ..call
    })
}

/// strace of a process that is there already, and of all that it makes.
pub(crate) fn attached(scene: &Scene<'_>, pid: i32, prefix: &str) -> Check<Call> {
    let mut call = traced(scene.call(&[]), &["-ff", "-o", prefix, "-p"])?;
    call.args.truncate(4);
    call.args.push(pid.to_string());
    Ok(call)
}

/// The lines of each process, of a call with `-ff -o PREFIX`.
pub(crate) fn lines(scene: &Scene<'_>, prefix: &str) -> Check<Vec<Vec<String>>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(&scene.dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(&format!("{prefix}.")) {
            let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
            all.push(text.lines().map(str::to_owned).collect());
        }
    }
    Ok(all)
}

/// Whether the line is the installation of a filter, by either of the two calls for it.
pub(crate) fn is_filter(line: &str) -> bool {
    const CALLS: [&str; 2] = [
        "seccomp(SECCOMP_SET_MODE_FILTER",
        "prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER",
    ];
    line.ends_with("= 0") && CALLS.iter().any(|call| line.starts_with(call))
}
