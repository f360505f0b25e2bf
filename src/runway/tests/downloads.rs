//! Promises about downloads.

use super::*;
use crate::runway::{DownloadError, Downloaded, ObjectInfo, OutputUrl};

const SECRET: &str = "s3cr3t";

fn content() -> Vec<u8> {
    (0..200_000u32).map(|n| (n / 127) as u8).collect()
}

/// A part file, and what is known about its object.
struct Part {
    file: tokio::fs::File,
    seen: ObjectInfo,
    named: tempfile::NamedTempFile,
}

impl Part {
    fn new() -> Part {
        let named = tempfile::NamedTempFile::new().unwrap();
        Part {
            file: tokio::fs::File::from_std(named.reopen().unwrap()),
            seen: ObjectInfo::default(),
            named,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.named.path()).unwrap()
    }

    async fn fetch(&mut self, server: &Server) -> Result<Downloaded, DownloadError> {
        self.fetch_with(server.client(), server).await
    }

    async fn fetch_with(
        &mut self,
        client: Client,
        server: &Server,
    ) -> Result<Downloaded, DownloadError> {
        let url = OutputUrl::parse(&format!("{}out/a.mp4?sig={SECRET}", server.url)).unwrap();
        let mut last = 0;
        let result = client
            .download(&url, &mut self.file, &mut self.seen, |have, total| {
                assert!(have >= last && total.is_none_or(|total| have <= total));
                last = have;
            })
            .await;
        if let Err(error) = &result {
            let text = format!("{error} {error:?}");
            assert!(!text.contains(SECRET) && !text.contains(KEY), "{text}");
        }
        result
    }
}

/// The first `sent` bytes of an object, announced whole, then the end of the connection.
fn broken(headers: &str, object: &[u8], sent: usize) -> Act {
    let mut bytes = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
        object.len()
    )
    .into_bytes();
    bytes.extend_from_slice(&object[..sent]);
    Act::Answer(bytes)
}

/// The rest of an object from `start` on.
fn rest(headers: &str, object: &[u8], start: usize) -> Act {
    let range = format!(
        "{headers}Content-Range: bytes {start}-{}/{}\r\n",
        object.len() - 1,
        object.len()
    );
    answer("206 Partial Content", &range, &object[start..])
}

const TAG: &str = "ETag: \"one\"\r\nContent-Type: video/mp4\r\n";

