//! The status page, the JSON API behind it, and what monitoring asks for: served by the daemon at `web.listen`.
//!
//! The page shows and steers what `taxiway status`, `cancel`, `retry` and `resolve` do, and asks the same questions by the
//! same way (`daemon::requests`), so that the two never disagree. Everything that a browser needs is in the binary; nothing is
//! asked of another host.
//!
//! It lets nobody in whom it should not: `guard` judges every request before anything else looks at it, `line` keeps
//! connections few and alive, `files` serves files of jobs that are known, by job and number and never by a path. `events`
//! tells browsers of changes. None of these can hold work up: whoever reads slowly misses news and asks again, and at the end
//! of the daemon what is still being told is broken off.

mod api;
mod app;
mod events;
mod files;
mod guard;
mod listener;
mod metrics;
mod page;
mod prometheus;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION,
    REFERRER_POLICY, SET_COOKIE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use self::app::{App, Events, Pictures, page, trouble};
use self::guard::{Refusal, Rules, Token};
use self::listener::{Connection, LimitedListener};
use crate::config::{TokenError, Web, environment, load_web_token};
use crate::control::Hub;

/// The longest body of a request, in bytes.
const BODY_MAX: usize = 16 * 1024;
/// How long a body may take.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// How long answers under way may take when the daemon stops.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long whoever names a wrong token waits for the answer, so that guessing takes for ever.
const WRONG_TOKEN: Duration = Duration::from_millis(500);
/// Questions to the journal that read many jobs, at once. The journal's other connection is the work's.
const LONG_QUESTIONS: usize = 1;

/// What the browser may do with the page: nothing but what comes from here.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Why there is no status page.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The token cannot be had.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The address cannot be listened on.
    #[error(
        "the status page cannot listen on {address}: {source}. {advice}, or write another address, or `off`, as `web.listen`",
        advice = advice(source)
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "Another program listens there: stop it",
        io::ErrorKind::AddrNotAvailable => "This machine has no such address: look at `ip address`",
        io::ErrorKind::PermissionDenied => "Ports below 1024 are root's: take a higher one",
        _ => "Look whether that address is this machine's",
    }
}

/// The page's address, taken and not served yet.
pub(crate) struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    rules: Rules,
}

/// Takes the address that the configuration names, if it names one. Done before any work begins: a page that cannot be is a
/// start that did not happen.
pub(crate) async fn bind(web: &Web) -> Result<Option<Bound>, WebError> {
    let Some(listen) = web.listen else {
        return Ok(None);
    };
    let token = web
        .token_file
        .as_deref()
        .map(|file| load_web_token(file, &environment))
        .transpose()?;
    let fail = |source| WebError::Listen {
        address: listen,
        source,
    };
    let listener = TcpListener::bind(listen).await.map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    Ok(Some(Bound {
        listener,
        address,
        rules: Rules {
            hosts: web.hosts.clone(),
            listen: listen.ip(),
            token: token.as_ref().map(Token::new),
        },
    }))
}

/// Serves the page until the engine stops. Answers with its URL.
pub(crate) fn serve(bound: Bound, hub: Arc<Hub>) -> String {
    let engine = hub.engine.clone();
    let events = Arc::new(Events::default());
    let (watched, listened) = (hub.clone(), events.clone());
    engine
        .tasks
        .spawn_restarting("the status page's events", move || {
            events::watch(watched.clone(), listened.clone())
        });
    let app = Arc::new(App {
        hub,
        rules: bound.rules,
        events,
        pictures: Pictures::default(),
        long_questions: Semaphore::new(LONG_QUESTIONS),
    });
    let url = format!("http://{}/", bound.address);
    let service = router(app).into_make_service_with_connect_info::<Connection>();
    let stop = engine.stop.clone();
    let server = axum::serve(LimitedListener::new(bound.listener), service)
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    engine.tasks.spawn("the status page", async move {
        let over = async {
            stop.cancelled().await;
            tokio::time::sleep(FAREWELL).await;
        };
        tokio::select! {
            ended = server.into_future() => if let Err(error) = ended {
                tracing::error!(%error, "the status page has ended; work goes on, and a restart brings it back");
            },
            () = over => tracing::debug!("connections to the status page were still open at the end"),
        }
    });
    tracing::info!("the status page is at {url}");
    url
}

fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for (path, kind, content) in page::PARTS {
        router = router.route(path, get(async || page(content, kind)));
    }
    router
        .route("/login", post(login))
        .route(
            "/healthz",
            get(async || page("ok\n", "text/plain; charset=utf-8")),
        )
        .route("/readyz", get(api::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/api/jobs", get(api::jobs))
        .route("/api/jobs/{id}", get(api::job))
        .route("/api/jobs/{id}/cancel", post(api::cancel))
        .route("/api/jobs/{id}/retry", post(api::retry))
        .route("/api/jobs/{id}/resolve", post(api::resolve))
        .route("/api/inboxes", get(api::inboxes))
        .route("/api/summary", get(api::summary))
        .route("/api/spend", get(api::spend))
        .route("/api/events", get(events::stream))
        .route("/files/{id}/{which}/{index}", get(files::file))
        .route("/files/{id}/{which}/{index}/picture", get(files::picture))
        .fallback(async || trouble(StatusCode::NOT_FOUND, "there is nothing here"))
        .method_not_allowed_fallback(async || {
            trouble(
                StatusCode::METHOD_NOT_ALLOWED,
                "this cannot be asked in that way: changes are POST, all else is GET",
            )
        })
        .layer(from_fn_with_state(app.clone(), admit))
        .with_state(app)
}

/// Judges a request, reads its body, and puts the headers on the answer that every answer has.
async fn admit(
    State(app): State<Arc<App>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
    next: Next,
) -> Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let mut answer = match guard::judge(&app.rules, &head, connection.local) {
        Err(refusal) => {
            let sent = head.headers.contains_key(axum::http::header::AUTHORIZATION);
            if refusal == Refusal::Token && sent {
                tokio::time::sleep(WRONG_TOKEN).await;
            }
            refuse(refusal, &head.method, &path)
        }
        Ok(()) => {
            // The body is read here, so that whoever sends it slowly is never waited for by what follows.
            match tokio::time::timeout(BODY_WITHIN, to_bytes(body, BODY_MAX)).await {
                Ok(Ok(bytes)) => {
                    let _busy = connection.busy();
                    next.run(Request::from_parts(head, Body::from(bytes))).await
                }
                Ok(Err(_)) => trouble(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "the body is larger than any that is understood here, or broke off",
                ),
                Err(_) => trouble(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
            }
        }
    };
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    answer
}

fn refuse(refusal: Refusal, method: &Method, path: &str) -> Response {
    let mut answer = if refusal == Refusal::Token && path == "/" && method == Method::GET {
        let form = page(page::LOGIN, "text/html; charset=utf-8");
        (refusal.status(), form).into_response()
    } else {
        trouble(refusal.status(), refusal.words())
    };
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if refusal == Refusal::Token {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

/// The form that takes the token: right, the browser gets a cookie; wrong, it waits and gets the form again.
async fn login(
    State(app): State<Arc<App>>,
    headers: axum::http::HeaderMap,
    body: Bytes,
) -> Response {
    let home = (StatusCode::SEE_OTHER, [(LOCATION, "/")]);
    let Some(token) = &app.rules.token else {
        return home.into_response();
    };
    let sent = url::form_urlencoded::parse(&body)
        .find(|(name, _)| name == "token")
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default();
    if !token.is(&sent) {
        tokio::time::sleep(WRONG_TOKEN).await;
        let again =
            page::LOGIN.replace("<p id=\"wrong\" hidden>", "<p id=\"wrong\" role=\"alert\">");
        let kind = [(CONTENT_TYPE, "text/html; charset=utf-8")];
        return (StatusCode::UNAUTHORIZED, kind, again).into_response();
    }
    let over_https = headers
        .get(axum::http::header::ORIGIN)
        .is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
    let headers = [
        (LOCATION, "/".to_owned()),
        (SET_COOKIE, token.cookie(over_https)),
    ];
    (StatusCode::SEE_OTHER, headers).into_response()
}
