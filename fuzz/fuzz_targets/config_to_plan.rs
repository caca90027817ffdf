//! Any bytes as config.json: an error or a plan, and the same one of what was read.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = longshore::internals::config_to_plan(input);
});
