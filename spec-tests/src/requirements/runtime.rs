//! What runtime.md and runtime-linux.md ask: states, operations, and when the hooks run.

use super::{Requirement, V1_0_0, V1_0_2, V1_1_0, V1_3_0, required};

#[rustfmt::skip] // a table: one row, one line
pub(crate) const RUNTIME: &[Requirement] = &[
    required("state.shape", "runtime.md#state", V1_0_0, "ociVersion, id, status, pid, bundle and annotations", &["lifecycle.state.*", "annotations"]),
    required("state.status", "runtime.md#state", V1_0_0, "created, running, stopped follow each other", &["lifecycle.round"]),
    required("state.status.creating", "runtime.md#state", V1_0_0, "creating, while hooks of create run", &["hooks.createRuntime.stdin-status-is-creating"]),
    required("state.pid", "runtime.md#state", V1_0_0, "as the runtime sees it", &["lifecycle.state.*", "lifecycle.pid-file"]),
    required("state.query", "runtime.md#query-state", V1_0_0, "an unknown id is an error", &["lifecycle.unknown-id"]),

    required("create.id", "runtime.md#create", V1_0_0, "an id that is taken or can't be is an error", &["lifecycle.create.same-id", "lifecycle.create.invalid-ids"]),
    required("create.not-the-program", "runtime.md#create", V1_0_0, "the program does not run before start", &["lifecycle.create.program-does-not-run"]),
    required("create.config-is-read-once", "runtime.md#create", V1_0_0, "later changes of config.json have no effect", &["lifecycle.create.config-is-read-once", "exec.config-is-read-once"]),
    required("create.failure", "runtime.md#errors", V1_0_0, "what fails leaves nothing", &["errors.linux.resources.cpu.cpus.impossible", "errors.linux.namespaces.path.*", "hooks.createRuntime.failure", "hooks.createContainer.failure"]),

    required("start.runs-the-program", "runtime.md#start", V1_0_0, "the program of process.args runs", &["lifecycle.round"]),
    required("start.created-only", "runtime.md#start", V1_0_0, "what is not created is an error, without effect", &["lifecycle.start.twice", "lifecycle.start.stopped", "lifecycle.start.dying", "lifecycle.unknown-id"]),
    required("kill.signal", "runtime.md#kill", V1_0_0, "the signal reaches the container's process", &["lifecycle.kill.signals", "lifecycle.kill.created", "lifecycle.kill.unknown-signal"]),
    required("kill.not-stopped", "runtime.md#kill", V1_0_0, "what is not created or running is an error", &["lifecycle.kill.stopped", "lifecycle.unknown-id"]),
    required("delete.stopped-only", "runtime.md#delete", V1_0_0, "what is not stopped is an error, without effect", &["lifecycle.delete.running", "lifecycle.unknown-id"]),
    required("delete.undoes-create", "runtime.md#delete", V1_0_0, "what create made is gone, and the id is free", &["lifecycle.round", "linux.cgroupsPath.removed-by-delete"]),
    required("delete.not-others", "runtime.md#delete", V1_0_0, "what create did not make stays", &["lifecycle.delete.not-others.*"]),

    required("hooks.prestart.order", "runtime.md#lifecycle", V1_0_0, "prestart hooks come before createRuntime's", &["hooks.prestart.before-createRuntime"]),
    required("hooks.create.failure", "runtime.md#lifecycle", V1_0_2, "a failing hook of create is an error, and the poststop hooks run", &["hooks.createRuntime.failure", "hooks.createContainer.failure", "hooks.prestart.poststop-after-failure"]),
    required("hooks.startContainer.failure", "runtime.md#lifecycle", V1_0_2, "it is an error of start, and the program does not run", &["hooks.startContainer.failure-stops-program", "hooks.startContainer.failure-is-told-by-start"]),
    required("hooks.poststart.failure", "runtime.md#lifecycle", V1_3_0, "it is an error, and the container is stopped", &["hooks.poststart.failure-stops-the-container"]),
    required("hooks.poststop.failure", "runtime.md#lifecycle", V1_0_0, "it is a warning, and the others still run", &["hooks.poststop.failure-warns"]),

    required("file-descriptors", "runtime-linux.md#file-descriptors", V1_0_0, "only the standard streams stay open", &["baseline.fds.no-leak", "lifecycle.create.stdio-is-inherited"]),
    required("dev-symlinks", "runtime-linux.md#dev-symbolic-links", V1_0_0, "/dev/fd, /dev/stdin, /dev/stdout and /dev/stderr", &["runtime-linux.dev-symlinks"]),
    required("features", "features.md", V1_1_0, "a runtime may tell its features as JSON", &["features.*"]),
];

