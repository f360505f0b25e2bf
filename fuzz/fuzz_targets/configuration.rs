//! See `taxiway::fuzzing::configuration`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| taxiway::fuzzing::configuration(bytes));
