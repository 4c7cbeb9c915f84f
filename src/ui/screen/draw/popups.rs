//! Draws popups in front of the room: a list, the question about a pasted text, or completions.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::super::app::{App, Paste};
use super::super::layout::Areas;
use super::super::layout::picture_area;
use super::super::list::{List, RowAction};
use super::super::picture::Picture;
use super::super::wrap::{cut, width};

/// The minimum width of the screen at which a list does not cover the rooms at the side.
const WIDE_FROM: u16 = 110;

/// Draws the popup, if there is one.
pub(super) fn popups(app: &App, areas: &Areas, frame: &mut Frame<'_>) {
    // The popup covers everything except the bars, unless there is enough space beside the rooms.
    let area = if app.size.0 < WIDE_FROM {
        Rect::new(0, areas.body.y, app.size.0, areas.body.height)
    } else {
        areas.body
    };
    if let Some(picture) = &app.picture {
        show_picture(app, picture, frame);
    } else if let Some(list) = &app.list {
        show_list(app, list, area, frame);
    } else if let Some(paste) = &app.paste {
        question(app, paste, area, frame);
    } else {
        choices(app, areas.body, frame);
    }
}

/// Draws a box at the bottom of the room.
fn popup(app: &App, title: &str, lines: Vec<Line<'static>>, area: Rect, frame: &mut Frame<'_>) {
    let palette = app.preferences.palette;
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

/// Draws a picture. If the terminal draws it, leaves its place empty.
fn show_picture(app: &App, picture: &Picture, frame: &mut Frame<'_>) {
    let area = picture_area(app);
    let rows = usize::from(area.height);
    let blank = |rows| vec![Line::default(); rows];
    let above = rows.saturating_sub(picture.lines().len()) / 2;
    let mut lines = blank(above);
    let drawn = picture.lines().iter().cloned();
    lines.extend(drawn.map(|line| line.centered()));
    lines.extend(blank(rows.saturating_sub(lines.len())));
    let place = Rect::new(
        area.x,
        area.y.saturating_sub(1),
        area.width,
        area.height + 1,
    );
    popup(app, &picture.title(), lines, place, frame);
}

fn show_list(app: &App, list: &List, area: Rect, frame: &mut Frame<'_>) {
    let palette = app.preferences.palette;
    let height = usize::from(area.height).saturating_sub(1).max(1);
    let skip = (list.at + 1).saturating_sub(height);
    let columns = usize::from(area.width);
    let mut lines = Vec::new();
    for (n, row) in list.rows.iter().enumerate().skip(skip).take(height) {
        let text = cut(&row.text, columns.saturating_sub(width(&row.head) + 4));
        let pad = columns.saturating_sub(width(&row.head) + width(&text) + 3);
        let (mark, style) = if n == list.at {
            ("▌ ", palette.chosen())
        } else {
            ("  ", Style::new())
        };
        // A time is dim, but a command is what the user looks for.
        let head = match &row.action {
            RowAction::Type(_) => palette.accent().remove_modifier(Modifier::BOLD),
            _ => palette.dim(),
        };
        lines.push(
            Line::from(vec![
                Span::styled(mark, palette.accent()),
                Span::styled(row.head.clone(), head),
                Span::raw(format!("{text}{}", " ".repeat(pad))),
            ])
            .style(style),
        );
    }
    popup(app, &list.title, lines, area, frame);
}

fn question(app: &App, paste: &Paste, area: Rect, frame: &mut Frame<'_>) {
    let palette = app.preferences.palette;
    let text = &paste.text;
    let count = text.lines().filter(|line| !line.trim().is_empty()).count();
    let columns = usize::from(area.width).saturating_sub(4);
    let keys = if paste.is_one { 6 } else { 4 };
    let shown = usize::from(area.height)
        .saturating_sub(keys + 3)
        .clamp(1, 8);
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
    let each = match count {
        1 => "send it as one message".to_owned(),
        count => format!("send {count} messages"),
    };
    let send = if paste.is_one {
        &[
            ("Enter", "send it as one message"),
            ("i", "put it into the input line"),
            ("l", &each[..]),
        ][..]
    } else {
        &[("Enter", &each[..])]
    };
    let others = [
        ("f", "upload it as a file"),
        ("j", "join it into one line"),
        ("Esc", "discard it"),
    ];
    for (key, does) in send.iter().chain(&others) {
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

/// Draws the completions.
fn choices(app: &App, area: Rect, frame: &mut Frame<'_>) {
    let Some(completion) = &app.completion else {
        return;
    };
    let palette = app.preferences.palette;
    let columns = usize::from(area.width).saturating_sub(2);
    // As many completions are shown as fit around the selected one.
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
