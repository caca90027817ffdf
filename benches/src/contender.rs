//! Who is measured, and how each operation is done with it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::bench::Workshop;
use crate::sample::{Sample, Series, measure};

/// A column of the table.
#[derive(Debug)]
pub(crate) struct Contender {
    /// Its name in the tables.
    pub name: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Command {
        program: String,
    },
    Floor,
    Library {
        child: Child,
        stdin: Option<ChildStdin>,
        stdout: BufReader<ChildStdout>,
    },
}

/// A group of operations that are measured together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    /// The operations, in the order in which `round` gives their samples.
    pub operations: &'static [&'static str],
    /// Whether the floor and the library can do it.
    pub only_run: bool,
    /// Whether it makes sense without controllers.
    pub on_cgroup2: bool,
    /// Does it once.
    round: fn(&mut Contender, &Workshop) -> Result<Vec<Sample>, String>,
}

/// What dockerd asks for: with its filter compiled before, without one, with one that nobody has compiled yet.
pub(crate) const DOCKER: &str = "run, Docker's config";
pub(crate) const UNFILTERED: &str = "run, Docker's config without seccomp";
const COLD: &str = "run, Docker's config, filter not cached";

/// The rows of a table.
pub(crate) const GROUPS: &[Group] = &[
    Group {
        operations: &["run"],
        only_run: true,
        on_cgroup2: true,
        round: Contender::run,
    },
    Group {
        operations: &["create", "start", "delete"],
        only_run: false,
        on_cgroup2: true,
        round: Contender::life,
    },
    Group {
        operations: &["delete -f of a running container"],
        only_run: false,
        on_cgroup2: true,
        round: Contender::delete_running,
    },
    Group {
        operations: &["exec"],
        only_run: false,
        on_cgroup2: true,
        round: Contender::exec,
    },
    Group {
        operations: &[DOCKER, UNFILTERED, COLD],
        only_run: false,
        on_cgroup2: false,
        round: Contender::docker,
    },
];

impl Group {
    /// One round of one contender, added to its series.
    pub(crate) fn round(
        &self,
        contender: &mut Contender,
        shop: &Workshop,
        series: &mut [Series],
    ) -> Result<(), String> {
        let samples = (self.round)(contender, shop).inspect_err(|_| contender.tidy(shop))?;
        for (series, sample) in series.iter_mut().zip(samples) {
            series.push(sample);
        }
        Ok(())
    }

    /// Whether the contender takes part.
    pub(crate) fn admits(&self, contender: &Contender) -> bool {
        self.only_run || matches!(contender.kind, Kind::Command { .. })
    }
}

impl Contender {
    /// A runtime's command.
    pub(crate) fn command(name: &str, program: &str) -> Contender {
        Contender {
            name: name.to_owned(),
            kind: Kind::Command {
                program: program.to_owned(),
            },
        }
    }

    /// The floor program.
    pub(crate) fn floor() -> Contender {
        Contender {
            name: "floor".to_owned(),
            kind: Kind::Floor,
        }
    }

