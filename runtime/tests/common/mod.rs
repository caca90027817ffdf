//! What the integration tests share: a stage (bundles, state root, cgroup
//! parent, all removed at the end), a watchdog, and "this needs root".

#![allow(dead_code)] // each test binary uses its part
#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used)] // a test's helper fails like the test

use longshore::{Container, ContainerBuilder, ExitStatus, Process, Runtime, Stdio};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

pub const APPLETS: &[&str] = &[
    "sh", "echo", "cat", "ls", "true", "false", "sleep", "id", "hostname", "kill", "test", "grep",
    "stty", "tty", "touch", "mkdir", "readlink", "stat", "wc", "env", "pwd", "mount", "ps",
];

/// May the test go on? Says why not; where CI promises root, it must.
pub fn require_root() -> bool {
    // SAFETY: takes nothing and can't fail.
    let root = unsafe { libc::geteuid() } == 0;
    root || skip("needs root")
}

/// Says why a test does nothing.
pub fn skip(reason: &str) -> bool {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "skipped where it must run: {reason}"
    );
    println!("skipped: {reason}");
    false
}

pub fn have(program: &str) -> bool {
    Command::new("sh")
        .args(["-c", &format!("command -v {program} >/dev/null")])
        .status()
        .is_ok_and(|status| status.success())
}

/// Ends the whole process, loudly, unless it is dropped in time.
#[derive(Debug)]
pub struct Watchdog(#[allow(dead_code)] mpsc::Sender<()>);

pub fn watchdog(seconds: u64) -> Watchdog {
    let (alive, ended) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        if ended.recv_timeout(Duration::from_secs(seconds)) == Err(mpsc::RecvTimeoutError::Timeout)
        {
            // Nobody may be left to read it.
            let _ = writeln!(std::io::stderr(), "watchdog: still busy after {seconds} s");
            std::process::abort();
        }
    });
    Watchdog(alive)
}

/// The role that this process plays, when a test has executed itself again.
pub fn role() -> Option<String> {
    std::env::var("LONGSHORE_TEST_ROLE").ok()
}

/// This test binary again, running one test in the given role.
pub fn again(wrapper: &[&str], test: &str, role: &str) -> Command {
    again_as(&std::env::current_exe().unwrap(), wrapper, test, role)
}

/// The same from a copy of the binary: for another user, who may not reach this one.
pub fn again_as(executable: &Path, wrapper: &[&str], test: &str, role: &str) -> Command {
    let mut command = match wrapper {
        [] => Command::new(executable),
        [program, rest @ ..] => {
            let mut command = Command::new(program);
            command.args(rest).arg(executable);
            command
        }
    };
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("LONGSHORE_TEST_ROLE", role);
    command
}

/// Runs that and fails with its output unless it succeeds; returns the output.
pub fn succeed(mut command: Command) -> String {
    let output = command.output().unwrap();
    let text = both(&output);
    assert!(output.status.success(), "{:?}: {text}", output.status);
    text
}

