//! The names of the protocol: nicks, rooms and files. A value of these types is always valid.
//!
//! This module decides which texts are names and when two names are equal. `chat` decides which connection may use a
//! name.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use precis_profiles::UsernameCaseMapped;
use precis_profiles::precis_core::profile::PrecisFastInvocation;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_security::{
    GeneralSecurityProfile, RestrictionLevel, RestrictionLevelDetection, skeleton,
};

use super::text::is_clean;

/// The maximum number of characters in a nick, and in a room's name after its `#`. Longer names would break the
/// layout of clients.
pub const NAME_CHARS_MAX: usize = 32;

/// The maximum number of bytes in a nick or in a room's name with its `#`. A character has at most four bytes.
pub const NAME_BYTES_MAX: usize = 1 + 4 * NAME_CHARS_MAX;

/// The maximum number of bytes in a file's name, which is also the limit of common file systems.
pub const FILE_NAME_BYTES_MAX: usize = 255;

/// The reason why a name is invalid; `Display` is a sentence for the user who chose the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadName(&'static str);

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for BadName {}

/// The name of a person or a bot.
///
/// A nick has 1 to 32 letters, marks, digits, `-`, `_` and `.`, and begins with a letter. It is in NFC. Its mix of
/// scripts must be "highly restrictive" or stricter (UTS 39).
///
/// ```
/// use plainchat::protocol::name::Nick;
/// assert_eq!(Nick::parse("Zoë").unwrap().as_str(), "Zoë");
/// assert!(Nick::parse("9lives").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "server", derive(serde::Serialize, serde::Deserialize))]
pub struct Nick(Name);

/// The name of a room: `#` and a name that follows the rules of a nick, but may also begin with a digit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "server", derive(serde::Serialize, serde::Deserialize))]
pub struct RoomName(Name);

/// A name as its user spelled it, and its comparison form. Clones share the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "server", derive(serde::Serialize, serde::Deserialize))]
struct Name {
    shown: Arc<str>,
    /// The comparison form (RFC 8265 UsernameCaseMapped), or `None` if it equals `shown`. Usually it does, which
    /// saves memory where thousands of nicks are held.
    casefolded: Option<Arc<str>>,
}

impl Nick {
    /// Parses a nick.
    ///
    /// # Errors
    /// When `text` is not a nick. The error says which rule is broken.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        if !text.starts_with(char::is_alphabetic) {
            return Err(BadName("a nick begins with a letter"));
        }
        Name::parse(text, "").map(Self)
    }

    /// Returns the nick as its user spelled it.
    pub fn as_str(&self) -> &str {
        &self.0.shown
    }

    /// Returns the comparison form (RFC 8265 UsernameCaseMapped). Two spellings of the same nick have equal
    /// comparison forms.
    pub fn casefolded(&self) -> &str {
        self.0.casefolded.as_deref().unwrap_or(&self.0.shown)
    }

    /// Returns what the nick looks like in lower case: the UTS 39 skeleton of the comparison form. It is the same
    /// for all spellings of the nick.
    pub fn skeleton(&self) -> Cow<'_, str> {
        look(self.casefolded())
    }

    /// Returns what this spelling looks like when it is read in lower case, if that differs from
    /// [`Self::skeleton`]: `AIice` looks like `alice`.
    pub fn spelling_skeleton(&self) -> Option<Box<str>> {
        let shown = self.as_str();
        if is_plain(shown) {
            return None;
        }
        let mut read = look(&look(shown).to_lowercase()).into_owned();
        if shown.contains(char::is_uppercase) && !shown.contains(char::is_lowercase) {
            // In a name of capitals, these digits look like letters. The tables of UTS 39 do not contain these pairs.
            read = read.replace('8', "b").replace('5', "s").replace('2', "z");
        }
        if read.chars().all(is_stroke) {
            // If all characters are strokes, nothing in the name helps to tell `i` from `l`.
            read = read.replace('i', "l");
        }
        (*read != *self.skeleton()).then(|| read.into())
    }

    /// Returns whether a person could mistake one of the two nicks for the other.
    pub fn looks_like(&self, other: &Self) -> bool {
        Look::of(self.clone()).is_like(&Look::of(other.clone()))
    }

    /// Returns whether this nick begins with a recognizable capital I, and `other` with a capital L. For example,
    /// `Ian` looks like `lan`, but not like `Lan`. A capital I before another stroke, as in `Ill`, is not
    /// recognizable.
    fn differs_from_capital_l(&self, other: &Self) -> bool {
        let mut own = self.as_str().chars();
        own.next() == Some('I')
            && own.next().is_some_and(|next| !is_stroke(next))
            && other.as_str().starts_with('L')
    }
}

