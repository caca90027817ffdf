//! Any bytes as what a netlink socket receives.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = longshore::internals::netlink(bytes);
});
