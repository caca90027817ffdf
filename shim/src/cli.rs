//! The command line, as one table: parsing and help both read it.

mod update;

use std::collections::BTreeMap;
pub(crate) use update::{Property, UPDATES};

/// One option of the program or of a command.
struct Flag {
    /// Without dashes.
    name: &'static str,
    /// A one-letter form.
    short: Option<char>,
    /// What its value is called; `None` for a switch.
    value: Option<&'static str>,
    /// Empty: taken, and not shown.
    help: &'static str,
}

/// One command.
struct Command {
    name: &'static str,
    arguments: &'static str,
    /// How many words may follow the flags: least, most.
    count: (usize, usize),
    help: &'static str,
    flags: &'static [Flag],
    /// What follows the first word is somebody else's command line.
    verbatim: bool,
}

const fn switch(name: &'static str, short: Option<char>, help: &'static str) -> Flag {
    Flag {
        name,
        short,
        value: None,
        help,
    }
}

const fn option(
    name: &'static str,
    short: Option<char>,
    value: &'static str,
    help: &'static str,
) -> Flag {
    Flag {
        name,
        short,
        value: Some(value),
        help,
    }
}

const GLOBAL: &[Flag] = &[
    switch("debug", None, "enable debug logging"),
    switch(
        "systemd-cgroup",
        None,
        "let systemd make cgroups: cgroupsPath is slice:prefix:name",
    ),
    option(
        "rootless",
        None,
        "BOOL",
        "true, false or auto: may a container do without a cgroup of its own",
    ),
    option(
        "log",
        None,
        "FILE",
        "append log lines to FILE instead of standard error",
    ),
    option(
        "log-format",
        None,
        "FORMAT",
        "log format: text or json (default: text)",
    ),
    option(
        "root",
        None,
        "DIR",
        "directory for the state of containers (default: /run/longshore, rootless $XDG_RUNTIME_DIR/longshore)",
    ),
    option(
        "stop-at-fault-point",
        None,
        "N",
        "for tests: stop this process (SIGSTOP) at its N-th fault point",
    ),
    switch("help", Some('h'), "show help"),
    switch("version", Some('v'), "print the version"),
];

const BUNDLE: Flag = option(
    "bundle",
    Some('b'),
    "DIR",
    "the bundle's directory (default: the working directory)",
);
const TEXT_OR_JSON: Flag = option(
    "format",
    Some('f'),
    "FORMAT",
    "text or json (default: text)",
);
const CONSOLE: Flag = option(
    "console-socket",
    None,
    "PATH",
    "unix socket that receives the terminal's master",
);
const PID_FILE: Flag = option("pid-file", None, "FILE", "file to write init's pid to");
const NO_PIVOT: Flag = switch("no-pivot", None, "change root without pivot_root");
const NO_KEYRING: Flag = switch("no-new-keyring", None, "keep the caller's session keyring");
const PRESERVE: Flag = option(
    "preserve-fds",
    None,
    "N",
    "pass N more file descriptors, from 3 on",
);

const DETACH: Flag = switch("detach", Some('d'), "do not wait");
const NO_SUBREAPER: Flag = switch("no-subreaper", None, "do not adopt the container's orphans");

const IMAGE_PATH: Flag = option(
    "image-path",
    None,
    "DIR",
    "directory of the images (default: ./checkpoint)",
);
const WORK_PATH: Flag = option(
    "work-path",
    None,
    "DIR",
    "directory of CRIU's log (default: the image path)",
);
const TCP_ESTABLISHED: Flag = switch("tcp-established", None, "TCP connections too");
const EXT_UNIX_SK: Flag = switch("ext-unix-sk", None, "Unix sockets to outside too");
const SHELL_JOB: Flag = switch("shell-job", None, "a terminal from outside too");
const FILE_LOCKS: Flag = switch("file-locks", None, "file locks too");
const LAZY_PAGES: Flag = switch("lazy-pages", None, "fetch memory as it is used");
const AUTO_DEDUP: Flag = switch(
    "auto-dedup",
    None,
    "keep each page of memory in one image only",
);
const CGROUPS_MODE: Flag = option(
    "manage-cgroups-mode",
    None,
    "MODE",
    "soft, full, strict or ignore (default: soft)",
);
const EMPTY_NAMESPACE: Flag = option(
    "empty-ns",
    None,
    "KIND",
    "leave the content of namespaces of this kind out: network, which always is",
);

