//! A small sorted set as a listpack: member, score, member, score... in order. An integral score is an integer entry, any
//! other its text.
//!
//! Every search is a walk; the limits of a set are what keeps it short.

use std::cmp::Ordering;
use std::ops::Range;

use crate::compact::{Element, Iter, Listpack, Position};
use crate::number::{self, Digits, DoubleText};

use super::range::Bounds;
use super::{Limits, Scored};

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

/// Puts a member that is not there in its place. The last member is asked first: what comes in order is appended.
pub(super) fn insert(pack: &mut Listpack, member: &[u8], score: f64) {
    let last = pack.last().and_then(|score| pack.before(score));
    let mut place = pack.end();
    if last.is_some_and(|last| is_behind(pack, last, member, score)) {
        place = pack.start();
        while !is_behind(pack, place, member, score) {
            place = pack.after(pack.after(place));
        }
    }
    insert_at(pack, place, member, score);
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

/// Gives the member at `position` another score, and the place that belongs to it. The place is looked for from the old one
/// on: most scores change by little.
pub(super) fn change_score(
    pack: &mut Listpack,
    position: Position,
    member: &[u8],
    old: f64,
    new: f64,
) {
    let score_at = pack.after(position);
    let next = pack.after(score_at);
    if new > old {
        let mut place = next;
        while place != pack.end() && !is_behind(pack, place, member, new) {
            place = pack.after(pack.after(place));
        }
        if place != next {
            insert_at(pack, place, member, new);
            return remove(pack, position);
        }
    } else {
        let mut place = position;
        while let Some(before) = pack.before(place).and_then(|score| pack.before(score))
            && is_behind(pack, before, member, new)
        {
            place = before;
        }
        if place != position {
            remove(pack, position);
            return insert_at(pack, place, member, new);
        }
    }
    with_entry(new, |score| pack.replace(score_at, score));
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
    let mut side = |(member, score): (Element, Element)| {
        bounds.side(score_of(score), || member.text(&mut digits))
    };
    let mut pairs = pack.pairs();
    let mut start = 0;
    let first = loop {
        match pairs.next().map(&mut side) {
            Some(Ordering::Less) => start += 1,
            first => break first,
        }
    };
    if first != Some(Ordering::Equal) {
        return start..start;
    }
    // Where the last score lies within, all behind the first do.
    if matches!(bounds, Bounds::Scores(_))
        && pack.pairs().next_back().map(&mut side) == Some(Ordering::Equal)
    {
        return start..len(pack);
    }
    let others = pairs.take_while(|&pair| side(pair) == Ordering::Equal);
    start..start + 1 + others.count()
}

/// Members in ascending order, from that rank on.
pub(super) fn starting_at(pack: &Listpack, rank: usize) -> Forward<'_> {
    let position = if rank == 0 {
        Some(pack.start())
    } else {
        pack.position(2 * rank)
    };
    Forward(pack.iter_from(position.unwrap_or(pack.end())))
}

/// Members in descending order, from the one before that rank on.
pub(super) fn ending_at(pack: &Listpack, rank: usize) -> Backward<'_> {
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

/// Puts a member and its score before the member at `place`, or behind all at the end.
fn insert_at(pack: &mut Listpack, place: Position, member: &[u8], score: f64) {
    with_entry(score, |score| {
        if place == pack.end() {
            pack.push_back(member);
            pack.push_back(score);
        } else {
            pack.insert(place, score);
            pack.insert(place, member);
        }
    });
}

/// Whether the member at `place` belongs behind another.
#[inline]
fn is_behind(pack: &Listpack, place: Position, member: &[u8], score: f64) -> bool {
    let found = score_of(pack.at(pack.after(place)));
    if found == score {
        pack.at(place).text(&mut Digits::new()) > member
    } else {
        found > score
    }
}
