//! Lists against a plain model, under limits that make every form and every boundary common.

use std::collections::VecDeque;

use super::{End, Form, Incoming, Limits, List, ListBuilder, ListElement, Node};
use crate::compact::Listpack;
use crate::random::Random;
use crate::types::Value;

/// Limits from one element a node to more than these tests ever store.
const LIMITS: [Limits; 6] = [
    Limits::elements(1),
    Limits::elements(2),
    Limits::elements(7),
    Limits::bytes(64),
    Limits::bytes(400),
    Limits::bytes(8192),
];

/// Few different texts, so that searches find them, and now and then one that no small node takes.
fn text(random: &mut Random) -> Vec<u8> {
    match random.below(8) {
        0..=2 => random.below(5).to_string().into_bytes(),
        3..=4 => vec![b'a' + random.below(3) as u8; random.below(4) as usize],
        5 => vec![b'm'; random.below(60) as usize],
        6 => vec![b'n'; 300 + random.below(200) as usize],
        _ if random.chance(1, 10) => vec![b'h'; 9000],
        _ => (random.next_u64() as i64).to_string().into_bytes(),
    }
}

fn texts<'a>(elements: impl Iterator<Item = ListElement<'a>>) -> Vec<Vec<u8>> {
    elements.map(|element| element.element().to_vec()).collect()
}

/// Checks what holds for every list, and that this one holds what the model does.
fn check(list: &List, model: &VecDeque<Vec<u8>>, limits: Limits, context: &str) {
    let expected: Vec<Vec<u8>> = model.iter().cloned().collect();
    assert_eq!(texts(list.iter()), expected, "{context}");
    assert_eq!(list.len(), model.len(), "{context}");
    assert_eq!(list.is_empty(), model.is_empty(), "{context}");
    let mut in_nodes = 0;
    let mut nodes = 0;
    for node in list.nodes() {
        nodes += 1;
        in_nodes += match node {
            Node::Packed(pack) => {
                assert!(!pack.is_empty(), "{context}: an empty node");
                assert!(
                    limits.allow(pack.byte_len(), pack.len()),
                    "{context}: {pack:?}"
                );
                pack.len()
            }
            Node::Plain(bytes) => {
                let element = Incoming::from(bytes).element();
                assert!(limits.exclude(element), "{context}: a small plain node");
                1
            }
        };
    }
    assert_eq!(
        (in_nodes, nodes),
        (model.len(), list.node_count()),
        "{context}"
    );
}

fn side(random: &mut Random) -> End {
    if random.chance(1, 2) {
        End::Front
    } else {
        End::Back
    }
}

/// The model's removal of at most `most` elements that are `text`, from one end.
fn remove_from_model(model: &mut VecDeque<Vec<u8>>, text: &[u8], from: End, most: usize) -> usize {
    let mut places: Vec<usize> = (0..model.len()).filter(|&at| model[at] == text).collect();
    if from == End::Back {
        places.reverse();
    }
    places.truncate(most);
    places.sort_unstable();
    for at in places.iter().rev() {
        model.remove(*at);
    }
    places.len()
}

fn step(list: &mut List, model: &mut VecDeque<Vec<u8>>, limits: Limits, random: &mut Random) {
    let text = text(random);
    let element = Incoming::new(&text);
    let length = model.len();
    let index = random.below(length as u64 + 1) as usize;
    match random.below(20) {
        0..=4 => {
            list.push(End::Back, element, limits);
            model.push_back(text);
        }
        5..=8 => {
            list.push(End::Front, element, limits);
            model.push_front(text);
        }
        9..=11 => {
            list.insert(index, element, limits);
            model.insert(index, text);
        }
        12..=13 => {
            assert_eq!(list.set(index, element, limits), index < length);
            if index < length {
                model[index] = text;
            }
        }
        14..=15 => {
            let end = side(random);
            let popped = list.pop(end, limits, |element| element.to_bytes());
            let expected = match end {
                End::Front => model.pop_front(),
                End::Back => model.pop_back(),
            };
            assert_eq!(popped.map(Vec::from), expected);
        }
        16..=17 => {
            let (end, most) = (side(random), 1 + random.below(4) as usize);
            let removed = list.remove_matching(&text, end, most, limits);
            assert_eq!(removed, remove_from_model(model, &text, end, most));
        }
        18 => {
            let to = index + random.below(20) as usize;
            let to = if random.chance(1, 10) { usize::MAX } else { to };
            list.remove_range(index, to, limits);
            model.drain(index..to.min(length));
        }
        _ => {
            let ahead: Vec<Vec<u8>> = model.iter().skip(index).cloned().collect();
            assert_eq!(texts(list.iter_from(index)), ahead);
            let mut back: Vec<Vec<u8>> = match index < length {
                true => model.iter().take(index + 1).cloned().collect(),
                false => Vec::new(),
            };
            back.reverse();
            assert_eq!(texts(list.iter_back_from(index)), back);
            let element = list.get(index).map(|element| element.element().to_vec());
            assert_eq!(element.as_ref(), model.get(index));
        }
    }
}

