//! What a text search can hold: invariant 1 (config and plan do no I/O), where
//! unsafe may be, nothing that prints, sizes, headers, and that each invariant
//! of ARCHITECTURE.md names a test that exists.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// A source file: its path below the package, its lines of code without comments and unit tests.
struct Source {
    path: String,
    text: String,
    code: Vec<(usize, String)>,
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn sources(directories: &[&str]) -> Vec<Source> {
    let mut files = Vec::new();
    directories
        .iter()
        .for_each(|directory| rust_files(&package().join(directory), &mut files));
    files.sort();
    assert!(!files.is_empty());
    files
        .iter()
        .map(|file| {
            Source::new(
                file.strip_prefix(package()).unwrap().to_str().unwrap(),
                fs::read_to_string(file).unwrap(),
            )
        })
        .collect()
}

impl Source {
    fn new(path: &str, text: String) -> Source {
        // Unit tests sit at the foot of a file, or in a file of their own.
        let tests = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
        let lines = text[..tests].lines().enumerate();
        let code = lines
            .map(|(number, line)| {
                (
                    number + 1,
                    line.split("//").next().unwrap_or_default().to_owned(),
                )
            })
            .collect();
        Source {
            path: path.to_owned(),
            text,
            code,
        }
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs")
    }

    /// `path:line: code` where one of the words is.
    fn find(&self, words: &[&str]) -> Vec<String> {
        let hits = self
            .code
            .iter()
            .filter(|(_, line)| words.iter().any(|word| contains(line, word)));
        hits.map(|(number, line)| format!("{}:{number}: {}", self.path, line.trim()))
            .collect()
    }
}

/// The word, and not the tail of a longer one.
fn contains(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
    })
}

fn none(found: Vec<String>) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

const IMPURE: &[&str] = &[
    "std::fs",
    "std::process",
    "std::env",
    "std::net",
    "std::thread",
    "std::time",
    "fs::",
    "env::",
    "nix::",
    "libc::syscall",
    "File::",
    "crate::sys::",
    "crate::sys;",
    "systemd::Manager",
    "systemd::Started",
    "super::bus",
    "Command::new",
];

#[test]
fn config_and_plan_do_no_io() {
    // Of the systemd driver the plan uses what only reckons.
    let mut pure = sources(&["src/config", "src/plan", "src/systemd"]);
    let talks = ["src/systemd/mod.rs", "src/systemd/bus.rs"];
    pure.retain(|source| !talks.contains(&source.path.as_str()));
    none(
        pure.iter()
            .filter(|source| !source.is_test())
            .flat_map(|source| source.find(IMPURE))
            .collect(),
    );
    for module in ["src/config/mod.rs", "src/plan/mod.rs"] {
        let source = pure.iter().find(|source| source.path == module).unwrap();
        assert!(source.text.contains("#![forbid(unsafe_code)]"), "{module}");
    }
}

#[test]
fn unsafe_stays_in_its_rooms() {
    let allowed = |path: &str| path.starts_with("src/sys/") || path == "src/launch/spawn.rs";
    let all = sources(&["src"]);
    none(
        all.iter()
            .filter(|source| !allowed(&source.path) && !source.is_test())
            .flat_map(|source| {
                source.find(&["unsafe {", "unsafe fn", "unsafe impl", "allow(unsafe_code)"])
            })
            .collect(),
    );
    assert!(
        fs::read_to_string(package().join("src/lib.rs"))
            .unwrap()
            .contains("#![deny(unsafe_code)]")
    );
}

#[test]
fn nothing_is_left_unfinished_or_printed() {
    let words = [
        "todo!",
        "unimplemented!",
        "dbg!",
        "println!",
        "eprintln!",
        "print!",
        "eprint!",
        "process::exit",
    ];
    none(
        sources(&["src", "init"])
            .iter()
            .filter(|source| !source.is_test())
            .flat_map(|source| source.find(&words))
            .collect(),
    );
}

#[test]
fn files_say_what_they_are_and_stay_small() {
    for source in sources(&["src", "init", "tests", "examples"]) {
        assert!(
            source.text.starts_with("//!"),
            "{} has no header",
            source.path
        );
        let lines = source.text.lines().count();
        // A table: one small function a system call.
        let most = if source.path == "init/sys.rs" {
            1200
        } else {
            600
        };
        assert!(lines < most, "{} has {lines} lines", source.path);
    }
}

/// Each numbered line of the section has a test in backticks, as `file.rs` or `function_name`.
#[test]
fn invariants_name_their_tests() {
    let Ok(architecture) = fs::read_to_string(package().join("../ARCHITECTURE.md")) else {
        println!("skipped: no ARCHITECTURE.md");
        return;
    };
    let Some((_, section)) = architecture.split_once("# Invariants") else {
        panic!("ARCHITECTURE.md has no section \"Invariants\"")
    };
    let section = section.split("\n#").next().unwrap();
    let mut everything = sources(&["src", "init", "tests"]);
    everything.extend(
        ["../shim", "../spec-tests"]
            .iter()
            .filter(|room| package().join(room).exists())
            .flat_map(|room| {
                let mut files = Vec::new();
                rust_files(&package().join(room), &mut files);
                files.into_iter().map(|file| {
                    Source::new(file.to_str().unwrap(), fs::read_to_string(&file).unwrap())
                })
            }),
    );
    let exists = |name: &str| {
        everything.iter().any(|source| {
            source.path.ends_with(name) || source.text.contains(&format!("fn {name}("))
        })
    };
    let items: Vec<_> = section
        .split("\n")
        .fold(Vec::<String>::new(), |mut items, line| {
            if line
                .trim_start()
                .starts_with(|first: char| first.is_ascii_digit())
            {
                items.push(line.to_owned());
            } else if let Some(last) = items.last_mut() {
                last.push_str(line);
            }
            items
        });
    assert!(items.len() >= 10, "{} invariants", items.len());
    for item in items {
        let names: Vec<_> = item
            .split('`')
            .skip(1)
            .step_by(2)
            .map(|name| name.rsplit("::").next().unwrap_or(name))
            .collect();
        assert!(
            names.iter().any(|name| exists(name)),
            "no test that exists is named: {item}"
        );
    }
}

#[test]
fn control_the_search_finds() {
    let dirty = "//! x\nuse std::fs;\n// std::process is only mentioned\nlet a = unsafe { b };\n#[cfg(test)]\nmod tests {\n std::env }\n";
    let source = Source::new("src/plan/x.rs", dirty.to_owned());
    assert_eq!(source.find(IMPURE), ["src/plan/x.rs:2: use std::fs;"]);
    assert_eq!(source.find(&["unsafe {"]).len(), 1);
    assert!(!contains("offs::x", "fs::"));
}
