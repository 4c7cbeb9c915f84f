//! The lines of one entry of a room. This module is pure.

use jiff::SignedDuration;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthChar;

use super::extras::Reaction;
use super::lines::Look;
use super::room::{Entry, EntryKind, Room, is_picture};
use super::wrap::{cut, links, width, wrap};
use crate::protocol::human::size;
use crate::protocol::text::{EVERYBODY, mentions};

/// The time within which further messages of the same user are shown without the nick.
const TOGETHER: SignedDuration = SignedDuration::from_mins(5);

/// Returns the lines of the entry at `index`: the message to which it replies, its text, and the reactions to it.
///
/// The nick is left out if the previous message is of the same user. The time is left out if it equals that of the
/// entry `before`. The first entry on the screen (`is_first`) shows both.
pub(super) fn entry_lines(
    room: &Room,
    index: usize,
    entry: &Entry,
    before: Option<&Entry>,
    is_first: bool,
    look: &Look,
) -> Vec<Line<'static>> {
    let palette = look.palette;
    let time = entry
        .at
        .to_zoned(look.zone.clone())
        .strftime("%H:%M")
        .to_string();
    let before_time = before.map(|e| {
        e.at.to_zoned(look.zone.clone())
            .strftime("%H:%M")
            .to_string()
    });
    let is_part = entry.extras.part_of.is_some();
    let is_together = matches!(&entry.kind, EntryKind::Msg { .. })
        && entry.extras.reply.is_none()
        && before.is_some_and(|before| {
            matches!(
                &before.kind,
                EntryKind::Msg { .. } | EntryKind::Removed { .. }
            ) && before.kind.nick() == entry.kind.nick()
                && (is_part || entry.at.duration_since(before.at) < TOGETHER)
        });
    let (mark, mark_style, text, style) = match &entry.kind {
        EntryKind::Msg { nick, text } => {
            (nick.clone(), palette.nick(nick), text.clone(), Style::new())
        }
        EntryKind::Me { nick, text } => (
            "*".to_owned(),
            palette.nick(nick),
            format!("{nick} {text}"),
            Style::new().add_modifier(Modifier::ITALIC),
        ),
        EntryKind::File {
            nick,
            file,
            length,
            name,
        } => {
            let length = length.map_or("still uploading".to_owned(), size);
            let view = if is_picture(name) {
                format!("/view {file}  ")
            } else {
                String::new()
            };
            let text = format!("▤ {name}  {length}  {view}/download {file}");
            (nick.clone(), palette.nick(nick), text, palette.good())
        }
        EntryKind::Note(text) => {
            let (mark, text) = text.split_once(' ').unwrap_or(("·", text));
            (
                mark.to_owned(),
                palette.dim(),
                text.to_owned(),
                palette.dim(),
            )
        }
        EntryKind::Trouble(text) => {
            let (mark, text) = text.split_once(' ').unwrap_or(("!", text));
            (
                mark.to_owned(),
                palette.error(),
                text.to_owned(),
                palette.error(),
            )
        }
        EntryKind::Hidden => return Vec::new(),
        EntryKind::Removed { nick } => (
            nick.clone(),
            palette.nick(nick),
            "(deleted)".to_owned(),
            palette.dim(),
        ),
    };
    let mark = if is_together && !is_first {
        String::new()
    } else {
        cut(&mark, look.nick_columns)
    };
    let time = if before_time == Some(time.clone()) && !is_first {
        String::new()
    } else {
        time
    };
    let bar = if entry.is_mention {
        Span::styled(" ┃ ", palette.mention())
    } else {
        Span::styled(" │ ", palette.line())
    };
    let mut text = plain(&text);
    let mut pieces = pieces(&text, style, entry, look);
    if entry.extras.is_edited {
        let start = text.len();
        text.push_str(" (edited)");
        pieces.push((start..text.len(), palette.dim()));
    }
    let mut lines = Vec::new();
    let mut line = |content: Vec<Span<'static>>| {
        let (time, mark) = if lines.is_empty() {
            (&time[..], &mark[..])
        } else {
            ("", "")
        };
        // If there is not enough space, only the margin remains.
        let space = look.time_columns() - 1;
        let time = if space > 0 { time } else { "" };
        let pad = look.nick_columns.saturating_sub(width(mark));
        let mut spans = vec![
            Span::styled(format!(" {time:<space$}"), palette.dim()),
            Span::raw(" ".repeat(pad)),
            Span::styled(mark.to_owned(), mark_style),
            bar.clone(),
        ];
        spans.extend(content);
        lines.push(Line::from(spans));
    };
    if let Some(id) = entry.extras.reply {
        let quote = room.quote(id);
        let quote = plain(quote.as_deref().unwrap_or("an older message"));
        let quote = cut(&format!("╭ {quote}"), look.text_columns());
        line(vec![Span::styled(quote, palette.dim())]);
    }
    for range in wrap(&text, look.text_columns()) {
        let mut spans = Vec::new();
        for (piece, style) in &pieces {
            let (start, end) = (piece.start.max(range.start), piece.end.min(range.end));
            if start < end {
                spans.push(Span::styled(
                    text.get(start..end).unwrap_or_default().to_owned(),
                    *style,
                ));
            }
        }
        line(spans);
    }
    for row in reactions(&room.reactions_below(index), look) {
        line(row);
    }
    lines
}

