//! State keys sort, state values come back, and a newer format is refused.

use proptest::prelude::*;
use tripline_schemas::state::{
    Activation, Counted, Cursor, Cursors, HistoryBounds, HistoryKey, KeyState, RecordedEvent, STATE_VERSION, Scope,
    Seen, SeenKey, SeenKind, StateKey, TextDigest,
};
use tripline_schemas::{DecodeError, Key, KeyError};

use crate::samples;
use crate::strategies as any;

fn state_key() -> impl Strategy<Value = StateKey> {
    // Few names, so that keys with a common beginning meet.
    let name = || prop_oneof!["[ab\u{1}]{1,3}", any::name()];
    let key = move || (name(), name()).prop_map(|(agent, command)| Key::new(agent, command).unwrap());
    prop_oneof![
        key().prop_map(StateKey::Key),
        (key(), proptest::array::uniform32(0..4u8)).prop_map(|(key, digest)| StateKey::Text(key, TextDigest(digest))),
        key().prop_map(StateKey::Cursor),
        Just(StateKey::Cursors),
        Just(StateKey::Activation),
        (counted(), scope(key())).prop_map(|(counted, scope)| StateKey::History(HistoryKey { counted, scope })),
        (counted(), scope(key()), number())
            .prop_map(|(counted, scope, number)| StateKey::HistoryEvent(HistoryKey { counted, scope }, number)),
        (any_kind(), scope(key()), proptest::array::uniform32(0..4u8))
            .prop_map(|(kind, scope, digest)| { StateKey::Seen(SeenKey { kind, scope, digest: TextDigest(digest) }) }),
    ]
}

fn counted() -> impl Strategy<Value = Counted> {
    let rule = || prop_oneof![0..3u32, 255..258u32, Just(u32::MAX)];
    prop_oneof![rule().prop_map(Counted::Rule), rule().prop_map(Counted::Group), rule().prop_map(Counted::Regex)]
}

fn scope(key: impl Strategy<Value = Key> + 'static) -> impl Strategy<Value = Scope> {
    prop_oneof![Just(Scope::Partition), key.prop_map(Scope::Key)]
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..3u64, 255..258u64, Just(u64::MAX), Just(u64::from_be_bytes(*b"\x01\x00abc\x00\x00\x01"))]
}

fn any_kind() -> impl Strategy<Value = SeenKind> {
    prop_oneof![Just(SeenKind::FirstTime), Just(SeenKind::Ignored)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn state_keys_come_back_and_sort_as_their_bytes(a in state_key(), b in state_key()) {
        prop_assert_eq!(StateKey::from_bytes(&a.to_bytes()), Ok(a.clone()));
        prop_assert_eq!(a.cmp(&b), a.to_bytes().cmp(&b.to_bytes()));
    }
}

#[test]
fn a_damaged_state_key_is_refused() {
    let text = StateKey::Text(Key::new("web-1", "df").unwrap(), TextDigest([0; 32])).to_bytes();
    let event = StateKey::HistoryEvent(HistoryKey { counted: Counted::Rule(5), scope: Scope::Partition }, 1).to_bytes();
    for bytes in [&b""[..], b"\x00", b"\x7fweb\0df", b"\x01web", b"\x04x", b"\x05x", &text[..text.len() - 1]]
        .into_iter()
        .chain([&b"\x06"[..], b"\x06\x01\0\0\0", b"\x06\x09\0\0\0\x05", b"\x06\x01\0\0\0\x05web", b"\x08\x01"])
        .chain([&event[..event.len() - 1]])
    {
        let err = StateKey::from_bytes(bytes).expect_err("it must be refused");
        assert!(matches!(err, DecodeError::Key(KeyError::Malformed)), "{bytes:?}: {err}");
    }
}

#[test]
fn an_empty_state_is_a_state() {
    assert_eq!(KeyState::from_bytes(&KeyState::default().to_bytes()), Ok(KeyState::default()));
    assert_eq!(Cursor::from_bytes(&Cursor::default().to_bytes()), Ok(Cursor::default()));
    assert_eq!(Cursors::from_bytes(&Cursors::default().to_bytes()), Ok(Cursors::default()));
}

#[test]
fn a_newer_format_is_refused_even_when_it_looks_like_ours() {
    let newer = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        text.replacen(&format!("\"version\":{STATE_VERSION}"), "\"version\":2", 1).into_bytes()
    };
    let refused = DecodeError::NewerVersion { what: "the state of an agent and command", version: 2, supported: 1 };
    assert_eq!(KeyState::from_bytes(&newer(samples::key_state().to_bytes())), Err(refused.clone()));
    assert_eq!(KeyState::from_bytes(br#"{"version":2,"other":[]}"#), Err(refused.clone()));
    assert_eq!(
        refused.to_string(),
        "the state of an agent and command has format version 2; this program reads up to 1: use a newer one"
    );
    for err in [
        Cursor::from_bytes(&newer(samples::cursor().to_bytes())).unwrap_err(),
        Cursors::from_bytes(&newer(samples::cursors().to_bytes())).unwrap_err(),
        Activation::from_bytes(&newer(samples::activation().to_bytes())).unwrap_err(),
        HistoryBounds::from_bytes(&newer(samples::history_bounds().to_bytes())).unwrap_err(),
        RecordedEvent::from_bytes(&newer(samples::recorded_event().to_bytes())).unwrap_err(),
        Seen::from_bytes(&newer(samples::seen().to_bytes())).unwrap_err(),
    ] {
        assert!(matches!(err, DecodeError::NewerVersion { version: 2, supported: 1, .. }), "{err}");
    }
}

#[test]
fn damaged_state_is_refused() {
    for bytes in [&b""[..], b"{", b"[]", br#"{"state":{"rules":{}}}"#, br#"{"version":1}"#, br#"{"version":-1}"#] {
        let err = KeyState::from_bytes(bytes).unwrap_err();
        assert!(matches!(err, DecodeError::BadJson(_)), "{}: {err}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn equal_texts_have_equal_digests_and_others_do_not() {
    assert_eq!(TextDigest::of(b"tcp 22"), TextDigest::of(b"tcp 22"));
    assert_ne!(TextDigest::of(b"tcp 22"), TextDigest::of(b"tcp 22\n"));
    // Stored digests are compared with new ones for ever.
    assert_eq!(
        serde_json::to_string(&TextDigest::of(b"")).unwrap(),
        "\"80ee4f44e5959044f1bea933b2ae3bc812758aebf2877d8c528b9b1bb240dbb6\""
    );
}
