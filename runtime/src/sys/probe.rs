//! Does the kernel, or a filter above us, let these calls through? Asked with
//! arguments that can't succeed: no effect, a tenth of a microsecond each.
#![allow(unsafe_code)]

use nix::errno::Errno;

/// Missing is ENOSYS, or EPERM from a filter that doesn't know the call.
fn answers(number: libc::c_long, args: [libc::c_long; 4]) -> bool {
    // SAFETY: every descriptor is -1 and every pointer null or a size of 0, so the call can only be refused.
    let result = unsafe { libc::syscall(number, args[0], args[1], args[2], args[3], 0) };
    !matches!(Errno::result(result), Err(Errno::ENOSYS | Errno::EPERM))
}

pub(crate) fn clone3() -> bool {
    answers(libc::SYS_clone3, [0, 0, 0, 0])
}

/// open_tree(2), move_mount(2), fsopen(2) came together.
pub(crate) fn mount_api() -> bool {
    answers(libc::SYS_fsopen, [0, 0, 0, 0])
        && answers(libc::SYS_open_tree, [-1, 0, 0, 0])
        && answers(libc::SYS_move_mount, [-1, 0, -1, 0])
}

pub(crate) fn mount_setattr() -> bool {
    answers(libc::SYS_mount_setattr, [-1, 0, 0, 0])
}

/// A flag of seccomp(2): with it, no filter is installed, but a null one is refused for being null.
pub(crate) fn seccomp_flag(flag: u32) -> bool {
    const SET_MODE_FILTER: libc::c_uint = 1;
    let none = std::ptr::null::<libc::sock_fprog>();
    // SAFETY: the null pointer is what the kernel refuses (EFAULT) after it has looked at the flag.
    let set = unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flag, none) };
    set < 0 && Errno::last() == Errno::EFAULT
}
