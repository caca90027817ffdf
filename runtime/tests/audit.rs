//! What strace says of a launch. Invariant 3: between clone and exec stage 1
//! clears close-on-exec flags and executes init, nothing else. Invariant 4:
//! init reaches what is in the root filesystem by descriptor and one name, or
//! by a walk that the kernel keeps inside; the audit is a list of what may be.
#![allow(clippy::unwrap_used)]

mod common;
#[allow(dead_code)] // its main is the example's
#[path = "../examples/run.rs"]
mod example;

use common::{MOUNT_API, Stage, again, have, refuse, require_root, role, skip, succeed, watchdog};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;

/// Calls that take no path.
const PATHLESS: &[&str] = &[
    "accept4",
    "brk",
    "capget",
    "capset",
    "clone3",
    "close",
    "close_range",
    "dup3",
    "exit_group",
    "fchdir",
    "fchmod",
    "fcntl",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fstatfs",
    "getcwd",
    "getdents64",
    "getpid",
    "getsockopt",
    "ioctl",
    "keyctl",
    "listen",
    "lseek",
    "mmap",
    "munmap",
    "ppoll",
    "prctl",
    "prlimit64",
    "read",
    "recvmsg",
    "rt_sigaction",
    "rt_sigprocmask",
    "sched_setaffinity",
    "seccomp",
    "sendmsg",
    "setdomainname",
    "setgroups",
    "sethostname",
    "setns",
    "setresgid",
    "setresuid",
    "setsid",
    "socket",
    "umask",
    "unshare",
    "wait4",
    "write",
];

/// What is wrong with a call of init's after it has its root, if anything. `inside`: the root has
/// been switched, so that the names by which the user's program is found are the container's own.
fn wrong(line: &str, rootfs: &str, inside: bool) -> Option<&'static str> {
    let (name, arguments) = line.split_once('(')?; // an exit or a signal has none
    let arguments = arguments
        .rsplit_once(") ")
        .map_or(arguments, |(arguments, _)| arguments);
    let mut parts = arguments.split(", ");
    let first = parts.next().unwrap_or_default();
    let by_descriptor = first.starts_with(|digit: char| digit.is_ascii_digit());
    let strings: Vec<_> = arguments.split('"').skip(1).step_by(2).collect();
    let path = strings.first().copied().unwrap_or_default();
    let one_name = |name: &str| !name.contains('/') && name != "..";
    let fine = match name {
        _ if PATHLESS.contains(&name) => true,
        "mount_setattr" | "open_tree" | "move_mount" => {
            by_descriptor && strings.iter().all(|path| path.is_empty())
        }
        "openat2" => {
            by_descriptor
                && path.starts_with("./")
                && arguments.contains("RESOLVE_IN_ROOT")
                && arguments.contains("RESOLVE_NO_MAGICLINKS")
        }
        "openat" if by_descriptor => {
            one_name(path) && (arguments.contains("O_NOFOLLOW") || path == ".")
        }
        // The host's side: this namespace's root and procfs, the root filesystem itself, sources of binds. Later the user's program.
        "openat" => {
            path.starts_with('/')
                && arguments.contains("O_PATH")
                && (inside || !path.starts_with(&format!("{rootfs}/")))
        }
        "newfstatat" => {
            by_descriptor
                && one_name(path)
                && (arguments.contains("AT_SYMLINK_NOFOLLOW") || path.is_empty())
        }
        "mkdirat" | "mknodat" | "unlinkat" | "readlinkat" | "fchmodat" | "fchownat" => {
            by_descriptor && one_name(path)
        }
        "symlinkat" => {
            arguments
                .split(", ")
                .nth(1)
                .is_some_and(|fd| fd.parse::<u32>().is_ok())
                && strings.get(1).is_some_and(|name| one_name(name))
        }
        // Onto a descriptor, by the link of a verified procfs that is the working directory.
        "mount" if path.is_empty() && strings.get(1) == Some(&"/") => {
            !inside
                && (arguments.contains("MS_REC|MS_SLAVE")
                    || arguments.contains("MS_REC|MS_PRIVATE"))
        }
        "mount" => strings.get(1).is_some_and(|target| {
            target
                .strip_prefix("self/fd/")
                .is_some_and(|fd| fd.parse::<u32>().is_ok())
        }),
        "pivot_root" => arguments == r#"".", ".""#,
        "umount2" => path == ".",
        "chroot" => path == ".",
        "chdir" | "faccessat" | "execve" => inside,
        _ => return Some("is not on the list"),
    };
    (!fine).then_some("reaches the root filesystem by a path")
}

