//! The bar above the line that is typed: what was just done, files on their way, the connection.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::super::app::{App, Standing, size};
use super::super::room::{Room, View};
use super::super::wrap::{cut, width};

/// How it goes: what was just done, transfers, the connection. Where not all of it fits, what was just done is told
/// whole before the rest.
pub(super) fn bar(app: &App, area: Rect, frame: &mut Frame<'_>) {
    let palette = app.options.palette;
    let columns = usize::from(area.width);
    let (left, left_style) = left_of_bar(app);
    let wide = |spans: &[Span<'_>]| spans.iter().map(|span| width(&span.content)).sum::<usize>();
    let all = vec![transfers(app, true), standing(app, true)];
    let few = vec![transfers(app, app.word.is_none()), standing(app, false)];
    let right = match width(&left) + wide(&all) + 3 > columns {
        true => few,
        false => all,
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

/// The newest file on its way, and how many more there are.
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
            match is_whole {
                true => format!("{} {percent:>3} %", gauge(part(80) as usize)),
                false => format!("{percent} %"),
            }
        }
        None => size(done),
    };
    // What a download is called is known once it has begun.
    let message = transfer.bar.message();
    let name = match message.is_empty() {
        true => &transfer.name,
        false => &message,
    };
    let name = match is_whole {
        true => format!("{} ", cut(name, 20)),
        false => String::new(),
    };
    let more = match app.transfers.len() {
        1 => String::new(),
        n => format!(", {} more", n - 1),
    };
    let text = format!("{arrow} {name}{progress}{more}  ");
    Span::styled(text, app.options.palette.good())
}

/// How the connection does.
fn standing(app: &App, is_whole: bool) -> Span<'static> {
    let palette = app.options.palette;
    let waiting = app.waiting();
    match &app.standing {
        Standing::Coming => Span::styled("connecting … ", palette.dim_in_bar()),
        Standing::Here if waiting > 0 => {
            Span::styled(format!("{waiting} on the way "), palette.dim_in_bar())
        }
        Standing::Here if is_whole => Span::styled(format!("● {} ", app.host), palette.good()),
        Standing::Here => Span::styled("● ", palette.good()),
        Standing::Away { .. } if !is_whole => Span::styled("○ away ", palette.error()),
        Standing::Away { until, .. } => {
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
        true => (
            "Tab completes, /help tells more".to_owned(),
            palette.dim_in_bar(),
        ),
        false if !app.has_spoken() => ("Type /help for help".to_owned(), palette.dim_in_bar()),
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
