//! The audit itself: clean after an ordinary run, and not after a hand that breaks something.

use std::fs;

use crate::api::{Api, jpeg_key};
use crate::audit::{Mode, Promise, audit};
use crate::book::Book;
use crate::support::{Studio, jpeg};
use crate::watcher::Watcher;

#[test]
fn an_audit_is_clean_after_an_ordinary_run_and_tells_each_breach() {
    let studio = Studio::builder().image_defaults().run();
    let watcher = Watcher::start(&studio.outbox(""));
    let mut book = Book::default();
    let red = jpeg("red");
    book.drop(&[("inbox/red.jpg", &red, Some(&jpeg_key(&red)))]);
    studio.drop_file("red.jpg", &red);
    let storm =
        "endpoint: text_to_video\nmodel: veo3.1\nratio: \"1280:720\"\nduration: 4\nprompt: storm\n";
    book.drop(&[("inbox/storm.yaml", storm.as_bytes(), Some("storm"))]);
    studio.drop_file("storm.yaml", storm);
    let bad = "endpoint: text_to_video\nprompt: bad\nwhat: 1\n";
    book.drop(&[("inbox/bad.yaml", bad.as_bytes(), Some("bad"))]);
    studio.drop_file("bad.yaml", bad);
    studio.wait_all_ended(3);
    let verdict = watcher.stop();
    assert!(verdict.is_clean(), "{verdict}");
    let api = Api::from(studio.seen());
    let verdict = audit(&studio, &book, &api, Mode::default());
    verdict.assert_clean(&studio);
    assert_eq!(
        (verdict.done, verdict.failed, verdict.tasks, verdict.outputs),
        (2, 1, 2, 2)
    );

    // Each hand that breaks something is told by its own promise.
    let breaches = |promise| {
        let verdict = audit(&studio, &book, &api, Mode::default());
        assert!(verdict.count(promise) > 0, "{promise:?}: {verdict}");
    };
    fs::rename(studio.originals("red.jpg"), studio.path("red.jpg")).unwrap();
    breaches(Promise::Lost);
    fs::write(studio.outbox("red.mp4"), "half").unwrap();
    breaches(Promise::HalfDelivered);
    fs::remove_file(studio.outbox("storm.mp4")).unwrap();
    breaches(Promise::HalfDelivered);
    fs::write(studio.outbox(".taxiway-1-1.part"), "").unwrap();
    breaches(Promise::Leftover);
    let mut twice = api.clone();
    let mut request = api
        .requests
        .iter()
        .find(|seen| seen.task.is_some())
        .unwrap()
        .clone();
    let mut task = api.tasks[0].clone();
    task.id = "another".to_owned();
    request.task = Some(task.id.clone());
    twice.requests.push(request);
    twice.tasks.push(task);
    let verdict = audit(&studio, &book, &twice, Mode::default());
    assert!(
        verdict.count(Promise::PaidTwice) > 0 && verdict.count(Promise::Abandoned) > 0,
        "{verdict}"
    );
}
