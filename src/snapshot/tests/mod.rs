//! Snapshots out and in again: what all these tests share.

mod command_walk;
mod files;
mod hostile;
mod round_trips;

use std::collections::BTreeMap;

use super::loading::{Expired, LoadError, Loaded, Loader, Options};
use super::walk::{self, Walk};
use super::{Snapshot, UsageRule};
use crate::clock::UnixMillis;
use crate::config::Config;
use crate::keyspace::access::AccessRule;
use crate::keyspace::entry::{Content, Entry, View};
use crate::keyspace::{Key, Keyspace};
use crate::number::Digits;
use crate::random::Random;
use crate::rdb::opcode::Version;
use crate::rdb::value_decoder::Limits;
use crate::types::hash::Hash;
use crate::types::list::{Incoming, ListBuilder};
use crate::types::set::Set;
use crate::types::sorted_set::SortedSet;
use crate::types::{Kind, Value};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// A key's value in words: its type, its encoding, its elements (in order only where order means something), its expiry.
#[derive(Clone, Debug, PartialEq)]
struct Plain {
    of: &'static str,
    encoding: &'static str,
    elements: Vec<Vec<u8>>,
    expiry: Option<i64>,
    access: u32,
}

type Dataset = BTreeMap<(usize, Vec<u8>), Plain>;

fn plain(entry: &Entry) -> Plain {
    let mut digits = Digits::new();
    let mut elements: Vec<Vec<u8>> = Vec::new();
    let encoding = match entry.view() {
        View::Int(value) => {
            elements.push(digits.of(value).to_vec());
            "int"
        }
        View::Bytes(bytes) => {
            elements.push(bytes.to_vec());
            "bytes"
        }
        View::Value(value) => {
            match value {
                Value::String(string) => elements.push(string.to_vec()),
                Value::List(list) => {
                    elements.extend(list.iter().map(|element| element.element().to_vec()));
                }
                Value::Set(set) => {
                    elements.extend(set.iter().map(|member| member.to_vec()));
                    elements.sort();
                }
                Value::Hash(hash) => {
                    let pairs = hash.iter().map(|(field, value)| {
                        [&field.to_vec()[..], b" = ", &value.to_vec()[..]].concat()
                    });
                    elements.extend(pairs);
                    elements.sort();
                }
                Value::SortedSet(set) => {
                    for scored in set.iter() {
                        elements.push(scored.member.to_vec());
                        elements.push(format!("{:?}", scored.score).into_bytes());
                    }
                }
            }
            value.encoding()
        }
    };
    Plain {
        of: entry.type_of().name(),
        encoding,
        elements,
        expiry: entry.expiry().map(|at| at.0),
        access: entry.access(),
    }
}

fn dataset(keyspace: &Keyspace) -> Dataset {
    let mut all = Dataset::new();
    for db in 0..keyspace.count() {
        for entry in keyspace.db(db).table().iter() {
            all.insert((db, entry.key().to_vec()), plain(&entry));
        }
    }
    all
}

fn put(keyspace: &mut Keyspace, db: usize, key: &[u8], expiry: Option<i64>, content: Content) {
    let entry = Entry::new(key, expiry.map(UnixMillis), content);
    entry.set_access(crate::keyspace::access::fresh(AccessRule::Lru, NOW));
    let key = Key::new(key);
    keyspace.db_mut(db).insert(key.hash, entry);
}

fn put_value(keyspace: &mut Keyspace, key: &str, value: impl Kind) {
    let content = Content::Value(value.into_value());
    put(keyspace, 0, key.as_bytes(), None, content);
}

fn snapshot_of(keyspace: &Keyspace) -> Snapshot {
    Snapshot {
        picture: keyspace.picture(),
        position: None,
        taken_at: NOW,
        used_memory_bytes: 1 << 20,
        usage: UsageRule::Unwritten,
    }
}

fn walk_options(version: u16) -> walk::Options {
    walk::Options {
        version: Version::redis(version),
        compress: true,
        checksum: true,
        aof_base: false,
    }
}

fn written(snapshot: Snapshot, options: walk::Options) -> Vec<u8> {
    let mut bytes = Vec::new();
    let outcome = Walk::new(snapshot, options).run(|chunk| {
        bytes.extend_from_slice(&chunk);
        Ok::<(), ()>(())
    });
    let written = outcome.expect("the taker takes all");
    assert_eq!(written.bytes, bytes.len() as u64);
    bytes
}

