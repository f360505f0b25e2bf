//! Decides which requests are answered, by the head of the request alone.
//!
//! There are three threats to a page on somebody's own machine. Strangers on the network send requests: a token stops them. A
//! foreign page gives this machine a name of its own (DNS rebinding): the name in `Host` is then not one of this machine's. A
//! foreign page has the visitor's browser send a request (CSRF): the headers on a request's origin reveal it, and changes need a
//! header that no form can send.

use std::net::IpAddr;

use axum::http::header::{
    AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The header that changes need: a form cannot send it, and a script of a foreign page may not.
const OURS: HeaderName = HeaderName::from_static("x-taxiway");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// The cookie that the login form sets.
const NAME: &str = "taxiway";

/// Which requests the page answers.
pub(super) struct Rules {
    /// Names of this machine, in lower case, in addition to `localhost` and addresses.
    pub(super) hosts: Vec<String>,
    /// The address that was configured.
    pub(super) listen: IpAddr,
    /// The token that requests need, if any.
    pub(super) token: Option<Token>,
}

/// The digests of a token, which itself is not kept.
pub(super) struct Token {
    sent: [u8; 32],
    cookie: String,
}

impl Token {
    pub(super) fn new(secret: &SecretString) -> Token {
        let text = secret.expose_secret();
        Token {
            sent: digest("token", text),
            cookie: hex(&digest("cookie", text)),
        }
    }

    /// Whether this is the token, in constant time.
    pub(super) fn is(&self, text: &str) -> bool {
        self.sent.ct_eq(&digest("token", text)).into()
    }

    /// Returns the cookie that a browser keeps instead of the token. A cookie that is set over https is only sent over https.
    pub(super) fn cookie(&self, over_https: bool) -> String {
        let secure = if over_https { "; Secure" } else { "" };
        format!(
            "{NAME}={}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict{secure}",
            self.cookie
        )
    }
}

fn digest(what: &str, text: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"taxiway page\0");
    hash.update(what);
    hash.update(b"\0");
    hash.update(text);
    hash.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// `Host` is not a name of this machine.
    Host,
    /// The token is missing or wrong.
    Token,
    /// It comes from another site.
    Site,
    /// It is a change without proof that it comes from the page itself.
    Proof,
    /// It is a change whose body has the wrong type.
    Type,
}

impl Refusal {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Refusal::Host => StatusCode::MISDIRECTED_REQUEST,
            Refusal::Token => StatusCode::UNAUTHORIZED,
            Refusal::Site | Refusal::Proof | Refusal::Type => StatusCode::FORBIDDEN,
        }
    }

    /// Returns the problem and what to do, for people.
    pub(super) fn words(self) -> &'static str {
        match self {
            Refusal::Host => {
                "this machine does not have the name in the URL: use localhost or the address itself, or add the name \
                 to `web.hosts` in the configuration"
            }
            Refusal::Token => {
                "a token is needed: send the one in `web.token_file` as `Authorization: Bearer`, or sign in on the page. A \
                 token in the URL is not accepted, since URLs end up in logs and histories"
            }
            Refusal::Site => {
                "the request comes from another site; only taxiway's own page may send it"
            }
            Refusal::Proof => {
                "a change needs proof that it does not come from another site: the header `X-Taxiway: 1`, and an `Origin` or \
                 `Sec-Fetch-Site` that names this page"
            }
            Refusal::Type => "a change needs a JSON body with `Content-Type: application/json`",
        }
    }
}

/// Who may request a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Everybody: it reveals nothing.
    Open,
    /// The form that takes the token.
    Login,
    /// The page itself, to which others may link.
    Page,
    /// Requests with the token only.
    Closed,
}

fn find_access(path: &str) -> Access {
    match path {
        "/healthz" | "/readyz" | "/page.css" | "/icon.svg" => Access::Open,
        "/login" => Access::Login,
        "/" => Access::Page,
        _ => Access::Closed,
    }
}

