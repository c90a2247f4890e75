//! A large sorted set: a hash table of members, each with its score, and a tree of the same members in order.
//!
//! A member is one counted allocation that holds its bytes and its score, and both structures point to it. The tree keeps
//! the score beside the pointer, so that a search follows pointers only among equal scores. That the two scores agree needs
//! no care: while the tree points to a member, the member is shared, and a shared one is never changed (`cow::blob`); a new
//! score takes the member out of the tree first and puts it back, from itself, afterwards.
//!
//! A million members of ten bytes, added in random order, take 62 bytes each: 32 for the member, 19 in the tree, 11 in the
//! table.

use std::cmp::Ordering;
use std::ops::Range;

use crate::compact::{Element, Listpack};
use crate::cow::blob::Blob;
use crate::cow::element;
use crate::cow::table::{CowTable, Entry};
use crate::cow::tree::{self, CowTree, Item};
use crate::number::Digits;

use super::range::Bounds;
use super::{Scored, Update, compact, compare};

#[derive(Clone, Default)]
pub(super) struct Big {
    members: CowTable<Blob<f64>>,
    order: CowTree<Ranked>,
}

/// A member in its place in the order.
#[derive(Clone)]
pub(super) struct Ranked {
    score: f64,
    blob: Blob<f64>,
}

pub(super) type Forward<'a> = tree::Range<'a, Ranked>;
pub(super) type Backward<'a> = tree::RangeBack<'a, Ranked>;

impl Big {
    /// From a listpack in order.
    pub(super) fn from_listpack(pack: &Listpack) -> Self {
        let mut builder = BigBuilder::default();
        let mut digits = Digits::new();
        for (member, score) in pack.pairs() {
            builder.push(member.text(&mut digits), compact::score_of(score));
        }
        builder.finish()
    }

    pub(super) fn from_members(members: CowTable<Blob<f64>>) -> Self {
        let mut ranked = Vec::with_capacity(members.len());
        ranked.extend(members.iter().map(|blob| Ranked::of(&blob)));
        Big::of(members, ranked)
    }

    /// `ranked` are the members, in any order. Runs in either direction are found and not sorted again.
    fn of(members: CowTable<Blob<f64>>, mut ranked: Vec<Ranked>) -> Self {
        ranked.sort_unstable_by(|left, right| left.compare(right.score, right.blob.key()));
        Big {
            members,
            order: ranked.into_iter().collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn score(&self, member: &[u8]) -> Option<f64> {
        self.members
            .get(element::hash(member), member)
            .map(|blob| blob.header())
    }

    pub(super) fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let score = self.score(member)?;
        let rank = self
            .order
            .partition_point(|found| found.compare(score, member) == Ordering::Less);
        Some((rank as usize, score))
    }

    /// See [`super::SortedSet::update`].
    pub(super) fn update(
        &mut self,
        member: &[u8],
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> Update {
        match self.members.entry(element::hash(member), member) {
            Entry::Occupied(mut blob) => {
                let old = blob.header();
                let Some(new) = decide(Some(old)).filter(|new| *new != old) else {
                    return Update::Nothing;
                };
                // With the tree's hold gone the blob is changed in place, unless a snapshot or a branch of the tree has one too.
                drop(
                    self.order
                        .remove_ordered(|found| found.compare(old, member)),
                );
                blob.set_header(new);
                place(&mut self.order, &blob);
                Update::Moved
            }
            Entry::Vacant(vacant) => {
                let Some(score) = decide(None) else {
                    return Update::Nothing;
                };
                let blob = vacant.insert(Blob::new(score, member, b""));
                place(&mut self.order, &blob);
                Update::Added
            }
        }
    }

    pub(super) fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let blob = self.members.remove(element::hash(member), member)?;
        let score = blob.header();
        self.order
            .remove_ordered(|found| found.compare(score, member));
        Some(score)
    }

    pub(super) fn remove_range(&mut self, ranks: Range<usize>) {
        if ranks.len() == 1 {
            let removed = self.order.remove_at(ranks.start as u64);
            removed.iter().for_each(|ranked| self.forget(ranked));
            return;
        }
        for ranked in self
            .order
            .remove_range(ranks.start as u64, ranks.end as u64)
            .into_walk()
        {
            self.forget(&ranked);
        }
    }

    /// The ranks within bounds that are not ranks.
    pub(super) fn span(&self, bounds: &Bounds) -> Range<usize> {
        let side = |found: &Ranked| bounds.side(found.score, || found.blob.key());
        let start = self
            .order
            .partition_point(|found| side(found) == Ordering::Less);
        let end = self
            .order
            .partition_point(|found| side(found) != Ordering::Greater);
        start as usize..end.max(start) as usize
    }

    /// Members in ascending order, from that rank on.
    pub(super) fn starting_at(&self, rank: usize) -> Forward<'_> {
        self.order.range(rank as u64)
    }

