//! What goes wrong with watched folders in real use: each row of the table in `docs/FOLDERS.md` has tests that bear its number.

use std::fs;
use std::path::Path;

use crate::support::walk;

#[test]
fn every_row_of_the_table_has_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    for folder in ["src", "tests"] {
        walk(&root.join(folder), &mut |path| {
            if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push_str(&fs::read_to_string(path).unwrap());
            }
        });
    }
    let table = fs::read_to_string(root.join("docs/FOLDERS.md")).unwrap();
    for row in 1..=17 {
        assert!(
            table.contains(&format!("\n| {row} | ")),
            "row {row} is not in the table"
        );
        let test = format!("fn row_{row:02}_");
        assert!(sources.contains(&test), "row {row} has no test");
    }
}
