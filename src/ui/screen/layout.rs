//! The layout of the screen. Pure.

use ratatui::layout::Rect;

use super::app::App;
use super::room::Target;
use super::wrap::width;

/// The minimum width of the screen for a list of rooms. On a narrower screen, the status bar shows what is unread.
const SIDE_FROM: u16 = 64;

/// The minimum width of the screen for a list of members.
const MEMBERS_FROM: u16 = 96;

/// The maximum number of rows of the input line.
const INPUT_ROWS_MAX: usize = 6;

/// The parts of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Areas {
    /// The room's name and topic.
    pub head: Rect,
    /// The list of rooms; empty on a narrow screen.
    pub side: Rect,
    /// The messages.
    pub body: Rect,
    /// The members; empty on a narrow screen, and in private chats.
    pub members: Rect,
    /// The status bar.
    pub bar: Rect,
    /// The input line.
    pub input: Rect,
}

impl Areas {
    /// Computes the layout of `app`.
    pub fn of(app: &App) -> Self {
        let (columns, rows) = app.size;
        let input_rows = app.room().map_or(1, |room| {
            input_lines(room.editor.text(), prompt(app), columns)
                .len()
                .min(INPUT_ROWS_MAX)
        });
        let input_rows = (input_rows as u16).min(rows.saturating_sub(3).max(1));
        let side = if columns >= SIDE_FROM {
            side_width(app)
        } else {
            0
        };
        let has_members = app
            .room()
            .is_some_and(|room| room.is_room() && !room.members.is_empty());
        let members = if columns >= MEMBERS_FROM && has_members {
            18
        } else {
            0
        };
        let body_rows = rows.saturating_sub(2 + input_rows);
        let middle = |x, width| Rect::new(x, 1.min(rows), width, body_rows);
        Self {
            head: Rect::new(0, 0, columns, 1.min(rows)),
            side: middle(0, side),
            body: middle(side, columns.saturating_sub(side + members)),
            members: middle(columns.saturating_sub(members), members),
            bar: Rect::new(0, rows.saturating_sub(input_rows + 1), columns, 1.min(rows)),
            input: Rect::new(0, rows.saturating_sub(input_rows), columns, input_rows),
        }
    }
}

/// Returns the area of a picture in front of the room. The row above it contains the picture's title.
pub fn picture_area(app: &App) -> Rect {
    let body = Areas::of(app).body;
    let height = body.height.saturating_sub(1);
    Rect::new(0, body.y + 1, app.size.0, height)
}

fn side_width(app: &App) -> u16 {
    let longest = app
        .rooms
        .iter()
        .map(|room| width(&room.name))
        .max()
        .unwrap_or(0);
    // The width of a mark, the name, a count, and the vertical line.
    (longest + 8).clamp(14, 26) as u16
}

/// Returns the prompt.
pub fn prompt(app: &App) -> String {
    let word = match app.room().and_then(|room| room.target) {
        Some(Target::Reply(_)) => " reply",
        Some(Target::Edit(_)) => " edit",
        None => "",
    };
    if app.nick.is_empty() {
        "› ".to_owned()
    } else {
        format!("{}{word} › ", app.nick)
    }
}

/// Wraps the text of the input line behind the prompt. Returns the range of each row.
pub fn input_lines(text: &str, prompt: String, columns: u16) -> Vec<std::ops::Range<usize>> {
    use unicode_segmentation::UnicodeSegmentation;
    use unicode_width::UnicodeWidthStr;
    let columns = usize::from(columns).saturating_sub(width(&prompt)).max(4);
    let (mut lines, mut start, mut used) = (Vec::new(), 0, 0);
    for (at, grapheme) in text.grapheme_indices(true) {
        if grapheme == "\n" {
            lines.push(start..at);
            (start, used) = (at + 1, 0);
            continue;
        }
        // One column is kept free for the cursor.
        if used + grapheme.width() >= columns {
            lines.push(start..at);
            (start, used) = (at, 0);
        }
        used += grapheme.width();
    }
    lines.push(start..text.len());
    lines
}