    /// Members in descending order, from the one before that rank on.
    pub(super) fn ending_at(&self, rank: usize) -> Backward<'_> {
        match rank.checked_sub(1) {
            Some(last) => self.order.range_back(last as u64),
            None => Backward::default(),
        }
    }

    /// In order.
    pub(super) fn members(&self) -> impl Iterator<Item = (&[u8], f64)> {
        self.order
            .iter()
            .map(|ranked| (ranked.blob.key(), ranked.score))
    }

    pub(super) fn scan(&self, cursor: u64, visit: &mut impl FnMut(Scored)) -> u64 {
        self.members.scan(cursor, |blob| {
            visit(Scored {
                member: Element::Str(blob.key()),
                score: blob.header(),
            })
        })
    }

    /// Exact for the nodes of sets of a few thousand members, the rest by what some members take.
    pub(super) fn heap_bytes(&self) -> usize {
        let sampled = self.len().min(MEMBERS_SAMPLED);
        let blobs: usize = self
            .order
            .iter()
            .take(sampled)
            .map(|ranked| ranked.blob.heap_bytes())
            .sum();
        let order = match self.len() {
            0..ITEMS_MEASURED => self.order.heap_bytes(),
            len => len * ITEM_BYTES_TYPICAL,
        };
        self.members.heap_bytes() + order + blobs * self.len() / sampled.max(1)
    }

    /// Takes a member that has left the order out of the table.
    fn forget(&mut self, ranked: &Ranked) {
        let member = ranked.blob.key();
        self.members.remove(element::hash(member), member);
    }
}

const MEMBERS_SAMPLED: usize = 64;

/// Trees of more items are estimated by [`ITEM_BYTES_TYPICAL`]: measuring looks at every leaf.
const ITEMS_MEASURED: usize = 16_384;

/// Bytes of the tree's nodes for each item, after inserts in random order.
const ITEM_BYTES_TYPICAL: usize = 20;

/// Puts a member in its place in the order.
fn place(order: &mut CowTree<Ranked>, blob: &Blob<f64>) {
    let ranked = Ranked::of(blob);
    order.insert_ordered(ranked, |found| found.compare(blob.header(), blob.key()));
}

impl Ranked {
    fn of(blob: &Blob<f64>) -> Self {
        Ranked {
            score: blob.header(),
            blob: blob.clone(),
        }
    }

    #[inline]
    fn compare(&self, score: f64, member: &[u8]) -> Ordering {
        if self.score == score {
            self.blob.key().cmp(member)
        } else {
            compare(self.score, &[], score, &[])
        }
    }
}

impl Item for Ranked {
    type Key = Ranked;

    fn key(&self) -> Ranked {
        self.clone()
    }

    fn weight(&self) -> u64 {
        1
    }

    #[inline]
    fn with_key<R>(&self, look: impl FnOnce(&Ranked) -> R) -> R {
        look(self)
    }
}

impl<'a> From<&'a Ranked> for Scored<'a> {
    #[inline]
    fn from(ranked: &'a Ranked) -> Self {
        Scored {
            member: Element::Str(ranked.blob.key()),
            score: ranked.score,
        }
    }
}

/// Members in any order, into a set with full nodes.
#[derive(Default)]
pub(super) struct BigBuilder {
    members: CowTable<Blob<f64>>,
    ranked: Vec<Ranked>,
}

impl BigBuilder {
    /// False if the member is there already; then nothing changes.
    pub(super) fn push(&mut self, member: &[u8], score: f64) -> bool {
        match self.members.entry(element::hash(member), member) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                let blob = vacant.insert(Blob::new(score, member, b""));
                self.ranked.push(Ranked::of(&blob));
                true
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ranked.len()
    }

    pub(super) fn finish(self) -> Big {
        Big::of(self.members, self.ranked)
    }
}
