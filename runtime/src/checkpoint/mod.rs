//! Checkpoint and restore, by CRIU. <https://criu.org>
//!
//! ```text
//! options   what the caller says, and the directories it names
//! rpc       CRIU's messages                                         pure
//! outside   what of a container CRIU must not dump, but find again  pure
//! points    mount points that a root filesystem lacks
//! criu      CRIU as a child, and the conversation with it
//! log       what CRIU's log says of a failure
//! ```
//!
//! `container/checkpoint.rs` and `container/restore.rs` do the container's side of it.

mod criu;
mod log;
mod options;
mod outside;
pub(crate) mod points;
pub(crate) mod rpc;

pub(crate) use criu::{Apart, Criu, FIRST_PASSED, Listener};
pub(crate) use log::explain;
pub(crate) use options::Directories;
pub use options::{CgroupsMode, CriuOptions};
pub(crate) use outside::{ANNOTATION, configuration_file, dumped, namespaces, restored};

/// The name in an image's directory of what stdio was: an array of three strings.
pub(crate) const DESCRIPTORS: &str = "descriptors.json";