/// What the specification leaves open, and the engines that call runc expect.
#[rustfmt::skip] // a table: one row, one line
pub(crate) const COMMANDS: &[Requirement] = &[
    required("process.env.home", "", V1_0_0, "HOME is the user's where it is not given, and the last of two values counts", &["process.env.home.*", "process.env.last-one-wins"]),
    required("process.terminal.socket", "", V1_0_0, "a terminal and --console-socket go together", &["process.terminal.without-socket-is-refused", "process.terminal.socket-without-terminal-is-refused"]),
    required("linux.sysctl.slashes", "", V1_0_0, "sysctl names with slashes", &["linux.sysctl.slashes"]),
    required("mounts.cgroup", "", V1_0_0, "mounts of the type cgroup, of either version", &["mounts.cgroup.*"]),
    required("mounts.overlay", "", V1_0_0, "overlays of many layers", &["mounts.overlay.*"]),
    required("mounts.proc", "", V1_0_0, "no link leads a mount into /proc", &["mounts.destination.link-into-proc"]),
    required("mounts.tmpfs.mode", "", V1_0_0, "a tmpfs takes the mode of the directory it covers", &["mounts.tmpfs.takes-the-directorys-mode"]),
    required("hooks.descendants", "", V1_0_0, "what a hook started dies with it", &["hooks.createRuntime.timeout.kills-descendants", "hooks.createContainer.timeout.kills-descendants"]),
    required("hooks.startContainer.env", "", V1_0_0, "without an environment of its own, the process's", &["hooks.startContainer.process-environment"]),
    required("signals", "", V1_0_0, "none is ignored or blocked at first, whatever the caller does", &["baseline.signals.*"]),
    required("streams", "", V1_0_0, "--preserve-fds, and devices as standard streams", &["baseline.fds.preserve-fds.*", "baseline.stdio.*"]),
    required("activation", "", V1_0_0, "sockets to listen on, by LISTEN_FDS", &["activation.*"]),
    required("notify", "", V1_0_0, "readiness, by NOTIFY_SOCKET", &["notify.*"]),
    required("keyring", "", V1_0_0, "a session keyring of its own", &["baseline.keyring"]),
    required("create.program", "", V1_0_0, "a program that can't be executed, in the words engines look for", &["program.*"]),
    required("run", "", V1_0_0, "create, start, wait and delete in one", &["lifecycle.run.*"]),
    required("delete.created", "", V1_0_0, "delete of what never started, and delete --force", &["lifecycle.delete.created", "lifecycle.delete.force.*"]),
    required("exec", "", V1_0_0, "one more process: its states, statuses and signals", &["exec.exit-status", "exec.signal-status", "exec.usage", "exec.unknown-id", "exec.stopped", "exec.created", "exec.is-not-init", "exec.forwards-signals", "exec.signals.*", "exec.oom-before-is-not-blamed"]),
    required("exec.detach", "", V1_0_0, "exec --detach and --pid-file", &["exec.detach.*"]),
    required("exec.program", "", V1_0_0, "a program that can't be executed", &["exec.program.*"]),
    required("exec.process", "", V1_0_0, "the process, of a file or of options", &["exec.process.*", "exec.process-file.*", "exec.env.*", "exec.environment.*", "exec.umask.*", "exec.cwd", "exec.user.*", "exec.additional-gids", "exec.cap", "exec.no-new-privs"]),
    required("exec.linux", "", V1_0_0, "the container's filter and paths hold for it", &["exec.linux.*"]),
    required("exec.namespaces", "", V1_0_0, "in the container's namespaces", &["exec.namespaces.*"]),
    required("exec.cgroup", "", V1_0_0, "in the container's cgroups, or --cgroup below", &["exec.cgroup.*", "exec.cgroups"]),
    required("exec.streams", "", V1_0_0, "its standard streams and descriptors", &["exec.stdio", "exec.fds.*"]),
    required("exec.tty", "", V1_0_0, "exec --tty", &["exec.tty.*"]),
    required("pidfd", "", V1_0_0, "--pidfd-socket of create and exec", &["pidfd-socket.*"]),
    required("help", "", V1_0_0, "--help of each command, with runc's flags", &["help.*"]),
    required("pause", "", V1_0_0, "pause and resume", &["pause.*"]),
    required("update", "", V1_0_0, "update: other limits for a container that is there", &["update.*"]),
    required("events", "", V1_0_0, "events: what a container uses, and lack of memory", &["events.*"]),
    required("cgroup2", "", V1_0_0, "cgroups below the container's own, threaded ones, and what else cgroup2 has", &["cgroup2.*"]),
    required("ps", "", V1_0_0, "ps", &["ps.*"]),
    required("list", "", V1_0_0, "list", &["list.*"]),
    required("log", "", V1_0_0, "--log and --log-format", &["log.*"]),
    required("usage", "", V1_0_0, "wrong words on the command line, and --version", &["usage.*", "version"]),
    required("rootless", "", V1_0_0, "an ordinary user's containers", &["rootless.*"]),
    required("defects", "", V1_0_0, "what runtimes were seen to get wrong", &["defect.*"]),
    required("debian", "", V1_0_0, "a whole Debian works inside", &["debian.*"]),
];