/// Decides whether a request is answered. `local` is the local address of its connection.
pub(super) fn judge(rules: &Rules, head: &Parts, local: IpAddr) -> Result<(), Refusal> {
    let host = host(head).ok_or(Refusal::Host)?;
    if !is_ours(rules, host, local) {
        return Err(Refusal::Host);
    }
    let access = find_access(head.uri.path());
    let changes = !matches!(head.method, Method::GET | Method::HEAD);
    let site = only(&head.headers, &FETCH_SITE);
    let foreign = match site {
        One::None => false,
        One::Value("same-origin" | "none") => false,
        One::Value(_) | One::Unclear => true,
    };
    if !changes && foreign && access != Access::Page {
        return Err(Refusal::Site);
    }
    if access != Access::Open && access != Access::Login && !is_known(rules, &head.headers) {
        return Err(Refusal::Token);
    }
    if !changes {
        return Ok(());
    }
    if !comes_from_here(&head.headers, host) {
        return Err(Refusal::Proof);
    }
    let (kind, needs_ours) = match access {
        Access::Login => ("application/x-www-form-urlencoded", false),
        Access::Open | Access::Page | Access::Closed => ("application/json", true),
    };
    if needs_ours && only(&head.headers, &OURS) != One::Value("1") {
        return Err(Refusal::Proof);
    }
    match only(&head.headers, &CONTENT_TYPE) {
        One::Value(value) if essence(value).eq_ignore_ascii_case(kind) => Ok(()),
        One::None | One::Value(_) | One::Unclear => Err(Refusal::Type),
    }
}

/// Whether the request has the token, or none is needed.
pub(super) fn is_known(rules: &Rules, headers: &HeaderMap) -> bool {
    let Some(token) = &rules.token else {
        return true;
    };
    match only(headers, &AUTHORIZATION) {
        One::Value(value) => match value.split_once(' ') {
            Some((scheme, sent)) => scheme.eq_ignore_ascii_case("bearer") && token.is(sent.trim()),
            None => false,
        },
        One::Unclear => false,
        One::None => headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .any(|(name, value)| {
                name == NAME && bool::from(value.as_bytes().ct_eq(token.cookie.as_bytes()))
            }),
    }
}

/// The value of a header that may appear once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum One<'a> {
    None,
    Value(&'a str),
    /// The header appears several times, or is not text.
    Unclear,
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> One<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => One::None,
        (Some(value), None) => HeaderValue::to_str(value).map_or(One::Unclear, One::Value),
        (Some(_), Some(_)) => One::Unclear,
    }
}

/// Returns `Host`, with its port. If the request's target names a host too, it must be the same.
fn host(head: &Parts) -> Option<&str> {
    let One::Value(host) = only(&head.headers, &HOST) else {
        return None;
    };
    match head.uri.authority() {
        Some(authority) if !authority.as_str().eq_ignore_ascii_case(host) => None,
        Some(_) | None => Some(host),
    }
}

/// Whether a host, with or without a port, is this machine. Any port is accepted: tunnels change it.
fn is_ours(rules: &Rules, host: &str, local: IpAddr) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if port.is_empty() || is_port(port) => address,
            _ => return false,
        },
        None => match host.split_once(':') {
            Some((name, _)) if host.get(name.len()..).is_some_and(is_port) => name,
            Some(_) => return false,
            None => host,
        },
    };
    if let Ok(address) = name.parse::<IpAddr>() {
        let address = address.to_canonical();
        return address.is_loopback()
            || address == local.to_canonical()
            || (address == rules.listen && !rules.listen.is_unspecified());
    }
    let name = name.to_ascii_lowercase();
    name == "localhost" || rules.hosts.contains(&name)
}

/// `:` and digits.
fn is_port(text: &str) -> bool {
    text.strip_prefix(':')
        .is_some_and(|digits| digits.parse::<u16>().is_ok())
}

