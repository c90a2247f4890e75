//! What is walked is what was there, and what is loaded is what was walked.

use super::*;
use crate::config::values::ListpackSize;
use crate::journal::position::{Offset, Position, ReplId};
use crate::keyspace::access;
use crate::snapshot::walk::CHUNK_BYTES;

#[test]
fn every_type_in_every_encoding_comes_back_from_every_version() {
    let mut random = Random::from_seed(11);
    let limits = Limits::of(&Config::default());
    let mut encodings = std::collections::BTreeSet::new();
    for version in [10, 11, 12] {
        for compress in [false, true] {
            let keyspace = random_keyspace(&mut random, 300, &limits);
            let expected = dataset(&keyspace);
            encodings.extend(expected.values().map(|plain| (plain.of, plain.encoding)));
            let options = walk::Options {
                compress,
                ..walk_options(version)
            };
            let bytes = written(snapshot_of(&keyspace), options);
            let loaded = load(&bytes, load_options()).expect("our own bytes");
            assert_eq!(loaded.counts.keys, expected.len() as u64);
            assert_eq!(loaded.counts.bytes, bytes.len() as u64);
            assert!(dataset(&loaded.keyspace) == expected, "version {version}");
            let pieces = load_in_pieces(&bytes, load_options(), 5000, &mut random);
            assert!(dataset(&pieces.expect("our own bytes").keyspace) == expected);
        }
    }
    assert_eq!(
        encodings.into_iter().collect::<Vec<_>>(),
        [
            ("hash", "hashtable"),
            ("hash", "listpack"),
            ("list", "listpack"),
            ("list", "quicklist"),
            ("set", "hashtable"),
            ("set", "intset"),
            ("set", "listpack"),
            ("string", "bytes"),
            ("string", "int"),
            ("string", "raw"),
            ("zset", "listpack"),
            ("zset", "skiplist"),
        ]
    );
}

#[test]
fn encodings_follow_the_limits_of_the_loader_as_far_as_elements_are_read_one_by_one() {
    let config = Config::default();
    let limits = Limits::of(&config);
    let mut keyspace = Keyspace::new(16);
    let mut hash = Hash::new();
    let mut set = Set::for_members(b"a", 1, &limits.set);
    let mut numbers = Set::for_members(b"1", 1, &limits.set);
    let mut sorted = SortedSet::new();
    let mut list = ListBuilder::new(limits.list);
    for number in 0..10 {
        let text = format!("element {number}");
        hash.set(text.as_bytes(), b"v", &limits.hash);
        set.add(text.as_bytes(), &limits.set);
        numbers.add(number.to_string().as_bytes(), &limits.set);
        sorted.insert(text.as_bytes(), 1.0, limits.sorted_set);
        list.push(Incoming::new(text.as_bytes()));
    }
    put_value(&mut keyspace, "hash", hash);
    put_value(&mut keyspace, "set", set);
    put_value(&mut keyspace, "numbers", numbers);
    put_value(&mut keyspace, "sorted", sorted);
    put_value(&mut keyspace, "list", list.finish());
    let encodings = |change: &dyn Fn(&mut Config)| {
        let mut config = Config::default();
        change(&mut config);
        let options = Options {
            limits: Limits::of(&config),
            ..load_options()
        };
        let bytes = written(snapshot_of(&keyspace), walk_options(11));
        let loaded = load(&bytes, options).expect("our own bytes");
        let all = dataset(&loaded.keyspace);
        let names = all.values().map(|plain| plain.encoding);
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        encodings(&|_| {}),
        "listpack listpack intset listpack listpack"
    );
    let few = encodings(&|config| {
        config.hash_max_listpack_entries = 9;
        config.set_max_intset_entries = 9;
        config.set_max_listpack_entries = 9;
        config.zset_max_listpack_entries = 9;
        config.list_max_listpack_size = ListpackSize(4);
    });
    assert_eq!(few, "hashtable quicklist hashtable hashtable skiplist");
    let short = encodings(&|config| {
        config.hash_max_listpack_value = 4;
        config.set_max_listpack_value = 4;
        config.zset_max_listpack_value = 4;
    });
    assert_eq!(short, "listpack listpack intset listpack listpack");
}

