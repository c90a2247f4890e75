//! Whole sorted sets from outside: from a listpack that somebody wrote, or from members in any order.

use std::cmp::Ordering;
use std::error::Error;
use std::fmt;

use crate::compact::{Element, Listpack};
use crate::cow::blob::Blob;
use crate::cow::element;
use crate::cow::table::{CowTable, Entry};
use crate::number::{self, Digits};
use crate::types::distinct::all_distinct;

use super::big::{Big, BigBuilder};
use super::{Encoding, Limits, SortedSet, compact, compare};

/// Why what came from outside is no sorted set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A last member without a score.
    OddLength,
    /// The score of the member with this number, counted from 0.
    NotANumber(usize),
    /// The same member twice.
    Duplicate,
}

impl fmt::Display for Flaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::OddLength => write!(
                formatter,
                "expected pairs of member and score, found an odd number of entries"
            ),
            Flaw::NotANumber(at) => {
                write!(formatter, "expected a number as the score of member {at}")
            }
            Flaw::Duplicate => write!(formatter, "expected different members, found one twice"),
        }
    }
}

impl Error for Flaw {}

impl SortedSet {
    /// Takes a listpack of member, score, member, score... as it is, if it is in order and has no more members than
    /// the limits allow (their lengths are not asked for); else makes a set of its members.
    ///
    /// # Errors
    /// If it is no sorted set.
    pub fn from_listpack(pack: Listpack, limits: Limits) -> Result<Self, Flaw> {
        if !pack.len().is_multiple_of(2) {
            return Err(Flaw::OddLength);
        }
        let in_order = is_in_order(&pack)?;
        if compact::len(&pack) <= limits.entries_max && in_order {
            return if has_duplicate(&pack) {
                Err(Flaw::Duplicate)
            } else {
                Ok(SortedSet(Encoding::Compact(pack)))
            };
        }
        let mut builder = Builder::default();
        let mut digits = Digits::new();
        for (member, score) in pack.pairs() {
            builder.push(member.text(&mut digits), compact::score_of(score))?;
        }
        Ok(builder.finish(limits))
    }
}

/// Makes a sorted set of members that come in any order. Cheapest where they come in order, either way.
#[derive(Default)]
pub struct Builder {
    big: BigBuilder,
    longest_member: usize,
}

impl Builder {
    /// # Errors
    /// If the score is NaN or the member has come before; then nothing changes.
    pub fn push(&mut self, member: &[u8], score: f64) -> Result<(), Flaw> {
        if score.is_nan() {
            return Err(Flaw::NotANumber(self.big.len()));
        }
        if !self.big.push(member, score) {
            return Err(Flaw::Duplicate);
        }
        self.longest_member = self.longest_member.max(member.len());
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.big.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A listpack, if the limits allow it.
    pub fn finish(self, limits: Limits) -> SortedSet {
        choose_encoding(self.big.finish(), self.longest_member, limits)
    }
}

/// Makes a sorted set of members of which the same may come several times.
#[derive(Default)]
pub struct Merger {
    members: CowTable<Blob<f64>>,
    longest_member: usize,
}

impl Merger {
    /// Gives a member the score that `combine` makes of the one it has so far, if there is one. It must not be NaN.
    pub fn merge(&mut self, member: &[u8], combine: impl FnOnce(Option<f64>) -> f64) {
        match self.members.entry(element::hash(member), member) {
            Entry::Occupied(mut blob) => {
                let score = combine(Some(blob.header()));
                blob.set_header(score);
            }
            Entry::Vacant(place) => {
                place.insert(Blob::new(combine(None), member, b""));
                self.longest_member = self.longest_member.max(member.len());
            }
        }
    }

    /// A listpack, if the limits allow it.
    pub fn finish(self, limits: Limits) -> SortedSet {
        choose_encoding(Big::from_members(self.members), self.longest_member, limits)
    }
}

fn choose_encoding(big: Big, longest_member: usize, limits: Limits) -> SortedSet {
    let is_small = big.len() <= limits.entries_max && longest_member <= limits.member_bytes_max;
    let pack = if is_small {
        compact::from_sorted(big.members())
    } else {
        None
    };
    SortedSet(match pack {
        Some(pack) => Encoding::Compact(pack),
        None => Encoding::Big(Box::new(big)),
    })
}

/// Whether each pair is less than the next. Looks at every score once, and at a member only where scores are equal.
fn is_in_order(pack: &Listpack) -> Result<bool, Flaw> {
    let (mut digits, mut last_digits) = (Digits::new(), Digits::new());
    let mut last: Option<(Element, f64)> = None;
    let mut in_order = true;
    for (at, (member, score)) in pack.pairs().enumerate() {
        let score = match score {
            Element::Int(score) => score as f64,
            Element::Str(text) => number::parse_f64(text).ok_or(Flaw::NotANumber(at))?,
        };
        if let Some((last, last_score)) = last.replace((member, score)) {
            let (last, member) = (last.text(&mut last_digits), member.text(&mut digits));
            in_order &= compare(last_score, last, score, member) == Ordering::Less;
        }
    }
    Ok(in_order)
}

fn has_duplicate(pack: &Listpack) -> bool {
    !all_distinct(pack.pairs().map(|(member, _)| member))
}
