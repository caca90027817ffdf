//! The door to the kernel: system calls that no crate wraps.
//!
//! Each module holds one family of calls, owns the descriptors that it gets
//! back and returns errnos. No policy lives here.

pub(crate) mod bpf;
pub(crate) mod pidfd;
pub(crate) mod xattr;
