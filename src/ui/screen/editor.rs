//! The input line: cursor, words, history, cut and paste. Pure.

use unicode_segmentation::UnicodeSegmentation;

/// How many lines the history holds.
const HISTORY_MAX: usize = 500;

/// A line with a cursor.
#[derive(Clone, Debug, Default)]
pub struct Editor {
    text: String,
    /// The cursor, always between two graphemes.
    at: usize,
    history: Vec<String>,
    /// The line of the history that is shown, and the text that was there before.
    recalled: Option<(usize, String)>,
    cut: String,
}

impl Editor {
    /// Returns the text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the newest line of the history.
    pub fn last(&self) -> Option<&str> {
        self.history.last().map(String::as_str)
    }

    /// Returns the position of the cursor in bytes.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Returns the text before the cursor.
    pub fn before(&self) -> &str {
        self.text.get(..self.at).unwrap_or_default()
    }

    /// Replaces the text, and returns the old one.
    pub fn replace(&mut self, text: String) -> String {
        self.at = text.len();
        self.recalled = None;
        std::mem::replace(&mut self.text, text)
    }

    /// Empties the line, and returns and remembers the text.
    pub fn take(&mut self) -> String {
        let line = self.replace(String::new());
        self.remember(&line);
        line
    }

    /// Adds a line to the history.
    pub fn remember(&mut self, line: &str) {
        if !line.trim().is_empty() && self.history.last().is_none_or(|last| last != line) {
            self.history.push(line.to_owned());
            if self.history.len() > HISTORY_MAX {
                self.history.remove(0);
            }
        }
    }

    /// Inserts `text`; line breaks and the like become spaces.
    pub fn insert(&mut self, text: &str) {
        let text: String = text
            .chars()
            .map(|c| {
                if matches!(c, '\n' | '\r' | '\t') {
                    ' '
                } else {
                    c
                }
            })
            .filter(|c| !crate::protocol::text::is_unsafe(*c))
            .collect();
        self.text.insert_str(self.at, &text);
        self.at += text.len();
        // The new text may have joined a grapheme with the old one.
        self.at = self.boundary_at_or_after(self.at);
    }

    /// Replaces the bytes from `start` to the cursor by `text`.
    pub fn complete(&mut self, start: usize, text: &str) {
        self.text.replace_range(start..self.at, text);
        self.at = start + text.len();
    }

    /// Moves one grapheme to the left.
    pub fn left(&mut self) {
        self.at = self
            .before()
            .grapheme_indices(true)
            .next_back()
            .map_or(0, |(at, _)| at);
    }

    /// Moves one grapheme to the right.
    pub fn right(&mut self) {
        let mut next = self.after().graphemes(true);
        self.at += next.next().map_or(0, str::len);
    }

    /// Moves to the start of a word.
    pub fn word_left(&mut self) {
        self.at = self.word_start();
    }

    /// Moves to the end of a word.
    pub fn word_right(&mut self) {
        self.at = self.word_end();
    }

    /// Moves to the start.
    pub fn home(&mut self) {
        self.at = 0;
    }

    /// Moves to the end.
    pub fn end(&mut self) {
        self.at = self.text.len();
    }

    /// Deletes the grapheme before the cursor.
    pub fn backspace(&mut self) {
        let end = self.at;
        self.left();
        self.text.replace_range(self.at..end, "");
    }

    /// Deletes the grapheme at the cursor.
    pub fn delete(&mut self) {
        let start = self.at;
        self.right();
        self.text.replace_range(start..self.at, "");
        self.at = start;
    }

    /// Cuts the word before the cursor.
    pub fn cut_word(&mut self) {
        self.cut_range(self.word_start(), self.at);
    }

    /// Cuts the word after the cursor.
    pub fn cut_word_right(&mut self) {
        self.cut_range(self.at, self.word_end());
    }

    /// Cuts everything before the cursor.
    pub fn cut_to_start(&mut self) {
        self.cut_range(0, self.at);
    }

    /// Cuts everything after the cursor.
    pub fn cut_to_end(&mut self) {
        self.cut_range(self.at, self.text.len());
    }

    /// Inserts what was cut last.
    pub fn paste_cut(&mut self) {
        let cut = self.cut.clone();
        self.insert(&cut);
    }

