//! Sorted sets: members with a score each, in ascending order of (score, bytes of the member).
//!
//! A small one is a listpack of member, score, member, score... (`compact`); a larger one is a hash table of members and a
//! tree of the same members in order (`big`). Whatever asks for members by score, by their bytes or by rank first turns its
//! bounds into ranks (`range`), in O(log n), and then walks or cuts that span of ranks.
//!
//! Invariants: no member occurs twice, no score is NaN, members stand in order, and a listpack holds no more members than
//! its limits allowed when the last one came. A set grows from small to large and never back.
//!
//! Files in reading order: `range`, `compact`, `big`, `build` (whole sets from outside). Knows nothing of keys, settings or
//! commands: limits come as arguments.

mod big;
mod build;
pub mod combine_commands;
pub mod commands;
mod compact;
pub mod pop_commands;
pub mod range;
pub mod range_commands;

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use crate::compact::{Element, Listpack};
use crate::random::Random;
use crate::types::sample;

use big::Big;
use range::Bounds;

pub use build::{Builder, Flaw, Merger};

/// How large a sorted set may be as a listpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Members.
    pub entries_max: usize,
    /// Bytes of one member.
    pub member_bytes_max: usize,
}

/// A member and its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored<'a> {
    pub member: Element<'a>,
    pub score: f64,
}

/// What [`SortedSet::update`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    Added,
    Moved,
    /// Nothing was to be done, or the score was the same already.
    Nothing,
}

#[derive(Clone)]
pub struct SortedSet(Encoding);

#[derive(Clone)]
enum Encoding {
    Compact(Listpack),
    Big(Box<Big>),
}

/// How a set is held, for whoever writes it out.
pub enum View<'a> {
    /// Member, score, member, score... in ascending order, as RDB stores it.
    Listpack(&'a Listpack),
    /// Too large for that: to be walked, see [`SortedSet::iter`] and [`SortedSet::iter_back`].
    Tree,
}

impl SortedSet {
    pub fn new() -> Self {
        SortedSet(Encoding::Compact(Listpack::new()))
    }

    pub fn len(&self) -> usize {
        match &self.0 {
            Encoding::Compact(pack) => compact::len(pack),
            Encoding::Big(big) => big.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Encoding::Compact(pack) => pack.is_empty(),
            Encoding::Big(big) => big.len() == 0,
        }
    }

