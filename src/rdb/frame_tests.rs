//! Files of real servers, hand-made ones of every version, and damaged ones, through the decoder.
//!
//! Here is checked what the frame can tell: which keys there are, when they expire, and which damage is seen without
//! looking into a container. The second half feeds mutations of all of them in random pieces.

use std::collections::BTreeMap;
use std::fs;

use super::decoder::{Decoder, Event, Options};
use super::encoder::{Encoder, EntryHead, Preamble, Usage};
use super::fixtures::{self, Json};
use super::legacy::{Ziplist, Zipmap};
use super::opcode::{ValueType, Version};
use super::parts::{NodeForm, Part};
use crate::clock::UnixMillis;
use crate::random::Random;

/// All events as lines, the error as the last one, the bytes given in pieces of random sizes up to `piece_bytes_max`.
fn lines(
    payload: &[u8],
    payload_bytes: Option<u64>,
    piece_bytes_max: usize,
    random: &mut Random,
) -> Vec<String> {
    let mut decoder = Decoder::new(Options {
        payload_bytes,
        string_bytes_max: 1 << 20,
        ..Options::default()
    });
    let (mut lines, mut left) = (Vec::new(), payload);
    loop {
        match decoder.next_event() {
            Ok(Some(Event::Part(part))) => {
                open_legacy(&part);
                lines.push(format!("{part:?}"));
            }
            Ok(Some(event)) => lines.push(format!("{event:?}")),
            Ok(None) => {
                if decoder.is_done() {
                    lines.push(format!("{} bytes", decoder.offset()));
                    let rest = [&decoder.into_rest(), left].concat();
                    lines.push(format!("then {}", rest.escape_ascii()));
                    return lines;
                }
                if left.is_empty() {
                    decoder.close();
                    continue;
                }
                let bytes = left
                    .len()
                    .min(1 + random.below(piece_bytes_max as u64) as usize);
                decoder.feed(&left[..bytes]);
                left = &left[bytes..];
                assert!(decoder.held_bytes() <= 2 * (payload.len() + 32 * 1024));
            }
            Err(error) => {
                lines.push(error.to_string());
                return lines;
            }
        }
    }
}

/// Looks into a blob as if it were a ziplist and a zipmap, whatever it is.
fn open_legacy(part: &Part) {
    if let Part::Blob(bytes) | Part::Node { bytes, .. } = part {
        let _ = Ziplist::open(bytes).map(|ziplist| ziplist.iter().count());
        let _ = Zipmap::open(bytes).map(|zipmap| zipmap.iter().count());
    }
}

fn decode(name: &str) -> Vec<String> {
    lines(
        &fixtures::file(name),
        None,
        1 << 20,
        &mut Random::from_seed(1),
    )
}

/// The error that ends a file, if one does.
fn refusal(name: &str) -> Option<String> {
    decode(name).pop().filter(|line| line.starts_with("rdb: "))
}

/// What the frame cannot read yet: streams, functions, field expiry.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("all-types", "type 19 (stream)"),
    ("functions", "opcode 245 (function library)"),
    ("stream-v2", "type 19 (stream)"),
    ("v11-valkey80-all", "type 21 (stream)"),
    ("v12-redis74-all", "type 25 (hash with field expiry)"),
    ("old/v9-stream1", "type 15 (stream)"),
    ("edge/stream-v2-empty", "type 19 (stream)"),
];

#[test]
fn files_of_servers_hold_the_keys_that_the_server_read_from_them() {
    let mut read = 0;
    for (json, folders) in [
        ("expected-golden.json", &[""][..]),
        ("expected-hand.json", &["old", "edge"]),
    ] {
        let expected = fixtures::expected(json);
        for name in folders.iter().flat_map(|folder| fixtures::names(folder)) {
            if let Some((_, reason)) = UNSUPPORTED.iter().find(|(file, _)| *file == name) {
                let refusal = refusal(&name).unwrap_or_default();
                assert!(refusal.contains(reason), "{name}: {refusal}");
                continue;
            }
            let entry = expected
                .member(&name)
                .unwrap_or_else(|| panic!("{name} is expected"));
            let keys = expected_keys(entry);
            assert_eq!(found_keys(&name), keys, "{name}");
            read += 1;
        }
    }
    assert!(read > 40, "{read} files read");
}

/// For each database and key: the type's name, the expiry, and the value if it is a string.
type Keys = BTreeMap<(u64, Vec<u8>), (String, Option<i64>, Option<Vec<u8>>)>;

