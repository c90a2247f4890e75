//! Bounds of a range of members: by rank, by score or by the bytes of the member.
//!
//! A bound by score or by bytes says of each member on which side of the range it stands. In a set that is in order these
//! answers are in order too, so that two searches give the span of ranks that lies within.

use std::cmp::Ordering;
use std::ops::Range;

use crate::number;

/// What selects members.
#[derive(Clone, Copy, Debug)]
pub enum Bounds<'a> {
    Ranks(RankRange),
    Scores(ScoreRange),
    /// Makes sense where all scores are equal.
    Members(MemberRange<'a>),
}

impl Bounds<'_> {
    /// On which side of the range a member stands: `Less` in front of it, `Equal` within, `Greater` behind. A member that is
    /// both, because the range ends before it begins, stands in front. Ranks are asked for their [`RankRange::span`] instead.
    #[inline]
    pub fn side<'m>(&self, score: f64, member: impl FnOnce() -> &'m [u8]) -> Ordering {
        match self {
            Bounds::Ranks(_) => Ordering::Equal,
            Bounds::Scores(range) => range.side(score),
            Bounds::Members(range) => range.side(member()),
        }
    }
}

/// Ranks from `start` to `stop`, both included; negative ones count from the end, -1 being the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankRange {
    pub start: i64,
    pub stop: i64,
}

impl RankRange {
    /// The ranks of a set of `len` members that are meant.
    pub fn span(self, len: usize) -> Range<usize> {
        let from_end = |rank: i64| {
            if rank < 0 {
                rank.saturating_add(len as i64)
            } else {
                rank
            }
        };
        let start = from_end(self.start).max(0) as usize;
        let stop = from_end(self.stop);
        let end = if stop < 0 {
            0
        } else {
            (stop as usize).saturating_add(1).min(len)
        };
        start.min(end)..end
    }
}

/// One end of a range of scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreBound {
    pub score: f64,
    /// The score itself lies outside.
    pub exclusive: bool,
}

impl ScoreBound {
    /// `(1.5`, `1.5`, `-inf`. None if it is no number.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (text, exclusive) = match text {
            [b'(', rest @ ..] => (rest, true),
            _ => (text, false),
        };
        number::parse_f64_bound(text).map(|score| ScoreBound { score, exclusive })
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    pub min: ScoreBound,
    pub max: ScoreBound,
}

impl ScoreRange {
    pub fn parse(min: &[u8], max: &[u8]) -> Option<Self> {
        Some(ScoreRange {
            min: ScoreBound::parse(min)?,
            max: ScoreBound::parse(max)?,
        })
    }

    #[inline]
    fn side(&self, score: f64) -> Ordering {
        if score < self.min.score || (self.min.exclusive && score == self.min.score) {
            Ordering::Less
        } else if score > self.max.score || (self.max.exclusive && score == self.max.score) {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    }
}

/// One end of a range of members by their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberBound<'a> {
    /// `-`: in front of every member.
    Lowest,
    /// `+`: behind every member.
    Highest,
    /// `[bytes`
    Included(&'a [u8]),
    /// `(bytes`
    Excluded(&'a [u8]),
}

impl<'a> MemberBound<'a> {
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        match text {
            b"-" => Some(MemberBound::Lowest),
            b"+" => Some(MemberBound::Highest),
            [b'[', bytes @ ..] => Some(MemberBound::Included(bytes)),
            [b'(', bytes @ ..] => Some(MemberBound::Excluded(bytes)),
            _ => None,
        }
    }

    /// How a member compares with the bound; at the bound itself, `included` or else `excluded`.
    #[inline]
    fn compare(self, member: &[u8], excluded: Ordering) -> Ordering {
        match self {
            MemberBound::Lowest => Ordering::Greater,
            MemberBound::Highest => Ordering::Less,
            MemberBound::Included(bytes) => member.cmp(bytes),
            MemberBound::Excluded(bytes) => member.cmp(bytes).then(excluded),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberRange<'a> {
    pub min: MemberBound<'a>,
    pub max: MemberBound<'a>,
}

impl<'a> MemberRange<'a> {
    pub fn parse(min: &'a [u8], max: &'a [u8]) -> Option<Self> {
        Some(MemberRange {
            min: MemberBound::parse(min)?,
            max: MemberBound::parse(max)?,
        })
    }

    #[inline]
    fn side(&self, member: &[u8]) -> Ordering {
        if self.min.compare(member, Ordering::Less) == Ordering::Less {
            Ordering::Less
        } else if self.max.compare(member, Ordering::Greater) == Ordering::Greater {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranks(start: i64, stop: i64, len: usize) -> Range<usize> {
        RankRange { start, stop }.span(len)
    }

    #[test]
    fn ranks_are_cut_to_what_is_there() {
        assert_eq!(ranks(0, -1, 5), 0..5);
        assert_eq!(ranks(-3, -2, 5), 2..4);
        assert_eq!(ranks(-9, 1, 5), 0..2);
        assert_eq!(ranks(3, 99, 5), 3..5);
        assert!(
            ranks(3, 2, 5).is_empty() && ranks(5, 9, 5).is_empty() && ranks(0, -6, 5).is_empty()
        );
        assert!(ranks(0, -1, 0).is_empty());
        assert_eq!(ranks(i64::MIN, i64::MAX, 5), 0..5);
        assert!(ranks(i64::MAX, i64::MIN, 5).is_empty());
    }

    #[test]
    fn scores_lie_in_front_within_or_behind() {
        let range = ScoreRange::parse(b"(1", b"2").expect("a range");
        assert_eq!(range.side(1.0), Ordering::Less);
        assert_eq!(range.side(1.5), Ordering::Equal);
        assert_eq!(range.side(2.0), Ordering::Equal);
        assert_eq!(range.side(2.5), Ordering::Greater);
        let everything = ScoreRange::parse(b"-inf", b"+inf").expect("a range");
        assert_eq!(everything.side(f64::NEG_INFINITY), Ordering::Equal);
        assert_eq!(everything.side(f64::INFINITY), Ordering::Equal);
        assert_eq!(ScoreRange::parse(b"nan", b"1"), None);
        assert_eq!(ScoreRange::parse(b"0", b"((1"), None);
    }

    #[test]
    fn a_range_that_ends_before_it_begins_has_all_members_on_one_side_or_the_other() {
        let range = ScoreRange::parse(b"5", b"2").expect("a range");
        assert_eq!(range.side(1.0), Ordering::Less);
        assert_eq!(range.side(3.0), Ordering::Less);
        assert_eq!(range.side(6.0), Ordering::Greater);
    }

    #[test]
    fn members_lie_in_front_within_or_behind() {
        let range = MemberRange::parse(b"[b", b"(d").expect("a range");
        for (member, side) in [
            ("a", Ordering::Less),
            ("b", Ordering::Equal),
            ("bb", Ordering::Equal),
            ("d", Ordering::Greater),
            ("e", Ordering::Greater),
        ] {
            assert_eq!(range.side(member.as_bytes()), side, "{member}");
        }
        let backward = MemberRange {
            min: MemberBound::Highest,
            max: MemberBound::Lowest,
        };
        assert_eq!(backward.side(b"x"), Ordering::Less);
        for text in ["", "b", "+a", "--"] {
            assert_eq!(MemberBound::parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
