//! A small sorted set as a listpack: member, score, member, score... in order. An integral score is an integer entry, any
//! other its text.
//!
//! Every search is a walk; the limits of a set are what keeps it short.

use std::cmp::Ordering;
use std::ops::Range;

use crate::compact::{Element, Iter, Listpack, Position};
use crate::number::{self, Digits, DoubleText};

use super::range::Bounds;
use super::{Limits, Scored, compare};

pub(super) fn len(pack: &Listpack) -> usize {
    pack.len() / 2
}

/// Where a member stands, and its score.
pub(super) fn find(pack: &Listpack, member: &[u8]) -> Option<(Position, f64)> {
    let position = pack.find(member, 1)?;
    Some((position, score_of(pack.at(pack.after(position)))))
}

/// A member's rank and score.
pub(super) fn rank(pack: &Listpack, member: &[u8]) -> Option<(usize, f64)> {
    let wanted = number::parse_i64(member);
    pack.pairs().enumerate().find_map(|(rank, (found, score))| {
        let is_it = match found {
            Element::Int(found) => wanted == Some(found),
            Element::Str(found) => found == member,
        };
        is_it.then(|| (rank, score_of(score)))
    })
}

/// Whether one more member, this one, is within the limits.
pub(super) fn fits(pack: &Listpack, member: &[u8], limits: Limits) -> bool {
    len(pack) < limits.entries_max
        && member.len() <= limits.member_bytes_max
        && has_room_for(pack, member)
}

/// Puts a member that is not there in its place.
pub(super) fn insert(pack: &mut Listpack, member: &[u8], score: f64) {
    let position = place_for(pack, member, score);
    with_entry(score, |score| {
        if position == pack.end() {
            pack.push_back(member);
            pack.push_back(score);
        } else {
            pack.insert(position, score);
            pack.insert(position, member);
        }
    });
}

/// The listpack of members that come in order, if it can hold them.
pub(super) fn from_sorted<'a>(members: impl Iterator<Item = (&'a [u8], f64)>) -> Option<Listpack> {
    let mut pack = Listpack::new();
    for (member, score) in members {
        if !has_room_for(&pack, member) {
            return None;
        }
        pack.push_back(member);
        with_entry(score, |score| pack.push_back(score));
    }
    Some(pack)
}

/// Takes out the member at `position` with its score.
pub(super) fn remove(pack: &mut Listpack, position: Position) {
    pack.remove_many(position, 2);
}

pub(super) fn remove_range(pack: &mut Listpack, ranks: Range<usize>) {
    pack.remove_range(2 * ranks.start, 2 * ranks.len());
}

/// The ranks within bounds that are not ranks.
pub(super) fn span(pack: &Listpack, bounds: &Bounds) -> Range<usize> {
    let mut digits = Digits::new();
    let mut sides = pack
        .pairs()
        .map(|(member, score)| bounds.side(score_of(score), member.text(&mut digits)));
    let mut start = 0;
    let mut within = 0;
    for side in sides.by_ref() {
        match side {
            Ordering::Less => start += 1,
            Ordering::Equal => within += 1,
            Ordering::Greater => break,
        }
    }
    start..start + within
}

/// Members in ascending order, from that rank on.
pub(super) fn from_rank(pack: &Listpack, rank: usize) -> Forward<'_> {
    let position = if rank == 0 {
        Some(pack.start())
    } else {
        pack.position(2 * rank)
    };
    Forward(pack.iter_from(position.unwrap_or(pack.end())))
}

/// Members in descending order, from the one before that rank on.
pub(super) fn up_to_rank(pack: &Listpack, rank: usize) -> Backward<'_> {
    let mut elements = pack.iter();
    let behind = 2 * (len(pack) - rank);
    if behind > 0 {
        elements.nth_back(behind - 1);
    }
    Backward(elements)
}

pub(super) struct Forward<'a>(Iter<'a>);

impl<'a> Iterator for Forward<'a> {
    type Item = Scored<'a>;

    fn next(&mut self) -> Option<Scored<'a>> {
        let member = self.0.next()?;
        let score = score_of(self.0.next()?);
        Some(Scored { member, score })
    }
}

pub(super) struct Backward<'a>(Iter<'a>);

impl<'a> Iterator for Backward<'a> {
    type Item = Scored<'a>;

    fn next(&mut self) -> Option<Scored<'a>> {
        let score = score_of(self.0.next_back()?);
        let member = self.0.next_back()?;
        Some(Scored { member, score })
    }
}

/// A score as an entry of a listpack has it. Whatever came from outside was checked to be a number (see `build`).
pub(super) fn score_of(entry: Element) -> f64 {
    match entry {
        Element::Int(value) => value as f64,
        Element::Str(text) => number::parse_f64(text).unwrap_or(0.0),
    }
}

/// The entry for a score, which may be a text on the stack.
fn with_entry<R>(score: f64, use_it: impl FnOnce(Element) -> R) -> R {
    match number::exact_i64(score) {
        Some(integer) => use_it(Element::Int(integer)),
        None => use_it(Element::Str(DoubleText::of(score).as_bytes())),
    }
}

/// What a format allows at all, whatever the limits are.
fn has_room_for(pack: &Listpack, member: &[u8]) -> bool {
    const SCORE_BYTES_MAX: usize = 32;
    pack.has_room_for(Element::Str(member).entry_bytes() + SCORE_BYTES_MAX)
}

/// The first entry that comes behind this member, or the end. Asks the last member first: what comes in order is appended.
fn place_for(pack: &Listpack, member: &[u8], score: f64) -> Position {
    let mut digits = Digits::new();
    let mut is_behind = |found: Scored| {
        compare(found.score, found.member.text(&mut digits), score, member) == Ordering::Greater
    };
    if !Backward(pack.iter()).next().is_some_and(&mut is_behind) {
        return pack.end();
    }
    let mut entries = pack.entries();
    while let (Some((position, member)), Some((_, score))) = (entries.next(), entries.next()) {
        if is_behind(Scored {
            member,
            score: score_of(score),
        }) {
            return position;
        }
    }
    pack.end()
}
