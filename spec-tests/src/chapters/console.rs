//! process.terminal: the pty and the console socket.

use std::io::{IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::json;

use crate::config::set;
use crate::property::{Scenario, scenario};
use crate::runtime::{Call, Ran};
use crate::scene::Scene;
use crate::suite::{Check, Stop, ensure};
use crate::sys;

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("process.terminal.socket", socket),
    scenario("process.terminal.isatty", isatty),
    scenario("process.terminal.controlling", controlling),
    scenario("process.terminal.consoleSize", size),
    scenario("process.terminal.dev-console", dev_console),
    scenario("process.terminal.foreground", foreground)
        .deviates(&[("runc", "sets the size when the program runs already")]),
    scenario("process.terminal.without-socket-is-refused", no_socket),
    scenario(
        "process.terminal.socket-without-terminal-is-refused",
        not_wanted,
    )
    .deviates(CRUN),
];

const CRUN: crate::suite::Known = &[("crun", "ignores a console socket that is not needed")];
const SOON: Duration = Duration::from_secs(5);

/// The master side of a container's terminal.
pub(super) struct Terminal {
    pub(super) master: std::fs::File,
    seen: String,
}

impl Terminal {
    /// Takes what is sent to a console socket.
    pub(super) fn take(listener: &UnixListener) -> Check<Terminal> {
        ensure!(
            sys::readable(listener.as_fd(), SOON),
            "nobody connected to the console socket"
        );
        let (stream, _) = listener.accept()?;
        Ok(Terminal {
            master: receive(&stream)?.into(),
            seen: String::new(),
        })
    }

    /// Creates the container with a console socket, takes the pty, starts.
    fn start(scene: &Scene<'_>) -> Check<Terminal> {
        scene.write_config()?;
        let path = scene.path("console");
        let listener = UnixListener::bind(&path)?;
        scene
            .finish_create(scene.create_call(&["--console-socket", &path.display().to_string()]))?
            .must()?;
        let terminal = Terminal::take(&listener)?;
        scene.must("start")?;
        Ok(terminal)
    }

    /// Reads until the text has come.
    pub(super) fn expect(&mut self, text: &str) -> Check {
        let end = Instant::now() + SOON;
        while !self.seen.contains(text) {
            let left = end.saturating_duration_since(Instant::now());
            ensure!(
                sys::readable(self.master.as_fd(), left),
                "wanted {text:?} on the terminal, saw {:?}",
                self.seen
            );
            let mut buffer = [0; 512];
            // EIO: the last process has closed the other side.
            let length = self.master.read(&mut buffer).unwrap_or(0);
            ensure!(
                length > 0,
                "wanted {text:?} before the end of the terminal, saw {:?}",
                self.seen
            );
            self.seen += &String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
        }
        Ok(())
    }
}

/// Takes the one descriptor out of the message; the payload is any name.
fn receive(stream: &UnixStream) -> Check<OwnedFd> {
    Ok(receive_named(stream)?.0)
}

