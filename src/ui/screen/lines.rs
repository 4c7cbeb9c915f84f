//! The lines of a room, and which of them are visible. Pure.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::app::{App, own_words};
use super::entry_lines::{entry_lines, plain};
use super::room::{Entry, EntryKind, Room, View};
use super::theme::Palette;
use super::wrap::{width, wrap};

/// The settings that determine how lines look.
#[derive(Clone, Debug)]
pub struct Look {
    pub(super) columns: usize,
    pub(super) nick_columns: usize,
    pub(super) palette: Palette,
    pub(super) zone: TimeZone,
    today: Date,
    pub(super) me: String,
    /// The words that mention the user, in lower case.
    pub(super) own_words: Vec<String>,
}

impl Look {
    /// Returns the settings of `app` for lines of `columns` columns.
    pub fn of(app: &App, columns: u16) -> Self {
        let columns = usize::from(columns);
        Self {
            columns,
            nick_columns: nick_columns(app, columns),
            palette: app.preferences.palette,
            zone: app.preferences.zone.clone(),
            today: date(app.now, &app.preferences.zone),
            me: app.nick.clone(),
            own_words: own_words(&app.nick, &app.highlights)
                .map(str::to_lowercase)
                .collect(),
        }
    }

    /// Returns the width of the times. It is 0 if there is too little space for them.
    pub(super) fn time_columns(&self) -> usize {
        if self.columns >= 50 { 7 } else { 1 }
    }

    pub(super) fn text_columns(&self) -> usize {
        let taken = self.time_columns() + self.nick_columns + 3;
        self.columns.saturating_sub(taken + 1).max(4)
    }
}

/// Returns the width of the column of nicks. It is as wide as recent nicks need, so that short nicks leave more space
/// for the text.
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

/// Returns the separators before the entry at `index`, followed by the lines of the entry. The time is shown if it
/// differs from that of the previous entry, or if the entry `is_first` on the screen.
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
    let marked_entry = room.marked.and_then(|seq| room.get(room.index(seq)?));
    let is_part = entry.extras.part_of.is_some();
    let is_marked = room.marked == Some(room.seq(index))
        || marked_entry.is_some_and(|marked| is_part && entry.extras.part_of == marked.id);
    let of_entry = entry_lines(room, index, entry, before, is_first, look);
    let mark = |line: Line<'static>| if is_marked { marked(line, look) } else { line };
    lines.extend(of_entry.into_iter().map(mark));
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

/// Highlights a line of the selected message over its full width.
fn marked(mut line: Line<'static>, look: &Look) -> Line<'static> {
    let pad = look.columns.saturating_sub(line.width());
    line.spans.push(Span::raw(" ".repeat(pad)));
    line.style(look.palette.chosen())
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

/// Returns the lines of the messages that have not been answered yet.
fn pending_lines(room: &Room, look: &Look) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for pending in &room.pending {
        let text = if pending.is_act {
            format!("* {} {}", look.me, pending.text)
        } else {
            plain(&pending.text)
        };
        let parts = text.split('\n');
        let parts = parts.flat_map(|text| {
            wrap(text, look.text_columns())
                .into_iter()
                .map(move |range| text.get(range).unwrap_or_default())
        });
        for (n, part) in parts.enumerate() {
            let mark = if n == 0 { "…" } else { "" };
            let pad = look.time_columns() + look.nick_columns - mark.chars().count();
            lines.push(Line::from(vec![
                Span::styled(format!("{}{mark} │ ", " ".repeat(pad)), look.palette.line()),
                Span::styled(part.to_owned(), look.palette.dim()),
            ]));
        }
    }
    lines
}

/// Returns the visible lines of `room` from top to bottom. There are at most `height` of them.
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

/// Returns the index of the last entry that is shown.
pub fn last_shown(room: &Room) -> usize {
    let last = room.len().saturating_sub(1);
    match room.view {
        View::Bottom => last,
        View::At { seq, .. } => room.index(seq).unwrap_or(last),
    }
}

/// Returns the index of the first entry of which a line is shown.
pub fn first_shown(room: &Room, height: usize, look: &Look) -> usize {
    let mut index = last_shown(room);
    let hidden = match room.view {
        View::At { hidden, .. } => hidden,
        View::Bottom => 0,
    };
    let mut above = lines_of(room, index, false, look).len();
    while index > 0 && above < height + hidden {
        index -= 1;
        above += lines_of(room, index, false, look).len();
    }
    index
}

/// Returns the indexes of the entries with which a day begins, oldest first.
pub fn day_starts(room: &Room, look: &Look) -> Vec<usize> {
    let mut before = None;
    let mut starts = Vec::new();
    for (index, entry) in room.entries().enumerate() {
        if entry.kind == EntryKind::Hidden {
            continue;
        }
        let day = Some(date(entry.at, &look.zone));
        if day != before {
            starts.push(index);
        }
        before = day;
    }
    starts
}

/// Scrolls `room` so that the first line of the entry at `index` is at the top, if there is enough below it.
pub fn put_at_top(room: &mut Room, index: usize, height: usize, look: &Look) {
    let (seq, hidden) = (room.seq(index), 0);
    let tall = lines_of(room, index, false, look).len();
    room.view = View::At { seq, hidden };
    let by = isize::try_from(height).unwrap_or(0) - isize::try_from(tall).unwrap_or(0);
    scroll(room, -by, height, look);
}

/// Scrolls `room` so that the entry at `index` is visible from its first line on.
pub fn reveal(room: &mut Room, index: usize, height: usize, look: &Look) {
    let tall = |room: &Room, index: usize| lines_of(room, index, false, look).len();
    let (bottom, hidden) = match room.view {
        View::At { hidden, .. } => (last_shown(room), hidden),
        View::Bottom => (last_shown(room), 0),
    };
    if index > bottom || (index == bottom && hidden > 0) {
        let (seq, hidden) = (room.seq(index), 0);
        room.view = View::At { seq, hidden };
        // If the entry is the newest, this scrolls to the bottom.
        return scroll(room, 0, height, look);
    }
    let mut above = 0;
    for at in index..=bottom {
        above += tall(room, at);
        if above > height + hidden {
            let (seq, hidden) = (room.seq(index), 0);
            room.view = View::At { seq, hidden };
            let rest = height.saturating_sub(tall(room, index));
            return scroll(room, -isize::try_from(rest).unwrap_or(0), height, look);
        }
    }
}

/// Scrolls `room` up by `lines`, or down if the number is negative, as far as possible.
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
        // Scrolling stops when the first line is at the top.
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
