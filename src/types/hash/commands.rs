//! Hash commands: HSET, HGET, HSCAN and their kin.

use crate::compact::Element;
use crate::config::Config;
use crate::engine::collection::{Named, remove_elements, scan_elements};
use crate::engine::data::{Data, Event};
use crate::engine::error::{self, CommandError};
use crate::engine::random_count::RandomCount;
use crate::engine::spec::flag::{DENYOOM, FAST, READONLY, WRITE};
use crate::engine::spec::{CommandResult, ONE_KEY, Outcome, Spec};
use crate::keyspace::Key;
use crate::number::{self, Digits, Extended};
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::{Hash, Limits};

pub const COMMANDS: &[Spec] = &[
    Spec::data("hset", -4, WRITE | DENYOOM | FAST, ONE_KEY, hset).doc(
        "2.0.0",
        "hash",
        "Sets fields of a hash, which is made if it doesn't exist.",
        "O(1) for each field",
    ),
    Spec::data("hsetnx", 4, WRITE | DENYOOM | FAST, ONE_KEY, hsetnx).doc(
        "2.0.0",
        "hash",
        "Sets a field of a hash unless it exists.",
        "O(1)",
    ),
    Spec::data("hmset", -4, WRITE | DENYOOM | FAST, ONE_KEY, hmset).doc(
        "2.0.0",
        "hash",
        "Sets fields of a hash.",
        "O(1) for each field",
    ),
    Spec::data("hget", 3, READONLY | FAST, ONE_KEY, hget).doc(
        "2.0.0",
        "hash",
        "Returns the value of a field.",
        "O(1)",
    ),
    Spec::data("hmget", -3, READONLY | FAST, ONE_KEY, hmget).doc(
        "2.0.0",
        "hash",
        "Returns the values of several fields.",
        "O(1) for each field",
    ),
    Spec::data("hgetall", 2, READONLY, ONE_KEY, hgetall).doc(
        "2.0.0",
        "hash",
        "Returns all fields of a hash with their values.",
        "O(N) for N fields",
    ),
    Spec::data("hkeys", 2, READONLY, ONE_KEY, hkeys).doc(
        "2.0.0",
        "hash",
        "Returns all fields of a hash.",
        "O(N) for N fields",
    ),
    Spec::data("hvals", 2, READONLY, ONE_KEY, hvals).doc(
        "2.0.0",
        "hash",
        "Returns all values of a hash.",
        "O(N) for N fields",
    ),
    Spec::data("hlen", 2, READONLY | FAST, ONE_KEY, hlen).doc(
        "2.0.0",
        "hash",
        "Counts the fields of a hash.",
        "O(1)",
    ),
    Spec::data("hdel", -3, WRITE | FAST, ONE_KEY, hdel).doc(
        "2.0.0",
        "hash",
        "Takes fields out of a hash. A hash without fields ceases to exist.",
        "O(1) for each field",
    ),
    Spec::data("hexists", 3, READONLY | FAST, ONE_KEY, hexists).doc(
        "2.0.0",
        "hash",
        "Tells whether a hash has a field.",
        "O(1)",
    ),
    Spec::data("hstrlen", 3, READONLY | FAST, ONE_KEY, hstrlen).doc(
        "3.2.0",
        "hash",
        "Returns the length of the value of a field.",
        "O(1)",
    ),
    Spec::data("hincrby", 4, WRITE | DENYOOM | FAST, ONE_KEY, hincrby).doc(
        "2.0.0",
        "hash",
        "Adds to the integer in a field, which counts as 0 if it doesn't exist.",
        "O(1)",
    ),
    Spec::data(
        "hincrbyfloat",
        4,
        WRITE | DENYOOM | FAST,
        ONE_KEY,
        hincrbyfloat,
    )
    .doc(
        "2.6.0",
        "hash",
        "Adds to the number in a field, which counts as 0 if it doesn't exist.",
        "O(1)",
    ),
    Spec::data("hrandfield", -2, READONLY, ONE_KEY, hrandfield).doc(
        "6.2.0",
        "hash",
        "Returns random fields of a hash.",
        "O(N) for N fields returned",
    ),
    Spec::data("hscan", -3, READONLY, ONE_KEY, hscan).doc(
        "2.8.0",
        "hash",
        "Goes through the fields of a hash step by step.",
        "O(1) for each call, O(N) for a whole round over N fields",
    ),
];

pub fn limits(config: &Config) -> Limits {
    Limits {
        listpack_entries: config.hash_max_listpack_entries,
        listpack_value_bytes: config.hash_max_listpack_value,
    }
}

/// HSET key field value [field value ...]
fn hset(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    if !args.len().is_multiple_of(2) {
        return Err(error::wrong_arity("hset"));
    }
    let added = set_fields(data, args)?;
    reply.integer(added);
    Ok(Outcome::Replied)
}

