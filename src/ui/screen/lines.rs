//! The lines of a room, and which of them are visible. Pure.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthChar;

use super::app::{App, mentions, size};
use super::room::{Entry, EntryKind, Room, View};
use super::theme::Palette;
use super::wrap::{cut, links, width, wrap};

/// Within this time, further messages of the same person are shown without the nick.
const TOGETHER: SignedDuration = SignedDuration::from_mins(5);

/// What the look of the lines depends on.
#[derive(Clone, Debug)]
pub struct Look {
    columns: usize,
    nick_columns: usize,
    palette: Palette,
    zone: TimeZone,
    today: Date,
    me: String,
}

impl Look {
    /// Returns the look in `app` with `columns` columns.
    pub fn of(app: &App, columns: u16) -> Self {
        let columns = usize::from(columns);
        Self {
            columns,
            nick_columns: nick_columns(app, columns),
            palette: app.preferences.palette,
            zone: app.preferences.zone.clone(),
            today: date(app.now, &app.preferences.zone),
            me: app.nick.clone(),
        }
    }

    /// Returns the width of the times, which are left out when there is little space.
    fn time_columns(&self) -> usize {
        if self.columns >= 50 { 7 } else { 1 }
    }

    fn text_columns(&self) -> usize {
        let taken = self.time_columns() + self.nick_columns + 3;
        self.columns.saturating_sub(taken + 1).max(4)
    }
}

/// Returns the width of the nick column: as wide as recent nicks need, so that short ones leave more space for the text.
fn nick_columns(app: &App, columns: usize) -> usize {
    let most = match columns {
        0..40 => 6,
        40..72 => 10,
        _ => 14,
    };
    let lately = app
        .room()
        .into_iter()
        .flat_map(|room| room.entries().rev().take(200));
    let nicks = lately.filter_map(|entry| entry.kind.nick());
    let longest = nicks
        .map(width)
        .chain([width(&app.nick)])
        .max()
        .unwrap_or(0);
    longest.clamp(4, most)
}

fn date(at: Timestamp, zone: &TimeZone) -> Date {
    at.to_zoned(zone.clone()).date()
}

/// Returns the lines of the entry at `index`, with the separators before it. The time is shown if it differs from that of
/// the entry before, and if the entry `is_first` on the screen.
fn lines_of(room: &Room, index: usize, is_first: bool, look: &Look) -> Vec<Line<'static>> {
    let Some(entry) = room.get(index) else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    if entry.kind == EntryKind::Hidden {
        return lines;
    }
    let mut earlier = (0..index).rev().filter_map(|at| room.get(at));
    let before = earlier.find(|entry| entry.kind != EntryKind::Hidden);
    let day = date(entry.at, &look.zone);
    let is_new_day = before.is_none_or(|before| date(before.at, &look.zone) != day);
    if is_new_day && (before.is_some() || room.at_start || day != look.today) {
        let form = if day.year() == look.today.year() {
            "%A, %-d %B"
        } else {
            "%A, %-d %B %Y"
        };
        let name = match look.today.duration_since(day).as_hours() / 24 {
            0 => "today".to_owned(),
            1 => "yesterday".to_owned(),
            _ => day.strftime(form).to_string(),
        };
        lines.push(rule(&name, look, look.palette.line(), look.palette.dim()));
    }
    let is_first_new = is_first_new(room, index, entry);
    if is_first_new {
        let style = look.palette.error();
        lines.push(rule("new", look, style, style.add_modifier(Modifier::BOLD)));
    }
    let is_alone = is_new_day || is_first_new;
    let before = before.filter(|_| !is_alone);
    said(entry, before, is_first, look, &mut lines);
    lines
}

