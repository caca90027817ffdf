//! The cgroups of the host: v1 where it has them, and v2 in a private mount
//! namespace of one thread. Each test has names of its own.
#![allow(clippy::print_stderr)] // a skip says why

use std::io::{BufRead, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::*;
use crate::ErrorKind;
use crate::config::resources::Resources;

mod changes;

/// Runs a test against each version of cgroups that this host can show.
fn on_hosts(test: fn(&Layout)) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    match Layout::probe().unwrap() {
        layout @ Layout::V1(_) => test(&layout),
        _ => eprintln!("skipped on v1: this host has no v1 hierarchies"),
    }
    let v2 = std::thread::spawn(move || {
        // This thread's alone: other threads keep the host's mounts.
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(
            none,
            "/sys/fs/cgroup",
            Some("cgroup2"),
            MsFlags::empty(),
            none,
        )
        .unwrap();
        let layout = Layout::probe().unwrap();
        assert!(matches!(layout, Layout::V2(_)), "{layout:?}");
        test(&layout);
    });
    v2.join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("longshore-test-{}-{next}", std::process::id())
}

fn dirs(layout: &Layout, name: &str) -> Directories {
    directories(layout, Some(&format!("/{name}")), "unused").unwrap()
}

fn exists(dirs: &Directories) -> Vec<String> {
    dirs.0
        .iter()
        .map(Directory::display)
        .filter(|path| std::fs::metadata(path).is_ok())
        .collect()
}

/// A shell that runs `script` once it has been put in place.
struct Shell(Child);

impl Shell {
    fn new(script: &str) -> Shell {
        let script = format!("read go; {script}");
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        Shell(command.spawn().unwrap())
    }

