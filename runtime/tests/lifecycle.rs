//! The lifecycle through the public API: what goes in, what comes out, and
//! the kinds of program that may call.
#![allow(clippy::unwrap_used)]

mod common;

use common::{
    Stage, again_as, alone, assert_childless, finish, have, read, require_root, role, skip,
    succeed, wait, watchdog,
};
use longshore::{ErrorKind, ExitStatus, Status, Stdio};
use serde_json::json;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;

#[test]
fn create_start_wait_delete() {
    let Some(stage) = Stage::ready() else { return };
    let mut container = stage
        .container(
            "a",
            &stage.script("a", "echo hello; cat /marker; hostname; exit 3"),
        )
        .stdout(Stdio::piped())
        .create()
        .unwrap();
    let state = container.state().unwrap();
    assert_eq!((state.status(), state.id()), (Status::Created, "a"));
    assert!(state.pid().is_some_and(|pid| pid > 0));
    let process = container.start().unwrap();
    let output = read(container.pipes().stdout.take().unwrap());
    assert_eq!(output, "hello\nthe container's root\nlongshore-test\n");
    assert_eq!(process.wait().unwrap(), ExitStatus::Exited(3));
    assert_eq!(container.state().unwrap().status(), Status::Stopped);
    container.delete().unwrap();
    assert_eq!(
        stage.runtime.open("a").unwrap_err().kind(),
        ErrorKind::NotFound
    );
    stage.assert_clean();
}

#[test]
fn exit_statuses() {
    let Some(stage) = Stage::ready() else { return };
    for (id, script, expect) in [
        ("zero", "exit 0", ExitStatus::Exited(0)),
        ("high", "exit 255", ExitStatus::Exited(255)),
        ("outside", "exec sleep 1000", ExitStatus::Signaled(9)),
    ] {
        let container = stage
            .container(id, &stage.script(id, script))
            .create()
            .unwrap();
        let process = container.start().unwrap();
        if let ExitStatus::Signaled(signal) = expect {
            container.kill(signal).unwrap();
        }
        assert_eq!(wait(&process), expect, "{script}");
        container.delete().unwrap();
    }
    // Without a pid namespace of its own even its first process dies of ordinary signals.
    let mut config = stage.script("term", "kill -TERM $$");
    config["linux"]["namespaces"] =
        json!([{"type": "mount"}, {"type": "uts"}, {"type": "ipc"}, {"type": "network"}]);
    assert_eq!(
        stage.run("term", &config).unwrap().0,
        ExitStatus::Signaled(15)
    );
    stage.assert_clean();
}

#[test]
fn try_wait_does_not_wait() {
    let Some(stage) = Stage::ready() else { return };
    let mut container = stage
        .container("t", &stage.script("t", "read line; exit 7"))
        .stdin(Stdio::piped())
        .create()
        .unwrap();
    let process = container.start().unwrap();
    assert_eq!(process.try_wait().unwrap(), None);
    assert_eq!(container.state().unwrap().status(), Status::Running);
    container
        .pipes()
        .stdin
        .take()
        .unwrap()
        .write_all(b"go\n")
        .unwrap();
    assert_eq!(wait(&process), ExitStatus::Exited(7));
    // Reaped by now: the kernel may still say, and nothing may hang.
    assert!(matches!(
        process.try_wait().unwrap(),
        Some(ExitStatus::Exited(7) | ExitStatus::Unknown)
    ));
    container.delete().unwrap();
}

