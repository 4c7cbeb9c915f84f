//! The names of the protocol: nicks, rooms and files. A value of these types is always valid.
//!
//! This module decides what a name is and when two names are equal; `chat` decides who holds
//! which.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use precis_profiles::UsernameCaseMapped;
use precis_profiles::precis_core::profile::PrecisFastInvocation;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_security::{
    GeneralSecurityProfile, RestrictionLevel, RestrictionLevelDetection, skeleton,
};

use super::text::is_clean;

/// The most characters in a nick, and in a room's name after its `#`: longer ones break the layout of
/// clients.
pub const NAME_CHARS_MAX: usize = 32;

/// The most bytes in a file's name: what file systems take.
pub const FILE_NAME_BYTES_MAX: usize = 255;

/// Why a name is invalid; `Display` is a sentence for the user who chose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadName(&'static str);

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for BadName {}

/// The name of a person or a bot: 1 to 32 letters, marks, digits, `-`, `_` and `.`, beginning with a
/// letter, in NFC, and with a mix of scripts that is at most "highly restrictive" (UTS 39).
///
/// ```
/// use plainchat::protocol::name::Nick;
/// assert_eq!(Nick::parse("Zoë").unwrap().as_str(), "Zoë");
/// assert!(Nick::parse("9lives").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Nick(Name);

/// The name of a room: `#` and a name like a nick's, which may also begin with a digit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RoomName(Name);

/// A name as it was chosen, and its comparison form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Name {
    shown: Box<str>,
    /// The comparison form (RFC 8265 UsernameCaseMapped), or `None` if it equals `shown`: it usually does,
    /// and thousands of nicks are held.
    casefolded: Option<Box<str>>,
}

impl Nick {
    /// Parses a nick.
    ///
    /// # Errors
    /// Says which rule is broken.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        if !text.starts_with(char::is_alphabetic) {
            return Err(BadName("a nick begins with a letter"));
        }
        Name::parse(text, "").map(Self)
    }

    /// Returns the nick as it was chosen.
    pub fn as_str(&self) -> &str {
        &self.0.shown
    }

    /// Returns the comparison form, which is equal for two spellings of one nick (RFC 8265
    /// UsernameCaseMapped).
    pub fn casefolded(&self) -> &str {
        self.0.casefolded.as_deref().unwrap_or(&self.0.shown)
    }

    /// Returns how all spellings of the nick look in small letters: the UTS 39 skeleton of the comparison
    /// form.
    pub fn skeleton(&self) -> Box<str> {
        look(self.casefolded())
    }

    /// Returns how the spelling reads in small letters, if that differs: `AIice` reads `alice`.
    pub fn spelling_skeleton(&self) -> Option<Box<str>> {
        let shown = self.as_str();
        let read = skeleton(shown).collect::<String>().to_lowercase();
        let mut read = look(&read).into_string();
        if shown.contains(char::is_uppercase) && !shown.contains(char::is_lowercase) {
            // Among capitals these digits look like letters; the tables of UTS 39 leave that out.
            read = read.replace('8', "b").replace('5', "s").replace('2', "z");
        }
        if read.chars().all(is_stroke) {
            // Nothing else in the name helps to distinguish one stroke from another.
            read = read.replace('i', "l");
        }
        (*read != *self.skeleton()).then(|| read.into())
    }

    /// Returns whether a person could mistake one for the other.
    pub fn looks_like(&self, other: &Self) -> bool {
        let (own, others) = (self.skeleton(), other.skeleton());
        if own == others {
            return true;
        }
        let own = [Some(own), self.spelling_skeleton()];
        let others = [Some(others), other.spelling_skeleton()];
        let mut own = own.into_iter().flatten();
        own.any(|skeleton| others.contains(&Some(skeleton)))
            && !self.differs_from_capital_l(other)
            && !other.differs_from_capital_l(self)
    }

    /// Returns whether this begins with a capital I that is recognizable as one, where `other` has a
    /// capital L: `Ian` looks like `lan`, but not like `Lan`. Before another stroke, as in `Ill`, a capital
    /// I is not recognizable.
    fn differs_from_capital_l(&self, other: &Self) -> bool {
        let mut own = self.as_str().chars();
        own.next() == Some('I')
            && own.next().is_some_and(|next| !is_stroke(next))
            && other.as_str().starts_with('L')
    }
}

