//! The client: requests out, outcomes back.
//!
//! It uses two HTTP clients. Requests that start a task have one without pooling: the server may close a pooled connection just
//! as a request is sent, and then it is unknown whether the request was read. The other calls to the API and the storage hosts
//! share the other. Neither follows redirects or repeats requests, and neither has headers of its own: the key and the version
//! are set on each request to the API, and on no other.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderValue};
use reqwest::{Method, Response};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::ids::{TaskId, host_of};
use super::outcome::{
    self, Answer, CallError, Cancelled, Doubt, NotSent, Submission, judge_call, judge_submission,
};
use super::transport::{
    build_http, describe, is_loopback, read_bounded, read_retry_after, text_header,
};
use super::wire::{self, Organization, Task};
use crate::failpoint::{self, Point, Request};

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection: name, TCP, proxy and TLS.
    pub connect: Duration,
    /// For the whole of a request that starts a task, from connecting to the end of the answer.
    pub submit: Duration,
    /// For the whole of any other call to the API.
    pub call: Duration,
    /// For the next bytes of a download, or of its headers. The whole download may take any time.
    pub download_stall: Duration,
    /// For an upload to make progress, or to be answered once it is sent. The whole upload may take any time.
    pub upload_stall: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(10),
            submit: Duration::from_secs(120),
            call: Duration::from_secs(60),
            download_stall: Duration::from_secs(60),
            upload_stall: Duration::from_secs(120),
        }
    }
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The base URL is neither `https` nor on this machine, or has no host.
    #[error(
        "the base URL of Runway's API (host {host}) is not https: write runway.base_url with https://, plain http is for \
         loopback addresses only"
    )]
    Insecure {
        /// The host of the base URL.
        host: String,
    },
    /// The API key has characters that no key has.
    #[error(
        "the API key has characters that cannot be sent: put the key alone, on one line, where the configuration says"
    )]
    Key,
    /// The API version has characters that no version has.
    #[error("runway.api_version cannot be sent as it is: write a date such as 2024-11-06")]
    Version,
    /// No HTTP client could be made, for want of TLS roots, say.
    #[error(
        "no secure connections can be made on this machine: {why}. Install the system's CA certificates (package \
         ca-certificates)"
    )]
    Tls {
        /// What is missing.
        why: String,
    },
}

/// A client of Runway's API. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    base: Url,
    /// Whether the API is on this machine, so that plain http is allowed to hosts on it.
    loopback: bool,
    key: SecretString,
    authorization: HeaderValue,
    version: HeaderValue,
    /// For requests that start a task: a new connection each.
    alone: reqwest::Client,
    /// For everything else.
    pooled: reqwest::Client,
    timeouts: Timeouts,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", host_of(&self.inner.base))
    }
}

impl Client {
    /// A client for the API at `base_url` (without `/v1`), with the usual timeouts.
    ///
    /// # Errors
    ///
    /// [`ClientError`] where the base URL is not secure, the key or the version cannot be sent, or TLS has no roots.
    pub fn new(base_url: Url, api_version: &str, key: SecretString) -> Result<Client, ClientError> {
        Client::with_timeouts(base_url, api_version, key, Timeouts::default())
    }

    /// Like [`Client::new`], with other timeouts.
    ///
    /// # Errors
    ///
    /// Those of [`Client::new`].
    pub fn with_timeouts(
        base_url: Url,
        api_version: &str,
        key: SecretString,
        timeouts: Timeouts,
    ) -> Result<Client, ClientError> {
        let loopback = is_loopback(&base_url);
        let secure = base_url.scheme() == "https" || (base_url.scheme() == "http" && loopback);
        if !secure || !base_url.has_host() {
            return Err(ClientError::Insecure {
                host: host_of(&base_url),
            });
        }
        if key.expose_secret().is_empty() {
            return Err(ClientError::Key);
        }
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", key.expose_secret()))
            .map_err(|_| ClientError::Key)?;
        authorization.set_sensitive(true);
        let version = HeaderValue::try_from(api_version).map_err(|_| ClientError::Version)?;

        let alone = build_http(loopback, timeouts.connect, |builder| {
            builder.pool_max_idle_per_host(0)
        })
        .map_err(|why| ClientError::Tls { why })?;
        let pooled = build_http(loopback, timeouts.connect, |builder| builder)
            .map_err(|why| ClientError::Tls { why })?;
        Ok(Client {
            inner: Arc::new(Inner {
                base: base_url,
                loopback,
                key,
                authorization,
                version,
                alone,
                pooled,
                timeouts,
            }),
        })
    }