#[test]
fn stdio_of_every_kind() {
    let Some(stage) = Stage::ready() else { return };
    let script = "cat; echo complaint >&2";
    let mut container = stage
        .container("pipes", &stage.script("pipes", script))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .create()
        .unwrap();
    let process = container.start().unwrap();
    let pipes = std::mem::take(container.pipes());
    pipes.stdin.unwrap().write_all(b"through\n").unwrap();
    assert_eq!(read(pipes.stdout.unwrap()), "through\n");
    assert_eq!(read(pipes.stderr.unwrap()), "complaint\n");
    assert_eq!(wait(&process), ExitStatus::Exited(0));
    container.delete().unwrap();

    // A descriptor of the caller's, and the null device.
    let file = stage.dir.join("output");
    let open = || {
        File::options()
            .create(true)
            .append(true)
            .open(&file)
            .unwrap()
    };
    let container = stage
        .container(
            "given",
            &stage.script("given", "cat; echo written; echo more >&2"),
        )
        .stdout(Stdio::from(open()))
        .stderr(Stdio::from(OwnedFd::from(open())))
        .create()
        .unwrap();
    finish(container).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "written\nmore\n");
    let config = stage.script(
        "null",
        "test -c /proc/self/fd/1 && test -c /proc/self/fd/0 && echo lost",
    );
    let container = stage
        .container("null", &config)
        .stdout(Stdio::null())
        .create()
        .unwrap();
    assert_eq!(
        finish(container).unwrap(),
        (ExitStatus::Exited(0), String::new())
    );
    stage.assert_clean();
}

#[test]
fn a_terminal_of_its_own() {
    let Some(stage) = Stage::ready() else { return };
    let mut config = stage.script(
        "pty",
        "tty; test -c /dev/console && echo console; read word; echo got:$word",
    );
    config["process"]["terminal"] = json!(true);
    let mut container = stage
        .runtime
        .container("pty")
        .bundle(stage.bundle("pty", &config))
        .pty()
        .create()
        .unwrap();
    let mut master = container.take_terminal().unwrap();
    assert!(container.take_terminal().is_none());
    let process = container.start().unwrap();
    master.write_all(b"word\n").unwrap();
    let mut output = Vec::new();
    let mut buffer = [0; 256];
    // The master ends with EIO when the last user of the other side is gone.
    while let Ok(length @ 1..) = master.read(&mut buffer) {
        output.extend_from_slice(&buffer[..length]);
    }
    let output = String::from_utf8_lossy(&output);
    assert!(
        output.contains("/dev/pts/0") && output.contains("console") && output.contains("got:word"),
        "{output}"
    );
    assert_eq!(wait(&process), ExitStatus::Exited(0));
    container.delete().unwrap();
    // Asked for by one side only.
    let error = stage.container("one", &config).create().unwrap_err();
    assert_eq!(
        (error.kind(), error.config_path()),
        (ErrorKind::InvalidConfig, Some("process.terminal"))
    );
    stage.assert_clean();
}

#[test]
fn extra_descriptors_and_no_others() {
    let Some(stage) = Stage::ready() else { return };
    for name in ["three", "four"] {
        fs::write(stage.dir.join(name), format!("{name}\n")).unwrap();
    }
    let open = |name: &str| OwnedFd::from(File::open(stage.dir.join(name)).unwrap());
    // `ls` itself holds the directory that it reads, as one more.
    let config = stage.script("fds", "cat <&3; cat <&4; ls /proc/self/fd | wc -l");
    let builder = stage
        .container("fds", &config)
        .extra_fd(open("three"))
        .extra_fd(open("four"))
        .stdout(Stdio::piped());
    let (status, output) = finish(builder.create().unwrap()).unwrap();
    assert_eq!(
        (status, output.as_str()),
        (ExitStatus::Exited(0), "three\nfour\n6\n")
    );
    assert_eq!(stage.output("none", "ls /proc/self/fd | wc -l"), "4\n");
}

/// A custom workload: the file to execute is the caller's, and isn't in the root filesystem.
#[test]
fn a_program_by_descriptor() {
    let Some(stage) = Stage::ready() else { return };
    let empty = stage.dir.join("empty");
    for directory in ["proc", "dev", "sys"] {
        fs::create_dir_all(empty.join(directory)).unwrap();
    }
    let engine = File::options()
        .read(true)
        .custom_flags(libc::O_CLOEXEC)
        .open(stage.rootfs().join("bin/busybox"))
        .unwrap();
    let config = stage.config("engine", &["echo", "from", "a", "descriptor"]);
    let builder = stage
        .container("engine", &config)
        .rootfs(&empty)
        .program(engine.into())
        .stdout(Stdio::piped());
    let (status, output) = finish(builder.create().unwrap()).unwrap();
    assert_eq!(
        (status, output.as_str()),
        (ExitStatus::Exited(0), "from a descriptor\n")
    );
    stage.assert_clean();
}

