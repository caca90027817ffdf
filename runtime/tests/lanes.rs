//! Kernels and filters that lack something: each lane refuses some system
//! calls, to the library and to init alike, and a default container must come
//! out the same as without.
#![allow(clippy::unwrap_used)]

mod common;

use common::{
    MOUNT_API, Stage, again, alone, assert_childless, both, refuse, require_root, role, succeed,
    watchdog,
};
use longshore::ExitStatus;

const LANES: &[(&str, &[libc::c_long])] = &[
    ("clone3", &[libc::SYS_clone3]),
    ("openat2", &[libc::SYS_openat2]),
    ("mount api", MOUNT_API),
    ("mount_setattr", &[libc::SYS_mount_setattr]),
    ("close_range", &[libc::SYS_close_range]),
    ("pidfd_open", &[libc::SYS_pidfd_open]),
    ("memfd_create", &[libc::SYS_memfd_create]),
    (
        "all of them",
        &[
            libc::SYS_clone3,
            libc::SYS_openat2,
            libc::SYS_fsopen,
            libc::SYS_fsconfig,
            libc::SYS_fsmount,
            libc::SYS_open_tree,
            libc::SYS_move_mount,
            libc::SYS_mount_setattr,
            libc::SYS_close_range,
            libc::SYS_pidfd_open,
            libc::SYS_memfd_create,
        ],
    ),
];

const ERRNOS: [(&str, i32); 2] = [("ENOSYS", libc::ENOSYS), ("EPERM", libc::EPERM)];

/// What a container sees of its isolation. Every line would differ if a step had been left out.
const SCRIPT: &str = r#"
hostname
cat /marker
echo pid $$
test -d /proc/1 && echo proc
test -e /proc/self/root/proc/version && ls /
test -c /proc/timer_list && echo timer_list masked
wc -c < /proc/keys
ls -a /sys/firmware | wc -l
(echo 1 > /proc/sys/net/ipv4/ip_forward) 2>/dev/null && echo writable sysctl
grep -c ' /proc/sys proc ro,' /proc/self/mounts
(touch /x) 2>/dev/null && echo writable root
(touch /sys/x) 2>/dev/null && echo writable sys
touch /dev/shm/x && echo shm
ls /proc/self/fd | wc -l
grep -E '^(Cap|NoNew)' /proc/self/status
while read id parent device root place options rest; do echo mounted $place $options; done < /proc/self/mountinfo
ls -l /dev/null /dev/fd /dev/ptmx | while read mode rest; do echo $mode; done
cat /proc/self/cgroup | wc -l
echo HOME $HOME
stat -c %a /etc
(touch /etc/x) 2>/dev/null && echo writable etc
df -k /dev/shm | while read name size rest; do echo $size; done
cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_default_ttl
"#;