/// HMSET key field value [field value ...]
fn hmset(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    if !args.len().is_multiple_of(2) {
        return Err(error::wrong_arity("hmset"));
    }
    set_fields(data, args)?;
    reply.ok();
    Ok(Outcome::Replied)
}

/// Sets the fields named from word 2 on. Returns how many were not there.
fn set_fields(data: &mut Data, args: Argv) -> Result<i64, CommandError> {
    let key = Key::new(args.get(1));
    let limits = limits(data.config);
    let count = (args.len() - 2) / 2;
    let mut hash = data.write_or_new(key, |_| Hash::for_fields(count, &limits))?;
    hash.expect(count, &limits);
    let mut added = 0;
    for at in (2..args.len()).step_by(2) {
        added += i64::from(hash.set(args.get(at), args.get(at + 1), &limits));
    }
    drop(hash);
    data.wrote(key, count as u64, Event::Hash, "hset");
    Ok(added)
}

/// HSETNX key field value
fn hsetnx(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let key = Key::new(args.get(1));
    let limits = limits(data.config);
    let mut hash = data.write_or_new(key, |_| Hash::new())?;
    let is_there = hash.contains(args.get(2));
    if !is_there {
        hash.set(args.get(2), args.get(3), &limits);
        drop(hash);
        data.wrote(key, 1, Event::Hash, "hset");
    }
    reply.integer((!is_there).into());
    Ok(Outcome::Replied)
}

/// HGET key field
fn hget(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let hash = data.read::<Hash>(Key::new(args.get(1)))?;
    reply_value(hash.as_ref().and_then(|hash| hash.get(args.get(2))), reply);
    Ok(Outcome::Replied)
}

/// HMGET key field [field ...]
fn hmget(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let hash = data.read::<Hash>(Key::new(args.get(1)))?;
    let fields = args.skip(2);
    reply.array(fields.len());
    for field in fields.iter() {
        reply_value(hash.as_ref().and_then(|hash| hash.get(field)), reply);
    }
    Ok(Outcome::Replied)
}

fn reply_value(value: Option<Element>, reply: &mut Reply) {
    match value {
        Some(value) => reply.element(value),
        None => reply.null(),
    }
}

/// HGETALL key
fn hgetall(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let hash = data.read::<Hash>(Key::new(args.get(1)))?;
    reply.map(hash.as_ref().map_or(0, |hash| hash.len()));
    for (field, value) in hash.iter().flat_map(|hash| hash.iter()) {
        reply.element(field);
        reply.element(value);
    }
    Ok(Outcome::Replied)
}

/// HKEYS key
fn hkeys(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let hash = data.read::<Hash>(Key::new(args.get(1)))?;
    reply.array(hash.as_ref().map_or(0, |hash| hash.len()));
    for (field, _) in hash.iter().flat_map(|hash| hash.iter()) {
        reply.element(field);
    }
    Ok(Outcome::Replied)
}

/// HVALS key
fn hvals(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let hash = data.read::<Hash>(Key::new(args.get(1)))?;
    reply.array(hash.as_ref().map_or(0, |hash| hash.len()));
    for (_, value) in hash.iter().flat_map(|hash| hash.iter()) {
        reply.element(value);
    }
    Ok(Outcome::Replied)
}

/// HLEN key
fn hlen(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let hash = data.read::<Hash>(Key::new(args.get(1)))?;
    reply.integer(hash.map_or(0, |hash| hash.len() as i64));
    Ok(Outcome::Replied)
}

/// HDEL key field [field ...]
fn hdel(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    remove_elements::<Hash>(data, args, reply, Event::Hash, "hdel")
}

/// HEXISTS key field
fn hexists(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let hash = data.read::<Hash>(Key::new(args.get(1)))?;
    reply.integer(hash.is_some_and(|hash| hash.contains(args.get(2))).into());
    Ok(Outcome::Replied)
}

/// HSTRLEN key field
fn hstrlen(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let hash = data.read::<Hash>(Key::new(args.get(1)))?;
    let value = hash.as_ref().and_then(|hash| hash.get(args.get(2)));
    reply.integer(value.map_or(0, |value| value.text_len() as i64));
    Ok(Outcome::Replied)
}

/// HINCRBY key field increment
fn hincrby(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let (key, field) = (Key::new(args.get(1)), args.get(2));
    let increment = number::parse_i64(args.get(3)).ok_or(error::NOT_AN_INTEGER)?;
    let limits = limits(data.config);
    let mut hash = data.write_or_new(key, |_| Hash::new())?;
    let old = match hash.get(field) {
        Some(value) => value.to_int().ok_or(error::NOT_AN_INTEGER_IN_HASH)?,
        None => 0,
    };
    let sum = old.checked_add(increment).ok_or(error::OVERFLOW)?;
    hash.set(field, Digits::new().of(sum), &limits);
    drop(hash);
    data.wrote(key, 1, Event::Hash, "hincrby");
    reply.integer(sum);
    Ok(Outcome::Replied)
}

