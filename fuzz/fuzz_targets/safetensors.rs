#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| foveate_fuzz::safetensors(bytes));
