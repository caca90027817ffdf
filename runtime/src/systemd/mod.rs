//! systemd as the one who makes a container's cgroup: a scope, or a slice, of its own.
//!
//! ```text
//! Unit        linux.cgroupsPath -> names                        pure
//! properties  limits, annotations -> what systemd is told       pure
//! variant     the text of an annotation -> a value              pure
//! wire        calls, answers and signals as bytes               pure
//! Bus         a socket with a deadline
//! Started     what is recorded: start, stop, set_limits
//! ```
//!
//! Nothing of this runs unless the driver was asked for. docs/decisions/0011-systemd-bus.md

mod bus;
mod properties;
mod unit;
mod variant;
mod wire;

pub(crate) use properties::{ANNOTATION, Property, agree, properties};
pub(crate) use unit::Unit;
pub(crate) use variant::Value;

use crate::cgroup::Write;
use crate::{Error, ErrorKind, Result};
use bus::Bus;
use nix::errno::Errno;
use properties::limits;
use std::path::Path;
use std::time::{Duration, Instant};
use wire::{Arguments, Call, ERROR, Message};

/// For all of one conversation: with what is undone after it, a create must end within 10 s.
const DEADLINE: Duration = Duration::from_secs(8);

/// Between two looks at a unit that is on its way out: from this, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

const EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const GONE: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// The manager that is asked: the host's or, for other users than its root, their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manager {
    /// D-Bus addresses, parted by semicolons. `None`: nobody knows where it is.
    pub(crate) bus: Option<String>,
    pub(crate) user: bool,
}

impl Manager {
    /// At the address that is given or, as libdbus does it, at that of the environment. Else the manager's own
    /// socket first, which spares the way through a bus.
    pub(crate) fn new(bus: Option<String>, user: bool) -> Manager {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (given, usual) = match user {
            false => {
                let usual = "unix:path=/run/systemd/private;unix:path=/run/dbus/system_bus_socket";
                ("DBUS_SYSTEM_BUS_ADDRESS", Some(usual.to_owned()))
            }
            true => {
                let usual = variable("XDG_RUNTIME_DIR").map(|directory| {
                    format!("unix:path={directory}/systemd/private;unix:path={directory}/bus")
                });
                ("DBUS_SESSION_BUS_ADDRESS", usual)
            }
        };
        let bus = bus.or_else(|| variable(given)).or(usual);
        Manager { bus, user }
    }

    /// Where its units' cgroups are, as far as that can be known without asking. What came of it is read
    /// from init, once it is there.
    pub(crate) fn cgroup(&self) -> String {
        match self.user {
            false => String::new(),
            true => {
                let uid = nix::unistd::getuid();
                format!("/user.slice/user-{uid}.slice/user@{uid}.service")
            }
        }
    }
}

/// A unit that is ours, as the record keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Started {
    pub(crate) unit: String,
    pub(crate) bus: String,
}

impl Started {
    /// Starts it with `init` in it, and returns when systemd has done so. `nonce` marks it as ours.
    pub(crate) fn start(
        &self,
        id: &str,
        nonce: &str,
        init: Option<i32>,
        plan: &[Property],
    ) -> Result<()> {
        let mut properties = vec![Property {
            name: "Description".to_owned(),
            value: Value::Text(format!("longshore container {id} [{nonce}]")),
        }];
        let init = init.and_then(|pid| u32::try_from(pid).ok());
        properties.extend(init.map(|pid| Property {
            name: "PIDs".to_owned(),
            value: Value::Pids(vec![pid]),
        }));
        properties.extend_from_slice(plan);
        let arguments = Arguments::default().text(&self.unit).text("fail");
        let start = manager(
            "StartTransientUnit",
            arguments.properties(&properties).no_units(),
        );

        let mut bus = self.connect()?;
        bus.subscribe(&format!(
            "type='signal',sender='org.freedesktop.systemd1',path='/org/freedesktop/systemd1',\
             interface='org.freedesktop.systemd1.Manager',member='JobRemoved',arg2='{}'",
            self.unit
        ));
        let mut answer = ask(&mut bus, &start)?;
        if answer.error == EXISTS {
            // One that has failed keeps its name. One that runs doesn't mind.
            ask(&mut bus, &self.about("ResetFailedUnit"))?;
            answer = ask(&mut bus, &start)?;
        }
        let job = match &answer {
            answer if answer.error == EXISTS => {
                let text = format!("systemd has a unit {} already", self.unit);
                return Err(Error::new(ErrorKind::AlreadyExists, text));
            }
            answer if answer.kind == ERROR => return Err(bus.refused(answer)),
            answer => answer.reader().text().map_err(|_| bus.malformed())?,
        };
        match self.result(&mut bus, &job)?.as_str() {
            "done" => Ok(()),
            other => {
                let text = format!("systemd could not start {}: {other}", self.unit);
                Err(Error::new(ErrorKind::System, text))
            }
        }
    }

