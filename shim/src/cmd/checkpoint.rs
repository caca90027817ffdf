//! `checkpoint` and `restore`.

use super::{Failure, Outcome, console, number};
use crate::cli::Invocation;
use crate::log::Log;
use longshore::foreground::Foreground;
use longshore::{CriuOptions, Restore, Runtime};
use std::os::fd::OwnedFd;

pub(crate) fn checkpoint(
    runtime: &Runtime,
    invocation: &Invocation,
    log: &Log,
    status: Option<OwnedFd>,
) -> Outcome {
    let container = runtime.open(invocation.id())?;
    let mut checkpoint = container
        .checkpoint(options(invocation)?)
        .leave_running(invocation.has("leave-running"))
        .pre_dump(invocation.has("pre-dump"))
        .link_remap(invocation.has("link-remap"))
        .tcp_skip_in_flight(invocation.has("tcp-skip-in-flight"));
    if let Some(parent) = invocation.get("parent-path") {
        checkpoint = checkpoint.parent(parent);
    }
    if let Some(server) = invocation.get("page-server") {
        let (address, port) = page_server(server)?;
        checkpoint = checkpoint.page_server(address, port);
    }
    if let Some(status) = status {
        checkpoint = checkpoint.status_fd(status);
    }
    log.warnings(&checkpoint.dump()?);
    Ok(0)
}

pub(crate) fn restore(runtime: &Runtime, invocation: &Invocation, log: &Log) -> Outcome {
    let detach = invocation.has("detach");
    let foreground = (!detach)
        .then(|| Foreground::enter(!invocation.has("no-subreaper")))
        .transpose()?;
    let bundle = invocation.get("bundle").filter(|bundle| !bundle.is_empty());
    let mut builder = runtime
        .container(invocation.id())
        .bundle(bundle.unwrap_or("."));
    if let Some(socket) = console(invocation)? {
        builder = builder.console(socket);
    } else if !detach {
        builder = builder.pty_if_asked();
    }
    if let Some(path) = invocation.get("pid-file") {
        builder = builder.pid_file(path);
    }
    let mut restore = Restore::new(options(invocation)?).tcp_close(invocation.has("tcp-close"));
    if let Some(profile) = invocation.get("lsm-profile") {
        restore = restore.lsm_profile(profile);
    }
    if let Some(context) = invocation.get("lsm-mount-context") {
        restore = restore.lsm_mount_context(context);
    }
    let (mut container, process) = builder.restore(&restore)?;
    log.warnings(container.warnings());
    let Some(foreground) = foreground else {
        return Ok(0);
    };
    let terminal = container.take_terminal();
    let status = super::wait(&foreground, &process, terminal.as_ref())?;
    log.warnings(&container.delete()?);
    Ok(status.shell_code().unwrap_or(1))
}

fn options(invocation: &Invocation) -> Result<CriuOptions, Failure> {
    let mut options = CriuOptions::new(invocation.get("image-path").unwrap_or("checkpoint"));
    options.work = invocation.get("work-path").map(Into::into);
    options.tcp_established = invocation.has("tcp-established");
    options.ext_unix_sk = invocation.has("ext-unix-sk");
    options.shell_job = invocation.has("shell-job");
    options.file_locks = invocation.has("file-locks");
    options.auto_dedup = invocation.has("auto-dedup");
    options.lazy_pages = invocation.has("lazy-pages");
    if let Some(mode) = invocation.get("manage-cgroups-mode") {
        let refused = |words| Failure::plain(format!("invalid --manage-cgroups-mode: {words}"));
        options.cgroups = mode.parse().map_err(refused)?;
    }
    match invocation.get("empty-ns") {
        None | Some("network") => Ok(options),
        Some(kind) => Err(Failure::plain(format!(
            "invalid --empty-ns: {kind:?} is not network"
        ))),
    }
}

/// `ADDRESS:PORT`.
fn page_server(text: &str) -> Result<(&str, u16), Failure> {
    let refused = || {
        Failure::plain(format!(
            "invalid --page-server: {text:?} is not ADDRESS:PORT"
        ))
    };
    let (address, port) = text.rsplit_once(':').ok_or_else(refused)?;
    let port = number("page-server", port)?;
    let port = u16::try_from(port).map_err(|_| refused())?;
    Ok((address, port))
}
