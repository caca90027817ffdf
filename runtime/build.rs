//! Compiles init (`init/main.rs`), a freestanding program, and hands its path to the library.
//!
//! Called with the real compiler and without Cargo's flags, from a relative
//! path, so that the same source gives the same bytes in every profile.

use std::env;
use std::path::PathBuf;
use std::process::Command;

const FLAGS: [&str; 15] = [
    "-Copt-level=s",
    "-Cpanic=abort",
    "-Crelocation-model=static",
    "-Cstrip=symbols",
    "-Clto=fat",
    "-Ccodegen-units=1",
    "-Cforce-unwind-tables=no",
    "-Clink-arg=-nostartfiles",
    "-Clink-arg=-nostdlib",
    "-Clink-arg=-static",
    "-Clink-arg=-no-pie",
    "-Clink-arg=-Wl,--build-id=none",
    "-Clink-arg=-Wl,-z,noseparate-code",
    "-Clink-arg=-Wl,--gc-sections",
    "-Ctarget-feature=+crt-static",
];

fn main() {
    println!("cargo::rerun-if-changed=init");
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    let target = variable("TARGET");
    let output = PathBuf::from(variable("OUT_DIR")).join("init.elf");
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args([
        "--crate-name",
        "init",
        "--edition",
        "2024",
        "--crate-type",
        "bin",
        "--target",
        &target,
    ]);
    rustc.args(FLAGS).arg("-o").arg(&output).arg("init/main.rs");
    if target.starts_with("aarch64") {
        rustc.arg("-Ctarget-feature=-outline-atomics");
    }
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    let status = rustc
        .status()
        .unwrap_or_else(|error| panic!("cannot run {rustc:?}: {error}"));
    assert!(status.success(), "init does not compile");
    println!("cargo::rustc-env=LONGSHORE_INIT={}", output.display());
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}
