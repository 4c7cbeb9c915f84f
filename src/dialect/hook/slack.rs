//! Reads bodies in the formats of Slack, Mattermost and Discord. Returns the lines of text that these services would
//! show.

use serde_json::{Map, Value};

use super::{is_blank, string};

/// Returns the text of a body for Slack or Mattermost; empty if it has none.
pub(super) fn text(body: &Map<String, Value>) -> String {
    let mut lines = Vec::new();
    blocks(body.get("blocks"), &mut lines);
    if lines.is_empty() {
        add(&mut lines, mrkdwn(&string(body.get("text"))));
    }
    for attachment in objects(body.get("attachments")) {
        let before = lines.len();
        attached(attachment, &mut lines);
        if lines.len() == before {
            add(&mut lines, markup(attachment, "fallback"));
        }
    }
    lines.join("\n")
}

/// Returns the text of a body for Discord; empty if it has none.
pub(super) fn discord(body: &Map<String, Value>) -> String {
    let mut lines = Vec::new();
    add(&mut lines, string(body.get("content")));
    for embed in objects(body.get("embeds")) {
        add(&mut lines, linked(embed, "title", "url", string));
        add(&mut lines, string(embed.get("description")));
        for field in objects(embed.get("fields")) {
            add(&mut lines, named(field, "name", string));
        }
    }
    lines.join("\n")
}

/// Appends the text of an attachment.
fn attached(attachment: &Map<String, Value>, lines: &mut Vec<String>) {
    add(lines, markup(attachment, "pretext"));
    add(lines, markup(attachment, "author_name"));
    add(lines, linked(attachment, "title", "title_link", marked));
    add(lines, markup(attachment, "text"));
    for field in objects(attachment.get("fields")) {
        add(lines, named(field, "title", marked));
    }
    blocks(attachment.get("blocks"), lines);
    add(lines, string(attachment.get("image_url")));
}

/// Appends the text of blocks (Block Kit). Blocks of unknown types are skipped.
fn blocks(list: Option<&Value>, lines: &mut Vec<String>) {
    for block in objects(list) {
        match string(block.get("type")).as_str() {
            "header" | "section" => {
                add(lines, text_of(block.get("text")));
                for field in array(block.get("fields")) {
                    add(lines, text_of(Some(field)));
                }
            }
            "context" => {
                let elements = array(block.get("elements")).iter();
                let texts = elements.map(|element| match element.get("alt_text") {
                    Some(picture) => string(Some(picture)),
                    None => text_of(Some(element)),
                });
                let texts: Vec<_> = texts.filter(|text| !is_blank(text)).collect();
                add(lines, texts.join(" "));
            }
            "markdown" => add(lines, string(block.get("text"))),
            "rich_text" => rich_texts(block.get("elements"), "", lines),
            "image" => add(lines, linked(block, "alt_text", "image_url", string)),
            "actions" => {
                for button in objects(block.get("elements")) {
                    let (label, url) = (text_of(button.get("text")), string(button.get("url")));
                    if !is_blank(&url) {
                        add(lines, format!("{label}: {url}"));
                    }
                }
            }
            _ => {}
        }
    }
}

/// Appends the parts of a rich text. Each part is one line or more, and `mark` precedes each line.
fn rich_texts(parts: Option<&Value>, mark: &str, lines: &mut Vec<String>) {
    for part in objects(parts) {
        let elements = part.get("elements");
        match string(part.get("type")).as_str() {
            "rich_text_list" => rich_texts(elements, "- ", lines),
            "rich_text_quote" => add(lines, format!("> {}", leaves(elements))),
            _ => add(lines, format!("{mark}{}", leaves(elements))),
        }
    }
}

