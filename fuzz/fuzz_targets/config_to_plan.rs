//! Any bytes as config.json: an error or a plan, never a panic.
#![no_main]

libfuzzer_sys::fuzz_target!(|json: &[u8]| {
    let _ = longshore::internals::plan_text(json);
});