    fn join(self, cgroup: &Cgroup) -> Shell {
        for file in (0..cgroup.nodes.len()).map(|index| cgroup.join_file(index).unwrap()) {
            write_pid(file, self.pid());
        }
        self
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    fn go(&mut self) {
        self.0.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    }

    /// The next line that it prints.
    fn line(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.0.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        line.trim().to_owned()
    }

    fn alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn write_pid(file: OwnedFd, pid: i32) {
    std::fs::File::from(file)
        .write_all(pid.to_string().as_bytes())
        .unwrap();
}

#[test]
fn a_whole_life() {
    on_hosts(|layout| {
        let dirs = dirs(layout, &name());
        let cgroup = Cgroup::create(layout, &dirs, "nonce-1").unwrap();
        assert_eq!(cgroup.directories(), dirs);
        assert_eq!(exists(&dirs).len(), dirs.0.len());
        assert!(cgroup.ours().count() == dirs.0.len());
        let v2 = cgroup.directories().0.iter().any(Directory::is_v2);
        assert_eq!(cgroup.v2_dir().is_some(), v2);

        let mut shell = Shell::new("").join(&cgroup);
        let mut bystander = Shell::new("");
        assert_eq!(cgroup.processes().unwrap(), [shell.pid()]);
        assert!(!cgroup.is_frozen().unwrap());
        assert_eq!(cgroup.oom_kills(), 0);
        let busy = cgroup.remove(Instant::now()).unwrap_err();
        assert_eq!(busy.kind(), ErrorKind::Timeout);

        let again = Cgroup::open(&dirs, "nonce-1").unwrap();
        again.kill(soon()).unwrap();
        assert!(!shell.alive() && bystander.alive());
        again.remove(soon()).unwrap();
        assert_eq!(exists(&dirs), [""; 0]);
        again.remove(soon()).unwrap();
        assert!(Cgroup::open(&dirs, "nonce-1").unwrap().is_absent());
    });
}

#[test]
fn an_existing_cgroup_is_used_and_left_alone() {
    on_hosts(|layout| {
        let dirs = dirs(layout, &format!("{}/part", name()));
        let cgroup = Cgroup::create(layout, &dirs, "first").unwrap();
        drop(cgroup);

        // Another container's, even an empty one, isn't shared.
        let foreign = Cgroup::create(layout, &dirs, "second").unwrap_err();
        assert!(
            foreign.to_string().contains("belongs to another container"),
            "{foreign}"
        );
        let cgroup = Cgroup::open(&dirs, "second").unwrap();
        cgroup.remove(soon()).unwrap();
        assert_eq!(exists(&dirs).len(), dirs.0.len());

        // Without a mark it is.
        Cgroup::open(&dirs, "first")
            .unwrap()
            .remove(soon())
            .unwrap();
        dirs.0
            .iter()
            .for_each(|place| std::fs::create_dir(place.display()).unwrap());
        let cgroup = Cgroup::create(layout, &dirs, "third").unwrap();
        assert!(cgroup.directories().0.iter().all(|place| place.existing));
        let mut shell = Shell::new("").join(&cgroup);
        let used = Cgroup::create(layout, &dirs, "fourth").unwrap_err();
        assert!(
            used.to_string().starts_with("linux.cgroupsPath: cgroup "),
            "{used}"
        );
        assert!(used.to_string().contains("in use"), "{used}");

        let cgroup = Cgroup::open(&cgroup.directories(), "third").unwrap();
        cgroup.kill(soon()).unwrap();
        cgroup.remove(soon()).unwrap();
        assert!(shell.alive());
        assert_eq!(cgroup.processes().unwrap(), [shell.pid()]);
        drop(shell);

        let used = cgroup.directories();
        cgroup.freeze(soon()).unwrap();
        let frozen = Cgroup::create(layout, &dirs, "fifth").unwrap_err();
        // Which directory is met first differs; all others are gone unnoticed.
        assert!(frozen.to_string().contains("is frozen"), "{frozen}");
        cgroup.thaw().unwrap();
        assert_eq!(exists(&used).len(), used.0.len());
        clean_up(&dirs);
    });
}

/// Removes empty directories and their parents, for tests that left some.
fn clean_up(dirs: &Directories) {
    for place in &dirs.0 {
        let path = std::path::PathBuf::from(place.display());
        let _ = std::fs::remove_dir(&path);
        if place.path.contains('/') {
            std::fs::remove_dir(path.parent().unwrap()).unwrap();
        }
    }
}

#[test]
fn recovery_after_a_crash() {
    on_hosts(|layout| {
        let dirs = dirs(layout, &name());
        let nonce = name();
        Cgroup::create(layout, &dirs, &nonce).unwrap();
        if dirs.0.len() > 2 {
            // Killed between mkdir and mark of one, with another missing.
            std::fs::remove_dir(dirs.0[1].display()).unwrap();
            std::fs::remove_dir(dirs.0[2].display()).unwrap();
            std::fs::create_dir(dirs.0[2].display()).unwrap();
        }
        let marked: Vec<_> = dirs
            .0
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != 1 && *i != 2)
            .collect();
        let found = Cgroup::find(layout, &nonce).unwrap().directories();
        assert_eq!(
            found.0.iter().collect::<Vec<_>>(),
            marked.iter().map(|m| m.1).collect::<Vec<_>>()
        );

        let cgroup = Cgroup::open(&dirs, &nonce).unwrap();
        cgroup.kill(soon()).unwrap();
        cgroup.remove(soon()).unwrap();
        assert_eq!(exists(&dirs), [""; 0]);
        assert!(Cgroup::find(layout, &nonce).unwrap().is_absent());
    });
}

#[test]
fn what_create_made_is_undone() {
    on_hosts(|layout| {
        let mut dirs = dirs(layout, &format!("{}/a/b", name()));
        dirs.0.push(Directory {
            mount: "/proc".into(),
            ..dirs.0[0].clone()
        });
        Cgroup::create(layout, &dirs, "undone").unwrap_err();
        assert_eq!(exists(&dirs), [""; 0]);
        let top = dirs.0[0].path.split('/').next().unwrap();
        assert!(std::fs::metadata(format!("{}/{top}", dirs.0[0].mount)).is_err());

        let root = directories(layout, Some("/"), "x").unwrap();
        let error = Cgroup::create(layout, &root, "root").unwrap_err();
        assert_eq!(error.config_path(), Some("linux.cgroupsPath"));
    });
}

#[test]
fn frozen_processes_are_killed() {
    on_hosts(|layout| {
        let dirs = dirs(layout, &name());
        let cgroup = Cgroup::create(layout, &dirs, "freezer").unwrap();
        let mut shell = Shell::new("sleep 1000 & sleep 1000 & wait").join(&cgroup);
        shell.go();
        cgroup.freeze(soon()).unwrap();
        assert!(cgroup.is_frozen().unwrap());
        cgroup.thaw().unwrap();
        assert!(!cgroup.is_frozen().unwrap());

        // A child cgroup frozen by the container itself.
        let child = |place: &Directory| format!("{}/deep/er", place.display());
        dirs.0
            .iter()
            .for_each(|place| std::fs::create_dir_all(child(place)).unwrap());
        let freezer = &cgroup.freezer().unwrap().place;
        let moved: Vec<_> = dirs
            .0
            .iter()
            .filter(|place| !place.controls("cpuset"))
            .collect();
        for place in moved {
            std::fs::write(
                format!("{}/cgroup.procs", child(place)),
                shell.pid().to_string(),
            )
            .unwrap();
        }
        let (file, value) = if freezer.is_v2() {
            ("cgroup.freeze", "1")
        } else {
            ("freezer.state", "FROZEN")
        };
        std::fs::write(format!("{}/{file}", child(freezer)), value).unwrap();
        cgroup.freeze(soon()).unwrap();
        assert!(cgroup.processes().unwrap().contains(&shell.pid()));
        cgroup.kill(soon()).unwrap();
        assert_eq!(cgroup.processes().unwrap(), [0; 0]);
        cgroup.remove(soon()).unwrap();
        assert_eq!(exists(&dirs), [""; 0]);
    });
}

#[test]
fn what_keeps_forking_is_killed() {
    on_hosts(|layout| {
        let dirs = dirs(layout, &name());
        let cgroup = Cgroup::create(layout, &dirs, "forks").unwrap();
        // Each one starts its successor and goes.
        let script = "f() { f & }; g() { while :; do (:) & (:) & wait; done; }; g & g & g & wait";
        let mut shell = Shell::new(script).join(&cgroup);
        shell.go();
        let start = Instant::now();
        while cgroup.processes().unwrap().len() < 4 {
            assert!(start.elapsed() < Duration::from_secs(10));
        }
        cgroup.signal_all(true).unwrap();
        cgroup.kill(soon()).unwrap();
        cgroup.remove(soon()).unwrap();
        assert!(!shell.alive());
    });
}

#[test]
fn limits_are_written_and_refusals_name_their_property() {
    on_hosts(|layout| {
        let Layout::V1(_) = layout else { return };
        let dirs = dirs(layout, &name());
        let cgroup = Cgroup::create(layout, &dirs, "limits").unwrap();
        let mut resources = Resources {
            pids_limit: Some(0),
            ..Resources::default()
        };
        resources.memory.limit = Some(64 << 20);
        resources.memory.swap = Some(96 << 20);
        resources.cpu.shares = Some(512);
        resources.cpu.quota = Some(20_000);
        resources.cpu.period = Some(50_000);
        resources.cpu.burst = Some(10_000);
        resources.cpu.cpus = Some("0".into());
        let writes = compile(&resources, &layout.facts()).unwrap();
        cgroup.apply(&writes).unwrap();
        let read = |w: &Write| {
            dir::read_at(cgroup.controlling(&w.controller).unwrap().dir(), &w.file).unwrap()
        };
        assert!(writes.iter().all(|write| read(write).trim() == write.value));

        // To more: memory alone would pass memory+swap on its way.
        resources.memory = crate::config::resources::Memory {
            limit: Some(128 << 20),
            swap: Some(128 << 20),
            ..Default::default()
        };
        let writes = compile(&resources, &layout.facts()).unwrap();
        cgroup.apply(&writes).unwrap();
        assert!(writes.iter().all(|write| read(write).trim() == write.value));

        resources.cpu.cpus = Some("4000".into());
        let error = cgroup
            .apply(&compile(&resources, &layout.facts()).unwrap())
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("linux.resources.cpu.cpus: cannot set cpuset.cpus to 4000: E"),
            "{error}"
        );
        cgroup.remove(soon()).unwrap();
    });
}

