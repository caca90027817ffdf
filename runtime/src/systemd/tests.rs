//! Conversations with a manager that is a thread of the test's.

use super::wire::tests::{message, units};
use super::wire::{Arguments, ERROR, METHOD_RETURN, SIGNAL};
use super::*;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

/// What the manager does at each call: the member and the bytes to answer with, given the call's number.
type Answer = fn(&mut UnixStream, &str, u32);

struct Fake {
    started: Started,
    directory: std::path::PathBuf,
    thread: Option<JoinHandle<Vec<String>>>,
}

impl Fake {
    /// Serves one connection, as a bus does or as a manager itself, until it is closed.
    fn serve(name: &str, socket: &str, answer: Answer) -> Fake {
        let directory =
            std::env::temp_dir().join(format!("longshore-test-bus-{}-{name}", std::process::id()));
        let path = directory.join(socket);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let listener = UnixListener::bind(&path).unwrap();
        let thread = std::thread::spawn(move || talk(&listener.accept().unwrap().0, answer));
        Fake {
            started: Started {
                unit: "a.scope".into(),
                bus: format!("unix:path={}", path.display()),
            },
            directory,
            thread: Some(thread),
        }
    }

    /// The calls that came.
    fn calls(mut self) -> Vec<String> {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory); // the next run's has another name
    }
}

fn talk(mut stream: &UnixStream, answer: Answer) -> Vec<String> {
    let mut calls = Vec::new();
    let mut input = Vec::new();
    let mut buffer = [0; 4096];
    let greeting = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";
    let mut greeted = false;
    loop {
        let count = stream.read(&mut buffer).unwrap_or(0);
        if count == 0 {
            return calls;
        }
        input.extend(&buffer[..count]);
        if !greeted && input.starts_with(greeting) {
            input.drain(..greeting.len());
            greeted = true;
            stream.write_all(b"DATA\r\nOK 0123456789\r\n").unwrap();
        }
        while greeted && let Ok(Some((call, length))) = wire::decode(&input) {
            let serial = u32::from_le_bytes(input[8..12].try_into().unwrap());
            input.drain(..length);
            calls.push(call.member.clone());
            answer(&mut stream.try_clone().unwrap(), &call.member, serial);
        }
    }
}

fn send(
    stream: &mut UnixStream,
    kind: u8,
    fields: &[(u8, &str, &str)],
    serial: u32,
    body: &Arguments,
) {
    let _ = stream.write_all(&message(kind, fields, serial, body)); // gone: it has heard enough
}

fn removed(stream: &mut UnixStream, job: &str, result: &str) {
    let body = Arguments::default()
        .number(1)
        .text(job)
        .text("a.scope")
        .text(result);
    send(stream, SIGNAL, &[(3, "s", "JobRemoved")], 0, &body);
}

/// Another job's end first, then that of ours before the answer to the call.
fn good(stream: &mut UnixStream, member: &str, serial: u32) {
    if member == "StartTransientUnit" {
        removed(stream, "/job/1", "failed");
        removed(stream, "/job/2", "done");
    }
    send(
        stream,
        METHOD_RETURN,
        &[],
        serial,
        &Arguments::default().text("/job/2"),
    );
}

#[test]
fn a_unit_is_started_over_a_bus() {
    let fake = Fake::serve("bus", "bus", good);
    fake.started.start("web", "nonce", Some(7), &[]).unwrap();
    assert_eq!(fake.calls(), ["Hello", "AddMatch", "StartTransientUnit"]);
}

#[test]
fn a_unit_is_started_by_its_manager() {
    let fake = Fake::serve("direct", "systemd/private", good);
    fake.started.start("web", "nonce", None, &[]).unwrap();
    assert_eq!(fake.calls(), ["StartTransientUnit"]);
}

#[test]
fn limits_are_changed() {
    let fake = Fake::serve("set", "systemd/private", good);
    let write = crate::cgroup::Write {
        controller: "pids".into(),
        file: "pids.max".into(),
        value: "5".into(),
        config_path: String::new(),
        missing: crate::cgroup::Missing::Fails,
        usage: None,
    };
    fake.started.set_limits(&[write]).unwrap();
    assert_eq!(fake.calls(), ["SetUnitProperties"]);
}

#[test]
fn a_unit_that_is_ours_is_stopped() {
    // It goes between the first look and the second.
    let fake = Fake::serve("stop", "systemd/private", |stream, member, serial| {
        static LOOKS: AtomicU32 = AtomicU32::new(0);
        let body = match member {
            "ListUnitsByNames" => match LOOKS.fetch_add(1, Ordering::Relaxed) {
                0 => units("longshore container a [nonce]", "active"),
                _ => units("a.scope", "inactive"),
            },
            _ => Arguments::default().text("/job/2"),
        };
        send(stream, METHOD_RETURN, &[], serial, &body);
    });
    fake.started.stop("nonce").unwrap();
    assert_eq!(
        fake.calls(),
        ["ListUnitsByNames", "StopUnit", "ListUnitsByNames"]
    );
}

