//! Properties that hold whatever people and the network put in. Each takes any bytes and panics where its property does
//! not hold.
//!
//! The fuzzers in `fuzz/` look for bytes that break one; the test below tries the corpus, so that what was once found
//! is tried with every run of the tests. Compiled for these two only. Each property lies in the module whose private
//! parts it needs.

pub use crate::config::fuzzing::configuration;
pub use crate::media::fuzzing::media;
pub use crate::runway::fuzzing::api_answer;
pub use crate::sidecar::fuzzing::sidecar;

use crate::diagnostic::Place;

/// Whether an editor that shows these bytes has such a place: a character, or the end of a line.
pub(crate) fn has_place(bytes: &[u8], place: Place) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    place
        .line
        .checked_sub(1)
        .and_then(|index| lines.split('\n').nth(index))
        .is_some_and(|line| (1..=line.chars().count() + 1).contains(&place.column))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn each(target: &str, property: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(target);
        let mut tried = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            // Shown where the property panics.
            eprintln!("{}", path.display());
            property(&std::fs::read(path).unwrap());
            tried += 1;
        }
        assert!(tried > 0, "{} is empty", folder.display());
    }

    #[test]
    fn the_corpus_of_sidecars_holds() {
        each("sidecar", sidecar);
    }

    #[test]
    fn the_corpus_of_configurations_holds() {
        each("configuration", configuration);
    }

    #[test]
    fn the_corpus_of_api_answers_holds() {
        each("api_answer", api_answer);
    }

    #[test]
    fn the_corpus_of_media_holds() {
        each("media", media);
    }

    #[test]
    fn places_are_counted_as_editors_count_them() {
        let text = "\u{feff}a: é\r\nb\rc";
        for (line, column, there) in [
            (1, 5, true),
            (1, 6, false),
            (2, 2, true),
            (3, 2, true),
            (4, 1, false),
            (0, 1, false),
            (1, 0, false),
        ] {
            let place = Place { line, column };
            assert_eq!(has_place(text.as_bytes(), place), there, "{place}");
        }
    }
}
