//! config-linux.md#seccomp

use serde_json::{Value, json};

use crate::config::{set, strip};
use crate::property::{Expect, PROPERTY, Probe, Property, Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, ensure};

fn filter(config: &mut Value, rule: Value) {
    let seccomp = json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"], "syscalls": [rule] });
    set(config, "/linux/seccomp", seccomp);
}

fn no_filter(config: &mut Value) {
    strip(config, "/linux/seccomp");
}

/// A directory cannot be made, with an errno that nothing else gives.
fn deny_mkdir(config: &mut Value) {
    filter(
        config,
        json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 }),
    );
}

/// What a shell, and a runtime on its last steps, may need; mkdir is not of it.
const ORDINARY: &[&str] = &[
    "access",
    "arch_prctl",
    "brk",
    "capget",
    "capset",
    "chdir",
    "clock_gettime",
    "clone",
    "clone3",
    "close",
    "close_range",
    "dup",
    "dup2",
    "dup3",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "eventfd2",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fchdir",
    "fchown",
    "fcntl",
    "fork",
    "fstat",
    "fstatfs",
    "futex",
    "getcwd",
    "getdents64",
    "getegid",
    "geteuid",
    "getgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getrandom",
    "getrlimit",
    "gettid",
    "getuid",
    "ioctl",
    "kill",
    "lseek",
    "lstat",
    "madvise",
    "mmap",
    "mprotect",
    "munmap",
    "nanosleep",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pipe",
    "pipe2",
    "poll",
    "ppoll",
    "prctl",
    "pread64",
    "prlimit64",
    "pwrite64",
    "read",
    "readlink",
    "readlinkat",
    "readv",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "sched_yield",
    "seccomp",
    "sendfile",
    "set_robust_list",
    "set_tid_address",
    "setgid",
    "setgroups",
    "setpgid",
    "setresgid",
    "setresuid",
    "setsid",
    "setuid",
    "sigaltstack",
    "stat",
    "statfs",
    "statx",
    "sysinfo",
    "tgkill",
    "umask",
    "uname",
    "vfork",
    "wait4",
    "waitid",
    "write",
    "writev",
];

