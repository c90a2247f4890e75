//! Payloads that are not what they should be.

use super::*;
use crate::rdb::fixtures;

fn refusal(payload: &[u8], options: Options) -> String {
    match load(payload, options) {
        Ok(loaded) => format!("loads {} keys", loaded.counts.keys),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_key_that_comes_twice_is_refused_also_far_away_and_before_later_damage() {
    assert_eq!(
        refusal(b"REDIS0010\0\x01k\x01v\0\x01k\x01w\xff", load_options()),
        "rdb: byte 19: while reading the value of key \"k\": the same key twice"
    );
    let mut payload = b"REDIS0010".to_vec();
    for number in 0..2000 {
        payload.extend_from_slice(format!("\0\x04{number:04}\x01v").as_bytes());
    }
    payload.extend_from_slice(b"\0\x041000\x01v\0\x01x\x01v");
    payload.extend_from_slice(b"\x63");
    let text = refusal(&payload, load_options());
    assert!(text.ends_with("key \"1000\": the same key twice"), "{text}");
    let elsewhere = b"REDIS0010\0\x01k\x01v\xfe\x01\0\x01k\x01w\xff\0\0\0\0\0\0\0\0";
    assert_eq!(refusal(elsewhere, load_options()), "loads 2 keys");
}

#[test]
fn a_database_that_is_not_there_is_refused() {
    let options = Options {
        databases: 4,
        ..load_options()
    };
    assert_eq!(
        refusal(b"REDIS0010\xfe\x04\0\x01k\x01v\xff", options),
        "rdb: byte 9: while reading SELECTDB: database 4 selected, there are 4"
    );
}

#[test]
fn keys_whose_time_has_passed_are_dropped_and_listed_by_a_master_and_kept_by_a_replica() {
    let mut keyspace = Keyspace::new(16);
    put(&mut keyspace, 2, b"past", Some(NOW.0 - 1), Content::Int(1));
    put(&mut keyspace, 2, b"now", Some(NOW.0), Content::Int(1));
    put(&mut keyspace, 2, b"never", None, Content::Int(1));
    let bytes = written(snapshot_of(&keyspace), walk_options(10));
    let master = load(&bytes, load_options()).expect("our own bytes");
    assert_eq!((master.counts.keys, master.counts.expired), (2, 1));
    assert_eq!(master.expired_keys, [(2, b"past"[..].into())]);
    assert_eq!(master.keyspace.db(2).volatile_len(), 1);
    let keep = Options {
        expired: Expired::Keep,
        ..load_options()
    };
    let replica = load(&bytes, keep).expect("our own bytes");
    assert_eq!((replica.counts.keys, replica.counts.expired), (3, 0));
    assert!(dataset(&replica.keyspace) == dataset(&keyspace));
}

#[test]
fn members_and_fields_that_come_twice_are_refused_in_any_encoding() {
    let many = |count: usize, value_type: u8, item: &dyn Fn(usize) -> Vec<u8>| {
        let mut payload = b"REDIS0010".to_vec();
        payload.extend_from_slice(&[value_type, 1, b'k', 0x80]);
        payload.extend_from_slice(&(count as u32 + 1).to_be_bytes());
        for number in 0..=count {
            // The last is the first again.
            payload.extend(item(number % count));
        }
        payload.push(0xff);
        refusal(&payload, load_options())
    };
    for count in [3, 600] {
        let word = |number: usize| format!("\x05w{number:04}").into_bytes();
        let set = many(count, 2, &word);
        assert!(set.ends_with("the same member twice"), "{set}");
        let integers = many(count, 2, &|number| {
            [&[0xc1][..], &(1000 + number as u16).to_le_bytes()].concat()
        });
        assert!(integers.ends_with("the same member twice"), "{integers}");
        let hash = many(count, 4, &|number| {
            [word(number), b"\x01v".to_vec()].concat()
        });
        assert!(hash.ends_with("the same field twice"), "{hash}");
        let sorted = many(count, 5, &|number| [word(number), vec![0; 8]].concat());
        assert!(sorted.ends_with("the same member twice"), "{sorted}");
    }
}

#[test]
fn what_is_dropped_half_way_leaves_nothing_behind() {
    let mut random = Random::from_seed(31);
    let keyspace = random_keyspace(&mut random, 200, &Limits::of(&Config::default()));
    let bytes = written(snapshot_of(&keyspace), walk_options(11));
    let mut loader = Loader::new(load_options()).expect("a thread");
    loader
        .feed(&bytes[..bytes.len() / 2])
        .expect("so far valid");
    assert!(loader.counts().keys > 0 && !loader.is_done());
    drop(loader);
    let mut loader = Loader::new(load_options()).expect("a thread");
    loader
        .feed(&bytes[..bytes.len() / 2])
        .expect("so far valid");
    let cut = loader.finish().err().map(|error| error.to_string());
    assert!(cut.is_some_and(|text| text.contains("bytes left") || text.contains("byte left")));
}

#[test]
fn the_same_error_comes_again() {
    let mut loader = Loader::new(load_options()).expect("a thread");
    let first = loader.feed(b"REDIS0010\x63").map_err(|e| e.to_string());
    assert!(first.is_err());
    assert_eq!(loader.feed(b"more").map_err(|e| e.to_string()), first);
    assert_eq!(
        loader.finish().map(|_| ()).map_err(|e| e.to_string()),
        first
    );
}

#[test]
fn mutated_payloads_load_or_are_refused_the_same_way_however_they_are_cut() {
    let mut random = Random::from_seed(0xf022);
    let limits = Limits::of(&Config::default());
    let mut payloads: Vec<Vec<u8>> = ["", "old", "edge", "bad"]
        .iter()
        .flat_map(|folder| fixtures::names(folder))
        .map(|name| fixtures::file(&name))
        .filter(|payload| payload.len() < 4096)
        .collect();
    for _ in 0..40 {
        let keyspace = random_keyspace(&mut random, 4, &limits);
        let options = walk::Options {
            compress: false,
            ..walk_options(10 + random.below(3) as u16)
        };
        payloads.push(written(snapshot_of(&keyspace), options));
    }
    payloads.retain(|payload| payload.len() < 50_000);
    let (mut refused, mut again) = (0, 0);
    for round in 0..ROUNDS {
        let mut payload = payloads[random.below(payloads.len() as u64) as usize].clone();
        for _ in 0..random.below(4) {
            mutate(&mut payload, &mut random);
        }
        let options = Options {
            verify_checksum: random.chance(1, 4),
            payload_bytes: random.chance(1, 2).then_some(payload.len() as u64),
            expired: Expired::Keep,
            ..load_options()
        };
        let whole = load(&payload, options);
        let pieces = load_in_pieces(&payload, options, 1 << random.below(12), &mut random);
        match (whole, pieces) {
            (Ok(whole), Ok(pieces)) => {
                let content = dataset(&whole.keyspace);
                assert!(content == dataset(&pieces.keyspace), "round {round}");
                // What was accepted can be written and read again.
                let bytes = written(snapshot_of(&whole.keyspace), walk_options(11));
                let options = Options {
                    payload_bytes: None,
                    ..options
                };
                let reloaded = load(&bytes, options).expect("our own bytes");
                again += 1;
                let same_values = dataset(&reloaded.keyspace)
                    .into_iter()
                    .zip(content)
                    .all(|(one, other)| one.0 == other.0 && one.1.elements == other.1.elements);
                assert!(same_values, "round {round}");
            }
            (Err(whole), Err(pieces)) => {
                assert_eq!(whole.to_string(), pieces.to_string(), "round {round}");
                refused += 1;
            }
            (whole, pieces) => panic!("round {round}: {:?} {:?}", whole.err(), pieces.err()),
        }
    }
    assert!(
        refused > ROUNDS / 5 && again > ROUNDS / 10,
        "{refused} {again}"
    );
}

const ROUNDS: usize = 1500;

fn mutate(payload: &mut Vec<u8>, random: &mut Random) {
    const FAVOURITES: &[u8] = &[0, 1, 0x3f, 0x40, 0x80, 0x81, 0xc0, 0xc3, 0xf0, 0xfe, 0xff];
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
