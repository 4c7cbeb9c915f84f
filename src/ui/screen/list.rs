//! A list in front of the room, from which the user chooses a row.

/// A list of rows, one of which is selected.
#[derive(Debug)]
pub struct List {
    /// The title.
    pub title: String,
    /// The rows.
    pub rows: Vec<Row>,
    /// The index of the selected row.
    pub at: usize,
}

/// A row of a [`List`].
#[derive(Debug)]
pub struct Row {
    /// The part of the row that is shown in a dim color, such as a time.
    pub head: String,
    /// The text.
    pub text: String,
    /// The action when Enter is pressed.
    pub action: RowAction,
}

/// The action when a row is chosen.
#[derive(Clone, Debug)]
pub enum RowAction {
    /// Closes the list.
    Close,
    /// Goes to a message.
    Jump(String, u64),
    /// Joins a room.
    Join(String),
    /// Downloads a file.
    Download(u64),
    /// Opens a private chat.
    Query(String),
    /// Copies text to the clipboard.
    Copy(String),
    /// Opens a link in the browser.
    Open(String),
    /// Reacts to a message, or withdraws the reaction.
    React(u64, String),
    /// Puts text into the input line.
    Type(String),
}

impl List {
    /// Selects the row that is `by` rows further down.
    pub fn step(&mut self, by: isize) {
        let last = self.rows.len().saturating_sub(1);
        self.at = self.at.saturating_add_signed(by).min(last);
    }
}
