//! Containers from a program that is as hostile to fork as programs get: many
//! threads, one malloc arena, all of them allocating. The control forks in the
//! same program and must hang.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Stage, again, assert_childless, require_root, role, succeed, watchdog};
use longshore::{ExitStatus, Runtime, Stdio};
use std::fs;
use std::hint::black_box;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// Threads that do nothing but allocate and free, beyond what a thread's own cache holds.
struct Churn {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Churn {
    fn start(threads: usize) -> Churn {
        let stop = Arc::new(AtomicBool::new(false));
        let churn = |stop: Arc<AtomicBool>| {
            move || {
                let mut size = 1500;
                while !stop.load(Ordering::Relaxed) {
                    let blocks: Vec<Vec<u8>> = (0..16)
                        .map(|block| Vec::with_capacity(size + block * 512))
                        .collect();
                    black_box(&blocks);
                    size = if size > 60_000 { 1500 } else { size + 777 };
                }
            }
        };
        Churn {
            threads: (0..threads)
                .map(|_| std::thread::spawn(churn(stop.clone())))
                .collect(),
            stop,
        }
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads
            .drain(..)
            .for_each(|thread| thread.join().unwrap());
    }
}

fn one_arena(test: &str) -> std::process::Command {
    let mut command = again(&[], test, "storm");
    command.env("MALLOC_ARENA_MAX", "1");
    command
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn one(runtime: &Runtime, bundle: PathBuf, number: u32) -> longshore::Result<ExitStatus> {
    let container = runtime
        .container(&format!("storm-{number}"))
        .bundle(bundle)
        .stdin(Stdio::null())
        .create()?;
    let status = container.start()?.wait()?;
    container.delete()?;
    Ok(status)
}

fn storm() {
    let count = if std::env::var("LONGSHORE_SOAK").as_deref() == Ok("1") {
        1000
    } else {
        100
    };
    let stage = Arc::new(Stage::new());
    let bundles: Arc<Vec<_>> = Arc::new(
        (0..count)
            .map(|number| {
                let id = format!("storm-{number}");
                stage.bundle(&id, &stage.script(&id, &format!("exit {}", number % 200)))
            })
            .collect(),
    );
    let executor = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(16)
        .build()
        .unwrap();
    // Makes what is made once a process.
    assert_eq!(
        one(&stage.runtime, bundles[0].clone(), 0).unwrap(),
        ExitStatus::Exited(0)
    );
    let before = descriptors();
    let churn = Churn::start(4);
    let next = Arc::new(AtomicU32::new(1));
    executor.block_on(async {
        let work = |_| {
            let (stage, bundles, next) = (stage.clone(), bundles.clone(), next.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(bundle) = bundles.get(number as usize) else {
                        break;
                    };
                    let status = one(&stage.runtime, bundle.clone(), number).unwrap();
                    assert_eq!(
                        status,
                        ExitStatus::Exited((number % 200).cast_signed()),
                        "container {number}"
                    );
                    tokio::task::yield_now().await;
                }
            })
        };
        for task in (0..16).map(work).collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
    drop(churn);
    assert_eq!(descriptors(), before, "descriptors were left open");
    assert_childless();
    stage.assert_clean();
    println!("storm: {count} containers");
}

#[test]
fn a_threaded_program_full_of_malloc() {
    if !require_root() {
        return;
    }
    let _watchdog = watchdog(if std::env::var("LONGSHORE_SOAK").is_ok() {
        900
    } else {
        120
    });
    if role().is_some() {
        return storm();
    }
    assert!(succeed(one_arena("a_threaded_program_full_of_malloc")).contains("containers"));
}

/// Forks without exec and allocates in the child. `false`: it hung, and was killed.
fn fork_and_allocate() -> bool {
    let mut pidfd = -1;
    let flags = libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: a fork by another name, which is the point: the child allocates, and ends with _exit.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone,
            flags,
            0usize,
            &raw mut pidfd,
            0usize,
            0usize,
        )
    };
    if pid == 0 {
        for size in (2000..40_000).step_by(500) {
            black_box(Vec::<u8>::with_capacity(size));
        }
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(0) };
    }
    assert!(pid > 0);
    // SAFETY: the kernel has just made this descriptor for us.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let mut poll = libc::pollfd {
        fd: pidfd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one live entry.
    let ended = unsafe { libc::poll(&raw mut poll, 1, 2000) } == 1;
    if !ended {
        // SAFETY: takes numbers; the descriptor is our child's.
        unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                pidfd.as_raw_fd(),
                libc::SIGKILL,
                0usize,
                0,
            )
        };
    }
    // SAFETY: our own child, not reaped yet; null for "don't tell".
    unsafe { libc::waitpid(i32::try_from(pid).unwrap(), std::ptr::null_mut(), 0) };
    ended
}

#[test]
fn control_fork_then_malloc_hangs() {
    let _watchdog = watchdog(120);
    if role().is_some() {
        let _churn = Churn::start(20);
        let deadline = std::time::Instant::now() + Duration::from_secs(90);
        for attempt in 1.. {
            if !fork_and_allocate() {
                println!("control: attempt {attempt} hung");
                return;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "{attempt} forks, and none hung: the storm proves nothing"
            );
        }
    }
    assert!(succeed(one_arena("control_fork_then_malloc_hangs")).contains("hung"));
}
