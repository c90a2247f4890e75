//! The SCAN family: what is there all along is returned at least once, whatever happens meanwhile.

use std::collections::BTreeSet;

use crate::support::client::Client;
use crate::support::server;
use crate::support::transcript::transcript;
use crate::support::value::Value;

#[test]
fn scan_takes_its_options() {
    transcript(
        r#"
        > SCAN 0
        ["0" []]
        > MSET a 1
        +OK
        > SCAN 0
        ["0" ["a"]]
        > SCAN 0 MATCH a*
        ["0" ["a"]]
        > SCAN 0 MATCH b*
        ["0" []]
        > SCAN 0 COUNT 100 TYPE string
        ["0" ["a"]]
        > SCAN 0 TYPE list
        ["0" []]
        > SCAN 0 TYPE nosuch
        ["0" []]
        > SCAN 0 COUNT 0
        -ERR syntax error
        > SCAN 0 COUNT -1
        -ERR syntax error
        > SCAN 0 COUNT abc
        -ERR value is not an integer or out of range
        > SCAN abc
        -ERR invalid cursor
        > SCAN -1
        [...]
        > SCAN 0 NOSUCH
        -ERR syntax error
        > SCAN 0 MATCH
        -ERR syntax error
        > SCAN
        -ERR wrong number of arguments for 'scan' command
        > SCAN 18446744073709551616
        -ERR invalid cursor
        > SSCAN nokey 0
        ["0" []]
        > HSCAN nokey 0
        ["0" []]
        > ZSCAN nokey 0
        ["0" []]
        > SSCAN a 0
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > SADD s 1 2 3
        :3
        > SSCAN s 0
        ["0" ["1" "2" "3"]]
        > SSCAN s 0 MATCH 1*
        ["0" ["1"]]
        > HSET h a 1 b 2
        :2
        > HSCAN h 0
        ["0" ["a" "1" "b" "2"]]
        > HSCAN h 0 MATCH a
        ["0" ["a" "1"]]
        > HSCAN h 0 TYPE x
        -ERR syntax error
        > ZADD z 1 a 2.5 b
        :2
        > ZSCAN z 0
        ["0" ["a" "1" "b" "2.5"]]
        > ZSCAN z 0 MATCH b COUNT 1
        ["0" ["b" "2.5"]]
        > SSCAN s x
        -ERR invalid cursor
        > SSCAN s
        -ERR wrong number of arguments for 'sscan' command
        "#,
    );
}