/// What came on standard output, then what came on standard error.
pub fn both(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// In the process that a test has made of itself: its watchdog. Elsewhere that process is made,
/// and must succeed, and nothing is left to do.
pub fn alone(wrapper: &[&str], test: &str, as_role: &str) -> Option<Watchdog> {
    if !require_root() {
        return None;
    }
    let watchdog = watchdog(60);
    if role().is_none() {
        succeed(again(wrapper, test, as_role));
        return None;
    }
    Some(watchdog)
}

/// All that comes through a pipe.
pub fn read(mut pipe: impl Read) -> String {
    let mut text = String::new();
    pipe.read_to_string(&mut text).unwrap();
    text
}

/// No child is left, and no zombie.
pub fn assert_childless() {
    let flags = libc::WNOHANG | libc::__WALL;
    // SAFETY: takes numbers, and null for "don't tell".
    let left = unsafe { libc::waitpid(-1, std::ptr::null_mut(), flags) };
    assert_eq!(left, -1, "a child or a zombie is left");
}

static STAGES: AtomicU32 = AtomicU32::new(0);

/// A directory with a root filesystem, bundles and a state root, and a cgroup parent.
#[derive(Debug)]
pub struct Stage {
    pub dir: PathBuf,
    pub cgroup: String,
    pub runtime: Runtime,
    watchdog: Option<Watchdog>, // the last to be dropped
}

impl Stage {
    /// A stage that must be through in a minute, unless the test can't run here.
    pub fn ready() -> Option<Stage> {
        require_root().then(|| {
            let watchdog = watchdog(60);
            let mut stage = Stage::new();
            stage.watchdog = Some(watchdog);
            stage
        })
    }

    pub fn new() -> Stage {
        let name = format!(
            "longshore-test-{}-{}",
            std::process::id(),
            STAGES.fetch_add(1, Ordering::Relaxed)
        );
        let dir = std::env::temp_dir().join(&name);
        let _ = fs::remove_dir_all(&dir); // of an earlier process with this number
        fs::create_dir_all(&dir).unwrap();
        rootfs(&dir.join("rootfs"));
        let runtime = Runtime::builder()
            .state_root(dir.join("state"))
            .build()
            .unwrap();
        Stage {
            dir,
            cgroup: format!("/{name}"),
            runtime,
            watchdog: None,
        }
    }

    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// A configuration with everything that `runc spec` gives.
    pub fn config(&self, id: &str, args: &[&str]) -> Value {
        config(&self.rootfs(), &format!("{}/{id}", self.cgroup), args)
    }

    /// Runs a shell script.
    pub fn script(&self, id: &str, script: &str) -> Value {
        self.config(id, &["/bin/sh", "-c", script])
    }

    pub fn bundle(&self, id: &str, config: &Value) -> PathBuf {
        let bundle = self.dir.join("bundles").join(id);
        fs::create_dir_all(&bundle).unwrap();
        fs::write(bundle.join("config.json"), config.to_string()).unwrap();
        bundle
    }

    /// A container of this configuration, stdin empty.
    pub fn container(&self, id: &str, config: &Value) -> ContainerBuilder {
        self.runtime
            .container(id)
            .bundle(self.bundle(id, config))
            .stdin(Stdio::null())
    }

    /// The whole life of a container: how it ended, what it wrote.
    pub fn run(&self, id: &str, config: &Value) -> longshore::Result<(ExitStatus, String)> {
        finish(
            self.container(id, config)
                .stdout(Stdio::piped())
                .stderr(Stdio::inherit())
                .create()?,
        )
    }

    /// What a script prints.
    pub fn output(&self, id: &str, script: &str) -> String {
        let (status, output) = self.run(id, &self.script(id, script)).unwrap();
        assert_eq!(status, ExitStatus::Exited(0), "{script}: {output}");
        output
    }

    /// Nothing of any container is left.
    pub fn assert_clean(&self) {
        assert!(self.runtime.list_all().unwrap().0.is_empty());
        let left: Vec<_> = cgroup_directories(&self.cgroup)
            .into_iter()
            .flat_map(|dir| fs::read_dir(dir).unwrap())
            .collect();
        let left: Vec<_> = left
            .into_iter()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect();
        assert!(left.is_empty(), "{left:?}");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let ours = self.dir.to_str().unwrap();
        assert!(!mounts.contains(ours), "{mounts}");
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for state in self.runtime.list().unwrap_or_default() {
            let _ = self.runtime.force_delete(state.id()); // the test has failed already
        }
        for directory in cgroup_directories(&self.cgroup) {
            let _ = fs::remove_dir(directory); // a container could not be deleted: seen above
        }
        let _ = fs::remove_dir_all(&self.dir); // only temporary files
    }
}

fn cgroup_directories(path: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let mut roots = vec![root.to_path_buf()];
    roots.extend(
        fs::read_dir(root)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path()),
    );
    roots
        .iter()
        .map(|root| root.join(path.trim_start_matches('/')))
        .filter(|path| path.is_dir())
        .collect()
}

/// The rest of a created container's life.
pub fn finish(mut container: Container) -> longshore::Result<(ExitStatus, String)> {
    let process = container.start()?;
    let output = container.pipes().stdout.take().map(read);
    let status = process.wait()?;
    container.delete()?;
    Ok((status, output.unwrap_or_default()))
}

/// Waits for an end that must come soon.
pub fn wait(process: &Process) -> ExitStatus {
    let _watchdog = watchdog(60);
    process.wait().unwrap()
}

/// Busybox: hard links for half of its names, symbolic links for the others.
pub fn rootfs(root: &Path) {
    for directory in [
        "bin",
        "proc",
        "sys",
        "dev",
        "etc",
        "tmp",
        "root",
        "usr/share",
    ] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .iter()
        .find(|path| Path::new(path).exists())
        .expect("busybox, statically linked");
    fs::copy(busybox, root.join("bin/busybox")).unwrap();
    for (number, applet) in APPLETS.iter().enumerate() {
        let link = root.join("bin").join(applet);
        if number % 2 == 0 {
            symlink("busybox", link).unwrap()
        } else {
            fs::hard_link(root.join("bin/busybox"), link).unwrap()
        }
    }
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n",
    )
    .unwrap();
    fs::write(root.join("marker"), "the container's root\n").unwrap();
}

pub fn config(rootfs: &Path, cgroup: &str, args: &[&str]) -> Value {
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": "1.2.0",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": args,
            "env": ["PATH=/bin:/usr/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps, "ambient": []},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true
        },
        "root": {"path": rootfs, "readonly": true},
        "hostname": "longshore-test",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}
        ],
        "linux": {
            "cgroupsPath": cgroup,
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}],
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    })
}

/// The calls that came together as the new way to mount.
pub const MOUNT_API: &[libc::c_long] = &[
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
];

/// Answers `calls` with `errno`, for this thread and all that it makes.
pub fn refuse(calls: &[libc::c_long], errno: i32) {
    let statement = |code: u32, jt: usize, jf: u8, k: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt: u8::try_from(jt).unwrap(),
        jf,
        k,
    };
    let mut filter = vec![statement(
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        0,
        0,
        0,
    )];
    for (index, call) in calls.iter().enumerate() {
        filter.push(statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            calls.len() - index,
            0,
            u32::try_from(*call).unwrap(),
        ));
    }
    filter.push(statement(
        libc::BPF_RET | libc::BPF_K,
        0,
        0,
        libc::SECCOMP_RET_ALLOW,
    ));
    filter.push(statement(
        libc::BPF_RET | libc::BPF_K,
        0,
        0,
        libc::SECCOMP_RET_ERRNO | errno.cast_unsigned(),
    ));
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).unwrap(),
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the program and its statements live over the call, which copies them.
    let installed = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    };
    assert_eq!(installed, 0, "{}", std::io::Error::last_os_error());
}