#[test]
fn a_list_behaves_as_a_deque_of_texts_and_its_clones_stay_as_they_were() {
    for (which, limits) in LIMITS.into_iter().enumerate() {
        for seed in 0..8 {
            let mut random = Random::from_seed(seed);
            let mut list = List::new();
            let mut model = VecDeque::new();
            let mut clones: Vec<(List, VecDeque<Vec<u8>>)> = Vec::new();
            for turn in 0..250 {
                step(&mut list, &mut model, limits, &mut random);
                let context = format!("limits {which}, seed {seed}, turn {turn}");
                check(&list, &model, limits, &context);
                if random.chance(1, 25) {
                    clones.push((list.clone(), model.clone()));
                }
                if clones.len() > 3 {
                    let (clone, of) = clones.remove(0);
                    check(&clone, &of, limits, &context);
                }
            }
            for (clone, of) in clones {
                check(&clone, &of, limits, "at the end");
            }
        }
    }
}

#[test]
fn what_is_built_from_nodes_is_what_they_hold() {
    for (which, limits) in LIMITS.into_iter().enumerate() {
        for seed in 0..20 {
            let mut random = Random::from_seed(seed);
            let mut builder = ListBuilder::new(limits);
            let mut expected = Vec::new();
            for _ in 0..random.below(12) {
                match random.below(3) {
                    0 => {
                        let text = text(&mut random);
                        builder.push(Incoming::new(&text));
                        expected.push(text);
                    }
                    1 => {
                        let text = text(&mut random);
                        builder.push_plain(text.clone().into());
                        expected.push(text);
                    }
                    _ => {
                        let texts: Vec<_> =
                            (0..random.below(30)).map(|_| text(&mut random)).collect();
                        builder.push_listpack(texts.iter().collect());
                        expected.extend(texts);
                    }
                }
            }
            let mut list = builder.finish();
            let context = format!("limits {which}, seed {seed}");
            assert_eq!(texts(list.iter()), expected, "{context}");
            let one_node = list.node_count() <= 1;
            if let Form::Packed(pack) = &list.form {
                assert!(
                    one_node && limits.allow(pack.byte_len(), pack.len()),
                    "{context}"
                );
            }
            // Nodes of other sizes than the limits do not disturb changes.
            let mut model = VecDeque::from(expected);
            for _ in 0..40 {
                step(&mut list, &mut model, limits, &mut random);
                assert!(texts(list.iter()).iter().eq(&model), "{context}");
            }
        }
    }
}

#[test]
fn encodings_change_at_the_limits_and_back_at_half_of_them() {
    let limits = Limits::elements(8);
    let mut list = List::new();
    for length in 1..=9 {
        list.push(End::Back, Incoming::new(b"x"), limits);
        let expected = if length <= 8 { "listpack" } else { "quicklist" };
        assert_eq!(list.encoding(), expected, "{length}");
    }
    // The ninth lies in a chunk of its own, so that two are left until it goes.
    list.pop(End::Back, limits, |_| ());
    assert_eq!(list.encoding(), "quicklist");
    for length in (0..8).rev() {
        list.pop(End::Back, limits, |_| ());
        let expected = if length > 4 { "quicklist" } else { "listpack" };
        assert_eq!((list.len(), list.encoding()), (length, expected));
    }
}

