//! Draws the state.

mod bar;
mod popups;

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::app::{App, ConnectionStatus};
use super::layout::{Areas, input_lines, prompt};
use super::lines::{Look, rows};
use super::room::Room;
use super::wrap::{cut, width};

/// Draws `app` and places the cursor.
pub fn draw(app: &App, frame: &mut Frame<'_>) {
    let areas = Areas::of(app);
    head(app, areas.head, frame);
    side(app, areas.side, frame);
    body(app, areas.body, frame);
    members(app, areas.members, frame);
    bar::bar(app, areas.bar, frame);
    input(app, areas.input, frame);
    popups::popups(app, &areas, frame);
}

fn head(app: &App, area: Rect, frame: &mut Frame<'_>) {
    let style = app.preferences.palette.bar();
    let columns = usize::from(area.width);
    let Some(room) = app.room() else {
        let text = format!(" chatc  {}", app.host);
        return frame.render_widget(Paragraph::new(text).style(style), area);
    };
    let right = if room.is_room() {
        format!("{} here ", room.members.len())
    } else {
        "private ".to_owned()
    };
    let name = format!(" {} ", room.name);
    let space = columns.saturating_sub(width(&name) + width(&right) + 2);
    let topic = cut(&room.topic, space);
    let pad = space.saturating_sub(width(&topic));
    let line = Line::from(vec![
        Span::styled(name, style.patch(app.preferences.palette.accent())),
        Span::raw(format!(" {topic}{} ", " ".repeat(pad))),
        Span::styled(right, app.preferences.palette.dim_in_bar()),
    ]);
    frame.render_widget(Paragraph::new(line).style(style), area);
}

/// The rows of the sidebar, each with the index of its room. An empty row (`None`) separates rooms and private chats.
struct SideRows {
    all: Vec<Option<usize>>,
    /// The index of the first row that is visible.
    first: usize,
}

fn side_rows(app: &App, area: Rect) -> SideRows {
    let mut rows: Vec<Option<usize>> = Vec::new();
    for (n, room) in app.rooms.iter().enumerate() {
        let before = n.checked_sub(1).and_then(|before| app.rooms.get(before));
        if !room.is_room() && before.is_some_and(Room::is_room) {
            rows.push(None);
        }
        rows.push(Some(n));
    }
    // The current room is always visible.
    let at = rows
        .iter()
        .position(|row| *row == Some(app.at))
        .unwrap_or(0);
    SideRows {
        all: rows,
        first: (at + 1).saturating_sub(usize::from(area.height)),
    }
}

/// Returns the room in row `row` of the list at the side.
pub fn room_at(app: &App, area: Rect, row: u16) -> Option<usize> {
    let at = usize::from(row.checked_sub(area.y)?);
    let rows = side_rows(app, area);
    rows.all.get(rows.first + at).copied().flatten()
}

/// Returns the style of a mark for rooms that do not fit on the screen; `None` if they have nothing unread.
fn unread_beyond(app: &App, rows: &[Option<usize>]) -> Option<Style> {
    let rooms = rows.iter().flatten().filter_map(|at| app.rooms.get(*at));
    let (unread, mentions) = rooms
        .map(Room::news)
        .fold((0, 0), |all, news| (all.0 + news.0, all.1 + news.1));
    match (unread, mentions) {
        (0, 0) => None,
        (_, 0) => Some(Style::new().add_modifier(Modifier::BOLD)),
        _ => Some(app.preferences.palette.mention()),
    }
}

fn side(app: &App, area: Rect, frame: &mut Frame<'_>) {
    if area.width == 0 {
        return;
    }
    let palette = app.preferences.palette;
    let columns = usize::from(area.width) - 1;
    let SideRows { all, first } = side_rows(app, area);
    let (above, rest) = all.split_at(first);
    let (rows, below) = rest.split_at(rest.len().min(usize::from(area.height)));
    let mark_above = unread_beyond(app, above).map(|style| ("▲", style));
    let mark_below = unread_beyond(app, below).map(|style| ("▼", style));
    for (n, y) in (area.y..area.bottom()).enumerate() {
        let edge = Rect::new(area.right() - 1, y, 1, 1);
        let beyond = [(mark_above, area.y), (mark_below, area.bottom() - 1)];
        let mark = beyond
            .into_iter()
            .find_map(|(mark, row)| mark.filter(|_| y == row));
        let (mark, style) = mark.unwrap_or(("│", palette.line()));
        frame.render_widget(Paragraph::new(Span::styled(mark, style)), edge);
        let Some(Some(at)) = rows.get(n).copied() else {
            continue;
        };
        let Some(room) = app.rooms.get(at) else {
            continue;
        };
        let (count, style) = match room.news() {
            (0, 0) => (String::new(), palette.dim()),
            (unread, 0) => (
                unread.to_string(),
                Style::new().add_modifier(Modifier::BOLD),
            ),
            (_, mentions) => (format!("{mentions}!"), palette.mention()),
        };
        let name = cut(&room.name, columns.saturating_sub(width(&count) + 4));
        let pad = columns.saturating_sub(width(&name) + width(&count) + 3);
        let (mark, style, row) = if at == app.at {
            ("▌", palette.accent(), palette.chosen())
        } else {
            (" ", style, Style::new())
        };
        let line = Line::from(vec![
            Span::styled(format!("{mark} "), palette.accent()),
            Span::styled(name, style),
            Span::raw(" ".repeat(pad)),
            Span::styled(format!("{count} "), style),
        ]);
        let place = Rect::new(area.x, y, area.width.saturating_sub(1), 1);
        frame.render_widget(Paragraph::new(line).style(row), place);
    }
}

