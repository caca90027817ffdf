//! A hundred containers at once on one async runtime: `tokio BUNDLE [STATE_ROOT]`.
//!
//! The library's calls are short and block, so they run on the blocking pool;
//! the long wait for a container's end is the pidfd's, in the event loop.

use longshore::{ExitStatus, Runtime, Stdio};
use std::error::Error;
use std::os::fd::AsFd;
use std::path::PathBuf;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::{JoinSet, spawn_blocking};

const CONTAINERS: usize = 100;

type Failure = Box<dyn Error + Send + Sync>;

async fn run(runtime: Runtime, bundle: PathBuf, id: String) -> Result<ExitStatus, Failure> {
    let start = move || -> longshore::Result<_> {
        let container = runtime
            .container(&id)
            .bundle(bundle)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .create()?;
        let process = container.start()?;
        Ok((container, process))
    };
    let (container, process) = spawn_blocking(start).await??;
    let pidfd = process.as_fd().try_clone_to_owned()?;
    // SAFETY: the descriptor is owned by what it is registered for, so it is neither closed nor replaced before.
    let ended = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }?;
    let _ = ended.readable().await?;
    let status = process.wait()?;
    spawn_blocking(move || container.delete()).await??;
    Ok(status)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let bundle = PathBuf::from(arguments.next().ok_or("usage: tokio BUNDLE [STATE_ROOT]")?);
    let state_root = arguments
        .next()
        .unwrap_or_else(|| "/run/longshore-example".to_owned());
    let runtime = Runtime::builder().state_root(state_root).build()?;
    let mut tasks = JoinSet::new();
    for number in 0..CONTAINERS {
        let id = format!("tokio-{}-{number}", std::process::id());
        tasks.spawn(run(runtime.clone(), bundle.clone(), id));
    }
    let mut succeeded = 0;
    while let Some(status) = tasks.join_next().await {
        match status?? {
            ExitStatus::Exited(0) => succeeded += 1,
            other => eprintln!("a container ended: {other:?}"),
        }
    }
    println!("{succeeded} of {CONTAINERS} exited with 0");
    if succeeded == CONTAINERS {
        Ok(())
    } else {
        Err("not all of them succeeded".into())
    }
}
