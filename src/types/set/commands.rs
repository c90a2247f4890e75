//! Set commands on one set, and SMOVE: SADD, SPOP, SSCAN and their kin.

use smallvec::SmallVec;

use crate::config::Config;
use crate::engine::collection::{Named, remove_elements, scan_elements};
use crate::engine::data::{Data, Event};
use crate::engine::error;
use crate::engine::random_count::RandomCount;
use crate::engine::spec::flag::{DENYOOM, FAST, READONLY, WRITE};
use crate::engine::spec::{CommandResult, ONE_KEY, Outcome, Spec, TWO_KEYS};
use crate::keyspace::Key;
use crate::number::{self, Digits};
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;
use crate::types::Kind;

use super::{Limits, Set};

pub const COMMANDS: &[Spec] = &[
    Spec::data("sadd", -3, WRITE | DENYOOM | FAST, ONE_KEY, sadd).doc(
        "1.0.0",
        "set",
        "Adds members to a set, which is made if it doesn't exist.",
        "O(1) for each member",
    ),
    Spec::data("srem", -3, WRITE | FAST, ONE_KEY, srem).doc(
        "1.0.0",
        "set",
        "Takes members out of a set. A set without members ceases to exist.",
        "O(1) for each member",
    ),
    Spec::data("sismember", 3, READONLY | FAST, ONE_KEY, sismember).doc(
        "1.0.0",
        "set",
        "Tells whether a set has a member.",
        "O(1)",
    ),
    Spec::data("smismember", -3, READONLY | FAST, ONE_KEY, smismember).doc(
        "6.2.0",
        "set",
        "Tells for each of several members whether a set has it.",
        "O(1) for each member",
    ),
    Spec::data("scard", 2, READONLY | FAST, ONE_KEY, scard).doc(
        "1.0.0",
        "set",
        "Counts the members of a set.",
        "O(1)",
    ),
    Spec::data("smembers", 2, READONLY, ONE_KEY, smembers).doc(
        "1.0.0",
        "set",
        "Returns all members of a set.",
        "O(N) for N members",
    ),
    Spec::data("spop", -2, WRITE | FAST, ONE_KEY, spop).doc(
        "1.0.0",
        "set",
        "Takes random members out of a set and returns them.",
        "O(1) for each member taken",
    ),
    Spec::data("srandmember", -2, READONLY, ONE_KEY, srandmember).doc(
        "1.0.0",
        "set",
        "Returns random members of a set.",
        "O(N) for N members returned",
    ),
    Spec::data("smove", 4, WRITE | FAST, TWO_KEYS, smove).doc(
        "1.0.0",
        "set",
        "Moves a member from one set to another.",
        "O(1)",
    ),
    Spec::data("sscan", -3, READONLY, ONE_KEY, sscan).doc(
        "2.8.0",
        "set",
        "Goes through the members of a set step by step.",
        "O(1) for each call, O(N) for a whole round over N members",
    ),
];

/// Members that one SREM of a replaced SPOP names.
const REMOVALS_PER_EFFECT: usize = 1024;

pub fn limits(config: &Config) -> Limits {
    Limits {
        intset_entries: config.set_max_intset_entries,
        listpack_entries: config.set_max_listpack_entries,
        listpack_value_bytes: config.set_max_listpack_value,
    }
}

/// SADD key member [member ...]
fn sadd(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let key = Key::new(args.get(1));
    let limits = limits(data.config);
    let count = args.len() - 2;
    let mut set = data.write_or_new(key, |_| Set::for_members(args.get(2), count, &limits))?;
    set.expect(count, &limits);
    let mut added = 0;
    for member in args.skip(2).iter() {
        added += u64::from(set.add(member, &limits));
    }
    drop(set);
    if added > 0 {
        data.wrote(key, added, Event::Set, "sadd");
    }
    reply.integer(added as i64);
    Ok(Outcome::Replied)
}

/// SREM key member [member ...]
fn srem(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    remove_elements::<Set>(data, args, reply, Event::Set, "srem")
}

/// SISMEMBER key member
fn sismember(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let set = data.read::<Set>(Key::new(args.get(1)))?;
    reply.integer(set.is_some_and(|set| set.contains(args.get(2))).into());
    Ok(Outcome::Replied)
}

/// SMISMEMBER key member [member ...]
fn smismember(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let set = data.read::<Set>(Key::new(args.get(1)))?;
    let members = args.skip(2);
    reply.array(members.len());
    for member in members.iter() {
        reply.integer(set.as_ref().is_some_and(|set| set.contains(member)).into());
    }
    Ok(Outcome::Replied)
}

/// SCARD key
fn scard(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let set = data.read::<Set>(Key::new(args.get(1)))?;
    reply.integer(set.map_or(0, |set| set.len() as i64));
    Ok(Outcome::Replied)
}

