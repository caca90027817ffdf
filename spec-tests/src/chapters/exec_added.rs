//! De facto, as engines use it: what a process that `exec` adds gets, by flags or from the container's configuration.

use std::process::Command;

use serde_json::{Value, json};

use super::exec::{UMASK, exec, sleeper};
use crate::cgroups;
use crate::config::set;
use crate::scene::Scene;
use crate::suite::{Case, Check, Known, Stop, Suite, View, ensure};

/// Something that an added process gets from a flag or from the container's configuration. Without both the
/// script must say something else.
pub(crate) struct Added {
    name: &'static str,
    set: fn(&mut Value),
    flags: &'static [&'static str],
    script: &'static str,
    expect: &'static str,
    needs: fn(&Scene<'_>) -> Check,
    known: Known,
}

const fn added(
    name: &'static str,
    flags: &'static [&'static str],
    script: &'static str,
    expect: &'static str,
) -> Added {
    Added {
        name,
        set: |_| {},
        flags,
        script,
        expect,
        needs: |_| Ok(()),
        known: &[],
    }
}

const CPUS: &str = "awk '/^Cpus_allowed_list/ {print $2}' /proc/self/status";
const AFFINITY: Known = &[
    ("runc", "1.1 does not know it"),
    ("crun", "1.8 does not know it"),
];

/// Before 6.2 a process that enters a cpuset is given all its CPUs; what it had asked for is forgotten.
fn cpus_outlast_the_cgroup(scene: &Scene<'_>) -> Check {
    let files = cgroups::directories(&scene.cgroup);
    let files: Vec<_> = files.iter().map(|dir| dir.join("cgroup.procs")).collect();
    let script = format!("taskset -p -c 1 $$ >&2; for file; do echo $$ > $file; done; {CPUS}");
    let mut command = Command::new("sh");
    let tried = command.args(["-c", &script, "sh"]).args(files).output()?;
    let seen = String::from_utf8_lossy(&tried.stdout).trim().to_owned();
    if seen == "1" {
        return Ok(());
    }
    let why = format!("the kernel forgets a process's CPUs where it enters a cgroup: now {seen:?}");
    Err(Stop::Skip(why))
}

impl Added {
    const fn only_if(self, needs: fn(&Scene<'_>) -> Check) -> Added {
        Added { needs, ..self }
    }

    const fn with(self, set: fn(&mut Value)) -> Added {
        Added { set, ..self }
    }

    const fn deviates(self, known: Known) -> Added {
        Added { known, ..self }
    }
}

impl Case for Added {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn known(&self) -> Known {
        self.known
    }

    fn view(&self) -> View {
        View::Any
    }

    fn check(&self, suite: &Suite) -> Check {
        for with in [true, false] {
            let mut scene = Scene::new(suite)?;
            if with {
                (self.set)(&mut scene.config);
            }
            sleeper(&mut scene)?;
            (self.needs)(&scene)?;
            let script = format!("exec 2>&1; echo probe:; {}", self.script);
            let flags = if with { self.flags } else { &[] };
            let ran = exec(&scene, flags, &["sh", "-c", &script]).run()?;
            let seen = ran.stdout.strip_prefix("probe:").map(str::trim);
            let seen = seen.ok_or_else(|| Stop::Fail(ran.story()))?;
            ensure!(
                (seen == self.expect) == with,
                "wanted {:?} with it only, saw with it {with}: {seen:?}",
                self.expect
            );
        }
        Ok(())
    }
}

fn deny_mkdir(config: &mut Value) {
    let rule = json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 });
    let filter = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
    set(config, "/linux/seccomp", filter);
}

const IDS: &str = "echo $(id -u):$(id -g)";

