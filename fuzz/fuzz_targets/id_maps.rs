//! Any list of ranges of ids.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = longshore::internals::id_maps(input);
});
