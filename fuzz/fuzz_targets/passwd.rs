//! Any bytes as a container's /etc/passwd.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = longshore::internals::passwd(input);
});
