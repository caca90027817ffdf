//! config.md#mounts: where the destinations lead, and tables of options.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::json;

use crate::config::{mount, set};
use crate::property::{Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("mounts.destination.symlink-stays-inside", symlink_inside),
    scenario("mounts.destination.dotdot-stays-inside", dotdot_inside),
    scenario("mounts.destination.links-of-every-kind", links),
    scenario("mounts.destination.link-into-proc", link_into_proc).deviates(&[
        ("runc", "1.1 looks at the name only"),
        ("crun", "mounts anywhere"),
    ]),
    scenario("mounts.tmpfs.takes-the-directorys-mode", tmpfs_mode).deviates(&[
        ("runc", "1.1 lets the directory's mode win over the option"),
        ("crun", "leaves the kernel's default"),
    ]),
    scenario("linux.rootfsPropagation.values", root_propagation).deviates(&[(
        "runc",
        "1.1 sets it on the old root, whose clone is made private again",
    )]),
    scenario("mounts.options.table", option_table),
    scenario("mounts.options.symfollow", follow_links)
        .deviates(&[("crun", "knows neither symfollow nor nosymfollow")]),
    scenario("mounts.destination.relative", relative),
];

/// Links on a filesystem are followed, unless nosymfollow is given.
fn follow_links(scene: &mut Scene<'_>) -> Check {
    for (place, option) in [("/yes", "symfollow"), ("/no", "nosymfollow")] {
        mount(&mut scene.config, place, "tmpfs", "tmpfs", &[option]);
    }
    scene.script("for d in /yes /no; do echo $d > $d/file; ln -s file $d/link; done; cat /yes/link; ! cat /no/link");
    let ran = scene.run()?.must()?;
    ensure!(ran.stdout == "/yes\n", "followed: {:?}", ran.stdout);
    Ok(())
}

fn relative(scene: &mut Scene<'_>) -> Check {
    mount(&mut scene.config, "new/place", "tmpfs", "tmpfs", &[]);
    scene.script("grep ' /new/place ' /proc/mounts");
    scene.run()?.must()?;
    Ok(())
}

/// An absolute link in the root means a place in the root, never on the host.
fn symlink_inside(scene: &mut Scene<'_>) -> Check {
    scene.open_dir("outside")?;
    let outside = scene.path("outside");
    symlink(&outside, scene.path("rootfs/link"))?;
    mount(&mut scene.config, "/link/made", "tmpfs", "tmpfs", &[]);
    scene.script("grep tmpfs /proc/mounts");
    let ran = scene.run()?.must()?;
    ensure!(
        fs::read_dir(&outside)?.next().is_none(),
        "the mount point was made on the host"
    );
    ensure!(
        ran.stdout
            .contains(&format!(" {}/made ", outside.display())),
        "not mounted inside: {}",
        ran.stdout
    );
    Ok(())
}

fn dotdot_inside(scene: &mut Scene<'_>) -> Check {
    scene.open_dir("outside")?;
    symlink("../../../../../../..", scene.path("rootfs/up"))?;
    mount(&mut scene.config, "/up/made", "tmpfs", "tmpfs", &[]);
    scene.script("grep ' /made ' /proc/mounts");
    scene.run()?.must()?;
    ensure!(
        !std::path::Path::new("/made").exists(),
        "the mount point was made on the host"
    );
    Ok(())
}

/// Through, below and beside links: absolute, relative, chained, climbing.
fn links(scene: &mut Scene<'_>) -> Check {
    scene.file("rootfs/real/deep/there", "")?;
    scene.file("src/file", "from outside\n")?;
    for (contents, name) in [
        ("/real", "absolute"),
        ("real/deep", "relative"),
        ("/absolute/deep", "chained"),
        ("../../../../real/deep", "climbing"),
    ] {
        symlink(contents, scene.path("rootfs").join(name))?;
    }
    for destination in [
        "/absolute/a",
        "/relative/b",
        "/chained/c",
        "/climbing/d",
        "/relative/../../../e",
    ] {
        mount(
            &mut scene.config,
            destination,
            "bind",
            "src/file",
            &["bind"],
        );
    }
    scene.script("cat /real/a /real/deep/b /real/deep/c /real/deep/d; ls /e");
    let ran = scene.run()?;
    ensure!(ran.ok(), "{}", ran.story());
    ensure!(
        ran.stdout == "from outside\n".repeat(4) + "/e\n",
        "{}",
        ran.story()
    );
    ensure!(!std::path::Path::new("/e").exists(), "made on the host");
    Ok(())
}

