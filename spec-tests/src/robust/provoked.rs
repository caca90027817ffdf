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
use crate::suite::{Case, Check, Known, Suite, View, ensure};

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

const fn on_v2(pointer: &'static str, value: &'static str, place: &'static str) -> Replaced {
    Replaced {
        pointer,
        value,
        place,
        view: View::V2,
    }
}

const fn on_v1(pointer: &'static str, value: &'static str, place: &'static str) -> Replaced {
    Replaced {
        pointer,
        value,
        place,
        view: View::V1,
    }
}

pub(crate) const CONFIGS: &[Replaced] = &[
    bad("/ociVersion", "", "ociVersion"),
    bad("/ociVersion", "7", "ociVersion"),
    bad("/ociVersion", "\"2.0.0\"", "ociVersion"),
    bad("/ociVersion", "\"\"", "ociVersion"),
    bad("/root", "", "root"),
    bad("/root", "[]", "root"),
    bad("/root", "\"rootfs\"", "root"),
    bad("/root/path", "", "root"),
    bad("/root/path", "\"\"", "root.path"),
    bad("/root/path", "5", "root.path"),
    bad("/root/path", "\"nowhere\"", "root.path"),
    bad("/root/path", "\"config.json\"", "root.path"),
    bad("/root/path", "\"root\\u0000fs\"", "root.path"),
    bad("/root/readonly", "\"yes\"", "root.readonly"),
    bad("/process", "", "process"),
    bad("/process", "[]", "process"),
    bad("/process", "null", "process"),
    bad("/process/terminal", "1", "process.terminal"),
    bad("/process/terminal", "true", "process.terminal"),
    bad("/process/args", "", "process.args"),
    bad("/process/args", "\"/bin/sh\"", "process.args"),
    bad("/process/args", "[]", "process.args"),
    bad("/process/args", "[\"\"]", "process.args"),
    bad("/process/args", "[1]", "process.args"),
    bad(
        "/process/args",
        "[\"/bin/sh\", \"a\\u0000b\"]",
        "process.args[1]",
    ),
    bad(
        "/process/args",
        "[\"/no/such/program\"]",
        "/no/such/program",
    ),
    bad("/process/args", "[\"no-such-program\"]", "no-such-program"),
    bad("/process/args", "[\"/etc/passwd\"]", "/etc/passwd"),
    bad("/process/args", "[\"/etc\"]", "/etc"),
    bad("/process/env", "\"A=B\"", "process.env"),
    bad("/process/env", "[\"A\"]", "process.env[0]"),
    bad("/process/env", "[\"A=B\", \"=B\"]", "process.env[1]"),
    bad("/process/env", "[\"A=\\u0000\"]", "process.env[0]"),
    bad("/process/cwd", "", "process.cwd"),
    bad("/process/cwd", "\"tmp\"", "process.cwd"),
    bad("/process/cwd", "\"/etc/passwd\"", "process.cwd"),
    bad("/process/cwd", "\"/a\\u0000b\"", "process.cwd"),
    bad("/process/user", "5", "process.user"),
    bad("/process/user/uid", "-1", "process.user.uid"),
    bad("/process/user/uid", "4294967296", "process.user.uid"),
    bad("/process/user/uid", "4294967295", "process.user.uid"),
    bad("/process/user/uid", "\"root\"", "process.user.uid"),
    bad("/process/user/gid", "1.5", "process.user.gid"),
    bad("/process/user/umask", "512", "process.user.umask"),
    bad(
        "/process/user/additionalGids",
        "[-1]",
        "process.user.additionalGids",
    ),
    bad("/process/capabilities", "[]", "process.capabilities"),
    bad(
        "/process/capabilities/bounding",
        "\"CAP_KILL\"",
        "process.capabilities",
    ),
    bad(
        "/process/capabilities/bounding",
        "[5]",
        "process.capabilities",
    ),
    bad(
        "/process/rlimits",
        "[{\"type\": \"RLIMIT_NOPE\", \"soft\": 1, \"hard\": 1}]",
        "process.rlimits",
    ),
    bad(
        "/process/rlimits",
        "[{\"type\": \"RLIMIT_NOFILE\", \"soft\": 2, \"hard\": 1}]",
        "process.rlimits[0]",
    ),
    bad(
        "/process/rlimits",
        "[{\"type\": \"RLIMIT_NOFILE\", \"soft\": -1, \"hard\": 1}]",
        "process.rlimits",
    ),
    bad(
        "/process/rlimits",
        "[{\"type\": \"RLIMIT_NOFILE\", \"soft\": 18446744073709551616, \"hard\": 1}]",
        "process.rlimits",
    ),
    bad("/process/oomScoreAdj", "1001", "process.oomScoreAdj"),
    bad("/process/oomScoreAdj", "\"1\"", "process.oomScoreAdj"),
    bad("/process/noNewPrivileges", "1", "process.noNewPrivileges"),
    bad(
        "/process/apparmorProfile",
        "\"x\"",
        "process.apparmorProfile",
    ),
    bad("/process/selinuxLabel", "\"x\"", "process.selinuxLabel"),
    bad(
        "/process/scheduler",
        "{\"policy\": \"SCHED_FIFO\", \"priority\": 1}",
        "process.scheduler",
    ),
    bad(
        "/process/ioPriority",
        "{\"class\": \"IOPRIO_CLASS_RT\", \"priority\": 1}",
        "process.ioPriority",
    ),
    bad("/hostname", "7", "hostname"),
    bad("/hostname", "\"a\\u0000b\"", "hostname"),
    bad(
        "/hostname",
        "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
        "hostname",
    ),
    bad("/domainname", "{}", "domainname"),
    bad("/mounts", "{}", "mounts"),
    bad("/mounts/0", "{}", "mounts"),
    bad("/mounts/0", "\"proc\"", "mounts"),
    bad("/mounts/0/destination", "\"\"", "mounts[0]"),
    bad("/mounts/0/destination", "\"/\"", "mounts[0]"),
    bad("/mounts/0/destination", "\"/a\\u0000\"", "mounts[0]"),
    bad("/mounts/0/type", "\"nosuchfs\"", "mounts[0]"),
    bad("/mounts/0/type", "\"\\u0000\"", "mounts[0]"),
    bad("/mounts/0/type", "5", "mounts"),
    bad(
        "/mounts/0",
        "{\"destination\": \"/proc\", \"type\": \"tmpfs\", \"source\": \"tmpfs\"}",
        "mounts[0]",
    ),
    bad(
        "/mounts/0",
        "{\"destination\": \"/proc/sys/kernel\", \"type\": \"tmpfs\", \"source\": \"tmpfs\"}",
        "mounts[0]",
    ),
    bad(
        "/mounts/0",
        "{\"destination\": \"/m\", \"type\": \"bind\", \"source\": \"nowhere\", \"options\": [\"bind\"]}",
        "mounts[0]",
    ),
    bad(
        "/mounts/0",
        "{\"destination\": \"/m\", \"type\": \"bind\", \"source\": \"\", \"options\": [\"bind\"]}",
        "mounts[0]",
    ),
    bad(
        "/mounts/0",
        "{\"destination\": \"/m\", \"type\": \"bind\", \"options\": [\"bind\"]}",
        "mounts[0]",
    ),
    bad(
        "/mounts/0",
        "{\"destination\": \"/m\", \"type\": \"bind\", \"source\": \"config.json\", \"options\": [\"bind\", \"size=1\"]}",
        "mounts[0]",
    ),
    bad(
        "/mounts/0",
        "{\"destination\": \"/etc/passwd/m\", \"type\": \"tmpfs\", \"source\": \"tmpfs\"}",
        "mounts[0]",
    ),
    bad("/mounts/1/options", "\"ro\"", "mounts"),
    bad("/mounts/1/options", "[\"size=lots\"]", "mounts[1]"),
    bad("/mounts/1/options", "[\"mode=999\"]", "mounts[1]"),
    bad("/mounts/1/options", "[\"nosuchoption\"]", "mounts[1]"),
    bad("/mounts/1/options", "[\"idmap\"]", "mounts[1]"),
    bad(
        "/mounts/1/uidMappings",
        "[{\"containerID\": 0, \"hostID\": 0, \"size\": 1}]",
        "mounts[1]",
    ),
    bad("/linux/namespaces", "{}", "linux.namespaces"),
    bad("/linux/namespaces/0", "{}", "linux.namespaces"),
    bad(
        "/linux/namespaces/0/type",
        "\"harbour\"",
        "linux.namespaces",
    ),
    bad(
        "/linux/namespaces/0/type",
        "\"network\"",
        "linux.namespaces",
    ),
    bad(
        "/linux/namespaces/0/path",
        "\"proc/self/ns/pid\"",
        "linux.namespaces[0]",
    ),
    bad(
        "/linux/namespaces/0/path",
        "\"/etc/passwd\"",
        "linux.namespaces[0]",
    ),
    bad(
        "/linux/namespaces/0/path",
        "\"/nowhere\"",
        "linux.namespaces[0]",
    ),
    bad("/linux/namespaces/4", "{\"type\": \"user\"}", "linux."),
    bad(
        "/linux/uidMappings",
        "[{\"containerID\": 0, \"hostID\": 0, \"size\": 1}]",
        "linux.uidMappings",
    ),
    bad(
        "/linux/devices",
        "[{\"path\": \"dev/x\", \"type\": \"c\", \"major\": 1, \"minor\": 3}]",
        "linux.devices[0]",
    ),
    bad(
        "/linux/devices",
        "[{\"path\": \"/dev/x\", \"type\": \"q\", \"major\": 1, \"minor\": 3}]",
        "linux.devices",
    ),
    bad(
        "/linux/devices",
        "[{\"path\": \"/dev/x\", \"type\": \"c\", \"major\": -5, \"minor\": 3}]",
        "linux.devices",
    ),
    bad(
        "/linux/devices",
        "[{\"path\": \"/dev/x\", \"type\": \"c\", \"major\": 99999999999, \"minor\": 3}]",
        "linux.devices",
    ),
    bad("/linux/cgroupsPath", "7", "linux.cgroupsPath"),
    bad("/linux/cgroupsPath", "\"/\"", "linux.cgroupsPath"),
    bad("/linux/cgroupsPath", "\"/a\\u0000b\"", "linux.cgroupsPath"),
    bad(
        "/linux/cgroupsPath",
        "\"user.slice:prefix:name\"",
        "linux.cgroupsPath",
    ),
    bad("/linux/maskedPaths", "[\"proc\"]", "linux.maskedPaths[0]"),
    bad(
        "/linux/maskedPaths",
        "[\"/a\\u0000\"]",
        "linux.maskedPaths[0]",
    ),
    bad("/linux/readonlyPaths", "\"/proc\"", "linux.readonlyPaths"),
    bad(
        "/linux/rootfsPropagation",
        "\"sideways\"",
        "linux.rootfsPropagation",
    ),
    bad(
        "/linux/sysctl",
        "{\"kernel.msgmax\": \"4096\"}",
        "linux.sysctl",
    ),
    bad(
        "/linux/timeOffsets",
        "{\"boottime\": {\"secs\": 1}}",
        "linux.timeOffsets",
    ),
    bad("/linux/intelRdt", "{\"closID\": \"x\"}", "linux.intelRdt"),
    bad(
        "/linux/personality",
        "{\"domain\": \"LINUX32\"}",
        "linux.personality",
    ),
    bad("/linux/mountLabel", "\"x\"", "linux.mountLabel"),
    bad("/linux/resources", "[]", "linux.resources"),
    bad(
        "/linux/resources/devices",
        "[{\"allow\": 1}]",
        "linux.resources.devices",
    ),
    bad(
        "/linux/resources/devices",
        "[{\"allow\": false, \"access\": \"xyz\"}]",
        "linux.resources.devices",
    ),
    bad(
        "/linux/resources/memory",
        "{\"limit\": \"1G\"}",
        "linux.resources.memory.limit",
    ),
    bad(
        "/linux/resources/memory",
        "{\"limit\": 1e30}",
        "linux.resources.memory.limit",
    ),
    bad(
        "/linux/resources/unified",
        "{\"memory.max\": \"1\"}",
        "linux.resources.unified",
    ),
    bad(
        "/linux/resources/blockIO",
        "{\"weight\": 10}",
        "linux.resources.blockIO",
    ),
    bad(
        "/linux/resources/rdma",
        "{\"mlx5_1\": {\"hcaHandles\": 1}}",
        "linux.resources.rdma",
    ),
    on_v1(
        "/linux/resources/memory",
        "{\"limit\": -7}",
        "linux.resources.memory.limit",
    ),
    on_v1(
        "/linux/resources/memory",
        "{\"limit\": 1000000, \"swap\": 999999}",
        "linux.resources.memory.swap",
    ),
    on_v1(
        "/linux/resources/cpu",
        "{\"cpus\": \"x\"}",
        "linux.resources.cpu.cpus",
    ),
    on_v1(
        "/linux/resources/cpu",
        "{\"mems\": \"4000\"}",
        "linux.resources.cpu.mems",
    ),
    on_v1(
        "/linux/resources/cpu",
        "{\"period\": 1}",
        "linux.resources.cpu.period",
    ),
    on_v1(
        "/linux/resources/cpu",
        "{\"realtimeRuntime\": 5}",
        "linux.resources.cpu.realtimeRuntime",
    ),
    on_v2(
        "/linux/resources/memory",
        "{\"limit\": 67108864}",
        "linux.resources.memory.limit",
    ),
    on_v2(
        "/linux/resources/pids",
        "{\"limit\": 10}",
        "linux.resources.pids.limit",
    ),
    on_v2(
        "/linux/resources/cpu",
        "{\"shares\": 512}",
        "linux.resources.cpu.shares",
    ),
    on_v2(
        "/linux/resources/cpu",
        "{\"cpus\": \"0\"}",
        "linux.resources.cpu.cpus",
    ),
    bad("/linux/seccomp", "{}", "linux.seccomp"),
    bad(
        "/linux/seccomp",
        "{\"defaultAction\": \"SCMP_ACT_SHRUG\"}",
        "linux.seccomp",
    ),
    bad(
        "/linux/seccomp",
        "{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{\"names\": [\"mkdir\"], \"action\": \"SCMP_ACT_NOTIFY\"}]}",
        "linux.seccomp",
    ),
    bad(
        "/linux/seccomp",
        "{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{\"names\": \"mkdir\", \"action\": \"SCMP_ACT_ERRNO\"}]}",
        "linux.seccomp",
    ),
    bad("/root", "[\"rootfs\"]", "root"),
    bad("/mounts/0", "[\"/m\"]", "mounts[0]"),
    bad("/linux/resources/pids", "[5]", "linux.resources.pids"),
    bad("/linux/devices", "[[\"/dev/x\"]]", "linux.devices[0]"),
    bad("/hooks", "[]", "hooks"),
    bad("/hooks", "{\"createRuntime\": {}}", "hooks.createRuntime"),
    bad("/hooks", "{\"createRuntime\": [{}]}", "hooks.createRuntime"),
    bad(
        "/hooks",
        "{\"createRuntime\": [{\"path\": \"true\"}]}",
        "hooks.createRuntime[0].path",
    ),
    bad(
        "/hooks",
        "{\"createRuntime\": [{\"path\": \"/no/hook\"}]}",
        "hooks.createRuntime[0]",
    ),
    bad(
        "/hooks",
        "{\"createRuntime\": [{\"path\": \"/bin/false\"}]}",
        "hooks.createRuntime[0]",
    ),
    bad(
        "/hooks",
        "{\"createRuntime\": [{\"path\": \"/bin/true\", \"timeout\": -1}]}",
        "hooks.createRuntime",
    ),
    bad(
        "/hooks",
        "{\"createRuntime\": [{\"path\": \"/bin/sleep\", \"args\": [\"sleep\", \"9\"], \"timeout\": 1}]}",
        "hooks.createRuntime[0]",
    ),
    bad(
        "/hooks",
        "{\"startContainer\": [{\"path\": \"/a\\u0000\"}]}",
        "hooks.startContainer[0]",
    ),
    bad(
        "/hooks",
        "{\"poststop\": [{\"path\": \"/bin/true\"}]}",
        "hooks.poststop",
    ),
    bad("/annotations", "[]", "annotations"),
    bad("/annotations", "{\"a\": 5}", "annotations"),
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
        refused(&scene, text.as_bytes(), self.place)
    }
}

