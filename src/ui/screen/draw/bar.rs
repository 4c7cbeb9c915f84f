//! The status bar above the input line. It shows the last message, the transfers, and the status of the connection.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::super::app::{App, ConnectionStatus};
use super::super::room::{Room, View};
use super::super::wrap::{cut, width};
use crate::protocol::human::size;

/// Draws the status bar. If not everything fits, the last message has precedence.
pub(super) fn bar(app: &App, area: Rect, frame: &mut Frame<'_>) {
    let palette = app.preferences.palette;
    let columns = usize::from(area.width);
    let (left, left_style) = left_of_bar(app);
    let wide = |spans: &[Span<'_>]| spans.iter().map(|span| width(&span.content)).sum::<usize>();
    let all = vec![transfers(app, true), status(app, true)];
    let few = vec![transfers(app, app.message.is_none()), status(app, false)];
    let right = if width(&left) + wide(&all) + 3 > columns {
        few
    } else {
        all
    };
    let space = columns.saturating_sub(wide(&right) + 1);
    let left = cut(&left, space.saturating_sub(1));
    let pad = space.saturating_sub(width(&left));
    let mut spans = vec![Span::styled(
        format!(" {left}{}", " ".repeat(pad)),
        left_style,
    )];
    spans.extend(right);
    frame.render_widget(Paragraph::new(Line::from(spans)).style(palette.bar()), area);
}

/// Returns the newest transfer, and the number of the others.
fn transfers(app: &App, is_whole: bool) -> Span<'static> {
    let Some(transfer) = app.transfers.last() else {
        return Span::raw("");
    };
    let arrow = if transfer.is_upload { "↑" } else { "↓" };
    let (done, all) = (transfer.bar.position(), transfer.bar.length());
    let progress = match all.filter(|all| *all > 0) {
        Some(all) => {
            let part = |of: u128| done.min(all) as u128 * of / u128::from(all);
            let percent = part(100);
            if is_whole {
                format!("{} {percent:>3} %", gauge(part(80) as usize))
            } else {
                format!("{percent} %")
            }
        }
        None => size(done),
    };
    // The name of a download is known only after the download has started.
    let message = transfer.bar.message();
    let name = if message.is_empty() {
        &transfer.name
    } else {
        &message
    };
    let name = if is_whole {
        format!("{} ", cut(name, 20))
    } else {
        String::new()
    };
    let more = match app.transfers.len() {
        1 => String::new(),
        n => format!(", {} more", n - 1),
    };
    let text = format!("{arrow} {name}{progress}{more}  ");
    Span::styled(text, app.preferences.palette.good())
}

/// Returns the status of the connection.
fn status(app: &App, is_whole: bool) -> Span<'static> {
    let palette = app.preferences.palette;
    let waiting = app.unconfirmed();
    match &app.status {
        ConnectionStatus::Connecting => Span::styled("connecting … ", palette.dim_in_bar()),
        ConnectionStatus::Connected if waiting > 0 => {
            Span::styled(format!("sending {waiting} "), palette.dim_in_bar())
        }
        ConnectionStatus::Connected if is_whole => {
            Span::styled(format!("● {} ", app.host), palette.good())
        }
        ConnectionStatus::Connected => Span::styled("● ", palette.good()),
        ConnectionStatus::Offline { .. } if !is_whole => {
            Span::styled("○ offline ", palette.error())
        }
        ConnectionStatus::Offline { until, .. } => {
            let left = until.duration_since(app.now).as_secs().max(0) + 1;
            let kept = match waiting {
                0 => String::new(),
                1 => " – 1 unsent message".to_owned(),
                n => format!(" – {n} unsent messages"),
            };
            Span::styled(
                format!("○ offline{kept} – retrying in {left} s "),
                palette.error(),
            )
        }
    }
}

fn left_of_bar(app: &App) -> (String, Style) {
    let palette = app.preferences.palette;
    if let Some((word, is_error)) = &app.message {
        let style = if *is_error {
            palette.error()
        } else {
            Style::new()
        };
        return (word.clone(), style);
    }
    if app.is_selecting() {
        let view = if app.is_picture_selected() {
            "v view · "
        } else {
            ""
        };
        let keys =
            format!("Enter reply · {view}e edit · r react · c copy · g original · d delete · Esc");
        return (keys, palette.accent());
    }
    if let Some(purpose) = app.purpose() {
        return (purpose, palette.accent());
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
        let elsewhere = |room: &&Room| room.news() != (0, 0);
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
    let mut rooms = app.rooms.iter();
    if rooms.any(|room| room.editor.text().starts_with('/')) {
        let hint = "Tab completes; /help lists commands";
        (hint.to_owned(), palette.dim_in_bar())
    } else if app.has_spoken() {
        (String::new(), Style::new())
    } else {
        ("Type /help for help".to_owned(), palette.dim_in_bar())
    }
}

/// Draws a progress bar of ten columns, filled by eighths of a column.
fn gauge(eighths: usize) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let mut bar = "█".repeat(eighths / 8);
    bar.push_str(PARTS.get(eighths % 8).copied().unwrap_or_default());
    let pad = 10_usize.saturating_sub(bar.chars().count());
    format!("▕{bar}{}▏", " ".repeat(pad))
}
