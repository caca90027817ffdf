//! Any words as mount options; what goes to the filesystem is no longer than what came in.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let words: Vec<String> = text.split(',').map(str::to_owned).collect();
    let _ = longshore::internals::mount_options(&words);
});
