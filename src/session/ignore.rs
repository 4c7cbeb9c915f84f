//! The nicks that a connection ignores.

use super::Session;
use super::output::AfterReply;
use super::output::Entries;
use super::request::Done;
use crate::config::fixed::IGNORED_MAX;
use crate::protocol::event::{EventLayout, EventVerb};
use crate::protocol::request::Refusal;
use crate::protocol::{Code, Nick, Verb};

impl Session {
    pub(super) fn ignore(&mut self, nick: Option<&Nick>) -> Done {
        let verb = Verb::Ignore;
        let Some(nick) = nick else {
            let ignored = self.ignored.as_deref().into_iter().flatten();
            let mut lines = Entries::new("IGNORE", self.input);
            ignored.for_each(|form| lines.add(&[form]));
            let count = self.send_entries(lines);
            self.ok(
                verb,
                &count.to_string(),
                &format!("{count} ignored"),
                AfterReply::Nothing,
            );
            return Ok(None);
        };
        let ignored = self.ignored.get_or_insert_default();
        if ignored.len() >= IGNORED_MAX && !ignored.contains(nick.casefolded()) {
            let text = format!("you ignore {IGNORED_MAX} nicks already; UNIGNORE one");
            return Err(Refusal::new(verb, Code::Quota, text));
        }
        ignored.insert(nick.casefolded().into());
        let talk = format!("messages of {nick} are hidden now");
        self.ok(verb, nick.as_str(), &talk, AfterReply::Nothing);
        Ok(None)
    }

    pub(super) fn unignore(&mut self, nick: &Nick) -> Done {
        let verb = Verb::Unignore;
        let was_there = self
            .ignored
            .as_mut()
            .is_some_and(|ignored| ignored.remove(nick.casefolded()));
        // If no nick is ignored, events need not be compared with a list.
        self.ignored = self.ignored.take().filter(|ignored| !ignored.is_empty());
        if !was_there {
            let text = format!("{nick} was not ignored; IGNORE lists the ignored nicks");
            return Err(Refusal::new(verb, Code::NoSuchNick, text));
        }
        self.ok(
            verb,
            nick.as_str(),
            &format!("messages of {nick} are shown again"),
            AfterReply::Nothing,
        );
        Ok(None)
    }

    /// Returns whether a live event is hidden from this connection. An operator's notices to everyone are never hidden.
    pub(super) fn ignores(&self, layout: EventLayout, line: &str) -> bool {
        let Some(ignored) = self.ignored.as_deref() else {
            return false;
        };
        // A change of nick is not hidden either, because an ignored user would otherwise appear under the new nick as a
        // stranger.
        if matches!(layout.verb(), Some(EventVerb::Note | EventVerb::Nick)) {
            return false;
        }
        let nick = layout.nick(line).and_then(|nick| Nick::parse(nick).ok());
        nick.is_some_and(|nick| ignored.contains(nick.casefolded()))
    }
}
