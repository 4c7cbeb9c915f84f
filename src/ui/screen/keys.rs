//! Keys and the mouse. Pure.

use crossterm::event::{
    Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEventKind,
};

use super::app::{App, Effect};
use super::layout::Areas;
use super::room::Target;
use crate::client::ClientState;

/// The number of lines that one step of the mouse wheel scrolls.
const WHEEL_LINES: isize = 3;

/// Processes an event of the terminal.
pub fn event(app: &mut App, event: Event, state: &mut ClientState) {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => press(app, key, state),
        Event::Key(_) => {}
        Event::Paste(text) => app.pasted(&text, state),
        Event::Resize(columns, rows) => {
            app.size = (columns, rows);
            // The scroll position is the same, but there may be too few lines below it now.
            app.scroll(0, state);
            app.fit_picture();
        }
        Event::FocusGained => app.focus(true),
        Event::FocusLost => app.focus(false),
        Event::Mouse(mouse) => {
            let by = match mouse.kind {
                MouseEventKind::ScrollUp => WHEEL_LINES,
                MouseEventKind::ScrollDown => -WHEEL_LINES,
                MouseEventKind::Down(MouseButton::Left) => {
                    return click(app, mouse.column, mouse.row);
                }
                _ => return,
            };
            match &mut app.list {
                Some(list) => list.step(-by),
                None => app.scroll(by, state),
            }
        }
    }
}

/// Processes a key.
fn press(app: &mut App, mut key: KeyEvent, state: &mut ClientState) {
    if (key.code, key.modifiers) == (KeyCode::Char('j'), KeyModifiers::CONTROL) {
        // Programs such as expect send LF instead of CR.
        key = KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE);
    }
    let has = |modifier| key.modifiers.contains(modifier);
    let (ctrl, alt) = (has(KeyModifiers::CONTROL), has(KeyModifiers::ALT));
    let shift = has(KeyModifiers::SHIFT);
    if app.picture.take().is_some() {
        return;
    }
    if app.paste.is_some() {
        return answer(app, key, state);
    }
    if app.list.is_some() {
        return choose(app, key, state);
    }
    if app.is_selecting() {
        return with_selected(app, key, state);
    }
    let is_prefixed = std::mem::take(&mut app.is_prefixed);
    let is_tab = matches!(key.code, KeyCode::Tab | KeyCode::BackTab);
    if !is_tab && key.code == KeyCode::Esc && app.completion.take().is_some() {
        return;
    }
    if !is_tab {
        app.completion = None;
    }
    let page = isize::try_from(Areas::of(app).body.height / 2)
        .unwrap_or(1)
        .max(1);
    match key.code {
        KeyCode::Enter if alt || shift => return app.new_line(state),
        KeyCode::Enter => return app.enter(state),
        KeyCode::Tab => return app.complete(shift),
        KeyCode::BackTab => return app.complete(true),
        KeyCode::Esc => {
            app.message = None;
            if app.drop_target() {
                return;
            }
            return app.to_bottom(state);
        }
        KeyCode::PageUp if alt => return app.go_day(true, state),
        KeyCode::PageDown if alt => return app.go_day(false, state),
        KeyCode::PageUp => return app.scroll(page, state),
        KeyCode::PageDown => return app.scroll(-page, state),
        KeyCode::Up if alt => return app.go_by(-1),
        KeyCode::Down if alt => return app.go_by(1),
        KeyCode::Up if shift || ctrl => return app.scroll(1, state),
        KeyCode::Down if shift || ctrl => return app.scroll(-1, state),
        KeyCode::Home if ctrl || alt => return app.to_top(state),
        KeyCode::End if ctrl || alt => return app.to_bottom(state),
        KeyCode::F(1) => return app.command(super::command::Command::Help, state),
        KeyCode::Char('c') if ctrl => return app.interrupt(state),
        KeyCode::Char('n') if ctrl => return app.go_by(1),
        KeyCode::Char('p') if ctrl => return app.go_by(-1),
        KeyCode::Char('l') if ctrl => return app.request_effect(Effect::Redraw),
        KeyCode::Char('z') if ctrl => return app.request_effect(Effect::Suspend),
        KeyCode::Char('r') if ctrl => return app.select(true, state),
        KeyCode::Char('x') if ctrl => {
            app.is_prefixed = true;
            return;
        }
        KeyCode::Char('e') if ctrl && is_prefixed => {
            let text = app.room().map(|room| room.editor.text().to_owned());
            return app.request_effect(Effect::Edit(text.unwrap_or_default()));
        }
        KeyCode::Up if app.edit_last(state) => return,
        KeyCode::Up if app.room_mut().is_some_and(|room| room.editor.line_up()) => return,
        KeyCode::Down if app.room_mut().is_some_and(|room| room.editor.line_down()) => return,
        KeyCode::Char('a') if alt => return app.go_unread(),
        KeyCode::Char('u') if alt => return app.to_first_new(state),
        KeyCode::Char(digit @ '1'..='9') if alt => {
            return app.go(digit as usize - '1' as usize);
        }
        KeyCode::Char('d')
            if ctrl && app.room().is_none_or(|room| room.editor.text().is_empty()) =>
        {
            return app.leave("", state);
        }
        _ => {}
    }
    let Some(room) = app.room_mut() else { return };
    let editor = &mut room.editor;
    match key.code {
        KeyCode::Left if ctrl || alt => editor.word_left(),
        KeyCode::Right if ctrl || alt => editor.word_right(),
        KeyCode::Char('b') if alt => editor.word_left(),
        KeyCode::Char('f') if alt => editor.word_right(),
        KeyCode::Left => editor.left(),
        KeyCode::Right => editor.right(),
        KeyCode::Char('b') if ctrl => editor.left(),
        KeyCode::Char('f') if ctrl => editor.right(),
        KeyCode::Home => editor.home(),
        KeyCode::End => editor.end(),
        KeyCode::Char('a') if ctrl => editor.home(),
        KeyCode::Char('e') if ctrl => editor.end(),
        KeyCode::Up | KeyCode::Down => {
            let before = editor.text().to_owned();
            if key.code == KeyCode::Up {
                editor.older();
            } else {
                editor.newer();
            }
            // Another line of the history is a new message, and not an edit.
            if editor.text() != before && matches!(room.target, Some(Target::Edit(_))) {
                room.target = None;
            }
        }
        KeyCode::Backspace if ctrl || alt => editor.cut_word(),
        KeyCode::Backspace => editor.backspace(),
        KeyCode::Char('h') if ctrl => editor.backspace(),
        KeyCode::Delete if ctrl || alt => editor.cut_word_right(),
        KeyCode::Delete => editor.delete(),
        KeyCode::Char('d') if ctrl => editor.delete(),
        KeyCode::Char('w') if ctrl => editor.cut_word(),
        KeyCode::Char('d') if alt => editor.cut_word_right(),
        KeyCode::Char('u') if ctrl => editor.cut_to_start(),
        KeyCode::Char('k') if ctrl => editor.cut_to_end(),
        KeyCode::Char('y') if ctrl => editor.paste_cut(),
        KeyCode::Char(c) if !ctrl && !alt => {
            let mut bytes = [0; 4];
            editor.insert(c.encode_utf8(&mut bytes));
            app.message = None;
        }
        _ => {}
    }
}

