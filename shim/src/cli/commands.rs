//! The commands and their options: the table that everything about the command line reads.

/// One option of the program or of a command.
pub(super) struct Flag {
    /// Without dashes.
    pub(super) name: &'static str,
    /// A one-letter form.
    pub(super) short: Option<char>,
    /// What its value is called; `None` for a switch.
    pub(super) value: Option<&'static str>,
    /// Empty: taken, and not shown.
    pub(super) help: &'static str,
}

/// One command.
pub(super) struct Command {
    pub(super) name: &'static str,
    pub(super) arguments: &'static str,
    /// How many words may follow the flags: least, most.
    pub(super) count: (usize, usize),
    pub(super) help: &'static str,
    pub(super) flags: &'static [Flag],
    /// What follows the first word is somebody else's command line.
    pub(super) verbatim: bool,
}

pub(super) const fn switch(name: &'static str, short: Option<char>, help: &'static str) -> Flag {
    Flag {
        name,
        short,
        value: None,
        help,
    }
}

pub(super) const fn option(
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

pub(super) const HELP: Flag = switch("help", Some('h'), "show help");

pub(super) const GLOBAL: &[Flag] = &[
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
    HELP,
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
const PIDFD: Flag = option(
    "pidfd-socket",
    None,
    "PATH",
    "unix socket that receives the process's pidfd",
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

const TIMINGS: Flag = option(
    "timings",
    None,
    "FILE",
    "append to FILE where the time went, a line of JSON for each step",
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

pub(super) const COMMANDS: &[Command] = &[
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
        name: "completion",
        arguments: "SHELL",
        count: (1, 1),
        help: "print completions for bash, zsh or fish",
        flags: &[],
        verbatim: false,
    },
    Command {
        name: "create",
        arguments: "ID",
        count: (1, 1),
        help: "create a container",
        flags: &[
            BUNDLE, CONSOLE, PIDFD, PID_FILE, NO_PIVOT, NO_KEYRING, PRESERVE, TIMINGS,
        ],
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
        name: "doctor",
        arguments: "",
        count: (0, 0),
        help: "try what containers can have on this host",
        flags: &[TEXT_OR_JSON],
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
            PIDFD,
            TIMINGS,
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
        name: "gc",
        arguments: "",
        count: (0, 0),
        help: "remove what killed creates have left, and cgroups without a container",
        flags: &[switch("dry-run", None, "only say what there is")],
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
        name: "man",
        arguments: "[COMMAND]",
        count: (0, 1),
        help: "print the manual page of longshore or of a command",
        flags: &[],
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
            PIDFD,
            PID_FILE,
            NO_PIVOT,
            NO_KEYRING,
            PRESERVE,
            TIMINGS,
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
        flags: &[TIMINGS],
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
        flags: super::update::FLAGS,
        verbatim: false,
    },
    Command {
        name: "wait",
        arguments: "ID",
        count: (1, 1),
        help: "wait for a container's end, and exit as it did",
        flags: &[],
        verbatim: false,
    },
];
