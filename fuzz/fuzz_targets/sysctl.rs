//! Any key and value of linux.sysctl.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| {
    let _ = longshore::internals::sysctl(input);
});
