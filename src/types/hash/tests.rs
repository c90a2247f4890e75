//! A hash against a plain model, in both encodings and across the border between them.

use std::collections::BTreeMap;

use super::*;

const LIMITS: Limits = Limits {
    listpack_entries: 16,
    listpack_value_bytes: 12,
};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn assert_same(hash: &Hash, model: &Model) {
    assert_eq!(hash.len(), model.len());
    assert_eq!(hash.is_empty(), model.is_empty());
    let fields = |field: Element, value: Element| (field.to_vec(), value.to_vec());
    let found: Model = hash.iter().map(|(f, v)| fields(f, v)).collect();
    assert_eq!(&found, model);
    assert_eq!(hash.iter().count(), model.len());
    let (mut scanned, mut cursor) = (Model::new(), 0);
    loop {
        cursor = hash.scan(cursor, |field, value| {
            scanned.extend([fields(field, value)]);
        });
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(&scanned, model);
}

fn some_text(random: &mut Random, longest: u64) -> Vec<u8> {
    match random.below(3) {
        0 => (random.next_u64() as i64 >> random.below(64))
            .to_string()
            .into_bytes()[..]
            .iter()
            .copied()
            .take(longest as usize)
            .collect(),
        1 => vec![b'v'; random.below(longest) as usize],
        _ => format!("{:03}", random.below(100)).into_bytes(),
    }
}

/// Random changes; clones must not see what comes after them.
fn check_against_model(seed: u64, fields: u64, longest: u64, steps: usize) -> Hash {
    let mut random = Random::from_seed(seed);
    let (mut hash, mut model) = (Hash::new(), Model::new());
    let mut clones = Vec::new();
    for step in 0..steps {
        let field = format!("f{}", random.below(fields)).into_bytes();
        if random.chance(7, 10) {
            let value = some_text(&mut random, longest);
            let is_new = hash.set(&field, &value, &LIMITS);
            assert_eq!(is_new, model.insert(field, value).is_none(), "seed {seed}");
        } else {
            assert_eq!(
                hash.remove(&field),
                model.remove(&field).is_some(),
                "seed {seed}"
            );
        }
        let field = format!("f{}", random.below(fields)).into_bytes();
        let found = hash.get(&field).map(Element::to_vec);
        assert_eq!(found.as_ref(), model.get(&field), "seed {seed}");
        assert_eq!(hash.contains(&field), model.contains_key(&field));
        if step % 50 == 0 {
            assert_same(&hash, &model);
            clones.push((hash.clone(), model.clone()));
        }
    }
    assert_same(&hash, &model);
    for (clone, model) in &clones {
        assert_same(clone, model);
    }
    hash
}

#[test]
fn both_encodings_behave_as_a_plain_map() {
    for seed in 0..30 {
        let small = check_against_model(seed, 16, 12, 300);
        assert_eq!(small.encoding_name(), "listpack");
        let large = check_against_model(seed, 400, 12, 1000);
        assert_eq!(large.encoding_name(), "hashtable");
        let long = check_against_model(seed, 10, 30_000, 100);
        assert_eq!(long.encoding_name(), "hashtable");
    }
}

#[test]
fn the_listpack_ends_where_the_limits_say() {
    let filled = |count: usize| {
        let mut hash = Hash::new();
        for number in 0..count {
            hash.set(format!("f{number}").as_bytes(), b"v", &LIMITS);
        }
        hash
    };
    let mut full = filled(16);
    assert_eq!(full.encoding_name(), "listpack");
    full.set(b"f3", b"twelve bytes", &LIMITS);
    assert_eq!(full.encoding_name(), "listpack");
    full.set(b"f3", b"thirteen byte", &LIMITS);
    assert_eq!((full.encoding_name(), full.len()), ("hashtable", 16));
    assert_eq!(filled(17).encoding_name(), "hashtable");
    let mut hash = Hash::new();
    hash.set(b"thirteen byte", b"", &LIMITS);
    assert_eq!(hash.encoding_name(), "hashtable");
    assert_eq!(hash.get(b"thirteen byte"), Some(Element::Str(b"")));

    let mut hash = filled(2);
    hash.expect(16, &LIMITS);
    assert_eq!(hash.encoding_name(), "listpack");
    hash.expect(17, &LIMITS);
    assert_eq!((hash.encoding_name(), hash.len()), ("hashtable", 2));
    assert_eq!(Hash::for_fields(17, &LIMITS).encoding_name(), "hashtable");
}

#[test]
fn a_listpack_from_outside_is_taken_as_it_is_or_refused() {
    let long = Listpack::from_iter(["f", "a value that is too long by far"]);
    let hash = Hash::from_listpack(long, &LIMITS).unwrap();
    assert_eq!((hash.encoding_name(), hash.len()), ("listpack", 1));
    let many: Listpack = (0..34).map(Element::Int).collect();
    let hash = Hash::from_listpack(many, &LIMITS).unwrap();
    assert_eq!((hash.encoding_name(), hash.len()), ("hashtable", 17));
    assert_eq!(hash.get(b"32"), Some(Element::Str(b"33")));
    // A value may well read as a field.
    let values = Listpack::from_iter(["a", "b", "b", "a"]);
    assert!(Hash::from_listpack(values, &LIMITS).is_ok());
    for elements in [&["a", "1", "a", "2"][..], &["a", "1", "b"]] {
        let pack = Listpack::from_iter(elements.iter().copied());
        assert!(Hash::from_listpack(pack, &LIMITS).is_err(), "{elements:?}");
    }
}

#[test]
fn a_long_value_lies_where_it_was_when_the_table_is_cloned_and_grows() {
    let mut hash = Hash::new();
    hash.set(b"long", &[b'x'; 100_000], &LIMITS);
    let address = |hash: &Hash| match hash.get(b"long") {
        Some(Element::Str(value)) => value.as_ptr(),
        _ => panic!("a long value is no integer"),
    };
    let before = address(&hash);
    let clone = hash.clone();
    for number in 0..1000 {
        hash.set(format!("f{number}").as_bytes(), b"v", &LIMITS);
    }
    assert_eq!((address(&hash), address(&clone)), (before, before));
    hash.set(b"long", &[b'y'; 100_000], &LIMITS);
    assert_eq!(clone.get(b"long"), Some(Element::Str(&[b'x'; 100_000])));
    let before = address(&hash);
    hash.set(b"long", &[b'z'; 100_000], &LIMITS);
    assert_eq!(address(&hash), before, "its only owner writes in place");
}

#[test]
fn random_fields_come_with_their_values() {
    let mut random = Random::from_seed(4);
    for count in [10, 300] {
        let mut hash = Hash::new();
        for number in 0..count {
            let (field, value) = (format!("f{number}"), format!("v{number}"));
            hash.set(field.as_bytes(), value.as_bytes(), &LIMITS);
        }
        let check = |field: Element, value: Element| {
            let (field, value) = (field.to_vec(), value.to_vec());
            assert_eq!(field[1..], value[1..]);
            field
        };
        let (field, value) = hash.random(&mut random).unwrap();
        check(field, value);
        let mut drawn = std::collections::BTreeSet::new();
        hash.draw(20 * count, &mut random, |field, value| {
            drawn.insert(check(field, value));
        });
        assert!(drawn.len() * 10 >= count * 9);
        for wanted in [1, 3, count - 1, count] {
            let mut chosen = std::collections::BTreeSet::new();
            hash.choose(wanted, &mut random, |field, value| {
                assert!(chosen.insert(check(field, value)));
            });
            assert_eq!(chosen.len(), wanted);
        }
    }
    assert!(Hash::new().random(&mut random).is_none());
}
