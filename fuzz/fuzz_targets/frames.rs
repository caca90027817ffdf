//! Any bytes as a frame and as a program.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = longshore::internals::wire(bytes);
});
