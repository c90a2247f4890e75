//! Sorted sets against a plain model, in either encoding and across the change from one to the other.

use std::collections::HashMap;

use super::*;

use range::{MemberRange, RankRange, ScoreRange};

const ALWAYS_COMPACT: Limits = Limits {
    entries_max: 100_000,
    member_bytes_max: 100_000,
};
const NEVER_COMPACT: Limits = Limits {
    entries_max: 0,
    member_bytes_max: 0,
};
const USUAL: Limits = Limits {
    entries_max: 128,
    member_bytes_max: 64,
};

#[derive(Clone, Default)]
struct Model(HashMap<Vec<u8>, f64>);

impl Model {
    fn sorted(&self) -> Vec<(Vec<u8>, f64)> {
        let mut sorted: Vec<_> = self
            .0
            .iter()
            .map(|(member, score)| (member.clone(), *score))
            .collect();
        sorted.sort_by(|left, right| compare(left.1, &left.0, right.1, &right.0));
        sorted
    }
}

fn content<'a>(members: impl Iterator<Item = Scored<'a>>) -> Vec<(Vec<u8>, f64)> {
    members
        .map(|scored| (scored.member.to_vec(), scored.score))
        .collect()
}

fn check(set: &SortedSet, model: &Model) {
    let sorted = model.sorted();
    assert_eq!(set.len(), sorted.len());
    assert_eq!(set.is_empty(), sorted.is_empty());
    assert_eq!(content(set.iter()), sorted);
    let mut backward = content(set.iter_back());
    backward.reverse();
    assert_eq!(backward, sorted);
    for (rank, (member, score)) in sorted.iter().enumerate() {
        assert_eq!(set.rank(member), Some((rank, *score)));
        assert_eq!(set.score(member), Some(*score));
    }
}

/// Few members and few scores, so that equal ones are common; integers, texts, and both infinities.
fn draw(random: &mut Random) -> (Vec<u8>, f64) {
    let number = random.below(300);
    let member = match number % 3 {
        0 => number.to_string().into_bytes(),
        1 => format!("-{number}").into_bytes(),
        _ => vec![b'm'; number as usize % 70],
    };
    let score = match random.below(8) {
        0 => f64::INFINITY,
        1 => f64::NEG_INFINITY,
        2 => 0.1 * random.below(5) as f64,
        _ => random.below(10) as f64 - 5.0,
    };
    (member, score)
}

fn against_a_model(limits: Limits, steps: u64, seed: u64) {
    let mut random = Random::from_seed(seed);
    let (mut set, mut model) = (SortedSet::new(), Model::default());
    let mut pictures = Vec::new();
    for step in 0..steps {
        let (member, score) = draw(&mut random);
        match random.below(12) {
            0..=6 => {
                let before = model.0.insert(member.clone(), score);
                let done = match before {
                    None => Update::Added,
                    Some(old) if old == score => Update::Nothing,
                    Some(_) => Update::Moved,
                };
                assert_eq!(set.insert(&member, score, limits), done);
            }
            7 => {
                let mut seen = None;
                let done = set.update(&member, limits, |old| {
                    seen = old;
                    old.map(|_| score)
                });
                assert_eq!(seen, model.0.get(&member).copied());
                assert_eq!(done == Update::Nothing, seen.is_none_or(|old| old == score));
                model.0.entry(member).and_modify(|old| *old = score);
            }
            8..=9 => assert_eq!(set.remove(&member), model.0.remove(&member)),
            10 => {
                let start = random.below(set.len() as u64 + 2) as usize;
                let ranks = start..start + random.below(5) as usize;
                let sorted = model.sorted();
                let clipped = ranks.start.min(sorted.len())..ranks.end.min(sorted.len());
                assert_eq!(set.remove_range(ranks), clipped.len());
                for (member, _) in &sorted[clipped] {
                    model.0.remove(member);
                }
            }
            _ => pictures.push((set.clone(), model.clone())),
        }
        if step % 64 == 0 {
            check(&set, &model);
            spans(&set, &model, &mut random);
        }
    }
    check(&set, &model);
    for (picture, model) in pictures.iter().step_by(16) {
        check(picture, model);
    }
}