#[test]
fn somebody_elses_unit_is_not_stopped() {
    let fake = Fake::serve("others", "systemd/private", |stream, _, serial| {
        let body = units("longshore container a [other]", "active");
        send(stream, METHOD_RETURN, &[], serial, &body);
    });
    fake.started.stop("nonce").unwrap();
    assert_eq!(fake.calls(), ["ListUnitsByNames"]);
}

#[test]
fn a_unit_that_has_failed_is_forgotten() {
    let fake = Fake::serve("reset", "systemd/private", |stream, member, serial| {
        static LOOKS: AtomicU32 = AtomicU32::new(0);
        let body = match member {
            "ListUnitsByNames" => match LOOKS.fetch_add(1, Ordering::Relaxed) {
                0 => units("longshore container a [nonce]", "failed"),
                _ => units("a.scope", "inactive"),
            },
            _ => Arguments::default(),
        };
        send(stream, METHOD_RETURN, &[], serial, &body);
    });
    fake.started.stop("nonce").unwrap();
    assert_eq!(
        fake.calls(),
        ["ListUnitsByNames", "ResetFailedUnit", "ListUnitsByNames"]
    );
}

#[test]
fn a_name_that_is_taken() {
    let fake = Fake::serve("taken", "systemd/private", |stream, member, serial| {
        let kind = if member == "StartTransientUnit" {
            ERROR
        } else {
            METHOD_RETURN
        };
        send(
            stream,
            kind,
            &[(4, "s", EXISTS)],
            serial,
            &Arguments::default().text("taken"),
        );
    });
    let error = fake
        .started
        .start("web", "nonce", Some(7), &[])
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(error.to_string(), "systemd has a unit a.scope already");
    assert_eq!(
        fake.calls(),
        [
            "StartTransientUnit",
            "ResetFailedUnit",
            "StartTransientUnit"
        ]
    );
}

#[test]
fn what_systemd_refuses_is_told() {
    let fake = Fake::serve("refused", "systemd/private", |stream, _, serial| {
        let body = Arguments::default().text("Cannot set property Foo");
        send(
            stream,
            ERROR,
            &[(4, "s", "org.freedesktop.DBus.Error.PropertyReadOnly")],
            serial,
            &body,
        );
    });
    let error = fake
        .started
        .start("web", "nonce", Some(7), &[])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("Cannot set property Foo (org.freedesktop.DBus.Error.PropertyReadOnly)"),
        "{error}"
    );
}

#[test]
fn a_job_that_fails() {
    let fake = Fake::serve("failed", "systemd/private", |stream, _, serial| {
        send(
            stream,
            METHOD_RETURN,
            &[],
            serial,
            &Arguments::default().text("/job/2"),
        );
        removed(stream, "/job/2", "canceled");
    });
    let error = fake
        .started
        .start("web", "nonce", Some(7), &[])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "systemd could not start a.scope: canceled"
    );
}

#[test]
fn who_hangs_up_or_talks_nonsense() {
    let fake = Fake::serve("hangs-up", "bus", |stream, _, _| {
        let _ = stream.shutdown(std::net::Shutdown::Both);
    });
    let error = fake
        .started
        .start("web", "nonce", Some(7), &[])
        .unwrap_err();
    assert!(
        error.to_string().contains("cannot talk to systemd"),
        "{error}"
    );
    let fake = Fake::serve("nonsense", "bus", |stream, _, _| {
        let _ = stream.write_all(&[b'x'; 64]);
    });
    let error = fake
        .started
        .start("web", "nonce", Some(7), &[])
        .unwrap_err();
    assert!(
        error.to_string().contains("does not speak D-Bus"),
        "{error}"
    );
}

#[test]
fn nobody_listens() {
    let started = Started {
        unit: "a.scope".into(),
        bus: "unix:path=/nonexistent/a;unix:path=/nonexistent/b".into(),
    };
    let error = started.start("web", "nonce", Some(7), &[]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot reach systemd at unix:path=/nonexistent/b: ENOENT"),
        "{error}"
    );
}

#[test]
fn a_stalled_bus_is_left_within_ten_seconds() {
    let begin = Instant::now();
    let fake = Fake::serve("stalled", "bus", |_, _, _| {});
    let error = fake
        .started
        .start("web", "nonce", Some(7), &[])
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(begin.elapsed() < Duration::from_secs(10));
}
