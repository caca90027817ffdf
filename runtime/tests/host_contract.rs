//! Invariant 2: no library call changes the program that calls it. Sixteen
//! threads live through containers while a checker compares everything that
//! can be seen of this process, at every moment and from before to after.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Stage, again, alone, read, require_root, role, succeed, watchdog};
use longshore::{ExitStatus, Stdio};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const THREADS: usize = 16;
const LIVES: usize = 10;
const SECRETS: usize = 500;

type Snapshot = BTreeMap<String, String>;

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn link(path: impl AsRef<std::path::Path>) -> String {
    fs::read_link(path)
        .map(|target| target.display().to_string())
        .unwrap_or_default()
}

fn prctl(option: i32) -> i32 {
    let mut value = -1;
    if option == libc::PR_GET_CHILD_SUBREAPER {
        // SAFETY: this option fills in one int.
        unsafe { libc::prctl(option, &raw mut value) };
        return value;
    }
    // SAFETY: the options given answer with their result alone.
    unsafe { libc::prctl(option, 0, 0, 0, 0) }
}

fn session_keyring() -> libc::c_long {
    const GET_KEYRING_ID: i32 = 0;
    const SESSION_KEYRING: i32 = -3;
    // SAFETY: takes numbers.
    unsafe { libc::syscall(libc::SYS_keyctl, GET_KEYRING_ID, SESSION_KEYRING, 0) }
}

fn tid() -> i32 {
    // SAFETY: takes nothing and can't fail.
    unsafe { libc::gettid() }
}

/// The signal mask of one thread, from outside.
fn mask(thread: &str) -> String {
    let status = text(&format!("/proc/self/task/{thread}/status"));
    status
        .lines()
        .find(|line| line.starts_with("SigBlk"))
        .unwrap_or_default()
        .to_owned()
}

/// What a thread's status says and no call may change. Credentials and masks are each thread's own.
const FIXED: [&str; 16] = [
    "Name",
    "Umask",
    "TracerPid",
    "Uid",
    "Gid",
    "Groups",
    "SigBlk",
    "SigIgn",
    "SigCgt",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
];

/// Everything there is to see, but for the masks of the threads that are inside of calls, and for
/// descriptors that the calls may have open meanwhile.
fn snapshot(inside: &BTreeSet<i32>) -> Snapshot {
    let mut all = Snapshot::new();
    for name in ["cwd", "root", "exe"] {
        all.insert(name.to_owned(), link(format!("/proc/self/{name}")));
    }
    for name in [
        "oom_score_adj",
        "limits",
        "cgroup",
        "environ",
        "personality",
        "timerslack_ns",
        "loginuid",
    ] {
        all.insert(name.to_owned(), text(&format!("/proc/self/{name}")));
    }
    all.insert(
        "env".to_owned(),
        format!("{:?}", std::env::vars_os().collect::<Vec<_>>()),
    );
    all.insert(
        "dumpable".to_owned(),
        prctl(libc::PR_GET_DUMPABLE).to_string(),
    );
    all.insert(
        "subreaper".to_owned(),
        prctl(libc::PR_GET_CHILD_SUBREAPER).to_string(),
    );
    all.insert("keyring".to_owned(), session_keyring().to_string());
    let (session, group) = (nix::unistd::getsid(None).unwrap(), nix::unistd::getpgrp());
    all.insert("session and group".to_owned(), format!("{session} {group}"));
    for entry in fs::read_dir("/proc/self/task").unwrap().flatten() {
        let thread = entry.file_name().into_string().unwrap();
        for namespace in fs::read_dir(entry.path().join("ns"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = format!("{thread}/{}", namespace.file_name().display());
            all.insert(name, link(namespace.path()));
        }
        for name in ["cwd", "root"] {
            all.insert(format!("{thread}/{name}"), link(entry.path().join(name)));
        }
        let masked = inside.contains(&thread.parse().unwrap());
        for line in text(&format!("/proc/self/task/{thread}/status")).lines() {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            if FIXED.contains(&name) && !(masked && name == "SigBlk") {
                all.insert(format!("{thread}/{name}"), value.trim().to_owned());
            }
        }
    }
    all
}

/// Descriptors, and whether they are close-on-exec.
fn descriptors() -> Snapshot {
    let numbers = fs::read_dir("/proc/self/fd")
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().into_string().unwrap());
    let describe = |number: String| {
        // SAFETY: touches no memory.
        let flags = unsafe { libc::fcntl(number.parse().unwrap(), libc::F_GETFD) };
        let target = link(format!("/proc/self/fd/{number}"));
        (flags >= 0).then_some((number, format!("{target} {flags}")))
    };
    numbers.filter_map(describe).collect()
}

