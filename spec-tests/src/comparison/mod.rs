//! The program `conformance`: examines several runtimes with `spec-tests` and writes one table.
//!
//! `examine` calls the programs, `cells` judges a requirement by its tests, `report` writes. The last two are pure.

mod cells;
mod examine;
mod report;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::prelude::*;

const HELP: &str = "\
conformance --runtime NAME=PATH... [OPTION...]     (as root)
    --runtime NAME=PATH    a runtime that speaks the commands of runc; may be repeated
    --output FILE          where the report goes; standard output if absent
    --results DIR          keep what spec-tests wrote, an object per line
It runs the program spec-tests that lies beside it, once for each cgroup layout in which the runtime works.";

struct Options {
    runtimes: Vec<(String, PathBuf)>,
    output: Option<PathBuf>,
    results: Option<PathBuf>,
}

/// Parses the arguments, examines the runtimes and writes the report.
pub(crate) fn run() -> ExitCode {
    match parse()
        .map_err(|error| error.to_string())
        .and_then(|options| compare(&options))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn parse() -> Result<Options, lexopt::Error> {
    let mut options = Options {
        runtimes: Vec::new(),
        output: None,
        results: None,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("runtime") => {
                let runtime = parser.value()?.parse_with(|word| {
                    let (name, path) = word.split_once('=').ok_or("not NAME=PATH")?;
                    Ok::<_, &str>((name.to_owned(), path.into()))
                })?;
                options.runtimes.push(runtime);
            }
            Long("output") => options.output = Some(parser.value()?.into()),
            Long("results") => options.results = Some(parser.value()?.into()),
            _ => return Err(format!("{}\n{HELP}", arg.unexpected()).into()),
        }
    }
    if options.runtimes.is_empty() {
        return Err(HELP.into());
    }
    Ok(options)
}

fn compare(options: &Options) -> Result<(), String> {
    let mut examined = Vec::new();
    for (name, path) in &options.runtimes {
        let found = examine::examine(name, path, options.results.as_deref());
        examined.push(found.map_err(|error| format!("{name}: {error}"))?);
    }
    let text = report::write(&examined);
    match &options.output {
        None => print!("{text}"),
        Some(path) => {
            fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
            let suites = examined.iter().flat_map(|runtime| &runtime.suites);
            suites.for_each(|line| println!("{line}"));
        }
    }
    Ok(())
}
