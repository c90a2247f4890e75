//! The one truth of replication: at the same offset two servers have the same digest.
//!
//! Where they do not, both datasets are read key by key and the first differences are shown.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::support::server::{Server, info_field};
use crate::support::value::{Value, quoted};
use crate::support::wait;

/// Waits until the replica stands where its master stands, then compares their digests.
#[track_caller]
pub fn assert_agree(master: &Server, replica: &Server) {
    wait::until_within(
        Duration::from_secs(60),
        "the replica has reached its master's offset",
        || linked(replica) && position(master) == position(replica),
    );
    // A key that expires between the two digests makes them differ for a moment; the DEL that follows mends it.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(15) {
        if digest(master) == digest(replica) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!(
        "digests differ: {} on the master, {} on the replica\n{}\n{}\n{}",
        digest(master),
        digest(replica),
        differences(master, replica),
        master.log_tail(),
        replica.log_tail(),
    );
}

/// Compares datasets without a link between the two.
#[track_caller]
pub fn assert_same_data(one: &Server, other: &Server) {
    assert!(
        digest(one) == digest(other),
        "datasets differ\n{}",
        differences(one, other)
    );
}

#[track_caller]
pub fn digest(server: &Server) -> String {
    let mut client = server.client();
    client.patience(Duration::from_secs(60));
    client.must("DEBUG DIGEST").text()
}

/// The history's id and the offset in it.
fn position(server: &Server) -> (String, String) {
    let info = server.try_info_text();
    ["master_replid", "master_repl_offset"]
        .map(|field| info_field(&info, field))
        .into()
}

fn linked(replica: &Server) -> bool {
    replica.try_info("role") != "slave" || replica.try_info("master_link_status") == "up"
}

/// The first keys in which two servers differ, one line each.
pub fn differences(one: &Server, other: &Server) -> String {
    let (ones, others) = (keys(one), keys(other));
    let mut lines = vec![format!("{} keys against {}", ones.len(), others.len())];
    let mut names: Vec<_> = ones.keys().chain(others.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        if ones.get(name) != others.get(name) {
            let (database, key) = name;
            lines.push(format!(
                "db {database} {}:\n    {}\n    {}",
                quoted(key),
                describe(one, *database, key),
                describe(other, *database, key)
            ));
            if lines.len() > 10 {
                lines.push("...".to_string());
                break;
            }
        }
    }
    lines.join("\n")
}

type Name = (usize, Vec<u8>);

/// Each key's digest and absolute expiry.
fn keys(server: &Server) -> BTreeMap<Name, (String, i64)> {
    let mut client = server.client();
    client.patience(Duration::from_secs(60));
    let mut found = BTreeMap::new();
    for database in 0..16 {
        client.must(&format!("SELECT {database}"));
        let keys: Vec<Vec<u8>> = client
            .must("KEYS *")
            .items()
            .iter()
            .map(Value::bytes)
            .collect();
        for chunk in keys.chunks(500) {
            let mut commands = Vec::new();
            for key in chunk {
                commands.push(vec![
                    b"DEBUG".to_vec(),
                    b"DIGEST-VALUE".to_vec(),
                    key.clone(),
                ]);
                commands.push(vec![b"PEXPIRETIME".to_vec(), key.clone()]);
            }
            let replies = client.pipeline(&commands);
            for (key, pair) in chunk.iter().zip(replies.chunks(2)) {
                let digest = pair[0].to_string();
                let expiry = match pair[1] {
                    Value::Integer(at) => at,
                    _ => 0,
                };
                found.insert((database, key.clone()), (digest, expiry));
            }
        }
    }
    found
}

fn describe(server: &Server, database: usize, key: &[u8]) -> String {
    let mut client = server.client();
    client.must(&format!("SELECT {database}"));
    let kind = client.command(&[b"TYPE".as_slice(), key]).text();
    let read: &[&[u8]] = match kind.as_str() {
        "string" => &[b"GET", key],
        "list" => &[b"LRANGE", key, b"0", b"-1"],
        "set" => &[b"SMEMBERS", key],
        "hash" => &[b"HGETALL", key],
        "zset" => &[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"],
        _ => return format!("({kind})"),
    };
    let expiry = client.command(&[b"PEXPIRETIME".as_slice(), key]);
    let encoding = client
        .command(&[b"OBJECT".as_slice(), b"ENCODING", key])
        .text();
    let mut value = client.command(read).unordered_pairs().to_string();
    if value.len() > 300 {
        let end = (0..300).rev().find(|&end| value.is_char_boundary(end));
        value.truncate(end.unwrap_or(0));
        value.push_str("...");
    }
    format!("{kind} {encoding} expires {expiry} {value}")
}
