//! The emoji that can be written by a name. Pure.

/// The emoji that a list offers, with their names.
pub const OFFERED: &[(&str, &str)] = &[
    ("👍", "+1"),
    ("👀", "eyes"),
    ("✅", "done"),
    ("🎉", "tada"),
    ("😄", "smile"),
    ("🙏", "thanks"),
    ("🚀", "rocket"),
    ("🔥", "fire"),
    ("💡", "idea"),
    ("❓", "question"),
    ("👎", "-1"),
    ("😕", "confused"),
];

/// Other names.
const NAMES: &[(&str, &str)] = &[
    ("👍", "thumbsup"),
    ("👍", "yes"),
    ("👎", "thumbsdown"),
    ("👎", "no"),
    ("✅", "check"),
    ("✅", "ok"),
    ("😄", "grin"),
    ("😂", "joy"),
    ("😢", "cry"),
    ("😮", "wow"),
    ("🙏", "pray"),
    ("❌", "x"),
    ("💯", "100"),
    ("👋", "wave"),
    ("💚", "heart"),
    ("🐛", "bug"),
];

/// Returns the emoji called `word`, with or without colons. Returns any other word unchanged.
pub fn named(word: &str) -> &str {
    let name = word.trim_matches(':').to_lowercase();
    let mut all = OFFERED.iter().chain(NAMES);
    all.find(|(_, known)| *known == name)
        .map_or(word, |(emoji, _)| emoji)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_emoji_are_both_understood() {
        assert_eq!(named("+1"), "👍");
        assert_eq!(named(":Tada:"), "🎉");
        assert_eq!(named("🥝"), "🥝");
        assert_eq!(named("kiwi"), "kiwi");
    }
}