fn refused(scene: &Scene<'_>, config: &[u8], place: &str) -> Check {
    fs::write(scene.path("config.json"), config)?;
    refused_call(scene, scene.create_call(&[]), place)
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
    let left = scene.left_behind();
    ensure!(left.is_empty(), "left: {left:?}");
    let mounts = crate::leak::mounts_below(&scene.dir);
    ensure!(mounts.is_empty(), "left: {mounts:?}");
    Ok(())
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("provoked.config.bad-utf8", |scene| {
        text(scene, |text| {
            text.replace("TERM=xterm", "TERM=\u{1}")
                .into_bytes()
                .iter()
                .map(|byte| if *byte == 1 { 0xff } else { *byte })
                .collect()
        })
    }),
    scenario("provoked.config.lone-surrogate", |scene| {
        text(scene, |text| {
            text.replace("TERM=xterm", "TERM=\\ud800").into_bytes()
        })
    }),
    scenario("provoked.config.duplicate-name", |scene| {
        text(scene, |text| {
            text.replacen("\"cwd\":", "\"cwd\":\"/tmp\",\"cwd\":", 1)
                .into_bytes()
        })
    }),
    scenario("provoked.config.nesting", |scene| {
        text(scene, |text| {
            text.replacen(
                '{',
                &format!("{{\"x\":{}{},", "[".repeat(100_000), "]".repeat(100_000)),
                1,
            )
            .into_bytes()
        })
    }),
    scenario("provoked.config.trailing", |scene| {
        text(scene, |text| format!("{text}{text}").into_bytes())
    }),
    scenario("provoked.config.number-too-large", |scene| {
        text(scene, |text| {
            text.replacen('{', "{\"x\":1e999999,", 1).into_bytes()
        })
    }),
    scenario("provoked.config.huge", |scene| {
        text(scene, |text| {
            format!("{}{text}", " ".repeat(20 << 20)).into_bytes()
        })
    }),
    scenario("provoked.config.binary", |scene| {
        text(scene, |_| vec![0; 4096])
    }),
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
];