#[test]
fn a_controller_that_is_not_there() {
    on_hosts(|layout| {
        let Layout::V2(host) = layout else { return };
        let dirs = dirs(layout, &format!("{}/a", name()));
        let cgroup = Cgroup::create(layout, &dirs, "missing").unwrap();
        for controller in &host.controllers {
            let parent = std::path::PathBuf::from(dirs.0[0].display())
                .parent()
                .unwrap()
                .join("cgroup.subtree_control");
            assert!(
                std::fs::read_to_string(parent)
                    .unwrap()
                    .contains(controller)
            );
        }
        let write = |missing| Write {
            controller: "none".into(),
            file: "none.max".into(),
            value: "1".into(),
            config_path: "linux.resources.none".into(),
            missing,
            usage: None,
        };
        cgroup.apply(&[write(Missing::InForce)]).unwrap();
        let error = cgroup.apply(&[write(Missing::Fails)]).unwrap_err();
        assert!(
            error.to_string().contains("has no none controller: ENOENT"),
            "{error}"
        );
        cgroup.remove(soon()).unwrap();
        clean_up(&dirs);
    });
}

#[test]
fn devices_are_denied_and_allowed() {
    on_hosts(|layout| {
        let rule = devices::tests::rule;
        for (rules, expect) in [
            (vec![], "yes yes yes"),
            (vec![rule("-a *:* rwm")], "yes no no"),
            (vec![rule("-a *:* rwm"), rule("+c 1:11 r")], "yes yes no"),
            (vec![rule("-a *:* rwm"), rule("+c 1:11 rw")], "yes yes yes"),
            (vec![rule("+a *:* rwm"), rule("-c 1:11 w")], "yes yes no"),
            (vec![rule("-a *:* rwm"), rule("+a *:* rwm")], "yes yes yes"),
        ] {
            let dirs = dirs(layout, &name());
            let cgroup = Cgroup::create(layout, &dirs, "devices").unwrap();
            cgroup.apply_devices(&rules).unwrap();
            let script = "try() { if (eval \"exec 3$1\") 2>/dev/null; then printf yes; else printf no; fi; }; \
                          try '</dev/null'; printf ' '; try '</dev/kmsg'; printf ' '; try '<>/dev/kmsg'; echo";
            let mut shell = Shell::new(script).join(&cgroup);
            shell.go();
            assert_eq!(shell.line(), expect, "{rules:?}");
            cgroup.kill(soon()).unwrap();
            cgroup.remove(soon()).unwrap();
        }
    });
}