#[test]
fn patterns_match_as_in_a_shell() {
    transcript(
        r#"
        > MSET hello 1 hallo 2 hillo 3 h*llo 4 hxxo 5 "a[b" 6 "a\\b" 7
        +OK
        ~> KEYS *
        ["a[b" "a\\b" "h*llo" "hallo" "hello" "hillo" "hxxo"]
        ~> KEYS h?llo
        ["h*llo" "hallo" "hello" "hillo"]
        ~> KEYS h[ae]llo
        ["hallo" "hello"]
        ~> KEYS h[^e]llo
        ["h*llo" "hallo" "hillo"]
        ~> KEYS h[a-f]llo
        ["hallo" "hello"]
        ~> KEYS h[f-a]llo
        ["hallo" "hello"]
        ~> KEYS "h\\*llo"
        ["h*llo"]
        ~> KEYS h*o
        ["h*llo" "hallo" "hello" "hillo" "hxxo"]
        ~> KEYS h**o
        ["h*llo" "hallo" "hello" "hillo" "hxxo"]
        ~> KEYS *l*
        ["h*llo" "hallo" "hello" "hillo"]
        ~> KEYS ""
        []
        ~> KEYS nothing
        []
        ~> KEYS "a\\[b"
        ["a[b"]
        ~> KEYS a[[]b
        ["a[b"]
        ~> KEYS "a\\\\b"
        ["a\\b"]
        ~> KEYS h[a
        []
        ~> KEYS h[a-
        []
        ~> KEYS HELLO
        []
        ~> KEYS "hello\\"
        []
        > KEYS
        -ERR wrong number of arguments for 'keys' command
        "#,
    );
}

#[test]
fn a_full_scan_returns_every_key() {
    let server = server::sluice().start();
    let mut client = server.client();
    fill(&mut client, 20_000);
    for count in [1, 7, 100, 1000, 100_000] {
        let found = scan_all(&mut client, &["SCAN"], count, |_, _| {});
        assert_eq!(found.len(), 20_000, "COUNT {count}");
    }
}

#[test]
fn keys_that_stay_are_returned_while_the_dataset_grows() {
    let server = server::sluice().start();
    let mut client = server.client();
    fill(&mut client, 1000);
    let mut added = 0;
    let found = scan_all(&mut client, &["SCAN"], 10, |client, _| {
        if added < 60_000 {
            let commands: Vec<Vec<String>> = (0..600)
                .map(|number| vec!["SET".into(), format!("new{}", added + number), "v".into()])
                .collect();
            client.pipeline(&commands);
            added += 600;
        }
    });
    assert_has_all(&found, 0..1000);
}

#[test]
fn keys_that_stay_are_returned_while_the_dataset_shrinks() {
    let server = server::sluice().start();
    let mut client = server.client();
    fill(&mut client, 30_000);
    let mut next = 1000;
    let found = scan_all(&mut client, &["SCAN"], 50, |client, _| {
        let commands: Vec<Vec<String>> = (next..(next + 500).min(30_000))
            .map(|number| vec!["DEL".into(), format!("key{number}")])
            .collect();
        next = (next + 500).min(30_000);
        client.pipeline(&commands);
    });
    assert_has_all(&found, 0..1000);
}

#[test]
fn members_that_stay_are_returned_while_a_collection_changes() {
    let server = server::sluice().start();
    let mut client = server.client();
    for (scan, add, remove) in [
        ("SSCAN", "SADD c {}", "SREM c {}"),
        ("HSCAN", "HSET c {} v", "HDEL c {}"),
        ("ZSCAN", "ZADD c 1 {}", "ZREM c {}"),
    ] {
        client.must("DEL c");
        for number in 0..3000 {
            client.must(&add.replace("{}", &format!("key{number}")));
        }
        let mut turn = 1000;
        let found = scan_all(&mut client, &[scan, "c"], 20, |client, _| {
            for _ in 0..20 {
                client.must(&remove.replace("{}", &format!("key{}", 1000 + turn % 2000)));
                client.must(&add.replace("{}", &format!("new{turn}")));
                turn += 1;
            }
        });
        assert_has_all(&found, 0..1000);
    }
}

#[test]
fn a_scan_that_matches_nothing_still_ends() {
    let server = server::sluice().start();
    let mut client = server.client();
    fill(&mut client, 5000);
    let mut cursor = "0".to_string();
    let mut turns = 0;
    loop {
        let reply = client.must(&format!("SCAN {cursor} MATCH nothing* COUNT 50"));
        cursor = reply.items()[0].text();
        assert_eq!(reply.items()[1], Value::Array(Vec::new()));
        turns += 1;
        assert!(turns < 2000, "the scan should end");
        if cursor == "0" {
            break;
        }
    }
    assert!(turns > 10, "COUNT bounds the work of one call");
}

#[test]
fn many_scans_run_side_by_side() {
    let server = server::sluice().start();
    let mut client = server.client();
    fill(&mut client, 3000);
    let mut cursors = vec![("0".to_string(), BTreeSet::new(), false); 20];
    while cursors.iter().any(|(_, _, ended)| !ended) {
        for (cursor, found, ended) in cursors.iter_mut().filter(|(_, _, ended)| !ended) {
            let reply = client.must(&format!("SCAN {cursor} COUNT 37"));
            *cursor = reply.items()[0].text();
            found.extend(reply.items()[1].texts());
            *ended = cursor == "0";
        }
    }
    for (_, found, _) in cursors {
        assert_eq!(found.len(), 3000);
    }
}

fn fill(client: &mut Client, count: usize) {
    let commands: Vec<Vec<String>> = (0..count)
        .map(|number| vec!["SET".into(), format!("key{number}"), "v".into()])
        .collect();
    client.pipeline(&commands);
}

/// All that a scan returns, with work done between its calls.
fn scan_all(
    client: &mut Client,
    head: &[&str],
    count: usize,
    mut between: impl FnMut(&mut Client, usize),
) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut cursor = "0".to_string();
    for turn in 0.. {
        let reply = client.must(&format!("{} {cursor} COUNT {count}", head.join(" ")));
        cursor = reply.items()[0].text();
        found.extend(reply.items()[1].texts());
        if cursor == "0" {
            break;
        }
        between(client, turn);
    }
    found
}

#[track_caller]
fn assert_has_all(found: &BTreeSet<String>, numbers: std::ops::Range<usize>) {
    let missing: Vec<usize> = numbers
        .filter(|number| !found.contains(&format!("key{number}")))
        .collect();
    assert!(missing.is_empty(), "missing: {missing:?}");
}