/// Returns whether a character is a single stroke, which looks like all others that are.
fn is_stroke(c: char) -> bool {
    matches!(c, 'I' | 'i' | 'l' | '1')
}

/// Returns the UTS 39 skeleton of a text in small letters; `w` becomes two `v`, which the tables of UTS 39
/// leave out.
fn look(text: &str) -> Box<str> {
    let skeleton: String = skeleton(text).collect();
    skeleton.replace('w', "vv").into()
}

/// A map of nicks, in which look-alikes of a nick can be found too.
#[derive(Debug)]
pub struct ByLook<T> {
    /// Values by the skeletons of the comparison forms.
    forms: HashMap<Box<str>, T>,
    /// Values by the skeletons of the spellings, for nicks where that differs.
    spellings: HashMap<Box<str>, T>,
}

impl<T> Default for ByLook<T> {
    fn default() -> Self {
        Self {
            forms: HashMap::new(),
            spellings: HashMap::new(),
        }
    }
}

impl<T: Clone + PartialEq> ByLook<T> {
    /// Returns the number of nicks.
    pub fn len(&self) -> usize {
        self.forms.len()
    }

    /// Returns whether there are no nicks.
    pub fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    /// Returns the values of all nicks.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.forms.values()
    }

    /// Returns the value of the nick with the skeleton of `nick`.
    pub fn get(&self, nick: &Nick) -> Option<&T> {
        self.forms.get(&nick.skeleton())
    }

    /// Returns the values of nicks that `nick` may look like; [`Nick::looks_like`] decides whether it does.
    pub fn candidates(&self, nick: &Nick) -> impl Iterator<Item = &T> {
        let looks = [Some(nick.skeleton()), nick.spelling_skeleton()];
        let looks = looks.into_iter().flatten();
        looks.flat_map(|look| {
            let found = [self.forms.get(&look), self.spellings.get(&look)];
            found.into_iter().flatten()
        })
    }

    /// Adds `nick` with its value.
    pub fn insert(&mut self, nick: &Nick, value: T) {
        if let Some(look) = nick.spelling_skeleton() {
            self.spellings.entry(look).or_insert_with(|| value.clone());
        }
        self.forms.insert(nick.skeleton(), value);
    }

    /// Removes `nick` with this value.
    pub fn remove(&mut self, nick: &Nick, value: &T) {
        let forget = |looks: &mut HashMap<Box<str>, T>, look: &str| {
            if looks.get(look) == Some(value) {
                looks.remove(look);
            }
        };
        forget(&mut self.forms, &nick.skeleton());
        if let Some(look) = nick.spelling_skeleton() {
            forget(&mut self.spellings, &look);
        }
    }
}

impl RoomName {
    /// Parses a room's name with its `#`.
    ///
    /// # Errors
    /// Says which rule is broken.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let name = text
            .strip_prefix('#')
            .ok_or(BadName("a room begins with #"))?;
        Self::parse_bare(name)
    }

    /// Parses a room's name with or without its `#`, which begins a comment in a shell.
    ///
    /// # Errors
    /// Says which rule is broken.
    pub fn parse_loose(text: &str) -> Result<Self, BadName> {
        Self::parse_bare(text.strip_prefix('#').unwrap_or(text))
    }

    fn parse_bare(name: &str) -> Result<Self, BadName> {
        if !name.starts_with(char::is_alphanumeric) {
            return Err(BadName(
                "a room is # and a name that begins with a letter or digit",
            ));
        }
        Name::parse(name, "#").map(Self)
    }

    /// Returns the name as it was chosen, with its `#`.
    pub fn as_str(&self) -> &str {
        &self.0.shown
    }

    /// Returns the comparison form, which is equal for two spellings of one room.
    pub fn casefolded(&self) -> &str {
        let shown = self.0.shown.strip_prefix('#').unwrap_or_default();
        self.0.casefolded.as_deref().unwrap_or(shown)
    }
}

