//! Converts text between IRC and plainchat: removes formatting and CTCP, and cuts long texts into pieces.

use crate::protocol::text::clean;

/// The text of a `PRIVMSG`: a message, an action, or a request between IRC programs.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// A message.
    Text(String),
    /// An action (`/me`).
    Action(String),
    /// Any other CTCP request. It is dropped, because anybody could use it to make other clients answer.
    Ctcp,
}

impl Said {
    /// Parses the text of a `PRIVMSG`.
    pub fn parse(text: &str) -> Self {
        let Some(ctcp) = text.strip_prefix('\u{1}') else {
            return Self::Text(plain(text));
        };
        let ctcp = ctcp.strip_suffix('\u{1}').unwrap_or(ctcp);
        match ctcp.split_once(' ') {
            Some((word, action)) if word.eq_ignore_ascii_case("ACTION") => {
                Self::Action(plain(action))
            }
            _ => Self::Ctcp,
        }
    }
}

/// Removes bold, colors (with their digits) and other formatting, and all control characters.
pub fn plain(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
        match c {
            '\u{2}' | '\u{11}' | '\u{16}' | '\u{1d}' | '\u{1e}' | '\u{1f}' | '\u{f}' => {}
            '\u{3}' => rest = without_colors(rest, 2, |c| c.is_ascii_digit()),
            '\u{4}' => rest = without_colors(rest, 6, |c| c.is_ascii_hexdigit()),
            c => kept.push(c),
        }
    }
    clean(&kept).into_owned()
}

/// Skips one color of at most `most` digits, or two colors separated by a comma. Returns the rest.
fn without_colors(text: &str, most: usize, is_digit: fn(char) -> bool) -> &str {
    let digits = |text: &str| text.chars().take(most).take_while(|c| is_digit(*c)).count();
    let first = digits(text);
    let rest = text.get(first..).unwrap_or_default();
    if let Some(second) = rest.strip_prefix(',')
        && first > 0
        && digits(second) > 0
    {
        return second.get(digits(second)..).unwrap_or_default();
    }
    rest
}

/// Cuts a text into pieces of at most `most` bytes. It cuts after a space if there is one, and otherwise between
/// characters.
pub fn pieces(text: &str, most: usize) -> Vec<&str> {
    // A character always fits, so that no piece is empty.
    let most = most.max(4);
    let mut pieces = Vec::new();
    let mut rest = text;
    while rest.len() > most {
        let end = rest.floor_char_boundary(most);
        let space = rest.get(..end).and_then(|piece| piece.rfind(' '));
        let end = space.map_or(end, |space| space + 1);
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    if !rest.is_empty() || pieces.is_empty() {
        pieces.push(rest);
    }
    pieces
}

/// Returns whether a text matches a mask, in which `*` matches any text and `?` any character.
pub fn fits(mask: &[char], text: &[char]) -> bool {
    let (mut at, mut place) = (0, 0);
    // The positions at which to try again if the text after the last `*` does not match.
    let mut retry: Option<(usize, usize)> = None;
    while place < text.len() {
        match (mask.get(at), text.get(place)) {
            (Some('*'), _) => {
                retry = Some((at + 1, place));
                at += 1;
            }
            (Some(m), Some(t)) if *m == '?' || m == t => {
                at += 1;
                place += 1;
            }
            _ => {
                let Some((after, from)) = retry else {
                    return false;
                };
                retry = Some((after, from + 1));
                (at, place) = (after, from + 1);
            }
        }
    }
    mask.get(at..).unwrap_or_default().iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn formatting_is_removed_with_its_digits() {
        assert_eq!(plain("\u{2}bold\u{2} \u{3}04,12red\u{3} 5"), "bold red 5");
        assert_eq!(plain("\u{3}123"), "3");
        assert_eq!(plain("\u{3},5"), ",5");
        assert_eq!(plain("\u{3}5,x"), ",x");
        assert_eq!(plain("\u{4}ff0000red\u{f}\u{1f}"), "red");
        assert_eq!(plain("\u{1b}[31mx\u{7}é"), "xé");
    }

    #[test]
    fn an_action_is_distinguished_from_other_ctcp() {
        let action = |text: &str| Said::Action(text.into());
        assert_eq!(Said::parse("\u{1}ACTION waves\u{1}"), action("waves"));
        assert_eq!(Said::parse("\u{1}action waves"), action("waves"));
        assert_eq!(Said::parse("\u{1}VERSION\u{1}"), Said::Ctcp);
        assert_eq!(Said::parse("\u{1}"), Said::Ctcp);
        assert_eq!(Said::parse("hi"), Said::Text("hi".into()));
    }

    #[test]
    fn a_long_text_is_cut_at_spaces_else_between_characters() {
        assert_eq!(pieces("one two three", 8), ["one two ", "three"]);
        assert_eq!(pieces("ééééé", 5), ["éé", "éé", "é"]);
        assert_eq!(pieces("", 5), [""]);
        assert_eq!(pieces("👍👍", 0), ["👍", "👍"]);
    }

    proptest! {
        #[test]
        fn the_pieces_together_are_the_text(text in ".{0,200}", most in 0_usize..60) {
            let pieces = pieces(&text, most);
            assert_eq!(pieces.concat(), text);
            assert!(pieces.iter().all(|piece| piece.len() <= most.max(4)));
        }

        #[test]
        fn any_text_becomes_clean(text in any::<String>()) {
            assert!(crate::protocol::text::is_clean(&plain(&text)));
            let _ = Said::parse(&text);
        }
    }

    #[test]
    fn a_mask_must_match_the_whole_text() {
        for (mask, text, expected) in [
            ("*", "", true),
            ("a*", "alice", true),
            ("*ce", "alice", true),
            ("*l*c*", "alice", true),
            ("?lice", "alice", true),
            ("?lice", "lice", false),
            ("a*b", "ab", true),
            ("a*b", "abc", false),
            ("*ab", "aab", true),
            ("", "a", false),
        ] {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            assert_eq!(fits(&chars(mask), &chars(text)), expected, "{mask} {text}");
        }
    }
}
