//! The words of a text, as a search compares them. The index on disk, the log in memory and what is searched for all
//! go through here, so they agree.
//!
//! A word is a run of letters and digits, in lower case, without the accents of Latin and Greek, and in its
//! compatibility form, so that full-width letters and ligatures are the letters that they stand for. Scripts that put
//! no spaces between words (Chinese, Japanese, Thai), and Korean, whose words have endings, are cut into characters:
//! what is searched for is found wherever those characters follow one another. An emoji is a word.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::config::fixed::SEARCH_WORDS_MAX;

/// How many characters of a script without spaces count as one of them.
const UNSPACED_PER_WORD: usize = 4;

/// What is searched for: phrases that must all be there, each of words with a space between them. Without one, nothing
/// is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(
    /// Each with a space at both ends too, so that only whole words are found.
    Vec<String>,
);

impl Query {
    /// Reads what is searched for: each stretch between spaces is a phrase, as text, never as a query language; `None`
    /// when there are too many words.
    pub fn parse(text: &str) -> Option<Self> {
        let mut phrases = Vec::new();
        let mut count = 0;
        for stretch in text.split_whitespace() {
            let mut phrase = String::new();
            push_words(stretch, &mut phrase);
            let words = phrase.split(' ').filter_map(|word| word.chars().next());
            let (unspaced, spaced): (Vec<char>, Vec<char>) = words.partition(|c| is_unspaced(*c));
            count += spaced.len() + unspaced.len().div_ceil(UNSPACED_PER_WORD);
            if count > SEARCH_WORDS_MAX {
                return None;
            }
            if !phrase.is_empty() {
                phrases.push(format!(" {phrase} "));
            }
        }
        Some(Self(phrases))
    }

    /// Returns the phrases: words with a space between them.
    pub fn phrases(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|phrase| phrase.trim())
    }

    /// Returns whether there is nothing to be found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether a text holds all of it; `scratch` is a buffer to be used again.
    pub fn is_in(&self, text: &str, scratch: &mut String) -> bool {
        scratch.clear();
        scratch.push(' ');
        push_words(text, scratch);
        scratch.push(' ');
        !self.0.is_empty() && self.0.iter().all(|phrase| scratch.contains(&**phrase))
    }
}

/// Returns the words of a text with a space between them, as they go into the index.
pub fn spaced(text: &str) -> String {
    let mut words = String::with_capacity(text.len() + 8);
    push_words(text, &mut words);
    words
}

/// Appends the words of a text, with a space before each but the first.
fn push_words(text: &str, to: &mut String) {
    let mut is_in_word = false;
    let begin = |to: &mut String, is_in_word: &mut bool| {
        if !std::mem::replace(is_in_word, true) && !to.is_empty() && !to.ends_with(' ') {
            to.push(' ');
        }
    };
    if text.is_ascii() {
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() {
                begin(to, &mut is_in_word);
                to.push(char::from(byte.to_ascii_lowercase()));
            } else {
                is_in_word = false;
            }
        }
        return;
    }
    for c in plain(text).nfc() {
        if is_ignored(c) {
            continue;
        }
        let is_alone = is_unspaced(c) || is_emoji(c);
        // A tone mark or a vowel sign that is no letter is left out, as accents are.
        let is_letter = c.is_alphanumeric() || is_emoji(c);
        if is_alone {
            is_in_word = false;
        }
        if is_letter || (is_in_word && is_combining_mark(c)) {
            begin(to, &mut is_in_word);
            to.push(c);
            is_in_word = !is_alone;
        } else {
            is_in_word = false;
        }
    }
}

/// Decomposes compatibility forms, lowers the case, and leaves out the accents of Latin and Greek letters.
fn plain(text: &str) -> impl Iterator<Item = char> {
    let mut is_latin = false;
    let lower = text.nfkd().flat_map(char::to_lowercase);
    // What lower case makes of a letter may have an accent of its own.
    lower.nfkd().filter_map(move |c| match c {
        '\u{300}'..='\u{36f}' => (!is_latin).then_some(c),
        c => {
            is_latin = c < '\u{400}';
            Some(if c == 'ς' { 'σ' } else { c })
        }
    })
}

/// Returns whether a character stands in a word and is no part of it: soft hyphens, joiners, variation selectors, skin
/// tones, marks that enclose.
fn is_ignored(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200c}' | '\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{20d0}'..='\u{20ff}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0000}'..='\u{e01ef}')
}

