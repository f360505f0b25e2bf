//! See `taxiway::fuzzing::api_answer`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| taxiway::fuzzing::api_answer(bytes));
