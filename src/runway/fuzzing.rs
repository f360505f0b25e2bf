//! What holds for any answer of the API, or of what stands in its place. See [`crate::fuzzing`].

use std::time::Duration;

use jiff::Timestamp;

use super::ids::RunwayUri;
use super::outcome::{Answer, http_date, judge_call, judge_submission, retry_after};
use super::{CallError, OutputUrl, Submission, Task, TaskId, TaskStatus, classify_failure, wire};

/// The most characters of foreign text in a message, its mark of what was left out included, and of our own around it.
const LONGEST: usize = 900;

/// An answer as text: the status on the first line, with ` broken` behind it where the body did not arrive to its end;
/// then `Retry-After: …` and `Date: …` where they are there; an empty line; the body.
///
/// A submission is accepted only with a 2xx and a usable id, and refused only where the status says that nothing was
/// started. What is read has usable ids, numbers and addresses, and messages are short and without control characters.
///
/// # Panics
/// Where that does not hold.
pub fn api_answer(bytes: &[u8]) {
    let (answer, retry) = parse(bytes);
    if let Some(pause) = retry {
        assert!(pause <= Duration::from_secs(24 * 60 * 60));
    }
    submission(&answer);
    call(&answer);
    let body = answer.body.as_deref().unwrap_or_default();
    if let Ok(task) = wire::task(body) {
        task_is_usable(&task);
    }
    if let Ok(organization) = wire::organization(body) {
        assert!(organization.credit_balance.is_finite());
    }
    if let Ok(slot) = wire::upload_slot(body) {
        address(&slot.url);
        let uri = slot.uri.as_str();
        assert!(RunwayUri::parse(uri).is_some() && uri.starts_with("runway://"));
        assert!(!uri.contains(|c: char| c.is_whitespace() || c.is_control()));
    }
}

fn parse(bytes: &[u8]) -> (Answer, Option<Duration>) {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = match end.and_then(|end| bytes.split_at_checked(end)) {
        Some((head, body)) => (head, body.get(2..).unwrap_or_default()),
        None => (bytes, [].as_slice()),
    };
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_default();
    let (status, broken) = match first.split_once(' ') {
        Some((status, rest)) => (status, rest == "broken"),
        None => (first, false),
    };
    let mut date = None;
    let mut wait = None;
    for line in lines {
        match line.split_once(": ") {
            Some(("Date", value)) => date = http_date(value),
            Some(("Retry-After", value)) => wait = Some(value.to_owned()),
            Some(_) | None => {}
        }
    }
    let now = date.unwrap_or(Timestamp::UNIX_EPOCH);
    let retry_after = wait.and_then(|value| retry_after(&value, now));
    let answer = Answer {
        // The HTTP library lets nothing else through.
        status: status.parse().unwrap_or(200).clamp(100, 999),
        retry_after,
        date,
        body: if broken {
            Err("connection reset".to_owned())
        } else {
            Ok(body.to_vec())
        },
    };
    (answer, retry_after)
}

fn submission(answer: &Answer) {
    match judge_submission("here".to_owned(), answer) {
        Submission::NotSent(_) => panic!("there was an answer, so it was sent"),
        Submission::Accepted { task, estimated } => {
            assert!((200..300).contains(&answer.status) && answer.body.is_ok());
            safe_in_a_path(&task);
            credits(estimated);
        }
        Submission::Refused(refusal) => {
            assert!(
                matches!(
                    answer.status,
                    400..=407 | 410..=417 | 421 | 422 | 425 | 426 | 428 | 429 | 431 | 451 | 502..=504
                ),
                "{} does not say that nothing was started",
                answer.status
            );
            assert_eq!(refusal.status, answer.status);
            fit_to_be_shown(&refusal.to_string());
        }
        Submission::Unknown(doubt) => fit_to_be_shown(&doubt.to_string()),
    }
}

fn call(answer: &Answer) {
    match judge_call("here", answer) {
        Ok(body) => {
            assert!((200..300).contains(&answer.status) && answer.body.as_deref() == Ok(body))
        }
        Err(error) => {
            fit_to_be_shown(&error.to_string());
            match error {
                // Only the API itself may say that a task is gone or a key is wrong.
                CallError::NotFound { .. } => {
                    assert!(answer.status == 404 && answer.body.is_ok());
                }
                CallError::BadKey { .. } => assert!(answer.status == 401 && answer.body.is_ok()),
                CallError::Refused { status, .. } => assert!((400..500).contains(&status)),
                CallError::Transient { .. } | CallError::Garbage { .. } => {}
            }
        }
    }
}

fn task_is_usable(task: &Task) {
    safe_in_a_path(&task.id);
    credits(task.estimated);
    credits(task.cost);
    match &task.status {
        TaskStatus::Running { progress } => {
            assert!(progress.is_none_or(|progress| (0.0..=1.0).contains(&progress)));
        }
        TaskStatus::Succeeded { output } => output.iter().for_each(address),
        TaskStatus::Failed { failure, code } => {
            fit_to_be_shown(failure);
            fit_to_be_shown(code.as_deref().unwrap_or_default());
            // Any code has a class.
            let _class = classify_failure(code.as_deref());
        }
        TaskStatus::Other(word) => fit_to_be_shown(word),
        TaskStatus::Pending | TaskStatus::Throttled | TaskStatus::Cancelled => {}
    }
}

fn safe_in_a_path(id: &TaskId) {
    let text = id.as_str();
    assert!(
        (1..=128).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'),
        "{text}"
    );
}

/// What is spent counts towards a limit, so it is a number, and never gives any back.
fn credits(credits: Option<f64>) {
    assert!(
        credits.is_none_or(|credits| credits.is_finite() && credits >= 0.0),
        "{credits:?}"
    );
}

fn address(url: &OutputUrl) {
    let inner = url.url();
    assert!(matches!(inner.scheme(), "http" | "https") && inner.has_host());
    // The query is a secret, and so is the path beside it.
    assert_eq!(format!("{url:?}"), format!("OutputUrl({})", url.host()));
}

fn fit_to_be_shown(words: &str) {
    assert!(words.chars().count() <= LONGEST, "too long: {words}");
    assert!(!words.contains(char::is_control), "{words:?}");
}
