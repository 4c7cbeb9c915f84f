//! The files of the web page, and the error page for an unknown host name.

use std::fmt::Write;
use std::sync::LazyLock;

use base64::Engine;
use bytes::Bytes;
use hyper::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, HeaderName,
    HeaderValue, IF_NONE_MATCH, VARY,
};
use hyper::{HeaderMap, StatusCode};
use miniz_oxide::deflate::compress_to_vec_zlib;
use sha2::{Digest, Sha256};

use super::base64_engine;
use super::reply::{self, Reply};
use crate::web::{ASSETS, Asset, inline_script};

/// The page's content security policy. The page may run its own scripts and styles, connect only to this server, and
/// show images that it has made itself. Only the inline script in `index.html` runs; it is allowed by its digest. No
/// other site may frame the page, and text cannot become HTML, even by mistake. The page's policy `worker` allows the
/// service worker, and nothing else.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let digest = base64_engine().encode(Sha256::digest(inline_script()));
    let policy = POLICY_PARTS.replace("DIGEST", &digest);
    HeaderValue::from_str(&policy).expect("printable ASCII")
});

const POLICY_PARTS: &str = "default-src 'none'; script-src 'self' 'sha256-DIGEST'; style-src 'self'; connect-src 'self'; \
img-src 'self' data: blob:; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types worker";

/// A file of the page in its two encodings, each with its `ETag`.
struct Page {
    asset: &'static Asset,
    whole: (Bytes, String),
    /// The file in the encoding of `Content-Encoding: deflate` (RFC 1950), which takes a third of the bytes.
    deflated: (Bytes, String),
}

static PAGES: LazyLock<Vec<Page>> = LazyLock::new(|| {
    let page = |asset: &'static Asset| Page {
        asset,
        whole: tagged(Bytes::from_static(&asset.bytes)),
        deflated: tagged(compress_to_vec_zlib(&asset.bytes, DEFLATE_LEVEL).into()),
    };
    ASSETS.iter().map(page).collect()
});

/// The strongest compression. It is done once, and takes some milliseconds for all files.
const DEFLATE_LEVEL: u8 = 9;

fn tagged(bytes: Bytes) -> (Bytes, String) {
    let mut tag = String::from("\"");
    for byte in Sha256::digest(&bytes).iter().take(8) {
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    (bytes, tag)
}

/// Returns whether the client accepts `deflate`; its preferences among encodings are ignored.
fn accepts_deflate(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter();
    let mut codings = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=");
        name.trim().eq_ignore_ascii_case("deflate")
            && weight.is_none_or(|weight| weight.parse().is_ok_and(|weight: f32| weight > 0.0))
    })
}

/// Returns the file at `path`, if it belongs to the page.
pub fn find(path: &str, headers: &HeaderMap) -> Option<Reply> {
    let path = match path {
        "/" => "index.html",
        path => path
            .strip_prefix('/')
            .filter(|path| *path != "index.html")?,
    };
    let page = PAGES.iter().find(|page| page.asset.path == path)?;
    let is_deflated = accepts_deflate(headers);
    let (bytes, tag) = if is_deflated {
        &page.deflated
    } else {
        &page.whole
    };
    let is_known = headers
        .get(IF_NONE_MATCH)
        .and_then(|known| known.to_str().ok())
        .is_some_and(|known| super::files::has_tag(known, tag));
    let content_type = page.asset.content_type();
    let mut reply = if is_known {
        reply::complete(StatusCode::NOT_MODIFIED, content_type, "")
    } else {
        reply::complete(StatusCode::OK, content_type, bytes.clone())
    };
    let headers = reply.headers_mut();
    headers.insert(
        ETAG,
        HeaderValue::from_str(tag).expect("hexadecimal digits"),
    );
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if is_deflated && !is_known {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("deflate"));
    }
    // The files are revalidated each time, so that those of a new server are never mixed with those of an old one.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
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

/// The inline style of the error page for an unknown host name. That page loads no files, because the server would
/// refuse those requests too.
const STYLE: &str = ":root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}\
body{max-width:36rem;margin:12vh auto;padding:0 24px}h1{font-size:22px;line-height:1.25}\
pre{font:15px/1.5 ui-monospace,monospace;padding:10px 14px;border-radius:8px;\
background:rgb(128 128 128/.15);overflow-wrap:anywhere;white-space:pre-wrap}";

/// Returns 421 with a page for people. It says what to do if the server does not know the host name.
pub fn unknown_host(name: &str) -> Reply {
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
    let name = if is_name { name } else { "NAME" };
    let body = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>Unknown host name: {name}</title><style>{STYLE}</style>\
         <h1>This chat server does not know the name {name}</h1>\
         <p>It answers only to the host names that its operator has set, so that no other site can point a name of \
         its own at it.</p>\
         <p>If you run it, start it with this name:</p><pre>chatd --host {name}</pre>\
         <p>If it is behind a proxy, the proxy must also forward the <code>Host</code> header unchanged.</p>\
         <p>If you do not run it, open it by its address, or ask the person who gave you this link.</p>\
         </html>\n"
    );
    let style = super::base64_engine().encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    let html = "text/html; charset=utf-8";
    let mut reply = reply::complete(StatusCode::MISDIRECTED_REQUEST, html, body);
    let policy = HeaderValue::from_str(&policy).expect("ASCII");
    reply.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(codings: &[&'static str], is_deflated: bool) {
        let mut headers = HeaderMap::new();
        for coding in codings {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_static(coding));
        }
        let reply = find("/style.css", &headers).expect("a file of the page");
        let found = reply.headers().get(CONTENT_ENCODING);
        assert_eq!(found.is_some(), is_deflated, "{codings:?}");
    }

    #[test]
    fn the_page_is_deflated_for_clients_that_accept_it() {
        check(&[], false);
        check(&["gzip, br"], false);
        check(&["gzip, deflate, br"], true);
        check(&["gzip", "Deflate;q=0.5"], true);
        check(&["gzip, deflate;q=0"], false);
        check(&["gzip, deflate;q=x"], false);
    }

    #[test]
    fn a_cached_encoding_is_not_sent_again() {
        let mut headers = HeaderMap::new();
        let tag = find("/", &headers).expect("the page").headers()[ETAG].clone();
        headers.insert(IF_NONE_MATCH, tag);
        let again = find("/", &headers).expect("the page");
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("deflate"));
        let other = find("/", &headers).expect("the page");
        assert_eq!(other.status(), StatusCode::OK);
    }

    #[test]
    fn the_compressed_page_is_small() {
        let bytes: usize = PAGES.iter().map(|page| page.deflated.0.len()).sum();
        assert!(bytes < 72_000, "{bytes} bytes");
    }
}