#[test]
fn a_cpuset_is_filled_all_the_way_down() {
    on_hosts(|layout| {
        let dirs = dirs(layout, &format!("{}/a/b", name()));
        let Some(place) = dirs.0.iter().find(|place| place.controls("cpuset")) else {
            return;
        };
        // Somebody else's parent, never filled.
        let top = format!("{}/{}", place.mount, place.path.split('/').next().unwrap());
        std::fs::create_dir(&top).unwrap();
        let cgroup = Cgroup::create(layout, &dirs, "cpuset").unwrap();
        let cpus = |path: &str| std::fs::read_to_string(format!("{path}/cpuset.cpus")).unwrap();
        assert_eq!(cpus(&place.display()), cpus(&place.mount));
        cgroup.remove(soon()).unwrap();
        for place in &dirs.0 {
            let parent = std::path::PathBuf::from(place.display())
                .parent()
                .unwrap()
                .to_owned();
            std::fs::remove_dir(&parent).unwrap();
            std::fs::remove_dir(parent.parent().unwrap()).unwrap();
        }
    });
}

#[test]
fn a_container_of_deep_cgroups_goes() {
    on_hosts(|layout| {
        let dirs = dirs(layout, &name());
        let cgroup = Cgroup::create(layout, &dirs, "deep").unwrap();
        let mut path = dirs.0[0].display();
        for _ in 0..200 {
            path += "/d";
            std::fs::create_dir(&path).unwrap();
            let side = format!("{path}-side");
            std::fs::create_dir(side).unwrap();
        }
        cgroup.kill(soon()).unwrap();
        cgroup.remove(soon()).unwrap();
        assert_eq!(exists(&dirs), [""; 0]);
    });
}

#[test]
fn a_stopped_mount_is_no_cgroup() {
    let place = Directory {
        controllers: String::new(),
        mount: "/proc".into(),
        path: "self".into(),
        existing: false,
    };
    let gone = Directory {
        mount: "/no/such/mount".into(),
        ..place.clone()
    };
    let cgroup = Cgroup::open(&Directories(vec![place, gone]), "x").unwrap();
    assert!(cgroup.is_absent());
    assert_eq!(
        cgroup
            .write(&Write {
                controller: "pids".into(),
                file: "pids.max".into(),
                value: "1".into(),
                config_path: String::new(),
                missing: Missing::Fails,
                usage: None,
            })
            .unwrap_err()
            .1,
        Errno::ENOENT
    );
}