#[tokio::test]
async fn a_whole_object_arrives_and_the_host_gets_neither_key_nor_version() {
    let server = Server::start(vec![answer("200 OK", TAG, content())]).await;
    let mut part = Part::new();
    let done = part.fetch(&server).await.unwrap();
    assert_eq!(
        done,
        Downloaded {
            bytes: 200_000,
            content_type: Some("video/mp4".into()),
            length_proven: true
        }
    );
    assert_eq!(part.bytes(), content());
    let head = &server.requests()[0].head;
    assert!(
        !head.contains("authorization") && !head.contains("x-runway") && !head.contains("range:")
    );
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_stopped() {
    let server = Server::start(vec![
        broken(TAG, &content(), 70_001),
        rest(TAG, &content(), 70_001),
    ])
    .await;
    let mut part = Part::new();
    let error = part.fetch(&server).await.unwrap_err();
    assert!(
        matches!(
            error,
            DownloadError::Truncated {
                have: 70_001,
                total: Some(200_000),
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(part.bytes(), &content()[..70_001]);
    assert_eq!(part.fetch(&server).await.unwrap().bytes, 200_000);
    assert_eq!(part.bytes(), content());
    let head = &server.requests()[1].head;
    assert!(head.contains("range: bytes=70001-\r\n") && head.contains("if-range: \"one\"\r\n"));
}

#[tokio::test]
async fn a_server_that_ignores_the_range_starts_over() {
    let server = Server::start(vec![
        broken(TAG, &content(), 70_001),
        answer("200 OK", TAG, content()),
    ])
    .await;
    let mut part = Part::new();
    part.fetch(&server).await.unwrap_err();
    part.fetch(&server).await.unwrap();
    assert_eq!(part.bytes(), content());
}

#[tokio::test]
async fn bytes_of_another_object_are_never_appended() {
    let other: Vec<u8> = content().into_iter().rev().collect();
    let server = Server::start(vec![
        broken(TAG, &content(), 70_001),
        rest("ETag: \"two\"\r\n", &other, 70_001),
        answer("200 OK", "ETag: \"two\"\r\n", &other),
    ])
    .await;
    let mut part = Part::new();
    part.fetch(&server).await.unwrap_err();
    assert_eq!(part.fetch(&server).await.unwrap().bytes, 200_000);
    assert_eq!(part.bytes(), other);
}

#[tokio::test]
async fn a_part_that_nobody_remembers_is_fetched_anew() {
    let server = Server::start(vec![answer("200 OK", "", content())]).await;
    let mut part = Part::new();
    std::fs::write(part.named.path(), b"left by a crash").unwrap();
    part.fetch(&server).await.unwrap();
    assert_eq!(part.bytes(), content());
    assert!(!server.requests()[0].head.contains("range:"));
}

#[tokio::test]
async fn a_part_that_is_already_whole_is_recognised() {
    let server = Server::start(vec![
        answer("200 OK", TAG, content()),
        answer(
            "416 Range Not Satisfiable",
            "Content-Range: bytes */200000\r\n",
            "",
        ),
    ])
    .await;
    let mut part = Part::new();
    let first = part.fetch(&server).await.unwrap();
    assert_eq!(part.fetch(&server).await.unwrap(), first);
    assert_eq!(part.bytes(), content());
}

#[tokio::test]
async fn an_expired_address_is_told_apart_from_trouble() {
    for status in [
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
        "410 Gone",
    ] {
        let server = Server::start(vec![answer(status, "", "<Error/>")]).await;
        let mut part = Part::new();
        let error = part.fetch(&server).await.unwrap_err();
        assert!(matches!(error, DownloadError::Expired { .. }), "{error}");
        assert!(part.bytes().is_empty());
    }
    for act in [
        answer("503 Unavailable", "Retry-After: 4\r\n", ""),
        Act::Close,
        Act::CloseAfterReading,
        Act::Hang,
        answer("200 OK", "Content-Type: text/html\r\n", "<html>"),
    ] {
        let server = Server::start(vec![act.clone()]).await;
        let client = server.client_for(&act);
        let error = Part::new().fetch_with(client, &server).await.unwrap_err();
        assert!(matches!(error, DownloadError::Transient { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_download_that_stalls_keeps_what_came_and_is_tried_again() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc";
    let server = Server::start(vec![Act::AnswerAndHang(head.into())]).await;
    let mut part = Part::new();
    let error = part
        .fetch_with(impatient(server.url.clone()), &server)
        .await
        .unwrap_err();
    assert!(matches!(error, DownloadError::Transient { .. }), "{error}");
    assert_eq!(part.bytes(), b"abc");
}

#[tokio::test]
async fn an_end_that_nobody_marked_is_not_called_proven() {
    let mut bytes = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
    bytes.extend_from_slice(&content());
    let server = Server::start(vec![
        Act::Answer(bytes),
        raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
    ])
    .await;
    let mut part = Part::new();
    assert!(!part.fetch(&server).await.unwrap().length_proven);
    assert!(part.fetch(&server).await.unwrap().length_proven);
    let error = part.fetch(&server).await.unwrap_err();
    assert!(
        matches!(error, DownloadError::Truncated { total: None, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn up_to_five_redirects_are_followed_and_none_leaves_for_plain_http() {
    let hop = || answer("302 Found", "Location: /next\r\n", "");
    let mut acts: Vec<Act> = (0..5).map(|_| hop()).collect();
    acts.push(answer("200 OK", "", content()));
    let server = Server::start(acts).await;
    let mut part = Part::new();
    part.fetch(&server).await.unwrap();
    assert_eq!(part.bytes(), content());
    assert!(!server.requests()[1].head.contains("referer"));

    let server = Server::start((0..7).map(|_| hop()).collect()).await;
    let error = Part::new().fetch(&server).await.unwrap_err();
    assert!(matches!(error, DownloadError::Transient { .. }), "{error}");
    assert_eq!(server.requests().len(), 6);

    let away = "Location: http://192.0.2.1/a.mp4?sig=s3cr3t\r\n";
    let server = Server::start(vec![answer("302 Found", away, "")]).await;
    let error = Part::new().fetch(&server).await.unwrap_err();
    assert!(
        matches!(&error, DownloadError::Insecure { host } if host == "192.0.2.1"),
        "{error}"
    );
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_is_told_apart_from_the_network() {
    let server = Server::start(vec![answer("200 OK", "", content())]).await;
    let mut part = Part::new();
    part.file = tokio::fs::File::open(part.named.path()).await.unwrap();
    let error = part.fetch(&server).await.unwrap_err();
    assert!(matches!(error, DownloadError::Disk(_)), "{error}");
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_full_disk_is_the_disks_error() {
    let server = Server::start(vec![answer("200 OK", "", content())]).await;
    let mut part = Part::new();
    part.file = tokio::fs::File::options()
        .write(true)
        .open("/dev/full")
        .await
        .unwrap();
    let error = part.fetch(&server).await.unwrap_err();
    assert!(matches!(error, DownloadError::Disk(_)), "{error}");
}
