//! Any words as the value of a property.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| {
    let _ = longshore::internals::property_value(input);
});