/// Every kind of bounds against a filter over the model.
fn spans(set: &SortedSet, model: &Model, random: &mut Random) {
    let sorted = model.sorted();
    let mark = |random: &mut Random| if random.below(2) == 0 { "(" } else { "" };
    let (low, high) = (random.below(12) as i64 - 6, random.below(12) as i64 - 6);
    let texts = (
        format!("{}{low}", mark(random)),
        format!("{}{high}", mark(random)),
    );
    let range = ScoreRange::parse(texts.0.as_bytes(), texts.1.as_bytes()).expect("bounds");
    let within = |score: f64| {
        let above = if range.min.exclusive {
            score > range.min.score
        } else {
            score >= range.min.score
        };
        let below = if range.max.exclusive {
            score < range.max.score
        } else {
            score <= range.max.score
        };
        above && below
    };
    let wanted: Vec<_> = sorted
        .iter()
        .filter(|(_, score)| within(*score))
        .cloned()
        .collect();
    let span = set.span(&Bounds::Scores(range));
    assert_eq!(content(set.range(span.clone())), wanted, "{texts:?}");
    let mut backward = content(set.range_back(span));
    backward.reverse();
    assert_eq!(backward, wanted);

    let ranks = RankRange {
        start: low,
        stop: high,
    };
    let span = set.span(&Bounds::Ranks(ranks));
    assert_eq!(content(set.range(span.clone())), sorted[span]);
}

#[test]
fn a_compact_set_behaves_as_the_model() {
    against_a_model(ALWAYS_COMPACT, 3_000, 1);
}

#[test]
fn a_big_set_behaves_as_the_model() {
    against_a_model(NEVER_COMPACT, 6_000, 2);
}

#[test]
fn a_set_that_grows_big_on_the_way_behaves_as_the_model() {
    for seed in 3..8 {
        against_a_model(USUAL, 1_000, seed);
        against_a_model(
            Limits {
                entries_max: 10,
                member_bytes_max: 8,
            },
            300,
            seed,
        );
    }
}

#[test]
fn members_of_one_score_are_selected_by_their_bytes() {
    for limits in [ALWAYS_COMPACT, NEVER_COMPACT] {
        let mut set = SortedSet::new();
        for member in ["a", "b", "c", "12", "bb"] {
            set.insert(member.as_bytes(), 0.0, limits);
        }
        for (min, max, wanted) in [
            ("-", "+", &["12", "a", "b", "bb", "c"][..]),
            ("[b", "(c", &["b", "bb"]),
            ("(b", "[c", &["bb", "c"]),
            ("-", "[2", &["12"]),
            ("+", "-", &[]),
            ("[c", "[a", &[]),
        ] {
            let range = MemberRange::parse(min.as_bytes(), max.as_bytes()).expect("bounds");
            let span = set.span(&Bounds::Members(range));
            let found: Vec<_> = set
                .range(span)
                .map(|scored| scored.member.to_vec())
                .collect();
            let wanted: Vec<_> = wanted
                .iter()
                .map(|member| member.as_bytes().to_vec())
                .collect();
            assert_eq!(found, wanted, "{min} {max}");
        }
    }
}

#[test]
fn a_set_leaves_the_listpack_when_a_limit_is_passed_and_not_before() {
    let limits = Limits {
        entries_max: 3,
        member_bytes_max: 5,
    };
    let mut set = SortedSet::new();
    for member in ["a", "b", "five5"] {
        set.insert(member.as_bytes(), 1.5, limits);
    }
    set.insert(b"a", 2.5, limits);
    assert_eq!(set.encoding(), "listpack");
    let mut many = set.clone();
    many.insert(b"d", 1.0, limits);
    assert_eq!(many.encoding(), "skiplist");
    let mut long = set.clone();
    long.remove(b"a");
    long.insert(b"sixsix", 1.0, limits);
    assert_eq!(long.encoding(), "skiplist");
    assert_eq!(set.encoding(), "listpack");
    assert_eq!(content(set.iter()).len(), 3);
}

#[test]
fn zeros_of_either_sign_are_one_place_in_the_order() {
    for limits in [ALWAYS_COMPACT, NEVER_COMPACT] {
        let mut set = SortedSet::new();
        set.insert(b"b", -0.0, limits);
        set.insert(b"a", 0.0, limits);
        assert_eq!(
            content(set.iter())
                .into_iter()
                .map(|(member, _)| member)
                .collect::<Vec<_>>(),
            [b"a", b"b"]
        );
        assert_eq!(set.insert(b"b", 0.0, limits), Update::Nothing);
    }
}

#[test]
fn a_builder_takes_members_in_any_order_and_chooses_the_encoding() {
    let mut random = Random::from_seed(9);
    for count in [0, 1, 128, 129, 3000] {
        let mut model = Model::default();
        let mut builder = Builder::default();
        for number in 0..count {
            let (member, score) = (
                number.to_string().into_bytes(),
                random.below(100) as f64 / 4.0,
            );
            assert_eq!(builder.push(&member, score), Ok(()));
            model.0.insert(member, score);
        }
        assert_eq!(builder.push(b"new", f64::NAN), Err(Flaw::NotANumber(count)));
        if count > 0 {
            assert_eq!(builder.push(b"0", 1e9), Err(Flaw::Duplicate));
        }
        let set = builder.finish(USUAL);
        assert_eq!(
            set.encoding(),
            if count <= 128 { "listpack" } else { "skiplist" }
        );
        check(&set, &model);
    }
    let mut long = Builder::default();
    long.push(&[b'x'; 65], 1.0).expect("the first member");
    assert_eq!(long.finish(USUAL).encoding(), "skiplist");
}

