//! Any bytes as mountinfo and /proc/self/cgroup.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = longshore::internals::mountinfo(input);
});
