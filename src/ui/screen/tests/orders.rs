//! Tests of commands and of completion.

use super::*;

#[test]
fn tab_completes_nicks_rooms_and_commands() {
    let mut play = TestScreen::new(80, 12);
    play.type_in("b");
    play.key(KeyCode::Tab);
    assert_eq!(play.line(), "bob: ");
    play.ctrl('u');
    play.type_in("see #");
    play.key(KeyCode::Tab);
    assert_eq!(play.line(), "see #lobby ");
    play.sees("#lobby  #ops");
    play.key(KeyCode::Tab);
    assert_eq!(play.line(), "see #ops ");
    play.ctrl('u');
    play.type_in("/sea");
    play.key(KeyCode::Tab);
    assert_eq!(play.line(), "/search ");
}

#[test]
fn messages_of_ignored_nicks_are_hidden_without_a_gap() {
    let mut play = TestScreen::new(80, 12);
    play.bob_sends(101, "before");
    play.enter("/ignore Bob");
    play.sees("messages of bob are hidden now");
    play.bob_sends(102, "not seen");
    play.hear(&["LIVE - 2026-11-24T06:46:00.000Z MSG ann bob psst"]);
    play.sees_not("not seen");
    assert_eq!(play.app.rooms.len(), 1, "no conversation is opened");
    assert_eq!(play.app.rooms[0].last_id, 102);
    play.hear(&["LIVE 103 2026-11-24T06:46:00.000Z MSG #lobby cat seen"]);
    play.sees("cat │ seen");
    let saved = play.app.saved().expect("it was there");
    assert!(saved.ignored.contains("bob"));
    play.enter("/ignore");
    play.sees("ignored nicks: Enter types");
    play.key(KeyCode::Enter);
    assert_eq!(play.line(), "/unignore bob");
    play.key(KeyCode::Enter);
    play.bob_sends(104, "heard again");
    play.sees("heard again");
}