    /// Shows an older line of the history; the current text is kept.
    pub fn older(&mut self) {
        let at = match &self.recalled {
            Some((at, _)) => at.checked_sub(1),
            None => self.history.len().checked_sub(1),
        };
        let Some(at) = at else { return };
        let typed = match self.recalled.take() {
            Some((_, typed)) => typed,
            None => std::mem::take(&mut self.text),
        };
        self.text = self.history.get(at).cloned().unwrap_or_default();
        self.at = self.text.len();
        self.recalled = Some((at, typed));
    }

    /// Shows a newer line of the history, and after the newest one the text that was kept.
    pub fn newer(&mut self) {
        let Some((at, typed)) = self.recalled.take() else {
            return;
        };
        match self.history.get(at + 1) {
            Some(line) => {
                self.text = line.clone();
                self.recalled = Some((at + 1, typed));
            }
            None => self.text = typed,
        }
        self.at = self.text.len();
    }

    fn after(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn cut_range(&mut self, start: usize, end: usize) {
        if start < end {
            self.cut = self.text.drain(start..end).collect();
            self.at = start;
        }
    }

    fn word_start(&self) -> usize {
        let before = self.before();
        let trimmed = before.trim_end_matches(|c: char| !c.is_alphanumeric());
        let word = trimmed.rfind(|c: char| !c.is_alphanumeric());
        word.map_or(0, |at| {
            at + trimmed
                .get(at..)
                .and_then(|s| s.chars().next())
                .map_or(1, char::len_utf8)
        })
    }

    fn word_end(&self) -> usize {
        let after = self.after();
        let skipped = after.find(char::is_alphanumeric).unwrap_or(after.len());
        let word = after.get(skipped..).unwrap_or_default();
        self.at
            + skipped
            + word
                .find(|c: char| !c.is_alphanumeric())
                .unwrap_or(word.len())
    }

    fn boundary_at_or_after(&self, at: usize) -> usize {
        let mut ends = self
            .text
            .grapheme_indices(true)
            .map(|(start, g)| start + g.len());
        if at == 0 {
            0
        } else {
            ends.find(|end| *end >= at).unwrap_or(self.text.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn typed(text: &str) -> Editor {
        let mut editor = Editor::default();
        editor.insert(text);
        editor
    }

    #[test]
    fn what_people_see_as_one_character_is_one() {
        let mut editor = typed("ae\u{301}👩‍👩‍👧b");
        editor.left();
        editor.backspace();
        assert_eq!(editor.text(), "ae\u{301}b");
        editor.left();
        editor.delete();
        assert_eq!(editor.text(), "ab");
    }

    #[test]
    fn words_are_walked_and_cut_and_put_back() {
        let mut editor = typed("one two, three");
        editor.word_left();
        editor.word_left();
        editor.cut_to_end();
        assert_eq!((editor.text(), editor.at()), ("one ", 4));
        editor.paste_cut();
        editor.cut_word();
        assert_eq!(editor.text(), "one two, ");
        editor.home();
        editor.word_right();
        assert_eq!(editor.before(), "one");
        editor.cut_to_start();
        assert_eq!(editor.text(), " two, ");
    }

    #[test]
    fn history_keeps_what_was_typed() {
        let mut editor = typed("one");
        editor.take();
        editor.insert("two");
        editor.take();
        editor.insert("dra");
        editor.older();
        editor.older();
        editor.older();
        assert_eq!(editor.text(), "one");
        editor.newer();
        assert_eq!(editor.text(), "two");
        editor.newer();
        editor.insert("ft");
        assert_eq!(editor.text(), "draft");
        editor.newer();
        assert_eq!(editor.text(), "draft");
    }

    proptest! {
        #[test]
        fn whatever_is_pressed_the_cursor_is_between_characters(
            keys in proptest::collection::vec((0..16_u8, "[aé\u{301}日👍\u{200d} ]{0,3}"), 0..60),
        ) {
            let mut editor = Editor::default();
            for (key, text) in keys {
                match key {
                    0 => editor.left(),
                    1 => editor.right(),
                    2 => editor.word_left(),
                    3 => editor.word_right(),
                    4 => editor.home(),
                    5 => editor.end(),
                    6 => editor.backspace(),
                    7 => editor.delete(),
                    8 => editor.cut_word(),
                    9 => editor.cut_to_start(),
                    10 => editor.cut_to_end(),
                    11 => editor.paste_cut(),
                    12 => editor.older(),
                    13 => editor.newer(),
                    14 => drop(editor.take()),
                    _ => editor.insert(&text),
                }
                prop_assert!(editor.text().is_char_boundary(editor.at()));
            }
        }
    }
}