fn thread_numbers(all: &Snapshot) -> BTreeSet<String> {
    all.keys()
        .filter_map(|name| name.split_once('/'))
        .map(|(thread, _)| thread.to_owned())
        .collect()
}

fn differences(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let changed = names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name));
    changed
        .map(|name| format!("{name}: {:?} -> {:?}", before.get(name), after.get(name)))
        .collect()
}

/// Descriptors that a program is careless about: nothing marks them close-on-exec.
fn leave_secrets_open(stage: &Stage) {
    let path = stage.dir.join("host-secret");
    fs::write(&path, "secret").unwrap();
    for _ in 0..SECRETS {
        let fd = File::open(&path).unwrap().into_raw_fd();
        // SAFETY: takes numbers.
        assert_eq!(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }, 0);
    }
}

fn live(stage: &Stage, id: &str) {
    let config = stage.script(id, "ls -l /proc/self/fd; exec sleep 1000 >/dev/null");
    let mut container = stage
        .container(id, &config)
        .stdout(Stdio::piped())
        .create()
        .unwrap();
    let process = container.start().unwrap();
    let output = read(container.pipes().stdout.take().unwrap());
    assert!(
        !output.contains("host-secret") && output.lines().count() <= 5,
        "{output}"
    );
    container.kill(9).unwrap();
    assert_eq!(process.wait().unwrap(), ExitStatus::Signaled(9));
    container.delete().unwrap();
}

fn storm_is_invisible(stage: &Stage) {
    // What is made once a process is made.
    live(stage, "first");
    let (gate, ready, done) = (
        Barrier::new(THREADS + 1),
        Barrier::new(2),
        AtomicBool::new(false),
    );
    let inside = std::sync::Mutex::new(BTreeSet::new());
    let fds = program_descriptors();
    thread::scope(|scope| {
        let worker = |number: usize| {
            let (gate, inside) = (&gate, &inside);
            move || {
                inside.lock().unwrap().insert(tid());
                let own = || (mask(&tid().to_string()), session_keyring());
                let before = own();
                gate.wait(); // everybody is there
                gate.wait(); // the snapshot is taken
                // A failure must not keep the others waiting at the gate.
                let lived = catch_unwind(AssertUnwindSafe(|| {
                    for life in 0..LIVES {
                        live(stage, &format!("w{number}-{life}"));
                        assert_eq!(own(), before, "this thread's mask or keyring has changed");
                    }
                }));
                gate.wait(); // everybody is done
                gate.wait(); // the snapshot is taken
                lived.unwrap_or_else(|failure| resume_unwind(failure));
            }
        };
        let workers: Vec<_> = (0..THREADS)
            .map(|number| scope.spawn(worker(number)))
            .collect();
        gate.wait();
        let inside_now = inside.lock().unwrap().clone();
        let before = (snapshot(&BTreeSet::new()), descriptors());
        let then = snapshot(&inside_now);
        // Another thread samples, and leaves itself out of it.
        let sampler = scope.spawn(|| sample(then, &fds, inside_now, &done, &ready));
        ready.wait();
        gate.wait();
        gate.wait();
        done.store(true, Ordering::Release);
        let sampled = sampler.join();
        let mut after = snapshot(&BTreeSet::new());
        // The kernel may still be at the end of the sampler's thread.
        let threads = thread_numbers(&before.0);
        after.retain(|name, _| {
            name.split_once('/')
                .is_none_or(|(thread, _)| threads.contains(thread))
        });
        let changes = [
            differences(&before.0, &after),
            differences(&before.1, &descriptors()),
        ]
        .concat();
        gate.wait();
        workers
            .into_iter()
            .for_each(|worker| worker.join().unwrap());
        assert_eq!(changes, Vec::<String>::new(), "after");
        let sampled = sampled.unwrap();
        assert!(sampled > 10, "{sampled} samples");
        println!(
            "host contract: {} lives, {sampled} samples, no change",
            THREADS * LIVES
        );
    });
    stage.assert_clean();
}

/// All but the one that the listing itself has open.
fn program_descriptors() -> Snapshot {
    let mut all = descriptors();
    all.retain(|_, target| !target.contains("/proc/"));
    all
}

