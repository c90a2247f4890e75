//! Commands that make one sorted set of several, or of sets: ZUNION, ZINTER, ZDIFF, their STORE forms, ZINTERCARD.

use crate::engine::data::Data;
use crate::engine::error::{self, CommandError};
use crate::engine::spec::flag::{DENYOOM, MOVABLEKEYS, READONLY, WRITE};
use crate::engine::spec::{CommandResult, Keys, Outcome, Spec};
use crate::keyspace::Key;
use crate::keyspace::entry::View;
use crate::number::{self, Digits};
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;
use crate::types::Value;
use crate::types::set::Set;

use super::commands::{limits, reply_header, reply_scored, store};
use super::{Builder, Limits, Merger, Scored, SortedSet};

const GROUP: &str = "sorted-set";

const UNITES: &str = "O(N)+O(M*log(M)) with N being the sum of the sizes of the sets and M the number of members in the result.";

const INTERSECTS: &str = "O(N*K)+O(M*log(M)) with N being the size of the smallest set, K the number of sets and M the number of members in the result.";

const SUBTRACTS: &str = "O(N*K)+O(M*log(M)) with N being the size of the first set, K the number of sets and M the number of members in the result.";

const READ: u32 = READONLY | MOVABLEKEYS;
const STORE: u32 = WRITE | DENYOOM | MOVABLEKEYS;
const COUNTED: Keys = Keys::Counted { count_at: 1 };
const STORE_COUNTED: Keys = Keys::StoreCounted { count_at: 2 };

pub const COMMANDS: &[Spec] = &[
    Spec::data("zunion", -3, READ, COUNTED, zunion).doc(
        "6.2.0",
        GROUP,
        "Returns the union of sorted sets.",
        UNITES,
    ),
    Spec::data("zunionstore", -4, STORE, STORE_COUNTED, zunionstore).doc(
        "2.0.0",
        GROUP,
        "Stores the union of sorted sets in a key.",
        UNITES,
    ),
    Spec::data("zinter", -3, READ, COUNTED, zinter).doc(
        "6.2.0",
        GROUP,
        "Returns the intersection of sorted sets.",
        INTERSECTS,
    ),
    Spec::data("zinterstore", -4, STORE, STORE_COUNTED, zinterstore).doc(
        "2.0.0",
        GROUP,
        "Stores the intersection of sorted sets in a key.",
        INTERSECTS,
    ),
    Spec::data("zintercard", -3, READ, COUNTED, zintercard).doc(
        "7.0.0",
        GROUP,
        "Returns the number of members in the intersection of sorted sets.",
        "O(N*K) with N being the size of the smallest set and K the number of sets.",
    ),
    Spec::data("zdiff", -3, READ, COUNTED, zdiff).doc(
        "6.2.0",
        GROUP,
        "Returns the members of a sorted set that are in none of the others.",
        SUBTRACTS,
    ),
    Spec::data("zdiffstore", -4, STORE, STORE_COUNTED, zdiffstore).doc(
        "6.2.0",
        GROUP,
        "Stores the members of a sorted set that are in none of the others in a key.",
        SUBTRACTS,
    ),
];

/// ZUNION numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]
fn zunion(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    reply_combined(data, args, Operation::Union, reply)
}

/// ZUNIONSTORE destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]
fn zunionstore(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    store_combined(data, args, Operation::Union, reply)
}

/// ZINTER numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]
fn zinter(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    reply_combined(data, args, Operation::Inter, reply)
}

/// ZINTERSTORE destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]
fn zinterstore(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    store_combined(data, args, Operation::Inter, reply)
}

/// ZDIFF numkeys key [key ...] [WITHSCORES]
fn zdiff(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    reply_combined(data, args, Operation::Diff, reply)
}

/// ZDIFFSTORE destination numkeys key [key ...]
fn zdiffstore(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    store_combined(data, args, Operation::Diff, reply)
}

/// ZINTERCARD numkeys key [key ...] [LIMIT limit]
fn zintercard(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let (mut inputs, mut at) = Input::read_all(data, args, 1, "zintercard")?;
    let mut most = usize::MAX;
    while at < args.len() {
        if !args.get(at).eq_ignore_ascii_case(b"limit") || at + 1 >= args.len() {
            return Err(error::SYNTAX);
        }
        let limit =
            number::parse_i64(args.get(at + 1)).and_then(|limit| usize::try_from(limit).ok());
        // A limit of 0 is none.
        most = limit
            .map(|limit| if limit == 0 { usize::MAX } else { limit })
            .ok_or(error::LIMIT_NEGATIVE)?;
        at += 2;
    }
    let mut count = 0;
    for_each_common(&mut inputs, Aggregate::Sum, |_, _| {
        count += 1;
        count < most
    });
    reply.integer(count as i64);
    Ok(Outcome::Replied)
}

