//! Files over HTTP.

/// Whether `If-None-Match` (RFC 9110, 13.1.2) has `tag`.
pub fn has_tag(known: &str, tag: &str) -> bool {
    known.split(',').any(|known| {
        let known = known.trim();
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
    })
}