impl Name {
    fn parse(text: &str, sigil: &str) -> Result<Self, BadName> {
        // NFC never makes a text more than a few times shorter, so a text that is far too long is rejected
        // without the work.
        if text.len() > NAME_CHARS_MAX * 16 {
            return Err(BadName("a name has at most 32 characters"));
        }
        if !text.chars().all(is_name_char) {
            return Err(BadName(
                "a name can only contain letters, digits, -, _ and .",
            ));
        }
        if text.is_ascii() {
            if text.len() > NAME_CHARS_MAX {
                return Err(BadName("a name has at most 32 characters"));
            }
            let form = text.to_ascii_lowercase();
            return Ok(Self {
                shown: format!("{sigil}{text}").into(),
                casefolded: (form != text).then(|| form.into()),
            });
        }
        let name: String = text.nfc().collect();
        if name.chars().count() > NAME_CHARS_MAX {
            return Err(BadName("a name has at most 32 characters"));
        }
        if !name.chars().all(GeneralSecurityProfile::identifier_allowed) {
            return Err(BadName(
                "a name cannot contain characters that Unicode does not recommend for names (UTS 39)",
            ));
        }
        if name.detect_restriction_level() > RestrictionLevel::HighlyRestrictive {
            return Err(BadName("a name cannot mix scripts that look alike"));
        }
        let form: Cow<'_, str> = UsernameCaseMapped::enforce(name.as_str())
            .map_err(|_| BadName("a name cannot contain characters that RFC 8265 excludes"))?;
        Ok(Self {
            casefolded: (form != name).then(|| form.clone().into()),
            shown: format!("{sigil}{name}").into(),
        })
    }
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.') || is_combining_mark(c)
}

impl fmt::Display for Nick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A file's name: the part after the last `/` or `\` of a path, 1 to 255 bytes, safe on a terminal, neither
/// `.` nor `..`. The server never uses it as a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName(Box<str>);

impl FileName {
    /// Parses the file name at the end of a path.
    ///
    /// # Errors
    /// Says which rule is broken.
    ///
    /// ```
    /// use plainchat::protocol::name::FileName;
    /// assert_eq!(FileName::parse("../../etc/my notes.txt").unwrap().as_str(), "my notes.txt");
    /// ```
    pub fn parse(path: &str) -> Result<Self, BadName> {
        let name = path.rsplit(['/', '\\']).next().unwrap_or_default().trim();
        match name {
            "" | "." | ".." => Err(BadName("a file needs a name")),
            _ if name.len() > FILE_NAME_BYTES_MAX => {
                Err(BadName("a file's name has at most 255 bytes"))
            }
            _ if !is_clean(name) || name.contains('\t') => {
                Err(BadName("a file's name cannot contain control characters"))
            }
            _ => Ok(Self(name.into())),
        }
    }

