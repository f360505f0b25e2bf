//! Uploads and downloads.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

#[tokio::test]
async fn an_upload_is_hashed_and_can_be_used_until_it_expires() {
    let simulator = Simulator::start(instant()).await.unwrap();
    let told = announce(&simulator).await;
    let picture = Product::Png.file("mine");
    let body = json!({"model": "gen4_turbo", "promptImage": told["runwayUri"], "ratio": "1280:720", "duration": 5});
    let start = async || {
        call(&simulator, "POST /v1/image_to_video", &body)
            .await
            .unwrap()
            .status
    };
    assert_eq!(start().await, 400, "nothing is there yet");
    assert_eq!(
        upload(&simulator, &told, "", &picture, false).await.status,
        204
    );
    assert_eq!(start().await, 200);
    assert_eq!(start().await, 200, "as often as one likes");
    let sum = crate::files::hash_bytes(&picture);
    assert!(
        simulator
            .snapshot()
            .requests
            .iter()
            .any(|seen| seen.body_sha256.as_ref() == Some(&sum))
    );
    simulator.change(Change {
        upload_seconds: Some(0.0),
        ..Change::default()
    });
    assert_eq!(start().await, 400);
}

#[tokio::test]
async fn the_storage_host_is_strict() {
    let simulator = Simulator::start(instant()).await.unwrap();
    let told = announce(&simulator).await;
    let picture = Product::Png.file("mine");
    let mut changed = told.clone();
    changed["fields"]["key"] = "other".into();
    assert_eq!(
        upload(&simulator, &told, "", &picture, true).await.status,
        403,
        "the file first"
    );
    assert_eq!(
        upload(&simulator, &changed, "", &picture, false)
            .await
            .status,
        403
    );
    assert_eq!(
        upload(&simulator, &told, "", &picture[..511], false)
            .await
            .status,
        400
    );
    assert_eq!(simulator.snapshot().violations().count(), 0);
    assert_eq!(
        upload(
            &simulator,
            &told,
            "authorization: Bearer key\r\n",
            &picture,
            false
        )
        .await
        .status,
        400
    );
    assert_eq!(simulator.snapshot().violations().count(), 1);
}

#[tokio::test]
async fn an_expired_url_is_renewed_by_asking_for_the_task() {
    let simulator = Simulator::start(instant()).await.unwrap();
    let id = start_sound(&simulator, "rain").await;
    simulator.change(Change {
        url_seconds: Some(0.0),
        ..Change::default()
    });
    let old = task(&simulator, &id).await["output"][0]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(fetch(&simulator, &old, "").await.status, 403);
    simulator.change(Change {
        url_seconds: Some(60.0),
        ..Change::default()
    });
    let new = task(&simulator, &id).await["output"][0]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(fetch(&simulator, &new, "").await.status, 200);
    assert_eq!(
        fetch(&simulator, &new.replace("sig=", "sig=0"), "")
            .await
            .status,
        403
    );
    assert_eq!(
        fetch(&simulator, &new, "authorization: Bearer key\r\n")
            .await
            .status,
        400
    );
    assert_eq!(simulator.snapshot().violations().count(), 1);
}

#[tokio::test]
async fn a_broken_download_can_be_resumed() {
    let simulator = Simulator::start(instant()).await.unwrap();
    let id = start_sound(&simulator, "rain").await;
    let url = task(&simulator, &id).await["output"][0]
        .as_str()
        .unwrap()
        .to_owned();
    let whole = fetch(&simulator, &url, "").await;
    simulator.set_faults(vec![
        Rule::on("/_storage/output", Action::Truncate { bytes: 100 }).times(1),
    ]);
    let part = fetch(&simulator, &url, "").await;
    assert_eq!(part.headers["content-length"], whole.body.len().to_string());
    assert_eq!(part.body, whole.body[..100]);
    let range = format!(
        "range: bytes=100-\r\nif-range: {}\r\n",
        part.headers["etag"]
    );
    let rest = fetch(&simulator, &url, &range).await;
    assert_eq!(rest.status, 206);
    assert_eq!([part.body, rest.body].concat(), whole.body);
    let other = fetch(
        &simulator,
        &url,
        "range: bytes=100-\r\nif-range: \"other\"\r\n",
    )
    .await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn a_length_can_promise_more_than_comes() {
    let simulator = Simulator::start(instant()).await.unwrap();
    let id = start_sound(&simulator, "rain").await;
    let url = task(&simulator, &id).await["output"][0]
        .as_str()
        .unwrap()
        .to_owned();
    simulator.set_faults(vec![Rule::on("/_storage/output", Action::CorruptLength)]);
    let got = fetch(&simulator, &url, "").await;
    assert_eq!(
        got.headers["content-length"],
        (got.body.len() + 1).to_string()
    );
}