fn default_container() -> String {
    let stage = Stage::new();
    let mut config = stage.script("lane", SCRIPT);
    config["linux"]["sysctl"] =
        serde_json::json!({"kernel.msgmax": "4096", "net/ipv4/ip_default_ttl": "77"});
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.push(serde_json::json!({"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "ro", "nosuid"]}));
    mounts.push(serde_json::json!({"destination": "/dev/mqueue", "type": "none", "source": "none", "options": ["bind", "remount", "ro"]}));
    mounts.push(serde_json::json!({"destination": "/dev/shm", "type": "none", "source": "none", "options": ["remount", "size=1m"]}));
    let (status, output) = stage.run("lane", &config).unwrap();
    assert_eq!(status, ExitStatus::Exited(0));
    // A second life, started by whom the creator's handle is unknown, and ended by force.
    stage
        .container("forced", &stage.script("forced", "exec sleep 1000"))
        .create()
        .unwrap();
    let container = stage.runtime.open("forced").unwrap();
    let process = container.start().unwrap();
    assert_eq!(process.try_wait().unwrap(), None);
    container.kill(9).unwrap();
    assert_eq!(process.wait().unwrap(), ExitStatus::Signaled(9));
    stage.runtime.force_delete("forced").unwrap();
    stage.assert_clean();
    output
}

/// The lines between the marks.
fn between(text: &str) -> String {
    let Some((text, _)) = text
        .split_once("<<<\n")
        .and_then(|(_, rest)| rest.split_once(">>>"))
    else {
        return String::new();
    };
    // The kernel lists mounts by a number that it uses again.
    let (mut mounts, others): (Vec<_>, Vec<_>) =
        text.lines().partition(|line| line.starts_with("mounted "));
    // A masked file is the null device, the host's or the container's: their flags may differ.
    for mount in &mut mounts {
        *mount = ["mounted /proc/keys", "mounted /proc/timer_list"]
            .into_iter()
            .find(|file| mount.starts_with(file))
            .unwrap_or(mount);
    }
    mounts.sort_unstable();
    [others, mounts].concat().join("\n")
}

fn differing(plain: &str, got: &str) -> String {
    let missing = plain
        .lines()
        .filter(|line| !got.lines().any(|other| other == *line))
        .map(|line| format!("- {line}\n"));
    let added = got
        .lines()
        .filter(|line| !plain.lines().any(|other| other == *line))
        .map(|line| format!("+ {line}\n"));
    missing.chain(added).collect()
}

#[test]
fn every_lane_gives_the_same_container() {
    if !require_root() {
        return;
    }
    let _watchdog = watchdog(120);
    if let Some(role) = role() {
        let (lane, errno) = role.split_once('/').unwrap();
        if let Some((_, calls)) = LANES.iter().find(|(name, _)| *name == lane) {
            refuse(
                calls,
                ERRNOS.iter().find(|(name, _)| *name == errno).unwrap().1,
            );
            // SAFETY: no pointer, and refused before it would be looked at.
            assert_eq!(unsafe { libc::syscall(calls[0], -1, 0, 0, 0, 0) }, -1);
        }
        println!("<<<\n{}>>>", default_container());
        return;
    }
    let run = |role: &str| succeed(again(&[], "every_lane_gives_the_same_container", role));
    let plain = between(&run("none/none"));
    for word in [
        "longshore-test\nthe container's root\npid 1\nproc\nbin\n",
        "timer_list masked\n0\n2\n1\nshm\n4\n",
        "NoNewPrivs:\t1",
        "HOME /root\n755\n1K-blocks\n1024\n4096\n77\n",
    ] {
        assert!(plain.contains(word), "{word:?} is not in {plain}");
    }
    let mut wrong = Vec::new();
    for (lane, _) in LANES {
        for (errno, _) in ERRNOS {
            let name = format!("{lane}/{errno}");
            let output = again(&[], "every_lane_gives_the_same_container", &name)
                .output()
                .unwrap();
            let text = both(&output);
            let got = between(&text);
            let same = output.status.success() && got == plain;
            let text = if got.is_empty() {
                text
            } else {
                differing(&plain, &got)
            };
            println!(
                "lane {name}: {}",
                if same { "the same container" } else { "FAILED" }
            );
            if !same {
                wrong.push(format!("{name}: {text}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Where no way is left to execute init: one error, and nothing behind it.
#[test]
fn control_without_a_way_to_execute_init() {
    let Some(_watchdog) = alone(&[], "control_without_a_way_to_execute_init", "control") else {
        return;
    };
    let stage = Stage::new();
    refuse(&[libc::SYS_execveat, libc::SYS_memfd_create], libc::ENOSYS);
    let error = stage
        .container("never", &stage.script("never", "true"))
        .create()
        .unwrap_err();
    assert_eq!(error.errno(), Some(libc::ENOSYS), "{error}");
    assert_eq!(error.to_string().lines().count(), 1);
    assert_childless();
    stage.assert_clean();
}
