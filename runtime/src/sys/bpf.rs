//! bpf(2): loading a cgroup device filter and attaching it to a cgroup.
//!
//! Takes instructions as data and raises no limit of the calling process.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

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
