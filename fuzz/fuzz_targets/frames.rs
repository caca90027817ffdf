//! Any bytes as a frame and as a program.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = longshore::internals::frames(input);
});
