//! De facto: a runtime in a container that has a user namespace, where its root is nobody on the host.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::{Value, json};

use crate::config::{base, mount, namespace, no_namespace, push, script, set, strip, unmount};
use crate::property::{Scenario, scenario};
use crate::rootfs;
use crate::runtime::Ran;
use crate::scene::Scene;
use crate::suite::{Check, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("rootless.inside.run", run),
    scenario("rootless.inside.exec", exec),
    scenario("rootless.inside.own-user-namespace", own_user_namespace),
    scenario("rootless.inside.masked-proc.refused", masked),
    scenario("rootless.inside.masked-proc.bound", bound),
];

const RUN: &str = "runtime=$(echo /inner/program/*); call=\"$runtime --root /run/state\"
    cd /inner; $call run inner; echo code $?; ls -A /run/state";

/// A container with a runtime, its libraries and a bundle; what the runtime gets as its configuration.
pub(super) fn outer(scene: &mut Scene<'_>, words: &str) -> Check<Value> {
    let root = scene.path("rootfs");
    let (inner, program) = (root.join("inner"), root.join("inner/program"));
    fs::create_dir_all(&program)?;
    let program = program.join(scene.program.file_name().unwrap_or_default());
    fs::copy(&scene.program, &program)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    rootfs::busybox(scene.suite, &inner.join("rootfs"))?;
    for library in ["lib", "lib64"] {
        symlink(format!("usr/{library}"), root.join(library))?;
    }
    let config = &mut scene.config;
    crate::config::user_namespace(config);
    mount(config, "/usr", "bind", "/usr", &["rbind", "ro"]);
    let readonly = ["nosuid", "noexec", "nodev", "ro"];
    mount(config, "/sys/fs/cgroup", "cgroup", "cgroup", &readonly);
    strip(config, "/linux/resources");
    mount(config, "/run", "tmpfs", "tmpfs", &["mode=755"]);
    for set in ["bounding", "effective", "permitted"] {
        for capability in ["CAP_SYS_ADMIN", "CAP_NET_ADMIN"] {
            let sets = format!("/process/capabilities/{set}");
            push(config, &sets, json!(capability));
        }
    }
    scene.script(words);
    let mut inner = base("");
    strip(&mut inner, "/linux/cgroupsPath");
    strip(&mut inner, "/linux/resources");
    script(&mut inner, "echo inner ran; exit 7");
    Ok(inner)
}

pub(super) fn go(scene: &Scene<'_>, inner: &Value) -> Check<Ran> {
    let config = scene.path("rootfs/inner/config.json");
    fs::write(config, inner.to_string())?;
    scene.run()
}

fn must_run(scene: &Scene<'_>, inner: &Value) -> Check {
    let ran = go(scene, inner)?;
    ensure!(ran.stdout == "inner ran\ncode 7\n", "{}", ran.story());
    Ok(())
}

/// With all of a container's namespaces but the user namespace, which it shares; that it has no cgroup is said.
fn run(scene: &mut Scene<'_>) -> Check {
    let inner = outer(scene, RUN)?;
    let ran = go(scene, &inner)?;
    ensure!(ran.stdout == "inner ran\ncode 7\n", "{}", ran.story());
    let said = ran
        .stderr
        .contains("linux.cgroupsPath: no cgroup of its own");
    ensure!(
        said || scene.runtime().name != "longshore",
        "{}",
        ran.story()
    );
    Ok(())
}

fn exec(scene: &mut Scene<'_>) -> Check {
    let mut inner = outer(
        scene,
        "runtime=$(echo /inner/program/*); call=\"$runtime --root /run/state\"
        cd /inner; $call run --detach inner && $call exec inner sh -c 'echo added; exit 4'
        echo code $?; $call delete --force inner; ls -A /run/state",
    )?;
    script(&mut inner, "exec sleep 100");
    let ran = go(scene, &inner)?;
    ensure!(ran.stdout == "added\ncode 4\n", "{}", ran.story());
    Ok(())
}

/// Its root may set ids, and no more than what containers usually may: that is enough for maps of many ids.
fn own_user_namespace(scene: &mut Scene<'_>) -> Check {
    let usual = scene.config["process"]["capabilities"].clone();
    let mut inner = outer(scene, RUN)?;
    set(&mut scene.config, "/process/capabilities", usual);
    map_thousand(&mut inner);
    let words = "echo $(cat /proc/self/uid_map); exit 7";
    script(&mut inner, words);
    let ran = go(scene, &inner)?;
    ensure!(ran.stdout == "0 1000 1000\ncode 7\n", "{}", ran.story());
    Ok(())
}

fn map_thousand(config: &mut Value) {
    let map = json!([{ "containerID": 0, "hostID": 1000, "size": 1000 }]);
    namespace(config, json!({ "type": "user" }));
    set(config, "/linux/uidMappings", map.clone());
    set(config, "/linux/gidMappings", map);
}

fn mask(scene: &mut Scene<'_>) {
    let config = &mut scene.config;
    set(config, "/linux/maskedPaths", json!(["/proc/kcore"]));
    set(config, "/linux/readonlyPaths", json!(["/proc/sys"]));
}

/// The kernel gives a new user namespace no procfs that shows more than the one that is there. That one shows the
/// processes of others: it is no stand-in.
fn masked(scene: &mut Scene<'_>) -> Check {
    let mut inner = outer(scene, RUN)?;
    map_thousand(&mut inner);
    mask(scene);
    let ran = go(scene, &inner)?;
    ensure!(
        ran.stdout.starts_with("code ") && ran.stdout.lines().count() == 1,
        "{}",
        ran.story()
    );
    let said = ran.stderr.contains("mounts[0] (/proc)");
    ensure!(
        said || scene.runtime().name != "longshore",
        "{}",
        ran.story()
    );
    Ok(())
}

/// Whoever keeps the pid namespace can have the /proc that belongs to it.
fn bound(scene: &mut Scene<'_>) -> Check {
    let mut inner = outer(scene, RUN)?;
    mask(scene);
    no_namespace(&mut inner, "pid");
    unmount(&mut inner, "/proc");
    mount(&mut inner, "/proc", "bind", "/proc", &["rbind"]);
    must_run(scene, &inner)
}
