//! Calls that are newer than a profile: what a kernel without them says. Pure.
//!
//! A profile that forbids all that it doesn't name was written for the calls of
//! its day. A libc that tries a newer one takes ENOSYS for "use the old one",
//! and EPERM for the end.

/// From this number on, Linux 5.1, a call has the same one on all architectures.
const SHARED_FROM: i32 = 424;

/// Above it are no calls, but what some architectures keep for themselves, and
/// x32's.
const END: u32 = 4096;

const LOAD: u16 = 0x20; // a word of struct seccomp_data
const IF_GREATER: u16 = 0x25;
const IF_NOT_LESS: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Four instructions before a filter: calls newer than `newest`, the profile's
/// own newest by number, don't exist. All others fall through.
pub(super) fn answer_enosys(newest: i32) -> Vec<u8> {
    let last = newest.max(SHARED_FROM - 1).cast_unsigned();
    let enosys = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
    let number = 0; // where it is in struct seccomp_data
    [
        instruction(LOAD, [0, 0], number),
        instruction(IF_GREATER, [0, 2], last),
        instruction(IF_NOT_LESS, [1, 0], END),
        instruction(RETURN, [0, 0], enosys),
    ]
    .concat()
}

/// `struct sock_filter`: what, where to if so and if not, and with what.
fn instruction(code: u16, jumps: [u8; 2], value: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..2].copy_from_slice(&code.to_ne_bytes());
    bytes[2..4].copy_from_slice(&jumps);
    bytes[4..].copy_from_slice(&value.to_ne_bytes());
    bytes
}
