//! Completions for shells, from the table of commands.

use super::commands::{COMMANDS, Command, Flag, GLOBAL, HELP};
use std::fmt::Write;

/// What completes a word of a command line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Container,
    File,
    Directory,
    Anything,
}

/// By what the help calls it.
fn kind(word: &str) -> Kind {
    match word.split([' ', '[']).next().unwrap_or_default() {
        "ID" => Kind::Container,
        "FILE" | "PATH" => Kind::File,
        "DIR" => Kind::Directory,
        _ => Kind::Anything,
    }
}

/// The options that are shown: the program's own, or a command's.
pub(super) fn options(command: Option<&'static Command>) -> Vec<&'static Flag> {
    let (flags, more) = match command {
        None => (GLOBAL, None),
        Some(command) => (command.flags, Some(&HELP)),
    };
    let shown = flags.iter().filter(|flag| !flag.help.is_empty());
    shown.chain(more).collect()
}

fn words(flag: &Flag) -> Vec<String> {
    let long = format!("--{}", flag.name);
    let short = flag.short.map(|short| format!("-{short}"));
    [long].into_iter().chain(short).collect()
}

/// A script for `bash`, `zsh` or `fish`.
pub(crate) fn script(shell: &str) -> Option<String> {
    match shell {
        "bash" => Some(bash()),
        "zsh" => Some(zsh()),
        "fish" => Some(fish()),
        _ => None,
    }
}

/// The options of that kind, as a pattern of `case`.
fn pattern(flags: &[&Flag], kinds: &[Kind]) -> Option<String> {
    let of_kind = |flag: &&&Flag| flag.value.is_some_and(|value| kinds.contains(&kind(value)));
    let words = flags.iter().filter(of_kind).flat_map(|flag| words(flag));
    let words: Vec<_> = words.collect();
    (!words.is_empty()).then(|| words.join(" | "))
}

fn list(flags: &[&Flag]) -> String {
    let words: Vec<_> = flags.iter().flat_map(|flag| words(flag)).collect();
    words.join(" ")
}

fn bash() -> String {
    let global = options(None);
    let every = [Kind::Container, Kind::File, Kind::Directory, Kind::Anything];
    let mut out = format!(
        r#"# bash completion for longshore
_longshore() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}}
    local command= options= values= root=() i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${{COMP_WORDS[i]}} in
        --root) root=(--root "${{COMP_WORDS[i + 1]}}") && ((i++)) ;;
        {globals}) ((i++)) ;;
        -*) ;;
        *)
            command=${{COMP_WORDS[i]}}
            break
            ;;
        esac
    done
    COMPREPLY=()
    case $command in
    "")
        options="{options} {commands}"
        case $previous in
{values}        esac
        ;;
"#,
        globals = pattern(&global, &every).unwrap_or_default(),
        options = list(&global),
        commands = names().join(" "),
        values = values(&global),
    );
    for command in COMMANDS {
        let flags = options(Some(command));
        let _ = writeln!(
            out,
            "    {})\n        options=\"{}\"\n        case $previous in\n{}        esac",
            command.name,
            list(&flags),
            values(&flags)
        ); // a String takes all
        if kind(command.arguments) == Kind::Container {
            out.push_str(
                "        [ -n \"$values\" ] || [[ $current == -* ]] || values=container\n",
            );
        }
        out.push_str("        ;;\n");
    }
    out.push_str(
        r#"    esac
    case $values in
    file) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    directory) mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
    container) mapfile -t COMPREPLY < <(compgen -W "$(longshore "${root[@]}" list --quiet 2>/dev/null)" -- "$current") ;;
    none) ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current") ;;
    esac
}
complete -o filenames -F _longshore longshore
"#,
    );
    out
}

/// The lines of `case $previous` that say what a value is.
fn values(flags: &[&Flag]) -> String {
    let kinds = [
        (Kind::File, "file"),
        (Kind::Directory, "directory"),
        (Kind::Anything, "none"),
    ];
    let line = |(kind, word): (Kind, &str)| {
        let pattern = pattern(flags, &[kind])?;
        Some(format!("        {pattern}) values={word} ;;\n"))
    };
    kinds.into_iter().filter_map(line).collect()
}

