//! Promises about requests that start a task.

use serde_json::json;

use super::*;
use crate::runway::outcome::Doubt;
use crate::runway::{RefusalClass, Submission};

const PATH: &str = "/v1/image_to_video";

async fn submit(act: Act) -> (Submission, Vec<Request>) {
    let server = Server::start(vec![act.clone()]).await;
    let body = json!({"model": "gen4_turbo", "promptText": "a cat"});
    let outcome = server.client_for(&act).submit(PATH, &body).await;
    assert!(!format!("{outcome:?}").contains(KEY));
    (outcome, server.requests())
}

async fn doubt(act: Act) -> Doubt {
    match submit(act).await.0 {
        Submission::Unknown(doubt) => doubt,
        other => panic!("not in doubt: {other:?}"),
    }
}

#[tokio::test]
async fn an_accepted_request_carries_key_and_version_and_yields_the_task() {
    let (outcome, requests) = submit(answer(
        "200 OK",
        "Content-Type: application/json\r\n",
        r#"{"id":"497f6eca-6276-4993-bfeb-53cbbbba6f08","estimatedCost":{"credits":25}}"#,
    ))
    .await;
    let Submission::Accepted { task, estimated } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(task.as_str(), "497f6eca-6276-4993-bfeb-53cbbbba6f08");
    assert_eq!(estimated, Some(25.0));
    assert_eq!(requests.len(), 1);
    let head = &requests[0].head;
    assert!(head.starts_with("post /v1/image_to_video http/1.1\r\n"));
    assert!(head.contains(&format!("authorization: bearer {KEY}\r\n")));
    assert!(head.contains("x-runway-version: 2024-11-06\r\n"));
    assert!(head.contains("content-type: application/json\r\n"));
    let body: serde_json::Value = serde_json::from_slice(&requests[0].body).unwrap();
    assert_eq!(body["promptText"], "a cat");
}