#[test]
fn a_walk_yields_its_moment_whatever_happens_meanwhile() {
    let mut random = Random::from_seed(12);
    let limits = Limits::of(&Config::default());
    let mut keyspace = random_keyspace(&mut random, 1500, &limits);
    let expected = dataset(&keyspace);
    let walk = Walk::new(snapshot_of(&keyspace), walk_options(11));
    let progress = walk.progress();
    let (mut bytes, mut chunks) = (Vec::new(), 0);
    let outcome = walk.run(|chunk| {
        chunks += 1;
        bytes.extend_from_slice(&chunk);
        change_some(&mut keyspace, &mut random, &limits);
        Ok::<(), ()>(())
    });
    assert!(outcome.is_ok() && chunks > 10, "{chunks} chunks");
    assert_eq!(progress.keys(), expected.len() as u64);
    assert!(dataset(&keyspace) != expected);
    let loaded = load(&bytes, load_options()).expect("our own bytes");
    assert!(dataset(&loaded.keyspace) == expected);
}

fn change_some(keyspace: &mut Keyspace, random: &mut Random, limits: &Limits) {
    for _ in 0..50 {
        let Some(key) = keyspace
            .db(0)
            .random(random)
            .map(|entry| entry.key().to_vec())
        else {
            return;
        };
        let found = Key::new(&key);
        match random.below(4) {
            0 => {
                keyspace.db_mut(0).remove(found);
            }
            1 => put(keyspace, 0, &key, None, Content::Int(1)),
            2 => {
                keyspace
                    .db_mut(0)
                    .set_expiry(found, Some(UnixMillis(NOW.0 + 5)));
            }
            _ => {
                let Some(mut entry) = keyspace.db_mut(0).get_mut(found) else {
                    continue;
                };
                match entry.value_mut() {
                    Some(Value::String(string)) => string.append(b"more"),
                    Some(Value::Set(set)) => {
                        set.add(&random.next_u64().to_le_bytes(), &limits.set);
                    }
                    Some(Value::Hash(hash)) => {
                        hash.set(&random.next_u64().to_le_bytes(), b"new", &limits.hash);
                    }
                    Some(Value::SortedSet(set)) => {
                        set.insert(&random.next_u64().to_le_bytes(), 0.5, limits.sorted_set);
                    }
                    Some(Value::List(list)) => {
                        list.push(
                            crate::types::list::End::Front,
                            Incoming::new(b"new"),
                            limits.list,
                        );
                    }
                    None => {
                        entry.try_overwrite(b"x");
                    }
                }
            }
        }
    }
}

#[test]
fn a_large_value_passes_in_chunks_of_the_usual_size() {
    let limits = Limits::of(&Config::default());
    let mut keyspace = Keyspace::new(1);
    let mut hash = Hash::new();
    for number in 0..40_000u32 {
        let field = format!("field number {number}");
        hash.set(field.as_bytes(), b"with a value", &limits.hash);
    }
    put_value(&mut keyspace, "hash", hash);
    let mut bytes = Vec::new();
    let outcome = Walk::new(snapshot_of(&keyspace), walk_options(11)).run(|chunk| {
        assert!(chunk.len() < CHUNK_BYTES + 1024, "{}", chunk.len());
        bytes.extend_from_slice(&chunk);
        Ok::<(), ()>(())
    });
    assert!(outcome.is_ok() && bytes.len() > 8 * CHUNK_BYTES);
    let options = Options {
        databases: 1,
        ..load_options()
    };
    let loaded = load(&bytes, options).expect("our own bytes");
    assert!(dataset(&loaded.keyspace) == dataset(&keyspace));
}

#[test]
fn a_walk_ends_where_its_bytes_are_not_wanted() {
    let mut random = Random::from_seed(13);
    let keyspace = random_keyspace(&mut random, 1500, &Limits::of(&Config::default()));
    let walk = Walk::new(snapshot_of(&keyspace), walk_options(11));
    let progress = walk.progress();
    let mut taken = 0;
    let outcome = walk.run(|_| {
        taken += 1;
        if taken < 3 { Ok(()) } else { Err("full") }
    });
    assert_eq!(outcome, Err("full"));
    assert_eq!(taken, 3);
    assert!(progress.keys() < keyspace.len() as u64 / 2);
}