fn load_options() -> Options {
    Options {
        databases: 16,
        expired: Expired::Drop { list: true },
        now: NOW,
        access: AccessRule::Lru,
        limits: Limits::of(&Config::default()),
        verify_checksum: true,
        payload_bytes: None,
    }
}

fn load(payload: &[u8], options: Options) -> Result<Loaded, LoadError> {
    let mut loader = Loader::new(options)?;
    loader.feed(payload)?;
    loader.finish()
}

/// As [`load`], in pieces of random sizes.
fn load_in_pieces(
    payload: &[u8],
    options: Options,
    piece_bytes_max: usize,
    random: &mut Random,
) -> Result<Loaded, LoadError> {
    let mut loader = Loader::new(options)?;
    let mut left = payload;
    while !left.is_empty() {
        let bytes = 1 + random.below(piece_bytes_max as u64) as usize;
        let (piece, rest) = left.split_at(bytes.min(left.len()));
        loader.feed(piece)?;
        left = rest;
    }
    loader.finish()
}

fn text(random: &mut Random, most: u64) -> Vec<u8> {
    let length = random.below(most + 1);
    match random.below(3) {
        0 => (random.next_u64() >> 24 >> (length % 40))
            .to_string()
            .into_bytes(),
        1 => vec![b'a' + random.below(3) as u8; length as usize],
        _ => (0..length).map(|_| random.next_u64() as u8).collect(),
    }
}

/// Keys of all types, in all encodings that `limits` leads to.
fn random_keyspace(random: &mut Random, keys: u64, limits: &Limits) -> Keyspace {
    let mut keyspace = Keyspace::new(16);
    for number in 0..keys {
        let mut key = format!("key:{number}:").into_bytes();
        key.extend(text(random, 30));
        let expiry = random
            .chance(1, 3)
            .then(|| NOW.0 + 1 + random.below(1 << 30) as i64);
        let db = if random.chance(1, 4) { 7 } else { 0 };
        match random.below(6) {
            0 => {
                let value = random.next_u64() as i64 >> random.below(64);
                put(&mut keyspace, db, &key, expiry, Content::Int(value));
            }
            1 => {
                let length = 1 << random.below(18);
                let mut value = text(random, length);
                value.push(b'.');
                put(&mut keyspace, db, &key, expiry, Content::Bytes(&value));
            }
            _ => {
                let value = random_collection(random, limits);
                put(&mut keyspace, db, &key, expiry, Content::Value(value));
            }
        }
    }
    keyspace
}

fn random_collection(random: &mut Random, limits: &Limits) -> Value {
    let magnitude = random.below(9);
    let size = 1 + random.below(1 << magnitude);
    let most = if random.chance(1, 4) { 200 } else { 20 };
    match random.below(5) {
        0 => {
            let mut list = ListBuilder::new(limits.list);
            for _ in 0..size {
                let long = if random.chance(1, 200) { 20_000 } else { most };
                list.push(Incoming::new(&text(random, long)));
            }
            list.finish().into_value()
        }
        1 => {
            let mut set = Set::for_members(b"1", 1, &limits.set);
            for _ in 0..size {
                set.add(&text(random, most), &limits.set);
            }
            set.into_value()
        }
        2 => {
            let mut set = Set::for_members(b"1", 1, &limits.set);
            for _ in 0..size {
                let member = random.next_u64() as i64 >> random.below(64);
                set.add(member.to_string().as_bytes(), &limits.set);
            }
            set.into_value()
        }
        3 => {
            let mut hash = Hash::new();
            for _ in 0..size {
                hash.set(&text(random, most), &text(random, most), &limits.hash);
            }
            hash.into_value()
        }
        _ => {
            let mut set = SortedSet::new();
            for _ in 0..size {
                let score = match random.below(4) {
                    0 => random.below(100) as f64,
                    1 => random.below(1 << 50) as f64 / 3.0,
                    2 => f64::INFINITY,
                    _ => -(random.below(10) as f64),
                };
                set.insert(&text(random, most), score, limits.sorted_set);
            }
            set.into_value()
        }
    }
}