#[tokio::test]
async fn a_refused_port_means_that_nothing_was_sent() {
    let outcome = client(nobody("http").await).submit(PATH, &json!({})).await;
    let Submission::NotSent(not_sent) = outcome else {
        panic!("{outcome:?}");
    };
    let text = not_sent.to_string();
    assert!(
        text.contains("POST /v1/image_to_video at 127.0.0.1:"),
        "{text}"
    );
    assert!(text.contains("refused"), "{text}");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_means_that_nothing_was_sent() {
    let client = impatient("https://taxiway.invalid".parse().unwrap());
    let outcome = client.submit(PATH, &json!({})).await;
    assert!(matches!(outcome, Submission::NotSent(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_failed_or_hanging_tls_handshake_means_that_nothing_was_sent() {
    for act in [Act::Close, Act::Ignore, raw("HTTP/1.1 200 OK\r\n\r\n")] {
        let server = Server::start(vec![act]).await;
        let mut url = server.url.clone();
        url.set_scheme("https").unwrap();
        let outcome = impatient(url).submit(PATH, &json!({})).await;
        assert!(matches!(outcome, Submission::NotSent(_)), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_connection_that_closes_at_once_leaves_doubt() {
    assert_eq!(doubt(Act::Close).await.status, None);
}

#[tokio::test]
async fn a_connection_that_closes_or_resets_after_the_body_leaves_doubt_and_one_request() {
    for act in [Act::CloseAfterReading, Act::ResetAfterReading] {
        let (outcome, requests) = submit(act).await;
        assert!(matches!(outcome, Submission::Unknown(_)), "{outcome:?}");
        assert_eq!(requests.len(), 1);
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_leaves_doubt() {
    let doubt = doubt(Act::Hang).await;
    assert!(doubt.why.contains("no answer in time"), "{}", doubt.why);
    assert!(doubt.to_string().contains("taxiway resolve"));
}

#[tokio::test]
async fn an_answer_that_stalls_or_breaks_off_after_its_head_leaves_doubt() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"id\":\"t1\"";
    for act in [raw(head), Act::AnswerAndHang(head.into())] {
        assert_eq!(doubt(act).await.status, Some(200));
    }
}

#[tokio::test]
async fn a_500_leaves_doubt_and_tells_when_the_server_answered() {
    let doubt = doubt(answer(
        "500 Internal Server Error",
        "Date: Wed, 21 Oct 2015 07:28:00 GMT\r\n",
        r#"{"error":"Something broke"}"#,
    ))
    .await;
    assert_eq!(doubt.status, Some(500));
    assert_eq!(
        doubt.http_date,
        Some("2015-10-21T07:28:00Z".parse().unwrap())
    );
    assert!(doubt.why.contains("Something broke"));
}

#[tokio::test]
async fn a_2xx_without_a_readable_id_leaves_doubt() {
    for body in [
        "",
        "{}",
        "<html>Sign in to the hotel</html>",
        "{\"id\":\"\"}",
        "{\"id\":",
    ] {
        assert_eq!(
            doubt(answer("200 OK", "", body)).await.status,
            Some(200),
            "{body}"
        );
    }
    doubt(raw("no http at all\r\n\r\n")).await;
    doubt(answer("200 OK", "", vec![b' '; 9 * 1024 * 1024])).await;
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_leaves_doubt() {
    let target = Server::start(vec![answer("200 OK", "", r#"{"id":"t1"}"#)]).await;
    for status in ["301 Moved", "307 Temporary", "308 Permanent"] {
        let doubt = doubt(answer(status, &format!("Location: {}\r\n", target.url), "")).await;
        assert!(doubt.why.contains("redirect"), "{}", doubt.why);
    }
    assert!(target.requests().is_empty());
}

#[tokio::test]
async fn a_429_says_how_long_to_wait_in_seconds_or_by_a_date() {
    for headers in [
        "Retry-After: 90\r\n",
        "Date: Wed, 21 Oct 2015 07:28:00 GMT\r\nRetry-After: Wed, 21 Oct 2015 07:29:30 GMT\r\n",
    ] {
        let (outcome, _) = submit(answer(
            "429 Too Many",
            headers,
            r#"{"error":"Daily quota"}"#,
        ))
        .await;
        let Submission::Refused(refusal) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(refusal.class, RefusalClass::TooMany);
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(90)));
        assert_eq!(refusal.message, "Daily quota");
    }
}

#[tokio::test]
async fn a_503_is_a_refusal_that_may_be_repeated_and_is_not_repeated_here() {
    let (outcome, requests) = submit(answer("503 Unavailable", "", "<html>")).await;
    let Submission::Refused(refusal) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(refusal.class, RefusalClass::Overloaded);
    assert_eq!(requests.len(), 1);
}

#[tokio::test]
async fn a_400_names_each_field_and_says_what_to_do() {
    let (outcome, _) = submit(answer(
        "400 Bad Request",
        "",
        r#"{"error":"Validation of body failed","issues":[{"code":"invalid_enum_value","message":"not a ratio","path":["ratio"]}]}"#,
    ))
    .await;
    let Submission::Refused(refusal) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(
        refusal.to_string(),
        format!(
            "Runway refused the request ({}, status 400): Validation of body failed: ratio: not a ratio. \
             No credits were charged; fix what it names, then try again",
            refusal.at
        )
    );
}

#[tokio::test]
async fn a_page_at_403_is_a_refusal_that_mentions_a_proxy() {
    let (outcome, _) = submit(answer("403 Forbidden", "", "<html>blocked</html>")).await;
    let Submission::Refused(refusal) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(refusal.class, RefusalClass::Forbidden);
    assert!(refusal.message.contains("proxy"));
}

#[tokio::test]
async fn an_answer_that_repeats_the_key_is_shown_without_it() {
    let body = format!(r#"{{"error":"bad key {KEY}"}}"#);
    let (outcome, _) = submit(answer("401 Unauthorized", "", &body)).await;
    let Submission::Refused(refusal) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(refusal.class, RefusalClass::BadKey);
    assert_eq!(refusal.message, "bad key [key]");
}

#[tokio::test]
async fn every_submission_has_a_connection_of_its_own() {
    // The server leaves each connection open and never reads from it again.
    let body = r#"{"id":"t1"}"#;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let act = Act::AnswerAndHang(format!("{head}{body}").into_bytes());
    let server = Server::start(vec![act.clone(), act]).await;
    let client = server.client();
    for _ in 0..2 {
        let outcome = client.submit(PATH, &json!({})).await;
        assert!(
            matches!(outcome, Submission::Accepted { .. }),
            "{outcome:?}"
        );
    }
    assert_eq!(server.requests().len(), 2);
}
