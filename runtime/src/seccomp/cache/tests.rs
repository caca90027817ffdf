//! A file serves only whom it was made for.

use super::*;
use crate::config::resources::{Seccomp, SyscallRule};
use crate::seccomp;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

const KEY: &str = "one key";
const PROGRAM: [u8; 16] = [7; 16];

struct Root(PathBuf);

impl Root {
    fn new(name: &str) -> Root {
        let name = format!("longshore-cache-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Root(path)
    }

    fn place(&self) -> PathBuf {
        self.0.join("@cache/seccomp")
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.place()).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // only temporary files
    }
}

fn profile() -> Seccomp {
    let rule = SyscallRule {
        names: vec!["mount".into()],
        action: "SCMP_ACT_ERRNO".into(),
        errno: Some(38),
        args: vec![],
    };
    Seccomp {
        default_action: "SCMP_ACT_ALLOW".into(),
        default_errno: None,
        architectures: vec![],
        flags: None,
        syscalls: vec![rule],
    }
}

#[test]
fn only_a_whole_file_with_the_same_key() {
    let whole = encode(KEY, &PROGRAM);
    assert_eq!(decode(&whole, KEY), Some(&PROGRAM[..]));
    for other in ["one kez", "one ke", "one key ", ""] {
        assert_eq!(decode(&whole, other), None, "{other}");
    }
    for length in 0..whole.len() {
        assert_eq!(decode(&whole[..length], KEY), None, "{length}");
    }
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        assert_eq!(decode(&damaged, KEY), None, "{at}");
    }
    for wrong in [0, 7, 9, (MOST_INSTRUCTIONS + 1) * INSTRUCTION] {
        assert_eq!(decode(&encode(KEY, &vec![6; wrong]), KEY), None, "{wrong}");
    }
}

#[test]
fn every_part_of_a_profile_is_in_its_key() {
    let key = |change: fn(&mut Seccomp)| {
        let mut profile = profile();
        change(&mut profile);
        seccomp::key(&profile).unwrap()
    };
    let all = [
        key(|_| {}),
        key(|p| p.default_action = "SCMP_ACT_LOG".into()),
        key(|p| p.default_errno = Some(1)),
        key(|p| p.architectures.push("SCMP_ARCH_X86".into())),
        key(|p| p.flags = Some(vec![])),
        key(|p| p.syscalls[0].errno = Some(39)),
        key(|p| p.syscalls[0].errno = None),
        key(|p| p.syscalls[0].names.push("umount2".into())),
    ];
    for (index, one) in all.iter().enumerate() {
        assert!(!all[..index].contains(one), "{index}");
    }
}

#[test]
fn a_second_create_compiles_nothing() {
    let root = Root::new("second");
    let compiled = seccomp::compile(&profile()).unwrap();
    assert_eq!(seccomp::cached(&profile(), &root.0).unwrap(), compiled);
    let [file] = &root.files()[..] else { panic!() };
    for path in [file.clone(), root.place(), root.0.join("@cache")] {
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o077, 0);
    }
    // What is in the file is what is used.
    let key = seccomp::key(&profile()).unwrap();
    fs::write(file, encode(&key, &PROGRAM)).unwrap();
    let read = seccomp::cached(&profile(), &root.0).unwrap();
    assert_eq!(read.program, PROGRAM);
    assert_eq!(read.flags, compiled.flags);
}

#[test]
fn what_others_could_have_written_is_replaced() {
    let root = Root::new("others");
    let compiled = seccomp::compile(&profile()).unwrap();
    let key = seccomp::key(&profile()).unwrap();
    let planted = |spoil: fn(&Path)| {
        let dir = open(&root.0).unwrap();
        put(&dir, &key, &PROGRAM);
        spoil(&root.place().join(name(&key)));
        let again = || seccomp::cached(&profile(), &root.0).unwrap();
        assert_eq!(again(), compiled);
        assert_eq!(again(), compiled);
        assert_eq!(get(&dir, &key).unwrap(), compiled.program);
    };
    planted(|file| fs::set_permissions(file, fs::Permissions::from_mode(0o620)).unwrap());
    planted(|file| fs::set_permissions(file, fs::Permissions::from_mode(0o602)).unwrap());
    planted(|file| fs::write(file, "").unwrap());
    planted(|file| {
        fs::rename(file, file.with_extension("x")).unwrap();
        symlink(file.with_extension("x"), file).unwrap();
    });
    if geteuid().is_root() {
        planted(|file| std::os::unix::fs::chown(file, Some(1), None).unwrap());
    }
    // A directory of theirs isn't used at all.
    fs::set_permissions(root.place(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(open(&root.0).is_none());
    assert_eq!(seccomp::cached(&profile(), &root.0).unwrap(), compiled);
}

#[test]
fn it_is_no_container() {
    assert!(crate::container::check_id(PLACE[0]).is_err());
}

#[test]
fn no_cache_is_no_error() {
    let compiled = seccomp::compile(&profile()).unwrap();
    let nowhere = Path::new("/no/such/root");
    assert_eq!(seccomp::cached(&profile(), nowhere).unwrap(), compiled);
    let root = Root::new("file");
    fs::write(root.0.join("@cache"), "").unwrap();
    assert_eq!(seccomp::cached(&profile(), &root.0).unwrap(), compiled);
}

#[test]
fn the_oldest_make_room() {
    let root = Root::new("room");
    let dir = open(&root.0).unwrap();
    for key in 0..MOST_FILES + 9 {
        put(&dir, &key.to_string(), &PROGRAM);
    }
    assert_eq!(root.files().len(), MOST_FILES);
    assert!(get(&dir, &(MOST_FILES + 8).to_string()).is_some());
}

/// A profile that differs in its errno alone was taken for another's elsewhere.
#[test]
fn defect_5_the_errno_is_in_the_key() {
    let root = Root::new("defect-5");
    let with = |errno| {
        let mut profile = profile();
        profile.syscalls[0].errno = Some(errno);
        seccomp::cached(&profile, &root.0).unwrap().program
    };
    let (first, other) = (with(38), with(39));
    assert_ne!(first, other);
    assert_eq!(with(38), first);
}
