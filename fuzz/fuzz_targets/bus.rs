//! Any bytes as what a bus sends.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = longshore::internals::bus(bytes);
});
