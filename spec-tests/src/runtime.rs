//! The runtime under test: a path, a name, and calls of it that always end.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::suite::{Check, ensure};
use crate::sys;

/// How long a call may take before it counts as hung.
pub(crate) const LIMIT: Duration = Duration::from_secs(15);

/// The binary that is examined.
#[derive(Debug)]
pub(crate) struct RuntimeUnderTest {
    /// Where the binary is.
    pub path: PathBuf,
    /// What it is called in the results and in the tables of known deviations.
    pub name: String,
}

/// One call of the runtime, before it is made.
#[derive(Debug)]
pub(crate) struct Call {
    /// The binary.
    pub program: PathBuf,
    /// All arguments, global options first.
    pub args: Vec<String>,
    /// Working directory; the output files are put here too.
    pub dir: PathBuf,
    /// Shell commands run before the runtime, as its caller, in a mount namespace of their own.
    pub setup: String,
    /// Descriptors the caller leaves open, with their numbers.
    pub fds: Vec<(OwnedFd, RawFd)>,
    /// Signals the caller ignores; it has every other one at its default.
    pub ignored: &'static [i32],
    /// Further environment of the caller.
    pub env: Vec<(&'static str, &'static str)>,
    /// What the runtime reads.
    pub stdin: Option<OwnedFd>,
    /// Where output goes instead of a file, for the tests of stdio wiring.
    pub stdout: Option<OwnedFd>,
    /// The same of errors.
    pub stderr: Option<OwnedFd>,
}

/// A call that is under way.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    pidfd: OwnedFd,
    reaped: bool,
    what: String,
    out: PathBuf,
    err: PathBuf,
}

/// What a call did.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The arguments, for messages.
    pub what: String,
    /// None when it had to be killed at the deadline.
    pub status: Option<ExitStatus>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
    /// The most memory that it or a child of it had, in bytes.
    pub peak: usize,
}

impl Call {
    /// Starts the runtime. Its output goes to files: a pipe would stay open as
    /// long as a detached container holds it, and reading it would never end.
    pub(crate) fn spawn(self) -> io::Result<Running> {
        let serial = fs::read_dir(&self.dir)?.count();
        let out = self.dir.join(format!("stdout.{serial}"));
        let err = self.dir.join(format!("stderr.{serial}"));
        let mut command = if self.setup.is_empty() {
            Command::new(&self.program)
        } else {
            let mut shell = Command::new("unshare");
            let script = format!("set -e\n{}\nexec \"$@\"", self.setup);
            shell.args([
                "--mount",
                "--propagation",
                "private",
                "/bin/sh",
                "-c",
                &script,
                "sh",
            ]);
            shell.arg(&self.program);
            shell
        };
        let stdout = match self.stdout {
            Some(fd) => Stdio::from(fd),
            None => Stdio::from(File::create_new(&out)?),
        };
        command
            .args(&self.args)
            .current_dir(&self.dir)
            .envs(self.env.iter().copied());
        command.stdin(self.stdin.map_or_else(Stdio::null, Stdio::from));
        let stderr = match self.stderr {
            Some(fd) => Stdio::from(fd),
            None => Stdio::from(File::create_new(&err)?),
        };
        command.stdout(stdout).stderr(stderr);
        sys::pass_fds(&mut command, &self.fds)?;
        sys::ignore_only(&mut command, self.ignored);
        let child = command.spawn()?;
        let pidfd = sys::pidfd_open(i32::try_from(child.id()).map_err(io::Error::other)?)?;
        Ok(Running {
            child,
            pidfd,
            reaped: false,
            what: self.args.join(" "),
            out,
            err,
        })
    }

    /// Makes the call and waits for its end.
    pub(crate) fn run(self) -> io::Result<Ran> {
        self.spawn()?.wait(LIMIT)
    }
}

impl Running {
    /// The runtime's pid.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Sends a signal to the runtime itself.
    pub(crate) fn signal(&self, signal: i32) {
        sys::pidfd_kill(self.pidfd.as_fd(), signal);
    }

    /// What it has written so far.
    pub(crate) fn stdout_so_far(&self) -> String {
        text(&self.out)
    }

    /// Waits for the end; at the deadline the runtime is killed.
    pub(crate) fn wait(mut self, limit: Duration) -> io::Result<Ran> {
        let begin = Instant::now();
        let ended = sys::readable(self.pidfd.as_fd(), limit);
        if !ended {
            self.signal(libc::SIGKILL);
        }
        let (status, peak) = sys::wait4(self.pid())?;
        self.reaped = true;
        Ok(Ran {
            status: ended.then_some(status),
            stdout: text(&self.out),
            stderr: text(&self.err),
            what: self.what.clone(),
            took: begin.elapsed(),
            peak,
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        self.signal(libc::SIGKILL);
        let _ = self.child.wait(); // nothing more can be done about it
    }
}

impl Ran {
    /// True for exit status 0.
    pub(crate) fn ok(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// Itself, if it succeeded.
    pub(crate) fn must(self) -> Check<Ran> {
        ensure!(self.ok(), "{}", self.story());
        Ok(self)
    }

    /// The exit code; -1 when killed at the deadline, -signal when it died of one.
    pub(crate) fn code(&self) -> i32 {
        self.status.map_or(-1, |status| {
            status
                .code()
                .unwrap_or_else(|| -status.signal().unwrap_or(99))
        })
    }

    /// Both streams, as engines see them for start, kill and delete.
    pub(crate) fn output(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// A line for failure messages.
    pub(crate) fn story(&self) -> String {
        let end = match self.status {
            Some(_) => format!("exit {}", self.code()),
            None => "hung, killed at the deadline".to_owned(),
        };
        format!(
            "`{}`: {end}; stdout {:?}; stderr {:?}",
            self.what,
            clip(&self.stdout),
            clip(&self.stderr)
        )
    }
}

fn text(path: &PathBuf) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// Enough of a text for a message.
pub(crate) fn clip(text: &str) -> String {
    text.trim().chars().take(600).collect()
}