/// Returns whether `entry` is the first new message.
fn is_first_new(room: &Room, index: usize, entry: &Entry) -> bool {
    let Some(after) = room.new_after else {
        return false;
    };
    if entry.is_mine || entry.id.is_none_or(|id| id <= after) {
        return false;
    }
    let mut before = (0..index).rev().filter_map(|at| room.get(at));
    let is_seen = |entry: &&Entry| entry.id.is_some() && entry.kind != EntryKind::Hidden;
    match before.find(|entry| is_seen(entry) && !entry.is_mine) {
        Some(before) => before.id.is_some_and(|id| id <= after),
        None => room.at_start && after > 0,
    }
}

/// Draws a word in the middle of a thin line.
fn rule(word: &str, look: &Look, line: Style, style: Style) -> Line<'static> {
    let space = look.columns.saturating_sub(width(word) + 3);
    let left = (look.time_columns() + look.nick_columns).min(space);
    Line::from(vec![
        Span::styled("─".repeat(left + 1), line),
        Span::styled(format!(" {word} "), style),
        Span::styled("─".repeat(space.saturating_sub(left)), line),
    ])
}

fn said(
    entry: &Entry,
    before: Option<&Entry>,
    is_first: bool,
    look: &Look,
    lines: &mut Vec<Line<'static>>,
) {
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
    let is_together = matches!(&entry.kind, EntryKind::Msg { .. })
        && before.is_some_and(|before| {
            matches!(
                &before.kind,
                EntryKind::Msg { .. } | EntryKind::Removed { .. }
            ) && before.kind.nick() == entry.kind.nick()
                && entry.at.duration_since(before.at) < TOGETHER
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
            let length = length.map_or("still coming".to_owned(), size);
            let text = format!("▤ {name}  {length}  /download {file}");
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
        EntryKind::Hidden => return,
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
    let text = plain(&text);
    let pieces = pieces(&text, style, entry.is_mention, look);
    for (n, range) in wrap(&text, look.text_columns()).into_iter().enumerate() {
        let mut spans = Vec::new();
        let (time, mark) = if n == 0 {
            (&time[..], &mark[..])
        } else {
            ("", "")
        };
        // Without enough space, only the margin remains.
        let space = look.time_columns() - 1;
        let time = if space > 0 { time } else { "" };
        spans.push(Span::styled(format!(" {time:<space$}"), palette.dim()));
        let pad = look.nick_columns.saturating_sub(width(mark));
        spans.push(Span::raw(" ".repeat(pad)));
        spans.push(Span::styled(mark.to_owned(), mark_style));
        spans.push(bar.clone());
        for (piece, style) in &pieces {
            let (start, end) = (piece.start.max(range.start), piece.end.min(range.end));
            if start < end {
                spans.push(Span::styled(
                    text.get(start..end).unwrap_or_default().to_owned(),
                    *style,
                ));
            }
        }
        lines.push(Line::from(spans));
    }
}

/// Returns `text` in a form that every terminal shows with the width computed here: tabs become spaces, and joined emoji
/// (a family, a flag) are separated, since terminals disagree about their width.
fn plain(text: &str) -> String {
    const JOINER: char = '\u{200d}';
    let mut plain = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        match c {
            '\t' => plain.push_str("    "),
            // A flag is two of these: as letters they have the same width everywhere.
            '🇦'..='🇿' => {
                let letter = u32::from(c) - u32::from('🇦') + u32::from('A');
                plain.push(char::from_u32(letter).unwrap_or('?'));
            }
            // Between letters it changes their shape, and has no width.
            JOINER if before == '\u{fe0f}' || before.width() == Some(2) => {}
            c => plain.push(c),
        }
        before = c;
    }
    plain
}

/// Returns the parts of `text` with a style of their own: links, and the own nick.
fn pieces(
    text: &str,
    style: Style,
    is_mention: bool,
    look: &Look,
) -> Vec<(std::ops::Range<usize>, Style)> {
    let mut marks: Vec<(std::ops::Range<usize>, Style)> = links(text)
        .into_iter()
        .map(|range| (range, style.patch(look.palette.link())))
        .collect();
    if is_mention {
        // Lower case may have a different length; then the nick is not highlighted.
        let small = text.to_lowercase();
        if small.len() == text.len() {
            let me = look.me.to_lowercase();
            let found = small.match_indices(&me).filter(|(at, _)| {
                let end = at + me.len();
                let start = text.get(..*at).map_or(0, |t| {
                    t.len() - t.chars().next_back().map_or(0, char::len_utf8)
                });
                let stop = end
                    + text
                        .get(end..)
                        .and_then(|t| t.chars().next())
                        .map_or(0, char::len_utf8);
                text.get(start..stop)
                    .is_some_and(|around| mentions(around, &look.me))
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

/// Returns the lines of the messages without an answer.
fn pending_lines(room: &Room, look: &Look) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for pending in &room.pending {
        let text = if pending.is_act {
            format!("* {} {}", look.me, pending.text)
        } else {
            plain(&pending.text)
        };
        for (n, range) in wrap(&text, look.text_columns()).into_iter().enumerate() {
            let mark = if n == 0 { "…" } else { "" };
            let pad = look.time_columns() + look.nick_columns - mark.chars().count();
            lines.push(Line::from(vec![
                Span::styled(format!("{}{mark} │ ", " ".repeat(pad)), look.palette.line()),
                Span::styled(
                    text.get(range).unwrap_or_default().to_owned(),
                    look.palette.dim(),
                ),
            ]));
        }
    }
    lines
}

/// Returns the visible lines of `room` from top to bottom, at most `height`.
pub fn rows(room: &Room, height: usize, look: &Look) -> Vec<Line<'static>> {
    let mut rows = Vec::new();
    let (mut index, hidden) = match room.view {
        View::Bottom => {
            let pending = pending_lines(room, look);
            rows.extend(pending.into_iter().rev().take(height));
            (room.len(), 0)
        }
        View::At { seq, hidden } => (room.index(seq).map_or(0, |index| index + 1), hidden),
    };
    let mut hidden = hidden;
    while rows.len() < height && index > 0 {
        index -= 1;
        let lines = lines_of(room, index, false, look);
        // The first entry that is completely visible shows its time and nick.
        let space = (height - rows.len()) + hidden;
        let is_first = index == 0 || lines.len() >= space || {
            let before = lines_of(room, index - 1, false, look).len();
            before > space - lines.len()
        };
        let lines = if is_first && lines.len() <= space {
            lines_of(room, index, true, look)
        } else {
            lines
        };
        rows.extend(lines.into_iter().rev().skip(hidden));
        hidden = 0;
    }
    rows.truncate(height);
    rows.reverse();
    rows
}

/// Scrolls `room` up by `lines` (down if negative), as far as there are any.
pub fn scroll(room: &mut Room, lines: isize, height: usize, look: &Look) {
    let Some(last) = room.len().checked_sub(1) else {
        return;
    };
    let (mut index, mut hidden) = match room.view {
        View::Bottom => (last, 0),
        View::At { seq, hidden } => (room.index(seq).unwrap_or(last), hidden),
    };
    let tall = |index: usize| lines_of(room, index, false, look).len();
    let mut left = lines.unsigned_abs();
    if lines > 0 {
        // At most until the first line is at the top.
        let mut above = 0;
        let mut at = index + 1;
        let wanted = left + hidden + height;
        while at > 0 && above < wanted {
            at -= 1;
            above += tall(at);
        }
        left = left.min(above.saturating_sub(hidden + height));
        hidden += left;
        while index > 0 && hidden >= tall(index) {
            hidden -= tall(index);
            index -= 1;
        }
    } else {
        loop {
            if left <= hidden {
                hidden -= left;
                break;
            }
            left -= hidden;
            hidden = 0;
            if index == last {
                break;
            }
            index += 1;
            hidden = tall(index);
        }
    }
    room.view = if index == last && hidden == 0 && room.at_end {
        View::Bottom
    } else {
        View::At {
            seq: room.seq(index),
            hidden,
        }
    };
}
