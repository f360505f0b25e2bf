//! The known word that a mistyped one probably meant.

use strsim::{damerau_levenshtein, jaro_winkler};

/// The candidate nearest to `word`, or `None` when nothing is near enough to be
/// what was meant. Upper and lower case, `_`, `-` and spaces make no difference:
/// `prompt_image` means `promptImage`.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = simplify(word);
    let mut best: Option<(usize, &'a str)> = None;
    for candidate in candidates {
        let known = simplify(candidate);
        let (ours, theirs) = (wanted.chars().count(), known.chars().count());
        let longest = ours.max(theirs);
        // Each additional letter is a typo, so words of very different lengths need not be compared, which takes long
        // where a whole text was written for a name.
        if ours.abs_diff(theirs) > longest.div_ceil(2) {
            continue;
        }
        let distance = damerau_levenshtein(&wanted, &known);
        // One typo in four letters, or the same beginning and nearly the same word.
        let near = distance <= longest.div_ceil(4)
            || (distance <= longest.div_ceil(2) && jaro_winkler(&wanted, &known) >= 0.88);
        if near && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

fn simplify(word: &str) -> String {
    word.chars()
        .filter(|c| !matches!(c, '_' | '-' | ' '))
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    fn among(word: &str) -> Option<&'static str> {
        let known = [
            "promptText",
            "promptImage",
            "ratio",
            "duration",
            "seed",
            "model",
        ];
        nearest(word, known.into_iter())
    }

    #[test]
    fn a_novel_is_no_slip_and_takes_no_time() {
        assert_eq!(among(&"promptText".repeat(100_000)), None);
    }

    #[test]
    fn a_slip_finds_the_word_that_was_meant() {
        for (typed, meant) in [
            ("promtText", "promptText"),
            ("prompt_image", "promptImage"),
            ("Ratio", "ratio"),
            ("ratoi", "ratio"),
            ("duraton", "duration"),
            ("modle", "model"),
        ] {
            assert_eq!(among(typed), Some(meant), "{typed}");
        }
    }

    #[test]
    fn a_word_that_is_near_to_nothing_finds_nothing() {
        assert_eq!(among("colour"), None);
        assert_eq!(among("fps"), None);
        assert_eq!(among(""), None);
    }
}
