//! `/docs`: a page that shows `/openapi.json` and can send what it shows. All of it is in this program.
//!
//! **Invariant:** the page asks nobody but this server: its policy forbids it, whatever the script wants.

use actix_web::{HttpResponse, http::header};

/// RapiDoc 9.3.8 (MIT, `assets/rapidoc-LICENSE.txt`) as its npm package has it.
const SCRIPT: &[u8] = include_bytes!("../assets/rapidoc-9.3.8.min.js.gz");
/// Where the script is; a new version has a new path, for browsers keep it.
pub(crate) const SCRIPT_PATH: &str = "/docs/rapidoc-9.3.8.js";
/// What the page may load, and from where. RapiDoc writes its styles into the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const PAGE: &str = r##"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Switchback: the HTTP API</title>
<style>html, body { margin: 0; height: 100% } rapi-doc { height: 100% }</style>
<script type="module" src="/docs/rapidoc-9.3.8.js"></script>
</head>
<body>
<rapi-doc spec-url="/openapi.json" render-style="focused" load-fonts="false" regular-font="sans-serif"
 mono-font="monospace" show-header="false" allow-server-selection="false" allow-spec-file-load="false"
 allow-spec-url-load="false" persist-auth="false" schema-style="table" schema-description-expanded="true"
 use-path-in-nav-bar="false" nav-item-spacing="compact" primary-color="#2b6cb0" theme="light">
</rapi-doc>
</body>
</html>
"##;

/// The page.
pub(crate) async fn page() -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_SECURITY_POLICY, POLICY));
    response.insert_header((header::REFERRER_POLICY, "no-referrer"));
    response.content_type("text/html; charset=utf-8").body(PAGE)
}

/// The script, packed as it is kept: every browser unpacks it.
pub(crate) async fn script() -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_ENCODING, "gzip"));
    response.insert_header((header::CACHE_CONTROL, "public, max-age=86400"));
    response.content_type("text/javascript; charset=utf-8").body(SCRIPT)
}