/// HINCRBYFLOAT key field increment
///
/// Replicas are told the sum: their arithmetic need not be ours.
fn hincrbyfloat(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let (key, field) = (Key::new(args.get(1)), args.get(2));
    let increment = Extended::parse(args.get(3)).ok_or(error::NOT_A_FLOAT)?;
    if !increment.is_finite() {
        return Err(error::INFINITE_INCREMENT);
    }
    let limits = limits(data.config);
    let mut hash = data.write_or_new(key, |_| Hash::new())?;
    let old = match hash.get(field) {
        Some(Element::Int(value)) => Extended::from(value),
        Some(Element::Str(text)) => Extended::parse(text).ok_or(error::NOT_A_FLOAT_IN_HASH)?,
        None => Extended::from(0i64),
    };
    let sum = old + increment;
    if !sum.is_finite() {
        return Err(error::NAN_OR_INFINITY);
    }
    let text = sum.to_text();
    hash.set(field, &text, &limits);
    drop(hash);
    data.wrote(key, 1, Event::Hash, "hincrbyfloat");
    data.propagate(&[b"HSET", key.bytes, field, &text]);
    reply.bulk(&text);
    Ok(Outcome::Replied)
}

/// HRANDFIELD key [count [WITHVALUES]]
fn hrandfield(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let key = Key::new(args.get(1));
    if args.len() == 2 {
        let mut random = data.random.fork();
        let hash = data.read::<Hash>(key)?;
        let drawn = hash.as_ref().and_then(|hash| hash.random(&mut random));
        reply_value(drawn.map(|(field, _)| field), reply);
        return Ok(Outcome::Replied);
    }
    let wanted = RandomCount::parse(args.get(2))?;
    let with_values = match args.len() {
        3 => false,
        4 if args.get(3).eq_ignore_ascii_case(b"withvalues") => true,
        _ => return Err(error::SYNTAX),
    };
    if with_values {
        wanted.check_pairs()?;
    }
    let mut random = data.random.fork();
    let Some(hash) = data.read::<Hash>(key)? else {
        reply.array(0);
        return Ok(Outcome::Replied);
    };
    wanted.check_reply()?;
    let (RandomCount::Draw(count) | RandomCount::Choose(count)) = wanted;
    let length = match wanted {
        RandomCount::Draw(_) => count,
        RandomCount::Choose(_) => count.min(hash.len()),
    };
    let are_nested = with_values && reply.is_resp3();
    reply.array(if with_values && !are_nested {
        2 * length
    } else {
        length
    });
    let answer = |field: Element, value: Element| {
        if are_nested {
            reply.array(2);
        }
        reply.element(field);
        if with_values {
            reply.element(value);
        }
    };
    match wanted {
        RandomCount::Draw(_) => hash.draw(count, &mut random, answer),
        RandomCount::Choose(_) => hash.choose(count, &mut random, answer),
    }
    Ok(Outcome::Replied)
}

/// HSCAN key cursor [MATCH pattern] [COUNT count]
fn hscan(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    scan_elements(data, args, reply, |hash: &Hash, cursor, page| {
        hash.scan(cursor, |field, value| {
            page.visit_pair(field, |reply| reply.element(value));
        })
    })
}

impl Named for Hash {
    fn remove(&mut self, field: &[u8]) -> bool {
        Hash::remove(self, field)
    }

    fn is_empty(&self) -> bool {
        Hash::is_empty(self)
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::trial::{Done, Trial};

    #[test]
    fn events_and_numbers_of_changes_are_those_of_redis() {
        let mut trial = Trial::new();
        trial.check(&[
            ("HSET h a 1 b 2", "hset h", 2),
            ("HSET h a 1", "hset h", 1),
            ("HMSET h c x", "hset h", 1),
            ("HSETNX h a 5", "", 0),
            ("HSETNX h d 5", "hset h", 1),
            ("HINCRBY h b 40", "hincrby h", 1),
            ("HDEL h nope", "", 0),
            ("HDEL none a", "", 0),
            ("HDEL h a nope b", "hdel h", 2),
            ("HDEL h c d", "hdel h, del h", 2),
        ]);
        let sum = trial.run("HINCRBYFLOAT h f 1.5");
        let expected = Done {
            effect: Some("HSET h f 1.5".into()),
            ..Done::verbatim("hincrbyfloat h", 1)
        };
        assert_eq!(sum, expected);
    }
}