pub(crate) const PROPERTIES: &[Property] = &[
    Property {
        name: "linux.seccomp.errno",
        set: |_, config| deny_mkdir(config),
        strip: no_filter,
        probe: Probe::Script("mkdir /tmp/new"),
        expect: Expect::Has("Operation not supported"),
        ..PROPERTY
    },
    Property {
        name: "linux.seccomp.errno.default-is-eperm",
        set: |_, config| {
            filter(
                config,
                json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" }),
            )
        },
        strip: no_filter,
        probe: Probe::Script("mkdir /tmp/new"),
        expect: Expect::Has("Operation not permitted"),
        ..PROPERTY
    },
    Property {
        name: "linux.seccomp.with-noNewPrivileges",
        set: |_, config| {
            set(config, "/process/noNewPrivileges", json!(true));
            deny_mkdir(config);
        },
        strip: no_filter,
        probe: Probe::Script("mkdir /tmp/new; grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status"),
        expect: Expect::That(|_, seen| {
            seen.contains("not supported")
                && seen.contains("Seccomp:\t2")
                && seen.contains("NoNewPrivs:\t1")
        }),
        ..PROPERTY
    },
    Property {
        // An ordinary user has no CAP_SYS_ADMIN: the filter must be in place before the ids change.
        name: "linux.seccomp.without-noNewPrivileges.ordinary-user",
        set: |_, config| {
            set(config, "/process/noNewPrivileges", json!(false));
            set(config, "/process/user", json!({ "uid": 1000, "gid": 1000 }));
            deny_mkdir(config);
        },
        strip: no_filter,
        probe: Probe::Script("mkdir /tmp/new; grep NoNewPrivs /proc/self/status"),
        expect: Expect::That(|_, seen| {
            seen.contains("not supported") && seen.contains("NoNewPrivs:\t0")
        }),
        ..PROPERTY
    },
    Property {
        // kill(2) is denied for SIGUSR1 and allowed for the null signal.
        name: "linux.seccomp.args",
        set: |_, config| {
            let arg = json!({ "index": 1, "value": 10, "op": "SCMP_CMP_EQ" });
            filter(
                config,
                json!({ "names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95, "args": [arg] }),
            );
        },
        strip: no_filter,
        probe: Probe::Script(
            "trap : USR1; kill -0 $$ && echo null sent; kill -USR1 $$ || echo refused",
        ),
        expect: Expect::That(|_, seen| {
            seen.contains("null sent") && seen.contains("not supported") && seen.contains("refused")
        }),
        ..PROPERTY
    },
    Property {
        // Of 10, SIGUSR1, the mask leaves 2; of the null signal nothing.
        name: "linux.seccomp.args.masked",
        set: |_, config| {
            let arg = json!({ "index": 1, "value": 6, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ" });
            filter(
                config,
                json!({ "names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95, "args": [arg] }),
            );
        },
        strip: no_filter,
        probe: Probe::Script(
            "trap : USR1; kill -0 $$ && echo null sent; kill -USR1 $$ || echo refused",
        ),
        expect: Expect::That(|_, seen| {
            seen.contains("null sent") && seen.contains("not supported") && seen.contains("refused")
        }),
        ..PROPERTY
    },
    Property {
        // An allow list, as engines have them.
        name: "linux.seccomp.defaultErrnoRet",
        set: |_, config| {
            let list = json!({ "names": ORDINARY, "action": "SCMP_ACT_ALLOW" });
            filter(config, list);
            let default = json!("SCMP_ACT_ERRNO");
            set(config, "/linux/seccomp/defaultAction", default);
            set(config, "/linux/seccomp/defaultErrnoRet", json!(95));
        },
        strip: |config| strip(config, "/linux/seccomp/defaultErrnoRet"),
        probe: Probe::Script("mkdir /tmp/new"),
        expect: Expect::Has("Operation not supported"),
        ..PROPERTY
    },
    Property {
        // 159 is 128 + SIGSYS.
        name: "linux.seccomp.kill",
        set: |_, config| {
            filter(
                config,
                json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS" }),
            )
        },
        strip: no_filter,
        probe: Probe::Script("(mkdir /tmp/new); echo $?"),
        expect: Expect::Has("159"),
        ..PROPERTY
    },
    Property {
        name: "linux.seccomp.defaultAction",
        set: |_, config| {
            let allowed = json!({ "names": ["mkdir"], "action": "SCMP_ACT_ALLOW" });
            filter(config, allowed);
            set(
                config,
                "/linux/seccomp/defaultAction",
                json!("SCMP_ACT_LOG"),
            );
        },
        strip: no_filter,
        probe: Probe::Script("grep '^Seccomp:' /proc/self/status"),
        expect: Expect::Has("2"),
        ..PROPERTY
    },
    Property {
        name: "linux.seccomp.unknown-names-are-ignored",
        set: |_, config| {
            filter(
                config,
                json!({ "names": ["no_such_call", "mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 }),
            )
        },
        strip: no_filter,
        probe: Probe::Script("mkdir /tmp/new"),
        expect: Expect::Has("Operation not supported"),
        ..PROPERTY
    },
];

pub(crate) const SCENARIOS: &[Scenario] = &[scenario(
    "linux.seccomp.one-after-the-other",
    one_after_the_other,
)];

/// What a runtime remembers of a filter must not be taken for another's.
fn one_after_the_other(scene: &mut Scene<'_>) -> Check {
    let errors = [
        (95, "Operation not supported"),
        (95, "Operation not supported"),
        (38, "Function not implemented"),
        (95, "Operation not supported"),
    ];
    for (errno, words) in errors {
        scene.script("mkdir /tmp/new 2>&1; true");
        let rule =
            json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno });
        filter(&mut scene.config, rule);
        let seen = scene.run()?.must()?.stdout;
        ensure!(seen.contains(words), "errno {errno} gave {seen}");
        scene.call(&["delete", "--force", &scene.id]).run()?;
    }
    let listed = scene.call(&["list", "-q"]).run()?.must()?.stdout;
    ensure!(listed.trim().is_empty(), "still listed: {listed}");
    Ok(())
}
