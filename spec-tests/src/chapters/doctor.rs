//! `doctor`: each of its lines is held against a container that asks for the same thing.

use std::fs;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};
use serde_json::{Value, json};

use super::rootless_inside::{go, outer};
use crate::config::{mount, namespace, no_namespace, push, set, user_namespace};
use crate::property::{Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, Stop, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("doctor.here", here),
    scenario("doctor.without-privileges", without_privileges),
    scenario("doctor.leaves-nothing", leaves_nothing),
    scenario("doctor.for-people", for_people),
];

/// One line.
struct Finding {
    id: String,
    able: bool,
    detail: String,
}

fn findings(text: &str) -> Check<Vec<Finding>> {
    let found: Value = serde_json::from_str(text)?;
    let list = found["findings"].as_array().cloned().unwrap_or_default();
    ensure!(list.len() > 20, "not much: {text}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |finding: Value| Finding {
        id: text(&finding["id"]),
        able: finding["able"] == true,
        detail: text(&finding["detail"]),
    };
    Ok(list.into_iter().map(one).collect())
}

/// Has a config ask for it; `bundle` has the empty directories `lower`, `upper` and `work`.
fn ask(config: &mut Value, id: &str, bundle: &str) -> Check {
    let limit = |config: &mut Value, name: &str, value: Value| {
        set(config, &format!("/linux/resources/{name}"), value);
    };
    match id {
        "container" | "cgroup.own" | "cgroup.systemd" => {}
        "namespace.user" => {
            if config["linux"]["uidMappings"].is_null() {
                user_namespace(config);
            }
        }
        _ if id.starts_with("namespace.") => {
            namespace(
                config,
                json!({ "type": id.trim_start_matches("namespace.") }),
            );
        }
        "limit.cpu" => limit(config, "cpu", json!({ "shares": 512 })),
        "limit.cpuset" => limit(config, "cpu", json!({ "cpus": "0" })),
        "limit.devices" => limit(
            config,
            "devices",
            json!([{ "allow": false, "access": "rwm" }, { "allow": true, "type": "c", "major": 1, "minor": 5, "access": "rw" }]),
        ),
        "limit.hugetlb" => limit(
            config,
            "hugepageLimits",
            json!([{ "pageSize": "2MB", "limit": 2_097_152 }]),
        ),
        "limit.io" => limit(config, "blockIO", json!({ "weight": 300 })),
        "limit.memory" => limit(config, "memory", json!({ "limit": 128 << 20 })),
        "limit.pids" => limit(config, "pids", json!({ "limit": 20 })),
        "mount.bind.id-mapped" => {
            let map = json!([{ "containerID": 0, "hostID": 7, "size": 1 }]);
            let source = format!("{bundle}/lower");
            let mapped = json!({ "destination": "/tmp", "type": "bind", "source": source, "options": ["bind", "idmap"], "uidMappings": map, "gidMappings": map });
            push(config, "/mounts", mapped);
        }
        "mount.bind.recursively-read-only" => mount(
            config,
            "/tmp",
            "bind",
            &format!("{bundle}/lower"),
            &["rbind", "rro"],
        ),
        "mount.cgroup" => {
            namespace(config, json!({ "type": "cgroup" }));
            mount(config, "/tmp", "cgroup", "cgroup", &["ro"]);
        }
        "mount.mqueue" => mount(config, "/tmp", "mqueue", "mqueue", &[]),
        "mount.overlay" => {
            let options = ["lowerdir", "upperdir", "workdir"]
                .map(|option| format!("{option}={bundle}/{}", option.trim_end_matches("dir")));
            mount(
                config,
                "/tmp",
                "overlay",
                "overlay",
                &options.each_ref().map(String::as_str),
            );
        }
        "mount.proc" => mount(config, "/tmp", "proc", "proc", &[]),
        "mount.sysfs" => mount(config, "/tmp", "sysfs", "sysfs", &["ro"]),
        "capabilities.all" => {
            let last = fs::read_to_string("/proc/sys/kernel/cap_last_cap")?;
            let last: usize = last.trim().parse()?;
            let names = CAPABILITIES.split_whitespace().take(last + 1);
            let all: Vec<_> = names.map(|name| format!("CAP_{name}")).collect();
            set(
                config,
                "/process/capabilities",
                json!({ "bounding": all, "permitted": all }),
            );
        }
        "rlimit.raised" => {
            let (soft, hard) = getrlimit(Resource::RLIMIT_SIGPENDING)?;
            let raised = json!([{ "type": "RLIMIT_SIGPENDING", "soft": soft, "hard": hard + 1 }]);
            set(config, "/process/rlimits", raised);
        }
        "oom-score.lowered" => {
            let now: i32 = fs::read_to_string("/proc/self/oom_score_adj")?
                .trim()
                .parse()?;
            set(config, "/process/oomScoreAdj", json!(now - 1));
        }
        "seccomp" => set(
            config,
            "/linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["swapon"], "action": "SCMP_ACT_ERRNO" }] }),
        ),
        "apparmor" => set(config, "/process/apparmorProfile", json!("unconfined")),
        other => return Err(Stop::Fail(format!("no test for {other}"))),
    }
    Ok(())
}