/// Returns reactions in one or more rows.
fn reactions(reactions: &[&Reaction], look: &Look) -> Vec<Vec<Span<'static>>> {
    let palette = look.palette;
    let (mut rows, mut used) = (Vec::new(), usize::MAX);
    for reaction in reactions {
        let emoji = plain(&reaction.emoji);
        let text = cut(&format!("{emoji} {}", reaction.count), look.text_columns());
        // Two spaces separate the reactions.
        let columns = width(&text) + 2;
        if used.saturating_add(columns) > look.text_columns() + 2 {
            rows.push(Vec::new());
            used = 0;
        }
        used += columns;
        let style = if reaction.nicks.contains(&look.me) {
            palette.accent()
        } else {
            palette.dim()
        };
        if let Some(row) = rows.last_mut() {
            row.push(Span::styled(text, style));
            row.push(Span::raw("  "));
        }
    }
    rows
}

/// Converts `text` so that every terminal shows it with the width that is computed here. Tabs become spaces, and
/// joined emoji (a family, a flag) are separated, because terminals disagree about their width.
pub(super) fn plain(text: &str) -> String {
    const JOINER: char = '\u{200d}';
    let mut plain = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        match c {
            '\t' => plain.push_str("    "),
            // A flag consists of two of these characters. As letters, they have the same width everywhere.
            '🇦'..='🇿' => {
                let letter = u32::from(c) - u32::from('🇦') + u32::from('A');
                plain.push(char::from_u32(letter).unwrap_or('?'));
            }
            // Between letters, a joiner changes their shape and has no width.
            JOINER if before == '\u{fe0f}' || before.width() == Some(2) => {}
            c => plain.push(c),
        }
        before = c;
    }
    plain
}

/// Returns the parts of `text` that have a style of their own: links, and mentions of the user.
fn pieces(
    text: &str,
    style: Style,
    entry: &Entry,
    look: &Look,
) -> Vec<(std::ops::Range<usize>, Style)> {
    let mut marks: Vec<(std::ops::Range<usize>, Style)> = links(text)
        .into_iter()
        .map(|range| (range, style.patch(look.palette.link())))
        .collect();
    if entry.is_mention {
        // The text may have another length in lower case. In that case, mentions are not highlighted.
        let small = text.to_lowercase();
        let everybody = entry.extras.is_for_everybody.then_some(EVERYBODY);
        let words = look.own_words.iter().map(String::as_str).chain(everybody);
        for word in words.filter(|_| small.len() == text.len()) {
            let found = small.match_indices(word).filter(|(at, _)| {
                let end = at + word.len();
                let start = text.get(..*at).map_or(0, |t| {
                    t.len() - t.chars().next_back().map_or(0, char::len_utf8)
                });
                let stop = end
                    + text
                        .get(end..)
                        .and_then(|t| t.chars().next())
                        .map_or(0, char::len_utf8);
                text.get(start..stop)
                    .is_some_and(|around| mentions(around, word))
            });
            let is_free = |at: usize| !marks.iter().any(|(range, _)| range.contains(&at));
            let found: Vec<_> = found.filter(|(at, _)| is_free(*at)).collect();
            for (at, found) in found {
                marks.push((at..at + found.len(), style.patch(look.palette.mention())));
            }
        }
    }
    marks.sort_by_key(|(range, _)| range.start);
    let (mut all, mut at) = (Vec::new(), 0);
    for (range, mark) in marks {
        all.push((at..range.start, style));
        at = range.end;
        all.push((range, mark));
    }
    all.push((at..text.len(), style));
    all
}