    /// Returns the name that replaces the name of a removed file.
    pub fn redacted() -> Self {
        Self("-".into())
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nick(text: &str) -> Nick {
        Nick::parse(text).unwrap_or_else(|e| panic!("{text:?}: {e}"))
    }

    #[test]
    fn good_nicks_are_kept_as_chosen() {
        for good in [
            "a",
            "Bob",
            "bob-2",
            "x_y.z",
            "Zoë",
            "Дмитрий",
            "山田",
            "हिन्दी",
            "نور",
            "日本ab",
        ] {
            assert_eq!(nick(good).as_str(), good);
        }
        assert_eq!(nick("Zoe\u{308}").as_str(), "Zo\u{eb}", "brought to NFC");
        assert_eq!(nick(&"x".repeat(32)).as_str().len(), 32);
    }

    #[test]
    fn bad_nicks_are_refused() {
        let long = "x".repeat(33);
        for bad in [
            "",
            "1a",
            "-a",
            ".",
            "#a",
            "a b",
            "a\tb",
            "a\u{202e}b",
            "a!",
            "10.0.0.1",
            "a/b",
            "👍",
            "a\u{200b}b",
            "раypal", /* Cyrillic and Latin */
            &long,
        ] {
            assert!(Nick::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn spellings_and_look_alikes_of_a_nick_are_found() {
        assert_eq!(nick("Alice").casefolded(), nick("aLICE").casefolded());
        assert_eq!(nick("Straße").casefolded(), nick("straße").casefolded());
        assert_eq!(nick("paul").skeleton(), nick("pau1").skeleton());
        assert_eq!(nick("сосо").skeleton(), nick("coco").skeleton(), "Cyrillic");
        assert_ne!(nick("alice").skeleton(), nick("bob").skeleton());
    }

    #[test]
    fn a_spelling_that_reads_as_another_nick_shares_a_skeleton_with_it() {
        let meet = |a: &str, b: &str| nick(a).looks_like(&nick(b));
        for (fake, real) in [
            ("AIice", "alice"),
            ("AIice", "Alice"),
            ("aIice", "ALICE"),
            ("pauI", "paul"),
            ("lllE", "Ille"),
            ("cIay", "clay"),
            ("B0B", "BOB"),
            ("b0b", "bob"),
            ("\u{412}\u{41e}\u{412}", "BOB"),
            ("\u{412}\u{41e}\u{412}", "bob"),
            ("vvalt", "walt"),
            ("vvalt", "Walt"),
            ("rnodem", "Modem"),
            ("AL1CE", "ALICE"),
            ("BO8", "BOB"),
            ("BO8", "bob"),
            ("BO5S", "BOSS"),
            ("III", "ill"),
            ("III", "lll"),
            ("lll", "ill"),
            ("Ill", "lll"),
            ("Ian", "lan"),
        ] {
            assert!(meet(fake, real) && meet(real, fake), "{fake} {real}");
        }
        for (one, other) in [
            ("alice", "alina"),
            ("Ian", "Jan"),
            ("ian", "lan"),
            ("Ian", "Lan"),
            ("IAN", "Lan"),
            ("Ian", "LAN"),
            ("Bob", "Rob"),
            ("bo8", "bob"),
            ("Bo8", "Bob"),
            ("bob2", "bobz"),
            ("will", "wiii"),
        ] {
            assert!(!meet(one, other), "{one} {other}");
        }
        for spelling in ["bob", "Bob", "BOB"] {
            assert!(meet(spelling, "bob"));
        }
    }

    #[test]
    fn an_invalid_name_is_refused_with_the_reason() {
        let why = |text: &str| Nick::parse(text).expect_err("it is none").to_string();
        assert!(why("x\u{b2}").contains("does not recommend"));
        assert!(why("ra\u{443}pal").contains("mix"));
    }

    #[test]
    fn rooms_have_a_mark_and_may_begin_with_a_digit() {
        assert_eq!(RoomName::parse("#3b").unwrap().as_str(), "#3b");
        assert_eq!(RoomName::parse_loose("Ops").unwrap().as_str(), "#Ops");
        assert_eq!(RoomName::parse("#Ops").unwrap().casefolded(), "ops");
        for bad in ["ops", "#", "##a", "#-a", "#a b", "#a#"] {
            assert!(RoomName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn file_names_lose_their_folders() {
        for (path, name) in [
            ("a.txt", "a.txt"),
            ("/etc/passwd", "passwd"),
            (r"C:\docs\a b.txt", "a b.txt"),
            ("..a", "..a"),
        ] {
            assert_eq!(FileName::parse(path).unwrap().as_str(), name);
        }
        let long = "x".repeat(256);
        for bad in ["", ".", "..", "a/", "a/..", "a\u{1b}b", "a\u{202e}b", &long] {
            assert!(FileName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