    /// How a job ended: the arguments of its JobRemoved are its number, its path, the unit and the result.
    fn result(&self, bus: &mut Bus, job: &str) -> Result<String> {
        loop {
            let signal = bus.signal()?;
            let arguments = || {
                let mut reader = signal.reader();
                reader.u32()?;
                let path = reader.text()?;
                reader.text()?;
                Ok((path, reader.text()?))
            };
            if signal.member != "JobRemoved" {
                continue;
            }
            let (path, result) = arguments().map_err(|_: wire::Malformed| bus.malformed())?;
            if path == job {
                return Ok(result);
            }
        }
    }

    /// Stops it if it is there and ours, and returns when its name is free. A scope that is empty goes by
    /// itself, so mostly there is nothing to do but to look.
    pub(crate) fn stop(&self, nonce: &str) -> Result<()> {
        let deadline = Instant::now() + DEADLINE;
        let mut bus = self.connect()?;
        let mut pause = FIRST_PAUSE;
        loop {
            let (description, state) = self.look(&mut bus)?;
            if state == "inactive" || !description.contains(nonce) {
                return Ok(());
            }
            let end = match state.as_str() {
                "failed" => self.about("ResetFailedUnit"),
                _ => manager(
                    "StopUnit",
                    Arguments::default().text(&self.unit).text("replace"),
                ),
            };
            // Gone meanwhile: the next look tells.
            ask(&mut bus, &end)?;
            if Instant::now() >= deadline {
                let text = format!("systemd did not stop {} in time", self.unit);
                return Err(Error::new(ErrorKind::Timeout, text));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Its description and its state, `inactive` if there is no such unit. Of a(ssssssouso), one for each name
    /// that is asked: name, description, load state, active state.
    fn look(&self, bus: &mut Bus) -> Result<(String, String)> {
        let arguments = Arguments::default().texts(&[&self.unit]);
        let answer = ask(bus, &manager("ListUnitsByNames", arguments))?;
        if answer.kind == ERROR {
            return Err(bus.refused(&answer));
        }
        let mut reader = answer.reader();
        let mut read = || {
            if !reader.has_structures()? {
                return Ok((String::new(), "inactive".to_owned()));
            }
            reader.text()?;
            let description = reader.text()?;
            reader.text()?;
            Ok((description, reader.text()?))
        };
        read().map_err(|_: wire::Malformed| bus.malformed())
    }

    /// Tells it of limits that have changed since, beside the files: else it would write the old ones one day.
    pub(crate) fn set_limits(&self, writes: &[Write]) -> Result<()> {
        let arguments = Arguments::default().text(&self.unit).bool(true);
        let arguments = arguments.properties(&limits(writes));
        let call = manager("SetUnitProperties", arguments);
        let mut bus = self.connect()?;
        let answer = ask(&mut bus, &call)?;
        match answer.kind {
            // A limit below what is in use has ended the last process, and the scope with it.
            ERROR if answer.error == GONE => Ok(()),
            ERROR => Err(bus.refused(&answer)),
            _ => Ok(()),
        }
    }

    fn about(&self, member: &'static str) -> Call {
        manager(member, Arguments::default().text(&self.unit))
    }

    fn connect(&self) -> Result<Bus> {
        Bus::connect(&self.bus, Instant::now() + DEADLINE).map_err(|error| match error.errno() {
            Some(errno)
                if errno == Errno::ENOENT as i32 && !Path::new("/run/systemd/system").exists() =>
            {
                Error::new(
                    ErrorKind::Unsupported,
                    format!("{error}: this host does not run systemd"),
                )
            }
            _ => error,
        })
    }
}

/// How many messages a socket's bytes hold, all that we ask of them read.
#[cfg(any(test, feature = "_internals"))]
pub(crate) fn read_all(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let Ok(Some((message, length))) = wire::decode(bytes) {
        let mut reader = message.reader();
        let _ = (reader.has_structures(), reader.u32(), reader.text());
        let _ = message.text();
        bytes = &bytes[length..];
        count += 1;
    }
    count
}

/// Is this a value of a property? Then it is one on the wire, too.
#[cfg(any(test, feature = "_internals"))]
pub(crate) fn is_value(text: &str) -> bool {
    let property = |value| Property {
        name: "Name".to_owned(),
        value,
    };
    let all = variant::parse(text).map(|value| vec![property(value)]);
    let call = all.map(|all| manager("Set", Arguments::default().properties(&all)).encode(1));
    call.as_ref().is_ok_and(|bytes| read_all(bytes) == 1)
}

fn manager(member: &'static str, arguments: Arguments) -> Call {
    Call {
        destination: "org.freedesktop.systemd1",
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
        member,
        arguments,
    }
}

fn ask(bus: &mut Bus, call: &Call) -> Result<Message> {
    let serial = bus.call(call);
    bus.answer(serial)
}

#[cfg(test)]
mod tests;
