//! The time.

/// A moment, in milliseconds since 1970.
pub(super) type Millis = i64;

pub(super) fn now() -> Millis {
    jiff::Timestamp::now().as_millisecond()
}

pub(super) fn to_timestamp(at: Millis) -> jiff::Timestamp {
    // Only moments that the clock showed, or that such a clock wrote to the file, come here; the fallback is for a
    // file that was tampered with.
    jiff::Timestamp::from_millisecond(at).unwrap_or_default()
}
