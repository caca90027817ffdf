//! config-linux.md#seccomp

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::config::{set, strip};
use crate::property::{Expect, PROPERTY, Probe, Property, Scenario, scenario};
use crate::scene::Scene;
use crate::strace::{is_filter, lines, traced};
use crate::suite::{Check, Stop, ensure};

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

/// kill(2) with such an argument.
fn deny_kill(config: &mut Value, arg: Value) {
    filter(
        config,
        json!({ "names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95, "args": [arg] }),
    );
}

/// kill(2) is denied for SIGUSR1 and allowed for the null signal.
const NO_USR1: Property = Property {
    strip: no_filter,
    probe: Probe::Script(
        "trap : USR1; kill -0 $$ && echo null sent; kill -USR1 $$ || echo refused",
    ),
    expect: Expect::That(|_, seen| {
        seen.contains("null sent") && seen.contains("not supported") && seen.contains("refused")
    }),
    ..PROPERTY
};

/// int 0x80: i386's _exit(42), in a program for x86-64.
const I386_EXIT: &[u8] = b"\xbb\x2a\0\0\0\xb8\x01\0\0\0\xcd\x80";

/// The smallest program that makes that call: an ELF header, one segment, the code.
fn i386_caller(scene: &mut Scene<'_>) -> Check {
    if !cfg!(target_arch = "x86_64") {
        return Err(Stop::Skip(
            "knows two calling conventions of x86-64 only".to_owned(),
        ));
    }
    let (base, headers): (u64, u64) = (0x40_0000, 64 + 56);
    let size = headers + u64::try_from(I386_EXIT.len())?;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    for word in [base + headers, 64, 0] {
        file.extend(word.to_le_bytes()); // entry, program headers, section headers
    }
    file.extend(b"\0\0\0\0\x40\0\x38\0\x01\0\0\0\0\0\0\0"); // flags, sizes and counts
    file.extend(b"\x01\0\0\0\x05\0\0\0"); // to be loaded, readable and executable
    for word in [0, base, base, size, size, 0x1000] {
        file.extend(word.to_le_bytes()); // offset, addresses, sizes, alignment
    }
    file.extend(I386_EXIT);
    let made = scene.executable("i386", "")?;
    fs::write(&made, file)?;
    // By a process that has ended: what somebody has open for writing can't be executed.
    let program = scene.path("rootfs/bin/i386");
    Command::new("cp").args([&made.into(), &program]).status()?;
    if Command::new(program).status()?.code() == Some(42) {
        return Ok(());
    }
    Err(Stop::Skip(
        "the kernel has no system calls of i386".to_owned(),
    ))
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
        name: "linux.seccomp.args",
        set: |_, config| {
            deny_kill(
                config,
                json!({ "index": 1, "value": 10, "op": "SCMP_CMP_EQ" }),
            )
        },
        ..NO_USR1
    },
    Property {
        // Of 10, SIGUSR1, the mask leaves 2; of the null signal nothing.
        name: "linux.seccomp.args.masked",
        set: |_, config| {
            let arg = json!({ "index": 1, "value": 6, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ" });
            deny_kill(config, arg);
        },
        ..NO_USR1
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
        // A call of an architecture that is not listed kills: 159 is 128 + SIGSYS.
        name: "linux.seccomp.architectures",
        prepare: i386_caller,
        set: |_, config| {
            deny_mkdir(config);
            let both = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
            set(config, "/linux/seccomp/architectures", both);
        },
        strip: |config| strip(config, "/linux/seccomp/architectures/1"),
        probe: Probe::Script("i386; echo $?"),
        expect: Expect::Is("42"),
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

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("linux.seccomp.flags", flags).deviates(&[("runc", "1.1 refuses them")]),
    scenario("linux.seccomp.one-after-the-other", one_after_the_other),
];

/// No process can read them back, so that it counts what the kernel was told.
fn flags(scene: &mut Scene<'_>) -> Check {
    deny_mkdir(&mut scene.config);
    for with in [true, false] {
        let flags = json!(if with {
            &["SECCOMP_FILTER_FLAG_LOG"][..]
        } else {
            &[]
        });
        set(&mut scene.config, "/linux/seccomp/flags", flags);
        scene.write_config()?;
        let prefix = format!("trace-{with}");
        let run = scene.call(&["run", &scene.id]);
        traced(run, &["-ff", "-o", &prefix])?.run()?.must()?;
        let all = lines(scene, &prefix)?.concat();
        let filters: Vec<_> = all.iter().filter(|line| is_filter(line)).collect();
        let logs = |line: &&String| line.contains("SECCOMP_FILTER_FLAG_LOG");
        ensure!(
            !filters.is_empty() && filters.iter().all(logs) == with,
            "with the flag {with}: {filters:?}"
        );
    }
    Ok(())
}

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
