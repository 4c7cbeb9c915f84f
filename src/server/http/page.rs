//! The web page's files, and what a person at `curl` may type.

use std::fmt::Write;
use std::sync::LazyLock;

use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH,
};
use hyper::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};

use super::reply::{self, Reply};
use crate::web::{ASSETS, Asset};

/// What a page of ours may do: run its own scripts and styles, none inline, talk with this server alone, and
/// show pictures that it has made itself. Nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
img-src 'self' data: blob:; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
frame-ancestors 'none'";

/// The files with their `ETag`s.
static PAGES: LazyLock<Vec<(&Asset, HeaderValue)>> = LazyLock::new(|| {
    let tagged = ASSETS.iter().map(|asset| {
        let digest = Sha256::digest(asset.bytes);
        let mut tag = String::from("\"");
        for byte in digest.iter().take(8) {
            let _ = write!(tag, "{byte:02x}");
        }
        tag.push('"');
        (
            asset,
            HeaderValue::from_str(&tag).expect("hexadecimal digits"),
        )
    });
    tagged.collect()
});

/// The file at `path`, if it is one of the page.
pub fn find(path: &str, headers: &HeaderMap) -> Option<Reply> {
    let path = match path {
        "/" => "index.html",
        path => path
            .strip_prefix('/')
            .filter(|path| *path != "index.html")?,
    };
    let (asset, tag) = PAGES.iter().find(|(asset, _)| asset.path == path)?;
    let is_known = headers
        .get(IF_NONE_MATCH)
        .and_then(|known| known.to_str().ok())
        .is_some_and(|known| super::files::has_tag(known, tag.to_str().unwrap_or_default()));
    let mut reply = match is_known {
        true => reply::whole(StatusCode::NOT_MODIFIED, asset.content_type(), ""),
        false => reply::whole(StatusCode::OK, asset.content_type(), asset.bytes),
    };
    let headers = reply.headers_mut();
    headers.insert(ETAG, tag.clone());
    // Asked for again each time, so that a new server's page is never mixed with an old one's.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    let more = [
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
    ];
    for (name, value) in more {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    Some(reply)
}
