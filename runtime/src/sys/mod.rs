//! The library's door to the kernel, where `nix` has no safe call. Every
//! `unsafe` block of the host side but the clone (`launch/spawn.rs`) is below here.
//! Nothing here changes the calling process.

pub(crate) mod bpf;
pub(crate) mod fd;
pub(crate) mod namespace;
pub(crate) mod netlink;
pub(crate) mod pidfd;
pub(crate) mod probe;
pub(crate) mod proc;
pub(crate) mod socket;
pub(crate) mod window;
pub(crate) mod xattr;
