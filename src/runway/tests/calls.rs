//! Promises about requests that cost nothing, and about making a client.

use super::*;
use crate::runway::{CallError, Cancelled, ClientError, TaskId, TaskStatus};

fn id() -> TaskId {
    "t1".parse().unwrap()
}

#[tokio::test]
async fn a_task_is_asked_for_at_its_poll_path() {
    let body = r#"{"id":"t1","status":"RUNNING","progress":0.5}"#;
    let server = Server::start(vec![answer("200 OK", "", body)]).await;
    let task = server
        .client()
        .task("/v1/workflow_invocations/{id}", &id())
        .await
        .unwrap();
    assert_eq!(
        task.status,
        TaskStatus::Running {
            progress: Some(0.5)
        }
    );
    let head = server.requests()[0].head.clone();
    assert!(head.starts_with("get /v1/workflow_invocations/t1 "));
    assert!(head.contains("authorization: bearer "));
}

#[tokio::test]
async fn an_answer_about_another_task_is_not_believed() {
    let body = r#"{"id":"t2","status":"SUCCEEDED","output":[]}"#;
    let server = Server::start(vec![answer("200 OK", "", body)]).await;
    let error = server
        .client()
        .task("/v1/tasks/{id}", &id())
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Garbage { .. }), "{error}");
}

#[tokio::test]
async fn a_base_url_with_a_path_keeps_it() {
    let server = Server::start(vec![answer("200 OK", "", r#"{"creditBalance":7}"#)]).await;
    let url = server.url.join("/gateway/").unwrap();
    let organization = client(url).organization().await.unwrap();
    assert_eq!(organization.credit_balance, 7.0);
    assert!(
        server.requests()[0]
            .head
            .starts_with("get /gateway/v1/organization ")
    );
}

#[tokio::test]
async fn trouble_with_the_network_is_transient_and_a_web_page_is_garbage() {
    for act in [
        Act::Close,
        Act::CloseAfterReading,
        Act::ResetAfterReading,
        Act::Hang,
        answer("503 Unavailable", "", ""),
        raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"),
    ] {
        let server = Server::start(vec![act.clone()]).await;
        let client = server.client_for(&act);
        let error = client.organization().await.unwrap_err();
        assert!(matches!(error, CallError::Transient { .. }), "{error}");
    }
    let server = Server::start(vec![answer("200 OK", "", "<html>")]).await;
    let error = server.client().organization().await.unwrap_err();
    assert!(matches!(error, CallError::Garbage { .. }), "{error}");
}

#[tokio::test]
async fn a_refused_key_says_so_without_showing_it() {
    let body = format!(r#"{{"error":"no such key: {KEY}"}}"#);
    let server = Server::start(vec![answer("401 Unauthorized", "", &body)]).await;
    let error = server.client().organization().await.unwrap_err();
    assert!(matches!(error, CallError::BadKey { .. }), "{error}");
    let text = format!("{error} {error:?}");
    assert!(!text.contains(KEY), "{text}");
    assert!(
        text.contains("GET /v1/organization at 127.0.0.1:"),
        "{text}"
    );
}

#[tokio::test]
async fn a_cancelled_task_is_accepted_or_gone() {
    let server = Server::start(vec![
        raw("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"),
        answer("404 Not Found", "", r#"{"error":"no such task"}"#),
        answer("404 Not Found", "", "<html>"),
    ])
    .await;
    let client = server.client();
    assert_eq!(client.cancel(&id()).await, Ok(Cancelled::Accepted));
    assert_eq!(client.cancel(&id()).await, Ok(Cancelled::Gone));
    assert!(matches!(
        client.cancel(&id()).await,
        Err(CallError::Garbage { .. })
    ));
    assert!(
        server.requests()[0]
            .head
            .starts_with("delete /v1/tasks/t1 ")
    );
}

#[test]
fn plain_http_is_for_loopback_alone() {
    let make = |url: &str| Client::new(url.parse().unwrap(), "2024-11-06", SecretString::from(KEY));
    for good in [
        "http://127.0.0.1:1",
        "http://[::1]:1",
        "http://localhost",
        "http://127.9.9.9",
    ] {
        assert!(make(good).is_ok(), "{good}");
    }
    for bad in [
        "http://api.example",
        "http://192.168.1.1",
        "ftp://127.0.0.1",
        "file:///x",
    ] {
        let error = make(bad).unwrap_err();
        assert!(matches!(error, ClientError::Insecure { .. }), "{error}");
    }
}

#[test]
fn a_key_that_cannot_be_sent_is_refused_without_being_shown() {
    for key in ["", "key\nX-Evil: 1", "key\u{0}"] {
        let url = "http://127.0.0.1:1".parse().unwrap();
        let error = Client::new(url, "2024-11-06", SecretString::from(key)).unwrap_err();
        assert!(matches!(error, ClientError::Key));
        assert!(!format!("{error} {error:?}").contains("Evil"));
    }
}

#[test]
fn a_client_shows_its_host_alone() {
    let client = client("http://127.0.0.1:9".parse().unwrap());
    assert_eq!(format!("{client:?}"), "Client(127.0.0.1:9)");
}
