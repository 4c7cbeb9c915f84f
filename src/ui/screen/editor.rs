//! The input line: cursor, words, history, cut and paste. Pure.

use unicode_segmentation::UnicodeSegmentation;

/// The maximum number of lines in the history.
const HISTORY_MAX: usize = 500;

/// A line with a cursor.
#[derive(Clone, Debug, Default)]
pub struct Editor {
    text: String,
    /// The position of the cursor in bytes. It is always between two graphemes.
    at: usize,
    history: Vec<String>,
    /// The index of the history line that is shown, and the text that was in the editor before.
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

    /// Empties the line. Adds the text to the history, and returns it.
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

    /// Inserts `text`. Line breaks and similar characters become spaces.
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
        // The new text may have joined a grapheme with the text around it.
        self.at = self.boundary_at_or_after(self.at);
    }

    /// Starts a new line at the cursor.
    pub fn new_line(&mut self) {
        self.text.insert(self.at, '\n');
        self.at += 1;
    }

    /// Inserts `text` with its line breaks.
    pub fn insert_lines(&mut self, text: &str) {
        for (n, line) in text.lines().enumerate() {
            if n > 0 {
                self.new_line();
            }
            self.insert(line);
        }
    }

    /// Moves the cursor one line up in a text of several lines. Returns `false` in the first line.
    pub fn line_up(&mut self) -> bool {
        let Some(end) = self.before().rfind('\n') else {
            return false;
        };
        let column = self.before().len() - end - 1;
        let start = self
            .text
            .get(..end)
            .and_then(|text| text.rfind('\n'))
            .map_or(0, |at| at + 1);
        self.at = self.text.floor_char_boundary((start + column).min(end));
        self.at = self.boundary_at_or_after(self.at).min(end);
        true
    }

    /// Moves the cursor one line down in a text of several lines. Returns `false` in the last line.
    pub fn line_down(&mut self) -> bool {
        let Some(length) = self.after().find('\n') else {
            return false;
        };
        let column = self.at - self.line_start();
        let start = self.at + length + 1;
        let rest = self.text.get(start..).unwrap_or_default();
        let end = start + rest.find('\n').unwrap_or(rest.len());
        self.at = self.text.floor_char_boundary((start + column).min(end));
        self.at = self.boundary_at_or_after(self.at).min(end);
        true
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

    /// Moves to the start of the line.
    pub fn home(&mut self) {
        self.at = self.line_start();
    }

    /// Moves to the end of the line.
    pub fn end(&mut self) {
        self.at = self.line_end();
    }

    fn line_start(&self) -> usize {
        self.before().rfind('\n').map_or(0, |at| at + 1)
    }

    fn line_end(&self) -> usize {
        let after = self.after();
        self.at + after.find('\n').unwrap_or(after.len())
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

    /// Cuts the line before the cursor.
    pub fn cut_to_start(&mut self) {
        self.cut_range(self.line_start(), self.at);
    }

    /// Cuts the line after the cursor.
    pub fn cut_to_end(&mut self) {
        self.cut_range(self.at, self.line_end());
    }

    /// Inserts what was cut last.
    pub fn paste_cut(&mut self) {
        let cut = self.cut.clone();
        self.insert(&cut);
    }

    /// Shows an older line of the history. The current text is remembered.
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

    /// Shows a newer line of the history. After the newest line, shows the remembered text.
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
    fn one_visible_character_is_edited_as_one() {
        let mut editor = typed("ae\u{301}👩‍👩‍👧b");
        editor.left();
        editor.backspace();
        assert_eq!(editor.text(), "ae\u{301}b");
        editor.left();
        editor.delete();
        assert_eq!(editor.text(), "ab");
    }

    #[test]
    fn words_are_skipped_cut_and_pasted() {
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
    fn up_and_down_move_the_cursor_between_lines() {
        let mut editor = typed("first line");
        editor.new_line();
        editor.insert("é");
        editor.new_line();
        editor.insert_lines("third\r\nfourth");
        assert_eq!(editor.text(), "first line\né\nthird\nfourth");
        assert!(editor.line_up());
        assert!(editor.before().ends_with("third"));
        assert!(editor.line_up());
        assert!(editor.before().ends_with('é'));
        assert!(editor.line_up());
        assert_eq!(editor.before(), "fi");
        assert!(!editor.line_up());
        assert!(editor.line_down() && editor.line_down() && editor.line_down());
        assert!(!editor.line_down());
        assert!(editor.before().ends_with("\nfo"), "{:?}", editor.before());
    }

    #[test]
    fn typed_lines_are_added_to_the_history() {
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
            keys in proptest::collection::vec((0..20_u8, "[aé\u{301}日👍\u{200d} ]{0,3}"), 0..60),
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
                    15 => editor.new_line(),
                    16 => drop(editor.line_up()),
                    17 => drop(editor.line_down()),
                    _ => editor.insert(&text),
                }
                prop_assert!(editor.text().is_char_boundary(editor.at()));
            }
        }
    }
}