    // One member.

    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.0 {
            Encoding::Compact(pack) => compact::find(pack, member).map(|(_, score)| score),
            Encoding::Big(big) => big.score(member),
        }
    }

    /// How many members stand before this one, and its score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match &self.0 {
            Encoding::Compact(pack) => compact::rank(pack, member),
            Encoding::Big(big) => big.rank(member),
        }
    }

    /// Adds a member or changes its score, as `decide` says when it is told the score that the member has, if there is one.
    /// `None` leaves everything as it is. The score must not be NaN. Looks the member up once.
    pub fn update(
        &mut self,
        member: &[u8],
        limits: Limits,
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> Update {
        let pack = match &mut self.0 {
            Encoding::Big(big) => return big.update(member, decide),
            Encoding::Compact(pack) => pack,
        };
        let found = compact::find(pack, member);
        let old = found.map(|(_, score)| score);
        let score = match decide(old) {
            Some(score) if old != Some(score) => score,
            _ => return Update::Nothing,
        };
        debug_assert!(!score.is_nan(), "a score that is not a number");
        if let Some((position, old)) = found {
            compact::change_score(pack, position, member, old, score);
            return Update::Moved;
        }
        if compact::fits(pack, member, limits) {
            compact::insert(pack, member, score);
        } else {
            self.make_big().update(member, |_| Some(score));
        }
        Update::Added
    }

    /// Adds a member, or gives it this score.
    pub fn insert(&mut self, member: &[u8], score: f64, limits: Limits) -> Update {
        self.update(member, limits, |_| Some(score))
    }

    /// Takes a member out and gives back its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match &mut self.0 {
            Encoding::Compact(pack) => {
                let (position, score) = compact::find(pack, member)?;
                compact::remove(pack, position);
                Some(score)
            }
            Encoding::Big(big) => big.remove(member),
        }
    }

    // Spans of ranks. Ranks past the end are cut off.

    /// The ranks of the members that lie within the bounds.
    pub fn span(&self, bounds: &Bounds) -> Range<usize> {
        if let Bounds::Ranks(ranks) = bounds {
            return ranks.span(self.len());
        }
        match &self.0 {
            Encoding::Compact(pack) => compact::span(pack, bounds),
            Encoding::Big(big) => big.span(bounds),
        }
    }

    /// Members in ascending order.
    pub fn iter(&self) -> Iter<'_> {
        self.range(0..usize::MAX)
    }

    /// Members in descending order.
    pub fn iter_back(&self) -> Iter<'_> {
        self.range_back(0..usize::MAX)
    }

    /// The members of these ranks in ascending order.
    pub fn range(&self, ranks: Range<usize>) -> Iter<'_> {
        let ranks = self.clip(ranks);
        let left = ranks.len();
        let source = match &self.0 {
            Encoding::Compact(pack) => Source::Compact(compact::starting_at(pack, ranks.start)),
            Encoding::Big(big) => Source::Big(big.starting_at(ranks.start)),
        };
        Iter { source, left }
    }

    /// The members of these ranks in descending order.
    pub fn range_back(&self, ranks: Range<usize>) -> Iter<'_> {
        let ranks = self.clip(ranks);
        let left = ranks.len();
        let source = match &self.0 {
            Encoding::Compact(pack) => Source::CompactBack(compact::ending_at(pack, ranks.end)),
            Encoding::Big(big) => Source::BigBack(big.ending_at(ranks.end)),
        };
        Iter { source, left }
    }

    /// Takes the members of these ranks out, and says how many they were.
    pub fn remove_range(&mut self, ranks: Range<usize>) -> usize {
        let ranks = self.clip(ranks);
        match &mut self.0 {
            Encoding::Compact(pack) => compact::remove_range(pack, ranks.clone()),
            Encoding::Big(big) => big.remove_range(ranks.clone()),
        }
        ranks.len()
    }

    /// The member of that rank.
    pub fn at(&self, rank: usize) -> Option<Scored<'_>> {
        self.range(rank..rank.saturating_add(1)).next()
    }

    /// A member at random, each with the same probability.
    pub fn random(&self, random: &mut Random) -> Option<Scored<'_>> {
        self.at(random.below(self.len() as u64) as usize)
    }

    /// Hands `count` different members to `visit`, each with the same probability; all, in descending order, if there are
    /// no more. Few of many are drawn, in time in proportion to `count`; otherwise all are passed over.
    pub fn choose(&self, count: usize, random: &mut Random, mut visit: impl FnMut(Scored)) {
        let len = self.len();
        if count >= len {
            self.iter_back().for_each(visit);
        } else if count >= len / PASS_PART {
            sample::choose(self.iter(), len, count, random, visit);
        } else {
            let mut drawn = HashSet::with_capacity(count);
            while drawn.len() < count {
                let rank = random.below(len as u64) as usize;
                if drawn.insert(rank)
                    && let Some(scored) = self.at(rank)
                {
                    visit(scored);
                }
            }
        }
    }

    /// Visits the members behind `cursor`, and returns the cursor that leads on, 0 at the end. Members that are there from
    /// the first call to the last are visited at least once.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(Scored)) -> u64 {
        match &self.0 {
            Encoding::Compact(_) => {
                self.iter().for_each(visit);
                0
            }
            Encoding::Big(big) => big.scan(cursor, &mut visit),
        }
    }

    // How it is held.

    pub fn view(&self) -> View<'_> {
        match &self.0 {
            Encoding::Compact(pack) => View::Listpack(pack),
            Encoding::Big(_) => View::Tree,
        }
    }

    /// The name that OBJECT ENCODING answers.
    pub fn encoding(&self) -> &'static str {
        match &self.0 {
            Encoding::Compact(_) => "listpack",
            Encoding::Big(_) => "skiplist",
        }
    }

    /// Bytes of heap, for large sets an estimate that looks at a few members.
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Encoding::Compact(pack) => pack.heap_bytes(),
            Encoding::Big(big) => size_of::<Big>() + big.heap_bytes(),
        }
    }

    /// True if freeing the set takes long enough to be done in the background.
    pub fn is_big_to_free(&self) -> bool {
        match &self.0 {
            Encoding::Compact(_) => false,
            Encoding::Big(big) => big.len() > MEMBERS_FREED_AT_ONCE,
        }
    }

    fn make_big(&mut self) -> &mut Big {
        if let Encoding::Compact(pack) = &self.0 {
            self.0 = Encoding::Big(Box::new(Big::from_listpack(pack)));
        }
        match &mut self.0 {
            Encoding::Big(big) => big,
            Encoding::Compact(_) => unreachable!("it has just been made big"),
        }
    }

    fn clip(&self, ranks: Range<usize>) -> Range<usize> {
        let end = ranks.end.min(self.len());
        ranks.start.min(end)..end
    }
}

/// From this part of a set on, passing over all of it is cheaper than drawing.
const PASS_PART: usize = 8;

/// Above this, freeing is not a matter of microseconds.
const MEMBERS_FREED_AT_ONCE: usize = 64;

impl Default for SortedSet {
    fn default() -> Self {
        SortedSet::new()
    }
}

impl fmt::Debug for SortedSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.iter().map(|scored| {
            let member = String::from_utf8_lossy(&scored.member.to_vec()).into_owned();
            (member, scored.score)
        });
        formatter.debug_map().entries(shown).finish()
    }
}

/// Members of a set in either direction.
pub struct Iter<'a> {
    source: Source<'a>,
    left: usize,
}

enum Source<'a> {
    Compact(compact::Forward<'a>),
    CompactBack(compact::Backward<'a>),
    Big(big::Forward<'a>),
    BigBack(big::Backward<'a>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = Scored<'a>;

    #[inline]
    fn next(&mut self) -> Option<Scored<'a>> {
        self.left = self.left.checked_sub(1)?;
        match &mut self.source {
            Source::Compact(members) => members.next(),
            Source::CompactBack(members) => members.next(),
            Source::Big(members) => members.next().map(Into::into),
            Source::BigBack(members) => members.next().map(Into::into),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// The order of sorted sets. Scores are never NaN.
#[inline]
fn compare(score: f64, member: &[u8], other_score: f64, other_member: &[u8]) -> Ordering {
    match score.partial_cmp(&other_score) {
        None | Some(Ordering::Equal) => member.cmp(other_member),
        Some(order) => order,
    }
}

#[cfg(test)]
mod tests;
