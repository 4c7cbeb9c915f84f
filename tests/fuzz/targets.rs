//! What must hold for any bytes: one plain function for each fuzz target.
//!
//! `tests/run` lets a fuzzer look for bytes for which it does not hold; `tests/fuzz_corpus.rs` runs the
//! same functions over the saved ones in every `cargo test`. A find goes into `corpus/<target>/`.

#![allow(dead_code)] // each fuzz target is a program of its own and uses one of these

use plainchat::protocol::line::{Item, LINE_BYTES_MAX, LineDecoder};
use plainchat::protocol::text::{clean, is_clean};
use plainchat::protocol::{Event, Request, ServerLine};

/// A decoder finds the same in bytes that come whole, one by one, or cut anywhere; it holds no more than
/// a line. The first byte of `data` says where to cut.
pub fn line(data: &[u8]) {
    let Some((&cut, bytes)) = data.split_first() else {
        return;
    };
    let whole = decode([bytes]);
    assert_eq!(decode(bytes.chunks(1)), whole, "byte by byte");
    let (head, tail) = bytes.split_at(usize::from(cut) % (bytes.len() + 1));
    assert_eq!(decode([head, tail]), whole, "cut at {}", head.len());
}

/// What is found in `pieces`.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut decoder = LineDecoder::default();
    let mut found = Vec::new();
    let mut note = |item: Item<'_>| {
        if let Item::Line { bytes, .. } = &item {
            assert!(bytes.len() < LINE_BYTES_MAX + 1);
            assert!(!bytes.contains(&b'\n'));
        }
        found.push(match item {
            // How much of its head is there depends on how it came.
            Item::TooLong { head } => format!("too long {:?}", head.get(..16)),
            other => format!("{other:?}"),
        });
    };
    for mut piece in pieces {
        while let Some(item) = decoder.next(&mut piece) {
            note(item);
        }
        assert!(piece.is_empty(), "everything is taken in");
    }
    if let Some(item) = decoder.finish() {
        note(item);
    }
    found
}

/// A request that is clean is written as it is read; one that is not is read as something safe; a refusal
/// is one line that is safe on a terminal.
pub fn request(data: &[u8]) {
    let line = data.split(|b| *b == b'\n').next().unwrap_or_default();
    match Request::parse(line) {
        Ok(None) => {}
        Ok(Some(request)) => {
            let written = request.to_string();
            assert!(is_clean(&written), "{written:?}");
            // An upload whose name is refused is still a request, but cannot be written as it was; and
            // what is taken out of a text can change where its fields begin.
            let has_no_name = matches!(&request, Request::Upload(upload) if upload.name.is_err());
            if has_no_name || !std::str::from_utf8(line).is_ok_and(is_clean) {
                return;
            }
            let again = Request::parse(written.as_bytes());
            assert_eq!(again, Ok(Some(request)), "{written:?}");
        }
        Err(refusal) => {
            let written = refusal.to_string();
            assert!(is_clean(&written), "{written:?}");
            let read = ServerLine::parse(&written);
            assert!(
                matches!(&read, ServerLine::Err { code, .. } if *code == Some(refusal.code)),
                "{written:?} is read as {read:?}"
            );
        }
    }
}

/// Any line of any server is read without harm, and an event is written as it is read. Cleaning a text
/// makes it safe, and changes nothing the second time.
pub fn server_line(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let line = text.split('\n').next().unwrap_or_default();
    let _ = ServerLine::parse(line);
    if let Some(event) = Event::parse(line) {
        let written = event.to_string();
        assert_eq!(Event::parse(&written), Some(event), "{written:?}");
    }
    let cleaned = clean(&text);
    assert!(is_clean(&cleaned), "{cleaned:?}");
    assert_eq!(clean(&cleaned), cleaned);
}