fn names() -> Vec<&'static str> {
    COMMANDS.iter().map(|command| command.name).collect()
}

/// In single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn zsh() -> String {
    let mut out = String::from(
        "#compdef longshore\n_longshore_containers() {\n    local -a ids=(${(f)\"$(longshore list --quiet 2>/dev/null)\"})\n    compadd -a ids\n}\n_longshore() {\n    local line state\n    _arguments -C \\\n",
    );
    out.push_str(&arguments(None, "        "));
    out.push_str("        '1: :->command' '*:: :->rest'\n    case $state in\n    command)\n        local -a commands=(\n");
    for command in COMMANDS {
        let _ = writeln!(
            out,
            "            {}",
            quoted(&format!("{}:{}", command.name, command.help))
        ); // a String takes all
    }
    out.push_str("        )\n        _describe command commands\n        ;;\n    rest)\n        case $words[1] in\n");
    for command in COMMANDS {
        let first = match kind(command.arguments) {
            Kind::Container => "'1:container:_longshore_containers' '*:argument:_default'",
            _ => "'*:argument:_default'",
        };
        let _ = writeln!(
            out,
            "        {})\n            _arguments \\\n{}                {first}\n            ;;",
            command.name,
            arguments(Some(command), "                ")
        ); // a String takes all
    }
    out.push_str("        esac\n        ;;\n    esac\n}\n_longshore \"$@\"\n");
    out
}

/// A line for each word of an option.
fn arguments(command: Option<&'static Command>, indent: &str) -> String {
    let line = |flag: &'static Flag| {
        let value = flag.value.map(|value| {
            let what = match kind(value) {
                Kind::File => "_files",
                Kind::Directory => "_files -/",
                _ => " ",
            };
            format!(":{}:{what}", value.replace(':', r"\:"))
        });
        let help = flag
            .help
            .replace('[', r"\[")
            .replace(']', r"\]")
            .replace(':', r"\:");
        let of_word = move |word: String| {
            let text = format!("*{word}[{help}]{}", value.clone().unwrap_or_default());
            format!("{indent}{} \\\n", quoted(&text))
        };
        words(flag).into_iter().map(of_word).collect::<String>()
    };
    options(command).into_iter().map(line).collect()
}

fn fish() -> String {
    let mut out = format!(
        "# fish completion for longshore\nset -l commands {}\ncomplete -c longshore -f\n",
        names().join(" ")
    );
    let before = "not __fish_seen_subcommand_from $commands";
    out.extend(options(None).iter().map(|flag| option(before, flag)));
    for command in COMMANDS {
        let (name, help) = (command.name, quoted(command.help));
        let _ = writeln!(
            out,
            "complete -c longshore -n \"{before}\" -a {name} -d {help}"
        ); // a String takes all
        let after = format!("__fish_seen_subcommand_from {name}");
        if kind(command.arguments) == Kind::Container {
            let _ = writeln!(
                out,
                "complete -c longshore -n \"{after}\" -a '(longshore list --quiet 2>/dev/null)'"
            ); // a String takes all
        }
        let flags = options(Some(command));
        out.extend(flags.iter().map(|flag| option(&after, flag)));
    }
    out
}

fn option(condition: &str, flag: &Flag) -> String {
    let short = flag.short.map(|short| format!(" -s {short}"));
    let value = flag.value.map(|value| match kind(value) {
        Kind::File => " -r -F",
        Kind::Directory => " -x -a '(__fish_complete_directories)'",
        _ => " -x",
    });
    format!(
        "complete -c longshore -n \"{condition}\" -l {}{}{} -d {}\n",
        flag.name,
        short.unwrap_or_default(),
        value.unwrap_or_default(),
        quoted(flag.help)
    )
}
