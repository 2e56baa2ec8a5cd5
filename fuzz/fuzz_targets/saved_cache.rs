#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| foveate_fuzz::saved_cache(bytes));