#[test]
fn listpacks_from_outside_are_taken_as_they_are_or_put_in_order_or_refused() {
    let pack = |elements: &[&str]| -> Listpack { elements.iter().copied().collect() };
    let bytes = pack(&["a", "1", "b", "1.5", "c", "inf"]);
    let set = SortedSet::from_listpack(bytes.clone(), USUAL).expect("a set");
    assert!(matches!(set.view(), View::Listpack(pack) if *pack == bytes));
    let limits = Limits {
        entries_max: 2,
        member_bytes_max: 64,
    };
    let set = SortedSet::from_listpack(bytes, limits).expect("a set");
    assert_eq!((set.encoding(), set.len()), ("skiplist", 3));
    let set =
        SortedSet::from_listpack(pack(&["b", "2", "a", "2", "c", "1"]), USUAL).expect("a set");
    assert_eq!(set.encoding(), "listpack");
    assert_eq!(
        content(set.iter()),
        [
            (b"c".to_vec(), 1.0),
            (b"a".to_vec(), 2.0),
            (b"b".to_vec(), 2.0)
        ]
    );
    let refused = |elements: &[&str]| SortedSet::from_listpack(pack(elements), USUAL).err();
    assert_eq!(refused(&["a", "1", "b"]), Some(Flaw::OddLength));
    assert_eq!(refused(&["a", "1", "b", "x"]), Some(Flaw::NotANumber(1)));
    assert_eq!(refused(&["a", "nan"]), Some(Flaw::NotANumber(0)));
    assert_eq!(
        refused(&["7", "1", "b", "2", "7", "3"]),
        Some(Flaw::Duplicate)
    );
    assert_eq!(
        refused(&["7", "2", "b", "1", "7", "3"]),
        Some(Flaw::Duplicate)
    );
}

#[test]
fn a_scan_visits_every_member_once_while_nothing_changes() {
    let mut random = Random::from_seed(10);
    for count in [3usize, 2000] {
        let mut set = SortedSet::new();
        for number in 0..count {
            set.insert(number.to_string().as_bytes(), number as f64, USUAL);
        }
        let (mut cursor, mut seen) = (0, Vec::new());
        loop {
            cursor = set.scan(cursor, |scored| seen.push(scored.member.to_vec()));
            if cursor == 0 {
                break;
            }
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count);
        for _ in 0..20 {
            let drawn = set.random(&mut random).expect("a member");
            assert_eq!(set.score(&drawn.member.to_vec()), Some(drawn.score));
        }
    }
    assert_eq!(SortedSet::new().random(&mut random), None);
}

#[test]
fn a_score_that_changes_moves_one_member_and_no_memory() {
    let mut set = SortedSet::new();
    for number in 0..1000u32 {
        set.insert(
            number.to_string().as_bytes(),
            f64::from(number),
            NEVER_COMPACT,
        );
    }
    let picture = set.clone();
    for number in 0..1000u32 {
        assert_eq!(
            set.insert(
                number.to_string().as_bytes(),
                f64::from(number % 7),
                NEVER_COMPACT
            ),
            match number {
                0..7 => Update::Nothing,
                _ => Update::Moved,
            }
        );
    }
    assert!(
        picture
            .iter()
            .map(|scored| scored.score)
            .eq((0..1000).map(f64::from))
    );
    let below_six = set.span(&Bounds::Scores(
        ScoreRange::parse(b"-inf", b"(6").expect("bounds"),
    ));
    assert_eq!(set.rank(b"993"), Some((below_six.end + 141, 6.0)));
}

#[test]
fn a_member_of_ten_bytes_takes_little_more_than_sixty() {
    let members = 20_000u64;
    let mut random = Random::from_seed(11);
    let mut set = SortedSet::new();
    while (set.len() as u64) < members {
        let member = format!("{:010}", random.below(9_999_999_999));
        set.insert(member.as_bytes(), random.below(1 << 40) as f64, USUAL);
    }
    let estimate = set.heap_bytes() as f64 / members as f64;
    assert!(
        (50.0..66.0).contains(&estimate),
        "{estimate} bytes for each member"
    );
}

#[test]
fn a_sorted_set_is_as_small_as_a_listpack() {
    assert_eq!(size_of::<SortedSet>(), size_of::<Listpack>());
    assert!(size_of::<crate::types::Value>() <= 32);
}
