//! See `taxiway::fuzzing::media`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| taxiway::fuzzing::media(bytes));
