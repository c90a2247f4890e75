//! Commands that take members from either end: ZPOPMIN, ZPOPMAX, ZMPOP.

use std::ops::Range;

use crate::engine::data::{Data, Event};
use crate::engine::error::{self, CommandError};
use crate::engine::spec::flag::{FAST, MOVABLEKEYS, WRITE};
use crate::engine::spec::{CommandResult, Keys, ONE_KEY, Outcome, Spec};
use crate::keyspace::Key;
use crate::number::{self, Digits};
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::commands::{reply_header, reply_score, reply_scored};
use super::{Iter, Scored, SortedSet};

pub const COMMANDS: &[Spec] = &[
    Spec::data("zpopmin", -2, WRITE | FAST, ONE_KEY, zpopmin).doc(
        "5.0.0",
        "sorted-set",
        "Removes the members with the lowest scores from a sorted set and returns them. The key goes with the last one.",
        "O(log(N)+M) with N being the number of members in the sorted set and M the number of members removed.",
    ),
    Spec::data("zpopmax", -2, WRITE | FAST, ONE_KEY, zpopmax).doc(
        "5.0.0",
        "sorted-set",
        "Removes the members with the highest scores from a sorted set and returns them. The key goes with the last one.",
        "O(log(N)+M) with N being the number of members in the sorted set and M the number of members removed.",
    ),
    Spec::data("zmpop", -4, WRITE | MOVABLEKEYS, Keys::Counted { count_at: 1 }, zmpop).doc(
        "7.0.0",
        "sorted-set",
        "Removes members from an end of the first sorted set that exists, and returns its key and them.",
        "O(K)+O(log(N)+M) with K being the number of keys, N the number of members in the sorted set and M the number of \
         members removed.",
    ),
];

/// The end of a set from which members are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Min,
    Max,
}

impl End {
    fn parse(word: &[u8]) -> Option<Self> {
        match word {
            _ if word.eq_ignore_ascii_case(b"min") => Some(End::Min),
            _ if word.eq_ignore_ascii_case(b"max") => Some(End::Max),
            _ => None,
        }
    }

    fn event(self) -> &'static str {
        match self {
            End::Min => "zpopmin",
            End::Max => "zpopmax",
        }
    }

    fn command(self) -> &'static [u8] {
        match self {
            End::Min => b"ZPOPMIN",
            End::Max => b"ZPOPMAX",
        }
    }
}

/// ZPOPMIN key [count]
fn zpopmin(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    pop_one_key(data, args, End::Min, reply)
}

/// ZPOPMAX key [count]
fn zpopmax(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    pop_one_key(data, args, End::Max, reply)
}

fn pop_one_key(data: &mut Data, args: Argv, end: End, reply: &mut Reply) -> CommandResult {
    let count = match args.len() {
        2 => None,
        3 => Some(positive(args.get(2), 0).ok_or(error::MUST_BE_POSITIVE)?),
        _ => return Err(error::SYNTAX),
    };
    let popped = pop(
        data,
        Key::new(args.get(1)),
        end,
        count.unwrap_or(1),
        |members| {
            if count.is_some() {
                reply_header(reply, members.len(), true);
                members.for_each(|scored| reply_scored(reply, scored, true));
            } else {
                members.for_each(|scored| reply_pair(reply, scored));
            }
        },
    )?;
    if popped == 0 {
        reply.array(0);
    }
    Ok(Outcome::Replied)
}

/// ZMPOP numkeys key [key ...] <MIN | MAX> [COUNT count]
fn zmpop(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let request = MultiPop::parse(args, 1)?;
    for at in request.keys {
        let key = Key::new(args.get(at));
        let popped = pop(data, key, request.end, request.count, |members| {
            reply.array(2);
            reply.bulk(key.bytes);
            reply.array(members.len());
            members.for_each(|scored| reply_pair(reply, scored));
        })?;
        if popped > 0 {
            data.propagate(&[request.end.command(), key.bytes, Digits::new().of(popped)]);
            return Ok(Outcome::Replied);
        }
    }
    reply.null_array();
    Ok(Outcome::Replied)
}

/// Takes up to `count` members out, after handing them to `write`, the outermost first. Says how many they were; where none
/// are, `write` is not called.
fn pop(
    data: &mut Data,
    key: Key,
    end: End,
    count: usize,
    write: impl FnOnce(Iter),
) -> Result<usize, CommandError> {
    let Some(mut set) = data.write::<SortedSet>(key)? else {
        return Ok(0);
    };
    let len = set.len();
    let count = count.min(len);
    if count == 0 {
        return Ok(0);
    }
    let ranks = match end {
        End::Min => 0..count,
        End::Max => len - count..len,
    };
    write(match end {
        End::Min => set.range(ranks.clone()),
        End::Max => set.range_back(ranks.clone()),
    });
    // A set that is taken whole goes with its key, perhaps in the background.
    let is_emptied = count == len;
    if !is_emptied {
        set.remove_range(ranks);
    }
    drop(set);
    data.wrote(key, count as u64, Event::SortedSet, end.event());
    if is_emptied {
        data.delete_emptied(key);
    }
    Ok(count)
}

/// `numkeys key [key ...] <MIN | MAX> [COUNT count]`
struct MultiPop {
    /// Where the keys stand.
    keys: Range<usize>,
    end: End,
    count: usize,
}

impl MultiPop {
    /// `at` is where numkeys stands.
    fn parse(args: Argv, at: usize) -> Result<Self, CommandError> {
        let keys = positive(args.get(at), 1).ok_or(error::NUMKEYS_NOT_POSITIVE)?;
        let end_at = at.saturating_add(1).saturating_add(keys);
        if end_at >= args.len() {
            return Err(error::SYNTAX);
        }
        let end = End::parse(args.get(end_at)).ok_or(error::SYNTAX)?;
        let count = match args.len() - end_at {
            1 => 1,
            3.. if args.get(end_at + 1).eq_ignore_ascii_case(b"count") => {
                let count = positive(args.get(end_at + 2), 1).ok_or(error::COUNT_NOT_POSITIVE)?;
                if args.len() > end_at + 3 {
                    return Err(error::SYNTAX);
                }
                count
            }
            _ => return Err(error::SYNTAX),
        };
        Ok(MultiPop {
            keys: at + 1..end_at,
            end,
            count,
        })
    }
}

/// An integer of at least `min`.
fn positive(text: &[u8], min: usize) -> Option<usize> {
    let value = number::parse_i64(text)?;
    usize::try_from(value).ok().filter(|value| *value >= min)
}

/// A member and its score side by side, in RESP2 and RESP3.
fn reply_pair(reply: &mut Reply, scored: Scored) {
    reply.array(2);
    reply.element(scored.member);
    reply_score(reply, Some(scored.score));
}
