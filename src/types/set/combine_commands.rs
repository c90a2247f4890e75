//! Commands on several sets: SINTER, SUNION, SDIFF, what they store, and SINTERCARD.
//!
//! All keys are looked up before anything else happens, so that a key of the wrong type is found out even where another
//! one is missing. Unions and differences begin with a clone of one of the sets: where that is a table, they take time for
//! the other sets only, and the result shares what it has in common with it.

use smallvec::SmallVec;

use crate::compact::Element;
use crate::engine::data::{Data, Event, TypedRef};
use crate::engine::error::{self, CommandError};
use crate::engine::spec::flag::{DENYOOM, MOVABLEKEYS, READONLY, WRITE};
use crate::engine::spec::{ALL_KEYS, CommandResult, Keys, Outcome, Spec};
use crate::keyspace::Key;
use crate::number::{self, Digits};
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::commands::{limits, reply_members};
use super::{Limits, Set};

pub const COMMANDS: &[Spec] = &[
    Spec::data("sinter", -2, READONLY, ALL_KEYS, sinter).doc(
        "1.0.0",
        "set",
        "Returns the members that several sets have in common.",
        "O(N*M) for M sets, N being the members of the smallest",
    ),
    Spec::data("sinterstore", -3, WRITE | DENYOOM, ALL_KEYS, sinterstore).doc(
        "1.0.0",
        "set",
        "Stores the members that several sets have in common.",
        "O(N*M) for M sets, N being the members of the smallest",
    ),
    Spec::data(
        "sintercard",
        -3,
        READONLY | MOVABLEKEYS,
        Keys::Counted { count_at: 1 },
        sintercard,
    )
    .doc(
        "7.0.0",
        "set",
        "Counts the members that several sets have in common.",
        "O(N*M) for M sets, N being the members of the smallest",
    ),
    Spec::data("sunion", -2, READONLY, ALL_KEYS, sunion).doc(
        "1.0.0",
        "set",
        "Returns the members that any of several sets has.",
        "O(N) for N members in all",
    ),
    Spec::data("sunionstore", -3, WRITE | DENYOOM, ALL_KEYS, sunionstore).doc(
        "1.0.0",
        "set",
        "Stores the members that any of several sets has.",
        "O(N) for N members in all",
    ),
    Spec::data("sdiff", -2, READONLY, ALL_KEYS, sdiff).doc(
        "1.0.0",
        "set",
        "Returns the members of a set that no other set has.",
        "O(N) for N members in all",
    ),
    Spec::data("sdiffstore", -3, WRITE | DENYOOM, ALL_KEYS, sdiffstore).doc(
        "1.0.0",
        "set",
        "Stores the members of a set that no other set has.",
        "O(N) for N members in all",
    ),
];

/// Sets under the keys of a request, in its order; None where there is no key.
type Sources<'d> = SmallVec<[Option<TypedRef<'d, Set>>; 4]>;

/// SINTER key [key ...]
fn sinter(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let Some(sets) = ascending(sources(data, args.skip(1))?) else {
        reply.set(0);
        return Ok(Outcome::Replied);
    };
    let mark = reply.begin_deferred();
    let mut length = 0;
    intersect(&sets, |member| {
        reply.element(member);
        length += 1;
        true
    });
    reply.finish_set(mark, length);
    Ok(Outcome::Replied)
}

/// SINTERSTORE destination key [key ...]
fn sinterstore(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let limits = limits(data.config);
    let common = ascending(sources(data, args.skip(2))?).map(|sets| match &sets[..] {
        [only] => Set::clone(only),
        _ => {
            let mut common = Set::from_elements([], &limits);
            let mut digits = Digits::new();
            intersect(&sets, |member| {
                common.add(member.text(&mut digits), &limits)
            });
            common
        }
    });
    store(data, args, common, "sinterstore", reply)
}

