//! A warm process that runs containers on request, for `benches`:
//! `bench_server BUNDLE [RUNS]`. Each line `run` on stdin is answered by the
//! microseconds that create, start, wait and delete took.

use longshore::{ExitStatus, Runtime, Stdio};
use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let bundle = std::env::args()
        .nth(1)
        .ok_or("usage: bench_server BUNDLE [RUNS]")?;
    let state_root =
        std::env::temp_dir().join(format!("longshore-bench-server-{}", std::process::id()));
    let runtime = Runtime::builder().state_root(&state_root).build()?;
    let (input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    for (number, line) in input.lines().enumerate() {
        if line?.trim() != "run" {
            continue;
        }
        let begin = Instant::now();
        run(
            &runtime,
            &format!("bench-{}-{number}", std::process::id()),
            &bundle,
        )?;
        writeln!(output, "{}", begin.elapsed().as_nanos() as f64 / 1e3)?;
        output.flush()?;
    }
    std::fs::remove_dir_all(&state_root)?;
    Ok(())
}

fn run(runtime: &Runtime, id: &str, bundle: &str) -> Result<(), Box<dyn Error>> {
    // Stdout is the protocol's.
    let builder = runtime
        .container(id)
        .bundle(bundle)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let container = builder.create()?;
    let status = container.start()?.wait()?;
    container.delete()?;
    if status == ExitStatus::Exited(0) {
        Ok(())
    } else {
        Err(format!("the container ended: {status:?}").into())
    }
}
