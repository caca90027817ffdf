//! Any text as a list of CPUs or memory nodes.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| {
    let _ = longshore::internals::cpusets(input);
});
