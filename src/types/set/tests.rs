//! A set against a plain model, in each encoding and across the borders between them.

use std::collections::BTreeSet;

use super::*;

const LIMITS: Limits = Limits {
    intset_entries: 20,
    listpack_entries: 12,
    listpack_value_bytes: 10,
};

fn text(element: Element) -> Vec<u8> {
    element.to_vec()
}

fn members(set: &Set) -> Vec<Vec<u8>> {
    let mut members: Vec<_> = set.iter().map(text).collect();
    members.sort();
    members
}

fn assert_same(set: &Set, model: &BTreeSet<Vec<u8>>) {
    assert_eq!(set.len(), model.len());
    assert_eq!(set.is_empty(), model.is_empty());
    assert!(members(set).iter().eq(model), "{set:?}: {model:?}");
    let (mut scanned, mut cursor) = (BTreeSet::new(), 0);
    loop {
        cursor = set.scan(cursor, |member| {
            scanned.insert(text(member));
        });
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(&scanned, model);
}

fn some_member(random: &mut Random, kinds: u64) -> Vec<u8> {
    match random.below(kinds) {
        0 => (random.below(40) as i64 - 20).to_string().into_bytes(),
        1 => (random.next_u64() as i64 >> random.below(63))
            .to_string()
            .into_bytes(),
        2 => format!("m{}", random.below(20)).into_bytes(),
        3 => vec![b'x'; random.below(13) as usize],
        _ => format!("{:04}", random.below(300)).into_bytes(),
    }
}

/// Random changes with members of the first `kinds` kinds; clones must not see what comes after them.
fn check_against_model(seed: u64, kinds: u64, steps: usize) -> Set {
    let mut random = Random::from_seed(seed);
    let mut model = BTreeSet::new();
    let mut set = Set::for_members(&some_member(&mut random, kinds), 1, &LIMITS);
    let mut clones = Vec::new();
    for step in 0..steps {
        let member = some_member(&mut random, kinds);
        match random.below(10) {
            0..6 => assert_eq!(
                set.add(&member, &LIMITS),
                model.insert(member),
                "seed {seed}"
            ),
            6..9 => assert_eq!(set.remove(&member), model.remove(&member), "seed {seed}"),
            _ => {
                let mut popped = None;
                set.pop(&mut random, |member| popped = Some(text(member)));
                match popped {
                    Some(member) => assert!(model.remove(&member), "seed {seed}"),
                    None => assert!(model.is_empty(), "seed {seed}"),
                }
            }
        }
        let member = some_member(&mut random, kinds);
        assert_eq!(
            set.contains(&member),
            model.contains(&member),
            "seed {seed}"
        );
        if step % 50 == 0 {
            assert_same(&set, &model);
            clones.push((set.clone(), model.clone()));
        }
    }
    assert_same(&set, &model);
    for (clone, model) in &clones {
        assert_same(clone, model);
    }
    set
}

#[test]
fn every_encoding_behaves_as_a_plain_set() {
    let mut reached = BTreeSet::new();
    for seed in 0..40 {
        for (kinds, steps) in [(1, 30), (2, 200), (3, 25), (4, 200), (5, 1000)] {
            let set = check_against_model(seed, kinds, steps);
            reached.insert(set.encoding_name());
        }
    }
    assert_eq!(reached.len(), 3, "{reached:?}");
}

#[test]
fn encodings_change_where_the_limits_say() {
    let with = |members: &[&str]| {
        let mut set = Set::for_members(members[0].as_bytes(), members.len(), &LIMITS);
        for member in members {
            set.add(member.as_bytes(), &LIMITS);
        }
        assert_eq!(set.len(), members.len());
        set.encoding_name()
    };
    let numbers: Vec<String> = (0..30).map(|number| number.to_string()).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    let words: Vec<String> = (0..30).map(|number| format!("w{number}")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    assert_eq!(with(&numbers[..20]), "intset");
    assert_eq!(with(&numbers[..21]), "hashtable");
    assert_eq!(with(&words[..12]), "listpack");
    assert_eq!(with(&words[..13]), "hashtable");
    assert_eq!(with(&["0123456789"]), "listpack");
    assert_eq!(with(&["x", "0123456789a"]), "hashtable");
    assert_eq!(with(&["1", "2", "x"]), "listpack");
    assert_eq!(with(&["1", "2", "0123456789a"]), "hashtable");
    assert_eq!(with(&["-1000000000", "1", "x"]), "hashtable");
    let mixed = |count: usize| with(&[&numbers[..count], &["x"]].concat());
    assert_eq!(mixed(11), "listpack");
    assert_eq!(mixed(12), "hashtable");

    let mut set = Set::for_members(b"1", 1, &LIMITS);
    set.expect(20, &LIMITS);
    assert_eq!(set.encoding_name(), "intset");
    set.expect(21, &LIMITS);
    assert_eq!(set.encoding_name(), "hashtable");
    set.add(b"7", &LIMITS);
    assert_eq!(set.compacted(&LIMITS).encoding_name(), "intset");
}

#[test]
fn what_comes_from_outside_is_taken_as_it_is_or_refused() {
    let numbers: Intset = (0..20).collect();
    assert_eq!(Set::from_intset(numbers, &LIMITS).encoding_name(), "intset");
    let many = Set::from_intset((0..21).collect(), &LIMITS);
    assert_eq!((many.encoding_name(), many.len()), ("hashtable", 21));

    let long = Listpack::from_iter(["longer than ten bytes", "b"]);
    let set = Set::from_listpack(long, &LIMITS).unwrap();
    assert_eq!((set.encoding_name(), set.len()), ("listpack", 2));
    let many: Listpack = (0..13).map(Element::Int).collect();
    let set = Set::from_listpack(many, &LIMITS).unwrap();
    assert_eq!((set.encoding_name(), set.len()), ("hashtable", 13));
    for count in [2, 50] {
        let twice: Listpack = (0..count).chain([0]).map(Element::Int).collect();
        let refused = Set::from_listpack(twice, &LIMITS).unwrap_err();
        assert!(refused.to_string().contains("twice"), "{refused}");
    }
}

#[test]
fn random_members_are_members_and_all_come_up() {
    let mut random = Random::from_seed(3);
    for count in [15, 16, 300] {
        let mut set = Set::for_members(b"0", 1, &LIMITS);
        for number in 0..count {
            let member = if count == 15 {
                number.to_string()
            } else {
                format!("m{number}")
            };
            set.add(member.as_bytes(), &LIMITS);
        }
        assert_eq!(set.len(), count);
        let (mut one_by_one, mut drawn, mut chosen) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for _ in 0..20 * count {
            one_by_one.insert(text(set.random(&mut random).unwrap()));
        }
        set.draw(20 * count, &mut random, |member| {
            drawn.insert(text(member));
        });
        set.choose(count, &mut random, |member| {
            assert!(chosen.insert(text(member)));
        });
        assert!(one_by_one.iter().all(|member| set.contains(member)));
        assert!(one_by_one.len() * 10 >= count * 9);
        assert!(drawn.iter().all(|member| set.contains(member)));
        assert!(drawn.len() * 10 >= count * 9);
        assert_eq!(chosen.len(), count);

        let before = members(&set);
        let all = set.retain_random(5, &mut random, &LIMITS);
        assert_eq!(members(&all), before);
        assert_eq!(set.len(), 5);
        assert!(set.iter().all(|member| all.contains(&text(member))));
    }
    let empty = Set::for_members(b"x", 1, &LIMITS);
    assert!(empty.random(&mut random).is_none());
    empty.draw(3, &mut random, |_| panic!("nothing is there"));
    empty.choose(3, &mut random, |_| panic!("nothing is there"));
}