/// The keys that a master keeps: neither expired nor empty.
fn found_keys(name: &str) -> Keys {
    let mut decoder = Decoder::new(Options::default());
    decoder.feed(&fixtures::file(name));
    let (mut db, mut keys, mut current, mut is_empty) = (0, Keys::new(), None, true);
    while let Some(event) = decoder
        .next_event()
        .unwrap_or_else(|error| panic!("{name}: {error}"))
    {
        match event {
            Event::SelectDb(selected) => db = selected,
            Event::Key(head) => {
                let expire = head.expire.map(|expire| expire.0);
                let string = (head.value_type == ValueType::String).then(Vec::new);
                let value = (head.value_type.name().to_owned(), expire, string);
                current = Some(((db, head.key.to_vec()), value));
                is_empty = true;
            }
            Event::Part(part) => {
                is_empty &= is_empty_container(&part);
                if let (Part::String(bytes), Some((_, (_, _, string)))) = (part, &mut current) {
                    *string = Some(bytes.to_vec());
                }
            }
            Event::ValueEnd => {
                let (key, value) = current.take().expect("a key before its value");
                let long_ago = value.1.is_some_and(|expire| expire < 2_000_000_000_000);
                if !is_empty && !long_ago {
                    keys.insert(key, value);
                }
            }
            Event::Aux { .. } | Event::ResizeDb { .. } | Event::End => {}
        }
    }
    assert!(decoder.is_done(), "{name}");
    keys
}

fn is_empty_container(part: &Part) -> bool {
    match part {
        Part::Blob(bytes)
        | Part::Node {
            bytes,
            form: NodeForm::Packed | NodeForm::Ziplist,
        } => {
            bytes[..] == *b"\x07\0\0\0\0\0\xff" || Ziplist::open(bytes).is_ok_and(|z| z.is_empty())
        }
        _ => false,
    }
}

fn expected_keys(entry: &Json) -> Keys {
    let content = entry.member("content");
    let content = content.or_else(|| entry.member("redis70").and_then(|e| e.member("content")));
    let keys = content.expect("content").items().iter().map(|item| {
        let text = |name| item.member(name).and_then(Json::text);
        let number = |name| item.member(name).and_then(Json::number);
        let db = number("db").expect("a database") as u64;
        let name = match text("type").expect("a type") {
            "zset" => "sorted set",
            name => name,
        };
        let expire = number("pexpiretime").map(|millis| millis as i64);
        let value =
            (name == "string").then(|| fixtures::bytes_of(text("value").expect("a string")));
        (
            (db, fixtures::bytes_of(text("key").expect("a key"))),
            (name.to_owned(), expire, value),
        )
    });
    keys.collect()
}

#[test]
fn damaged_files_are_refused_as_far_as_the_frame_can_tell() {
    let mut told = String::new();
    for name in fixtures::names("bad") {
        let stem = name.trim_start_matches("bad/");
        let outcome = refusal(&name).unwrap_or_else(|| "passes".to_owned());
        told.push_str(&format!(
            "{stem}: {}\n",
            outcome.trim_start_matches("rdb: ")
        ));
    }
    let path = fixtures::folder().join("refusals.txt");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &told).expect("writable");
    }
    let expected = fs::read_to_string(&path).expect("readable");
    assert_eq!(told, expected, "UPDATE=1 rewrites {}", path.display());
}

#[test]
fn damaged_ziplists_and_zipmaps_are_refused() {
    // What a builder of values has to find out: an odd number of entries, and the same field twice.
    let well_formed = ["bad/zl-odd", "bad/zl-dup", "bad/zipmap-dup"];
    let mut refused = 0;
    for name in fixtures::names("bad")
        .iter()
        .filter(|name| name.contains("/z") || name.contains("/ql1"))
    {
        let mut decoder = Decoder::new(Options::default());
        decoder.feed(&fixtures::file(name));
        let mut problem = None;
        let mut is_zipmap = false;
        while let Ok(Some(event)) = decoder.next_event() {
            match event {
                Event::Key(head) => is_zipmap = head.value_type == ValueType::HashZipmap,
                Event::Part(Part::Blob(blob)) if is_zipmap => problem = Zipmap::open(&blob).err(),
                Event::Part(Part::Blob(bytes) | Part::Node { bytes, .. })
                    if name.contains("/zl-") || name.contains("/ql1") =>
                {
                    problem = Ziplist::open(&bytes).err();
                }
                _ => {}
            }
        }
        let is_legacy = name.contains("/zl-") || name.contains("/zipmap") || name.contains("/ql1");
        let expected = is_legacy && !well_formed.contains(&name.as_str());
        assert_eq!(problem.is_some(), expected, "{name}");
        refused += usize::from(expected);
    }
    assert!(refused >= 11, "{refused} refused");
}

