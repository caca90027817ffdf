//! What config.md and bundle.md ask of a runtime on Linux.

use super::{Requirement, V1_0_0, V1_0_2, V1_1_0, V1_2_0, V1_2_1, required, untested};

const NO_TEST: &str = "no test yet";
const SCHEDULER: &str = "no test yet; needs a kernel and limits that allow the policies";
const LSM: &str = "needs a host with AppArmor";
const SELINUX: &str = "needs a host with SELinux";
const IDMAP: &str = "no test yet; needs a filesystem that can be mapped";

#[rustfmt::skip] // a table: one row, one line
pub(crate) const CONFIG: &[Requirement] = &[
    required("bundle", "bundle.md", V1_0_0, "a bundle is a directory with a config.json, in JSON", &["errors.config.missing", "errors.config.empty", "errors.config.truncated", "errors.config.not-an-object", "lifecycle.bundle-option"]),
    required("extensibility", "config.md#extensibility", V1_0_0, "unknown properties are ignored", &["errors.config.unknown-fields-are-ignored"]),
    required("valid-values", "config.md#valid-values", V1_0_0, "a value of the wrong type or range is an error", &["errors.linux.resources.type", "errors.process.noNewPrivileges.*", "errors.process.oomScoreAdj.*", "errors.process.user.*"]),
    required("ociVersion", "config.md#specification-version", V1_0_0, "the version of the specification, in SemVer", &["errors.ociVersion.*"]),

    required("root", "config.md#root", V1_0_0, "a root filesystem is required", &["errors.root.*"]),
    required("root.path", "config.md#root", V1_0_0, "absolute or relative to the bundle; must exist", &["root.path.*", "errors.root.path.*"]),
    required("root.readonly", "config.md#root", V1_0_0, "the root filesystem is read-only inside", &["root.readonly"]),

    required("mounts", "config.md#mounts", V1_0_0, "mounted in the listed order", &["mounts.order"]),
    required("mounts.destination", "config.md#mounts", V1_0_0, "a path inside the container; made if it is missing", &["mounts.destination.missing", "mounts.destination.missing-file", "mounts.destination.symlink-stays-inside", "mounts.destination.dotdot-stays-inside", "mounts.destination.links-of-every-kind"]),
    required("mounts.destination.relative", "config.md#mounts", V1_2_0, "a relative destination is taken from /", &["mounts.destination.relative"]),
    required("mounts.source", "config.md#mounts", V1_0_0, "a device or a path; a bind's is relative to the bundle", &["mounts.bind.*", "mounts.rbind.*", "errors.mounts.source.*"]),
    required("mounts.type", "config.md#posix-platform-mounts", V1_0_0, "any filesystem of the kernel", &["mounts.proc", "mounts.sysfs", "mounts.tmpfs", "mounts.devpts", "mounts.mqueue", "mounts.overlay", "errors.mounts.type.unknown"]),
    required("mounts.options", "config.md#linux-mount-options", V1_0_0, "the options a runtime must know", &["mounts.options.table", "mounts.options.ro.*", "mounts.options.noexec", "mounts.options.nodev", "mounts.options.nosuid", "mounts.options.remount.*", "mounts.bind.file.ro"]),
    required("mounts.options.data", "config.md#linux-mount-options", V1_0_0, "other words go to the filesystem", &["mounts.tmpfs.size", "mounts.tmpfs.mode", "mounts.tmpfs.uid", "mounts.devpts.ptmxmode", "errors.mounts.options.data"]),
    required("mounts.options.propagation", "config.md#linux-mount-options", V1_0_0, "private, shared, slave, unbindable, and with r of all below", &["mounts.options.propagation.*", "mounts.options.private", "mounts.options.rprivate", "mounts.options.shared", "mounts.options.rshared", "mounts.options.slave", "mounts.options.rslave", "mounts.options.unbindable", "mounts.options.runbindable"]),
    required("mounts.options.recursive", "config.md#linux-mount-options", V1_1_0, "attributes of a whole tree: rro, rnoexec …", &["mounts.options.rro", "mounts.options.rnoexec", "mounts.options.rnodev", "mounts.options.rnosuid", "mounts.options.rnoatime", "mounts.options.rnodiratime"]),
    required("mounts.options.tmpcopyup", "config.md#linux-mount-options", V1_1_0, "a tmpfs starts with what it covers", &["mounts.tmpfs.tmpcopyup.*"]),
    required("mounts.options.symfollow", "config.md#linux-mount-options", V1_1_0, "symfollow and nosymfollow", &["mounts.options.symfollow"]),
    untested("mounts.options.rnosymfollow", "config.md#linux-mount-options", V1_1_0, "rsymfollow and rnosymfollow, of a tree", NO_TEST),
    untested("mounts.options.idmap", "config.md#linux-mount-options", V1_2_0, "idmap maps a mount, ridmap a tree", IDMAP),
    untested("mounts.uidMappings", "config.md#posix-platform-mounts", V1_1_0, "how a mount's user ids are mapped", IDMAP),
    untested("mounts.gidMappings", "config.md#posix-platform-mounts", V1_1_0, "how a mount's group ids are mapped", IDMAP),

    required("process.missing", "config.md#process", V1_0_0, "may be missing at create; start without it is an error", &["lifecycle.start.without-process"]),
    required("process.terminal", "config.md#process", V1_0_0, "a pseudo-terminal becomes the standard streams", &["process.terminal.socket", "process.terminal.isatty", "process.terminal.controlling", "process.terminal.foreground"]),
    required("process.consoleSize.height", "config.md#process", V1_0_0, "rows of the terminal", &["process.terminal.consoleSize"]),
    required("process.consoleSize.width", "config.md#process", V1_0_0, "columns of the terminal", &["process.terminal.consoleSize"]),
    required("process.cwd", "config.md#process", V1_0_0, "the working directory: required, absolute", &["process.cwd", "errors.process.cwd.*"]),
    required("process.env", "config.md#process", V1_0_0, "the environment, as execvp has it", &["process.env", "process.env.exact"]),
    required("process.args", "config.md#process", V1_0_0, "one word or more; the program is found as execvp does", &["process.args.*", "errors.process.args.*"]),
    required("process.rlimits.type", "config.md#posix-process", V1_0_0, "which limit; an unknown one is an error", &["process.rlimits", "errors.process.rlimits.unknown"]),
    required("process.rlimits.soft", "config.md#posix-process", V1_0_0, "the limit in force, at most the hard one", &["process.rlimits.soft-and-hard", "errors.process.rlimits.soft-above-hard"]),
    required("process.rlimits.hard", "config.md#posix-process", V1_0_0, "the ceiling", &["process.rlimits.soft-and-hard"]),
    required("process.rlimits.unique", "config.md#posix-process", V1_0_0, "a type that is given twice is an error", &["errors.process.rlimits.duplicate"]),
    untested("process.apparmorProfile", "config.md#linux-process", V1_0_0, "the AppArmor profile of the process", LSM),
    required("process.capabilities.bounding", "config.md#linux-process", V1_0_0, "the bounding set", &["process.capabilities.bounding"]),
    required("process.capabilities.effective", "config.md#linux-process", V1_0_0, "the effective set", &["process.capabilities.effective", "process.capabilities.in-effect"]),
    required("process.capabilities.inheritable", "config.md#linux-process", V1_0_0, "the inheritable set", &["process.capabilities.inheritable"]),
    required("process.capabilities.permitted", "config.md#linux-process", V1_0_0, "the permitted set", &["process.capabilities.permitted"]),
    required("process.capabilities.ambient", "config.md#linux-process", V1_0_0, "the ambient set", &["process.capabilities.ambient"]),
    required("process.capabilities.none", "config.md#linux-process", V1_0_0, "what is not listed is not held", &["process.capabilities.none"]),
    required("process.capabilities.unknown", "config.md#linux-process", V1_1_0, "one that can't be granted is a warning", &["process.capabilities.unknown-is-no-error"]),
    required("process.noNewPrivileges", "config.md#linux-process", V1_0_0, "the process can't gain privileges", &["process.noNewPrivileges"]),
    required("process.oomScoreAdj", "config.md#linux-process", V1_0_0, "the score is set, and untouched if absent", &["process.oomScoreAdj", "baseline.oom-score-untouched"]),
    untested("process.scheduler.policy", "config.md#linux-process", V1_1_0, "the scheduling policy", SCHEDULER),
    untested("process.scheduler.nice", "config.md#linux-process", V1_1_0, "the nice value", SCHEDULER),
    untested("process.scheduler.priority", "config.md#linux-process", V1_1_0, "the static priority", SCHEDULER),
    untested("process.scheduler.flags", "config.md#linux-process", V1_1_0, "flags of sched_setattr(2)", SCHEDULER),
    untested("process.scheduler.runtime", "config.md#linux-process", V1_1_0, "runtime of the deadline policy", SCHEDULER),
    untested("process.scheduler.deadline", "config.md#linux-process", V1_1_0, "deadline of the deadline policy", SCHEDULER),
    untested("process.scheduler.period", "config.md#linux-process", V1_1_0, "period of the deadline policy", SCHEDULER),
    untested("process.selinuxLabel", "config.md#linux-process", V1_0_0, "the SELinux label of the process", SELINUX),
    untested("process.ioPriority.class", "config.md#linux-process", V1_1_0, "the I/O scheduling class", NO_TEST),
    untested("process.ioPriority.priority", "config.md#linux-process", V1_1_0, "the priority in the class", NO_TEST),
    untested("process.execCPUAffinity.initial", "config.md#linux-process", V1_2_1, "CPUs of an added process before it enters the cgroup", NO_TEST),
    untested("process.execCPUAffinity.final", "config.md#linux-process", V1_2_1, "CPUs of an added process afterwards", NO_TEST),
    required("process.user.uid", "config.md#posix-platform-user", V1_0_0, "the user id, in the container's namespace", &["process.user.uid"]),
    required("process.user.gid", "config.md#posix-platform-user", V1_0_0, "the group id, in the container's namespace", &["process.user.gid"]),
    required("process.user.umask", "config.md#posix-platform-user", V1_0_2, "the file mode mask", &["process.user.umask", "baseline.umask"]),
    required("process.user.additionalGids", "config.md#posix-platform-user", V1_0_0, "the supplementary groups, and no others", &["process.user.additionalGids", "baseline.groups"]),

    required("hostname", "config.md#hostname", V1_0_0, "the host name in the container's UTS namespace", &["hostname", "errors.hostname.*"]),
    required("domainname", "config.md#domainname", V1_1_0, "the NIS domain name in it", &["domainname"]),
    required("annotations", "config.md#annotations", V1_0_0, "kept, and told by state", &["annotations"]),

    required("hooks.prestart", "config.md#prestart", V1_0_0, "deprecated; before createRuntime, on the host", &["hooks.prestart"]),
    required("hooks.createRuntime", "config.md#createruntime-hooks", V1_0_2, "during create, in the runtime's namespaces", &["hooks.createRuntime", "hooks.createRuntime.namespace", "hooks.createRuntime.before-start"]),
    required("hooks.createContainer", "config.md#createcontainer-hooks", V1_0_2, "during create, in the container's namespaces, before the root is changed", &["hooks.createContainer", "hooks.createContainer.namespaces", "hooks.createContainer.sees-the-mounts", "hooks.createContainer.device-rules-are-in-force"]),
    required("hooks.startContainer", "config.md#startcontainer-hooks", V1_0_2, "during start, inside, before the program", &["hooks.startContainer", "hooks.startContainer.runs-inside", "hooks.startContainer.not-at-create"]),
    required("hooks.poststart", "config.md#poststart", V1_0_0, "after the program was executed, before start returns", &["hooks.poststart", "hooks.poststart.after-the-program-is-executed"]),
    required("hooks.poststop", "config.md#poststop", V1_0_0, "after all is gone, before delete returns", &["hooks.poststop", "hooks.poststop.after-all-is-gone", "hooks.poststop.force"]),
    required("hooks.path", "config.md#posix-platform-hooks", V1_0_0, "an absolute path", &["errors.hooks.path.*"]),
    required("hooks.args", "config.md#posix-platform-hooks", V1_0_0, "the words, the program's name included", &["hooks.createRuntime.args"]),
    required("hooks.env", "config.md#posix-platform-hooks", V1_0_0, "the environment, and nothing else", &["hooks.createRuntime.env", "hooks.createContainer.env"]),
    required("hooks.timeout", "config.md#posix-platform-hooks", V1_0_0, "seconds, more than none, after which it is killed", &["hooks.createRuntime.timeout", "errors.hooks.timeout.*"]),
    required("hooks.stdin", "config.md#posix-platform-hooks", V1_0_0, "a hook reads the state from standard input", &["hooks.createRuntime.stdin-is-the-state", "hooks.createRuntime.stdin-status-is-creating", "hooks.createContainer.stdin-is-the-state"]),
    required("hooks.order", "config.md#posix-platform-hooks", V1_0_0, "in the listed order, one after the other", &["hooks.createRuntime.order"]),
];
