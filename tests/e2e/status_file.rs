//! `STATUS.html`: what people see who see nothing but the folders.

use std::fs;

use taxiway::simulator::Action;

use crate::support::{Builder, Studio, fault, jpeg};

fn with_page() -> Builder {
    Studio::builder()
        .image_defaults()
        .inbox("status_file: auto")
}

fn page(studio: &Studio, what: &str, is_so: impl Fn(&str) -> bool) -> String {
    studio.wait_for(what, |studio| {
        fs::read_to_string(studio.path("STATUS.html"))
            .ok()
            .filter(|page| is_so(page))
    })
}

#[test]
fn the_page_tells_what_waits_what_runs_what_failed_and_what_came_out() {
    let mut studio = with_page().task_seconds(0.2).run();
    studio.drop_file("red & blue.jpg", jpeg("red"));
    studio.wait_done("red & blue.jpg");
    studio
        .sim()
        .set_faults(vec![fault("/v1/image_to_video", 1, Action::Stuck)]);
    studio.drop_file("long.jpg", jpeg("long"));
    studio.wait_state("long.jpg", "running");
    studio.drop_file("bad.jpg.yaml", "promt: x\n");
    studio.drop_file("bad.jpg", jpeg("bad"));
    studio.wait_failed("bad.jpg");
    studio.drop_file("alone.jpg.yaml", "prompt: no picture yet\n");
    studio.wait_reason("alone.jpg.yaml", "for media");
    let html = page(&studio, "the page tells all", |html| {
        html.contains("alone.jpg.yaml") && html.contains("long.jpg") && html.contains("bad.jpg")
    });
    for part in [
        "taxiway is running",
        "In progress",
        "Waiting",
        "promt",
        "href=\"./outbox/red%20%26%20blue.mp4\"",
        "red &amp; blue.jpg",
        "src=\"data:image/jpeg;base64,",
        "Credits",
    ] {
        assert!(html.contains(part), "{part}\n{html}");
    }
    // It needs nothing from anywhere.
    assert!(
        !html.contains("http:") && !html.contains("https:"),
        "{html}"
    );
    assert!(studio.stop().success());
    page(&studio, "the page tells that nobody is there", |html| {
        html.contains("taxiway is not running")
    });
}

#[test]
fn the_page_is_written_only_when_something_changed_and_is_never_an_input() {
    let studio = with_page().run();
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_done("red.jpg");
    let first = page(&studio, "the page tells of it", |html| {
        html.contains("red.mp4")
    });
    studio.drop_file("STATUS.html", "a copy of it");
    studio.drop_file("notes.txt", "no medium");
    let second = page(&studio, "the page tells of the next", |html| {
        html.contains("notes.txt")
    });
    assert!(
        !second.contains("<th scope=\"row\">STATUS.html"),
        "{second}"
    );
    assert_ne!(first, second);
    assert!(studio.job("STATUS.html").is_none());
}

#[test]
fn two_inboxes_in_one_folder_share_a_page_and_one_may_have_none() {
    let studio = with_page()
        .inbox("name: stills")
        .another_inbox("second")
        .inbox("name: clips")
        .inbox("working: w2")
        .inbox("status_file: auto")
        .another_inbox("apart/third")
        .inbox("name: without a page")
        .run();
    let html = page(&studio, "the page tells of both", |html| {
        html.contains("stills") && html.contains("clips")
    });
    assert!(!html.contains("without a page"), "{html}");
    assert!(!studio.path("apart/STATUS.html").exists());
}