/// In the kernel's order. capabilities(7)
const CAPABILITIES: &str = "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
    NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT
    SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP
    MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE";

fn directories(bundle: &Path) -> Check {
    for name in ["lower", "upper", "work"] {
        fs::create_dir(bundle.join(name))?;
    }
    Ok(())
}

fn here(scene: &mut Scene<'_>) -> Check {
    scene.only_longshore()?;
    let told = scene.call(&["doctor", "--format", "json"]).run()?;
    for finding in findings(&told.must()?.stdout)? {
        let mut other = Scene::new(scene.suite)?;
        if finding.id == "cgroup.systemd" {
            other.in_scope("system.slice");
        }
        directories(&other.dir)?;
        let bundle = other.dir.display().to_string();
        ask(&mut other.config, &finding.id, &bundle)?;
        other.script("true");
        let ran = other.run()?;
        let had = ran.ok() && ran.stderr.is_empty();
        ensure!(
            had == finding.able,
            "{} is {}, {:?}, but {}",
            finding.id,
            finding.able,
            finding.detail,
            ran.story()
        );
    }
    Ok(())
}

/// Each of the trials in turn: what the runtime says of it, and nothing of the cgroup that none of them has.
const INSIDE: &str = "runtime=$(echo /inner/program/*); call=\"$runtime --root /run/state\"
    $call doctor --format json; for trial in /inner/trials/*; do cd $trial
    $call run trial >/dev/null 2>/run/said && ! grep -v 'no cgroup of its own' /run/said >/run/rest
    echo \"$? ${trial##*/} $(cat /run/said)\"; done";

/// In a container with a user namespace, and what containers may usually do.
fn without_privileges(scene: &mut Scene<'_>) -> Check {
    scene.only_longshore()?;
    // The names alone: what they say here is another matter.
    let told = scene.call(&["doctor", "--format", "json"]).run()?;
    let ids = findings(&told.must()?.stdout)?;
    let usual = scene.config["process"]["capabilities"].clone();
    let mut inner = outer(scene, INSIDE)?;
    set(&mut scene.config, "/process/capabilities", usual);
    let map = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
    no_namespace(&mut inner, "user");
    namespace(&mut inner, json!({ "type": "user" }));
    set(&mut inner, "/linux/uidMappings", map.clone());
    set(&mut inner, "/linux/gidMappings", map);
    set(&mut inner, "/root/path", json!("/inner/rootfs"));
    set(&mut inner, "/process/args", json!(["/bin/true"]));
    for finding in ids.iter().filter(|finding| finding.id != "cgroup.systemd") {
        let bundle = scene.path("rootfs/inner/trials").join(&finding.id);
        fs::create_dir_all(&bundle)?;
        directories(&bundle)?;
        let mut config = inner.clone();
        let inside = format!("/inner/trials/{}", finding.id);
        ask(&mut config, &finding.id, &inside)?;
        fs::write(bundle.join("config.json"), config.to_string())?;
    }
    let ran = go(scene, &inner)?.must()?;
    let mut lines = ran.stdout.lines();
    let told = findings(lines.next().unwrap_or_default())?;
    let lines: Vec<&str> = lines.collect();
    for finding in told {
        let word = |line: &&&str| line.split(' ').nth(1) == Some(finding.id.as_str());
        let expect = match finding.id.as_str() {
            // There is none inside to ask for.
            "cgroup.systemd" => false,
            // What the trials' own warnings are about.
            "cgroup.own" => false,
            _ => {
                let line = lines.iter().find(word);
                let none = || Stop::Fail(format!("{} was not tried: {lines:?}", finding.id));
                line.ok_or_else(none)?.starts_with("0 ")
            }
        };
        ensure!(
            finding.able == expect,
            "{} is {}, {:?}, but {:?}",
            finding.id,
            finding.able,
            finding.detail,
            lines.iter().find(word)
        );
    }
    Ok(())
}

fn leaves_nothing(scene: &mut Scene<'_>) -> Check {
    scene.only_longshore()?;
    let running = scene.call(&["doctor"]).spawn()?;
    let pid = running.pid();
    running.wait(crate::runtime::LIMIT)?.must()?;
    let entries = fs::read_dir(scene.path("state"))?.flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let left: Vec<_> = names.filter(|name| name != "@cache").collect();
    ensure!(left.is_empty(), "left {left:?}");
    let cgroups = crate::cgroups::named(&format!("doctor-{pid}-"));
    ensure!(cgroups.is_empty(), "left {cgroups:?}");
    Ok(())
}

fn for_people(scene: &mut Scene<'_>) -> Check {
    scene.only_longshore()?;
    let ran = scene.verb_alone("doctor")?.must()?;
    for line in ran.stdout.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let shaped = matches!(words.as_slice(), ["yes", _] | ["no", _, _, ..]);
        ensure!(shaped, "{line:?}");
    }
    Ok(())
}
