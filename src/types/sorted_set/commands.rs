//! Commands on members: ZADD, ZREM, ZSCORE, ZRANK and their kin; also those that look at members in no order. What the
//! sorted set commands share, limits and replies, is here as well.

use smallvec::SmallVec;

use crate::config::Config;
use crate::engine::collection::{Named, remove_elements, scan_elements};
use crate::engine::data::{Data, Event};
use crate::engine::error::{self, CommandError};
use crate::engine::random_count::RandomCount;
use crate::engine::spec::flag::{DENYOOM, FAST, READONLY, WRITE};
use crate::engine::spec::{CommandResult, ONE_KEY, Outcome, Spec};
use crate::keyspace::Key;
use crate::number::{self, DoubleText};
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::{Limits, Scored, SortedSet, Update};

const GROUP: &str = "sorted-set";

pub const COMMANDS: &[Spec] = &[
    Spec::data("zadd", -4, WRITE | DENYOOM | FAST, ONE_KEY, zadd).doc(
        "1.2.0",
        GROUP,
        "Adds members to a sorted set, or gives those it has new scores. The key is created if it doesn't exist.",
        "O(log(N)) for each member, with N being the number of members in the sorted set.",
    ),
    Spec::data("zincrby", 4, WRITE | DENYOOM | FAST, ONE_KEY, zincrby).doc(
        "1.2.0",
        GROUP,
        "Adds to the score of a member of a sorted set.",
        "O(log(N)) with N being the number of members in the sorted set.",
    ),
    Spec::data("zrem", -3, WRITE | FAST, ONE_KEY, zrem).doc(
        "1.2.0",
        GROUP,
        "Removes members from a sorted set. The key goes with the last one.",
        "O(M*log(N)) with N being the number of members in the sorted set and M the number of members given.",
    ),
    Spec::data("zcard", 2, READONLY | FAST, ONE_KEY, zcard).doc(
        "1.2.0",
        GROUP,
        "Returns the number of members in a sorted set.",
        "O(1)",
    ),
    Spec::data("zscore", 3, READONLY | FAST, ONE_KEY, zscore).doc(
        "1.2.0",
        GROUP,
        "Returns the score of a member of a sorted set.",
        "O(1)",
    ),
    Spec::data("zmscore", -3, READONLY | FAST, ONE_KEY, zmscore).doc(
        "6.2.0",
        GROUP,
        "Returns the scores of several members of a sorted set.",
        "O(M) with M being the number of members given.",
    ),
    // An option of 7.2 makes the arity of these two open.
    Spec::data("zrank", -3, READONLY | FAST, ONE_KEY, zrank).doc(
        "2.0.0",
        GROUP,
        "Returns how many members of a sorted set stand before a member.",
        "O(log(N)) with N being the number of members in the sorted set.",
    ),
    Spec::data("zrevrank", -3, READONLY | FAST, ONE_KEY, zrevrank).doc(
        "2.0.0",
        GROUP,
        "Returns how many members of a sorted set stand behind a member.",
        "O(log(N)) with N being the number of members in the sorted set.",
    ),
    Spec::data("zrandmember", -2, READONLY, ONE_KEY, zrandmember).doc(
        "6.2.0",
        GROUP,
        "Returns members of a sorted set at random.",
        "O(M*log(N)) with N being the number of members in the sorted set and M the number of members returned.",
    ),
    Spec::data("zscan", -3, READONLY, ONE_KEY, zscan).doc(
        "2.8.0",
        GROUP,
        "Iterates over the members of a sorted set and their scores, some with each call.",
        "O(1) for each call, O(N) for a whole round over N members.",
    ),
];

/// ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]
fn zadd(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let mut options = AddOptions::default();
    let mut first = 2;
    while first < args.len() && options.accept(args.get(first)) {
        first += 1;
    }
    let words = args.len() - first;
    if words == 0 || !words.is_multiple_of(2) {
        return Err(error::SYNTAX);
    }
    options.check(words / 2)?;
    add(data, args, first, options, reply)
}

/// ZINCRBY key increment member
fn zincrby(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let mut options = AddOptions {
        incr: true,
        ..AddOptions::default()
    };
    if options.accept(args.get(2)) {
        return Err(error::SYNTAX);
    }
    add(data, args, 2, options, reply)
}