#[test]
fn any_cutting_of_any_bytes_gives_the_same_events() {
    let mut random = Random::from_seed(0x5eed);
    let mut payloads: Vec<Vec<u8>> = ["", "old", "edge", "bad"]
        .iter()
        .flat_map(|folder| fixtures::names(folder))
        .map(|name| fixtures::file(&name))
        .filter(|payload| payload.len() < 4096)
        .collect();
    payloads.extend((0..20).map(|_| generated(&mut random)));
    let mut refused = 0;
    for round in 0..ROUNDS {
        let mut payload = payloads[random.below(payloads.len() as u64) as usize].clone();
        mutate(&mut payload, random.below(4), &mut random);
        let known = random.chance(1, 2).then_some(payload.len() as u64);
        let whole = lines(&payload, known, usize::MAX >> 1, &mut random);
        let piece_bytes_max = 1usize << random.below(11);
        let pieces = lines(&payload, known, piece_bytes_max, &mut random);
        assert_eq!(pieces, whole, "round {round}: {}", payload.escape_ascii());
        refused += usize::from(whole.last().is_some_and(|line| line.starts_with("rdb: ")));
    }
    assert!(
        refused > ROUNDS / 4 && refused < ROUNDS,
        "{refused} refused"
    );
}

const ROUNDS: usize = 3000;

/// Overwrites, removes or repeats a few bytes; lengths and opcodes are the favourites.
fn mutate(payload: &mut Vec<u8>, times: u64, random: &mut Random) {
    const FAVOURITES: &[u8] = &[0, 1, 0x3f, 0x40, 0x80, 0x81, 0xc0, 0xc3, 0xfa, 0xfe, 0xff];
    for _ in 0..times {
        let at = random.below(payload.len() as u64 + 1) as usize;
        let byte = match random.below(2) {
            0 => random.next_u64() as u8,
            _ => FAVOURITES[random.below(FAVOURITES.len() as u64) as usize],
        };
        match random.below(5) {
            0 => payload.truncate(at),
            1 => payload.insert(at, byte),
            2 => {
                let until = (at + random.below(20) as usize).min(payload.len());
                payload.drain(at..until);
            }
            _ => {
                if let Some(place) = payload.get_mut(at) {
                    *place = byte;
                }
            }
        }
    }
}

/// A snapshot of a few keys of every type that the frame can write by itself.
fn generated(random: &mut Random) -> Vec<u8> {
    let mut encoder = Encoder::new(Version::DEFAULT, random.chance(1, 2), random.chance(1, 2));
    encoder.preamble(&Preamble {
        server_version: "7.2.4",
        created: UnixMillis(1_700_000_000_000),
        used_memory_bytes: random.next_u64() >> 20,
        history: None,
        aof_base: random.chance(1, 2),
    });
    encoder.select_db(random.below(16) as u32, 10, 3);
    for number in 0..random.below(12) {
        let value_type = match random.below(5) {
            0 => ValueType::String,
            1 => ValueType::List,
            2 => ValueType::Hash,
            3 => ValueType::Zset,
            _ => ValueType::ListQuicklist2,
        };
        encoder.key(&EntryHead {
            key: format!("key:{number}").as_bytes(),
            value_type,
            expire: random
                .chance(1, 3)
                .then_some(UnixMillis(random.below(1 << 42) as i64)),
            usage: match random.below(3) {
                0 => Usage::IdleSeconds(random.below(1 << 20)),
                1 => Usage::Freq(random.next_u64() as u8),
                _ => Usage::Unknown,
            },
        });
        let items = 1 + random.below(9);
        let value = encoder.value();
        if value_type != ValueType::String {
            value.length(items);
        }
        for item in 0..items {
            let text = vec![b'a' + item as u8; 1 + random.below(120) as usize];
            match value_type {
                ValueType::Hash => {
                    value.string(&text);
                    value.integer(random.next_u64() as i64 >> random.below(64));
                }
                ValueType::Zset => {
                    value.string(&text);
                    value.double(item as f64 / 3.0);
                }
                ValueType::ListQuicklist2 => {
                    value.length(1);
                    value.string(b"one plain element of a list, or so it may be");
                }
                _ => value.string(&text),
            }
            if value_type == ValueType::String {
                break;
            }
        }
    }
    encoder.finish()
}
