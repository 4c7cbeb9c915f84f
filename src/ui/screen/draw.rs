//! Draws the state. Knows nothing but it.

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::app::{App, List, Standing, size};
use super::layout::{Areas, Look, input_lines, prompt, rows};
use super::room::{Room, View};
use super::wrap::{cut, width};

/// Shows `app`, and where the cursor is.
pub fn draw(app: &App, frame: &mut Frame<'_>) {
    let areas = Areas::of(app);
    head(app, areas.head, frame);
    side(app, areas.side, frame);
    body(app, areas.body, frame);
    members(app, areas.members, frame);
    bar(app, areas.bar, frame);
    input(app, areas.input, frame);
    if let Some(list) = &app.list {
        show_list(app, list, areas.body, frame);
    } else if let Some(text) = &app.paste {
        question(app, text, areas.body, frame);
    } else {
        choices(app, areas.body, frame);
    }
}

fn head(app: &App, area: Rect, frame: &mut Frame<'_>) {
    let style = app.options.palette.bar();
    let columns = usize::from(area.width);
    let Some(room) = app.room() else {
        let text = format!(" chatc  {}", app.host);
        return frame.render_widget(Paragraph::new(text).style(style), area);
    };
    let right = match room.is_room() {
        true => format!("{} here ", room.members.len()),
        false => "private ".to_owned(),
    };
    let name = format!(" {} ", room.name);
    let space = columns.saturating_sub(width(&name) + width(&right) + 2);
    let topic = cut(&room.topic, space);
    let pad = space.saturating_sub(width(&topic));
    let line = Line::from(vec![
        Span::styled(name, style.patch(app.options.palette.accent())),
        Span::raw(format!(" {topic}{} ", " ".repeat(pad))),
        Span::styled(right, app.options.palette.dim()),
    ]);
    frame.render_widget(Paragraph::new(line).style(style), area);
}

/// The rooms as they stand at the side: an empty line is between rooms and conversations.
fn side_rows(app: &App, area: Rect) -> Vec<Option<usize>> {
    let mut rows: Vec<Option<usize>> = Vec::new();
    for (n, room) in app.rooms.iter().enumerate() {
        let before = n.checked_sub(1).and_then(|before| app.rooms.get(before));
        if !room.is_room() && before.is_some_and(Room::is_room) {
            rows.push(None);
        }
        rows.push(Some(n));
    }
    // The current one is always to be seen.
    let at = rows
        .iter()
        .position(|row| *row == Some(app.at))
        .unwrap_or(0);
    rows.drain(..(at + 1).saturating_sub(usize::from(area.height)));
    rows
}

/// The room that stands at the side in that row of the screen.
pub fn room_at(app: &App, area: Rect, row: u16) -> Option<usize> {
    let at = usize::from(row.checked_sub(area.y)?);
    side_rows(app, area).get(at).copied().flatten()
}

fn side(app: &App, area: Rect, frame: &mut Frame<'_>) {
    if area.width == 0 {
        return;
    }
    let palette = app.options.palette;
    let columns = usize::from(area.width) - 1;
    let rows = side_rows(app, area);
    for (n, y) in (area.y..area.bottom()).enumerate() {
        let edge = Rect::new(area.right() - 1, y, 1, 1);
        frame.render_widget(Paragraph::new(Span::styled("│", palette.line())), edge);
        let Some(Some(at)) = rows.get(n).copied() else {
            continue;
        };
        let Some(room) = app.rooms.get(at) else {
            continue;
        };
        let (count, style) = match (room.mentions, room.unread) {
            (0, 0) => (String::new(), palette.dim()),
            (0, unread) => (
                unread.to_string(),
                Style::new().add_modifier(Modifier::BOLD),
            ),
            (mentions, _) => (format!("{mentions}!"), palette.mention()),
        };
        let name = cut(&room.name, columns.saturating_sub(width(&count) + 4));
        let pad = columns.saturating_sub(width(&name) + width(&count) + 3);
        let (mark, style, row) = match at == app.at {
            true => ("▌", palette.accent(), palette.chosen()),
            false => (" ", style, Style::new()),
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
    let palette = app.options.palette;
    let height = usize::from(area.height);
    let Some(room) = app.room() else {
        let text = match app.standing {
            Standing::Coming => format!("connecting to {} …", app.host),
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
            (false, true) => format!("nothing has been said in {} yet", room.name),
            (false, false) => format!("what you type here only {} reads", room.name),
        };
        let place = Rect::new(area.x, area.y + area.height / 2, area.width, 1);
        return frame.render_widget(Paragraph::new(text).style(palette.dim()).centered(), place);
    }
    // What there is stands at the bottom, above the line that one types.
    let top = area.y + (height - rows.len()) as u16;
    let place = Rect::new(area.x, top, area.width, rows.len() as u16);
    frame.render_widget(Paragraph::new(rows), place);
}

fn members(app: &App, area: Rect, frame: &mut Frame<'_>) {
    let Some(room) = app.room().filter(|_| area.width > 0) else {
        return;
    };
    let palette = app.options.palette;
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
                Span::styled(cut(nick, columns), style)
            }
            None => Span::raw(""),
        };
        let line = Line::from(vec![Span::styled("│ ", palette.line()), name]);
        frame.render_widget(Paragraph::new(line), Rect::new(area.x, row, area.width, 1));
    }
}