/// The same with the payload.
#[allow(unsafe_code)]
pub(super) fn receive_named(stream: &UnixStream) -> Check<(OwnedFd, String)> {
    ensure!(
        sys::readable(stream.as_fd(), SOON),
        "no message on the socket"
    );
    let mut payload = [0; 4096];
    let mut parts = [IoSliceMut::new(&mut payload)];
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; 4]);
    let message = recvmsg::<()>(
        stream.as_raw_fd(),
        &mut parts,
        Some(&mut space),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let mut received = None;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            ensure!(fds.len() == 1, "{} descriptors came", fds.len());
            if let Some(&fd) = fds.first() {
                // SAFETY: the kernel has just made this descriptor for us.
                received = Some(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }
    let length = message.bytes;
    let name = String::from_utf8_lossy(payload.get(..length).unwrap_or_default()).into_owned();
    let none = || Stop::Fail("the message has no descriptor".to_owned());
    Ok((received.ok_or_else(none)?, name))
}

fn terminal(scene: &mut Scene<'_>, script: &str) -> Check<Terminal> {
    set(&mut scene.config, "/process/terminal", json!(true));
    scene.script(script);
    Terminal::start(scene)
}

fn socket(scene: &mut Scene<'_>) -> Check {
    let mut terminal = terminal(scene, "echo ready; read line; echo \"<$line>\"; sleep 100")?;
    terminal.expect("ready\r\n")?;
    terminal.master.write_all(b"ahoy\n")?;
    terminal.expect("<ahoy>\r\n")
}

/// On all three, and only with the property.
fn isatty(scene: &mut Scene<'_>) -> Check {
    let script = "for n in 0 1 2; do [ -t $n ] && echo yes $n; done; tty";
    scene.script(script);
    let without = scene.run()?;
    ensure!(!without.stdout.contains("yes"), "{}", without.story());
    let mut terminal = terminal(scene, &format!("{script}; sleep 100"))?;
    for text in ["yes 0", "yes 1", "yes 2", "/dev/"] {
        terminal.expect(text)?;
    }
    Ok(())
}

/// ^C reaches the program: the terminal is the controlling one of a new session.
fn controlling(scene: &mut Scene<'_>) -> Check {
    let mut terminal = terminal(
        scene,
        "trap 'echo interrupted' INT; (exec 3</dev/tty) && echo ready; while :; do sleep 0.02; done",
    )?;
    terminal.expect("ready")?;
    terminal.master.write_all(b"\x03")?;
    terminal.expect("interrupted")
}

fn size(scene: &mut Scene<'_>) -> Check {
    set(
        &mut scene.config,
        "/process/consoleSize",
        json!({ "height": 17, "width": 61 }),
    );
    let mut terminal = terminal(scene, "stty size; sleep 100")?;
    terminal.expect("17 61")
}

fn dev_console(scene: &mut Scene<'_>) -> Check {
    let mut terminal = terminal(
        scene,
        "test -c /dev/console && echo console; echo straight > /dev/console; sleep 100",
    )?;
    terminal.expect("console")?;
    terminal.expect("straight")
}

fn no_socket(scene: &mut Scene<'_>) -> Check {
    set(&mut scene.config, "/process/terminal", json!(true));
    let ran = scene.try_create()?;
    ensure!(!ran.ok(), "{}", ran.story());
    scene.leaves_nothing()
}

fn not_wanted(scene: &mut Scene<'_>) -> Check {
    scene.write_config()?;
    let path = scene.path("console");
    let _listener = UnixListener::bind(&path)?;
    let ran = scene
        .finish_create(scene.create_call(&["--console-socket", &path.display().to_string()]))?;
    ensure!(!ran.ok(), "{}", ran.story());
    Ok(())
}

/// What a program says on the terminal of the runtime's caller.
pub(super) const CALLER_SEES: &str = "stty size; tty; read line; echo \"<$line>\"; exit 5";

/// A call as a shell takes it.
pub(super) fn quoted(call: &Call) -> String {
    let words = std::iter::once(call.program.display().to_string()).chain(call.args.clone());
    let quoted: Vec<String> = words
        .map(|word| format!("'{}'", word.replace('\'', "'\\''")))
        .collect();
    quoted.join(" ")
}

/// A shell command on a terminal of script(1)'s, of 17 rows and 61 columns, made as that call would be.
pub(super) fn in_a_terminal(
    scene: &Scene<'_>,
    call: Call,
    command: &str,
    input: &str,
) -> Check<Ran> {
    let command = format!("stty rows 17 cols 61; {command}");
    scene.file("input", input)?;
    let call = Call {
        program: "script".into(),
        args: ["-q", "-e", "-c", &command, "/dev/null"]
            .map(str::to_owned)
            .to_vec(),
        stdin: Some(std::fs::File::open(scene.path("input"))?.into()),
        ..call
    };
    Ok(call.run()?)
}

/// From a terminal to a terminal: what script(1) shows came through two of them.
pub(super) fn on_the_callers_terminal(scene: &Scene<'_>, inner: Call) -> Check {
    let command = quoted(&inner);
    let ran = in_a_terminal(scene, inner, &command, "ahoy\n")?;
    ensure!(ran.code() == 5, "exit status: {}", ran.story());
    for text in ["17 61", "/dev/", "<ahoy>"] {
        ensure!(ran.stdout.contains(text), "no {text}: {}", ran.story());
    }
    Ok(())
}

fn foreground(scene: &mut Scene<'_>) -> Check {
    set(&mut scene.config, "/process/terminal", json!(true));
    scene.script(CALLER_SEES);
    scene.write_config()?;
    on_the_callers_terminal(scene, scene.call(&["run", &scene.id]))
}
