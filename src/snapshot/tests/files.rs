//! Files of real servers, of every version, and what servers read from them.

use super::*;
use crate::rdb::fixtures::{self, Json};

/// What is not supported yet: streams, functions, field expiry.
const UNSUPPORTED: &[&str] = &[
    "all-types",
    "functions",
    "stream-v2",
    "v11-valkey80-all",
    "v12-redis74-all",
    "old/v9-stream1",
    "edge/stream-v2-empty",
];

#[test]
fn files_of_servers_load_to_what_the_server_read_from_them() {
    let mut read = 0;
    for (json, folders) in [
        ("expected-golden.json", &[""][..]),
        ("expected-hand.json", &["old", "edge"]),
    ] {
        let expected = fixtures::expected(json);
        for name in folders.iter().flat_map(|folder| fixtures::names(folder)) {
            let loaded = load(&fixtures::file(&name), load_options());
            if UNSUPPORTED.contains(&name.as_str()) {
                let refusal = loaded.err().map(|error| error.to_string());
                assert!(refusal.is_some_and(|text| text.contains("not supported")));
                continue;
            }
            let loaded = loaded.unwrap_or_else(|error| panic!("{name}: {error}"));
            let entry = expected
                .member(&name)
                .unwrap_or_else(|| panic!("{name} is expected"));
            assert_same(&name, &dataset(&loaded.keyspace), entry);
            read += 1;
        }
    }
    assert!(read > 40, "{read} files read");
}

fn assert_same(name: &str, found: &Dataset, expected: &Json) {
    let content = expected.member("content");
    let content = content.or_else(|| expected.member("redis70").and_then(|e| e.member("content")));
    let content = content.expect("content").items();
    assert_eq!(found.len(), content.len(), "{name}");
    for item in content {
        let text = |member| item.member(member).and_then(Json::text);
        let number = |member| item.member(member).and_then(Json::number);
        let db = number("db").expect("a database") as usize;
        let key = fixtures::bytes_of(text("key").expect("a key"));
        let plain = found
            .get(&(db, key))
            .unwrap_or_else(|| panic!("{name}: {item:?}"));
        assert_eq!(Some(plain.of), text("type"), "{name}");
        let expiry = number("pexpiretime").map(|millis| millis as i64);
        assert_eq!(plain.expiry, expiry, "{name}");
        let value = item.member("value").expect("a value");
        let mut elements = elements(plain.of, value);
        if name == "edge/zset-lp-unsorted" {
            // Servers keep a sorted set in the wrong order as it is; here it is put in order.
            elements.rotate_left(2);
        }
        assert!(plain.elements == elements, "{name}: {item:?}");
    }
}

/// The elements as [`plain`] has them.
fn elements(of: &str, value: &Json) -> Vec<Vec<u8>> {
    let bytes = |json: &Json| fixtures::bytes_of(json.text().expect("text"));
    if of == "string" {
        return vec![bytes(value)];
    }
    let mut elements = Vec::new();
    for item in value.items() {
        match (of, item.items()) {
            ("zset", [member, score]) => {
                let score: f64 = score.text().expect("text").parse().expect("a score");
                elements.push(bytes(member));
                elements.push(format!("{score:?}").into_bytes());
            }
            (_, [field, value]) => {
                elements.push([&bytes(field)[..], b" = ", &bytes(value)[..]].concat());
            }
            _ => elements.push(bytes(item)),
        }
    }
    if matches!(of, "set" | "hash") {
        elements.sort();
    }
    elements
}

#[test]
fn damaged_files_are_refused_with_the_place_and_the_reason() {
    let mut told = String::new();
    for name in fixtures::names("bad") {
        let outcome = match load(&fixtures::file(&name), load_options()) {
            Ok(loaded) => format!("loads {} keys", loaded.counts.keys),
            Err(error) => error.to_string(),
        };
        let stem = name.trim_start_matches("bad/");
        told.push_str(&format!(
            "{stem}: {}\n",
            outcome.trim_start_matches("rdb: ")
        ));
    }
    let path = fixtures::folder().join("load-refusals.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &told).expect("writable");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(told, expected, "UPDATE=1 rewrites {}", path.display());
    // What servers load, and so do we: empty values are skipped, hints may be absurd. Only Valkey reads its own magic.
    let loads: Vec<&str> = told
        .lines()
        .filter(|line| line.contains(": loads "))
        .map(|line| line.split(':').next().unwrap_or_default())
        .collect();
    assert_eq!(
        loads,
        [
            "lp-empty",
            "lzf-zero",
            "ql2-packedempty",
            "resizedb-huge",
            "valkey-magic"
        ]
    );
}