#[test]
fn strings_of_any_length_come_back() {
    let mut random = Random::from_seed(14);
    let mut keyspace = Keyspace::new(16);
    for (number, length) in [
        0,
        20,
        21,
        4096,
        16_384,
        65_535,
        65_536,
        65_537,
        200_000,
        1 << 20,
    ]
    .into_iter()
    .enumerate()
    {
        let even: Vec<u8> = (0..length).map(|at| (at / 7) as u8).collect();
        let noise: Vec<u8> = (0..length).map(|_| random.next_u64() as u8).collect();
        for (kind, value) in [("even", even), ("noise", noise)] {
            let key = format!("{kind} {number}");
            put(
                &mut keyspace,
                0,
                key.as_bytes(),
                None,
                Content::Bytes(&value),
            );
        }
    }
    // Beyond what is compressed as a whole.
    let long = vec![b'l'; 17 << 20];
    put(&mut keyspace, 0, b"long", None, Content::Bytes(&long));
    let expected = dataset(&keyspace);
    let bytes = written(snapshot_of(&keyspace), walk_options(10));
    let loaded = load(&bytes, load_options()).expect("our own bytes");
    assert!(dataset(&loaded.keyspace) == expected);
}

#[test]
fn what_a_snapshot_says_about_itself_comes_back() {
    let position = Position {
        id: ReplId::random(&mut Random::from_seed(15)),
        offset: Offset(1 << 41),
        stream_db: Some(3),
    };
    let snapshot = Snapshot {
        position: Some(position),
        ..snapshot_of(&Keyspace::new(16))
    };
    let options = walk::Options {
        aof_base: true,
        ..walk_options(10)
    };
    let mut bytes = written(snapshot, options);
    bytes.extend_from_slice(b"*1\r\n$4\r\nPING\r\n");
    let loaded = load(&bytes, load_options()).expect("our own bytes");
    assert_eq!(loaded.about.position, Some(position));
    assert_eq!(loaded.about.created_unix, Some(NOW.seconds()));
    assert_eq!(loaded.about.used_memory_bytes, Some(1 << 20));
    assert_eq!(loaded.about.server_version.as_deref(), Some("7.2.4"));
    assert!(loaded.about.aof_base);
    assert_eq!(loaded.rest, b"*1\r\n$4\r\nPING\r\n");
}

#[test]
fn the_use_of_keys_travels_only_between_nodes_that_evict_by_it() {
    let mut keyspace = Keyspace::new(16);
    put(&mut keyspace, 0, b"k", None, Content::Int(1));
    let lfu = AccessRule::Lfu {
        log_factor: 10,
        decay_minutes: 1,
    };
    let access_of = |bits: u32, usage: UsageRule, access: AccessRule| {
        if let Some(entry) = keyspace.db(0).get(Key::new(b"k")) {
            entry.set_access(bits);
        }
        let snapshot = Snapshot {
            usage,
            ..snapshot_of(&keyspace)
        };
        let options = Options {
            access,
            ..load_options()
        };
        let loaded = load(&written(snapshot, walk_options(10)), options).expect("our own bytes");
        let entry = loaded.keyspace.db(0).get(Key::new(b"k"));
        entry.map(|entry| entry.access())
    };
    let idle = access::from_idle_seconds(5000, NOW);
    assert_eq!(
        access_of(idle, UsageRule::Idle, AccessRule::Lru),
        Some(idle)
    );
    let often = access::from_frequency(77, NOW);
    let frequency = UsageRule::Frequency { decay_minutes: 1 };
    assert_eq!(access_of(often, frequency, lfu), Some(often));
    let fresh = access::fresh(AccessRule::Lru, NOW);
    let unwritten = access_of(idle, UsageRule::Unwritten, AccessRule::Lru);
    assert_eq!(unwritten, Some(fresh));
    assert_eq!(access_of(often, frequency, AccessRule::Lru), Some(fresh));
    let fresh = access::fresh(lfu, NOW);
    assert_eq!(access_of(idle, UsageRule::Idle, lfu), Some(fresh));
}