#[test]
fn a_large_element_lies_by_itself_and_gives_way_to_a_small_one() {
    let limits = Limits::bytes(4096);
    let large = bytes::Bytes::from(vec![b'x'; 4096]);
    let mut list = List::new();
    list.push(End::Back, Incoming::from(&large), limits);
    assert_eq!(list.encoding(), "quicklist");
    let Some(ListElement::Plain(kept)) = list.get(0) else {
        panic!("a plain element");
    };
    assert_eq!(kept.as_ptr(), large.as_ptr(), "kept in its own buffer");
    assert!(list.set(0, Incoming::new(b"small"), limits));
    assert_eq!(list.encoding(), "listpack");
    for _ in 0..3 {
        list.insert(0, Incoming::new(b"12"), limits);
    }
    list.insert(2, Incoming::from(&large), limits);
    let nodes: Vec<bool> = list
        .nodes()
        .map(|node| matches!(node, Node::Plain(_)))
        .collect();
    assert_eq!(nodes, [false, true, false]);
    assert_eq!(list.remove_matching(&large, End::Front, 9, limits), 1);
    assert_eq!((list.encoding(), list.len()), ("listpack", 4));
}

#[test]
fn chunks_stay_filled_through_inserting_and_removing_in_the_middle() {
    let limits = Limits::bytes(1024);
    let mut random = Random::from_seed(1);
    let mut list = List::new();
    for number in 0..5000u64 {
        let index = random.below(number + 1) as usize;
        let text = format!("element {number}");
        list.insert(index, Incoming::new(text.as_bytes()), limits);
    }
    let fill = |list: &List| {
        let bytes: usize = list
            .nodes()
            .map(|node| match node {
                Node::Packed(pack) => pack.byte_len(),
                Node::Plain(_) => 0,
            })
            .sum();
        bytes * 100 / (list.node_count() * 1024)
    };
    assert!(fill(&list) > 60, "{}% after inserting", fill(&list));
    while list.len() > 500 {
        let index = random.below(list.len() as u64) as usize;
        list.remove_range(index, index + 1, limits);
    }
    assert!(fill(&list) > 25, "{}% after removing", fill(&list));
}

#[test]
fn a_change_after_a_clone_copies_a_chunk_and_not_the_list() {
    let limits = Limits::bytes(8192);
    let mut list = List::new();
    for number in 0..50_000 {
        let text = number.to_string();
        list.push(End::Back, Incoming::new(text.as_bytes()), limits);
    }
    let clone = list.clone();
    list.push(End::Front, Incoming::new(b"new"), limits);
    list.set(25_000, Incoming::new(b"12345"), limits);
    list.pop(End::Back, limits, |_| ());
    let place = |node: Node| match node {
        Node::Packed(pack) => pack.as_bytes().as_ptr(),
        Node::Plain(bytes) => bytes.as_ptr(),
    };
    let before: Vec<_> = clone.nodes().map(place).collect();
    let copied = list
        .nodes()
        .filter(|node| !before.contains(&place(*node)))
        .count();
    assert_eq!(copied, 3);
}

#[test]
fn a_single_oversized_listpack_is_laid_out_anew() {
    let limits = Limits::bytes(8192);
    let pack: Listpack = (0..20_000).map(i64::from).collect();
    assert!(pack.byte_len() > 65_536);
    let list = List::from_listpack(pack, limits);
    assert!(
        list.iter()
            .map(|element| element.element())
            .eq((0..20_000).map(Into::into))
    );
    assert!(
        list.nodes()
            .all(|node| matches!(node, Node::Packed(pack) if pack.byte_len() <= 8192))
    );
    // One of a size that another setting allows stays as it is.
    let pack: Listpack = (0..10_000).map(i64::from).collect();
    let list = List::from_listpack(pack, limits);
    assert_eq!((list.node_count(), list.encoding()), (1, "quicklist"));
}

#[test]
fn a_value_is_four_words_at_most() {
    assert!(size_of::<Value>() <= 32);
    assert_eq!(size_of::<List>(), 24);
    assert_eq!(size_of::<super::Chunk>(), 32);
}
