//! bpf(2): loading a cgroup device filter and attaching it to a cgroup.
//!
//! Takes instructions as data and raises no limit of the calling process.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

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
const MOST_FILTERS: usize = 64;

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

/// Loads a BPF_PROG_TYPE_CGROUP_DEVICE program, one `struct bpf_insn` a word
/// ([bpf(2)](https://man7.org/linux/man-pages/man2/bpf.2.html)).
pub(crate) fn load_device_filter(instructions: &[u64]) -> Result<OwnedFd, Errno> {
    // No helper is called that asks for the GPL.
    let license = c"Apache-2.0";
    let attr = LoadAttr {
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
    // SAFETY: `attr` is live and its size is passed; `insns` covers `insn_cnt`
    // words of 8 bytes, the size of struct bpf_insn; `license` is
    // NUL-terminated; log_size 0 keeps the kernel from writing a log. The
    // kernel only reads all three.
    let ret = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &attr, size_of_val(&attr)) };
    let fd = i32::try_from(Errno::result(ret)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: BPF_PROG_LOAD returned this descriptor a line ago (close-on-exec,
    // as for all of bpf(2)) and nothing else has seen it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a device filter to a cgroup beside those already there: an access
/// must pass all of them.
pub(crate) fn attach_device_filter(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let attr = AttachAttr {
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        attach_bpf_fd: program.as_raw_fd().cast_unsigned(),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: `attr` is live and its size is passed; it holds no pointer and
    // the kernel only reads it.
    let ret = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &attr, size_of_val(&attr)) };
    Errno::result(ret).map(drop)
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

/// Detaches one from a cgroup.
pub(crate) fn detach_device_filter(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let attr = AttachAttr {
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        attach_bpf_fd: program.as_raw_fd().cast_unsigned(),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: 0,
    };
    // SAFETY: `attr` is live and its size is passed; it holds no pointer and
    // the kernel only reads it.
    let ret = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_DETACH, &attr, size_of_val(&attr)) };
    Errno::result(ret).map(drop)
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
    let mut ids = [0_u32; MOST_FILTERS];
    let mut attr = QueryAttr {
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        attach_type: BPF_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: 64,
        padding: 0,
    };
    // SAFETY: `attr` is live and its size is passed; `prog_ids` has room for
    // the `prog_cnt` ids that the kernel may write there.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_QUERY,
            &mut attr,
            size_of::<QueryAttr>(),
        )
    };
    Errno::result(ret)?;
    let count = usize::try_from(attr.prog_cnt).unwrap_or(0);
    Ok(ids.into_iter().take(count).collect())
}

/// BPF_PROG_GET_FD_BY_ID.
fn by_id(id: u32) -> Result<OwnedFd, Errno> {
    let attr = [id, 0, 0];
    // SAFETY: `attr` is live and its size is passed; it holds no pointer and
    // the kernel only reads it.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_GET_FD_BY_ID,
            &attr,
            size_of_val(&attr),
        )
    };
    let fd = i32::try_from(Errno::result(ret)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: BPF_PROG_GET_FD_BY_ID returned this descriptor a line ago
    // (close-on-exec) and nothing else has seen it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
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
    let mut info = Info {
        before: [0; 8],
        name: [0; 16],
    };
    let mut attr = InfoAttr {
        bpf_fd: program.as_raw_fd().cast_unsigned(),
        info_len: 80,
        info: std::ptr::from_mut(&mut info) as u64,
    };
    // SAFETY: `attr` is live and its size is passed; `info` points to
    // `info_len` bytes, all zero, so that the kernel writes there and,
    // told of no further room, nowhere else.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_OBJ_GET_INFO_BY_FD,
            &mut attr,
            size_of::<InfoAttr>(),
        )
    };
    Errno::result(ret)?;
    Ok(info.name)
}
