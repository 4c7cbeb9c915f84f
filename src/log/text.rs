//! Splits text into words for the search. The index on disk, the log in memory and the queries all use this module,
//! so they agree.
//!
//! A word is a run of letters and digits. It is converted to lower case and compatibility form, and Latin and Greek
//! letters lose their accents, so that, for example, full-width letters and ligatures match ordinary letters. Scripts
//! without spaces between words (Chinese, Japanese, Thai) are split into characters, and so is Korean, whose words
//! have endings. A query in such a script matches wherever its characters follow one another. An emoji is a word.

use std::fmt;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::config::fixed::SEARCH_WORDS_MAX;
use crate::model::casefolded;
use crate::protocol::{EventId, Nick};

/// How many characters of a script without spaces count as one word of a query.
const UNSPACED_PER_WORD: usize = 4;

/// A search query: phrases that must all occur in the text, and optionally an author and an upper bound for ids. A
/// phrase is a sequence of adjacent words. A query without phrases matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The phrases. Each also begins and ends with a space, so that only whole words match.
    phrases: Vec<String>,
    /// The comparison form of the nick whose events are searched.
    from: Option<String>,
    /// Only events with lower ids are searched.
    before: Option<EventId>,
}

/// The reason why a query is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadQuery {
    /// The query has too many words.
    TooLong,
    /// The text after `from:` is not a nick, or the text after `before:` is not an id.
    BadFilter,
    /// The query has no words besides `from:` and `before:`.
    NoWords,
}

impl fmt::Display for BadQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(
                f,
                "a search has at most {SEARCH_WORDS_MAX} words; use fewer"
            ),
            Self::BadFilter => {
                f.write_str("usage: SEARCH [<room, * or @>] [from:<nick>] [before:<id>] <words>")
            }
            Self::NoWords => f.write_str("write words after from: and before:"),
        }
    }
}

impl Query {
    /// Parses a query. It may begin with `from:<nick>` and `before:<id>`. The rest is split at spaces, and each part is
    /// a phrase. No character in a phrase has a special meaning.
    ///
    /// # Errors
    /// When the query is invalid.
    pub fn parse(text: &str) -> Result<Self, BadQuery> {
        let mut query = Self::default();
        let mut count = 0;
        for stretch in text.split_whitespace() {
            if query.phrases.is_empty()
                && let Some(nick) = stretch.strip_prefix("from:")
            {
                let nick = Nick::parse(nick).map_err(|_| BadQuery::BadFilter)?;
                query.from = Some(nick.casefolded().to_owned());
                continue;
            }
            if query.phrases.is_empty()
                && let Some(id) = stretch.strip_prefix("before:")
            {
                query.before = Some(EventId::parse(id).ok_or(BadQuery::BadFilter)?);
                continue;
            }
            let mut phrase = String::new();
            push_words(stretch, &mut phrase);
            let words = phrase.split(' ').filter_map(|word| word.chars().next());
            let (unspaced, spaced): (Vec<char>, Vec<char>) = words.partition(|c| is_unspaced(*c));
            count += spaced.len() + unspaced.len().div_ceil(UNSPACED_PER_WORD);
            if count > SEARCH_WORDS_MAX {
                return Err(BadQuery::TooLong);
            }
            if !phrase.is_empty() {
                query.phrases.push(format!(" {phrase} "));
            }
        }
        if query.phrases.is_empty() && (query.from.is_some() || query.before.is_some()) {
            return Err(BadQuery::NoWords);
        }
        Ok(query)
    }

    /// Returns the id before which events are searched; `None` if all events are.
    pub fn before(&self) -> Option<EventId> {
        self.before
    }

    /// Returns whether the events of `nick` are searched.
    pub fn is_from(&self, nick: &str) -> bool {
        self.from
            .as_ref()
            .is_none_or(|from| *from == casefolded(nick))
    }

    /// Returns the phrases. The words of a phrase are separated by spaces.
    pub fn phrases(&self) -> impl Iterator<Item = &str> {
        self.phrases.iter().map(|phrase| phrase.trim())
    }