pub(crate) const ADDED: &[Added] = &[
    added(
        "exec.env",
        &["-e", "CARGO=two tons", "-e", "HOLD=3"],
        "echo $CARGO $HOLD",
        "two tons 3",
    ),
    added(
        "exec.env.last-one-wins",
        &["--env", "TERM=ship"],
        "echo $TERM",
        "ship",
    ),
    added(
        "exec.cwd",
        &["--cwd", "/tmp"],
        "readlink /proc/self/cwd",
        "/tmp",
    ),
    added("exec.user", &["--user", "1234:4321"], IDS, "1234:4321"),
    added("exec.user.group-stays", &["-u", "1234"], IDS, "1234:7")
        .with(|config| set(config, "/process/user/gid", json!(7))),
    added(
        "exec.user.home",
        &["-u", "1000"],
        "echo $HOME",
        "/home/user",
    ),
    added(
        "exec.additional-gids",
        &["-g", "11", "-g", "22"],
        "id -G",
        "0 5 11 22",
    )
    .with(|config| set(config, "/process/user/additionalGids", json!([5]))),
    added(
        "exec.cap",
        &["--cap", "CAP_SYS_TIME"],
        "grep -c -E '^Cap(Bnd|Prm|Eff).*aa0425fb' /proc/self/status",
        "3",
    ),
    added(
        "exec.no-new-privs",
        &["--no-new-privs"],
        "grep -c NoNewPrivs:.1 /proc/self/status",
        "1",
    ),
    added(
        "exec.process.noNewPrivileges",
        &[],
        "grep -c NoNewPrivs:.1 /proc/self/status",
        "1",
    )
    .with(|config| set(config, "/process/noNewPrivileges", json!(true))),
    added(
        "exec.process.rlimits",
        &[],
        "ulimit -Sn; ulimit -Hn",
        "300\n400",
    )
    .with(|config| {
        let limit = json!({ "type": "RLIMIT_NOFILE", "soft": 300, "hard": 400 });
        set(config, "/process/rlimits", json!([limit]));
    })
    .deviates(&[(
        "runc",
        "1.1 now and then raises the soft limit of files to the hard one",
    )]),
    added("exec.process.user.umask", &[], "umask", "0027")
        .deviates(UMASK)
        .with(|config| set(config, "/process/user/umask", json!(0o027))),
    added(
        "exec.process.oomScoreAdj",
        &[],
        "cat /proc/self/oom_score_adj",
        "765",
    )
    .with(|config| set(config, "/process/oomScoreAdj", json!(765))),
    added("exec.process.execCPUAffinity.final", &[], CPUS, "1")
        .with(|config| {
            set(config, "/process/execCPUAffinity", json!({ "final": "1" }));
        })
        .deviates(AFFINITY),
    added("exec.process.execCPUAffinity.initial", &[], CPUS, "1")
        .with(|config| {
            set(
                config,
                "/process/execCPUAffinity",
                json!({ "initial": "1" }),
            );
        })
        .only_if(cpus_outlast_the_cgroup)
        .deviates(AFFINITY),
    added(
        "exec.process.scheduler",
        &[],
        "awk '{print $19}' /proc/$$/stat",
        "9",
    )
    .with(|config| {
        let given = json!({ "policy": "SCHED_OTHER", "nice": 9 });
        set(config, "/process/scheduler", given);
    })
    .deviates(AFFINITY),
    added(
        "exec.linux.personality",
        &[],
        "uname -m | grep -c -e i686 -e armv8l",
        "1",
    )
    .with(|config| {
        set(config, "/linux/personality", json!({ "domain": "LINUX32" }));
    })
    .deviates(AFFINITY),
    added("exec.process.cwd", &[], "readlink /proc/self/cwd", "/var")
        .with(|config| set(config, "/process/cwd", json!("/var"))),
    added(
        "exec.process.capabilities",
        &[],
        "grep -c ^Cap.*00000000$ /proc/self/status",
        "5",
    )
    .with(|config| set(config, "/process/capabilities", json!({}))),
    added(
        "exec.process.capabilities.ambient",
        &[],
        "grep -c ^Cap.*00000020$ /proc/self/status",
        "5",
    )
    .with(|config| {
        set(config, "/process/user/uid", json!(1000));
        for kind in [
            "bounding",
            "effective",
            "permitted",
            "inheritable",
            "ambient",
        ] {
            set(
                config,
                &format!("/process/capabilities/{kind}"),
                json!(["CAP_KILL"]),
            );
        }
    }),
    added(
        "exec.linux.seccomp",
        &[],
        "mkdir /tmp/new; grep ^Seccomp: /proc/self/status",
        "mkdir: can't create directory '/tmp/new': Operation not supported\nSeccomp:\t2",
    )
    .with(deny_mkdir),
    added(
        "exec.linux.seccomp.ordinary-user",
        &["-u", "1000"],
        "mkdir /tmp/new; grep NoNewPrivs /proc/self/status",
        "mkdir: can't create directory '/tmp/new': Operation not supported\nNoNewPrivs:\t0",
    )
    .with(deny_mkdir),
    added(
        "exec.linux.readonlyPaths",
        &[],
        "echo x 2>&1 > /proc/sys/kernel/hostname",
        "sh: can't create /proc/sys/kernel/hostname: Read-only file system",
    )
    .with(|config| set(config, "/linux/readonlyPaths", json!(["/proc/sys"]))),
];
