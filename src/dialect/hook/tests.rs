use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(body: &str, expected: Result<&[&str], BadBody>) {
    let found = read(body.as_bytes());
    let found = found.map(|all| {
        let texts = all.iter().map(|message| message.text.as_str().to_owned());
        texts.collect::<Vec<_>>()
    });
    let found = found
        .as_ref()
        .map(|all| all.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(
        found.map_err(|why| *why),
        expected.map(<[_]>::to_vec),
        "{body}"
    );
}

#[track_caller]
fn check_text(body: &str, expected: &str) {
    check(body, Ok(&[expected]));
}

#[test]
fn links_in_slack_text_are_written_out() {
    check_text(
        r#"{"text":"build <https://ci/7|7> *done*"}"#,
        "build 7 (https://ci/7) *done*",
    );
    check_text(
        r#"{"text":"<https://ci/7> <https://ci|https://ci>"}"#,
        "https://ci/7 https://ci",
    );
    check_text(
        r#"{"text":"<@U1> <@U1|ann> <#C1|ops> <!here> <!subteam^S1|@oncall>"}"#,
        "@U1 @ann #ops @here @oncall",
    );
    check_text(r#"{"text":"<!date^1392734382^{date}|Feb 18>"}"#, "Feb 18");
    check_text(
        r#"{"text":"1 &lt; 2 &amp;amp; 3 &gt; 2"}"#,
        "1 < 2 &amp; 3 > 2",
    );
    // Text in angle brackets that is not a link is left unchanged.
    check_text(
        r#"{"text":"a <b> c << <https://x d"}"#,
        "a <b> c << <https://x d",
    );
    check_text(r#"{"text":"i<j\nk>l"}"#, "i<j\nk>l");
    check_text("\u{feff} {\"text\": 7}", "7");
}

#[test]
fn blocks_take_the_place_of_the_text_and_attachments_follow() {
    check_text(
        r#"{"text":"left out","blocks":[
            {"type":"header","text":{"type":"plain_text","text":"Deploy"}},
            {"type":"divider"},
            {"type":"section","text":{"type":"mrkdwn","text":"to <https://p|prod>"},"fields":[{"type":"mrkdwn","text":"*by* ann"}]},
            {"type":"context","elements":[{"type":"image","alt_text":"cat","image_url":"x"},{"type":"mrkdwn","text":"at 9"}]},
            {"type":"rich_text","elements":[
                {"type":"rich_text_section","elements":[{"type":"text","text":"see "},{"type":"link","url":"https://r","text":"run"},{"type":"user","user_id":"U1"},{"type":"emoji","name":"ok"}]},
                {"type":"rich_text_list","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"one"}]}]}]},
            {"type":"image","alt_text":"graph","image_url":"https://g"},
            {"type":"actions","elements":[{"type":"button","text":{"type":"plain_text","text":"Undo"},"url":"https://u"},{"type":"button","text":{"type":"plain_text","text":"none"}}]},
            {"type":"unknown","text":{"text":"no"}}]}"#,
        "Deploy\nto prod (https://p)\n*by* ann\ncat at 9\nsee run (https://r)@U1:ok:\n- one\ngraph https://g\nUndo: https://u",
    );
    check_text(
        r#"{"text":"t","blocks":[{"type":"divider"}],"attachments":[
            {"fallback":"no","pretext":"p","author_name":"a","title":"T","title_link":"https://t","text":"x","fields":[{"title":"k","value":"v","short":true},{"title":"alone"},{"title":"n","value":3}]},
            {"fallback":"only this"}]}"#,
        "t\np\na\nT https://t\nx\nk: v\nalone\nn: 3\nonly this",
    );
    // Alertmanager's default format: all its text is in the attachment.
    check_text(
        r##"{"channel":"#ops","username":"Alertmanager","attachments":[{"title":"[FIRING:1] DiskFull","title_link":"http://am/#/alerts","pretext":"","text":"","fallback":"[FIRING:1] DiskFull | http://am","footer":"","color":"danger","mrkdwn_in":["fallback"]}]}"##,
        "[FIRING:1] DiskFull http://am/#/alerts",
    );
}

#[test]
fn discord_apprise_and_forms_are_read() {
    check_text(
        r#"{"content":"hi","embeds":[{"title":"T","url":"https://t","description":"d","fields":[{"name":"k","value":"v"}]}]}"#,
        "hi\nT https://t\nd\nk: v",
    );
    check_text(
        r#"{"version":"1.0","title":"Backup","message":"done\r\nall","attachments":[],"type":"info"}"#,
        "Backup: done\nall",
    );
    check_text(r#"{"title":"Backup","message":""}"#, "Backup");
    check_text("payload=%7B%22text%22%3A+%22a+b%22%7D\n", "a b");
    // The text of a form has no markup.
    check_text(
        "text=a%26lt%3B+%3Chttps%3A%2F%2Fx%7Cy%3E%0Ab",
        "a&lt; <https://x|y>\nb",
    );
    check_text("title=Cron&message=failed", "Cron: failed");
    let part = |name: &str, value: &str| {
        format!("--x1\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let parts = part("title", "Cron") + &part("message", "--x\r\nfailed\n");
    check_text(&format!("{parts}--x1--\r\n"), "Cron: --x\nfailed");
    let payload = part("payload", r#"{"text":"a"}"#);
    check_text(&format!("{payload}--x1--"), "a");
    check(&payload, Err(BadBody::Malformed));
    check("--", Err(BadBody::Malformed));
}

#[test]
fn each_alert_is_a_message() {
    let body = r#"{"version":"4","groupKey":"{}","status":"firing","receiver":"r","alerts":[
        {"status":"firing","labels":{"alertname":"DiskFull","severity":"critical","instance":"db1","__x":"y"},"annotations":{"summary":"Disk 97% full","description":"no"},"startsAt":"2026-11-28T10:00:00Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"","fingerprint":"c9d8a1"},
        {"status":"resolved","labels":{"alertname":"Down"},"annotations":{"description":"it was\naway"},"startsAt":"2026-11-28T09:00:00Z","fingerprint":"77"}]}"#;
    check(
        body,
        Ok(&[
            "[FIRING] DiskFull (instance=db1 severity=critical): Disk 97% full",
            "[RESOLVED] Down: it was\naway",
        ]),
    );
    let all = read(body.as_bytes()).unwrap();
    assert_eq!(
        all[0].tags,
        "notice;x-severity=critical;x-fingerprint=c9d8a1"
    );
    assert_eq!(all[1].tags, "notice;x-fingerprint=77");
    let alert = |n: usize| {
        all[n]
            .alert
            .clone()
            .map(|alert| (alert.fingerprint, alert.is_resolved))
    };
    assert_eq!(alert(0), Some(("c9d8a1".into(), false)));
    assert_eq!(alert(1), Some(("77".into(), true)));
    // A repeated post with another end time is the same message. If the alert fires anew, it is another message.
    let later = body.replace("0001-01-01", "2027-01-01");
    let again = read(later.as_bytes()).unwrap();
    assert_eq!(again[0].identity, all[0].identity);
    let anew = body.replace("28T10:00", "28T11:00");
    assert_ne!(read(anew.as_bytes()).unwrap()[0].identity, all[0].identity);
    assert_ne!(all[0].identity, all[1].identity);
    check(
        r#"{"status":"firing","alerts":[{"labels":{}}]}"#,
        Ok(&["[FIRING]"]),
    );
    check(r#"{"alerts":[]}"#, Err(BadBody::NoText));
}

#[test]
fn alerts_above_the_limit_are_only_counted() {
    let alert = |n: usize| {
        let status = if n == 50 { "resolved" } else { "firing" };
        format!(r#"{{"status":"{status}","labels":{{"alertname":"A{n}"}},"fingerprint":"{n}"}}"#)
    };
    let alerts: Vec<_> = (0..=50).map(alert).collect();
    let all = read(format!(r#"{{"alerts":[{}]}}"#, alerts.join(",")).as_bytes()).unwrap();
    assert_eq!(all.len(), 41);
    assert_eq!(
        all[40].text.as_str(),
        "… 11 more alerts: 10 firing, 1 resolved"
    );
    assert!(all[40].identity.is_some());
}

#[test]
fn a_body_without_text_or_in_an_unknown_format_is_refused() {
    for nothing in [
        r#"{}"#,
        r#"{"text":" \n"}"#,
        r#"{"text":"\u0007"}"#,
        r#"{"a":{"text":"b"}}"#,
        "text=",
        r#"{"attachments":[{}]}"#,
    ] {
        check(nothing, Err(BadBody::NoText));
    }
    for malformed in [
        "",
        "hello",
        "[]",
        r#"{"text":"a"#,
        "payload=hello",
        "a=b",
        r#""text""#,
    ] {
        check(malformed, Err(BadBody::Malformed));
    }
    assert_eq!(read(b"{\"text\":\"a\xff\"}"), Err(BadBody::Malformed));
    assert_eq!(read(b"text=a\xff"), Err(BadBody::Malformed));
    let deep = format!(
        "{{\"blocks\":{}{}}}",
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    assert_eq!(read(deep.as_bytes()), Err(BadBody::Malformed));
}

#[test]
fn a_posted_text_is_cut_to_the_limits_of_one_text() {
    check_text(r#"{"text":"\n\n a\n\nb\n \n"}"#, " a\n\nb");
    check_text(r#"{"text":"a\u0000b\u001b[31mc"}"#, "abc");
    check_text(r#"{"text":"\u0008\na\n\u0010\r\n\u0008"}"#, "a");
    let many = read(format!("text={}", "x%0A".repeat(1200)).as_bytes()).unwrap();
    assert_eq!(many[0].text.lines(), TEXT_LINES_MAX);
    assert!(many[0].text.as_str().ends_with("x\n… 201 more lines"));
    let long = read(format!(r#"{{"text":"{}"}}"#, "é".repeat(3000)).as_bytes()).unwrap();
    assert_eq!(long[0].text.as_str().replace('\n', ""), "é".repeat(3000));
    assert_eq!(long[0].text.lines(), 2);
    let large = read(format!(r#"{{"text":"{}"}}"#, "x".repeat(70_000)).as_bytes()).unwrap();
    let large = large[0].text.as_str();
    assert!(large.starts_with("xxx") && large.ends_with("x\n… 2 more lines"));
    assert!(large.len() > 60_000);
}

#[test]
fn a_push_has_a_message_and_may_have_a_title_and_a_priority() {
    let push =
        read_push(br#"{"title":"Backup","message":"done","priority":8,"extras":{}}"#).unwrap();
    assert_eq!(push.message.text.as_str(), "Backup: done");
    assert_eq!(push.message.tags, "notice;x-priority=8");
    assert_eq!(
        (push.title.as_str(), push.body.as_str(), push.priority),
        ("Backup", "done", 8)
    );
    let form = read_push(b"title=Backup&message=all+done&priority=2").unwrap();
    assert_eq!(
        (form.message.text.as_str(), form.priority),
        ("Backup: all done", 2)
    );
    assert_eq!(read_push(br#"{"title":"Backup"}"#), Err(BadBody::NoText));
    assert_eq!(read_push(b"done"), Err(BadBody::Malformed));
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[<>|@#!&;a-z \\n\\r\\x00é:/]{0,12}".prop_map(Value::from),
        prop_oneof![
            Just("section"),
            Just("header"),
            Just("context"),
            Just("rich_text"),
            Just("actions"),
            Just("link"),
            Just("firing")
        ]
        .prop_map(Value::from),
    ];
    let name = prop_oneof![
        Just("text"),
        Just("blocks"),
        Just("attachments"),
        Just("elements"),
        Just("fields"),
        Just("title"),
        Just("value"),
        Just("type"),
        Just("url"),
        Just("alerts"),
        Just("labels"),
        Just("status"),
        Just("fingerprint"),
        Just("embeds"),
        Just("content"),
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..5).prop_map(|fields| {
                Value::Object(
                    fields
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_is_posted_becomes_messages_or_is_refused(body in json()) {
        crate::dialect::hook::tests::check_messages(body.to_string().as_bytes());
    }

    #[test]
    fn any_text_in_markup_becomes_safe_text(text in "\\PC{0,200}") {
        let body = serde_json::json!({ "text": text });
        check_messages(body.to_string().as_bytes());
    }
}

fn check_messages(body: &[u8]) {
    let Ok(messages) = read(body) else {
        return;
    };
    assert!(!messages.is_empty());
    for message in messages {
        assert!(
            crate::protocol::tags::SentTags::parse(&message.tags).is_ok(),
            "{:?}",
            message.tags
        );
        let again = Multiline::parse(message.text.as_str().as_bytes());
        assert_eq!(again.as_ref(), Ok(&message.text));
    }
}
