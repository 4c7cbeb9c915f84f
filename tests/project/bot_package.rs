//! A bot in a package of its own needs the feature `client` and little else: the Rust bots of `examples/` compile
//! there, offline, with the versions of `Cargo.lock`.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The maximum number of packages that the feature `client` may need, itself included.
const PACKAGES_MAX: usize = 40;

const MANIFEST: &str = r#"[package]
name = "bot"
version = "0.0.0"
edition = "2024"

[workspace]

[dependencies]
plainchat = { path = "PATH", default-features = false, features = ["client"] }
fastrand = "2"
futures-lite = "2"

[profile.dev]
debug = "line-tables-only"
"#;

fn cargo(folder: &Path, args: &[&str]) -> String {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let target = target.expect("it is in the target folder");
    let output = Command::new(env!("CARGO"))
        .args(args)
        .current_dir(folder)
        // With the profile of this repository, so that its compiled dependencies are reused.
        .env("CARGO_TARGET_DIR", target)
        .output()
        .expect("cargo is there");
    assert!(
        output.status.success(),
        "cargo {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn a_bot_compiles_with_the_client_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().expect("a folder");
    let bins = folder.path().join("src/bin");
    fs::create_dir_all(&bins).expect("a folder");
    for name in ["dice.rs", "watch.rs"] {
        fs::copy(root.join("examples").join(name), bins.join(name)).expect("it is there");
    }
    let manifest = MANIFEST.replace("PATH", root.to_str().expect("UTF-8"));
    fs::write(folder.path().join("Cargo.toml"), manifest).expect("a file");
    fs::copy(root.join("Cargo.lock"), folder.path().join("Cargo.lock")).expect("it is there");
    cargo(folder.path(), &["check", "--offline", "--quiet"]);
}

#[test]
fn the_client_alone_needs_few_packages() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let features = ["--no-default-features", "--features", "client"];
    let listed = ["tree", "--offline", "-e", "normal", "--prefix", "none"];
    let tree = cargo(root, &[&listed[..], &features[..]].concat());
    let mut packages: Vec<&str> = tree.lines().collect();
    packages.sort_unstable();
    packages.dedup();
    assert!(packages.len() <= PACKAGES_MAX, "{packages:#?}");
    assert!(tree.contains("async-io"), "{tree}");
    for heavy in ["rusqlite", "ratatui", "hyper", "rustls", "smol "] {
        assert!(!tree.contains(heavy), "{heavy} is not needed by a bot");
    }
}
