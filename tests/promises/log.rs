//! A log that cannot be written, because it lies on a full disk or its reader has gone, ends nothing.

use crate::support::{Studio, jpeg};

#[test]
fn work_goes_on_while_the_log_cannot_be_written() {
    let mut studio = Studio::builder()
        .image_defaults()
        .wrapper(&["sh", "-c", "exec \"$0\" \"$@\" 2>/dev/full"])
        .open();
    studio.spawn();
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_done("red.jpg");
    assert!(studio.ended().is_none(), "{}", studio.report());
}
