#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| foveate_fuzz::gguf(bytes));
