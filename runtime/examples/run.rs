//! Runs a bundle and prints what it wrote: `run BUNDLE [STATE_ROOT]`.

use longshore::{Runtime, Stdio};
use std::error::Error;
use std::io::Read;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let bundle = arguments.next().ok_or("usage: run BUNDLE [STATE_ROOT]")?;
    let state_root = arguments
        .next()
        .unwrap_or_else(|| "/run/longshore-example".to_owned());
    print!("{}", run(&bundle, &state_root)?);
    Ok(())
}

pub(crate) fn run(bundle: &str, state_root: &str) -> Result<String, Box<dyn Error>> {
    let runtime = Runtime::builder().state_root(state_root).build()?;
    let id = format!("run-{}", std::process::id());
    let mut container = runtime
        .container(&id)
        .bundle(bundle)
        .stdout(Stdio::piped())
        .create()?;
    let process = container.start()?;
    let mut output = String::new();
    container
        .pipes()
        .stdout
        .take()
        .ok_or("no pipe")?
        .read_to_string(&mut output)?;
    let status = process.wait()?;
    container.delete()?;
    Ok(format!("{output}{status:?}\n"))
}
