//! Reads the alerts of Alertmanager and Grafana. Each alert becomes a message of its own, so that users can search for
//! the message and reply to it, and so that the message about the alert's resolution can refer to it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Alert, BadBody, Message, is_blank, string};
use crate::config::fixed::HOOK_ALERTS_MAX;
use crate::protocol::text::is_clean;

/// The maximum number of characters in a fingerprint or severity that is kept as a tag.
const TAG_CHARS_MAX: usize = 64;

/// Returns a message for each alert. If there are more alerts than [`HOOK_ALERTS_MAX`], one more message says how
/// many alerts were left out.
pub(super) fn messages(
    body: &Map<String, Value>,
    alerts: &[Value],
) -> Result<Vec<Message>, BadBody> {
    let whole = string(body.get("status"));
    let alerts = alerts.iter().filter_map(Value::as_object);
    let alerts: Vec<_> = alerts.map(|alert| Facts::of(alert, &whole)).collect();
    let (shown, others) = alerts.split_at(alerts.len().min(HOOK_ALERTS_MAX));
    let mut messages = Vec::new();
    for alert in shown {
        messages.push(alert.message()?);
    }
    if !others.is_empty() {
        let resolved = others.iter().filter(|alert| alert.is_resolved()).count();
        let text = format!(
            "… {} more alerts: {} firing, {resolved} resolved",
            others.len(),
            others.len() - resolved
        );
        let mut message = Message::new(&text, &[])?;
        let identities: Vec<String> = others.iter().map(Facts::identity).collect();
        message.identity = Some(identities.join("\n"));
        messages.push(message);
    }
    if messages.is_empty() {
        return Err(BadBody::NoText);
    }
    Ok(messages)
}

/// The fields of an alert that are used here.
struct Facts {
    status: String,
    labels: BTreeMap<String, String>,
    summary: String,
    fingerprint: String,
    since: String,
}

impl Facts {
    /// Reads an alert. If the alert has no status of its own, `whole`, the status of its group, is used.
    fn of(alert: &Map<String, Value>, whole: &str) -> Self {
        let labels = alert.get("labels").and_then(Value::as_object);
        let labels = labels.into_iter().flatten();
        // Grafana's own labels begin with two underscores.
        let labels = labels.filter(|(name, _)| !name.starts_with("__"));
        let labels = labels.map(|(name, value)| (name.clone(), string(Some(value))));
        let annotations = alert.get("annotations");
        let annotation = |name: &&str| string(annotations.and_then(|all| all.get(*name)));
        let summary = ["summary", "description", "message"];
        let summary = summary.iter().map(annotation).find(|text| !is_blank(text));
        let status = string(alert.get("status"));
        Self {
            status: if is_blank(&status) {
                whole.to_owned()
            } else {
                status
            },
            labels: labels.collect(),
            summary: summary.unwrap_or_default(),
            fingerprint: string(alert.get("fingerprint")),
            since: string(alert.get("startsAt")),
        }
    }

    fn is_resolved(&self) -> bool {
        self.status.eq_ignore_ascii_case("resolved")
    }

    /// Returns a text that is the same if the notification is posted again. The end time is left out, because it
    /// changes.
    fn identity(&self) -> String {
        let what = if self.fingerprint.is_empty() {
            format!("{:?}", self.labels)
        } else {
            self.fingerprint.clone()
        };
        format!("{} {} {what}", self.status, self.since)
    }

    fn message(&self) -> Result<Message, BadBody> {
        let status = if is_blank(&self.status) {
            "alert"
        } else {
            &self.status
        };
        let mut text = format!("[{}]", status.to_uppercase());
        if let Some(name) = self.labels.get("alertname") {
            text.push_str(&format!(" {name}"));
        }
        let labels = self.labels.iter();
        let labels = labels.filter(|(name, _)| *name != "alertname");
        let labels: Vec<_> = labels
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !labels.is_empty() {
            text.push_str(&format!(" ({})", labels.join(" ")));
        }
        if !is_blank(&self.summary) {
            text.push_str(&format!(": {}", self.summary.trim_start()));
        }
        let severity = self.labels.get("severity").map_or("", String::as_str);
        let own = [
            ("x-severity", severity),
            ("x-fingerprint", &self.fingerprint),
        ];
        let own: Vec<_> = own.into_iter().filter(|(_, value)| is_tag(value)).collect();
        let mut message = Message::new(&text, &own)?;
        message.alert = is_tag(&self.fingerprint).then(|| Alert {
            fingerprint: self.fingerprint.clone(),
            is_resolved: self.is_resolved(),
        });
        message.identity = Some(self.identity());
        Ok(message)
    }
}

/// Returns whether a value is short and plain enough for a tag.
fn is_tag(value: &str) -> bool {
    !value.is_empty() && value.chars().count() <= TAG_CHARS_MAX && is_clean(value)
}