    /// Sends a request that starts a task, once, and returns its outcome. `path` begins with `/v1/`.
    ///
    /// The intent must be in the journal before this is called: if the call is interrupted (the process ends, the future is
    /// dropped), the outcome is unknown, as for [`Submission::Unknown`].
    pub async fn submit(&self, path: &str, body: &Value) -> Submission {
        let at = self.place(&Method::POST, path);
        let request = self
            .api_request(&self.inner.alone, Method::POST, path)
            .timeout(self.inner.timeouts.submit)
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_string());
        if let Err(error) = failpoint::hit(Point::BeforeRequest(Request::Submit)) {
            let why = error.to_string();
            return Submission::NotSent(NotSent { at, why });
        }
        let outcome = match request.send().await {
            Ok(response) => judge_submission(at, &self.read(response).await),
            // There was no connection or no request, so no byte was sent.
            Err(error) if error.is_connect() || error.is_builder() => {
                Submission::NotSent(NotSent {
                    at,
                    why: describe(error),
                })
            }
            Err(error) => Submission::Unknown(Doubt {
                at,
                why: describe(error),
                status: None,
                http_date: None,
            }),
        };
        tracing::debug!(path, ?outcome, "submitted");
        if let Err(error) = failpoint::hit(Point::AfterRequest(Request::Submit)) {
            return Submission::Unknown(Doubt {
                at: self.place(&Method::POST, path),
                why: error.to_string(),
                status: None,
                http_date: None,
            });
        }
        outcome
    }

    /// Asks for a task. `poll_path` is the path with `{id}` in the id's place, such as `/v1/tasks/{id}`.
    ///
    /// # Errors
    ///
    /// [`CallError`]; an answer about another task than the one asked for is [`CallError::Garbage`].
    pub async fn task(&self, poll_path: &str, id: &TaskId) -> Result<Task, CallError> {
        let path = poll_path.replace("{id}", id.as_str());
        let at = self.place(&Method::GET, &path);
        let answer = self.call(Request::Poll, Method::GET, &path, None).await?;
        let task =
            wire::task(judge_call(&at, &answer)?).map_err(|why| CallError::garbage(&at, why))?;
        if task.id != *id {
            return Err(CallError::Garbage {
                at,
                why: format!("it is about the task {}", task.id),
            });
        }
        Ok(task)
    }

    /// Stops a task that has not ended, or deletes one that has. Best effort on Runway's side.
    ///
    /// # Errors
    ///
    /// [`CallError`], but never [`CallError::NotFound`], which is [`Cancelled::Gone`].
    pub async fn cancel(&self, id: &TaskId) -> Result<Cancelled, CallError> {
        let path = format!("/v1/tasks/{id}");
        let at = self.place(&Method::DELETE, &path);
        let answer = self
            .call(Request::Cancel, Method::DELETE, &path, None)
            .await?;
        match judge_call(&at, &answer) {
            Ok(_) => Ok(Cancelled::Accepted),
            Err(CallError::NotFound { .. }) => Ok(Cancelled::Gone),
            Err(error) => Err(error),
        }
    }

    /// Asks for credits, limits and today's use. Also the cheapest way to check the key.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub async fn organization(&self) -> Result<Organization, CallError> {
        let path = "/v1/organization";
        let at = self.place(&Method::GET, path);
        let answer = self
            .call(Request::Organization, Method::GET, path, None)
            .await?;
        wire::organization(judge_call(&at, &answer)?).map_err(|why| CallError::garbage(&at, why))
    }

    /// Makes a call that costs nothing, and returns the answer, whatever its status, or the trouble with the network. `what` names
    /// its failure points.
    pub(super) async fn call(
        &self,
        what: Request,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, CallError> {
        let at = self.place(&method, path);
        let mut request = self
            .api_request(&self.inner.pooled, method, path)
            .timeout(self.inner.timeouts.call);
        if let Some(body) = body {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.to_string());
        }
        let transient = |why| CallError::Transient {
            at: at.clone(),
            why,
            retry_after: None,
        };
        failpoint::hit(Point::BeforeRequest(what)).map_err(|error| transient(error.to_string()))?;
        let response = request
            .send()
            .await
            .map_err(|error| transient(describe(error)))?;
        let answer = self.read(response).await;
        tracing::debug!(at, status = answer.status, "answered");
        failpoint::hit(Point::AfterRequest(what)).map_err(|error| transient(error.to_string()))?;
        Ok(answer)
    }

    /// The HTTP client for storage hosts, which adds no headers of the API.
    pub(super) fn storage(&self) -> &reqwest::Client {
        &self.inner.pooled
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        self.inner.timeouts
    }

    /// Whether media may go to or come from a URL: https, or plain http where the API and the host are on this machine.
    pub(super) fn may_use(&self, url: &Url) -> bool {
        match url.scheme() {
            "https" => url.has_host(),
            "http" => self.inner.loopback && is_loopback(url),
            _ => false,
        }
    }

    /// A request and its host, for people.
    pub(super) fn place(&self, method: &Method, path: &str) -> String {
        format!("{method} {path} at {}", host_of(&self.inner.base))
    }

    /// A request to the API, with its headers. The key is in no other request.
    fn api_request(
        &self,
        http: &reqwest::Client,
        method: Method,
        path: &str,
    ) -> reqwest::RequestBuilder {
        let mut url = self.inner.base.clone();
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}{path}"));
        http.request(method, url)
            .header(AUTHORIZATION, self.inner.authorization.clone())
            .header("X-Runway-Version", self.inner.version.clone())
            .header(ACCEPT, "application/json")
    }

    /// Reads an answer of the API to its end, within bounds. If it repeats the key, the key is removed.
    async fn read(&self, response: Response) -> Answer {
        let status = response.status().as_u16();
        let date = text_header(response.headers(), DATE.as_str()).and_then(outcome::http_date);
        let retry_after = read_retry_after(response.headers());
        let key = self.inner.key.expose_secret();
        let body = read_bounded(response).await.map(|bytes| {
            let text = String::from_utf8_lossy(&bytes);
            if text.contains(key) {
                text.replace(key, "[key]").into_bytes()
            } else {
                bytes
            }
        });
        Answer {
            status,
            retry_after,
            date,
            body,
        }
    }
}