const COMMANDS: &[Command] = &[
    Command {
        name: "check",
        arguments: "",
        count: (0, 0),
        help: "print all that is wrong with a config.json",
        flags: &[BUNDLE, TEXT_OR_JSON],
        verbatim: false,
    },
    Command {
        name: "checkpoint",
        arguments: "ID",
        count: (1, 1),
        help: "write a running container down, with CRIU",
        flags: &[
            IMAGE_PATH,
            WORK_PATH,
            option(
                "parent-path",
                None,
                "DIR",
                "images of a pre-dump to build on, relative to the image path",
            ),
            switch("leave-running", None, "let the container go on"),
            TCP_ESTABLISHED,
            switch(
                "tcp-skip-in-flight",
                None,
                "leave out TCP connections that are being made",
            ),
            switch("link-remap", None, "give files without a name one"),
            EXT_UNIX_SK,
            SHELL_JOB,
            LAZY_PAGES,
            option(
                "status-fd",
                None,
                "FD",
                "descriptor that gets a NUL byte when lazy pages can be asked for",
            ),
            option(
                "page-server",
                None,
                "ADDRESS:PORT",
                "send memory to CRIU's page server there",
            ),
            FILE_LOCKS,
            switch(
                "pre-dump",
                None,
                "write memory only, and let the container go on",
            ),
            CGROUPS_MODE,
            EMPTY_NAMESPACE,
            AUTO_DEDUP,
        ],
        verbatim: false,
    },
    Command {
        name: "create",
        arguments: "ID",
        count: (1, 1),
        help: "create a container",
        flags: &[BUNDLE, CONSOLE, PID_FILE, NO_PIVOT, NO_KEYRING, PRESERVE],
        verbatim: false,
    },
    Command {
        name: "delete",
        arguments: "ID",
        count: (1, 1),
        help: "delete a stopped container",
        flags: &[switch(
            "force",
            Some('f'),
            "kill the container if it runs; no error if there is none",
        )],
        verbatim: false,
    },
    Command {
        name: "events",
        arguments: "ID",
        count: (1, 1),
        help: "print what a container uses, and when it is out of memory",
        flags: &[
            option("interval", None, "DURATION", "how often (default: 5s)"),
            switch("stats", None, "what it uses, once"),
        ],
        verbatim: false,
    },
    Command {
        name: "exec",
        arguments: "ID [COMMAND [ARGUMENT...]]",
        count: (1, usize::MAX),
        help: "run one more process in a container",
        flags: &[
            CONSOLE,
            option("cwd", None, "DIR", "working directory in the container"),
            option(
                "env",
                Some('e'),
                "NAME=VALUE",
                "add to the environment; may be repeated",
            ),
            switch("tty", Some('t'), "give the process a terminal"),
            option(
                "user",
                Some('u'),
                "UID[:GID]",
                "user and group in the container",
            ),
            option(
                "additional-gids",
                Some('g'),
                "GID",
                "one more group; may be repeated",
            ),
            option(
                "process",
                Some('p'),
                "FILE",
                "a whole process object as JSON",
            ),
            switch("detach", Some('d'), "do not wait"),
            option(
                "pid-file",
                None,
                "FILE",
                "file to write the process's pid to",
            ),
            option(
                "process-label",
                None,
                "LABEL",
                "SELinux label of the process",
            ),
            option(
                "apparmor",
                None,
                "PROFILE",
                "AppArmor profile of the process",
            ),
            switch("no-new-privs", None, "set no_new_privs"),
            option(
                "cap",
                Some('c'),
                "CAPABILITY",
                "one more capability; may be repeated",
            ),
            PRESERVE,
            switch("ignore-paused", None, "try it in a paused container too"),
            option(
                "cgroup",
                None,
                "PLACE",
                "[CONTROLLER[,CONTROLLER]:]PATH below the container's cgroup; may be repeated",
            ),
        ],
        verbatim: true,
    },
    Command {
        name: "features",
        arguments: "",
        count: (0, 0),
        help: "print what this runtime can do",
        flags: &[],
        verbatim: false,
    },
    Command {
        name: "kill",
        arguments: "ID [SIGNAL]",
        count: (1, 2),
        help: "send a signal (default: SIGTERM) to a container's init",
        flags: &[switch(
            "all",
            Some('a'),
            "send it to all processes of the container",
        )],
        verbatim: false,
    },
    Command {
        name: "list",
        arguments: "",
        count: (0, 0),
        help: "list containers",
        flags: &[
            option(
                "format",
                Some('f'),
                "FORMAT",
                "table or json (default: table)",
            ),
            switch("quiet", Some('q'), "print ids only"),
        ],
        verbatim: false,
    },
    Command {
        name: "pause",
        arguments: "ID",
        count: (1, 1),
        help: "freeze a container's processes",
        flags: &[],
        verbatim: false,
    },
    Command {
        name: "plan",
        arguments: "[ID]",
        count: (0, 1),
        help: "print what create and start would do",
        flags: &[
            BUNDLE,
            TEXT_OR_JSON,
            CONSOLE,
            NO_PIVOT,
            NO_KEYRING,
            PRESERVE,
        ],
        verbatim: false,
    },
    Command {
        name: "ps",
        arguments: "ID [PS-ARGUMENT...]",
        count: (1, usize::MAX),
        help: "list a container's processes",
        flags: &[option(
            "format",
            Some('f'),
            "FORMAT",
            "table, of ps(1), or json (default: table)",
        )],
        verbatim: true,
    },
    Command {
        name: "restore",
        arguments: "ID",
        count: (1, 1),
        help: "run a container on from its checkpoint",
        flags: &[
            BUNDLE,
            CONSOLE,
            PID_FILE,
            IMAGE_PATH,
            WORK_PATH,
            TCP_ESTABLISHED,
            switch("tcp-close", None, "bring TCP connections back closed"),
            EXT_UNIX_SK,
            SHELL_JOB,
            FILE_LOCKS,
            CGROUPS_MODE,
            DETACH,
            NO_SUBREAPER,
            NO_PIVOT,
            EMPTY_NAMESPACE,
            AUTO_DEDUP,
            LAZY_PAGES,
            option(
                "lsm-profile",
                None,
                "TYPE:NAME",
                "profile instead of the processes' own (apparmor or selinux)",
            ),
            option(
                "lsm-mount-context",
                None,
                "CONTEXT",
                "SELinux context of the mounts",
            ),
        ],
        verbatim: false,
    },
    Command {
        name: "resume",
        arguments: "ID",
        count: (1, 1),
        help: "thaw a paused container's processes",
        flags: &[],
        verbatim: false,
    },
    Command {
        name: "run",
        arguments: "ID",
        count: (1, 1),
        help: "create and start a container, wait for it and delete it",
        flags: &[
            BUNDLE,
            CONSOLE,
            PID_FILE,
            NO_PIVOT,
            NO_KEYRING,
            PRESERVE,
            DETACH,
            switch(
                "keep",
                None,
                "do not delete the container when it has ended",
            ),
            NO_SUBREAPER,
        ],
        verbatim: false,
    },
    Command {
        name: "spec",
        arguments: "",
        count: (0, 0),
        help: "write a config.json to start from",
        flags: &[
            BUNDLE,
            switch("rootless", None, "for a container without root on the host"),
        ],
        verbatim: false,
    },
    Command {
        name: "start",
        arguments: "ID",
        count: (1, 1),
        help: "start a created container",
        flags: &[],
        verbatim: false,
    },
    Command {
        name: "state",
        arguments: "ID",
        count: (1, 1),
        help: "print a container's state",
        flags: &[],
        verbatim: false,
    },
    Command {
        name: "update",
        arguments: "ID",
        count: (1, 1),
        help: "change a container's limits",
        flags: update::FLAGS,
        verbatim: false,
    },
];

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
        let help = &GLOBAL[GLOBAL.len() - 2];
        let flag = known.iter().chain([help]).find(|flag| {
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
        flag_lines(&[switch("help", Some('h'), "show help")])
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
