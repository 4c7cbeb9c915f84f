//! The fuzzer's program: the environment variable `FUZZ_TARGET` names the target that it runs.

#![no_main]

mod support;
// With a path, as the other tests have it: its own modules are then found beside it.
#[path = "targets.rs"]
mod targets;

use std::sync::LazyLock;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
    let target = targets::ALL.iter().find(|(known, _)| *known == name);
    target
        .unwrap_or_else(|| panic!("there is no target {name}"))
        .1
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET(data));
