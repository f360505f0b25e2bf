//! Promises about uploads.

use std::io::Write as _;

use super::*;
use crate::runway::ids::RunwayUri;
use crate::runway::{CallError, UploadError};

const SIZE: usize = 3 * 1024 * 1024 + 17;

fn content() -> Vec<u8> {
    (0..SIZE).map(|n| (n / 251) as u8).collect()
}

/// A file with some content, by a name and as the client gets it.
fn file(content: &[u8]) -> (tempfile::NamedTempFile, tokio::fs::File) {
    let mut named = tempfile::NamedTempFile::new().unwrap();
    named.write_all(content).unwrap();
    let file = tokio::fs::File::from_std(named.reopen().unwrap());
    (named, file)
}

/// The API's answer that leads to a storage host.
fn slot(storage: &str) -> Act {
    answer(
        "200 OK",
        "",
        serde_json::json!({
            "uploadUrl": format!("{storage}bucket?X-Signature=s3cr3t"),
            "fields": {"key": "uploads/1", "policy": "p0licy", "x-amz-signature": "s1gned"},
            "runwayUri": "runway://eyJ1"
        })
        .to_string(),
    )
}

async fn upload(storage: Act) -> (Result<RunwayUri, UploadError>, Vec<Request>, Vec<Request>) {
    let store = Server::start(vec![storage.clone()]).await;
    let api = Server::start(vec![slot(store.url.as_str())]).await;
    let (_named, file) = file(&content());
    let result = api
        .client_for(&storage)
        .upload(file, SIZE as u64, "red shoe.jpg", "image/jpeg")
        .await;
    if let Err(error) = &result {
        let text = format!("{error} {error:?}");
        for secret in [KEY, "s3cr3t", "p0licy", "s1gned", "bucket"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    (result, api.requests(), store.requests())
}

#[tokio::test]
async fn a_file_goes_last_in_the_form_with_a_known_length_and_without_the_key() {
    let (result, api, store) =
        upload(raw("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")).await;
    assert_eq!(result.unwrap().as_str(), "runway://eyJ1");

    let asked: serde_json::Value = serde_json::from_slice(&api[0].body).unwrap();
    assert_eq!(
        asked,
        serde_json::json!({"filename": "red_shoe.jpg", "type": "ephemeral"})
    );

    let head = &store[0].head;
    assert!(head.starts_with("post /bucket?x-signature=s3cr3t "));
    assert!(head.contains(&format!("content-length: {}\r\n", store[0].body.len())));
    assert!(!head.contains("transfer-encoding"));
    assert!(!head.contains("authorization") && !head.contains("x-runway"));
    assert!(!store[0].raw_head.contains(KEY));

    let body = &store[0].body;
    let place = |text: &str| {
        body.windows(text.len())
            .position(|window| window == text.as_bytes())
            .unwrap_or_else(|| panic!("no {text}"))
    };
    let places = [
        place("name=\"key\""),
        place("name=\"policy\""),
        place("name=\"x-amz-signature\""),
        place("name=\"file\"; filename=\"red_shoe.jpg\""),
    ];
    assert!(places.is_sorted());
    assert!(places[3] < place("Content-Type: image/jpeg"));
    let start = place("image/jpeg\r\n\r\n") + "image/jpeg\r\n\r\n".len();
    assert_eq!(&body[start..start + SIZE], &content());
}

#[tokio::test]
async fn a_file_of_another_length_is_not_uploaded() {
    for len in [SIZE as u64 - 1, SIZE as u64 + 1] {
        let api = Server::start(vec![]).await;
        let (_named, file) = file(&content());
        let error = api
            .client()
            .upload(file, len, "a.jpg", "image/jpeg")
            .await
            .unwrap_err();
        assert!(matches!(error, UploadError::Changed { found, .. } if found == SIZE as u64));
        assert!(api.requests().is_empty());
    }
}

#[tokio::test]
async fn a_file_that_changes_its_length_on_the_way_is_never_sent_to_its_end() {
    for len in [SIZE as u64 + 5000, SIZE as u64 - 5000] {
        let (named, file) = file(&content());
        let store = Server::start(vec![answer("204 No Content", "", "")]).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api: Url = format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        // The API changes the file's length before it answers, so the change comes after the first look at it.
        let storage = store.url.clone();
        let changer = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await.unwrap();
            named.as_file().set_len(len).unwrap();
            let Act::Answer(bytes) = slot(storage.as_str()) else {
                unreachable!();
            };
            stream.write_all(&bytes).await.unwrap();
            named
        });
        let error = client(api)
            .upload(file, SIZE as u64, "a.jpg", "image/jpeg")
            .await
            .unwrap_err();
        assert!(
            matches!(error, UploadError::Changed { found, .. } if found == len),
            "{error}"
        );
        changer.await.unwrap();
        for request in store.requests() {
            assert!(request.body.len() < SIZE, "the whole form arrived");
        }
    }
}

#[tokio::test]
async fn storage_that_has_trouble_may_be_tried_again_and_a_refusal_gives_its_code() {
    for act in [
        answer("503 Slow Down", "Retry-After: 3\r\n", ""),
        Act::Close,
        Act::CloseAfterReading,
        Act::Hang,
        Act::Ignore,
    ] {
        let (result, _, _) = upload(act).await;
        let error = result.unwrap_err();
        assert!(matches!(error, UploadError::Transient { .. }), "{error}");
    }
    let body = "<Error><Code>EntityTooLarge</Code><Policy>p0licy</Policy></Error>";
    let (result, _, _) = upload(answer("400 Bad Request", "", body)).await;
    let error = result.unwrap_err();
    assert!(
        matches!(&error, UploadError::Refused { status: 400, message, .. } if message == "EntityTooLarge"),
        "{error}"
    );
}

#[tokio::test]
async fn a_redirect_of_an_upload_is_not_followed() {
    let target = Server::start(vec![]).await;
    let location = format!("Location: {}\r\n", target.url);
    let (result, _, _) = upload(answer("307 Temporary", &location, "")).await;
    assert!(matches!(
        result,
        Err(UploadError::Refused { status: 307, .. })
    ));
    assert!(target.requests().is_empty());
}

#[tokio::test]
async fn an_upload_address_without_https_outside_this_machine_is_not_used() {
    let api = Server::start(vec![slot("http://192.0.2.1/")]).await;
    let (_named, file) = file(&content());
    let error = api
        .client()
        .upload(file, SIZE as u64, "a.jpg", "image/jpeg")
        .await
        .unwrap_err();
    assert!(
        matches!(&error, UploadError::Insecure { host } if host == "192.0.2.1"),
        "{error}"
    );
}

#[tokio::test]
async fn an_api_that_gives_no_form_is_told_apart_from_storage() {
    let api = Server::start(vec![
        answer("429 Too Many", "Retry-After: 5\r\n", ""),
        answer("200 OK", "", r#"{"uploadUrl":"https://s/"}"#),
    ])
    .await;
    for transient in [true, false] {
        let (_named, file) = file(&content());
        let error = api
            .client()
            .upload(file, SIZE as u64, "a.jpg", "image/jpeg")
            .await
            .unwrap_err();
        match error {
            UploadError::Call(CallError::Transient { retry_after, .. }) => {
                assert!(transient);
                assert_eq!(retry_after, Some(Duration::from_secs(5)));
            }
            UploadError::Call(CallError::Garbage { .. }) => assert!(!transient),
            other => panic!("{other}"),
        }
    }
}
