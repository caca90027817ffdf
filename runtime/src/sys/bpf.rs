//! bpf(2): loading a cgroup device filter and attaching it to a cgroup.
//!
//! Takes instructions as data and raises no limit of the calling process.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::fd::owned;

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;
const BPF_PROG_DETACH: libc::c_int = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_PROG_QUERY: libc::c_int = 16;

/// By this our filters are known among others', as systemd's.
const NAME: [u8; 16] = *b"longshore\0\0\0\0\0\0\0";

/// More filters than the kernel takes in one cgroup.
const MOST_FILTERS: u32 = 64;

/// The first fields of the kernel's `union bpf_attr` for BPF_PROG_LOAD. The
/// kernel takes what is past the size that is passed as zero.
#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// The same for BPF_PROG_ATTACH.
#[repr(C)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// bpf(2) with the fields of `attr` that the command knows.
///
/// # Safety
/// Each address in `attr` is of live memory, as long as `attr` says, that the kernel may use as the command does.
unsafe fn bpf<T>(command: libc::c_int, attr: &mut T) -> Result<libc::c_long, Errno> {
    // SAFETY: `attr` is live and its size is passed; for the addresses in it the caller vouches.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<T>()) };
    Errno::result(result)
}

/// Loads a BPF_PROG_TYPE_CGROUP_DEVICE program, one `struct bpf_insn` a word
/// ([bpf(2)](https://man7.org/linux/man-pages/man2/bpf.2.html)).
pub(crate) fn load_device_filter(instructions: &[u64]) -> Result<OwnedFd, Errno> {
    // No helper is called that asks for the GPL.
    let license = c"Apache-2.0";
    let mut attr = LoadAttr {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(instructions.len()).map_err(|_| Errno::E2BIG)?,
        insns: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name: NAME,
    };
    // SAFETY: `insns` covers `insn_cnt` words of 8 bytes, the size of struct bpf_insn; `license` is
    // NUL-terminated; log_size 0 keeps the kernel from writing a log. The kernel only reads them.
    owned(unsafe { bpf(BPF_PROG_LOAD, &mut attr) }?)
}

fn attachment(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>, attach_flags: u32) -> AttachAttr {
    AttachAttr {
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        attach_bpf_fd: program.as_raw_fd().cast_unsigned(),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags,
    }
}

/// Attaches a device filter to a cgroup beside those already there: an access
/// must pass all of them.
pub(crate) fn attach_device_filter(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let mut attr = attachment(cgroup, program, BPF_F_ALLOW_MULTI);
    // SAFETY: no field is an address.
    unsafe { bpf(BPF_PROG_ATTACH, &mut attr) }.map(drop)
}

/// Detaches one from a cgroup.
pub(crate) fn detach_device_filter(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let mut attr = attachment(cgroup, program, 0);
    // SAFETY: no field is an address.
    unsafe { bpf(BPF_PROG_DETACH, &mut attr) }.map(drop)
}

/// The device filters of ours that are attached to this very cgroup.
pub(crate) fn own_device_filters(cgroup: BorrowedFd<'_>) -> Result<Vec<OwnedFd>, Errno> {
    let mut own = Vec::new();
    for id in attached(cgroup)? {
        let filter = by_id(id)?;
        if name(filter.as_fd())? == NAME {
            own.push(filter);
        }
    }
    Ok(own)
}

/// BPF_PROG_QUERY: the ids of what is attached.
fn attached(cgroup: BorrowedFd<'_>) -> Result<Vec<u32>, Errno> {
    #[repr(C)]
    struct QueryAttr {
        target_fd: u32,
        attach_type: u32,
        query_flags: u32,
        attach_flags: u32,
        prog_ids: u64,
        prog_cnt: u32,
        padding: u32,
    }
    let mut ids = [0_u32; MOST_FILTERS as usize];
    let mut attr = QueryAttr {
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        attach_type: BPF_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: MOST_FILTERS,
        padding: 0,
    };
    // SAFETY: `prog_ids` has room for the `prog_cnt` ids that the kernel may write there.
    unsafe { bpf(BPF_PROG_QUERY, &mut attr) }?;
    let count = usize::try_from(attr.prog_cnt).unwrap_or(0);
    Ok(ids.into_iter().take(count).collect())
}

/// BPF_PROG_GET_FD_BY_ID; close-on-exec, as all of bpf(2)'s descriptors.
fn by_id(id: u32) -> Result<OwnedFd, Errno> {
    let mut attr = [id, 0, 0];
    // SAFETY: no field is an address.
    owned(unsafe { bpf(BPF_PROG_GET_FD_BY_ID, &mut attr) }?)
}

/// BPF_OBJ_GET_INFO_BY_FD: the name in `struct bpf_prog_info`.
fn name(program: BorrowedFd<'_>) -> Result<[u8; 16], Errno> {
    #[repr(C)]
    struct Info {
        before: [u64; 8],
        name: [u8; 16],
    }
    #[repr(C)]
    struct InfoAttr {
        bpf_fd: u32,
        info_len: u32,
        info: u64,
    }
    const LENGTH: u32 = 80; // of Info
    let mut info = Info {
        before: [0; 8],
        name: [0; 16],
    };
    let mut attr = InfoAttr {
        bpf_fd: program.as_raw_fd().cast_unsigned(),
        info_len: LENGTH,
        info: std::ptr::from_mut(&mut info) as u64,
    };
    // SAFETY: `info` points to `info_len` bytes, all zero, so that the kernel writes there and, told of no further
    // room, nowhere else.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr) }?;
    Ok(info.name)
}