/// Words from `first` on are pairs of score and member.
fn add(
    data: &mut Data,
    args: Argv,
    first: usize,
    options: AddOptions,
    reply: &mut Reply,
) -> CommandResult {
    let mut pairs: SmallVec<[(f64, &[u8]); 8]> = SmallVec::new();
    for at in (first..args.len()).step_by(2) {
        let score = number::parse_f64(args.get(at)).ok_or(error::NOT_A_FLOAT)?;
        pairs.push((score, args.get(at + 1)));
    }
    let key = Key::new(args.get(1));
    let limits = limits(data.config);
    let mut done = Added::default();
    if !options.only_present {
        done.add_all(
            &mut *data.write_or_new(key, |_| SortedSet::new())?,
            &pairs,
            options,
            limits,
        )?;
    } else if let Some(mut set) = data.write::<SortedSet>(key)? {
        done.add_all(&mut set, &pairs, options, limits)?;
    }
    let changes = done.added + done.moved;
    if changes > 0 {
        data.wrote(
            key,
            changes,
            Event::SortedSet,
            if options.incr { "zincr" } else { "zadd" },
        );
    }
    match done.score {
        _ if !options.incr => reply.integer(if options.count_changes {
            changes
        } else {
            done.added
        } as i64),
        Some(score) => reply.double(DoubleText::of(score).as_bytes()),
        None => reply.null(),
    }
    Ok(Outcome::Replied)
}

/// What ZADD has done.
#[derive(Default)]
struct Added {
    added: u64,
    moved: u64,
    /// That of the last member, unless the options left it alone.
    score: Option<f64>,
}

impl Added {
    fn add_all(
        &mut self,
        set: &mut SortedSet,
        pairs: &[(f64, &[u8])],
        options: AddOptions,
        limits: Limits,
    ) -> Result<(), CommandError> {
        for &(score, member) in pairs {
            let mut wanted = None;
            let update = set.update(member, limits, |old| {
                wanted = options.score(old, score);
                wanted.filter(|wanted| !wanted.is_nan())
            });
            if wanted.is_some_and(f64::is_nan) {
                return Err(error::NOT_A_SCORE);
            }
            self.score = wanted;
            self.added += u64::from(update == Update::Added);
            self.moved += u64::from(update == Update::Moved);
        }
        Ok(())
    }
}

/// The options of ZADD.
#[derive(Clone, Copy, Default)]
struct AddOptions {
    only_new: bool,
    only_present: bool,
    only_greater: bool,
    only_less: bool,
    count_changes: bool,
    incr: bool,
}

impl AddOptions {
    /// False if the word is no option.
    fn accept(&mut self, word: &[u8]) -> bool {
        let option = match word.len() {
            2 if word.eq_ignore_ascii_case(b"nx") => &mut self.only_new,
            2 if word.eq_ignore_ascii_case(b"xx") => &mut self.only_present,
            2 if word.eq_ignore_ascii_case(b"gt") => &mut self.only_greater,
            2 if word.eq_ignore_ascii_case(b"lt") => &mut self.only_less,
            2 if word.eq_ignore_ascii_case(b"ch") => &mut self.count_changes,
            4 if word.eq_ignore_ascii_case(b"incr") => &mut self.incr,
            _ => return false,
        };
        *option = true;
        true
    }

    fn check(&self, members: usize) -> Result<(), CommandError> {
        if self.only_new && self.only_present {
            return Err(error::NX_WITH_XX);
        }
        if (self.only_greater && self.only_less)
            || (self.only_new && (self.only_greater || self.only_less))
        {
            return Err(error::NX_WITH_GT_LT);
        }
        if self.incr && members > 1 {
            return Err(error::INCR_OF_MANY);
        }
        Ok(())
    }

    /// The score that a member of score `old` is to have, perhaps NaN; None if it is to be left alone.
    fn score(&self, old: Option<f64>, score: f64) -> Option<f64> {
        let Some(old) = old else {
            return (!self.only_present).then_some(score);
        };
        let score = if self.incr { old + score } else { score };
        let left_alone = self.only_new
            || (self.only_greater && score <= old)
            || (self.only_less && score >= old);
        (!left_alone).then_some(score)
    }
}

/// ZREM key member [member ...]
fn zrem(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    remove_elements::<SortedSet>(data, args, reply, Event::SortedSet, "zrem")
}

/// ZCARD key
fn zcard(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let set = data.read::<SortedSet>(Key::new(args.get(1)))?;
    reply.integer(set.map_or(0, |set| set.len()) as i64);
    Ok(Outcome::Replied)
}

/// ZSCORE key member
fn zscore(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let set = data.read::<SortedSet>(Key::new(args.get(1)))?;
    reply_score(reply, set.and_then(|set| set.score(args.get(2))));
    Ok(Outcome::Replied)
}

/// ZMSCORE key member [member ...]
fn zmscore(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let set = data.read::<SortedSet>(Key::new(args.get(1)))?;
    reply.array(args.len() - 2);
    for member in args.iter().skip(2) {
        reply_score(reply, set.as_ref().and_then(|set| set.score(member)));
    }
    Ok(Outcome::Replied)
}

/// ZRANK key member [WITHSCORE]
fn zrank(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    reply_rank(data, args, false, reply)
}