    /// A warm process that embeds the library: it gets a bundle and a number of
    /// runs on its command line; each line "run" on stdin is answered by the
    /// microseconds that one container took.
    pub(crate) fn library(
        program: &str,
        shop: &Workshop,
        runs: usize,
    ) -> Result<Contender, String> {
        let mut command = Command::new(program);
        command
            .args([shop.path("exits"), runs.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|error| format!("{program}: {error}"))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("{program}: no pipes"));
        };
        Ok(Contender {
            name: "library, warm".to_owned(),
            kind: Kind::Library {
                child,
                stdin: Some(stdin),
                stdout: BufReader::new(stdout),
            },
        })
    }

    fn run(&mut self, shop: &Workshop) -> Result<Vec<Sample>, String> {
        let sample = match &mut self.kind {
            Kind::Command { .. } => {
                measure(
                    self.call(shop)
                        .args(["run", "--bundle", &shop.path("exits"), "bench"]),
                )
            }
            Kind::Floor => measure(Command::new(shop.path("floor")).args([
                &shop.path("rootfs"),
                "/sys/fs/cgroup",
                "/payload",
            ])),
            Kind::Library {
                stdin: Some(stdin),
                stdout,
                ..
            } => ask(stdin, stdout),
            Kind::Library { .. } => Err("library: ended".to_owned()),
        };
        Ok(vec![sample?])
    }

    fn life(&mut self, shop: &Workshop) -> Result<Vec<Sample>, String> {
        let create = self.create(shop, "exits")?;
        let start = measure(self.call(shop).args(["start", "bench"]))?;
        reap(shop)?;
        let delete = measure(self.call(shop).args(["delete", "bench"]))?;
        Ok(vec![create, start, delete])
    }

    fn delete_running(&mut self, shop: &Workshop) -> Result<Vec<Sample>, String> {
        self.create(shop, "waits")?;
        measure(self.call(shop).args(["start", "bench"]))?;
        let delete = measure(self.call(shop).args(["delete", "-f", "bench"]))?;
        reap(shop)?;
        Ok(vec![delete])
    }

    fn exec(&mut self, shop: &Workshop) -> Result<Vec<Sample>, String> {
        self.create(shop, "waits")?;
        measure(self.call(shop).args(["start", "bench"]))?;
        let exec = measure(self.call(shop).args(["exec", "bench", "/payload"]))?;
        measure(self.call(shop).args(["delete", "-f", "bench"]))?;
        reap(shop)?;
        Ok(vec![exec])
    }

    fn docker(&mut self, shop: &Workshop) -> Result<Vec<Sample>, String> {
        let mut samples = Vec::new();
        for (bundle, cached) in [
            ("docker", true),
            ("docker-unfiltered", true),
            ("docker", false),
        ] {
            if !cached {
                // Ours and crun's; runc has none.
                for cache in ["@cache", ".cache"] {
                    let cache = format!("state-{}/{cache}", self.name);
                    let _ = fs::remove_dir_all(shop.path(&cache));
                }
            }
            samples.push(measure(self.call(shop).args([
                "run",
                "--bundle",
                &shop.path(bundle),
                "bench",
            ]))?);
        }
        Ok(samples)
    }

    fn create(&self, shop: &Workshop, bundle: &str) -> Result<Sample, String> {
        measure(self.call(shop).args([
            "create",
            "--bundle",
            &shop.path(bundle),
            "--pid-file",
            &shop.path("pid"),
            "bench",
        ]))
    }

    /// After a failure: the container would be in the next one's way.
    fn tidy(&self, shop: &Workshop) {
        if let Kind::Command { .. } = &self.kind {
            let _ = measure(self.call(shop).args(["delete", "-f", "bench"])); // the failure itself is told
        }
    }

    /// The command with its own state root.
    fn call(&self, shop: &Workshop) -> Command {
        let Kind::Command { program } = &self.kind else {
            unreachable!("only commands are called")
        };
        let mut command = Command::new(program);
        command.args(["--root", &shop.path(&format!("state-{}", self.name))]);
        command
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        if let Kind::Library { child, stdin, .. } = &mut self.kind {
            drop(stdin.take()); // the end of its work: it tidies up
            let _ = child.wait(); // reaps it
        }
    }
}

fn ask(stdin: &mut ChildStdin, stdout: &mut BufReader<ChildStdout>) -> Result<Sample, String> {
    let mut line = String::new();
    stdin
        .write_all(b"run\n")
        .and_then(|()| stdin.flush())
        .map_err(|error| format!("library: {error}"))?;
    stdout
        .read_line(&mut line)
        .map_err(|error| format!("library: {error}"))?;
    let micros: f64 = line
        .trim()
        .parse()
        .map_err(|_| format!("library: answered {line:?}"))?;
    Ok(Sample {
        wall: micros / 1e3,
        cpu: None,
        memory: None,
    })
}

/// Waits for the container: we are the subreaper of what a runtime detaches.
fn reap(shop: &Workshop) -> Result<(), String> {
    let text =
        fs::read_to_string(shop.path("pid")).map_err(|error| format!("pid file: {error}"))?;
    let pid = text
        .trim()
        .parse()
        .map_err(|_| format!("pid file: {text:?}"))?;
    // A runtime that reaps its container itself leaves nothing to wait for.
    let _ = waitpid(Pid::from_raw(pid), None);
    Ok(())
}