fn reply_combined(
    data: &mut Data,
    args: Argv,
    operation: Operation,
    reply: &mut Reply,
) -> CommandResult {
    let (mut inputs, options_at) = Input::read_all(data, args, 1, operation.command())?;
    let options = Options::parse(args, options_at, operation, &mut inputs, true)?;
    let made = operation.combine(inputs, options.aggregate, NEVER_COMPACT);
    reply_header(reply, made.len(), options.with_scores);
    made.iter()
        .for_each(|scored| reply_scored(reply, scored, options.with_scores));
    Ok(Outcome::Replied)
}

/// What is only answered is held in the way that keeps the sign of a zero.
const NEVER_COMPACT: Limits = Limits {
    entries_max: 0,
    member_bytes_max: 0,
};

fn store_combined(
    data: &mut Data,
    args: Argv,
    operation: Operation,
    reply: &mut Reply,
) -> CommandResult {
    let (mut inputs, options_at) = Input::read_all(data, args, 2, operation.store_command())?;
    let options = Options::parse(args, options_at, operation, &mut inputs, false)?;
    let made = operation.combine(inputs, options.aggregate, limits(data.config));
    store(
        data,
        Key::new(args.get(1)),
        made,
        operation.store_command(),
        reply,
    );
    Ok(Outcome::Replied)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

impl Operation {
    fn command(self) -> &'static str {
        match self {
            Operation::Union => "zunion",
            Operation::Inter => "zinter",
            Operation::Diff => "zdiff",
        }
    }

    /// Also the name of its event.
    fn store_command(self) -> &'static str {
        match self {
            Operation::Union => "zunionstore",
            Operation::Inter => "zinterstore",
            Operation::Diff => "zdiffstore",
        }
    }

    fn combine(self, mut inputs: Inputs, aggregate: Aggregate, limits: Limits) -> SortedSet {
        let mut digits = Digits::new();
        let mut builder = Builder::default();
        match self {
            Operation::Union => {
                let mut merger = Merger::default();
                // From the smallest set to the largest, because sums of floats depend on the order.
                inputs.sort_by_key(Input::len);
                for input in &inputs {
                    for scored in input.iter() {
                        let score = not_nan(input.weight * scored.score);
                        merger.merge(scored.member.text(&mut digits), |sum| {
                            sum.map_or(score, |sum| aggregate.of(sum, score))
                        });
                    }
                }
                return merger.finish(limits);
            }
            Operation::Inter => for_each_common(&mut inputs, aggregate, |member, score| {
                push(&mut builder, member, score);
                true
            }),
            Operation::Diff => {
                let others = inputs.split_off(1);
                for scored in inputs[0].iter() {
                    let member = scored.member.text(&mut digits);
                    if others.iter().all(|other| other.score(member).is_none()) {
                        push(&mut builder, member, scored.score);
                    }
                }
            }
        }
        builder.finish(limits)
    }
}

/// Calls `visit` for the members that all inputs have, with their combined scores, until it returns false.
fn for_each_common(
    inputs: &mut Inputs,
    aggregate: Aggregate,
    mut visit: impl FnMut(&[u8], f64) -> bool,
) {
    // From the smallest set to the largest: the fewest are looked up, and sums of floats depend on the order.
    inputs.sort_by_key(Input::len);
    let Some((smallest, others)) = inputs.split_first() else {
        return;
    };
    let mut digits = Digits::new();
    for scored in smallest.iter() {
        let member = scored.member.text(&mut digits);
        let score =
            others
                .iter()
                .try_fold(not_nan(smallest.weight * scored.score), |sum, other| {
                    other
                        .score(member)
                        .map(|score| aggregate.of(sum, other.weight * score))
                });
        if let Some(score) = score
            && !visit(member, score)
        {
            return;
        }
    }
}

/// Adds a member of a set to a set in the making: it comes once, and its score is a number.
fn push(builder: &mut Builder, member: &[u8], score: f64) {
    let pushed = builder.push(member, score);
    debug_assert!(pushed.is_ok(), "members of a set differ");
}

