//! The width and the line breaks of text on a terminal. This module is pure.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Returns the width of `text` in columns.
pub fn width(text: &str) -> usize {
    text.graphemes(true).map(UnicodeWidthStr::width).sum()
}

/// Wraps `text` so that no line has more than `columns`. Breaks it between words, and inside a word only if the word
/// is too long. Returns the range of each line, at least one. The space at a break belongs to no line.
pub fn wrap(text: &str, columns: usize) -> Vec<Range<usize>> {
    // A narrower line could not hold a wide character.
    let columns = columns.max(2);
    let mut lines = Vec::new();
    let (mut start, mut used) = (0, 0);
    // The last possible break: where the line would end, without the space; where the next line would start; and the
    // width before that start.
    let mut last_space: Option<(usize, usize, usize)> = None;
    for (at, grapheme) in text.grapheme_indices(true) {
        let wide = grapheme.width();
        if used + wide > columns && at > start {
            match (grapheme, last_space) {
                (" ", _) => {
                    lines.push(start..at);
                    (start, used, last_space) = (at + 1, 0, None);
                    continue;
                }
                (_, Some((end, next, columns_before))) => {
                    lines.push(start..end);
                    (start, used) = (next, used - columns_before);
                    if used + wide > columns && at > start {
                        lines.push(start..at);
                        (start, used) = (at, 0);
                    }
                }
                (_, None) => {
                    lines.push(start..at);
                    (start, used) = (at, 0);
                }
            }
            last_space = None;
        }
        used += wide;
        if grapheme == " " {
            last_space = Some((at, at + 1, used));
        }
    }
    lines.push(start..text.len());
    lines
}

/// Returns as much of the beginning of `text` as fits into `columns`. If something is left out, the result ends in an
/// ellipsis.
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        used += grapheme.width();
        if used + 1 > columns {
            break;
        }
        kept.push_str(grapheme);
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// Returns the ranges of the links in `text`.
pub fn links(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(rest) = text.get(from..) {
        let starts = ["https://", "http://"]
            .iter()
            .filter_map(|scheme| rest.find(scheme));
        let Some(at) = starts.min() else { break };
        let start = from + at;
        let link = text.get(start..).unwrap_or_default();
        let end = link
            .find(|c: char| c.is_whitespace() || "<>\"".contains(c))
            .unwrap_or(link.len());
        let link = link.get(..end).unwrap_or_default();
        // Punctuation at the end does not belong to a link, and neither does a closing bracket that was opened before
        // the link.
        let mut link = link.trim_end_matches(['.', ',', ';', ':', '!', '?', '\'']);
        while link.ends_with(')') && link.matches(')').count() > link.matches('(').count() {
            link = link.strip_suffix(')').unwrap_or(link);
        }
        if link.len() > "https://".len() {
            found.push(start..start + link.len());
        }
        from = start + link.len().max(1);
        while !text.is_char_boundary(from) {
            from += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, columns: usize, expected: &[&str]) {
        let lines: Vec<&str> = wrap(text, columns).into_iter().map(|r| &text[r]).collect();
        assert_eq!(lines, expected, "{text:?} in {columns}");
    }

    #[test]
    fn lines_break_between_words() {
        check("", 10, &[""]);
        check("hello", 10, &["hello"]);
        check("hello there you", 11, &["hello there", "you"]);
        check("hello there you", 10, &["hello", "there you"]);
        check("a bcdefghijk l", 5, &["a", "bcdef", "ghijk", "l"]);
        check("日本語です", 4, &["日本", "語で", "す"]);
        check(
            "e\u{301}e\u{301}e\u{301}",
            2,
            &["e\u{301}e\u{301}", "e\u{301}"],
        );
    }

    #[test]
    fn a_cut_text_ends_in_an_ellipsis() {
        assert_eq!(cut("hello", 5), "hello");
        assert_eq!(cut("hello", 4), "hel…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("hello", 0), "");
    }

    #[test]
    fn links_are_found_without_the_punctuation_around_them() {
        let text =
            "see https://a.example/x_(y), (http://b.example) or http:// <https://c.example/é>.";
        let found: Vec<&str> = links(text).into_iter().map(|r| &text[r]).collect();
        assert_eq!(
            found,
            [
                "https://a.example/x_(y)",
                "http://b.example",
                "https://c.example/é"
            ]
        );
    }

    proptest! {
        #[test]
        fn no_line_is_too_wide_and_no_letter_is_lost(text in "[a-c é日😀 ]{0,60}", columns in 2..20_usize) {
            let lines = wrap(&text, columns);
            let mut kept = String::new();
            for range in &lines {
                prop_assert!(width(&text[range.clone()]) <= columns);
                kept.push_str(&text[range.clone()]);
            }
            let letters = |text: &str| text.chars().filter(|c| *c != ' ').collect::<String>();
            prop_assert_eq!(letters(&kept), letters(&text));
            links(&text);
            prop_assert!(width(&cut(&text, columns)) <= columns);
        }
    }
}