/// How it goes: what was just done, transfers, the connection.
fn bar(app: &App, area: Rect, frame: &mut Frame<'_>) {
    let palette = app.options.palette;
    let mut right = Vec::new();
    for transfer in &app.transfers {
        let name = cut(&transfer.name, 20);
        let arrow = if transfer.is_upload { "↑" } else { "↓" };
        let (done, all) = (transfer.bar.position(), transfer.bar.length());
        let text = match all {
            Some(all) if all > 0 => {
                let eighths = (done.min(all) as u128 * 80 / u128::from(all)) as usize;
                let percent = done.min(all) as u128 * 100 / u128::from(all);
                format!("{arrow} {name} {} {percent:>3} %", gauge(eighths))
            }
            _ => format!("{arrow} {name} {}", size(done)),
        };
        right.push(Span::styled(format!("{text}  "), palette.good()));
    }
    let waiting: usize = app.rooms.iter().map(|room| room.pending.len()).sum();
    let state = match &app.standing {
        Standing::Coming => Span::styled("connecting … ", palette.dim()),
        Standing::Here if waiting > 0 => {
            Span::styled(format!("{waiting} on the way "), palette.dim())
        }
        Standing::Here => Span::styled(format!("● {} ", app.host), palette.good()),
        Standing::Away { until, .. } => {
            let left = until.duration_since(app.now).as_secs().max(0) + 1;
            let kept = match waiting {
                0 => String::new(),
                1 => ", 1 line waits".to_owned(),
                n => format!(", {n} lines wait"),
            };
            Span::styled(
                format!("○ away{kept}; next try in {left} s "),
                palette.error(),
            )
        }
    };
    right.push(state);
    let right_columns: usize = right.iter().map(|span| width(&span.content)).sum();
    let space = usize::from(area.width).saturating_sub(right_columns + 1);
    let (left, left_style) = left_of_bar(app);
    let left = cut(&left, space.saturating_sub(1));
    let pad = space.saturating_sub(width(&left));
    let mut spans = vec![Span::styled(
        format!(" {left}{}", " ".repeat(pad)),
        left_style,
    )];
    spans.extend(right);
    frame.render_widget(Paragraph::new(Line::from(spans)).style(palette.bar()), area);
}

fn left_of_bar(app: &App) -> (String, Style) {
    let palette = app.options.palette;
    if let Some((word, is_error)) = &app.word {
        let style = if *is_error {
            palette.error()
        } else {
            Style::new()
        };
        return (word.clone(), style);
    }
    let is_scrolled = app.room().is_some_and(|room| room.view != View::Bottom);
    if is_scrolled {
        let below = app.room().map_or(0, |room| room.unread);
        let text = match below {
            0 => "older messages; Esc goes back to the newest".to_owned(),
            n => format!("{n} new below; Esc goes there"),
        };
        return (text, palette.accent());
    }
    if app.size.0 < 64 {
        let elsewhere = |room: &&Room| room.unread > 0;
        let unread: Vec<String> = app
            .rooms
            .iter()
            .enumerate()
            .filter(|(n, room)| *n != app.at && elsewhere(room))
            .map(|(_, room)| {
                format!(
                    "{} {}{}",
                    room.name,
                    room.unread,
                    if room.mentions > 0 { "!" } else { "" }
                )
            })
            .collect();
        if !unread.is_empty() {
            return (unread.join("  "), Style::new());
        }
    }
    match app
        .rooms
        .iter()
        .any(|room| room.editor.text().starts_with('/'))
    {
        true => ("Tab completes, /help tells more".to_owned(), palette.dim()),
        false => (String::new(), Style::new()),
    }
}

/// A bar of ten columns, filled by eighths of a column.
fn gauge(eighths: usize) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let mut bar = "█".repeat(eighths / 8);
    bar.push_str(PARTS.get(eighths % 8).copied().unwrap_or_default());
    let pad = 10_usize.saturating_sub(bar.chars().count());
    format!("▕{bar}{}▏", " ".repeat(pad))
}