/// Returns whether a character is of a script that is cut into characters.
fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' // Thai, Lao
        | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' // Burmese, Khmer
        | '\u{1100}'..='\u{11ff}' | '\u{a960}'..='\u{a97f}' | '\u{ac00}'..='\u{d7ff}' // Korean
        | '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' // Japanese
        | '\u{3100}'..='\u{318f}' | '\u{31a0}'..='\u{31bf}' // Bopomofo, Korean letters
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' // Chinese
        | '\u{20000}'..='\u{3ffff}')
}

fn is_emoji(c: char) -> bool {
    matches!(c, '\u{2300}'..='\u{23ff}' | '\u{2600}'..='\u{27bf}' | '\u{2b00}'..='\u{2bff}'
        | '\u{1f000}'..='\u{1faff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn finds(text: &str, searched: &str) -> bool {
        let query = Query::parse(searched).expect("it has few words");
        query.is_in(text, &mut String::new())
    }

    #[test]
    fn words_are_found_in_every_script() {
        for (text, searched) in [
            ("明天下午三点在北京开会", "北京"),
            ("今日は会議が東京で三時に始まります", "会議"),
            ("今日は会議が東京で三時に始まります", "東京"),
            ("ﾃｽﾄ", "テスト"),
            ("오늘 회의는 세 시에 시작합니다", "회의"),
            ("오늘 회의는 세 시에 시작합니다", "회의는"),
            ("การประชุมเริ่มบ่ายสามโมง", "ประชุม"),
            ("done 🎉", "🎉"),
            ("done🎉now", "🎉 now"),
            ("👍🏽", "👍"),
            ("👍", "👍🏽"),
            ("Ｆｕｌｌｗｉｄｔｈ", "fullwidth"),
            ("fullwidth", "Ｆｕｌｌｗｉｄｔｈ"),
            ("ﬁle", "file"),
            ("soft\u{ad}hyphen", "softhyphen"),
            ("Crème brûlée", "creme BRULEE"),
            ("creme brulee", "crème"),
            ("ΟΔΥΣΣΕΥΣ", "οδυσσευς"),
            ("Ελλάδα", "ΕΛΛΑΔΑ"),
            ("МОЙ дом", "мой"),
            ("c++ and c", "c++"),
            ("at 10.0.0.1 now", "10.0.0.1"),
            ("user@example.org", "user@example.org"),
            ("हिन्दी में", "हिन्दी"),
            ("東京2024年", "2024"),
            ("İstanbul", "istanbul"),
            ("build-42 failed", "build-42"),
        ] {
            assert!(finds(text, searched), "{searched:?} in {text:?}");
        }
        for (text, searched) in [
            ("北方の京都", "北京"),
            ("мои", "мой"),
            ("creature", "create"),
            ("10.0.0.12", "10.0.0.1"),
            ("か", "が"),
            ("anything", "?!"),
            ("anything", ""),
            ("build 42", "42 build-"),
        ] {
            let is_found = finds(text, searched);
            assert_eq!(
                is_found,
                searched == "42 build-",
                "{searched:?} in {text:?}"
            );
        }
    }

    #[test]
    fn a_search_has_so_many_words_at_most() {
        assert!(Query::parse(&["a"; SEARCH_WORDS_MAX].join(".")).is_some());
        assert!(Query::parse(&["a"; SEARCH_WORDS_MAX + 1].join(".")).is_none());
        assert!(Query::parse(&["a"; SEARCH_WORDS_MAX + 1].join(" ")).is_none());
        assert!(Query::parse("明天下午三点在北京开会").is_some());
        assert!(Query::parse(&"京".repeat(SEARCH_WORDS_MAX * UNSPACED_PER_WORD)).is_some());
        assert!(Query::parse(&"京".repeat(SEARCH_WORDS_MAX * UNSPACED_PER_WORD + 1)).is_none());
    }

    proptest! {
        /// The index's own tokenizer, which cuts at spaces and ASCII punctuation, changes nothing of it.
        #[test]
        fn the_index_gets_words_with_spaces_between_and_nothing_else(text in "\\PC{0,40}") {
            let spaced = spaced(&text);
            let is_plain = |c: char| !c.is_ascii() || c.is_ascii_lowercase() || c.is_ascii_digit();
            prop_assert!(spaced.chars().all(|c| c == ' ' || is_plain(c)), "{spaced:?}");
            prop_assert!(!spaced.contains("  ") && spaced.trim() == spaced, "{spaced:?}");
        }
    }
}
