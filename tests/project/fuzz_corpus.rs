//! The fuzz targets, over everything in their saved corpus: seeds by hand, and each find since.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::{Path, PathBuf};

/// Runs a target over its corpus.
fn check(name: &str) {
    let (_, target) = targets::ALL
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a target");
    let files = std::fs::read_dir(corpus().join(name)).expect("each target has a folder");
    let mut ran = 0;
    for file in files {
        let path = file.expect("a readable folder").path();
        println!("{}", path.display()); // shown if it fails
        target(&std::fs::read(&path).expect("a readable file"));
        ran += 1;
    }
    assert!(ran > 0, "the corpus of {name} is empty");
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

/// Declares a test for each target, so that they run side by side, and one that none is missing.
macro_rules! targets {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name));
            }
        )*

        #[test]
        fn each_target_has_a_test_and_a_folder() {
            let tested = [$(stringify!($name)),*];
            let known: Vec<&str> = targets::ALL.iter().map(|(name, _)| *name).collect();
            assert_eq!(known, tested);
            let folders = std::fs::read_dir(corpus()).expect("the corpus");
            let name = |folder: std::io::Result<std::fs::DirEntry>| {
                let name = folder.expect("a readable folder").file_name();
                name.into_string().expect("UTF-8")
            };
            let mut folders: Vec<String> = folders.map(name).collect();
            folders.sort();
            assert_eq!(folders, tested);
        }
    };
}

targets!(frame hook import irc line port request server_line session settings);
