//! Commands on ranges of members, by rank, by score or by the members' bytes: ZRANGE and its older forms, ZCOUNT,
//! ZREMRANGEBYSCORE and their kin, ZRANGESTORE.

use std::ops::Range;

use crate::engine::data::{Data, Event};
use crate::engine::error::{self, CommandError};
use crate::engine::spec::flag::{DENYOOM, FAST, READONLY, WRITE};
use crate::engine::spec::{CommandResult, ONE_KEY, Outcome, Spec, TWO_KEYS};
use crate::keyspace::Key;
use crate::number::{self, Digits};
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::commands::{limits, reply_header, reply_scored, store};
use super::range::{Bounds, MemberRange, RankRange, ScoreRange};
use super::{Builder, Iter, SortedSet};

const GROUP: &str = "sorted-set";

const READS: &str = "O(log(N)+M) with N being the number of members in the sorted set and M the number of members returned.";

const REMOVES: &str = "O(log(N)+M) with N being the number of members in the sorted set and M the number of members removed.";

const COUNTS: &str = "O(log(N)) with N being the number of members in the sorted set.";

pub const COMMANDS: &[Spec] = &[
    Spec::data("zrange", -4, READONLY, ONE_KEY, zrange).doc(
        "1.2.0",
        GROUP,
        "Returns the members of a sorted set within a range of ranks, scores or members.",
        READS,
    ),
    Spec::data("zrevrange", -4, READONLY, ONE_KEY, zrevrange).doc(
        "1.2.0",
        GROUP,
        "Returns the members of a sorted set within a range of ranks, from the highest score to the lowest.",
        READS,
    ),
    Spec::data("zrangebyscore", -4, READONLY, ONE_KEY, zrangebyscore).doc(
        "1.0.5",
        GROUP,
        "Returns the members of a sorted set within a range of scores.",
        READS,
    ),
    Spec::data("zrevrangebyscore", -4, READONLY, ONE_KEY, zrevrangebyscore).doc(
        "2.2.0",
        GROUP,
        "Returns the members of a sorted set within a range of scores, from the highest score to the lowest.",
        READS,
    ),
    Spec::data("zrangebylex", -4, READONLY, ONE_KEY, zrangebylex).doc(
        "2.8.9",
        GROUP,
        "Returns the members of a sorted set of equal scores that lie between two members.",
        READS,
    ),
    Spec::data("zrevrangebylex", -4, READONLY, ONE_KEY, zrevrangebylex).doc(
        "2.8.9",
        GROUP,
        "Returns the members of a sorted set of equal scores that lie between two members, the highest first.",
        READS,
    ),
    Spec::data("zrangestore", -5, WRITE | DENYOOM, TWO_KEYS, zrangestore).doc(
        "6.2.0",
        GROUP,
        "Stores the members of a sorted set within a range of ranks, scores or members in a key.",
        "O(log(N)+M) with N being the number of members in the sorted set and M the number of members stored.",
    ),
    Spec::data("zcount", 4, READONLY | FAST, ONE_KEY, zcount).doc(
        "2.0.0",
        GROUP,
        "Returns the number of members of a sorted set within a range of scores.",
        COUNTS,
    ),
    Spec::data("zlexcount", 4, READONLY | FAST, ONE_KEY, zlexcount).doc(
        "2.8.9",
        GROUP,
        "Returns the number of members of a sorted set of equal scores that lie between two members.",
        COUNTS,
    ),
    Spec::data("zremrangebyrank", 4, WRITE, ONE_KEY, zremrangebyrank).doc(
        "2.0.0",
        GROUP,
        "Removes the members of a sorted set within a range of ranks. The key goes with the last one.",
        REMOVES,
    ),
    Spec::data("zremrangebyscore", 4, WRITE, ONE_KEY, zremrangebyscore).doc(
        "1.2.0",
        GROUP,
        "Removes the members of a sorted set within a range of scores. The key goes with the last one.",
        REMOVES,
    ),
    Spec::data("zremrangebylex", 4, WRITE, ONE_KEY, zremrangebylex).doc(
        "2.8.9",
        GROUP,
        "Removes the members of a sorted set of equal scores that lie between two members. The key goes with the last one.",
        REMOVES,
    ),
];

/// ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]
fn zrange(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    reply_range(data, args, Form::Free, reply)
}

/// ZREVRANGE key start stop [WITHSCORES]
fn zrevrange(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    reply_range(data, args, Form::Fixed(By::Rank, Direction::Down), reply)
}

/// ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]
fn zrangebyscore(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    reply_range(data, args, Form::Fixed(By::Score, Direction::Up), reply)
}

/// ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]
fn zrevrangebyscore(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    reply_range(data, args, Form::Fixed(By::Score, Direction::Down), reply)
}

/// ZRANGEBYLEX key min max [LIMIT offset count]
fn zrangebylex(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    reply_range(data, args, Form::Fixed(By::Member, Direction::Up), reply)
}

/// ZREVRANGEBYLEX key max min [LIMIT offset count]
fn zrevrangebylex(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    reply_range(data, args, Form::Fixed(By::Member, Direction::Down), reply)
}

fn reply_range(data: &mut Data, args: Argv, form: Form, reply: &mut Reply) -> CommandResult {
    let selection = Selection::parse(args, 2, form)?;
    match data.read::<SortedSet>(Key::new(args.get(1)))? {
        None => reply.array(0),
        Some(set) => {
            let members = selection.members(&set);
            reply_header(reply, members.len(), selection.with_scores);
            members.for_each(|scored| reply_scored(reply, scored, selection.with_scores));
        }
    }
    Ok(Outcome::Replied)
}

/// ZRANGESTORE destination source start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count]
fn zrangestore(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let selection = Selection::parse(args, 3, Form::Store)?;
    let limits = limits(data.config);
    let mut builder = Builder::default();
    if let Some(set) = data.read::<SortedSet>(Key::new(args.get(2)))? {
        let mut digits = Digits::new();
        for scored in selection.members(&set) {
            // What comes out of a set is a set.
            let _ = builder.push(scored.member.text(&mut digits), scored.score);
        }
    }
    store(
        data,
        Key::new(args.get(1)),
        builder.finish(limits),
        "zrangestore",
        reply,
    );
    Ok(Outcome::Replied)
}

/// ZCOUNT key min max
fn zcount(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    count(data, args, By::Score, reply)
}

/// ZLEXCOUNT key min max
fn zlexcount(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    count(data, args, By::Member, reply)
}

fn count(data: &mut Data, args: Argv, by: By, reply: &mut Reply) -> CommandResult {
    let bounds = by.parse(args.get(2), args.get(3))?;
    let set = data.read::<SortedSet>(Key::new(args.get(1)))?;
    reply.integer(set.map_or(0, |set| set.span(&bounds).len()) as i64);
    Ok(Outcome::Replied)
}

/// ZREMRANGEBYRANK key start stop
fn zremrangebyrank(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    remove(data, args, By::Rank, "zremrangebyrank", reply)
}

/// ZREMRANGEBYSCORE key min max
fn zremrangebyscore(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    remove(data, args, By::Score, "zremrangebyscore", reply)
}

/// ZREMRANGEBYLEX key min max
fn zremrangebylex(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    remove(data, args, By::Member, "zremrangebylex", reply)
}

fn remove(
    data: &mut Data,
    args: Argv,
    by: By,
    event: &'static str,
    reply: &mut Reply,
) -> CommandResult {
    let bounds = by.parse(args.get(2), args.get(3))?;
    let key = Key::new(args.get(1));
    let mut removed = 0;
    let mut is_emptied = false;
    if let Some(mut set) = data.write::<SortedSet>(key)? {
        let ranks = set.span(&bounds);
        removed = ranks.len();
        // A set that loses all goes with its key, perhaps in the background.
        is_emptied = removed == set.len();
        if !is_emptied {
            set.remove_range(ranks);
        }
    }
    if removed > 0 {
        data.wrote(key, removed as u64, Event::SortedSet, event);
        if is_emptied {
            data.delete_emptied(key);
        }
    }
    reply.integer(removed as i64);
    Ok(Outcome::Replied)
}

/// What bounds speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Member,
}