#[test]
fn rootfs_and_spec_by_value() {
    let Some(stage) = Stage::ready() else { return };
    let mut config = stage.script("value", "cat /marker");
    config["root"]["path"] = json!("nowhere");
    let spec: longshore::oci_spec::runtime::Spec = serde_json::from_value(config.clone()).unwrap();
    let by_path = |id: &str| {
        stage
            .runtime
            .container(id)
            .bundle(&stage.dir)
            .spec(&spec)
            .unwrap()
            .rootfs(stage.rootfs())
    };
    let container = by_path("value")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .create()
        .unwrap();
    assert_eq!(finish(container).unwrap().1, "the container's root\n");
    let directory = File::options()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
        .open(stage.rootfs())
        .unwrap();
    let by_fd = stage
        .container("fd", &config)
        .rootfs_fd(directory.into())
        .stdout(Stdio::piped());
    assert_eq!(
        finish(by_fd.create().unwrap()).unwrap().1,
        "the container's root\n"
    );
    stage.assert_clean();
}

#[test]
fn errors_say_what_where_and_why() {
    let Some(stage) = Stage::ready() else { return };
    let error = stage
        .container("missing", &stage.config("missing", &["/bin/nothing"]))
        .create()
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.config_path(), error.errno()),
        (ErrorKind::Exec, Some("process.args"), Some(libc::ENOENT)),
        "{error}"
    );

    let mut config = stage.script("mount", "true");
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.push(json!({"destination": "/data", "type": "bind", "source": "/no/such/source", "options": ["rbind"]}));
    let error = stage.container("mount", &config).create().unwrap_err();
    assert_eq!(
        (error.config_path(), error.errno()),
        (Some("mounts[7] (/data)"), Some(libc::ENOENT)),
        "{error}"
    );
    assert!(
        error
            .step()
            .is_some_and(|step| step.contains("/no/such/source")),
        "{:?}",
        error.step()
    );

    let mut config = stage.script("fs", "true");
    config["mounts"].as_array_mut().unwrap().push(json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["size=nonsense"]}));
    let error = stage.container("fs", &config).create().unwrap_err();
    assert_eq!(
        (error.kind(), error.config_path(), error.errno()),
        (
            ErrorKind::System,
            Some("mounts[7] (/tmp)"),
            Some(libc::EINVAL)
        ),
        "{error}"
    );

    let mut config = stage.script("cap", "true");
    config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOTHING", "soft": 1, "hard": 1}]);
    assert_eq!(
        stage.container("cap", &config).create().unwrap_err().kind(),
        ErrorKind::InvalidConfig
    );

    let container = stage
        .container("twice", &stage.script("twice", "read line"))
        .stdin(Stdio::piped())
        .create()
        .unwrap();
    assert_eq!(
        stage
            .container("twice", &stage.script("twice", "true"))
            .create()
            .unwrap_err()
            .kind(),
        ErrorKind::AlreadyExists
    );
    let process = container.start().unwrap();
    assert_eq!(
        container.start().unwrap_err().kind(),
        ErrorKind::InvalidState
    );
    assert_eq!(
        container.delete().unwrap_err().kind(),
        ErrorKind::InvalidState
    );
    container.kill(9).unwrap();
    wait(&process);
    assert_eq!(
        container.kill(15).unwrap_err().kind(),
        ErrorKind::InvalidState
    );
    container.delete().unwrap();
    stage.assert_clean();
}