/// SMEMBERS key
fn smembers(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    match data.read::<Set>(Key::new(args.get(1)))? {
        Some(set) => reply_members(&set, reply),
        None => reply.set(0),
    }
    Ok(Outcome::Replied)
}

/// SPOP key [count]
fn spop(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let key = Key::new(args.get(1));
    match args.len() {
        2 => pop_one(data, key, reply),
        3 => {
            let count =
                number::parse_i64(args.get(2)).and_then(|count| usize::try_from(count).ok());
            pop_many(data, key, count.ok_or(error::MUST_BE_POSITIVE)?, reply)
        }
        _ => Err(error::SYNTAX),
    }
}

fn pop_one(data: &mut Data, key: Key, reply: &mut Reply) -> CommandResult {
    let mut random = data.random.fork();
    let Some(mut set) = data.write::<Set>(key)? else {
        reply.null();
        return Ok(Outcome::Replied);
    };
    let mut popped = SmallVec::<[u8; 64]>::new();
    set.pop(&mut random, |member| {
        reply.element(member);
        popped.extend_from_slice(member.text(&mut Digits::new()));
    });
    let is_empty = set.is_empty();
    drop(set);
    data.wrote(key, 1, Event::Set, "spop");
    data.propagate(&[b"SREM", key.bytes, &popped]);
    if is_empty {
        data.delete_emptied(key);
    }
    Ok(Outcome::Replied)
}

fn pop_many(data: &mut Data, key: Key, count: usize, reply: &mut Reply) -> CommandResult {
    let limits = limits(data.config);
    let mut random = data.random.fork();
    let Some(mut set) = data.write::<Set>(key)?.filter(|_| count > 0) else {
        reply.set(0);
        return Ok(Outcome::Replied);
    };
    let length = set.len();
    if count >= length {
        reply_members(&set, reply);
        drop(set);
        data.wrote(key, length as u64, Event::Set, "spop");
        data.propagate(&[b"DEL", key.bytes]);
        data.delete_emptied(key);
        return Ok(Outcome::Replied);
    }
    reply.set(count);
    let kept = length - count;
    let mut removals = Removals::default();
    if kept < count / 5 {
        // So few are left that it is cheaper to choose these.
        let before = set.retain_random(kept, &mut random, &limits);
        let kept = set.clone();
        drop(set);
        for member in before.iter() {
            let mut digits = Digits::new();
            let text = member.text(&mut digits);
            if !kept.contains(text) {
                reply.bulk(text);
                removals.push(text);
                if removals.len() == REMOVALS_PER_EFFECT {
                    removals.propagate(data, key);
                }
            }
        }
        data.discard_value(before.into_value());
    } else {
        drop(set);
        let mut left = count;
        while left > 0 {
            let batch = left.min(REMOVALS_PER_EFFECT);
            if let Some(mut set) = data.write::<Set>(key)? {
                for _ in 0..batch {
                    set.pop(&mut random, |member| {
                        reply.element(member);
                        removals.push(member.text(&mut Digits::new()));
                    });
                }
            }
            removals.propagate(data, key);
            left -= batch;
        }
    }
    removals.propagate(data, key);
    data.wrote(key, count as u64, Event::Set, "spop");
    Ok(Outcome::Replied)
}

/// Members that have been taken out and are to be named to replicas, one behind the other.
#[derive(Default)]
struct Removals {
    text: Vec<u8>,
    /// Where each member ends.
    ends: Vec<usize>,
}

impl Removals {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn push(&mut self, member: &[u8]) {
        self.text.extend_from_slice(member);
        self.ends.push(self.text.len());
    }

    /// Records one SREM of what has come together, in place of the request.
    fn propagate(&mut self, data: &mut Data, key: Key) {
        if self.ends.is_empty() {
            return;
        }
        let mut words: Vec<&[u8]> = vec![b"SREM", key.bytes];
        let mut start = 0;
        for &end in &self.ends {
            words.push(&self.text[start..end]);
            start = end;
        }
        data.propagate(&words);
        self.text.clear();
        self.ends.clear();
    }
}

/// SRANDMEMBER key [count]
fn srandmember(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let key = Key::new(args.get(1));
    if args.len() == 2 {
        let mut random = data.random.fork();
        let set = data.read::<Set>(key)?;
        match set.as_ref().and_then(|set| set.random(&mut random)) {
            Some(member) => reply.element(member),
            None => reply.null(),
        }
        return Ok(Outcome::Replied);
    }
    if args.len() > 3 {
        return Err(error::SYNTAX);
    }
    let wanted = RandomCount::parse(args.get(2))?;
    let mut random = data.random.fork();
    let Some(set) = data.read::<Set>(key)? else {
        reply.array(0);
        return Ok(Outcome::Replied);
    };
    wanted.check_reply()?;
    match wanted {
        RandomCount::Draw(count) => {
            reply.array(count);
            set.draw(count, &mut random, |member| reply.element(member));
        }
        RandomCount::Choose(count) => {
            reply.array(count.min(set.len()));
            set.choose(count, &mut random, |member| reply.element(member));
        }
    }
    Ok(Outcome::Replied)
}