fn input(app: &App, area: Rect, frame: &mut Frame<'_>) {
    let palette = app.options.palette;
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
        let style = match text.starts_with('/') && !text.starts_with("//") {
            true => palette.accent().remove_modifier(Modifier::BOLD),
            false => Style::new(),
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

/// A box in front of the room, at its bottom.
fn popup(app: &App, title: &str, lines: Vec<Line<'static>>, area: Rect, frame: &mut Frame<'_>) {
    let palette = app.options.palette;
    let height = (lines.len() as u16 + 1).min(area.height);
    let place = Rect::new(area.x, area.bottom() - height, area.width, height);
    frame.render_widget(Clear, place);
    let columns = usize::from(area.width);
    let title = cut(title, columns.saturating_sub(4));
    let rest = columns.saturating_sub(width(&title) + 3);
    let mut all = vec![Line::from(vec![
        Span::styled("─ ", palette.line()),
        Span::styled(title, palette.accent()),
        Span::styled(format!(" {}", "─".repeat(rest)), palette.line()),
    ])];
    all.extend(lines);
    frame.render_widget(Paragraph::new(all), place);
}

fn show_list(app: &App, list: &List, area: Rect, frame: &mut Frame<'_>) {
    let palette = app.options.palette;
    let height = usize::from(area.height).saturating_sub(1).max(1);
    let skip = (list.at + 1).saturating_sub(height);
    let columns = usize::from(area.width);
    let mut lines = Vec::new();
    for (n, row) in list.rows.iter().enumerate().skip(skip).take(height) {
        let text = cut(&row.text, columns.saturating_sub(width(&row.head) + 4));
        let pad = columns.saturating_sub(width(&row.head) + width(&text) + 3);
        let (mark, style) = match n == list.at {
            true => ("▌ ", palette.chosen()),
            false => ("  ", Style::new()),
        };
        lines.push(
            Line::from(vec![
                Span::styled(mark, palette.accent()),
                Span::styled(row.head.clone(), palette.dim()),
                Span::raw(format!("{text}{}", " ".repeat(pad))),
            ])
            .style(style),
        );
    }
    popup(app, &list.title, lines, area, frame);
}

fn question(app: &App, text: &str, area: Rect, frame: &mut Frame<'_>) {
    let palette = app.options.palette;
    let count = text.lines().filter(|line| !line.trim().is_empty()).count();
    let columns = usize::from(area.width).saturating_sub(4);
    let shown = usize::from(area.height).saturating_sub(7).clamp(1, 8);
    let mut lines: Vec<Line<'static>> = text
        .lines()
        .take(shown)
        .map(|line| {
            Line::styled(
                format!("  {}", cut(&line.replace('\t', "    "), columns)),
                palette.dim(),
            )
        })
        .collect();
    let more = text.lines().count().saturating_sub(shown);
    if more > 0 {
        lines.push(Line::styled(format!("  and {more} more"), palette.dim()));
    }
    let says = match count {
        1 => "says one message".to_owned(),
        count => format!("says {count} messages"),
    };
    for (key, does) in [
        ("Enter", &says[..]),
        ("f", "puts it here as a file"),
        ("j", "joins it into one line"),
        ("Esc", "drops it"),
    ] {
        lines.push(Line::from(vec![
            Span::styled(format!("  {key:>5}"), palette.accent()),
            Span::raw(format!(" {does}")),
        ]));
    }
    popup(
        app,
        &format!("you pasted {} lines", text.lines().count()),
        lines,
        area,
        frame,
    );
}

/// What Tab can choose from.
fn choices(app: &App, area: Rect, frame: &mut Frame<'_>) {
    let Some(completion) = &app.completion else {
        return;
    };
    let palette = app.options.palette;
    let columns = usize::from(area.width).saturating_sub(2);
    // As many as fit, around the one that is chosen.
    let at = completion.at.unwrap_or(0);
    let (mut spans, mut used) = (vec![Span::raw(" ")], 0);
    let mut first = at;
    let mut space = columns / 2;
    while let Some(before) = first.checked_sub(1).and_then(|n| completion.found.get(n)) {
        let Some(left) = space.checked_sub(width(before) + 2) else {
            break;
        };
        space = left;
        first -= 1;
    }
    for (n, word) in completion.found.iter().enumerate().skip(first) {
        let word = word.trim_end_matches([' ', ':']);
        used += width(word) + 2;
        if used > columns {
            break;
        }
        let style = if n == at {
            palette.chosen()
        } else {
            palette.dim()
        };
        spans.push(Span::styled(word.to_owned(), style));
        spans.push(Span::raw("  "));
    }
    let place = Rect::new(
        area.x,
        area.bottom().saturating_sub(1),
        area.width,
        1.min(area.height),
    );
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(Line::from(spans)), place);
}