/// What create could look at when it was called is not what start finds.
#[test]
fn a_program_that_vanished_is_an_error_of_start() {
    let Some(stage) = Stage::ready() else { return };
    fs::copy(
        stage.rootfs().join("bin/busybox"),
        stage.rootfs().join("bin/soon-gone"),
    )
    .unwrap();
    let container = stage
        .container("gone", &stage.config("gone", &["/bin/soon-gone"]))
        .create()
        .unwrap();
    fs::remove_file(stage.rootfs().join("bin/soon-gone")).unwrap();
    let error = container.start().unwrap_err();
    assert_eq!(
        (error.kind(), error.errno()),
        (ErrorKind::Exec, Some(libc::ENOENT)),
        "{error}"
    );
    stage.runtime.force_delete("gone").unwrap();
    stage.assert_clean();
}

/// One life, in whatever process this is.
fn one_life() {
    let stage = Stage::new();
    let (status, output) = stage
        .run("life", &stage.script("life", "echo alive; exit 5"))
        .unwrap();
    assert_eq!(output, "alive\n");
    // Where children are reaped by the kernel at once, only new ones tell the status still.
    assert!(
        matches!(status, ExitStatus::Exited(5) | ExitStatus::Unknown),
        "{status:?}"
    );
    if role().as_deref() != Some("ignores") {
        assert_eq!(status, ExitStatus::Exited(5));
    }
    let error = stage
        .container("bad", &stage.config("bad", &["/nothing"]))
        .create()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exec);
    stage.assert_clean();
}

#[test]
fn in_a_process_that_ignores_sigchld() {
    let Some(_watchdog) = alone(&[], "in_a_process_that_ignores_sigchld", "ignores") else {
        return;
    };
    // SAFETY: sets a disposition; no handler is involved.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    one_life();
}

#[test]
fn in_a_subreaper() {
    let Some(_watchdog) = alone(&[], "in_a_subreaper", "subreaper") else {
        return;
    };
    // SAFETY: takes numbers.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) }, 0);
    one_life();
    assert_childless(); // nothing of the container came to us
}

#[test]
fn as_pid_1() {
    let wrapper = ["unshare", "--pid", "--fork", "--mount-proc"];
    let Some(_watchdog) = alone(&wrapper, "as_pid_1", "first") else {
        return;
    };
    assert_eq!(std::process::id(), 1);
    one_life();
}

/// An ordinary user: a user namespace that maps nobody else, no cgroup, bind sources by path.
#[test]
fn as_an_ordinary_user() {
    let _watchdog = watchdog(60);
    if role().is_some() {
        let stage = Stage::new();
        let runtime = longshore::Runtime::builder()
            .state_root(stage.dir.join("own"))
            .cgroups(longshore::CgroupDriver::None)
            .build()
            .unwrap();
        let mut config = stage.script("user", "id -u; echo $$; cat /marker; wc -c < /proc/keys; grep -c ' /proc/keys ' /proc/self/mountinfo; grep -c ' /proc/sys ro' /proc/self/mountinfo; (echo x > /proc/sys/kernel/domainname) 2>/dev/null || echo refused");
        let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
        config["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({"type": "user"}));
        config["linux"].as_object_mut().unwrap().remove("resources");
        config["linux"]
            .as_object_mut()
            .unwrap()
            .remove("cgroupsPath");
        // Its gid isn't mapped, and there is no cgroup of ours to show.
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.truncate(6);
        mounts[2]["options"].as_array_mut().unwrap().pop();
        let bundle = stage.bundle("user", &config);
        let container = runtime
            .container("user")
            .bundle(bundle)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .create()
            .unwrap();
        assert_eq!(
            finish(container).unwrap(),
            (
                ExitStatus::Exited(0),
                "0\n1\nthe container's root\n0\n1\n1\nrefused\n".to_owned()
            )
        );
        return;
    }
    if !require_root() || !(have("setpriv") || skip("needs setpriv")) {
        return;
    }
    let stage = Stage::new();
    let copy = stage.dir.join("test");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    succeed(again_as(
        &copy,
        &["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"],
        "as_an_ordinary_user",
        "user",
    ));
}
