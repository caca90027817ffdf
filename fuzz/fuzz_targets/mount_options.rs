//! Any words as mount options.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| {
    let _ = longshore::internals::mount_options(input);
});