/// ZREVRANK key member [WITHSCORE]
fn zrevrank(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    reply_rank(data, args, true, reply)
}

fn reply_rank(data: &mut Data, args: Argv, reverse: bool, reply: &mut Reply) -> CommandResult {
    let with_score = args.len() > 3;
    if args.len() > 4 || (with_score && !args.get(3).eq_ignore_ascii_case(b"withscore")) {
        return Err(error::SYNTAX);
    }
    let set = data.read::<SortedSet>(Key::new(args.get(1)))?;
    let found = set.and_then(|set| {
        let (rank, score) = set.rank(args.get(2))?;
        Some((if reverse { set.len() - 1 - rank } else { rank }, score))
    });
    match found {
        None if with_score => reply.null_array(),
        None => reply.null(),
        Some((rank, score)) => {
            if with_score {
                reply.array(2);
            }
            reply.integer(rank as i64);
            if with_score {
                reply_score(reply, Some(score));
            }
        }
    }
    Ok(Outcome::Replied)
}

/// ZRANDMEMBER key [count [WITHSCORES]]
fn zrandmember(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let key = Key::new(args.get(1));
    if args.len() == 2 {
        let mut random = data.random.fork();
        let set = data.read::<SortedSet>(key)?;
        match set.as_ref().and_then(|set| set.random(&mut random)) {
            Some(scored) => reply.element(scored.member),
            None => reply.null(),
        }
        return Ok(Outcome::Replied);
    }
    let wanted = RandomCount::parse(args.get(2))?;
    let with_scores = match args.len() {
        3 => false,
        4 if args.get(3).eq_ignore_ascii_case(b"withscores") => true,
        _ => return Err(error::SYNTAX),
    };
    if with_scores {
        wanted.check_pairs()?;
    }
    let mut random = data.random.fork();
    let Some(set) = data.read::<SortedSet>(key)? else {
        reply.array(0);
        return Ok(Outcome::Replied);
    };
    wanted.check_reply()?;
    match wanted {
        RandomCount::Draw(count) => {
            reply_header(reply, count, with_scores);
            for scored in (0..count).filter_map(|_| set.random(&mut random)) {
                reply_scored(reply, scored, with_scores);
            }
        }
        RandomCount::Choose(count) => {
            reply_header(reply, count.min(set.len()), with_scores);
            set.choose(count, &mut random, |scored| {
                reply_scored(reply, scored, with_scores)
            });
        }
    }
    Ok(Outcome::Replied)
}

/// ZSCAN key cursor [MATCH pattern] [COUNT count]
fn zscan(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    scan_elements(data, args, reply, |set: &SortedSet, cursor, page| {
        set.scan(cursor, |scored| {
            let score = DoubleText::of(scored.score);
            page.visit_pair(scored.member, |reply| reply.bulk(score.as_bytes()));
        })
    })
}

impl Named for SortedSet {
    fn remove(&mut self, member: &[u8]) -> bool {
        SortedSet::remove(self, member).is_some()
    }

    fn is_empty(&self) -> bool {
        SortedSet::is_empty(self)
    }
}

// What the commands of sorted sets share.

pub(super) fn limits(config: &Config) -> Limits {
    Limits {
        entries_max: config.zset_max_listpack_entries,
        member_bytes_max: config.zset_max_listpack_value,
    }
}

/// A score, or null where there is none.
pub(super) fn reply_score(reply: &mut Reply, score: Option<f64>) {
    match score {
        Some(score) => reply.double(DoubleText::of(score).as_bytes()),
        None => reply.null(),
    }
}

/// The header of so many members: RESP3 has an array for each with its score, RESP2 one flat array of both.
pub(super) fn reply_header(reply: &mut Reply, members: usize, with_scores: bool) {
    reply.array(if with_scores && !reply.is_resp3() {
        2 * members
    } else {
        members
    });
}

pub(super) fn reply_scored(reply: &mut Reply, scored: Scored, with_scores: bool) {
    if with_scores && reply.is_resp3() {
        reply.array(2);
    }
    reply.element(scored.member);
    if with_scores {
        reply_score(reply, Some(scored.score));
    }
}

/// Stores what a command has made in place of whatever was there, and answers how many members it has. Nothing made leaves
/// no key.
pub(super) fn store(
    data: &mut Data,
    key: Key,
    made: SortedSet,
    event: &'static str,
    reply: &mut Reply,
) {
    let len = made.len();
    if len > 0 {
        data.store(key, made);
        data.wrote(key, 1, Event::SortedSet, event);
    } else if data.remove(key) {
        data.wrote(key, 1, Event::Generic, "del");
    }
    reply.integer(len as i64);
}

#[cfg(test)]
mod tests;