/// The lines of each process that the example and the container were.
fn trace(test: &str, lane: &str) -> (String, Vec<Vec<String>>) {
    let stage = Stage::new();
    let mut config = stage.script("audited", "echo audited");
    config["root"]["readonly"] = json!(false);
    config["process"]["cwd"] = json!("/made/on/the/way");
    fs::create_dir_all(stage.dir.join("data/deep")).unwrap();
    fs::write(stage.dir.join("data/file"), "x").unwrap();
    symlink("/etc", stage.rootfs().join("link")).unwrap();
    let bind = |source: &str, destination: &str, option: &str| json!({"destination": destination, "type": "bind", "source": stage.dir.join(source), "options": [option, "nosuid"]});
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.extend([
        bind("data", "/link/data", "rbind"),
        bind("data/file", "/srv/new/file", "ro"),
        bind("data/deep", "/usr/share", "bind"),
    ]);
    mounts.push(json!({"destination": "/link/t", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m"]}));
    config["linux"]["devices"] = json!([
        {"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200, "fileMode": 438},
        {"path": "/run/pipe", "type": "p", "fileMode": 384}
    ]);
    let bundle = stage.bundle("audited", &config);
    let prefix = stage.dir.join("trace");
    let mut command = again(
        &["strace", "-ff", "-s", "500", "-o", prefix.to_str().unwrap()],
        test,
        lane,
    );
    command
        .env("LONGSHORE_TEST_BUNDLE", bundle)
        .env("LONGSHORE_TEST_STATE", stage.dir.join("state"));
    let output = succeed(command);
    assert!(output.contains("audited\nExited(0)"), "{output}");
    stage.assert_clean();
    let files = fs::read_dir(&stage.dir)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("trace."));
    let lines = files
        .map(|file| {
            String::from_utf8_lossy(&fs::read(file.path()).unwrap())
                .lines()
                .map(str::to_owned)
                .collect()
        })
        .collect();
    (stage.rootfs().to_str().unwrap().to_owned(), lines)
}

/// In the role: runs the example. Otherwise: may the audit run?
fn proceed(lane_calls: &[libc::c_long]) -> bool {
    if role().is_some() {
        if role().as_deref() == Some("legacy") {
            refuse(lane_calls, libc::ENOSYS);
        }
        let variable = |name: &str| std::env::var(name).unwrap();
        println!(
            "{}",
            example::run(
                &variable("LONGSHORE_TEST_BUNDLE"),
                &variable("LONGSHORE_TEST_STATE")
            )
            .unwrap()
        );
        return false;
    }
    require_root() && (have("strace") || skip("needs strace"))
}

#[test]
fn nothing_runs_between_clone_and_exec() {
    let _watchdog = watchdog(60);
    if !proceed(&[]) {
        return;
    }
    let (_, all) = trace("nothing_runs_between_clone_and_exec", "plain");
    let stage1: Vec<_> = all
        .iter()
        .filter(|lines| lines.iter().any(|line| line.starts_with("execveat(")))
        .collect();
    let [stage1] = stage1[..] else {
        panic!("{} processes execute init", stage1.len())
    };
    let exec = stage1
        .iter()
        .position(|line| line.starts_with("execveat("))
        .unwrap();
    assert!(
        exec > 0
            && stage1[exec].contains(r#""", ["longshore-init""#)
            && stage1[exec].contains("AT_EMPTY_PATH"),
        "{}",
        stage1[exec]
    );
    let others: Vec<_> = stage1[..exec]
        .iter()
        .filter(|line| !between_clone_and_exec(line))
        .collect();
    assert!(others.is_empty(), "{others:#?}");
}

fn between_clone_and_exec(line: &str) -> bool {
    line.starts_with("fcntl(") && line.contains(", F_SETFD, 0)")
}

fn audit(test: &str, lane: &str, calls: &[libc::c_long]) {
    let _watchdog = watchdog(60);
    if !proceed(calls) {
        return;
    }
    let (rootfs, all) = trace(test, lane);
    let is_init = |lines: &&Vec<String>| lines.iter().any(|line| line.starts_with("pivot_root("));
    let init: Vec<_> = all.iter().filter(is_init).collect();
    let [init] = init[..] else {
        panic!("{} processes switch roots", init.len())
    };
    let end = init
        .iter()
        .position(|line| line.starts_with("execve("))
        .unwrap();
    let (mut inside, mut found) = (false, Vec::new());
    for line in &init[..=end] {
        if let Some(what) = wrong(line, &rootfs, inside) {
            found.push(format!("{what}: {line}"));
        }
        inside |= line.starts_with("umount2(");
    }
    assert!(inside && end > 100, "{end} calls");
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    println!(
        "audit: {} calls of init, none by a path of the container's",
        end + 1
    );
}

#[test]
fn init_takes_no_path_inside() {
    audit("init_takes_no_path_inside", "plain", &[]);
}

/// With mount(2), and without openat2(2).
#[test]
fn init_takes_no_path_inside_where_calls_are_missing() {
    let calls = [MOUNT_API, &[libc::SYS_openat2]].concat();
    audit(
        "init_takes_no_path_inside_where_calls_are_missing",
        "legacy",
        &calls,
    );
}

#[test]
fn control_the_audit_flags() {
    let bad = [
        r#"openat(AT_FDCWD, "/tmp/bundle/rootfs/etc", O_RDONLY|O_PATH) = 3"#,
        r#"openat(3, "etc/passwd", O_RDONLY|O_NOFOLLOW) = 4"#,
        r#"openat(3, "etc", O_RDONLY|O_CLOEXEC) = 4"#,
        r#"openat2(3, ".//etc", {flags=O_PATH, resolve=RESOLVE_NO_MAGICLINKS}, 24) = 4"#,
        r#"openat2(AT_FDCWD, "./etc", {flags=O_PATH, resolve=RESOLVE_NO_MAGICLINKS|RESOLVE_IN_ROOT}, 24) = 4"#,
        r#"mkdirat(AT_FDCWD, "proc", 0755) = 0"#,
        r#"mkdirat(3, "a/b", 0755) = 0"#,
        r#"mknodat(3, "../null", S_IFCHR|0666, makedev(0x1, 0x3)) = 0"#,
        r#"symlinkat("/proc/self/fd", AT_FDCWD, "/dev/fd") = 0"#,
        r#"mount("proc", "/rootfs/proc", "proc", 0, NULL) = 0"#,
        r#"move_mount(4, "", AT_FDCWD, "/rootfs/proc", MOVE_MOUNT_F_EMPTY_PATH) = 0"#,
        r#"open("/rootfs", O_RDONLY) = 3"#,
        r#"stat("/rootfs", {}) = 0"#,
        r#"chdir("/rootfs") = 0"#,
        r#"newfstatat(3, "proc", {st_mode=S_IFDIR|0755}, 0) = 0"#,
        r#"umount2("/oldroot", MNT_DETACH) = 0"#,
    ];
    for line in bad {
        assert!(wrong(line, "/tmp/bundle/rootfs", false).is_some(), "{line}");
    }
    assert!(
        [bad[1], bad[5]]
            .into_iter()
            .all(|line| wrong(line, "/tmp/bundle/rootfs", true).is_some())
    );
    for line in [
        r#"openat(3, "etc", O_RDONLY|O_NOFOLLOW|O_CLOEXEC|O_PATH) = 4"#,
        r#"openat2(3, ".//etc", {flags=O_PATH, resolve=RESOLVE_NO_MAGICLINKS|RESOLVE_IN_ROOT}, 24) = -1 ENOENT (No such file or directory)"#,
        "+++ exited with 0 +++",
    ] {
        assert_eq!(wrong(line, "/tmp/bundle/rootfs", false), None, "{line}");
    }
    assert!(between_clone_and_exec("fcntl(31, F_SETFD, 0) = 0"));
    assert!(
        [
            "brk(NULL) = 0x1",
            "fcntl(3, F_GETFL) = 2",
            "mmap(NULL, 4096) = 0x1"
        ]
        .into_iter()
        .all(|line| !between_clone_and_exec(line))
    );
}