#[test]
fn a_page_without_visible_events_is_not_requested_again() {
    let mut play = TestScreen::new(80, 12);
    play.hear(&["LIVE 1000 2026-11-24T06:46:00.000Z MSG #lobby bob newest"]);
    play.app.rooms[0].at_start = false;
    play.key(KeyCode::PageUp);
    assert_eq!(play.sent(), ["HISTORY #lobby 200 before 1000"]);
    let removed = |id| format!("PAST {id} 2026-11-24T06:00:00.000Z REMOVE #lobby bob 7");
    let mut page: Vec<String> = (800..1000).map(removed).collect();
    page.push("OK HISTORY 200".into());
    play.hear(&page.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(play.sent(), ["HISTORY #lobby 200 before 800"]);
    play.page(1..=10);
    play.sees("m10");
}

#[test]
fn a_nick_is_registered_and_rooms_are_remembered() {
    let mut play = TestScreen::new(80, 12);
    play.state = ClientState::new(Options::new(Login::new("ann").password("a long secret")), 1);
    play.state.connected();
    play.hear(&[
        HELLO,
        "OK STAMPS on",
        "OK TAGS on",
        "OK NICK ann #lobby 100",
    ]);
    play.sent();
    play.hear(&["OK HISTORY 0", "OK WHO 0", "OK TOPIC #lobby", "OK ROOMS 0"]);
    play.sent();
    play.enter("/register");
    assert_eq!(play.sent(), ["REGISTER a long secret"]);
    play.hear(&["OK REGISTER ann"]);
    play.sees("ann is now registered to you");
    play.sees_not("a long secret");
    play.enter("/token phone");
    assert_eq!(play.sent(), ["TOKEN phone"]);
    play.hear(&["OK TOKEN phone abcdef"]);
    play.sees("the token phone for your nick");
    play.key(KeyCode::Enter);
    assert!(matches!(&play.effects()[..], [Effect::Copy(text)] if text == "abcdef"));
    for (typed, sent, reply, shown) in [
        (
            "/mode invite",
            "MODE #lobby invite",
            "OK MODE #lobby invite",
            "#lobby is invite-only",
        ),
        (
            "/invite bob",
            "INVITE #lobby bob",
            "OK INVITE #lobby bob",
            "bob is invited to #lobby",
        ),
        (
            "/invites #ops",
            "INVITES #ops",
            "OK INVITES 0",
            "no invited nicks",
        ),
        (
            "/kick bob go away",
            "KICK bob go away",
            "OK KICK bob",
            "bob is disconnected",
        ),
        ("/bans", "BANS", "OK BANS 0", "no bans"),
    ] {
        play.enter(typed);
        assert_eq!(play.sent(), [sent]);
        play.hear(&[reply]);
        play.sees(shown);
    }
}

#[test]
fn a_search_that_was_stopped_or_is_full_says_so() {
    let mut play = TestScreen::new(80, 12);
    let found = "PAST 7 2026-11-24T06:00:00.000Z MSG #lobby bob tea";
    let search = |play: &mut TestScreen, lines: &[&str]| {
        play.enter("/search tea");
        assert_eq!(play.sent(), ["SEARCH #lobby tea"]);
        play.hear(lines);
    };
    search(&mut play, &[found, "OK SEARCH 1 cut"]);
    play.sees("\"tea\" in #lobby: 1 message");
    play.sees("older messages may be missing");
    play.key(KeyCode::Esc);
    search(&mut play, &["OK SEARCH 0 cut"]);
    play.sees("older messages may be missing");
    search(&mut play, &[found, "OK SEARCH 1"]);
    play.sees("in #lobby: 1 message ─");
    play.sees_not("older messages may be missing");
    play.key(KeyCode::Esc);
    let mut full = vec![found; 100];
    full.push("OK SEARCH 100");
    search(&mut play, &full);
    play.sees("in #lobby: the newest 100 messages");
}

#[test]
fn a_muted_room_counts_only_mentions_and_does_not_ring() {
    let mut play = TestScreen::new(80, 12);
    play.app
        .command(super::super::Command::Join("#ops".into()), &mut play.state);
    play.hear(&["OK JOIN #ops 0"]);
    play.enter("/mute lobby");
    play.sees("#lobby is muted");
    play.bob_sends(101, "x");
    play.press(KeyCode::Char('a'), KeyModifiers::ALT);
    play.sees("there are no unread messages");
    play.bob_sends(102, "hey Ann!");
    play.sees("1!");
    assert!(play.effects().is_empty());
    let saved = play.app.saved().unwrap();
    assert!(saved.rooms.iter().any(|room| room.is_muted));
    let mut later = TestScreen::new(80, 12);
    saved.rooms.iter().for_each(|room| later.app.restore(room));
    assert!(later.app.rooms[0].is_muted);
    play.enter("/unmute #lobby");
    play.bob_sends(103, "Ann?");
    assert!(matches!(play.effects()[..], [Effect::Bell]));
    play.enter("/mute nowhere");
    play.sees("you are not in nowhere");
}

#[test]
fn a_highlighted_word_is_a_mention() {
    let mut play = TestScreen::new(80, 12);
    play.enter("/highlight Deploy");
    play.app.focus(false);
    play.bob_sends(101, "redeployed");
    assert!(play.effects().is_empty());
    play.bob_sends(102, "the deploy failed");
    assert!(matches!(play.effects()[..], [Effect::Bell]));
    assert!(play.app.saved().unwrap().highlights.contains("deploy"));
    play.enter("/highlight");
    play.sees("highlighted words");
    play.key(KeyCode::Enter);
    assert_eq!(play.line(), "/unhighlight deploy");
    play.key(KeyCode::Enter);
    play.bob_sends(103, "deploy again");
    assert!(play.effects().is_empty());
}

#[test]
fn a_search_of_all_rooms_names_them() {
    let mut play = TestScreen::new(80, 12);
    play.enter("/search * disk full");
    assert_eq!(play.sent(), ["SEARCH * disk full"]);
    let found = [
        "PAST 7 2026-11-24T06:00:00.000Z MSG #ops bob the disk is full",
        "OK SEARCH 1",
    ];
    play.hear(&found);
    play.sees("\"disk full\" in all rooms: 1 message");
    play.sees("06:00  #ops <bob> the disk is full");
    play.key(KeyCode::Enter);
    play.sees("you are not in #ops; /join #ops");
}

#[test]
fn a_search_of_direct_messages_opens_the_chat_with_the_other_user() {
    let mut play = TestScreen::new(80, 12);
    play.enter("/search @ tea");
    assert_eq!(play.sent(), ["SEARCH @ tea"]);
    let found = [
        "PAST 7 2026-11-24T06:00:00.000Z MSG ann bob tea?",
        "OK SEARCH 1",
    ];
    play.hear(&found);
    play.sees("\"tea\" in direct messages: 1 message");
    play.key(KeyCode::Enter);
    play.sees("that message is older than this chat shows");
    play.enter("yes");
    assert_eq!(play.sent(), ["TELL bob yes"]);
}

#[test]
fn files_of_a_private_chat_are_listed_in_any_spelling_of_the_nicks() {
    for (chat, to) in [("bob", "ANN"), ("BOB", "ann")] {
        let mut play = TestScreen::new(80, 12);
        play.enter(&format!("/query {chat}"));
        play.sent();
        play.enter("/files");
        assert_eq!(play.sent(), ["FILES @"]);
        let first = format!("PAST 7 2026-11-24T06:00:00.000Z FILE {to} bob 7 3 plan.txt");
        play.hear(&[
            &first,
            "PAST 8 2026-11-24T06:00:00.000Z FILE Bob ann 8 3 answer.txt",
            "PAST 9 2026-11-24T06:00:00.000Z FILE eve ann 9 3 secret.txt",
            "OK FILES 3",
        ]);
        play.sees("plan.txt  3 B  by bob  7");
        play.sees("answer.txt  3 B  by ann  8");
        play.sees_not("secret.txt");
    }
}

#[test]
fn ctrl_x_ctrl_e_opens_an_editor_and_its_text_replaces_the_line() {
    let mut play = TestScreen::new(80, 12);
    play.type_in("half");
    play.ctrl('x');
    play.ctrl('e');
    let effects = play.effects();
    assert!(
        matches!(&effects[..], [Effect::Edit(text)] if text == "half"),
        "{effects:?}"
    );
    play.app.edited("all of it\n", &play.state);
    assert_eq!(play.line(), "all of it");
    // Alone, or after another key, Ctrl-E goes to the end of the line.
    play.ctrl('x');
    play.type_in("!");
    play.ctrl('e');
    assert!(play.effects().is_empty());
    assert_eq!(play.line(), "all of it!");
}

#[test]
fn away_tells_the_server_and_a_new_connection_too() {
    let mut play = TestScreen::new(80, 12);
    play.enter("/away back at four");
    assert_eq!(play.sent(), ["AWAY back at four"]);
    play.hear(&["OK AWAY"]);
    play.sees("others see that you are away: back at four");
    play.lost();
    play.connects(&["OK JOIN #lobby 100", "OK NICK ann #lobby 100"]);
    let sent = play.sent();
    assert!(sent.contains(&"AWAY back at four".to_owned()), "{sent:?}");
    let mut play = TestScreen::new(80, 12);
    play.enter("/away lunch");
    play.hear(&["OK AWAY"]);
    play.sent();
    play.enter("/away");
    assert_eq!(play.sent(), ["AWAY"]);
    play.hear(&["OK AWAY"]);
    play.sees("you are back");
}

#[test]
fn the_lists_of_people_show_who_is_away() {
    let mut play = TestScreen::new(100, 12);
    play.sees("│ bob\n");
    play.hear(&["AWAY #lobby bob at lunch"]);
    play.sees("│ bob (away)\n");
    play.hear(&["NICK #lobby bob rob"]);
    play.sees("│ rob (away)\n");
    play.hear(&["AWAY #lobby rob"]);
    play.sees("│ rob\n");
    play.enter("/who");
    play.hear(&["USER #lobby ann", "USER #lobby rob at lunch", "OK WHO 2"]);
    play.sees("rob (away: at lunch)");
    play.key(KeyCode::Esc);
    play.sees("│ rob (away)\n");
    play.hear(&["PART #lobby rob"]);
    assert!(play.app.away.is_empty(), "rob is in no room here");
}

#[test]
fn a_message_to_everybody_in_the_room_is_a_mention() {
    let mut play = TestScreen::new(80, 12);
    play.app.focus(false);
    play.effects();
    play.bob_sends(101, "the room is cold, me@room.example.org");
    assert!(play.effects().is_empty());
    play.bob_sends(102, "@room: bob may not do that here");
    assert!(play.effects().is_empty());
    play.hear(&[
        "LIVE 103 2026-11-24T06:47:00.000Z @everybody MSG #lobby bob @room: we deploy now",
    ]);
    assert!(matches!(play.effects()[..], [Effect::Bell]));
    play.type_in("@ro");
    play.key(KeyCode::Tab);
    assert_eq!(play.line(), "@room ");
}
