//! A snapshot as commands: their words, their batches, and where it stops.

use super::*;
use crate::protocol::request::{Limits as RequestLimits, Parser};
use crate::snapshot::command_walk::CommandWalk;
use crate::snapshot::walk::Progress;

fn text(keyspace: &Keyspace, annotates: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let progress = Progress::default();
    let walk = CommandWalk::new(snapshot_of(keyspace), annotates).counting(progress.clone());
    let outcome = walk.run(|chunk| {
        bytes.extend_from_slice(&chunk);
        Ok::<(), ()>(())
    });
    let written = outcome.expect("all is taken");
    assert_eq!(written.bytes, bytes.len() as u64);
    assert_eq!(written.keys, progress.keys());
    bytes
}

/// The words of each command, read back by the parser that clients meet.
fn commands(keyspace: &Keyspace) -> Vec<Vec<Vec<u8>>> {
    let bytes = text(keyspace, false);
    let mut parser = Parser::contiguous();
    let (mut at, mut all) = (0, Vec::new());
    while at < bytes.len() {
        let limits = RequestLimits {
            bulk_bytes_max: i64::MAX,
            authenticated: true,
        };
        let (parsed, error) = parser.parse(&bytes[at..], limits);
        assert!(error.is_none() && parsed.consumed > 0, "at byte {at}");
        for index in 0..parser.request_count() {
            let argv = parser.request(&bytes[at..], index);
            all.push(argv.iter().map(<[u8]>::to_vec).collect());
        }
        at += parsed.consumed;
    }
    all
}

/// The commands as lines.
fn lines(keyspace: &Keyspace) -> Vec<String> {
    let line = |words: Vec<Vec<u8>>| String::from_utf8(words.join(&b' ')).expect("text");
    commands(keyspace).into_iter().map(line).collect()
}

#[test]
fn small_values_are_a_command_each_and_their_expiry_another() {
    let limits = Limits::of(&Config::default());
    let mut keyspace = Keyspace::new(16);
    assert!(text(&keyspace, false).is_empty());
    let stamp = format!("#TS:{}\r\n", NOW.seconds());
    assert_eq!(text(&keyspace, true), stamp.as_bytes());
    put(&mut keyspace, 3, b"number", Some(-7), Content::Int(-12));
    assert_eq!(
        lines(&keyspace),
        ["SELECT 3", "SET number -12", "PEXPIREAT number -7"]
    );
    assert_eq!(
        text(&keyspace, true)[..stamp.len() + 23],
        *format!("{stamp}*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n").as_bytes()
    );
    let mut keyspace = Keyspace::new(16);
    let mut sorted = SortedSet::new();
    for (member, score) in [("a", 0.1), ("b", f64::INFINITY), ("3", 1e100)] {
        sorted.insert(member.as_bytes(), score, limits.sorted_set);
    }
    put_value(&mut keyspace, "sorted", sorted);
    let mut hash = Hash::new();
    hash.set(b"field", b"5", &limits.hash);
    put_value(&mut keyspace, "hash", hash);
    put(&mut keyspace, 1, b"s", None, Content::Bytes(b"a\r\nb"));
    let mut found = lines(&keyspace);
    found[1..3].sort();
    assert_eq!(
        found,
        [
            "SELECT 0",
            "HMSET hash field 5",
            "ZADD sorted 0.10000000000000001 a 1e+100 3 inf b",
            "SELECT 1",
            "SET s a\r\nb",
        ]
    );
}

#[test]
fn large_values_come_in_batches_of_64_items() {
    let limits = Limits::of(&Config::default());
    let items = |count: usize| (0..count).map(|number| number.to_string());
    for (count, batches) in [
        (1, vec![1]),
        (64, vec![64]),
        (70, vec![64, 6]),
        (128, vec![64, 64]),
    ] {
        let mut keyspace = Keyspace::new(16);
        let mut list = ListBuilder::new(limits.list);
        let mut set = Set::for_members(b"x", count, &limits.set);
        let mut hash = Hash::new();
        for item in items(count) {
            list.push(Incoming::new(item.as_bytes()));
            set.add(item.as_bytes(), &limits.set);
            hash.set(item.as_bytes(), b"v", &limits.hash);
        }
        put_value(&mut keyspace, "list", list.finish());
        put_value(&mut keyspace, "set", set);
        put_value(&mut keyspace, "hash", hash);
        let all = commands(&keyspace);
        for (name, words_per_item) in [("RPUSH", 1), ("SADD", 1), ("HMSET", 2)] {
            let of_name = || all.iter().filter(|words| words[0] == name.as_bytes());
            let sizes: Vec<usize> = of_name()
                .map(|words| (words.len() - 2) / words_per_item)
                .collect();
            assert_eq!(sizes, batches, "{name}");
            let mut written: Vec<Vec<u8>> = of_name()
                .flat_map(|words| words[2..].iter().step_by(words_per_item).cloned())
                .collect();
            let mut expected: Vec<Vec<u8>> = items(count).map(String::into_bytes).collect();
            if name != "RPUSH" {
                written.sort();
                expected.sort();
            }
            assert_eq!(written, expected, "{name}");
        }
    }
}

#[test]
fn long_strings_pass_in_chunks_and_a_refused_chunk_is_the_end() {
    let mut keyspace = Keyspace::new(16);
    let long: Vec<u8> = (0..2_000_000_u32).map(|number| number as u8).collect();
    put(&mut keyspace, 0, b"long", None, Content::Bytes(&long));
    assert_eq!(commands(&keyspace)[1], [&b"SET"[..], b"long", &long]);
    let mut taken = 0;
    let outcome = CommandWalk::new(snapshot_of(&keyspace), false).run(|_| {
        taken += 1;
        if taken < 3 { Ok(()) } else { Err("full") }
    });
    assert_eq!((outcome, taken), (Err("full"), 3));
}
