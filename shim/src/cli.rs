//! The command line, as one table: parsing and help both read it.

mod commands;
mod completion;
mod manual;
mod update;

use commands::{COMMANDS, Command, Flag, GLOBAL, HELP};
pub(crate) use completion::script as completion;
pub(crate) use manual::page as manual;
use std::collections::BTreeMap;
pub(crate) use update::{Property, UPDATES};

/// The values of each option, in the order they were given.
type Options = BTreeMap<&'static str, Vec<String>>;

/// A command line that was understood.
#[derive(Debug, Default)]
pub(crate) struct Invocation {
    pub(crate) command: &'static str,
    /// Global and command options by name; a switch has an empty value.
    options: Options,
    pub(crate) words: Vec<String>,
}

impl Invocation {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).last().map(String::as_str)
    }

    /// All values of an option that may be repeated.
    pub(crate) fn all(&self, name: &str) -> &[String] {
        self.options.get(name).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.options.contains_key(name)
    }

    /// The container's id.
    pub(crate) fn id(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Parsed {
    Run(Invocation),
    Print(String),
}

/// A command line that was not understood, and the help that may help.
#[derive(Debug)]
pub(crate) struct Misuse {
    pub(crate) message: String,
    pub(crate) help: String,
}

pub(crate) fn parse(words: &[String]) -> Result<Parsed, Misuse> {
    let misuse = |message: String, command: Option<&Command>| Misuse {
        message,
        help: command.map_or_else(help, command_help),
    };
    let mut invocation = Invocation::default();
    let mut rest =
        flags(words, GLOBAL, &mut invocation.options).map_err(|message| misuse(message, None))?;
    if invocation.has("version") {
        return Ok(Parsed::Print(version()));
    }
    let Some(name) = rest.first().filter(|_| !invocation.has("help")) else {
        return Ok(Parsed::Print(help()));
    };
    if name == "help" {
        return Ok(Parsed::Print(
            rest.get(1)
                .and_then(|name| find(name))
                .map_or_else(help, command_help),
        ));
    }
    let command = find(name).ok_or_else(|| misuse(format!("no such command: {name}"), None))?;
    invocation.command = command.name;
    rest = rest[1..].to_vec();
    // Go's flags may follow the first word, but for commands whose words may look like flags.
    while !rest.is_empty() {
        let before = rest.len();
        rest = flags(&rest, command.flags, &mut invocation.options)
            .map_err(|message| misuse(message, Some(command)))?;
        if command.verbatim {
            invocation.words = std::mem::take(&mut rest);
        } else if rest.len() == before {
            invocation.words.push(rest.remove(0));
        }
    }
    if invocation.has("help") {
        return Ok(Parsed::Print(command_help(command)));
    }
    let (least, most) = command.count;
    if !(least..=most).contains(&invocation.words.len()) {
        let message = format!(
            "{}: {:?} requires {}",
            command.name,
            invocation.words,
            wanted(least, most)
        );
        return Err(misuse(message, Some(command)));
    }
    Ok(Parsed::Run(invocation))
}

fn wanted(least: usize, most: usize) -> String {
    if most == usize::MAX {
        format!("{least} or more arguments")
    } else {
        format!("{least} to {most} arguments")
    }
}

fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

/// Takes flags off the front; returns what follows them.
fn flags(words: &[String], known: &[Flag], options: &mut Options) -> Result<Vec<String>, String> {
    let mut words = words.iter();
    while let Some(word) = words.as_slice().first() {
        if !word.starts_with('-') || word == "-" {
            break;
        }
        words.next();
        if word == "--" {
            break;
        }
        // As in Go, one dash is as good as two.
        let bare = word.trim_start_matches('-');
        let (name, inline) = bare
            .split_once('=')
            .map_or((bare, None), |(name, value)| (name, Some(value)));
        let flag = known.iter().chain([&HELP]).find(|flag| {
            flag.name == name || flag.short.is_some_and(|short| name.chars().eq([short]))
        });
        let flag = flag.ok_or_else(|| format!("flag provided but not defined: -{name}"))?;
        let value = match (flag.value, inline) {
            (None, None | Some("true")) => String::new(),
            (None, Some("false")) => continue,
            (None, Some(value)) => {
                return Err(format!("invalid boolean value {value:?} for -{name}"));
            }
            (Some(_), Some(value)) => value.to_owned(),
            (Some(_), None) => words
                .next()
                .cloned()
                .ok_or_else(|| format!("flag needs an argument: -{name}"))?,
        };
        options.entry(flag.name).or_default().push(value);
    }
    Ok(words.as_slice().to_vec())
}

/// runc's lines: engines parse the first three.
fn version() -> String {
    format!(
        "longshore version {}\ncommit: {}\nspec: {}\n",
        env!("CARGO_PKG_VERSION"),
        env!("LONGSHORE_COMMIT"),
        longshore::SPEC_VERSION
    )
}

fn flag_lines(flags: &[Flag]) -> String {
    let line = |flag: &Flag| {
        let short = flag
            .short
            .map(|short| format!(", -{short}"))
            .unwrap_or_default();
        let value = flag
            .value
            .map(|value| format!(" {value}"))
            .unwrap_or_default();
        format!(
            "   {:<28} {}\n",
            format!("--{}{short}{value}", flag.name),
            flag.help
        )
    };
    let shown = flags.iter().filter(|flag| !flag.help.is_empty());
    shown.map(line).collect()
}

fn help() -> String {
    let commands: String = COMMANDS
        .iter()
        .map(|command| format!("   {:<10} {}\n", command.name, command.help))
        .collect();
    format!(
        "NAME:\n   longshore - an OCI container runtime\n\nUSAGE:\n   longshore [global options] command [command options] [arguments...]\n\nCOMMANDS:\n{commands}\nGLOBAL OPTIONS:\n{}",
        flag_lines(GLOBAL)
    )
}

fn command_help(command: &Command) -> String {
    let (name, arguments, help) = (command.name, command.arguments, command.help);
    format!(
        "NAME:\n   longshore {name} - {help}\n\nUSAGE:\n   longshore {name} [command options] {arguments}\n\nOPTIONS:\n{}{}",
        flag_lines(command.flags),
        flag_lines(&[HELP])
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Result<Invocation, String> {
        match parse(
            &line
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        ) {
            Ok(Parsed::Run(invocation)) => Ok(invocation),
            Ok(Parsed::Print(text)) => Err(text),
            Err(misuse) => Err(misuse.message),
        }
    }

    #[test]
    fn engines_lines_are_understood() {
        let create = run("--root /r --log /l --log-format json create --bundle /b --pid-file /b/pid -no-pivot c1").unwrap();
        assert_eq!(
            (create.command, create.id(), create.get("bundle")),
            ("create", "c1", Some("/b"))
        );
        assert!(create.has("no-pivot"));
        assert_eq!(create.get("log-format"), Some("json"));
        assert_eq!(
            run("--log-format=json delete --force c1")
                .unwrap()
                .get("log-format"),
            Some("json")
        );
        let update = run("update --resources - c1").unwrap();
        assert_eq!((update.get("resources"), update.id()), (Some("-"), "c1"));
        let update = run("update --memory -1 --kernel-memory=5 c1").unwrap();
        assert_eq!((update.get("memory"), update.id()), (Some("-1"), "c1"));
        assert_eq!(
            run("events --interval=5s c1").unwrap().get("interval"),
            Some("5s")
        );
        assert_eq!(run("kill c1 9").unwrap().words, ["c1", "9"]);
        assert!(run("delete c1 --force").unwrap().has("force"));
        let exec = run("exec -t --env A=1 -e B=2 --user 1:2 c1 ls -l --all").unwrap();
        assert_eq!(exec.words, ["c1", "ls", "-l", "--all"]);
        assert_eq!(exec.all("env"), ["A=1", "B=2"]);
        assert!(exec.has("tty") && !exec.has("detach"));
    }

    #[test]
    fn misuse_is_named() {
        assert!(run("create").unwrap_err().contains("requires"));
        assert!(
            run("create --bundle")
                .unwrap_err()
                .contains("needs an argument")
        );
        assert!(run("state --nope c").unwrap_err().contains("not defined"));
        assert!(run("fly").unwrap_err().contains("no such command"));
        assert!(
            run("--version")
                .unwrap_err()
                .starts_with("longshore version ")
        );
        assert!(run("run --help").unwrap_err().contains("--detach"));
        let help = run("update --help").unwrap_err();
        assert!(help.contains("--resources, -r FILE") && !help.contains("kernel-memory"));
    }
}
