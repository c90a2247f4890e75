//! Strings as numbers: INCR and its kin.

use crate::engine::data::{Data, Event, string_of};
use crate::engine::error::{self, CommandError};
use crate::engine::spec::flag::{DENYOOM, FAST, WRITE};
use crate::engine::spec::{CommandResult, ONE_KEY, Outcome, Spec};
use crate::keyspace::Key;
use crate::keyspace::entry::{Content, Entry, View};
use crate::number::{self, Extended};
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

const FLAGS: u32 = WRITE | DENYOOM | FAST;

pub const COMMANDS: &[Spec] = &[
    Spec::data("incr", 2, FLAGS, ONE_KEY, incr).doc(
        "1.0.0",
        "string",
        "Adds one to the integer value of a key; a missing key counts as 0.",
        "O(1)",
    ),
    Spec::data("decr", 2, FLAGS, ONE_KEY, decr).doc(
        "1.0.0",
        "string",
        "Takes one from the integer value of a key; a missing key counts as 0.",
        "O(1)",
    ),
    Spec::data("incrby", 3, FLAGS, ONE_KEY, incrby).doc(
        "1.0.0",
        "string",
        "Adds a number to the integer value of a key; a missing key counts as 0.",
        "O(1)",
    ),
    Spec::data("decrby", 3, FLAGS, ONE_KEY, decrby).doc(
        "1.0.0",
        "string",
        "Takes a number from the integer value of a key; a missing key counts as 0.",
        "O(1)",
    ),
    Spec::data("incrbyfloat", 3, FLAGS, ONE_KEY, incrbyfloat).doc(
        "2.6.0",
        "string",
        "Adds a number to the floating point value of a key; a missing key counts as 0.",
        "O(1)",
    ),
];

/// INCR key
fn incr(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    add(data, Key::new(args.get(1)), 1, reply)
}

/// DECR key
fn decr(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    add(data, Key::new(args.get(1)), -1, reply)
}

/// INCRBY key increment
fn incrby(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let amount = number::parse_i64(args.get(2)).ok_or(error::NOT_AN_INTEGER)?;
    add(data, Key::new(args.get(1)), amount, reply)
}

/// DECRBY key decrement
fn decrby(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let amount = number::parse_i64(args.get(2)).ok_or(error::NOT_AN_INTEGER)?;
    let amount = amount.checked_neg().ok_or(error::DECREMENT_OVERFLOW)?;
    add(data, Key::new(args.get(1)), amount, reply)
}

/// The sum is written over the old number where it takes the same room.
///
/// All four commands are the same event, `incrby`.
fn add(data: &mut Data, key: Key, amount: i64, reply: &mut Reply) -> CommandResult {
    let sum = if let Some(mut entry) = data.peek_mut(key) {
        let old = match entry.view() {
            View::Int(old) => old,
            _ => string_of(&entry)?
                .to_integer()
                .ok_or(error::NOT_AN_INTEGER)?,
        };
        let sum = old.checked_add(amount).ok_or(error::OVERFLOW)?;
        if !entry.try_overwrite_int(sum) {
            entry.set_content(Content::Int(sum));
        }
        sum
    } else {
        data.store_entry(key, Entry::new(key.bytes, None, Content::Int(amount)));
        amount
    };
    data.wrote(key, 1, Event::String, "incrby");
    reply.integer(sum);
    Ok(Outcome::Replied)
}

/// INCRBYFLOAT key increment
///
/// Recorded as the SET of its result, so that a replica's arithmetic does not matter.
fn incrbyfloat(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let key = Key::new(args.get(1));
    let text = if let Some(mut entry) = data.peek_mut(key) {
        let old = string_of(&entry)?.to_bytes();
        let old = Extended::parse(&old).ok_or(error::NOT_A_FLOAT)?;
        let text = sum_of(old, args.get(2))?;
        entry.set_content(Content::Bytes(&text));
        text
    } else {
        let text = sum_of(Extended::ZERO, args.get(2))?;
        data.store_entry(key, Entry::new(key.bytes, None, Content::Bytes(&text)));
        text
    };
    data.wrote(key, 1, Event::String, "incrbyfloat");
    data.propagate(&[b"SET", key.bytes, &text, b"KEEPTTL"]);
    reply.bulk(&text);
    Ok(Outcome::Replied)
}

fn sum_of(old: Extended, amount: &[u8]) -> Result<Vec<u8>, CommandError> {
    let sum = old + Extended::parse(amount).ok_or(error::NOT_A_FLOAT)?;
    if !sum.is_finite() {
        return Err(error::NAN_OR_INFINITY);
    }
    Ok(sum.to_text())
}