/// Compares until `done`; returns how often.
fn sample(
    then: Snapshot,
    fds: &Snapshot,
    inside: BTreeSet<i32>,
    done: &AtomicBool,
    ready: &Barrier,
) -> usize {
    // Whoever makes a thread has all signals blocked meanwhile: that is over now.
    ready.wait();
    let own = format!("{}/", tid());
    let mut samples = 0;
    while !done.load(Ordering::Acquire) {
        let mut now = snapshot(&inside);
        now.retain(|name, _| !name.starts_with(&own));
        assert_eq!(differences(&then, &now), Vec::<String>::new(), "during");
        let open = descriptors();
        let gone: Vec<_> = fds
            .iter()
            .filter(|(number, target)| open.get(*number) != Some(target))
            .collect();
        assert!(
            gone.is_empty(),
            "descriptors of the program's have changed: {gone:?}"
        );
        samples += 1;
    }
    samples
}

#[test]
fn no_call_changes_the_program() {
    if !require_root() {
        return;
    }
    let _watchdog = watchdog(120);
    if role().is_none() {
        let output = succeed(again(&[], "no_call_changes_the_program", "host"));
        println!(
            "{}",
            output.lines().find(|line| line.contains("lives")).unwrap()
        );
        return;
    }
    let stage = Stage::new();
    leave_secrets_open(&stage);
    storm_is_invisible(&stage);
}

/// What changes when it is done, and the doing.
type Violation = (&'static str, fn() -> bool);

/// A change that is undone at once is seen as well, by the sampler.
#[test]
fn control_the_sampler_sees_what_is_undone() {
    let Some(_watchdog) = alone(&[], "control_the_sampler_sees_what_is_undone", "violator") else {
        return;
    };
    let (seen, never) = (AtomicBool::new(false), AtomicBool::new(false));
    let dumpable = |on: i32| {
        // SAFETY: takes numbers.
        assert_eq!(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, on) }, 0);
    };
    let (gate, ready) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|scope| {
        let (gate, seen) = (&gate, &seen);
        scope.spawn(move || {
            gate.wait(); // in the snapshot, as the library's threads are
            gate.wait();
            while !seen.load(Ordering::Acquire) {
                dumpable(0);
                dumpable(1);
            }
        });
        gate.wait();
        let then = snapshot(&BTreeSet::new());
        let sampler =
            scope.spawn(|| sample(then, &Snapshot::new(), BTreeSet::new(), &never, &ready));
        ready.wait();
        gate.wait();
        assert!(sampler.join().is_err(), "nothing was seen");
        seen.store(true, Ordering::Release);
    });
}

/// What a library must not do: each must be seen, by its name.
#[test]
fn control_the_checker_sees_violations() {
    let Some(_watchdog) = alone(&[], "control_the_checker_sees_violations", "violator") else {
        return;
    };
    let nobody = BTreeSet::new();
    // SAFETY: each of these takes numbers or a live string, in a process made to be spoilt.
    let violations: [Violation; 10] = [
        ("dumpable", || unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) } == 0),
        ("subreaper", || unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) } == 0),
        ("/Umask", || unsafe { libc::umask(0o7) } != 0o7),
        ("cwd", || unsafe { libc::chdir(c"/proc".as_ptr()) } == 0),
        ("/SigIgn", || unsafe { libc::signal(libc::SIGUSR1, libc::SIG_IGN) } != libc::SIG_ERR),
        ("oom_score_adj", || fs::write("/proc/self/oom_score_adj", "7").is_ok()),
        ("limits", || unsafe { libc::setrlimit(libc::RLIMIT_CORE, &libc::rlimit { rlim_cur: 5, rlim_max: 5 }) } == 0),
        ("/NoNewPrivs", || unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } == 0),
        ("/uts", || unsafe { libc::unshare(libc::CLONE_NEWUTS) } == 0),
        ("/SigBlk", || nix::sys::signal::SigSet::all().thread_block().is_ok()),
    ];
    for (name, violate) in violations {
        let (before, open) = (snapshot(&nobody), descriptors());
        assert!(violate(), "{name}");
        let seen = differences(&before, &snapshot(&nobody));
        assert!(
            seen.iter()
                .any(|line| line.split_once(": ").unwrap().0.contains(name)),
            "{name}: {seen:?}"
        );
        let file = File::open("/dev/null").unwrap();
        assert!(
            !differences(&open, &descriptors()).is_empty(),
            "{}",
            file.as_raw_fd()
        );
    }
}