/// Returns whether a spelling has only lower-case ASCII letters, digits except `0`, and `-`, `_`, `.`, and not only
/// strokes (`i`, `l`, `1`). Lower case does not change the skeleton of such a spelling. (The skeleton of `0` is a
/// capital O.)
fn is_plain(shown: &str) -> bool {
    let is_small = |c: char| matches!(c, 'a'..='z' | '1'..='9' | '-' | '_' | '.');
    shown.chars().all(is_small) && !shown.chars().all(is_stroke)
}

/// Returns whether a character is a single vertical stroke. All such characters look alike.
fn is_stroke(c: char) -> bool {
    matches!(c, 'I' | 'i' | 'l' | '1')
}

/// Returns the UTS 39 skeleton of a text in lower case. Also replaces `w` with two `v`, which the tables of UTS 39
/// leave out. Most names are ASCII; for them, a table of the skeletons of single characters is ten times as fast.
fn look(text: &str) -> Cow<'_, str> {
    static ASCII: LazyLock<AsciiLooks> = LazyLock::new(AsciiLooks::new);
    if !text.is_ascii() {
        return skeleton_with_vv(text.into()).into();
    }
    let ascii = &*ASCII;
    if text.bytes().all(|byte| ascii.is_own_skeleton(byte)) {
        return text.into();
    }
    let mut found = String::with_capacity(2 * text.len());
    found.extend(text.bytes().map(|byte| ascii.skeleton(byte)));
    found.into()
}

/// The skeletons of the ASCII characters.
struct AsciiLooks {
    skeletons: [String; 128],
    /// A bit for each character: whether the character is its own skeleton.
    own: u128,
}

impl AsciiLooks {
    fn new() -> Self {
        let skeleton_of = |at: usize| skeleton_with_vv(char::from(at as u8).into());
        let skeletons: [String; 128] = std::array::from_fn(skeleton_of);
        let is_own = |(at, skeleton): &(usize, &String)| skeleton.as_bytes() == [*at as u8];
        let own = skeletons.iter().enumerate().filter(is_own);
        let own = own.fold(0, |own, (at, _)| own | 1 << at);
        Self { skeletons, own }
    }

    fn is_own_skeleton(&self, byte: u8) -> bool {
        self.own >> (byte & 127) & 1 == 1
    }

    fn skeleton(&self, byte: u8) -> &str {
        let found = self.skeletons.get(usize::from(byte));
        found.map_or("", String::as_str)
    }
}

fn skeleton_with_vv(text: String) -> String {
    skeleton(&text).collect::<String>().replace('w', "vv")
}

/// A nick with its skeletons. It is for a nick that is compared with many others, because computing the skeletons
/// takes most of the time of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    nick: Nick,
    skeleton: Box<str>,
    spelling: Option<Box<str>>,
}

impl Look {
    /// Computes the skeletons of a nick.
    pub fn of(nick: Nick) -> Self {
        Self {
            skeleton: nick.skeleton().into(),
            spelling: nick.spelling_skeleton(),
            nick,
        }
    }

    /// Returns the nick.
    pub fn nick(&self) -> &Nick {
        &self.nick
    }

    /// Returns whether a person could mistake one of the two nicks for the other.
    pub fn is_like(&self, other: &Self) -> bool {
        if self.skeleton == other.skeleton {
            return true;
        }
        let own = [Some(&self.skeleton), self.spelling.as_ref()];
        let others = [Some(&other.skeleton), other.spelling.as_ref()];
        let mut own = own.into_iter().flatten();
        own.any(|skeleton| others.contains(&Some(skeleton)))
            && !self.nick.differs_from_capital_l(&other.nick)
            && !other.nick.differs_from_capital_l(&self.nick)
    }
}