/// Returns the texts inside a rich text, joined together.
fn leaves(elements: Option<&Value>) -> String {
    let leaf = |element: &Map<String, Value>| {
        let field = |name: &str| string(element.get(name));
        match field("type").as_str() {
            "link" if is_blank(&field("text")) => field("url"),
            "link" => format!("{} ({})", field("text"), field("url")),
            "user" => format!("@{}", field("user_id")),
            "usergroup" => format!("@{}", field("usergroup_id")),
            "broadcast" => format!("@{}", field("range")),
            "channel" => format!("#{}", field("channel_id")),
            "emoji" => format!(":{}:", field("name")),
            _ => field("text"),
        }
    };
    objects(elements).map(leaf).collect()
}

/// Returns the text of a text object. Tools may also send a plain string instead of the object.
fn text_of(object: Option<&Value>) -> String {
    match object {
        Some(Value::Object(object)) => markup(object, "text"),
        text => marked(text),
    }
}

fn markup(object: &Map<String, Value>, name: &str) -> String {
    marked(object.get(name))
}

fn marked(value: Option<&Value>) -> String {
    mrkdwn(&string(value))
}

type AsText = fn(Option<&Value>) -> String;

/// Returns a title, followed by the address of its link.
fn linked(object: &Map<String, Value>, title: &str, link: &str, as_text: AsText) -> String {
    let (title, link) = (as_text(object.get(title)), string(object.get(link)));
    match (is_blank(&title), is_blank(&link)) {
        (true, _) => link,
        (false, true) => title,
        (false, false) => format!("{title} {link}"),
    }
}

/// Returns a field as `title: value`. Netdata sends some fields without a value.
fn named(field: &Map<String, Value>, title: &str, as_text: AsText) -> String {
    let (title, value) = (as_text(field.get(title)), as_text(field.get("value")));
    match (is_blank(&title), is_blank(&value)) {
        (true, _) => value,
        (false, true) => title,
        (false, false) => format!("{title}: {value}"),
    }
}

fn add(lines: &mut Vec<String>, text: String) {
    if !is_blank(&text) {
        lines.push(text);
    }
}

fn array(value: Option<&Value>) -> &[Value] {
    let array = value.and_then(Value::as_array);
    array.map(Vec::as_slice).unwrap_or_default()
}

fn objects(value: Option<&Value>) -> impl Iterator<Item = &Map<String, Value>> {
    array(value).iter().filter_map(Value::as_object)
}

/// Converts a text in Slack's markup: links and mentions are written out, and `*bold*` is left as it is.
fn mrkdwn(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from)) = rest.split_once('<') {
        out.push_str(before);
        // A link contains neither a line end nor another link.
        let link = from.find(['<', '>', '\n']).map(|end| from.split_at(end));
        let link = link.and_then(|(link, after)| Some((shown(link)?, after.strip_prefix('>')?)));
        match link {
            Some((shown, after)) => {
                out.push_str(&shown);
                rest = after;
            }
            None => {
                out.push('<');
                rest = from;
            }
        }
    }
    out.push_str(rest);
    if out.contains('&') {
        out = out.replace("&lt;", "<").replace("&gt;", ">");
        out = out.replace("&amp;", "&");
    }
    out
}

/// Returns the text of a link or mention, which is given without its angle brackets; `None` for anything else.
fn shown(link: &str) -> Option<String> {
    let (target, label) = match link.split_once('|') {
        Some((target, label)) => (target, Some(label).filter(|label| !is_blank(label))),
        None => (link, None),
    };
    let mention = |sign: char, name: &str| {
        let name = label.unwrap_or(name);
        format!("{sign}{}", name.strip_prefix(sign).unwrap_or(name))
    };
    match target.chars().next()? {
        '@' => Some(mention('@', target.get(1..)?)),
        '#' => Some(mention('#', target.get(1..)?)),
        '!' if target.starts_with("!date") => Some(label.unwrap_or_default().to_owned()),
        '!' => Some(mention('@', target.get(1..)?)),
        _ if target.contains("://") || target.starts_with("mailto:") => Some(match label {
            Some(label) if label != target => format!("{label} ({target})"),
            _ => target.to_owned(),
        }),
        _ => None,
    }
}
