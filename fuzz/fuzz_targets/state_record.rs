//! Any bytes as the record of a container.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = longshore::internals::state_record(input);
});