    /// Returns whether the query has no words.
    pub fn is_empty(&self) -> bool {
        self.phrases.is_empty()
    }

    /// Returns whether a text contains every phrase; `scratch` is a reusable buffer.
    pub fn is_in(&self, text: &str, scratch: &mut String) -> bool {
        scratch.clear();
        scratch.push(' ');
        push_words(text, scratch);
        scratch.push(' ');
        !self.phrases.is_empty()
            && self
                .phrases
                .iter()
                .all(|phrase| scratch.contains(&**phrase))
    }
}

/// Returns the words of a text separated by spaces, as the index stores them.
pub fn spaced(text: &str) -> String {
    let mut words = String::with_capacity(text.len() + 8);
    push_words(text, &mut words);
    words
}

/// Appends the words of a text, separated by spaces.
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
        // Tone marks and vowel signs that are not letters are left out, like accents.
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

/// Decomposes compatibility forms, converts to lower case, and drops the accents of Latin and Greek
/// letters.
fn plain(text: &str) -> impl Iterator<Item = char> {
    let mut is_latin = false;
    let lower = text.nfkd().flat_map(char::to_lowercase);
    // Lower-casing can produce an accented letter, so the result is decomposed again.
    lower.nfkd().filter_map(move |c| match c {
        '\u{300}'..='\u{36f}' => (!is_latin).then_some(c),
        c => {
            is_latin = c < '\u{400}';
            Some(if c == 'ς' { 'σ' } else { c })
        }
    })
}

/// Returns whether a character is ignored wherever it occurs in a word: soft hyphens, joiners, variation selectors,
/// skin tones and enclosing marks.
fn is_ignored(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200c}' | '\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{20d0}'..='\u{20ff}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0000}'..='\u{e01ef}')
}

/// Returns whether a character belongs to a script that is split into characters.
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
    fn the_words_of_a_search_are_limited() {
        assert!(Query::parse(&["a"; SEARCH_WORDS_MAX].join(".")).is_ok());
        assert!(Query::parse(&["a"; SEARCH_WORDS_MAX + 1].join(".")).is_err());
        assert!(Query::parse(&["a"; SEARCH_WORDS_MAX + 1].join(" ")).is_err());
        assert!(Query::parse("明天下午三点在北京开会").is_ok());
        assert!(Query::parse(&"京".repeat(SEARCH_WORDS_MAX * UNSPACED_PER_WORD)).is_ok());
        assert!(Query::parse(&"京".repeat(SEARCH_WORDS_MAX * UNSPACED_PER_WORD + 1)).is_err());
    }

    #[test]
    fn filters_are_parsed_only_before_the_words() {
        let query = Query::parse("before:17 from:Ann tea from:bob").unwrap();
        assert!(query.is_from("ANN") && !query.is_from("bob"));
        assert_eq!(query.before().map(EventId::get), Some(17));
        assert_eq!(query.phrases().collect::<Vec<_>>(), ["tea", "from bob"]);
        for (text, why) in [
            ("from: tea", BadQuery::BadFilter),
            ("before:x tea", BadQuery::BadFilter),
            ("from:ann", BadQuery::NoWords),
        ] {
            assert_eq!(Query::parse(text), Err(why));
        }
    }

    proptest! {
        /// The tokenizer of the index splits at spaces and ASCII punctuation, so the words themselves must contain
        /// neither.
        #[test]
        fn the_index_receives_words_separated_by_spaces_and_nothing_else(text in "\\PC{0,40}") {
            let spaced = spaced(&text);
            let is_plain = |c: char| !c.is_ascii() || c.is_ascii_lowercase() || c.is_ascii_digit();
            prop_assert!(spaced.chars().all(|c| c == ' ' || is_plain(c)), "{spaced:?}");
            prop_assert!(!spaced.contains("  ") && spaced.trim() == spaced, "{spaced:?}");
        }
    }
}