/// SINTERCARD numkeys key [key ...] [LIMIT limit]
fn sintercard(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let keys = number::parse_i64(args.get(1))
        .and_then(|count| usize::try_from(count).ok())
        .filter(|&count| count > 0)
        .ok_or(error::NUMKEYS_NOT_POSITIVE)?;
    if keys > args.len() - 2 {
        return Err(error::TOO_MANY_KEYS_NAMED);
    }
    let mut most = usize::MAX;
    let mut at = 2 + keys;
    while at < args.len() {
        if !args.get(at).eq_ignore_ascii_case(b"limit") || at + 1 == args.len() {
            return Err(error::SYNTAX);
        }
        let limit = number::parse_i64(args.get(at + 1))
            .and_then(|limit| usize::try_from(limit).ok())
            .ok_or(error::LIMIT_NEGATIVE)?;
        most = if limit == 0 { usize::MAX } else { limit };
        at += 2;
    }
    let sources = sources(data, args.skip(2).first(keys))?;
    let mut count = 0;
    if let Some(sets) = ascending(sources) {
        intersect(&sets, |_| {
            count += 1;
            count < most
        });
    }
    reply.integer(count as i64);
    Ok(Outcome::Replied)
}

/// SUNION key [key ...]
fn sunion(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let limits = limits(data.config);
    reply_result(union(sources(data, args.skip(1))?, &limits), reply);
    Ok(Outcome::Replied)
}

/// SUNIONSTORE destination key [key ...]
fn sunionstore(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let limits = limits(data.config);
    let union = union(sources(data, args.skip(2))?, &limits);
    store(data, args, union, "sunionstore", reply)
}

/// SDIFF key [key ...]
fn sdiff(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    reply_result(difference(sources(data, args.skip(1))?), reply);
    Ok(Outcome::Replied)
}

/// SDIFFSTORE destination key [key ...]
fn sdiffstore(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let difference = difference(sources(data, args.skip(2))?);
    store(data, args, difference, "sdiffstore", reply)
}

/// Looks all keys up.
///
/// # Errors
/// If one of them is not a set.
fn sources<'d>(data: &'d mut Data, keys: Argv) -> Result<Sources<'d>, CommandError> {
    let mut found = SmallVec::<[(Key, bool); 4]>::new();
    for key in keys.iter().map(Key::new) {
        found.push((key, data.read::<Set>(key)?.is_some()));
    }
    let database = data.database();
    let set = |(key, is_there)| {
        let entry = database.get(key).filter(|_| is_there);
        entry.map(TypedRef::new).transpose()
    };
    found.into_iter().map(set).collect()
}

/// The sets from the smallest to the largest, if all of them are there.
fn ascending<'d>(sources: Sources<'d>) -> Option<SmallVec<[TypedRef<'d, Set>; 4]>> {
    let mut sets = sources
        .into_iter()
        .collect::<Option<SmallVec<[TypedRef<Set>; 4]>>>()?;
    sets.sort_by_key(|set| set.len());
    Some(sets)
}

/// Calls `visit` for each member that all sets have, as long as it returns true. The smallest set comes first.
fn intersect(sets: &[TypedRef<Set>], mut visit: impl FnMut(Element) -> bool) {
    let Some((smallest, others)) = sets.split_first() else {
        return;
    };
    let mut digits = Digits::new();
    for member in smallest.iter() {
        let text = member.text(&mut digits);
        if others.iter().all(|set| set.contains(text)) && !visit(member) {
            return;
        }
    }
}

fn union(sources: Sources, limits: &Limits) -> Option<Set> {
    let largest = (0..sources.len()).max_by_key(|&at| sources[at].as_ref().map(|set| set.len()))?;
    let mut union = Set::clone(sources[largest].as_ref()?);
    for (at, set) in sources.iter().enumerate() {
        if let Some(set) = set
            && at != largest
        {
            union.add_all(set, limits);
        }
    }
    Some(union)
}

/// What the first set has and no other: a clone of it from which is taken either what the others have, or, if that is
/// less work, what is found in one of them.
fn difference(sources: Sources) -> Option<Set> {
    let (first, others) = sources.split_first()?;
    let first = first.as_ref()?;
    let others: SmallVec<[&TypedRef<Set>; 4]> = others.iter().flatten().collect();
    let mut left = Set::clone(first);
    let mut digits = Digits::new();
    let removals: usize = others.iter().map(|set| set.len()).sum();
    if removals < first.len() * others.len() {
        for member in others.iter().flat_map(|set| set.iter()) {
            left.remove(member.text(&mut digits));
        }
    } else {
        for member in first.iter() {
            let text = member.text(&mut digits);
            if others.iter().any(|set| set.contains(text)) {
                left.remove(text);
            }
        }
    }
    Some(left)
}