/// What would be read from /proc must not be led astray by another name for it.
fn link_into_proc(scene: &mut Scene<'_>) -> Check {
    symlink("/proc", scene.path("rootfs/link"))?;
    mount(&mut scene.config, "/link/sys", "tmpfs", "tmpfs", &[]);
    let ran = scene.try_create()?;
    ensure!(!ran.ok(), "mounted in /proc: {}", ran.story());
    let left = scene.left_behind();
    ensure!(left.is_empty(), "left: {left:?}");
    Ok(())
}

/// De facto: unless the options say otherwise.
fn tmpfs_mode(scene: &mut Scene<'_>) -> Check {
    for (name, mode) in [("one", 0o711), ("two", 0o1770), ("three", 0o700)] {
        let path = scene.path("rootfs").join(name);
        fs::create_dir(&path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    mount(&mut scene.config, "/one", "tmpfs", "tmpfs", &["nosuid"]);
    mount(&mut scene.config, "/two", "tmpfs", "tmpfs", &[]);
    mount(&mut scene.config, "/three", "tmpfs", "tmpfs", &["mode=751"]);
    scene.script("stat -c %a /one /two /three");
    let ran = scene.run()?;
    ensure!(ran.stdout == "711\n1770\n751\n", "{}", ran.story());
    Ok(())
}

/// Options of config.md#mounts that show as a word in mountinfo.
const WORDS: &[&str] = &[
    "noatime",
    "nodiratime",
    "ro",
    "nosuid",
    "nodev",
    "noexec",
    "sync",
    "dirsync",
];

/// Each option on a tmpfs of its own; a tmpfs without options is the control.
fn option_table(scene: &mut Scene<'_>) -> Check {
    for option in WORDS.iter().chain(&["strictatime"]) {
        mount(
            &mut scene.config,
            &format!("/o/{option}"),
            "tmpfs",
            "tmpfs",
            &[option],
        );
    }
    mount(&mut scene.config, "/o/plain", "tmpfs", "tmpfs", &[]);
    scene.script("cat /proc/mounts");
    let ran = scene.run()?.must()?;
    let has = |path: &str, word: &str| {
        let line = ran
            .stdout
            .lines()
            .find(|line| line.split(' ').nth(1) == Some(path));
        line.and_then(|line| line.split(' ').nth(3))
            .is_some_and(|words| words.split(',').any(|found| found == word))
    };
    for option in WORDS {
        ensure!(
            has(&format!("/o/{option}"), option),
            "{option} has no effect: {}",
            ran.stdout
        );
        ensure!(
            !has("/o/plain", option),
            "{option} is there without the option"
        );
    }
    // The kernel's default is relatime, and strictatime shows as its absence.
    ensure!(
        has("/o/plain", "relatime") && !has("/o/strictatime", "relatime"),
        "strictatime has no effect: {}",
        ran.stdout
    );
    Ok(())
}

/// What the propagation fields of the root's own line must hold. Nothing on the host is shared with
/// it here, so that a slave has no master.
fn root_propagation(scene: &mut Scene<'_>) -> Check {
    for (value, shared, unbindable) in [
        ("shared", true, false),
        ("rshared", true, false),
        ("slave", false, false),
        ("rslave", false, false),
        ("private", false, false),
        ("rprivate", false, false),
        ("unbindable", false, true),
        ("runbindable", false, true),
    ] {
        set(&mut scene.config, "/linux/rootfsPropagation", json!(value));
        scene.script("grep '/rootfs / ' /proc/self/mountinfo");
        let ran = scene.run()?;
        ensure!(ran.ok(), "{value}: {}", ran.story());
        ensure!(
            ran.stdout.contains(" shared:") == shared
                && ran.stdout.contains(" unbindable ") == unbindable,
            "{value}: {}",
            ran.story()
        );
    }
    Ok(())
}