fn body(app: &App, area: Rect, frame: &mut Frame<'_>) {
    let palette = app.preferences.palette;
    let height = usize::from(area.height);
    let Some(room) = app.room() else {
        let text = match app.status {
            ConnectionStatus::Connecting => format!("connecting to {} …", app.host),
            _ => "you are in no room: /rooms lists them, /join ROOM enters one".to_owned(),
        };
        let place = Rect::new(
            area.x + 1,
            area.y + area.height / 2,
            area.width.saturating_sub(1),
            1,
        );
        return frame.render_widget(Paragraph::new(text).style(palette.dim()).centered(), place);
    };
    let look = Look::of(app, area.width);
    let rows = rows(room, height, &look);
    if rows.is_empty() {
        let text = match (room.is_loading, room.is_room()) {
            (true, _) => "…".to_owned(),
            (false, true) => format!("there are no messages in {} yet", room.name),
            (false, false) => format!("only {} sees what you type here", room.name),
        };
        let place = Rect::new(area.x, area.y + area.height / 2, area.width, 1);
        return frame.render_widget(Paragraph::new(text).style(palette.dim()).centered(), place);
    }
    // If there are few lines, they are at the bottom, next to the input line.
    let top = area.y + (height - rows.len()) as u16;
    let place = Rect::new(area.x, top, area.width, rows.len() as u16);
    frame.render_widget(Paragraph::new(rows), place);
}

fn members(app: &App, area: Rect, frame: &mut Frame<'_>) {
    let Some(room) = app.room().filter(|_| area.width > 0) else {
        return;
    };
    let palette = app.preferences.palette;
    let height = usize::from(area.height);
    let columns = usize::from(area.width).saturating_sub(3);
    for (n, row) in (area.y..area.bottom()).enumerate() {
        let is_last = n + 1 == height && room.members.len() > height;
        let name = match room.members.get(n) {
            Some(_) if is_last => Span::styled(
                format!("and {} more", room.members.len() - n),
                palette.dim(),
            ),
            Some(nick) => {
                let mut style = palette.nick(nick).remove_modifier(Modifier::BOLD);
                if *nick == app.nick {
                    style = style.add_modifier(Modifier::BOLD);
                }
                if app.away.contains_key(nick) {
                    Span::styled(cut(&format!("{nick} (away)"), columns), palette.dim())
                } else {
                    Span::styled(cut(nick, columns), style)
                }
            }
            None => Span::raw(""),
        };
        let line = Line::from(vec![Span::styled("│ ", palette.line()), name]);
        frame.render_widget(Paragraph::new(line), Rect::new(area.x, row, area.width, 1));
    }
}

fn input(app: &App, area: Rect, frame: &mut Frame<'_>) {
    let palette = app.preferences.palette;
    let prompt = prompt(app);
    let Some(room) = app.room() else { return };
    let (text, at) = (room.editor.text(), room.editor.at());
    let lines = input_lines(text, prompt.clone(), area.width);
    let cursor_line = lines
        .iter()
        .rposition(|range| range.start <= at)
        .unwrap_or(0);
    let height = usize::from(area.height);
    let skip = (cursor_line + 1).saturating_sub(height);
    let indent = width(&prompt);
    for (n, range) in lines.iter().enumerate().skip(skip).take(height) {
        let head = match n {
            0 => Span::styled(prompt.clone(), palette.accent()),
            _ => Span::raw(" ".repeat(indent)),
        };
        let shown = text.get(range.clone()).unwrap_or_default().to_owned();
        let style = if text.starts_with('/') && !text.starts_with("//") {
            palette.accent().remove_modifier(Modifier::BOLD)
        } else {
            Style::new()
        };
        let row = area.y + (n - skip) as u16;
        let line = Line::from(vec![head, Span::styled(shown, style)]);
        frame.render_widget(Paragraph::new(line), Rect::new(area.x, row, area.width, 1));
    }
    if app.list.is_none() && app.paste.is_none() {
        let before = lines
            .get(cursor_line)
            .and_then(|range| text.get(range.start..at))
            .unwrap_or_default();
        let x = (indent + width(before)).min(usize::from(area.width.saturating_sub(1)));
        let y = area.y + (cursor_line - skip) as u16;
        frame.set_cursor_position(Position::new(
            area.x + x as u16,
            y.min(area.bottom().saturating_sub(1)),
        ));
    }
}
