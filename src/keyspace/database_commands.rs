//! Commands on whole databases: DBSIZE, SWAPDB, FLUSHDB, FLUSHALL.

use crate::cow::table::CowTable;
use crate::engine::Node;
use crate::engine::data::{Data, Garbage};
use crate::engine::error::{self, CommandError};
use crate::engine::spec::flag::{FAST, READONLY, WRITE};
use crate::engine::spec::{CommandResult, Keys, Outcome, Spec};
use crate::engine::watch::{Presence, presence};
use crate::number;
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::entry::Entry;

pub const COMMANDS: &[Spec] = &[
    Spec::data("dbsize", 1, READONLY | FAST, Keys::None, dbsize).doc(
        "1.0.0",
        "server",
        "Counts the keys of the selected database.",
        "O(1)",
    ),
    Spec::data("swapdb", 3, WRITE | FAST, Keys::None, swapdb).doc(
        "4.0.0",
        "server",
        "Swaps the contents of two databases.",
        "O(N) where N is the number of keys under WATCH.",
    ),
    Spec::data("flushdb", -1, WRITE, Keys::None, flushdb).doc(
        "1.0.0",
        "server",
        "Removes all keys from the selected database.",
        "O(1); what they held is freed in the background.",
    ),
    Spec::node("flushall", -1, WRITE, Keys::None, flushall).doc(
        "1.0.0",
        "server",
        "Removes all keys from all databases.",
        "O(D) where D is the number of databases; what they held is freed in the background.",
    ),
];

/// DBSIZE
fn dbsize(data: &mut Data, _: Argv, reply: &mut Reply) -> CommandResult {
    reply.integer(data.database().len() as i64);
    Ok(Outcome::Replied)
}

/// SWAPDB index1 index2
fn swapdb(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let first = database_number(args.get(1)).ok_or(INVALID_FIRST)?;
    let second = database_number(args.get(2)).ok_or(INVALID_SECOND)?;
    let index = |number: i64| {
        usize::try_from(number)
            .ok()
            .filter(|index| *index < data.keyspace.count())
            .ok_or(error::DB_INDEX_OUT_OF_RANGE)
    };
    let (first, second) = (index(first)?, index(second)?);
    if first != second {
        data.keyspace.swap(first, second);
        touch_swapped(data, first, second);
        touch_swapped(data, second, first);
    }
    data.unit.dirty += 1;
    reply.ok();
    Ok(Outcome::Replied)
}

const INVALID_FIRST: CommandError = CommandError::new("ERR invalid first DB index");
const INVALID_SECOND: CommandError = CommandError::new("ERR invalid second DB index");

fn database_number(text: &[u8]) -> Option<i64> {
    number::parse_i64(text).filter(|index| i32::try_from(*index).is_ok())
}

/// What `db` holds now was in `partner` before, and the other way round.
fn touch_swapped(data: &mut Data, db: usize, partner: usize) {
    let (keyspace, now) = (&*data.keyspace, data.now);
    data.watched.touch_database(db, |key| {
        let in_db = |db: usize| presence(keyspace.db(db).table(), key, now);
        (in_db(partner), in_db(db))
    });
}

/// FLUSHDB [ASYNC | SYNC]
fn flushdb(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    check_flush_mode(args)?;
    flush(data);
    propagate_request(data, args);
    reply.ok();
    Ok(Outcome::Replied)
}

/// FLUSHALL [ASYNC | SYNC]
///
/// With save points, the empty dataset is saved: a restart must not bring back what was flushed.
fn flushall(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    check_flush_mode(args)?;
    let engine = &mut *node.engine;
    let db = engine.clients.get(node.client).session.db;
    let (expiry_rule, access_rule) = (engine.expiry_rule(), engine.access_rule());
    let data = &mut engine.data(db, expiry_rule, access_rule);
    for db in 0..data.keyspace.count() {
        data.in_db(db, flush);
    }
    propagate_request(data, args);
    if engine.save_after_flush(node.client) {
        return Ok(Outcome::Parked);
    }
    reply.ok();
    Ok(Outcome::Replied)
}

/// Both words are accepted and mean the same: nothing is ever freed while others wait.
fn check_flush_mode(args: Argv) -> Result<(), CommandError> {
    let known =
        |word: &[u8]| word.eq_ignore_ascii_case(b"ASYNC") || word.eq_ignore_ascii_case(b"SYNC");
    if args.len() > 2 || !args.skip(1).iter().all(known) {
        return Err(error::SYNTAX);
    }
    Ok(())
}

/// Empties the selected database.
fn flush(data: &mut Data) {
    let removed: CowTable<Entry> = data.keyspace.db_mut(data.db).take();
    data.unit.dirty += removed.len() as u64;
    let now = data.now;
    data.watched.touch_database(data.db, |key| {
        (presence(&removed, key, now), Presence::Missing)
    });
    if !removed.is_empty() {
        data.garbage.push(Garbage::Table(removed));
    }
}

/// Recorded even where nothing was removed: a replica may hold what this node does not.
fn propagate_request(data: &mut Data, args: Argv) {
    let words: Vec<&[u8]> = args.iter().collect();
    data.propagate(&words);
}
