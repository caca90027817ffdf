//! Deviations of crun 1.8 that its control run shows. It is the second control,
//! so they stand here in one list; those of runc stand beside each test. What
//! longshore does not offer yet stands here too: a release that does shortens the list.

use crate::suite::Known;

/// What a runtime is known to do otherwise in the test of that name.
pub(crate) fn elsewhere(runtime: &str, test: &str) -> Option<&'static str> {
    let table = TABLES.iter().find(|table| table.0 == runtime)?.1;
    table
        .iter()
        .find(|entry| entry.0 == test)
        .map(|entry| entry.1)
}

/// Pairs of a test and a reason, for each runtime.
const TABLES: &[(&str, Known)] = &[("crun", CRUN), ("longshore", LONGSHORE)];

const ACCEPTS: &str = "accepts it (the specification says otherwise)";
const PROPAGATION: &str =
    "a slave of a shared mount stays shared, and a slave cannot be made shared";
const LEFTOVER: &str = "leaves its cgroups behind when create fails";
const TIME: &str = "1.8 fails with a time namespace";
const WORDS: &str = "has its own words";
const SIZE: &str = "sets the size when the program runs already";
const AFRESH: &str = "gives an added process little of what the container's own has";
const IGNORES: &str = "runs all the same";
const CGROUP: &str = "does not heed --cgroup on cgroup v1";

const UNTOLD: &str = "systemd is not told of its limits";
const APART: &str = "1.8 sets the other of quota and period to its default";
const ACTIVATION: &str = "hands them over without a word, whoever they are for";
const READINESS: &str = "sends no MAINPID";

