//! Names with accents, which some systems write as one character and some as two.

use std::fs;

use crate::share::Share;
use crate::studio::with_share;
use crate::support::jpeg;

/// "café" in one form and in the other.
const COMPOSED: &str = "caf\u{e9}";
const DECOMPOSED: &str = "cafe\u{301}";

#[test(needs = [ROOT, FUSE, SMBD, SMBCLIENT, RCLONE])]
fn row_15_names_match_across_the_two_ways_to_write_an_accent() {
    let share = Share::new();
    let studio = with_share(&share.path("inbox"))
        // Without its sidecar the picture would wait.
        .inbox("pair_wait: 1h")
        .run();
    // As a Mac puts them, and the sidecar as Windows does; and the other way round.
    for (folder, picture, sidecar) in [("a", DECOMPOSED, COMPOSED), ("b", COMPOSED, DECOMPOSED)] {
        share.server.ask(&format!("mkdir inbox/{folder}"));
        let picture = format!("inbox/{folder}/{picture}.jpg");
        share.server.put(&picture, jpeg(folder));
        let sidecar = format!("inbox/{folder}/{sidecar}.jpg.yaml");
        share.server.put(&sidecar, format!("prompt: in {folder}\n"));
    }
    for (folder, name) in [("a", DECOMPOSED), ("b", COMPOSED)] {
        studio.wait_done(&format!("{folder}/{name}.jpg"));
        // Outputs bear the picture's name as it is on disk.
        for ending in ["mp4", "mp4.yaml"] {
            let output = share
                .server
                .data(format!("outbox/{folder}/{name}.{ending}"));
            assert!(output.is_file(), "{}", output.display());
        }
    }
    let mut prompts: Vec<_> = studio
        .submissions()
        .iter()
        .map(|seen| seen.body.as_ref().unwrap()["promptText"].clone())
        .collect();
    prompts.sort_by_key(ToString::to_string);
    assert_eq!(prompts, ["in a", "in b"]);
    // Nothing is left that somebody would wait for.
    for folder in ["a", "b"] {
        let left = fs::read_dir(share.server.data("inbox").join(folder));
        assert_eq!(left.map(Iterator::count).unwrap_or(0), 0);
    }
}