type Inputs = Vec<Input>;

/// One of the sets that are combined, as it is at this moment.
struct Input {
    content: Content,
    weight: f64,
}

enum Content {
    Missing,
    SortedSet(SortedSet),
    /// Every member has the score 1.
    Set(Set),
}

impl Input {
    /// Word `at` says how many keys follow it. Also returns where the options begin.
    fn read_all(
        data: &mut Data,
        args: Argv,
        at: usize,
        command: &str,
    ) -> Result<(Inputs, usize), CommandError> {
        let count = number::parse_i64(args.get(at)).ok_or(error::NOT_AN_INTEGER)?;
        if count < 1 {
            return Err(error::no_input_keys(command));
        }
        let first = at + 1;
        let count = usize::try_from(count)
            .ok()
            .filter(|count| *count <= args.len() - first)
            .ok_or(error::SYNTAX)?;
        let mut inputs = Vec::with_capacity(count);
        for key in args.iter().skip(first).take(count) {
            let content = match data.find(Key::new(key)) {
                None => Content::Missing,
                Some(entry) => match entry.view() {
                    View::Value(Value::SortedSet(set)) => Content::SortedSet(set.clone()),
                    View::Value(Value::Set(set)) => Content::Set(set.clone()),
                    _ => return Err(error::WRONG_TYPE),
                },
            };
            inputs.push(Input {
                content,
                weight: 1.0,
            });
        }
        Ok((inputs, first + count))
    }

    fn len(&self) -> usize {
        match &self.content {
            Content::Missing => 0,
            Content::SortedSet(set) => set.len(),
            Content::Set(set) => set.len(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = Scored<'_>> {
        let (sorted, plain) = match &self.content {
            Content::Missing => (None, None),
            Content::SortedSet(set) => (Some(set.iter()), None),
            Content::Set(set) => (None, Some(set.iter())),
        };
        let plain = plain.into_iter().flatten();
        let scored = plain.map(|member| Scored { member, score: 1.0 });
        sorted.into_iter().flatten().chain(scored)
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.content {
            Content::Missing => None,
            Content::SortedSet(set) => set.score(member),
            Content::Set(set) => set.contains(member).then_some(1.0),
        }
    }
}

/// How the scores of a member in several sets become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn parse(word: &[u8]) -> Option<Self> {
        match word {
            _ if word.eq_ignore_ascii_case(b"sum") => Some(Aggregate::Sum),
            _ if word.eq_ignore_ascii_case(b"min") => Some(Aggregate::Min),
            _ if word.eq_ignore_ascii_case(b"max") => Some(Aggregate::Max),
            _ => None,
        }
    }

    /// `score` may be NaN, the result is not.
    fn of(self, sum: f64, score: f64) -> f64 {
        match self {
            Aggregate::Sum => not_nan(sum + score),
            Aggregate::Min if score < sum => score,
            Aggregate::Max if score > sum => score,
            Aggregate::Min | Aggregate::Max => sum,
        }
    }
}

/// What is no number, as infinity times zero, counts as 0.
fn not_nan(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

struct Options {
    aggregate: Aggregate,
    with_scores: bool,
}

impl Options {
    /// The words from `at` on. Weights go into the inputs.
    fn parse(
        args: Argv,
        mut at: usize,
        operation: Operation,
        inputs: &mut Inputs,
        may_have_scores: bool,
    ) -> Result<Self, CommandError> {
        let mut options = Options {
            aggregate: Aggregate::Sum,
            with_scores: false,
        };
        let weighs = operation != Operation::Diff;
        while at < args.len() {
            let is = |option: &str| args.get(at).eq_ignore_ascii_case(option.as_bytes());
            let behind = args.len() - at - 1;
            if weighs && is("weights") && behind >= inputs.len() {
                for input in inputs.iter_mut() {
                    at += 1;
                    input.weight = number::parse_f64(args.get(at)).ok_or(error::NOT_A_WEIGHT)?;
                }
            } else if weighs && is("aggregate") && behind >= 1 {
                at += 1;
                options.aggregate = Aggregate::parse(args.get(at)).ok_or(error::SYNTAX)?;
            } else if may_have_scores && is("withscores") {
                options.with_scores = true;
            } else {
                return Err(error::SYNTAX);
            }
            at += 1;
        }
        Ok(options)
    }
}
