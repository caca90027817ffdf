//! Configs and arguments that can't be: one line that names the place, within
//! two seconds, and nothing left.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{longshore_only, one_line};
use crate::config::{set, strip};
use crate::property::{Scenario, scenario};
use crate::runtime::Call;
use crate::scene::Scene;
use crate::suite::{Case, Check, Known, Stop, Suite, View, ensure};

/// A config with one value replaced.
pub(crate) struct Replaced {
    /// Where: a JSON pointer.
    pointer: &'static str,
    /// With what: JSON; nothing removes it.
    value: &'static str,
    /// What the message must name.
    place: &'static str,
    view: View,
}

const fn bad(pointer: &'static str, value: &'static str, place: &'static str) -> Replaced {
    Replaced {
        pointer,
        value,
        place,
        view: View::Any,
    }
}

impl Replaced {
    /// The same, on one cgroup layout only.
    const fn on(self, view: View) -> Replaced {
        Replaced { view, ..self }
    }
}

#[rustfmt::skip] // a row a line
pub(crate) const CONFIGS: &[Replaced] = &[
    bad("/ociVersion", "", "ociVersion"),
    bad("/ociVersion", "7", "ociVersion"),
    bad("/ociVersion", r#""2.0.0""#, "ociVersion"),
    bad("/ociVersion", r#""""#, "ociVersion"),
    bad("/ociVersion", r#""0.9.0""#, "ociVersion"),
    bad("/ociVersion", r#""1.0""#, "ociVersion"),
    bad("/ociVersion", r#""v1.0.0""#, "ociVersion"),
    bad("/ociVersion", "null", "ociVersion"),
    bad("/root", "", "root"),
    bad("/root", "[]", "root"),
    bad("/root", r#""rootfs""#, "root"),
    bad("/root/path", "", "root"),
    bad("/root/path", r#""""#, "root.path"),
    bad("/root/path", "5", "root.path"),
    bad("/root/path", r#""nowhere""#, "root.path"),
    bad("/root/path", r#""config.json""#, "root.path"),
    bad("/root/path", r#""root\u0000fs""#, "root.path"),
    bad("/root/readonly", r#""yes""#, "root.readonly"),
    bad("/process", "[]", "process"),
    bad("/process/terminal", "1", "process.terminal"),
    bad("/process/terminal", "true", "process.terminal"),
    bad("/process/args", "", "process.args"),
    bad("/process/args", r#""/bin/sh""#, "process.args"),
    bad("/process/args", "[]", "process.args"),
    bad("/process/args", r#"[""]"#, "process.args"),
    bad("/process/args", "[1]", "process.args"),
    bad("/process/args", r#"["/bin/sh", "a\u0000b"]"#, "process.args[1]"),
    bad("/process/args", r#"["/no/such/program"]"#, "/no/such/program"),
    bad("/process/args", r#"["no-such-program"]"#, "no-such-program"),
    bad("/process/args", r#"["/etc/passwd"]"#, "/etc/passwd"),
    bad("/process/args", r#"["/etc"]"#, "/etc"),
    bad("/process/env", r#""A=B""#, "process.env"),
    bad("/process/env", r#"["A"]"#, "process.env[0]"),
    bad("/process/env", r#"["A=B", "=B"]"#, "process.env[1]"),
    bad("/process/env", r#"["A=\u0000"]"#, "process.env[0]"),
    bad("/process/cwd", "", "process.cwd"),
    bad("/process/cwd", r#""tmp""#, "process.cwd"),
    bad("/process/cwd", r#""/etc/passwd""#, "process.cwd"),
    bad("/process/cwd", r#""/a\u0000b""#, "process.cwd"),
    bad("/process/user", "5", "process.user"),
    bad("/process/user/uid", "-1", "process.user.uid"),
    bad("/process/user/uid", "4294967296", "process.user.uid"),
    bad("/process/user/uid", "4294967295", "process.user.uid"),
    bad("/process/user/uid", r#""root""#, "process.user.uid"),
    bad("/process/user/gid", "1.5", "process.user.gid"),
    bad("/process/user/umask", "512", "process.user.umask"),
    bad("/process/user/additionalGids", "[-1]", "process.user.additionalGids"),
    bad("/process/capabilities", "[]", "process.capabilities"),
    bad("/process/capabilities/bounding", r#""CAP_KILL""#, "process.capabilities"),
    bad("/process/capabilities/bounding", "[5]", "process.capabilities"),
    bad("/process/rlimits", r#"[{"type": "RLIMIT_NOPE", "soft": 1, "hard": 1}]"#, "process.rlimits"),
    bad("/process/rlimits", r#"[{"type": "RLIMIT_NOFILE", "soft": 2, "hard": 1}]"#, "process.rlimits[0]"),
    bad("/process/rlimits", r#"[{"type": "RLIMIT_NOFILE", "soft": -1, "hard": 1}]"#, "process.rlimits"),
    bad("/process/rlimits", r#"[{"type": "RLIMIT_NOFILE", "soft": 18446744073709551616, "hard": 1}]"#, "process.rlimits"),
    bad("/process/oomScoreAdj", "1001", "process.oomScoreAdj"),
    bad("/process/oomScoreAdj", r#""1""#, "process.oomScoreAdj"),
    bad("/process/noNewPrivileges", "1", "process.noNewPrivileges"),
    bad("/process/apparmorProfile", r#""x""#, "process.apparmorProfile"),
    bad("/process/selinuxLabel", r#""x""#, "process.selinuxLabel"),
    bad("/process/scheduler", r#"[]"#, "process.scheduler"),
    bad("/process/scheduler", r#"{"policy": "SCHED_NOPE"}"#, "process.scheduler"),
    bad("/process/scheduler", r#"{"policy": "SCHED_ISO"}"#, "process.scheduler.policy"),
    bad("/process/scheduler", r#"{"policy": "SCHED_OTHER", "nice": 20}"#, "process.scheduler.nice"),
    bad("/process/scheduler", r#"{"policy": "SCHED_OTHER", "priority": 1}"#, "process.scheduler.priority"),
    bad("/process/scheduler", r#"{"policy": "SCHED_FIFO", "priority": 100}"#, "process.scheduler.priority"),
    bad("/process/scheduler", r#"{"policy": "SCHED_FIFO"}"#, "process.scheduler.priority"),
    bad("/process/scheduler", r#"{"policy": "SCHED_BATCH", "runtime": 1}"#, "process.scheduler.runtime"),
    bad("/process/scheduler", r#"{"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NOPE"]}"#, "process.scheduler"),
    bad("/process/ioPriority", r#"{"class": "IOPRIO_CLASS_NOPE", "priority": 1}"#, "process.ioPriority"),
    bad("/process/ioPriority", r#"{"class": "IOPRIO_CLASS_BE", "priority": 8}"#, "process.ioPriority.priority"),
    bad("/process/execCPUAffinity", r#"{"initial": "3-1"}"#, "process.execCPUAffinity"),
    bad("/process/execCPUAffinity", r#"{"final": "99999999"}"#, "process.execCPUAffinity"),
    bad("/process/consoleSize", r#"[17, 61]"#, "process.consoleSize"),
    bad("/hostname", "7", "hostname"),
    bad("/hostname", r#""a\u0000b""#, "hostname"),
    bad("/hostname", r#""aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa""#, "hostname"),
    bad("/domainname", "{}", "domainname"),
    bad("/mounts", "{}", "mounts"),
    bad("/mounts/1/options", r#"["bind", "idmap"]"#, "mounts[1]"),
    bad("/mounts/1/uidMappings", r#"[{"containerID": 0, "hostID": 1, "size": 1}]"#, "mounts[1]"),
    bad("/mounts/0", "{}", "mounts"),
    bad("/mounts/0", r#""proc""#, "mounts"),
    bad("/mounts/0/destination", r#""""#, "mounts[0]"),
    bad("/mounts/0/destination", r#""/""#, "mounts[0]"),
    bad("/mounts/0/destination", r#""/a\u0000""#, "mounts[0]"),
    bad("/mounts/0/type", r#""nosuchfs""#, "mounts[0]"),
    bad("/mounts/0/type", r#""\u0000""#, "mounts[0]"),
    bad("/mounts/0/type", "5", "mounts"),
    bad("/mounts/0", r#"{"destination": "/proc", "type": "tmpfs", "source": "tmpfs"}"#, "mounts[0]"),
    bad("/mounts/0", r#"{"destination": "/proc/sys/kernel", "type": "tmpfs", "source": "tmpfs"}"#, "mounts[0]"),
    bad("/mounts/0", r#"{"destination": "/m", "type": "bind", "source": "nowhere", "options": ["bind"]}"#, "mounts[0]"),
    bad("/mounts/0", r#"{"destination": "/m", "type": "bind", "source": "", "options": ["bind"]}"#, "mounts[0]"),
    bad("/mounts/0", r#"{"destination": "/m", "type": "bind", "options": ["bind"]}"#, "mounts[0]"),
    bad("/mounts/0", r#"{"destination": "/m", "type": "bind", "source": "config.json", "options": ["bind", "size=1"]}"#, "mounts[0]"),
    bad("/mounts/0", r#"{"destination": "/etc/passwd/m", "type": "tmpfs", "source": "tmpfs"}"#, "mounts[0]"),
    bad("/mounts/1/options", r#""ro""#, "mounts"),
    bad("/mounts/1/options", r#"["size=lots"]"#, "mounts[1]"),
    bad("/mounts/1/options", r#"["mode=999"]"#, "mounts[1]"),
    bad("/mounts/1/options", r#"["nosuchoption"]"#, "mounts[1]"),
    bad("/mounts/1/options", r#"["idmap"]"#, "mounts[1]"),
    bad("/mounts/1/uidMappings", r#"[{"containerID": 0, "hostID": 0, "size": 1}]"#, "mounts[1]"),
    bad("/linux/namespaces", "{}", "linux.namespaces"),
    bad("/linux/namespaces/0", "{}", "linux.namespaces"),
    bad("/linux/namespaces/0/type", r#""harbour""#, "linux.namespaces"),
    bad("/linux/namespaces/0/type", r#""network""#, "linux.namespaces"),
    bad("/linux/namespaces/0/type", r#""PID""#, "linux.namespaces"),
    bad("/linux/namespaces/0/type", r#""""#, "linux.namespaces"),
    bad("/linux/namespaces/0/type", "7", "linux.namespaces"),
    bad("/linux/namespaces/0/path", r#""proc/self/ns/pid""#, "linux.namespaces[0]"),
    bad("/linux/namespaces/0/path", r#""/etc/passwd""#, "linux.namespaces[0]"),
    bad("/linux/namespaces/0/path", r#""/nowhere""#, "linux.namespaces[0]"),
    bad("/linux/namespaces/4", r#"{"type": "user"}"#, "linux."),
    bad("/linux/uidMappings", r#"[{"containerID": 0, "hostID": 0, "size": 1}]"#, "linux.uidMappings"),
    bad("/linux/devices", r#"[{"path": "dev/x", "type": "c", "major": 1, "minor": 3}]"#, "linux.devices[0]"),
    bad("/linux/devices", r#"[{"path": "/dev/x", "type": "q", "major": 1, "minor": 3}]"#, "linux.devices"),
    bad("/linux/devices", r#"[{"path": "/dev/x", "type": "c", "major": -5, "minor": 3}]"#, "linux.devices"),
    bad("/linux/devices", r#"[{"path": "/dev/x", "type": "c", "major": 99999999999, "minor": 3}]"#, "linux.devices"),
    bad("/linux/cgroupsPath", "7", "linux.cgroupsPath"),
    bad("/linux/cgroupsPath", r#""/""#, "linux.cgroupsPath"),
    bad("/linux/cgroupsPath", r#""/a\u0000b""#, "linux.cgroupsPath"),
    bad("/linux/cgroupsPath", r#""user.slice:prefix:name""#, "linux.cgroupsPath"),
    bad("/linux/maskedPaths", r#"["proc"]"#, "linux.maskedPaths[0]"),
    bad("/linux/maskedPaths", r#"["/a\u0000"]"#, "linux.maskedPaths[0]"),
    bad("/linux/readonlyPaths", r#""/proc""#, "linux.readonlyPaths"),
    bad("/linux/rootfsPropagation", r#""sideways""#, "linux.rootfsPropagation"),
    bad("/linux/sysctl", r#"{"kernel.msgmax": "much"}"#, "linux.sysctl[kernel.msgmax]"),
    bad("/linux/sysctl", r#"{"net/../kernel/core_pattern": "|/bin/sh"}"#, "linux.sysctl[net/../kernel/core_pattern]"),
    bad("/linux/sysctl", r#"{"net.no.such": "1"}"#, "linux.sysctl[net.no.such]"),
    bad("/linux/sysctl", "[]", "linux.sysctl"),
    bad("/process/env", r#"["=1"]"#, "process.env[0]"),
    bad("/linux/timeOffsets", r#"{"boottime": {"secs": 1}}"#, "linux.timeOffsets: needs a new time namespace"),
    bad("/linux/timeOffsets", r#"{"realtime": {"secs": 1}}"#, "linux.timeOffsets.realtime"),
    bad("/linux/timeOffsets", r#"{"boottime": {"nanosecs": 1000000000}}"#, "linux.timeOffsets.boottime.nanosecs"),
    bad("/linux/memoryPolicy", r#"{"mode": "MPOL_NOPE"}"#, "linux.memoryPolicy"),
    bad("/linux/memoryPolicy", r#"{"mode": "MPOL_BIND"}"#, "linux.memoryPolicy.nodes"),
    bad("/linux/memoryPolicy", r#"{"mode": "MPOL_LOCAL", "nodes": "0"}"#, "linux.memoryPolicy.nodes"),
    bad("/linux/memoryPolicy", r#"{"mode": "MPOL_BIND", "nodes": "1-"}"#, "linux.memoryPolicy.nodes"),
    bad("/linux/intelRdt", r#"{"closID": "x"}"#, "linux.intelRdt"),
    bad("/linux/personality", r#"{"domain": "LINUX64"}"#, "linux.personality"),
    bad("/linux/personality", r#"{"domain": "LINUX32", "flags": ["ADDR_NO_RANDOMIZE"]}"#, "linux.personality.flags[0]"),
    bad("/linux/mountLabel", r#""x""#, "linux.mountLabel"),
    bad("/linux/resources", "[]", "linux.resources"),
    bad("/linux/resources/devices", r#"[{"allow": 1}]"#, "linux.resources.devices"),
    bad("/linux/resources/devices", r#"[{"allow": false, "access": "xyz"}]"#, "linux.resources.devices"),
    bad("/linux/resources/memory", r#"{"limit": "1G"}"#, "linux.resources.memory.limit"),
    bad("/linux/resources/memory", r#"{"limit": 1e30}"#, "linux.resources.memory.limit"),
    bad("/linux/resources/unified", r#"{"memory.max": "1"}"#, "linux.resources.unified"),
    bad("/linux/resources/unified", r#"{"../memory.max": "1"}"#, "linux.resources.unified"),
    bad("/linux/resources/blockIO", r#"{"weight": 9}"#, "linux.resources.blockIO.weight"),
    bad("/linux/resources/blockIO", r#"{"leafWeight": 100}"#, "linux.resources.blockIO.leafWeight"),
    bad("/linux/resources/blockIO", r#"{"weightDevice": [[8, 0]]}"#, "linux.resources.blockIO.weightDevice[0]"),
    bad("/linux/resources/blockIO", r#"{"throttleReadBpsDevice": [{"major": 4095, "minor": 7, "rate": 1}]}"#, "linux.resources.blockIO.throttleReadBpsDevice[0]"),
    bad("/linux/resources/blockIO", r#"{"throttleWriteIOPSDevice": [{"major": -1, "minor": 0, "rate": 1}]}"#, "linux.resources.blockIO.throttleWriteIOPSDevice[0]"),
    bad("/linux/resources/hugepageLimits", r#"[{"pageSize": "2MB/../x", "limit": 0}]"#, "linux.resources.hugepageLimits[0].pageSize"),
    bad("/linux/resources/hugepageLimits", r#"[{"pageSize": "3MB", "limit": 0}]"#, "linux.resources.hugepageLimits[0]"),
    bad("/linux/resources/network", r#"{"priorities": [{"name": "no such", "priority": 1}]}"#, "linux.resources.network.priorities[0]"),
    bad("/linux/resources/rdma", r#"{"mlx5_1": {"hcaHandles": 1}}"#, "linux.resources.rdma"),
    bad("/linux/resources/memory", r#"{"limit": -7}"#, "linux.resources.memory.limit").on(View::V1),
    bad("/linux/resources/memory", r#"{"limit": 1000000, "swap": 999999}"#, "linux.resources.memory.swap").on(View::V1),
    bad("/linux/resources/cpu", r#"{"cpus": "x"}"#, "linux.resources.cpu.cpus").on(View::V1),
    bad("/linux/resources/cpu", r#"{"mems": "4000"}"#, "linux.resources.cpu.mems").on(View::V1),
    bad("/linux/resources/cpu", r#"{"period": 1}"#, "linux.resources.cpu.period").on(View::V1),
    bad("/linux/resources/cpu", r#"{"realtimeRuntime": 5}"#, "linux.resources.cpu.realtimeRuntime").on(View::V1),
    bad("/linux/resources/memory", r#"{"limit": 67108864}"#, "linux.resources.memory.limit").on(View::V2),
    bad("/linux/resources/pids", r#"{"limit": 10}"#, "linux.resources.pids.limit").on(View::V2),
    bad("/linux/resources/cpu", r#"{"shares": 512}"#, "linux.resources.cpu.shares").on(View::V2),
    bad("/linux/resources/cpu", r#"{"cpus": "0"}"#, "linux.resources.cpu.cpus").on(View::V2),
    bad("/linux/seccomp", "{}", "linux.seccomp"),
    bad("/linux/seccomp", r#"{"defaultAction": "SCMP_ACT_SHRUG"}"#, "linux.seccomp"),
    bad("/linux/seccomp", r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}"#, "linux.seccomp"),
    bad("/linux/seccomp", r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": "mkdir", "action": "SCMP_ACT_ERRNO"}]}"#, "linux.seccomp"),
    bad("/root", r#"["rootfs"]"#, "root"),
    bad("/mounts/0", r#"["/m"]"#, "mounts[0]"),
    bad("/mounts/0", r#"{"destination": "/m", "type": "proc", "options": ["tmpcopyup"]}"#, "mounts[0] (/m)"),
    bad("/mounts/0", r#"{"destination": "/m", "options": ["remount", "bind", "ro"]}"#, "mounts[0] (/m)"),
    bad("/linux/resources/pids", "[5]", "linux.resources.pids"),
    bad("/linux/devices", r#"[["/dev/x"]]"#, "linux.devices[0]"),
    bad("/hooks", "[]", "hooks"),
    bad("/hooks", r#"{"createRuntime": {}}"#, "hooks.createRuntime"),
    bad("/hooks", r#"{"createRuntime": [{}]}"#, "hooks.createRuntime"),
    bad("/hooks", r#"{"createRuntime": [{"path": "true"}]}"#, "hooks.createRuntime[0].path"),
    bad("/hooks", r#"{"createRuntime": [{"path": "/no/hook"}]}"#, "hooks.createRuntime[0]"),
    bad("/hooks", r#"{"createRuntime": [{"path": "/bin/false"}]}"#, "hooks.createRuntime[0]"),
    bad("/hooks", r#"{"createRuntime": [{"path": "/bin/true", "timeout": -1}]}"#, "hooks.createRuntime"),
    bad("/hooks", r#"{"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "9"], "timeout": 1}]}"#, "hooks.createRuntime[0]"),
    bad("/hooks", r#"{"startContainer": [{"path": "/a\u0000"}]}"#, "hooks.startContainer[0]"),
    bad("/hooks", r#"{"poststop": [{"path": "/bin/true", "timeout": 0}]}"#, "hooks.poststop[0].timeout"),
    bad("/hooks", r#"{"createContainer": [{"path": "/bin/false"}]}"#, "hooks.createContainer[0]"),
    bad("/hooks", r#"{"prestart": [{"path": "/bin/true", "env": ["A"]}]}"#, "hooks.prestart[0].env[0]"),
    bad("/annotations", "[]", "annotations"),
    bad("/annotations", r#"{"a": 5}"#, "annotations"),
];

impl Case for Replaced {
    fn name(&self) -> String {
        format!("provoked{}={}", self.pointer.replace('/', "."), self.value)
    }

    fn known(&self) -> Known {
        &[]
    }

    fn view(&self) -> View {
        self.view
    }

    fn check(&self, suite: &Suite) -> Check {
        let mut scene = Scene::new(suite)?;
        longshore_only(&scene)?;
        if self.value.is_empty() {
            strip(&mut scene.config, self.pointer);
        } else {
            // The numbers that JSON has and serde_json's Value has not come in as text.
            set(&mut scene.config, self.pointer, json!("@"));
        }
        let text = scene.config.to_string().replace("\"@\"", self.value);
        refused(&scene, text.as_bytes(), self.place)?;
        checked(&scene, self.place)
    }
}

fn refused(scene: &Scene<'_>, config: &[u8], place: &str) -> Check {
    fs::write(scene.path("config.json"), config)?;
    refused_call(scene, scene.create_call(&[]), place)
}

/// What `check` says against it is what `create` says; some things only the kernel knows.
fn checked(scene: &Scene<'_>, place: &str) -> Check {
    let ran = scene.verb_alone("check")?;
    ensure!(ran.stderr.is_empty(), "{}", ran.story());
    let mut errors = ran
        .stdout
        .lines()
        .filter(|line| line.starts_with("error: "));
    match ran.code() {
        0 => ensure!(
            errors.next().is_none(),
            "an error and no failure: {}",
            ran.story()
        ),
        1 => ensure!(
            errors.any(|line| line.contains(place)),
            "check does not name {place}: {}",
            ran.story()
        ),
        _ => return Err(Stop::Fail(ran.story())),
    }
    Ok(())
}

fn refused_call(scene: &Scene<'_>, call: Call, place: &str) -> Check {
    let begin = Instant::now();
    let ran = scene.finish_create(call)?;
    let took = begin.elapsed();
    one_line(&ran)?;
    ensure!(ran.code() == 1, "exit status: {}", ran.story());
    ensure!(
        ran.stderr.contains(place),
        "does not name {place}: {}",
        ran.story()
    );
    ensure!(took < Duration::from_secs(2), "took {took:?}");
    ensure!(!scene.path("pid").exists(), "a pid file was written");
    scene.leaves_nothing()?;
    let mounts = crate::leak::mounts_below(&scene.dir);
    ensure!(mounts.is_empty(), "left: {mounts:?}");
    Ok(())
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("provoked.config.bad-utf8", |scene| {
        text(scene, |text| {
            let marked = text.replace("TERM=xterm", "TERM=\u{1}");
            let spoil = |byte| if byte == 1 { 0xff } else { byte };
            marked.bytes().map(spoil).collect::<Vec<u8>>()
        })
    }),
    scenario("provoked.config.lone-surrogate", |scene| {
        text(scene, |text| text.replace("TERM=xterm", r"TERM=\ud800"))
    }),
    scenario("provoked.config.duplicate-name", |scene| {
        text(scene, |text| {
            text.replacen(r#""cwd":"#, r#""cwd":"/tmp","cwd":"#, 1)
        })
    }),
    scenario("provoked.config.nesting", |scene| {
        let nested = format!("{{\"x\":{}{},", "[".repeat(100_000), "]".repeat(100_000));
        text(scene, |text| text.replacen('{', &nested, 1))
    }),
    scenario("provoked.config.trailing", |scene| {
        text(scene, |text| text.repeat(2))
    }),
    scenario("provoked.config.number-too-large", |scene| {
        text(scene, |text| text.replacen('{', r#"{"x":1e999999,"#, 1))
    }),
    scenario("provoked.config.huge", |scene| {
        text(scene, |text| " ".repeat(20 << 20) + text)
    }),
    scenario("provoked.config.binary", |scene| text(scene, |_| [0; 4096])),
    scenario("provoked.rootfs.proc-is-a-link", |scene| {
        link(scene, "proc", "mounts[0] (/proc)")
    }),
    scenario("provoked.rootfs.sys-is-a-link", |scene| {
        link(scene, "sys", "mounts[4] (/sys)")
    }),
    scenario("provoked.pid-file.unwritable", pid_file),
    scenario("provoked.pid-file.directory", pid_directory),
    scenario("provoked.pid-file.stale-temporary", stale_pid_file),
    scenario("provoked.console-socket.missing", |scene| {
        console(scene, Socket::Missing)
    }),
    scenario("provoked.console-socket.no-socket", |scene| {
        console(scene, Socket::File)
    }),
    scenario("provoked.console-socket.without-terminal", |scene| {
        console(scene, Socket::Unasked)
    }),
    scenario("provoked.bundle.missing", bundle),
    scenario("provoked.preserve-fds", preserve),
    scenario("check.fine", check_fine),
    scenario("check.all-at-once", check_all),
];

fn text<T: Into<Vec<u8>>>(scene: &mut Scene<'_>, spoil: impl Fn(&str) -> T) -> Check {
    longshore_only(scene)?;
    let config = spoil(&scene.config.to_string()).into();
    refused(scene, &config, "config.json")
}

fn link(scene: &mut Scene<'_>, name: &str, place: &str) -> Check {
    longshore_only(scene)?;
    fs::remove_dir(scene.path("rootfs").join(name))?;
    symlink("tmp", scene.path("rootfs").join(name))?;
    refused(scene, scene.config.to_string().as_bytes(), place)
}

fn pid_file(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    refused_pid_file(scene, "/nowhere/pid")
}

fn refused_pid_file(scene: &Scene<'_>, path: &str) -> Check {
    scene.write_config()?;
    let call = scene.call(&["create", "--pid-file", path, &scene.id]);
    refused_call(scene, call, "pid file")
}

fn pid_directory(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    scene.open_dir("directory")?;
    refused_pid_file(scene, &scene.path("directory").display().to_string())?;
    ensure!(
        !scene.path(".directory").exists(),
        "a temporary file was left"
    );
    Ok(())
}

/// What a create that was killed left beside the pid file hinders nobody.
fn stale_pid_file(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    scene.file(".pid", "7")?;
    scene.create()?;
    Ok(())
}

enum Socket {
    Missing,
    File,
    Unasked,
}

fn console(scene: &mut Scene<'_>, kind: Socket) -> Check {
    longshore_only(scene)?;
    let path = scene.path("console");
    let _listener = match kind {
        Socket::Missing => None,
        Socket::File => {
            fs::write(&path, "")?;
            None
        }
        Socket::Unasked => Some(UnixListener::bind(&path)?),
    };
    let terminal: Value = json!(!matches!(kind, Socket::Unasked));
    set(&mut scene.config, "/process/terminal", terminal);
    scene.write_config()?;
    let path = path.display().to_string();
    let call = scene.create_call(&["--console-socket", &path]);
    refused_call(scene, call, "console socket")
}

fn bundle(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    let call = scene.create_call(&["--bundle", "/nowhere"]);
    refused_call(scene, call, "bundle")
}

fn preserve(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    scene.write_config()?;
    for (count, words) in [("900", "preserved-fd"), ("-3", "preserve-fds")] {
        let call = scene.create_call(&["--preserve-fds", count]);
        refused_call(scene, call, words)?;
    }
    Ok(())
}

/// Nothing is made up: a container can be made, and nothing is said.
fn check_fine(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    scene.write_config()?;
    let ran = scene.verb_alone("check")?.must()?;
    ensure!(ran.output().is_empty(), "{}", ran.story());
    scene.leaves_nothing()
}

/// An unknown field is a warning, and no error hides another: of the bytes' types, of what can't be, of the host.
fn check_all(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    set(&mut scene.config, "/process/argz", json!(["x"]));
    scene.write_config()?;
    let ran = scene.verb_alone("check")?.must()?;
    let warning =
        "warning: process.argz: unknown field, ignored: did you mean args? (value [\"x\"])\n";
    ensure!(ran.stdout == warning, "{}", ran.story());
    for (pointer, value) in [
        ("/process/terminal", json!(1)),
        ("/linux/rootfsPropagation", json!("sideways")),
        ("/hostname", json!("a\0")),
        (
            "/linux/resources/rdma",
            json!({ "mlx5_1": { "hcaHandles": 1 } }),
        ),
        ("/root/path", json!("nowhere")),
    ] {
        set(&mut scene.config, pointer, value);
    }
    scene.write_config()?;
    let ran = scene.call(&["check", "--format", "json"]).run()?;
    ensure!(ran.code() == 1, "{}", ran.story());
    let report: Value = serde_json::from_str(&ran.stdout)?;
    let problems = report["problems"].as_array().map_or(&[][..], Vec::as_slice);
    let told = |severity: &str, path: &str, value: Value, words: &str| {
        problems.iter().any(|problem| {
            problem["severity"] == severity
                && problem["path"] == path
                && problem["value"] == value
                && problem["message"]
                    .as_str()
                    .is_some_and(|text| text.contains(words))
        })
    };
    let rdma = json!(r#"{"mlx5_1":{"hcaHandles":1}}"#);
    let all = told("error", "process.terminal", json!("1"), "boolean")
        && told(
            "error",
            "linux.rootfsPropagation",
            json!("\"sideways\""),
            "none of",
        )
        && told("error", "hostname", json!("\"a\\u0000\""), "NUL")
        && told("error", "linux.resources.rdma (mlx5_1)", rdma, "this host")
        && told("error", "root.path", json!("\"nowhere\""), "cannot find")
        && told("warning", "process.argz", json!("[\"x\"]"), "args");
    ensure!(all && problems.len() == 6, "{}", ran.story());
    scene.leaves_nothing()
}
