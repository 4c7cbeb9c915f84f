//! The web page, built into the program.
//!
//! `index.html` is served at `/`. It contains a small inline script that reports what cannot be loaded. The page
//! makes two more requests: `/style.css`, and `/app.js`, which is one script bundled from the modules in this folder.
//! `/sw.js` is loaded only in browsers that are notified while the page is closed, and the PNG icons, which
//! `packaging/icons` draws, only when the page is put on the Home Screen.
//! Each file has an `ETag`, and a `Content-Security-Policy` that allows only scripts, styles and connections of this
//! server.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::LazyLock;

/// A file of the page, as it is served.
#[derive(Debug)]
pub struct Asset {
    /// The file's path, without the leading slash.
    pub path: &'static str,
    /// The file's content.
    pub bytes: Cow<'static, [u8]>,
}

macro_rules! modules {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!($path))),*]
    };
}

/// The modules of the page. Each comes after those that it imports. No two have the same file name, even in different
/// folders.
pub static MODULES: &[(&str, &str)] = modules![
    "emoji.js",
    "wire.js",
    "away.js",
    "reactions.js",
    "text.js",
    "blocks.js",
    "refusals.js",
    "commands.js",
    "store.js",
    "tabs.js",
    "talks.js",
    "outbox.js",
    "quotes.js",
    "room.js",
    "reading.js",
    "connection.js",
    "sender.js",
    "chat.js",
    "files.js",
    "push.js",
    "sound.js",
    "view/dom.js",
    "view/picker.js",
    "view/pictures.js",
    "view/row.js",
    "view/tools.js",
    "view/messages.js",
    "view/context.js",
    "view/composer.js",
    "view/hooks.js",
    "view/people.js",
    "view/panel.js",
    "view/sidebar.js",
    "view/welcome.js",
    "app.js",
];

const INDEX: &str = include_str!("index.html");

/// Every file of the page.
pub static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let drawn = |path, bytes: &'static [u8]| Asset {
        path,
        bytes: Cow::Borrowed(bytes),
    };
    let file = |path, text: &'static str| drawn(path, text.as_bytes());
    vec![
        file("index.html", INDEX),
        file("style.css", include_str!("style.css")),
        file("icon.svg", include_str!("icon.svg")),
        drawn("icon-192.png", include_bytes!("icon-192.png")),
        drawn("icon-512.png", include_bytes!("icon-512.png")),
        file("sw.js", include_str!("sw.js")),
        file("manifest.webmanifest", include_str!("manifest.webmanifest")),
        Asset {
            path: "app.js",
            bytes: Cow::Owned(bundle(MODULES).into_bytes()),
        },
    ]
});

/// Returns the inline script of `index.html`. The policy of the page contains its digest, and so allows it.
pub fn inline_script() -> &'static str {
    let (_, rest) = INDEX
        .split_once("<script>")
        .expect("index.html has a script");
    let (script, _) = rest.split_once("</script>").expect("the script has an end");
    script
}

/// Bundles modules into one script, in which each module is a function that returns its exports. It understands
/// `import { a, b as c } from './x.js';` on a line of its own, and `export` before a declaration. Lines that contain
/// only comments are left out, because the page is loaded over slow links.
fn bundle(modules: &[(&str, &str)]) -> String {
    let mut all = String::from("'use strict';\nglobalThis.plainchat = {};\n");
    for (path, source) in modules {
        let mut exported = Vec::new();
        let _ = writeln!(all, "plainchat['{}'] = (() => {{", name(path));
        for line in source.lines().filter(|line| !is_comment(line)) {
            if let Some((names, from)) = import(line) {
                let _ = writeln!(all, "const {{{names}}} = plainchat['{}'];", name(from));
            } else if let Some(declaration) = line.strip_prefix("export ") {
                exported.push(declared(declaration));
                let _ = writeln!(all, "{declaration}");
            } else {
                let _ = writeln!(all, "{line}");
            }
        }
        let _ = writeln!(all, "return {{ {} }};\n}})();", exported.join(", "));
    }
    all
}