/// Whether the headers that browsers send say that the request comes from our own page.
fn comes_from_here(headers: &HeaderMap, host: &str) -> bool {
    let origin = match only(headers, &ORIGIN) {
        One::None => None,
        One::Unclear => Some(false),
        One::Value(value) => Some(
            value
                .strip_prefix("http://")
                .or_else(|| value.strip_prefix("https://"))
                .is_some_and(|authority| authority.eq_ignore_ascii_case(host)),
        ),
    };
    let site = match only(headers, &FETCH_SITE) {
        One::None => None,
        One::Unclear => Some(false),
        One::Value(value) => Some(value == "same-origin"),
    };
    // At least one of the headers must be there, and each that is there must say so.
    origin.or(site).is_some() && origin != Some(false) && site != Some(false)
}

/// A media type without its parameters.
fn essence(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use axum::http::Request;

    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn rules(token: bool) -> Rules {
        Rules {
            hosts: vec!["studio.example".to_owned()],
            listen: "0.0.0.0".parse().unwrap(),
            token: token.then(|| Token::new(&SecretString::from(TOKEN))),
        }
    }

    fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn ask(
        token: bool,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<(), Refusal> {
        let local = "192.168.1.5".parse().unwrap();
        judge(&rules(token), &head(method, target, headers), local)
    }

    #[test]
    fn only_this_machines_own_names_are_answered() {
        for host in [
            "localhost",
            "LOCALHOST:7878",
            "127.0.0.1:7878",
            "127.8.8.8",
            "[::1]:7878",
            "[::1]",
            "[::ffff:127.0.0.1]:80",
            "192.168.1.5:7878",
            "studio.example",
            "Studio.Example:443",
        ] {
            assert_eq!(
                ask(false, "GET", "/api/jobs", &[("host", host)]),
                Ok(()),
                "{host}"
            );
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "evil.example:7878",
            "127.0.0.1.evil.example",
            "0.0.0.0:7878",
            "10.0.0.1",
            "localhost:port",
            "localhost:99999",
            "localhost@evil.example",
            "[::1",
            "[::1]x",
            "studio.example.",
        ] {
            let asked = ask(false, "GET", "/api/jobs", &[("host", host)]);
            assert_eq!(asked, Err(Refusal::Host), "{host:?}");
        }
        assert_eq!(ask(false, "GET", "/", &[]), Err(Refusal::Host));
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(ask(false, "GET", "/", &two), Err(Refusal::Host));
        // A target that names another host than the header.
        let target = "http://evil.example/api/jobs";
        assert_eq!(
            ask(false, "GET", target, &[("host", "localhost")]),
            Err(Refusal::Host)
        );
    }

    #[test]
    fn with_a_token_nothing_is_told_without_it() {
        let host = ("host", "localhost");
        let bearer = format!("Bearer {TOKEN}");
        let cookie = rules(true).token.unwrap().cookie(false);
        let cookie = cookie.split(';').next().unwrap().to_owned();
        for path in [
            "/",
            "/page.js",
            "/api/jobs",
            "/api/events",
            "/metrics",
            "/files/x/input/0",
            "/nothing",
        ] {
            for wrong in [
                vec![host],
                vec![host, ("authorization", TOKEN)],
                vec![host, ("authorization", "Bearer ")],
                vec![
                    host,
                    ("authorization", "Bearer 0123456789abcdef0123456789abcdeg"),
                ],
                vec![host, ("authorization", "Basic eDp5")],
                vec![
                    host,
                    ("authorization", &bearer),
                    ("authorization", "Bearer x"),
                ],
                vec![host, ("authorization", "Bearer x"), ("cookie", &cookie)],
                vec![host, ("cookie", "taxiway=")],
                vec![host, ("cookie", "taxiway=0123456789abcdef0123456789abcdef")],
                vec![host, ("cookie", &format!("x{cookie}"))],
            ] {
                assert_eq!(
                    ask(true, "GET", path, &wrong),
                    Err(Refusal::Token),
                    "{path} {wrong:?}"
                );
            }
            assert_eq!(
                ask(true, "GET", path, &[host, ("authorization", &bearer)]),
                Ok(())
            );
            let with = format!("other=1; {cookie}");
            assert_eq!(ask(true, "GET", path, &[host, ("cookie", &with)]), Ok(()));
        }
        let query = format!("/api/jobs?token={TOKEN}");
        assert_eq!(ask(true, "GET", &query, &[host]), Err(Refusal::Token));
        for path in ["/healthz", "/readyz", "/page.css"] {
            assert_eq!(ask(true, "GET", path, &[host]), Ok(()), "{path}");
        }
    }

    #[test]
    fn a_change_needs_proof_that_it_comes_from_the_page() {
        let path = "/api/jobs/0123456789/cancel";
        let (host, ours, json) = (
            ("host", "localhost:7878"),
            ("x-taxiway", "1"),
            ("content-type", "application/json; charset=utf-8"),
        );
        let (origin, site) = (
            ("origin", "http://localhost:7878"),
            ("sec-fetch-site", "same-origin"),
        );
        let asked = |headers: &[(&str, &str)]| ask(false, "POST", path, headers);
        assert_eq!(asked(&[host, ours, json, origin]), Ok(()));
        assert_eq!(asked(&[host, ours, json, site]), Ok(()));
        assert_eq!(asked(&[host, ours, json, origin, site]), Ok(()));
        for wrong in [
            vec![host, ours, json],
            vec![host, json, origin, site],
            vec![host, ("x-taxiway", "0"), json, origin],
            vec![host, ours, json, ("origin", "http://evil.example")],
            vec![host, ours, json, ("origin", "http://localhost:1")],
            vec![host, ours, json, ("origin", "null")],
            vec![host, ours, json, ("origin", "localhost:7878")],
            vec![host, ours, json, origin, ("origin", "http://evil.example")],
            vec![host, ours, json, ("origin", "http://evil.example"), site],
            vec![host, ours, json, origin, ("sec-fetch-site", "cross-site")],
            vec![host, ours, json, ("sec-fetch-site", "same-site")],
            vec![host, ours, json, ("sec-fetch-site", "none")],
        ] {
            assert_eq!(asked(&wrong), Err(Refusal::Proof), "{wrong:?}");
        }
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "",
        ] {
            let wrong = [host, ours, origin, ("content-type", kind)];
            assert_eq!(asked(&wrong), Err(Refusal::Type), "{kind}");
        }
        assert_eq!(asked(&[host, ours, origin]), Err(Refusal::Type));
        for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
            assert_eq!(
                ask(false, method, path, &[host]),
                Err(Refusal::Proof),
                "{method}"
            );
        }
    }

    #[test]
    fn another_site_may_link_to_the_page_and_embed_nothing_of_it() {
        let from = [("host", "localhost"), ("sec-fetch-site", "cross-site")];
        assert_eq!(ask(false, "GET", "/", &from), Ok(()));
        for path in ["/api/jobs", "/files/x/output/0", "/metrics", "/page.js"] {
            assert_eq!(ask(false, "GET", path, &from), Err(Refusal::Site), "{path}");
        }
    }

    #[test]
    fn the_form_takes_the_token_from_our_own_page_only() {
        let (host, form) = (
            ("host", "localhost"),
            ("content-type", "application/x-www-form-urlencoded"),
        );
        assert_eq!(
            ask(
                true,
                "POST",
                "/login",
                &[host, form, ("origin", "http://localhost")]
            ),
            Ok(())
        );
        let wrong = [host, form, ("origin", "http://evil.example")];
        assert_eq!(ask(true, "POST", "/login", &wrong), Err(Refusal::Proof));
        assert_eq!(
            ask(true, "POST", "/login", &[host, form]),
            Err(Refusal::Proof)
        );
    }

    #[test]
    fn the_cookie_is_out_of_reach_and_holds_no_token() {
        let cookie = rules(true).token.unwrap().cookie(true);
        for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Secure"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        assert!(!cookie.contains(TOKEN));
    }
}
