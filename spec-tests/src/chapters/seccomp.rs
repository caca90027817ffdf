//! config-linux.md#seccomp

use serde_json::{Value, json};

use crate::config::{set, strip};
use crate::property::{Expect, PROPERTY, Probe, Property};

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