fn reply_result(result: Option<Set>, reply: &mut Reply) {
    match result {
        Some(set) => reply_members(&set, reply),
        None => reply.set(0),
    }
}

/// Stores a result at word 1, or deletes what is there if the result has no members.
fn store(
    data: &mut Data,
    args: Argv,
    result: Option<Set>,
    event: &'static str,
    reply: &mut Reply,
) -> CommandResult {
    let key = Key::new(args.get(1));
    let limits = limits(data.config);
    match result.filter(|set| !set.is_empty()) {
        Some(set) => {
            let set = set.compacted(&limits);
            reply.integer(set.len() as i64);
            data.store(key, set);
            data.wrote(key, 1, Event::Set, event);
        }
        None => {
            reply.integer(0);
            if data.remove(key) {
                data.wrote(key, 1, Event::Generic, "del");
            }
        }
    }
    Ok(Outcome::Replied)
}

#[cfg(test)]
mod tests {
    use crate::engine::trial::Trial;

    #[test]
    fn what_is_stored_replaces_what_was_there_and_an_empty_result_deletes_it() {
        Trial::new().check(&[
            ("SADD a 1 2 3 x", "sadd a", 4),
            ("SADD b 2 3 4 y", "sadd b", 4),
            ("SET d text", "set d", 1),
            ("SINTERSTORE d a b", "sinterstore d", 1),
            ("SREM d 2 3", "srem d, del d", 2),
            ("SUNIONSTORE d a b none", "sunionstore d", 1),
            ("SREM d 1 2 3 4 x", "srem d", 5),
            ("SDIFFSTORE d a b none", "sdiffstore d", 1),
            ("SREM d 1 x", "srem d, del d", 2),
            ("SINTERSTORE a a none", "del a", 1),
            ("SINTERSTORE a a none", "", 0),
            ("SDIFFSTORE b b b", "del b", 1),
            ("SUNIONSTORE b none", "", 0),
        ]);
    }

    #[test]
    fn sets_of_all_sizes_combine_as_plain_sets_do() {
        let mut trial = Trial::new();
        let add = |trial: &mut Trial, key: &str, numbers: &[u64], word: &str| {
            let members: Vec<String> = numbers.iter().map(|n| format!("{word}{n}")).collect();
            trial.run(&format!("SADD {key} {}", members.join(" ")));
        };
        for word in ["", "m"] {
            for (left, right) in [(10, 10), (10, 600), (600, 10), (600, 600)] {
                trial.run("DEL l");
                trial.run("DEL r");
                let evens: Vec<u64> = (0..left).map(|n| 2 * n).collect();
                let threes: Vec<u64> = (0..right).map(|n| 3 * n).collect();
                add(&mut trial, "l", &evens, word);
                add(&mut trial, "r", &threes, word);
                let common = evens.iter().filter(|n| threes.contains(n)).count() as u64;
                for (request, length) in [
                    ("SINTERSTORE d l r", common),
                    ("SUNIONSTORE d l r", left + right - common),
                    ("SDIFFSTORE d l r", left - common),
                ] {
                    trial.run(request);
                    // Every member of the result is one of those that are expected, and none is missing.
                    let both = [&evens[..], &threes[..]].concat();
                    let expected: Vec<String> = both
                        .iter()
                        .filter(|n| match &request[..5] {
                            "SINTE" => evens.contains(n) && threes.contains(n),
                            "SUNIO" => true,
                            _ => evens.contains(n) && !threes.contains(n),
                        })
                        .map(|n| format!("{word}{n}"))
                        .collect();
                    let removed = trial.run(&format!("SREM d {}", expected.join(" ")));
                    assert_eq!(removed.changes, length, "{request} {left} {right}");
                    assert_eq!(removed.events, "srem d, del d", "{request} {left} {right}");
                }
                // The sources are as they were.
                assert_eq!(trial.run("SUNIONSTORE l l").changes, 1);
                add(&mut trial, "l", &evens, word);
            }
        }
    }
}
