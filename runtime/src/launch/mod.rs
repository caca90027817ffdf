//! From a plan to a running init: link it, spawn stage 1, play the host's half.

mod child;
mod encode;
pub(crate) mod hooks;
mod idmap;
mod image;
mod link;
mod netdev;
mod parent;
mod spawn;
mod userns;

pub(crate) use image::image;
pub(crate) use link::{Link, link};
pub(crate) use parent::{
    Created, PageResult, Progress, SETUP_DEADLINE, Surround, commit, explain, is_executing,
    read_page, run,
};

/// A result page for `start`, which says that `step` comes first, and whether the times are asked for.
pub(crate) fn fresh_page(
    step: u32,
    timed: bool,
    state_root: &std::path::Path,
) -> crate::Result<std::fs::File> {
    use std::io::Write;
    let mut page = crate::sys::fd::anonymous_file(c"longshore-page", state_root)?;
    page.write_all(&link::fresh_page(step, timed))
        .map_err(|error| crate::Error::system("cannot write a result page", error))?;
    Ok(page)
}