/// Returns whether a line is empty or only a comment. No string in a module has a line that looks like a comment.
fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty()
        || ["//", "/**", "* ", "*/"]
            .iter()
            .any(|mark| line.starts_with(mark))
}

/// Returns the names that a line imports, as a pattern for `const`, and the module from which they come.
fn import(line: &str) -> Option<(String, &str)> {
    let (names, from) = line
        .strip_prefix("import {")?
        .strip_suffix("';")?
        .split_once("} from '")?;
    Some((names.replace(" as ", ": "), from))
}

/// Returns the name that a declaration introduces.
fn declared(declaration: &str) -> &str {
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    declaration
        .split(|c| !is_name(c))
        .find(|word| !["", "async", "function", "class", "const", "let"].contains(word))
        .expect("a declaration has a name")
}

/// Returns the last part of a path.
fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl Asset {
    /// Returns the file's media type, by its extension.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// iPhones show no SVG on the Home Screen, and fill what is transparent with black.
    #[test]
    fn the_icons_of_an_installed_page_are_opaque_png_files_of_the_sizes_that_the_manifest_says() {
        let manifest = include_str!("manifest.webmanifest");
        let manifest: serde_json::Value = serde_json::from_str(manifest).expect("it is JSON");
        let icons = manifest["icons"].as_array().expect("there are icons");
        let mut sizes = Vec::new();
        for icon in icons.iter().filter(|icon| icon["type"] == "image/png") {
            let path = icon["src"].as_str().expect("a path");
            let asset = ASSETS.iter().find(|asset| asset.path == path);
            let asset = asset.unwrap_or_else(|| panic!("{path} is not served"));
            assert_eq!(asset.content_type(), "image/png");
            let head = asset.bytes.strip_prefix(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
            let head = head.expect("it is a PNG file");
            let side = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().expect("four"));
            let size = format!("{}x{}", side(0), side(4));
            assert_eq!(icon["sizes"], size.as_str());
            let (depth_and_kind, has_shades) = (&head[8..10], b"tRNS");
            assert_eq!(depth_and_kind, [4, 3], "a palette of 16 colours");
            assert!(!asset.bytes.windows(4).any(|part| part == has_shades));
            sizes.push(size);
        }
        assert_eq!(sizes, ["192x192", "512x512"]);
        assert!(INDEX.contains("<link rel=\"apple-touch-icon\" href=\"icon-192.png\">"));
    }

    #[test]
    fn modules_are_bundled_into_one_script() {
        let made = bundle(&[
            (
                "wire.js",
                "// Secrets.\n\n/** Is one.\n * Or two.\n */\nconst secret = 1;\nexport const fold = secret;\nexport async function go() {}",
            ),
            (
                "view/dom.js",
                "import { fold as f, go } from '../wire.js';\nexport class El {}\ngo(f);",
            ),
        ]);
        assert_eq!(
            made,
            "'use strict';\nglobalThis.plainchat = {};\n\
             plainchat['wire.js'] = (() => {\nconst secret = 1;\nconst fold = secret;\nasync function go() {}\nreturn { fold, go };\n})();\n\
             plainchat['dom.js'] = (() => {\nconst { fold: f, go } = plainchat['wire.js'];\nclass El {}\ngo(f);\nreturn { El };\n})();\n"
        );
    }

    #[test]
    fn every_module_follows_the_modules_that_it_imports() {
        for (at, (path, source)) in MODULES.iter().enumerate() {
            for line in source.lines().filter(|line| line.starts_with("import")) {
                let (_, from) = import(line).unwrap_or_else(|| panic!("{path}: {line}"));
                let is_there = MODULES[..at]
                    .iter()
                    .any(|(other, _)| name(other) == name(from));
                assert!(is_there, "{path} imports {from}");
            }
            assert!(
                !source.contains("\nexport {") && !source.contains("export default"),
                "{path}"
            );
            let same = MODULES
                .iter()
                .filter(|(other, _)| name(other) == name(path));
            assert_eq!(same.count(), 1, "{path}");
        }
    }
}
