//! The web page, as it is built into the program: plain files, served as they are.
//!
//! `index.html` is served at `/`, every other file at its own path under it (`style.css` at `/style.css`,
//! `view/room.js` at `/view/room.js`), with an `ETag` and a `Content-Security-Policy` that allows scripts,
//! styles and connections of this server alone, nothing inline, and pictures also as `data:` and `blob:`.

/// A file of the page.
#[derive(Debug)]
pub struct Asset {
    /// Its path in this folder.
    pub path: &'static str,
    /// What is in it.
    pub bytes: &'static [u8],
}

macro_rules! assets {
    ($($path:literal),* $(,)?) => {
        &[$(Asset { path: $path, bytes: include_bytes!($path) }),*]
    };
}

/// Every file of the page.
pub static ASSETS: &[Asset] = assets![
    "index.html",
    "style.css",
    "icon.svg",
    "app.js",
    "chat.js",
    "commands.js",
    "connection.js",
    "files.js",
    "outbox.js",
    "refusals.js",
    "room.js",
    "store.js",
    "text.js",
    "view/composer.js",
    "view/dom.js",
    "view/messages.js",
    "view/panel.js",
    "view/sidebar.js",
    "view/welcome.js",
    "wire.js",
];

impl Asset {
    /// Its media type, by the end of its name.
    pub fn content_type(&self) -> &'static str {
        match self.path.rsplit_once('.').map(|(_, end)| end) {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("svg") => "image/svg+xml",
            Some("png") => "image/png",
            Some("webmanifest") => "application/manifest+json",
            _ => "application/octet-stream",
        }
    }
}
