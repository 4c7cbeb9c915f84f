//! Pitfalls of chat over sockets, collected from the issue trackers of other projects and measured with
//! real clients; each with the tests that show that it does not occur here.

use std::path::Path;

/// A pitfall, and where it is tested: a file and a test in it, or a vector of the conformance suite.
const PITFALLS: &[(&str, &[&str])] = &[
    (
        "1: each client tells the end of its input in its own way",
        &[
            "doors/interop/talk.rs a_script_without_bye_ends_if_the_client_half_closes",
            "doors/interop/talk.rs stay_keeps_a_half_closing_listener",
        ],
    ),
    (
        "2: some clients leave half a second after their input",
        &["doors/interop/talk.rs a_script_that_ends_in_bye_works_with_every_client"],
    ),
    (
        "3: a client that closes at once loses its replies, not what it said",
        &["doors/interop/talk.rs requests_are_executed_even_if_the_client_reads_nothing"],
    ),
    (
        "4: a client stays after the server has closed, and a person types into nothing",
        &[
            "doors/interop/talk.rs a_client_whose_input_stays_open_shows_the_last_line",
            "doors/interop/talk.rs a_stopping_server_sends_closed_last_to_every_listener",
        ],
    ),
    (
        "5: a ping that must be answered expels who has only nc",
        &[
            "doors/interop/talk.rs a_client_that_never_half_closes_stays_and_receives",
            "vectors/7/who_has_a_room_is_not_idle.chat",
        ],
    ),
    (
        "6: a reader that has stopped stalls the room",
        &[
            "faults/soak.rs a_stopped_reader_delays_nobody_takes_no_memory_and_misses_nothing",
            "doors/interop/talk.rs a_suspended_client_continues_where_it_was",
        ],
    ),
    (
        "7: a dead connection keeps its owner's nick",
        &[
            "vectors/4.2/a_connection_may_take_a_nick_that_is_its_owner_s_already.chat",
            "doors/interop/talk.rs a_nick_is_free_as_soon_as_its_client_has_ended",
        ],
    ),
    (
        "8: a read is not a line",
        &[
            "doors/split.rs every_command_is_answered_the_same_wherever_it_is_split",
            "vectors/3.1/the_last_line_counts_without_its_end.chat",
        ],
    ),
    (
        "9: lines end in LF, CR LF or CR NUL",
        &["doors/interop/talk.rs lines_may_end_in_cr_lf"],
    ),
    (
        "10: nc -C alters a file",
        &["files/clients.rs a_client_that_turns_lf_into_cr_lf_cannot_upload"],
    ),
    (
        "11: a wrong length makes commands of a file, or a file of commands",
        &[
            "vectors/6/small_letters_after_an_upload_are_out_of_step.chat",
            "vectors/6/an_altered_file_is_corrupt_and_nothing_of_it_runs.chat",
            "vectors/6/nothing_is_kept_of_an_incomplete_upload.chat",
        ],
    ),
    (
        "12: a file's name has spaces, folders or control characters",
        &[
            "vectors/3.5/a_file_loses_its_folders.chat",
            "vectors/3.3/names_with_such_characters_are_refused.chat",
        ],
    ),
    (
        "13: telnet negotiates, and is mute after Ctrl-C",
        &[
            "doors/interop/talk.rs a_person_on_telnet_is_greeted_talks_and_survives_ctrl_c",
            "vectors/3.4/nothing_is_removed_from_a_file.chat",
        ],
    ),
    (
        "14: text is not UTF-8, has a NUL or begins with a byte order mark",
        &[
            "vectors/3.1/what_is_not_utf8_is_answered_with_its_verb.chat",
            "vectors/3.3/control_characters_go_and_the_tab_stays.chat",
            "doors/split.rs a_byte_order_mark_does_not_belong_to_the_first_line",
        ],
    ),
    (
        "15: a terminal hands over 4095 bytes and no more",
        &[
            "doors/interop/talk.rs the_longest_line_that_a_terminal_can_send_is_accepted",
            "doors/split.rs overlong_input_is_answered_once_and_the_next_line_works",
        ],
    ),
    (
        "16: some verbs belong to openssl, others to HTTP",
        &["doors/interop/talk.rs a_person_may_type_http_methods_and_bye_works_in_openssl"],
    ),
    (
        "17: what is said takes over a terminal",
        &[
            "vectors/3.3/csi_sequences_are_removed_as_a_whole.chat",
            "vectors/3.3/c1_goes_as_a_character_and_letters_stay.chat",
            "vectors/3.3/direction_overrides_go.chat",
            "cli/chatc.rs a_hostile_server_cannot_control_the_terminal",
        ],
    ),
    (
        "18: a web page of somebody else's posts to the port",
        &[
            "doors/interop/talk.rs no_line_of_a_request_body_runs_as_a_command",
            "../src/server/http/guard.rs a_foreign_page_is_refused",
        ],
    ),
    (
        "19: an uploaded page runs as the server's own",
        &["files/display.rs an_uploaded_page_cannot_act_as_a_page_of_the_server"],
    ),
    (
        "20: one nick looks like another",
        &[
            "vectors/3.5/a_look_alike_is_taken.chat",
            "vectors/3.5/a_mix_of_scripts_is_refused.chat",
        ],
    ),
    (
        "21: two bots answer each other, or one itself",
        &[
            "vectors/4.3/the_speaker_gets_no_copy.chat",
            "cli/examples.rs bridges_work_in_both_directions_and_do_not_loop",
        ],
    ),
    (
        "22: files fill the disk",
        &[
            "history/offline.rs all_files_together_are_bounded_by_the_quota",
            "faults/full_disk.rs a_full_disk_refuses_with_an_error_and_a_removal_makes_space",
        ],
    ),
    (
        "23: a password stands in a log, in history or on disk",
        &[
            "rooms/operator.rs the_log_names_peers_and_never_their_messages",
            "rooms/accounts.rs accounts_and_bans_survive_a_restart_and_no_password_is_on_disk",
        ],
    ),
    (
        "24: a message lands in the middle of a line that is being typed",
        &["doors/interop/talk.rs a_line_that_a_message_interrupts_on_the_screen_arrives_whole"],
    ),
    (
        "25: a file's bytes come to a terminal",
        &["files/display.rs in_talker_mode_no_bytes_of_a_file_are_sent"],
    ),
    (
        "26: a prompt without a line end poisons a pipe",
        &["doors/interop/talk.rs an_empty_first_line_is_greeted_and_a_command_is_not"],
    ),
    (
        "27: who joins is flooded with the past",
        &["vectors/4.6/earlier_messages_are_not_live.chat"],
    ),
    (
        "28: a filter in a pipe holds back what it has",
        &["cli/examples.rs watch_prints_messages_with_its_word_and_is_not_listed"],
    ),
    (
        "29: a bot's two pipes wait for each other",
        &[
            "cli/examples.rs dice_rolls_on_nc_with_a_fifo",
            "cli/examples.rs dice_rolls_on_socat",
        ],
    ),
    (
        "30: the reader of a program's output closes the pipe early",
        &["cli/chatc.rs chatc_ends_quietly_when_its_reader_closes_the_pipe"],
    ),
    (
        "31: a file cannot be waited for as a pipe can",
        &["cli/chatc_live.rs a_file_as_standard_input_is_sent_to_its_end"],
    ),
    (
        "32: a client leaves at the end of its input, before it was answered",
        &[
            "cli/chatc_live.rs a_pipe_survives_a_restart_and_sends_each_line_once",
            "doors/link.rs leaving_waits_for_every_answer",
        ],
    ),
    (
        "33: old ways to send files through a terminal are a swamp; nc is enough",
        &["cli/examples.rs upload_and_download_keep_every_byte_and_the_name"],
    ),
    (
        "34: a character is not a column",
        &["../src/ui/screen/editor.rs one_visible_character_is_edited_as_one"],
    ),
];

#[test]
fn every_pitfall_names_existing_tests() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for (n, (pitfall, places)) in PITFALLS.iter().enumerate() {
        assert!(pitfall.starts_with(&format!("{}: ", n + 1)), "{pitfall}");
        assert!(!places.is_empty(), "{pitfall}");
        for place in *places {
            let (file, test) = match place.split_once(' ') {
                Some((file, test)) => (tests.join(file), Some(test)),
                None => (tests.join("conformance").join(place), None),
            };
            let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{place}: {e}"));
            let is_there = |test| {
                text.contains(&format!("#[test]\n{test}"))
                    || text.contains(&format!("\n    #[test]\n    {test}"))
            };
            if let Some(test) = test {
                assert!(is_there(format!("fn {test}()")), "{place} is not there");
            }
        }
    }
}