fn text(scene: &mut Scene<'_>, spoil: fn(&str) -> Vec<u8>) -> Check {
    longshore_only(scene)?;
    refused(scene, &spoil(&scene.config.to_string()), "config.json")
}

fn link(scene: &mut Scene<'_>, name: &str, place: &str) -> Check {
    longshore_only(scene)?;
    fs::remove_dir(scene.path("rootfs").join(name))?;
    symlink("tmp", scene.path("rootfs").join(name))?;
    refused(scene, scene.config.to_string().as_bytes(), place)
}

fn pid_file(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    scene.write_config()?;
    refused_call(
        scene,
        scene.call(&["create", "--pid-file", "/nowhere/pid", &scene.id]),
        "pid file",
    )
}

fn pid_directory(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    scene.write_config()?;
    scene.open_dir("directory")?;
    let path = scene.path("directory").display().to_string();
    refused_call(
        scene,
        scene.call(&["create", "--pid-file", &path, &scene.id]),
        "pid file",
    )?;
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
    refused_call(
        scene,
        scene.create_call(&["--console-socket", &path]),
        "console socket",
    )
}

fn bundle(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    refused_call(
        scene,
        scene.create_call(&["--bundle", "/nowhere"]),
        "bundle",
    )
}

fn preserve(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    scene.write_config()?;
    refused_call(
        scene,
        scene.create_call(&["--preserve-fds", "900"]),
        "preserved-fd",
    )?;
    refused_call(
        scene,
        scene.create_call(&["--preserve-fds", "-3"]),
        "preserve-fds",
    )
}
