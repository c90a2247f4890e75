//! Entries against a plain model, shared and alone.

use super::*;
use crate::random::Random;

#[derive(Clone, Debug, PartialEq)]
enum Model {
    Int(i64),
    Bytes(Vec<u8>),
}

fn check(entry: &Entry, key: &[u8], expiry: Option<UnixMillis>, model: &Model) {
    assert_eq!(entry.key(), key);
    assert_eq!(entry.expiry(), expiry);
    let found = match entry.view() {
        View::Int(value) => Model::Int(value),
        View::Bytes(bytes) => Model::Bytes(bytes.to_vec()),
        View::Value(Value::String(string)) => Model::Bytes(string.to_vec()),
        #[allow(unreachable_patterns, reason = "other types join the list")]
        View::Value(_) => panic!("a string was stored"),
    };
    assert_eq!(&found, model);
}

fn make(key: &[u8], expiry: Option<UnixMillis>, model: &Model) -> Entry {
    match model {
        Model::Int(value) => Entry::new(key, expiry, Content::Int(*value)),
        Model::Bytes(bytes) => Entry::new(key, expiry, Content::Bytes(bytes)),
    }
}

#[test]
fn random_changes_agree_with_a_model_and_leave_shared_entries_alone() {
    let mut random = Random::from_seed(11);
    for _ in 0..3_000 {
        let mut key: Vec<u8> = (0..random.below(200))
            .map(|_| random.next_u64() as u8)
            .collect();
        let value = |random: &mut Random| match random.below(3) {
            0 => Model::Int(random.next_u64() as i64 >> random.below(64)),
            1 => Model::Bytes(vec![1; random.below(300) as usize]),
            _ => Model::Bytes(vec![2; random.below(40_000) as usize]),
        };
        let mut model = value(&mut random);
        let mut expiry = random
            .chance(1, 2)
            .then(|| UnixMillis(random.next_u64() as i64));
        let mut entry = make(&key, expiry, &model);
        entry.set_access(random.below(1 << 24) as u32);
        let access = entry.access();
        let picture = random
            .chance(1, 2)
            .then(|| (entry.clone(), key.clone(), expiry, model.clone()));
        for _ in 0..4 {
            match random.below(4) {
                0 => {
                    expiry = random
                        .chance(1, 2)
                        .then(|| UnixMillis(random.below(1 << 40) as i64));
                    entry.set_expiry(expiry);
                }
                1 => {
                    key = vec![b'k'; random.below(300) as usize];
                    entry = entry.renamed(&key);
                }
                2 => {
                    let new = value(&mut random);
                    let done = match &new {
                        Model::Int(value) => entry.try_overwrite_int(*value),
                        Model::Bytes(bytes) => entry.try_overwrite(bytes),
                    };
                    if done {
                        model = new;
                    }
                }
                _ => {
                    if let Some(Value::String(string)) = entry.value_mut() {
                        string.append(b"tail");
                        if let Model::Bytes(bytes) = &mut model {
                            bytes.extend_from_slice(b"tail");
                        }
                    }
                }
            }
            check(&entry, &key, expiry, &model);
            assert_eq!(entry.access(), access);
        }
        if let Some((entry, key, expiry, model)) = picture {
            check(&entry, &key, expiry, &model);
        }
    }
}

#[test]
fn a_key_of_sixteen_bytes_with_a_small_integer_takes_two_steps_of_the_allocator() {
    assert_eq!(
        Entry::new(&[b'k'; 16], None, Content::Int(12_345_678)).own_bytes(),
        32
    );
    assert_eq!(
        Entry::new(&[b'k'; 16], None, Content::Bytes(&[0; 64])).own_bytes(),
        96
    );
}
