//! Compiled filters, kept in `<state root>/@cache/seccomp`: a profile like
//! Docker's takes libseccomp longer than all the rest of a create.
//!
//! A file tells at its head all that its program was made of, and serves only
//! who asks for exactly that; so nothing depends on the hash that names it.
//! What is damaged, or could have been written by others, is compiled again.
//! A cache that can't be had is no error, only slower.
#![forbid(unsafe_code)]

use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

/// Below the state root, beside the containers: no id has that sign in it.
const PLACE: [&str; 2] = ["@cache", "seccomp"];

/// The oldest make room.
const MOST_FILES: usize = 64;

/// Larger than any file with a program that the kernel takes.
const MOST_BYTES: u64 = 16 << 20;

/// `struct sock_filter`, and how many of them all filters of a thread may have.
const INSTRUCTION: usize = 8;
const MOST_INSTRUCTIONS: usize = 32768;

/// A sum over the rest, and the length of the key.
const HEAD: usize = 16;

/// The directory; `None` if it can't be made, or could be another user's.
pub(super) fn open(state_root: &Path) -> Option<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut dir = openat(AT_FDCWD, state_root, flags, Mode::empty()).ok()?;
    for name in PLACE {
        let _ = mkdirat(&dir, name, Mode::S_IRWXU); // nearly always there; the open tells
        dir = openat(&dir, name, flags | OFlag::O_NOFOLLOW, Mode::empty()).ok()?;
        is_ours(&fstat(&dir).ok()?, SFlag::S_IFDIR).then_some(())?;
    }
    Some(dir)
}

fn is_ours(stat: &FileStat, kind: SFlag) -> bool {
    let others = Mode::S_IWGRP | Mode::S_IWOTH;
    stat.st_mode & SFlag::S_IFMT.bits() == kind.bits()
        && stat.st_mode & others.bits() == 0
        && stat.st_uid == geteuid().as_raw()
}

/// The program that was made of `key`.
pub(super) fn get(dir: &OwnedFd, key: &str) -> Option<Vec<u8>> {
    // Without O_NONBLOCK a planted pipe would hang us.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = openat(dir, &*name(key), flags, Mode::empty()).ok()?;
    is_ours(&fstat(&file).ok()?, SFlag::S_IFREG).then_some(())?;
    let mut bytes = Vec::new();
    File::from(file)
        .take(MOST_BYTES)
        .read_to_end(&mut bytes)
        .ok()?;
    decode(&bytes, key).map(<[u8]>::to_vec)
}

/// Keeps a program, whole or not at all.
pub(super) fn put(dir: &OwnedFd, key: &str, program: &[u8]) {
    let _ = try_put(dir, key, &encode(key, program)); // the next create compiles again
}

fn try_put(dir: &OwnedFd, key: &str, bytes: &[u8]) -> Result<(), Errno> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    make_room(dir)?;
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let new = format!(".{}-{next}", std::process::id());
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let file = openat(dir, &*new, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let written = File::from(file).write_all(bytes).map_err(|_| Errno::EIO);
    let kept = written.and_then(|()| renameat(dir, &*new, dir, &*name(key)));
    if kept.is_err() {
        let _ = unlinkat(dir, &*new, UnlinkatFlags::NoRemoveDir); // the failure itself counts
    }
    kept
}

fn make_room(dir: &OwnedFd) -> Result<(), Errno> {
    let again = openat(dir, ".", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut files = Vec::new();
    for entry in Dir::from_fd(again)?.iter().flatten() {
        let name = entry.file_name().to_owned();
        if name != *c"." && name != *c".." {
            let stat = fstatat(dir.as_fd(), &*name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
            files.push(((stat.st_mtime, stat.st_mtime_nsec), name));
        }
    }
    files.sort();
    let surplus = (files.len() + 1).saturating_sub(MOST_FILES);
    for (_, name) in &files[..surplus] {
        unlinkat(dir, &**name, UnlinkatFlags::NoRemoveDir)?;
    }
    Ok(())
}

fn name(key: &str) -> String {
    format!("{:016x}", sum(&[key.as_bytes()]))
}

/// The same in every process of one build, which is all that it is used for.
fn sum(parts: &[&[u8]]) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.iter().for_each(|part| hasher.write(part));
    hasher.finish()
}

fn encode(key: &str, program: &[u8]) -> Vec<u8> {
    let length = (key.len() as u64).to_le_bytes();
    // A machine that stopped may leave a file with holes of zeros.
    let sum = sum(&[&length, key.as_bytes(), program]).to_le_bytes();
    [&sum, &length, key.as_bytes(), program].concat()
}

/// The program, if the file is whole and made of `key`.
fn decode<'a>(bytes: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let (expect, length) = head.split_at_checked(HEAD / 2)?;
    let (made_of, program) = rest.split_at_checked(key.len())?;
    let whole = sum(&[length, rest]).to_le_bytes() == *expect;
    let same = (key.len() as u64).to_le_bytes() == *length && made_of == key.as_bytes();
    let fits = !program.is_empty()
        && program.len().is_multiple_of(INSTRUCTION)
        && program.len() / INSTRUCTION <= MOST_INSTRUCTIONS;
    (whole && same && fits).then_some(program)
}

#[cfg(test)]
mod tests;
