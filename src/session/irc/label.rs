//! Labels (`labeled-response`): the answer to a command is marked with the command's label, which the client has
//! chosen.
//!
//! A command may be answered in several steps, with queries to the log or the accounts between them. If lines are
//! queued before the last step, their total number is not known yet, so a batch is opened for them.

use super::super::output::{AfterReply, Pending};
use super::super::{Effect, Session};
use crate::dialect::irc::{Cap, IrcLine, Label, begin_batch, end_batch, is_batch};
use crate::dialect::{Output, ReplyBody};

/// A labeled command that is being answered.
#[derive(Debug)]
pub(super) struct Labeled {
    label: Box<str>,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Nothing has been queued yet.
    Begun,
    /// The batch for the answer is open.
    InBatch,
    /// The answer is a batch, which has the label.
    IsBatch,
}

impl Session {
    /// Remembers the label of a command, if the client has requested labeled answers. If the line continues a labeled
    /// command, the command keeps its label.
    pub(super) fn irc_take_label(&mut self, line: &IrcLine<'_>) {
        let Some(irc) = self.irc.as_deref_mut() else {
            return;
        };
        let caps = irc.client.caps;
        if irc.labeled.is_none() && caps.has(Cap::LabeledResponse) && caps.has(Cap::Batch) {
            let label = line.tag("label").and_then(|label| Label::parse(&label));
            irc.labeled = label.map(|label| {
                let progress = Progress::Begun;
                Box::new(Labeled { label, progress })
            });
        }
    }

    /// Marks the replies of a step if they answer a labeled command. The replies begin at the position `step`.
    pub(in super::super) fn irc_label(&mut self, step: usize, effect: Option<&Effect>) {
        let labeled = self.irc.as_deref_mut().and_then(|irc| irc.labeled.take());
        let Some(mut labeled) = labeled else {
            return;
        };
        let waits = matches!(
            effect,
            Some(Effect::QueryLog(_) | Effect::QueryAccounts(_) | Effect::Flush)
        );
        let is_last = !waits && self.replies().deferred.is_none();
        self.irc_mark(&mut labeled, step, is_last);
        if let Some(irc) = self.irc.as_deref_mut().filter(|_| !is_last) {
            irc.labeled = Some(labeled);
        }
    }

    fn irc_mark(&mut self, labeled: &mut Labeled, step: usize, is_last: bool) {
        let pending = &self.replies().pending;
        let is_text = |at: &usize| match pending.get(*at) {
            Some(Pending::Text(text)) => !text.text.is_empty(),
            pending => pending.is_some(),
        };
        let parts: Vec<usize> = (step..pending.len()).filter(is_text).collect();
        let text = |at: usize| match pending.get(at) {
            Some(Pending::Text(text)) => Some(&**text),
            _ => None,
        };
        let whole = Label::Whole(labeled.label.clone());
        let closing = parts
            .iter()
            .find(|at| text(**at).is_some_and(|text| text.then == AfterReply::Close));
        match (labeled.progress, &parts[..]) {
            (Progress::Begun, []) if is_last => {
                let mut out = Output::default();
                if let Some(irc) = self.irc.as_deref() {
                    whole.mark(&irc.client, 0, &mut out.bytes);
                }
                self.push(out, AfterReply::Nothing);
            }
            (Progress::Begun, [_, ..]) if let Some(last) = closing => {
                // The connection closes after this line, so a batch could not be ended. Therefore the line itself has
                // the label.
                self.irc_mark_reply(*last, &whole);
            }
            (Progress::Begun, [first, ..])
                if text(*first).is_some_and(|text| is_batch(&text.text.bytes)) =>
            {
                labeled.progress = Progress::IsBatch;
                self.irc_mark_reply(*first, &whole);
            }
            (Progress::Begun, [only])
                if is_last && !matches!(pending.get(*only), Some(Pending::List(_))) =>
            {
                self.irc_mark_reply(*only, &whole);
            }
            (Progress::IsBatch, _) | (_, []) => {}
            (Progress::Begun | Progress::InBatch, parts) => {
                for at in parts {
                    self.irc_mark_reply(*at, &Label::Inside);
                }
                if labeled.progress == Progress::Begun {
                    labeled.progress = Progress::InBatch;
                    self.irc_send(|client, out| begin_batch(client, &labeled.label, out));
                    // The line that begins the batch was queued last, but must come first.
                    let pending = &mut self.replies_mut().pending;
                    if let Some(begin) = pending.pop_back() {
                        pending.insert(step, begin);
                    }
                }
            }
        }
        if is_last && labeled.progress == Progress::InBatch {
            self.irc_send(end_batch);
        }
    }

    /// Marks the lines of a queued reply.
    fn irc_mark_reply(&mut self, at: usize, label: &Label) {
        let (Some(irc), Some(replies)) = (self.irc.as_deref(), self.replies.as_deref_mut()) else {
            return;
        };
        match replies.pending.get_mut(at) {
            Some(Pending::Text(reply)) => {
                let before = reply.text.len();
                label.mark(&irc.client, 0, &mut reply.text.bytes);
                replies.bytes += reply.text.len() - before;
            }
            Some(Pending::Entry(reply)) => {
                let body = std::mem::replace(&mut reply.body, ReplyBody::Nothing);
                reply.body = ReplyBody::Labeled(Box::new((label.clone(), body)));
            }
            Some(Pending::List(list)) => list.is_labeled = true,
            None => {}
        }
    }
}
