//! Manual pages, from the table of commands. man(7)

use super::commands::{COMMANDS, Command, Flag};
use super::completion::options;
use super::find;
use std::fmt::Write;

/// longshore(8), or the page of a command.
pub(crate) fn page(command: Option<&str>) -> Option<String> {
    match command {
        None => Some(program()),
        Some(name) => find(name).map(of_command),
    }
}

/// troff takes a dash for a hyphen, a backslash for its own, and a dot at the begin of a line for a request.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', r"\e").replace('-', r"\-");
    match text.starts_with(['.', '\'']) {
        true => format!(r"\&{text}"),
        false => text,
    }
}

fn head(name: &str, help: &str) -> String {
    let (title, name, help) = (name.to_uppercase(), escaped(name), escaped(help));
    let version = env!("CARGO_PKG_VERSION");
    format!(
        ".TH {title} 8 \"\" \"longshore {version}\" \"System Administration\"\n.SH NAME\n{name} \\- {help}\n.SH SYNOPSIS\n"
    )
}

fn program() -> String {
    let mut out = head(
        "longshore",
        "run containers, after the OCI runtime specification",
    );
    out.push_str(".B longshore\n[\\fIglobal options\\fR] \\fIcommand\\fR [\\fIcommand options\\fR] [\\fIarguments\\fR...]\n");
    out.push_str(".SH DESCRIPTION\nRuns the container that a bundle describes: a directory with a root filesystem and a config.json. Its command line is that of runc(8), so that engines call it in place of that one. Each command has a page of its own.\n.SH COMMANDS\n");
    for command in COMMANDS {
        let (name, help) = (escaped(command.name), escaped(command.help));
        let _ = writeln!(out, ".TP\n\\fBlongshore\\-{name}\\fR(8)\n{help}"); // a String takes all
    }
    out.push_str(".SH GLOBAL OPTIONS\n");
    out.extend(options(None).into_iter().map(option));
    out.push_str(".SH EXIT STATUS\n0, or 1 after an error, which is one line on standard error or in the log. \\fBrun\\fR, \\fBrestore\\fR, \\fBexec\\fR and \\fBwait\\fR have the status of the process, 128 and the number of the signal that ended it; an error of \\fBexec\\fR itself is 255.\n.SH SEE ALSO\n.BR runc (8)\n");
    out
}

fn of_command(command: &'static Command) -> String {
    let name = format!("longshore-{}", command.name);
    let mut out = head(&name, command.help);
    let (word, arguments) = (escaped(command.name), escaped(command.arguments));
    let _ = writeln!(
        out,
        ".B longshore {word}\n[\\fIoptions\\fR] {arguments}\n.SH OPTIONS"
    ); // a String takes all
    out.extend(options(Some(command)).into_iter().map(option));
    out.push_str(".SH SEE ALSO\n.BR longshore (8)\n");
    out
}

fn option(flag: &Flag) -> String {
    let short = flag.short.map(|short| format!(", \\fB\\-{short}\\fR"));
    let value = flag
        .value
        .map(|value| format!(" \\fI{}\\fR", escaped(value)));
    format!(
        ".TP\n\\fB\\-\\-{}\\fR{}{}\n{}\n",
        escaped(flag.name),
        short.unwrap_or_default(),
        value.unwrap_or_default(),
        escaped(flag.help)
    )
}