/// A map with nicks as keys. It also finds the nicks that look like a given nick.
#[derive(Debug)]
pub struct ByLook<T> {
    /// The values, by the skeletons of the nicks.
    forms: HashMap<Box<str>, T>,
    /// The values of nicks with a spelling skeleton. The key is that skeleton.
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

    /// Returns the value of the nick that has the same skeleton as `nick`.
    pub fn get(&self, nick: &Nick) -> Option<&T> {
        if self.is_empty() {
            return None; // without computing the skeleton
        }
        self.forms.get(&*nick.skeleton())
    }

    /// Returns the values of all nicks that might look like `nick`. Use [`Nick::looks_like`] to decide.
    pub fn candidates(&self, nick: &Nick) -> impl Iterator<Item = &T> {
        let looks = || {
            [
                Some(nick.skeleton()),
                nick.spelling_skeleton()
                    .map(|look| String::from(look).into()),
            ]
        };
        let looks = (!self.is_empty()).then(looks);
        looks.into_iter().flatten().flatten().flat_map(|look| {
            let found = [self.forms.get(&*look), self.spellings.get(&*look)];
            found.into_iter().flatten()
        })
    }

    /// Adds `nick` with its value.
    pub fn insert(&mut self, nick: &Nick, value: T) {
        if let Some(look) = nick.spelling_skeleton() {
            self.spellings.entry(look).or_insert_with(|| value.clone());
        }
        self.forms.insert(nick.skeleton().into(), value);
    }

    /// Removes `nick`, if its value is `value`.
    pub fn remove(&mut self, nick: &Nick, value: &T) {
        let forget = |looks: &mut HashMap<Box<str>, T>, look: &str| {
            if let Some((look, other)) = looks.remove_entry(look)
                && other != *value
            {
                looks.insert(look, other);
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
    /// When `text` is not a room's name. The error says which rule is broken.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let name = text
            .strip_prefix('#')
            .ok_or(BadName("a room begins with #"))?;
        Self::parse_bare(name)
    }

    /// Parses a room's name with or without its `#`. In a shell, `#` begins a comment, so shell users may want to omit
    /// it.
    ///
    /// # Errors
    /// When `text` is not a room's name. The error says which rule is broken.
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

    /// Returns the name as its creator spelled it, with its `#`.
    pub fn as_str(&self) -> &str {
        &self.0.shown
    }

    /// Returns the comparison form. Two spellings of the same room have equal comparison forms.
    pub fn casefolded(&self) -> &str {
        let shown = self.0.shown.strip_prefix('#').unwrap_or_default();
        self.0.casefolded.as_deref().unwrap_or(shown)
    }
}

impl Name {
    fn parse(text: &str, sigil: &str) -> Result<Self, BadName> {
        // NFC shortens a text by a small factor at most, so a text that is far too long is rejected before it is
        // normalized.
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

/// The name of a file: 1 to 255 bytes, without a path, safe to print on a terminal, and neither `.` nor `..`. The
/// server never uses it as a path.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "server", derive(serde::Serialize, serde::Deserialize))]
pub struct FileName(Box<str>);

impl FileName {
    /// Parses the file name at the end of a path, after the last `/` or `\`.
    ///
    /// # Errors
    /// When the name at the end is not a valid file name. The error says which rule is broken.
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

    /// Returns the name that is shown for a removed file.
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
    fn valid_nicks_are_kept_as_chosen() {
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
    fn the_look_of_ascii_is_that_of_uts_39() {
        let pairs = (0..128_u8).flat_map(|a| (0..128_u8).map(move |b| [a, b]));
        for pair in pairs {
            let text = std::str::from_utf8(&pair).expect("ASCII");
            assert_eq!(look(text), skeleton_with_vv(text.into()), "{text:?}");
            if is_plain(text) {
                let read = look(text).to_lowercase();
                assert_eq!(look(&read), look(text), "{text:?}");
            }
        }
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
    fn room_names_have_a_hash_sign_and_may_begin_with_a_digit() {
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
