//! Durations and sizes as people write them: `250ms`, `5s`, `2m`, `1h`, `1d`; `64MB`, `10KiB`, `512`.

use std::time::Duration;

/// The longest duration that is accepted, 365 days: more is a typo, and clocks would overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Units of time with their length in milliseconds, the longest first.
const TIMES: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Units of size with their length in bytes. Those with an `i` are powers of 1024, the others of 1000.
const SIZES: [(&str, u64); 9] = [
    ("", 1),
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tb", 1_000_000_000_000),
];

/// A whole number followed by a unit.
fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit))
}

/// A duration; `None` if the text is not one, or it is longer than 365 days.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let (_, milliseconds) = TIMES.iter().find(|(name, _)| *name == unit)?;
    let duration = Duration::from_millis(number.checked_mul(*milliseconds)?);
    (duration <= LONGEST).then_some(duration)
}

/// A duration as a person would write it in the configuration, to the millisecond.
pub(super) fn show_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    TIMES
        .iter()
        .find(|(_, length)| milliseconds > 0 && milliseconds.is_multiple_of(u128::from(*length)))
        .map_or_else(
            || "0s".to_owned(),
            |(unit, length)| format!("{}{unit}", milliseconds / u128::from(*length)),
        )
}

/// A size in bytes; `None` if the text is not one. Upper and lower case mean the same.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let unit = unit.to_ascii_lowercase();
    let (_, bytes) = SIZES.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_with_each_unit() {
        for (text, milliseconds) in [
            ("250ms", 250),
            ("5s", 5_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            ("0s", 0),
            ("365d", 31_536_000_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "5",
            "s",
            "5 s",
            "-5s",
            "+5s",
            "1.5s",
            "5S",
            "5sec",
            "366d",
            "99999999999999999999s",
            "٣s",
        ] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
    }

    #[test]
    fn sizes_are_read_with_each_unit() {
        for (text, bytes) in [
            ("512", 512),
            ("512B", 512),
            ("64MB", 64_000_000),
            ("64mb", 64_000_000),
            ("10KB", 10_000),
            ("2GB", 2_000_000_000),
            ("1TB", 1_000_000_000_000),
            ("1KiB", 1024),
            ("200MiB", 209_715_200),
            ("1GiB", 1_073_741_824),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "MB", "64 MB", "-1", "6.4MB", "64M", "99999999999999TB"] {
            assert_eq!(parse_size(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_shown_duration_is_read_back(milliseconds in 0_u64..=31_536_000_000) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
        }

        #[test]
        fn no_text_makes_the_units_panic(text in any::<String>()) {
            parse_duration(&text);
            parse_size(&text);
        }
    }
}
