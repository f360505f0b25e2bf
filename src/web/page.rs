//! What the browser gets, as it is in `page/`. A view is a module there.

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

pub(super) const LOGIN: &str = include_str!("page/login.html");
pub(super) const ICON: &str = include_str!("page/icon.svg");

/// Each part's path, type and content.
pub(super) const PARTS: [(&str, &str, &str); 13] = [
    ("/", HTML, include_str!("page/index.html")),
    (
        "/page.css",
        "text/css; charset=utf-8",
        include_str!("page/page.css"),
    ),
    ("/icon.svg", "image/svg+xml", ICON),
    ("/page.js", SCRIPT, include_str!("page/page.js")),
    ("/page/api.js", SCRIPT, include_str!("page/api.js")),
    ("/page/confirm.js", SCRIPT, include_str!("page/confirm.js")),
    ("/page/detail.js", SCRIPT, include_str!("page/detail.js")),
    ("/page/dom.js", SCRIPT, include_str!("page/dom.js")),
    ("/page/folders.js", SCRIPT, include_str!("page/folders.js")),
    ("/page/job.js", SCRIPT, include_str!("page/job.js")),
    ("/page/jobs.js", SCRIPT, include_str!("page/jobs.js")),
    (
        "/page/spending.js",
        SCRIPT,
        include_str!("page/spending.js"),
    ),
    ("/page/state.js", SCRIPT, include_str!("page/state.js")),
];