/// Processes a key while the user must decide what to do with a pasted text.
fn answer(app: &mut App, key: KeyEvent, state: &mut ClientState) {
    match key.code {
        KeyCode::Enter => app.send_paste(true, state),
        KeyCode::Char('l') => app.send_paste(false, state),
        KeyCode::Char('i') => app.edit_paste(),
        KeyCode::Char('f') => {
            if let Some(paste) = app.paste.take() {
                app.upload_paste(&paste.text);
            }
        }
        KeyCode::Char('j') => {
            let text = app.paste.take().map(|paste| paste.text).unwrap_or_default();
            let lines: Vec<&str> = text
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .collect();
            if let Some(room) = app.room_mut() {
                room.editor.insert(&lines.join(" "));
            }
        }
        KeyCode::Esc | KeyCode::Char('c') => app.paste = None,
        _ => {}
    }
}

/// Processes a key while a message is selected.
fn with_selected(app: &mut App, key: KeyEvent, state: &mut ClientState) {
    let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Esc | KeyCode::Char('q') => app.unselect(state),
        KeyCode::Char('c') if ctrl => app.unselect(state),
        KeyCode::Up | KeyCode::Char('k') => app.select(true, state),
        KeyCode::Char('r' | 'p') if ctrl => app.select(true, state),
        KeyCode::Down | KeyCode::Char('j') => app.select(false, state),
        KeyCode::Char('n') if ctrl => app.select(false, state),
        KeyCode::Char(_) if ctrl => {}
        KeyCode::Enter => app.reply_to_selected(state),
        KeyCode::Char('e') => app.edit_selected(state),
        KeyCode::Char('r' | '+') => app.react_to_selected(state),
        KeyCode::Char('c' | 'y') => app.copy_selected(state),
        KeyCode::Char('d') | KeyCode::Delete => app.remove_selected(state),
        KeyCode::Char('g') => app.go_to_original(state),
        KeyCode::Char('v') => app.view_selected(),
        _ => {}
    }
}

/// Processes a key while a list is open.
fn choose(app: &mut App, key: KeyEvent, state: &mut ClientState) {
    let page = isize::try_from(app.size.1 / 2).unwrap_or(1).max(1);
    let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    let Some(list) = &mut app.list else { return };
    match key.code {
        KeyCode::Enter => app.choose(state),
        KeyCode::Esc | KeyCode::Char('q') => app.list = None,
        KeyCode::Char('c') if ctrl => app.list = None,
        KeyCode::Up | KeyCode::Char('k') => list.step(-1),
        KeyCode::Down | KeyCode::Char('j') => list.step(1),
        KeyCode::PageUp => list.step(-page),
        KeyCode::PageDown => list.step(page),
        KeyCode::Home => list.step(isize::MIN / 2),
        KeyCode::End => list.step(isize::MAX / 2),
        _ => {}
    }
}

/// Processes a click. A click on a room at the side shows that room.
fn click(app: &mut App, column: u16, row: u16) {
    let areas = Areas::of(app);
    if column >= areas.side.right() || !areas.side.contains((column, row).into()) {
        return;
    }
    if let Some(at) = super::draw::room_at(app, areas.side, row) {
        app.go(at);
    }
}