impl By {
    fn parse<'a>(self, min: &'a [u8], max: &'a [u8]) -> Result<Bounds<'a>, CommandError> {
        match self {
            By::Rank => {
                let rank = |text| number::parse_i64(text).ok_or(error::NOT_AN_INTEGER);
                Ok(Bounds::Ranks(RankRange {
                    start: rank(min)?,
                    stop: rank(max)?,
                }))
            }
            By::Score => ScoreRange::parse(min, max)
                .map(Bounds::Scores)
                .ok_or(error::NOT_A_SCORE_RANGE),
            By::Member => MemberRange::parse(min, max)
                .map(Bounds::Members)
                .ok_or(error::NOT_A_MEMBER_RANGE),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// What the name of a command leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// All is said by options.
    Free,
    /// As `Free`, but scores cannot be asked for.
    Store,
    Fixed(By, Direction),
}

/// What the arguments of a command of the ZRANGE family select.
struct Selection<'a> {
    bounds: Bounds<'a>,
    direction: Direction,
    with_scores: bool,
    /// Of the members within the bounds, this many from the near end are left out...
    offset: i64,
    /// ...and at most this many taken, all if it is negative.
    count: i64,
}

impl<'a> Selection<'a> {
    /// Words `first` and the next are the bounds, options follow.
    fn parse(args: Argv<'a>, first: usize, form: Form) -> Result<Self, CommandError> {
        let (mut by, mut direction) = match form {
            Form::Fixed(by, direction) => (Some(by), Some(direction)),
            Form::Free | Form::Store => (None, None),
        };
        let (mut with_scores, mut offset, mut count) = (false, 0, -1);
        let mut at = first + 2;
        while at < args.len() {
            let word = args.get(at);
            let is = |option: &str| word.eq_ignore_ascii_case(option.as_bytes());
            if form != Form::Store && is("withscores") {
                with_scores = true;
            } else if is("limit") && at + 2 < args.len() {
                offset = number::parse_i64(args.get(at + 1)).ok_or(error::NOT_AN_INTEGER)?;
                count = number::parse_i64(args.get(at + 2)).ok_or(error::NOT_AN_INTEGER)?;
                at += 2;
            } else if direction.is_none() && is("rev") {
                direction = Some(Direction::Down);
            } else if by.is_none() && is("bylex") {
                by = Some(By::Member);
            } else if by.is_none() && is("byscore") {
                by = Some(By::Score);
            } else {
                return Err(error::SYNTAX);
            }
            at += 1;
        }
        let (by, direction) = (by.unwrap_or(By::Rank), direction.unwrap_or(Direction::Up));
        if by == By::Rank && count != -1 {
            return Err(error::LIMIT_BY_RANK);
        }
        if by == By::Member && with_scores {
            return Err(error::SCORES_BY_LEX);
        }
        let (one, other) = (args.get(first), args.get(first + 1));
        let bounds = if by != By::Rank && direction == Direction::Down {
            by.parse(other, one)?
        } else {
            by.parse(one, other)?
        };
        Ok(Selection {
            bounds,
            direction,
            with_scores,
            offset,
            count,
        })
    }

    fn members<'s>(&self, set: &'s SortedSet) -> Iter<'s> {
        let ranks = self.ranks(set);
        match self.direction {
            Direction::Up => set.range(ranks),
            Direction::Down => set.range_back(ranks),
        }
    }

    /// The ranks selected, counted from the lowest member whatever the direction.
    fn ranks(&self, set: &SortedSet) -> Range<usize> {
        let Range { start, end } = set.span(&self.bounds);
        if let Bounds::Ranks(_) = self.bounds {
            return match self.direction {
                Direction::Up => start..end,
                Direction::Down => set.len() - end..set.len() - start,
            };
        }
        let found = end - start;
        let skipped = usize::try_from(self.offset).map_or(found, |offset| offset.min(found));
        let taken = usize::try_from(self.count)
            .map_or(usize::MAX, |count| count)
            .min(found - skipped);
        match self.direction {
            Direction::Up => start + skipped..start + skipped + taken,
            Direction::Down => end - skipped - taken..end - skipped,
        }
    }
}