const CRUN: Known = &[
    (
        "mounts.options.rnoatime",
        "does not clear the other access time bits",
    ),
    ("mounts.options.rslave", PROPAGATION),
    ("mounts.options.slave", PROPAGATION),
    ("mounts.options.rshared", PROPAGATION),
    ("mounts.options.shared", PROPAGATION),
    ("mounts.options.propagation.several", PROPAGATION),
    ("mounts.options.unbindable", "leaves it private"),
    ("mounts.options.runbindable", "leaves it private"),
    ("mounts.options.rnodiratime", "1.8 fails with it"),
    (
        "mounts.destination.symlink-stays-inside",
        "refuses a dangling link",
    ),
    ("linux.namespaces.time", TIME),
    ("linux.namespaces.time.path", TIME),
    ("linux.timeOffsets", TIME),
    ("linux.timeOffsets.nanosecs", TIME),
    ("linux.timeOffsets.shared-pid-namespace", TIME),
    (
        "linux.resources.blockIO.weight",
        "knows blkio.weight only, not blkio.bfq.weight",
    ),
    (
        "linux.resources.pids.limit.unlimited",
        "writes -1 where cgroup v1 wants max",
    ),
    ("linux.resources.unified.on-v1-is-refused", LEFTOVER),
    ("linux.resources.unified.unknown-is-refused", LEFTOVER),
    (
        "linux.resources.unified.each-line",
        "writes the value at once",
    ),
    ("linux.resources.cpu.burst", "1.8 writes it too early"),
    (
        "linux.resources.hugepageLimits.reservations",
        "limits page faults alone",
    ),
    ("errors.linux.resources.cpu.cpus.impossible", LEFTOVER),
    (
        "baseline.fds.preserve-fds.missing",
        "does not look whether they are open",
    ),
    ("update.resources.invalid", ACCEPTS),
    ("update.memory.lifted", "1.8 keeps the limit on swap"),
    ("update.cpu.apart", APART),
    ("update.cgroup2.cpu-quota", APART),
    ("update.pids-limit", "writes -1 for max"),
    ("update.stopped", "1.8 says nothing"),
    ("update.unknown-id", WORDS),
    ("update.all-or-nothing", "puts nothing back"),
    (
        "cgroup2.threaded",
        "1.8 looks for the domain in the wrong place",
    ),
    ("cgroup2.frozen.parent", "looks at its own cgroup alone"),
    ("lifecycle.round", WORDS),
    ("lifecycle.unknown-id", WORDS),
    ("lifecycle.state.shape", "tells rootfs as the config has it"),
    ("lifecycle.create.invalid-ids", "accepts a blank in an id"),
    (
        "lifecycle.kill.signals",
        "does not know signal names in lower case",
    ),
    (
        "lifecycle.kill.unknown-signal",
        "takes an unknown name for signal 0",
    ),
    ("program.missing-in-path", WORDS),
    ("list.table", WORDS),
    ("errors.process.args.missing", ACCEPTS),
    ("errors.process.cwd.relative", ACCEPTS),
    ("errors.linux.namespaces.duplicate", ACCEPTS),
    ("errors.linux.uidMappings.missing", "makes up a mapping"),
    ("errors.linux.rootfsPropagation.unknown", ACCEPTS),
    ("errors.linux.devices.type", ACCEPTS),
    ("errors.linux.resources.devices.access", ACCEPTS),
    ("errors.hooks.path.missing", "exits with 255"),
    ("process.terminal.foreground", SIZE),
    ("exec.tty.foreground", SIZE),
    ("exec.tty.foreground.size-from-the-first", SIZE),
    ("exec.program.missing", WORDS),
    ("exec.program.missing-in-path", WORDS),
    ("exec.program.not-executable", WORDS),
    ("exec.program.is-a-directory", WORDS),
    ("exec.unknown-id", WORDS),
    ("exec.stopped", WORDS),
    (
        "exec.oom-before-is-not-blamed",
        "1.8 has 255 for a process that is killed for lack of memory",
    ),
    ("exec.umask.not-the-callers", "takes the caller's umask"),
    ("exec.process.user.umask", AFRESH),
    ("exec.namespaces.time", TIME),
    ("exec.namespaces.user", WORDS),
    ("exec.namespaces.no-mount", "does not change the root"),
    ("exec.tty.detached-without-socket-is-refused", WORDS),
    ("pause.round", WORDS),
    ("pause.created", "tells created where it is paused"),
    ("pause.words", WORDS),
    ("pause.exec.ignore-paused", "has no --ignore-paused"),
    ("ps.json", "does not know -f=json"),
    ("ps.table", "tells only the pids"),
    ("ps.arguments", "tells only the pids"),
    (
        "exec.env",
        "forgets the container's own when it is given more",
    ),
    (
        "exec.env.last-one-wins",
        "forgets the container's own when it is given more",
    ),
    ("exec.user.group-stays", AFRESH),
    ("exec.additional-gids", "has no -g"),
    ("exec.cap", AFRESH),
    ("exec.process.noNewPrivileges", AFRESH),
    ("exec.process.rlimits", AFRESH),
    ("exec.process.oomScoreAdj", AFRESH),
    ("exec.process.cwd", AFRESH),
    (
        "exec.detach.pid-file.is-whole",
        "leaves the process running",
    ),
    ("process.env.home.not-found", "sets none then"),
    (
        "baseline.signals.caller-ignores-libcs-own",
        "leaves them as the caller had them",
    ),
    (
        "linux.seccomp.listenerPath.state",
        "tells a version of its own",
    ),
    (
        "linux.seccomp.listenerPath.closed-after-the-state",
        "keeps the connection open",
    ),
    ("linux.seccomp.listenerPath.exec", "tells pid 0"),
    (
        "linux.seccomp.listenerPath.ignored-without-notify",
        "connects in any case",
    ),
    ("errors.linux.seccomp.notify-without-listenerPath", ACCEPTS),
    (
        "hooks.startContainer.process-environment",
        "gives none of it",
    ),
    ("exec.process-file.duplicate-name", "takes it"),
    ("exec.cgroup.controllers", CGROUP),
    ("exec.cgroup.refused", CGROUP),
    (
        "rootless.cgroup.beside-the-caller",
        "stays in its caller's cgroup then",
    ),
    ("rootless.limits.refused", IGNORES),
    ("rootless.no.refused", IGNORES),
    ("rootless.additionalGids.refused", IGNORES),
    (
        "baseline.fds.preserve-fds.gap",
        "does not look whether they are open",
    ),
    ("activation.listen-fds", ACTIVATION),
    ("activation.listen-fds.for-another-process", ACTIVATION),
    ("activation.listen-fds.names", ACTIVATION),
    ("activation.listen-fds.over-the-configuration", ACTIVATION),
    ("activation.listen-fds.with-preserve-fds", ACTIVATION),
    ("activation.listen-fds.shared-pid-namespace", ACTIVATION),
    ("activation.listen-fds.not-for-exec", ACTIVATION),
    ("activation.listen-fds.missing", ACTIVATION),
    ("notify.ready", READINESS),
    ("notify.user-namespace", READINESS),
    ("notify.tmpfs-on-run", READINESS),
    ("notify.abstract", READINESS),
    ("notify.run.detached", READINESS),
    ("notify.run.foreground", READINESS),
    ("notify.not-all-goes-on", READINESS),
    ("notify.environment", "has another address"),
    ("notify.status", "hands on READY alone"),
    ("notify.run.foreground.later", "hands on READY alone"),
    ("notify.start-by-another", "goes by start's own environment"),
    ("notify.nobody-there", "looks when the program runs already"),
    (
        "notify.ordinary-user",
        "waits for ever where the caller's umask is strict",
    ),
    ("list.owner-without-a-name", "names another owner"),
    (
        "update.one-after-the-other",
        "takes 0 for a limit of 0 bytes",
    ),
    ("update.kernel-memory", "refuses it on cgroup2"),
    ("systemd.scope", "the container is one below its scope"),
    (
        "rootless.systemd.run",
        "the container is one below its scope",
    ),
    (
        "rootless.systemd.exec",
        "the container is one below its scope",
    ),
    ("rootless.systemd.limits", UNTOLD),
    ("rootless.systemd.update", UNTOLD),
    ("rootless.systemd.pause", "freezes what is below its scope"),
    ("systemd.limits", UNTOLD),
    ("systemd.limits.unified", UNTOLD),
    ("systemd.update", UNTOLD),
    ("systemd.annotations", "1.8 fails with some types"),
    ("systemd.annotations.refused", "does not say which it is"),
    ("systemd.bus.dead", "does not say where it looked"),
    ("systemd.create.killed", "leaves its hook behind"),
];

const LONGSHORE: Known = &[];