/// SMOVE source destination member
fn smove(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let (source, destination) = (Key::new(args.get(1)), Key::new(args.get(2)));
    let member = args.get(3);
    // Whatever is decided below, both keys have been looked at, and end here if their time has passed.
    data.exists(source);
    data.exists(destination);
    let Some(set) = data.write::<Set>(source)? else {
        reply.integer(0);
        return Ok(Outcome::Replied);
    };
    if source.bytes == destination.bytes {
        reply.integer(set.contains(member).into());
        return Ok(Outcome::Replied);
    }
    drop(set);
    data.write::<Set>(destination)?;
    let Some(mut set) = data.write::<Set>(source)? else {
        reply.integer(0);
        return Ok(Outcome::Replied);
    };
    if !set.remove(member) {
        reply.integer(0);
        return Ok(Outcome::Replied);
    }
    let is_empty = set.is_empty();
    drop(set);
    data.wrote(source, 1, Event::Set, "srem");
    if is_empty {
        data.delete_emptied(source);
    }
    let limits = limits(data.config);
    let mut set = data.write_or_new(destination, |_| Set::for_members(member, 1, &limits))?;
    let is_new = set.add(member, &limits);
    drop(set);
    if is_new {
        data.wrote(destination, 1, Event::Set, "sadd");
    }
    reply.integer(1);
    Ok(Outcome::Replied)
}

/// SSCAN key cursor [MATCH pattern] [COUNT count]
fn sscan(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    scan_elements(data, args, reply, |set: &Set, cursor, page| {
        set.scan(cursor, |member| {
            page.visit(member);
        })
    })
}

impl Named for Set {
    fn remove(&mut self, member: &[u8]) -> bool {
        Set::remove(self, member)
    }

    fn is_empty(&self) -> bool {
        Set::is_empty(self)
    }
}

/// All members, as a set.
pub(super) fn reply_members(set: &Set, reply: &mut Reply) {
    reply.set(set.len());
    for member in set.iter() {
        reply.element(member);
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::trial::{Done, Trial};

    #[test]
    fn events_and_numbers_of_changes_are_those_of_redis() {
        Trial::new().check(&[
            ("SADD s a b c a", "sadd s", 3),
            ("SADD s a", "", 0),
            ("SREM s a nope", "srem s", 1),
            ("SREM s nope", "", 0),
            ("SREM none a", "", 0),
            ("SMOVE s t b", "srem s, sadd t", 2),
            ("SMOVE s t nope", "", 0),
            ("SMOVE s s c", "", 0),
            ("SADD t c", "sadd t", 1),
            ("SMOVE s t c", "srem s, del s", 1),
            ("SREM t b c", "srem t, del t", 2),
            ("SPOP none", "", 0),
            ("SPOP none 3", "", 0),
        ]);
    }

    #[test]
    fn a_pop_is_recorded_as_the_members_it_took() {
        let mut trial = Trial::new();
        trial.run("SADD s a");
        let pop = |events: &str, changes, effect: &str| Done {
            effect: Some(effect.into()),
            ..Done::verbatim(events, changes)
        };
        assert_eq!(trial.run("SPOP s"), pop("spop s, del s", 1, "SREM s a"));
        trial.run("SADD s a b");
        assert_eq!(trial.run("SPOP s 0"), Done::verbatim("", 0));
        assert_eq!(trial.run("SPOP s 2"), pop("spop s, del s", 2, "DEL s"));
    }

    #[test]
    fn a_pop_of_many_is_recorded_in_pieces_and_leaves_the_rest() {
        for count in [1023, 1024, 1025, 2500, 2990] {
            let mut trial = Trial::new();
            let members: Vec<String> = (0..3000).map(|number| format!("m{number}")).collect();
            trial.run(&format!("SADD s {}", members.join(" ")));
            let done = trial.run(&format!("SPOP s {count}"));
            assert_eq!((done.events.as_str(), done.changes), ("spop s", count));
            let effect = done.effect.expect("members instead of a count");
            let removals: Vec<&str> = effect
                .split("; ")
                .filter(|effect| effect.starts_with("SREM s "))
                .collect();
            assert_eq!(removals.len() as u64, count.div_ceil(1024), "{count}");
            let left = trial.run(&format!("SREM s {}", members.join(" ")));
            assert_eq!(
                (left.events.as_str(), left.changes),
                ("srem s, del s", 3000 - count)
            );
            // On a replica the same members are left.
            let mut replica = Trial::new();
            replica.run(&format!("SADD s {}", members.join(" ")));
            let removed: u64 = removals.iter().map(|srem| replica.run(srem).changes).sum();
            assert_eq!(removed, count);
        }
    }
}
