//! See `taxiway::fuzzing::sidecar`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| taxiway::fuzzing::sidecar(bytes));
