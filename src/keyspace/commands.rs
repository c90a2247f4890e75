//! Commands on keys whatever they hold: DEL, EXISTS, TYPE, RENAME, COPY, MOVE.

use crate::engine::data::{Data, Event};
use crate::engine::error::{self, CommandError};
use crate::engine::spec::flag::{DENYOOM, FAST, READONLY, WRITE};
use crate::engine::spec::{ALL_KEYS, CommandResult, ONE_KEY, Outcome, Spec, TWO_KEYS};
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::Key;
use super::access;

pub const COMMANDS: &[Spec] = &[
    Spec::data("del", -2, WRITE, ALL_KEYS, del).doc(
        "1.0.0",
        "generic",
        "Deletes one or more keys.",
        "O(N) where N is the number of keys; what big values held is freed in the background.",
    ),
    Spec::data("unlink", -2, WRITE | FAST, ALL_KEYS, unlink).doc(
        "4.0.0",
        "generic",
        "Deletes one or more keys, as DEL does here too: big values are freed in the background.",
        "O(N) where N is the number of keys.",
    ),
    Spec::data("exists", -2, READONLY | FAST, ALL_KEYS, exists).doc(
        "1.0.0",
        "generic",
        "Counts how many of the given keys exist.",
        "O(N) where N is the number of keys.",
    ),
    Spec::data("type", 2, READONLY | FAST, ONE_KEY, type_of).doc(
        "1.0.0",
        "generic",
        "Tells which type of value a key holds.",
        "O(1)",
    ),
    Spec::data("touch", -2, READONLY | FAST, ALL_KEYS, touch).doc(
        "3.2.1",
        "generic",
        "Counts how many of the given keys exist, and notes that they were used.",
        "O(N) where N is the number of keys.",
    ),
    Spec::data("rename", 3, WRITE, TWO_KEYS, rename).doc(
        "1.0.0",
        "generic",
        "Gives a key another name and overwrites what has that name.",
        "O(1)",
    ),
    Spec::data("renamenx", 3, WRITE | FAST, TWO_KEYS, renamenx).doc(
        "1.0.0",
        "generic",
        "Gives a key another name, if that is free.",
        "O(1)",
    ),
    Spec::data("copy", -3, WRITE | DENYOOM, TWO_KEYS, copy).doc(
        "6.2.0",
        "generic",
        "Copies the value of a key to another key.",
        "O(1) for big values, whose nodes both keys share; O(N) for small ones.",
    ),
    Spec::data("move", 3, WRITE | FAST, ONE_KEY, move_key).doc(
        "1.0.0",
        "generic",
        "Moves a key to another database.",
        "O(1)",
    ),
];

/// DEL key [key ...]
fn del(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    delete_all(data, args, "del", reply)
}

/// UNLINK key [key ...]
fn unlink(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    delete_all(data, args, "del", reply)
}

fn delete_all(
    data: &mut Data,
    args: Argv,
    event: &'static str,
    reply: &mut Reply,
) -> CommandResult {
    let mut deleted = 0;
    data.for_each_key(args.skip(1).iter(), |data, key| {
        if data.delete(key) {
            data.wrote(key, 1, Event::Generic, event);
            deleted += 1;
        }
    });
    reply.integer(deleted);
    Ok(Outcome::Replied)
}

/// EXISTS key [key ...]
fn exists(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let mut found = 0;
    data.for_each_key(args.skip(1).iter(), |data, key| {
        found += i64::from(data.inspect(key).is_some());
    });
    reply.integer(found);
    Ok(Outcome::Replied)
}

/// TYPE key
fn type_of(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let found = data.inspect(Key::new(args.get(1)));
    reply.simple(found.map_or("none", |entry| entry.type_of().name()));
    Ok(Outcome::Replied)
}

/// TOUCH key [key ...]
fn touch(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let mut found = 0;
    data.for_each_key(args.skip(1).iter(), |data, key| {
        found += i64::from(data.find(key).is_some());
    });
    reply.integer(found);
    Ok(Outcome::Replied)
}

/// RENAME key newkey
fn rename(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    rename_to(data, Key::new(args.get(1)), Key::new(args.get(2)), true)?;
    reply.ok();
    Ok(Outcome::Replied)
}

/// RENAMENX key newkey
fn renamenx(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let renamed = rename_to(data, Key::new(args.get(1)), Key::new(args.get(2)), false)?;
    reply.integer(i64::from(renamed));
    Ok(Outcome::Replied)
}

/// True if the key has moved; a key that is renamed to itself has not.
fn rename_to(
    data: &mut Data,
    from: Key,
    to: Key,
    may_overwrite: bool,
) -> Result<bool, CommandError> {
    if !data.exists(from) {
        return Err(error::NO_SUCH_KEY);
    }
    if from.bytes == to.bytes {
        return Ok(false);
    }
    if data.exists(to) {
        if !may_overwrite {
            return Ok(false);
        }
        data.delete(to);
    }
    let entry = data.take(from).ok_or(error::NO_SUCH_KEY)?;
    data.put_entry(to, entry.renamed(to.bytes));
    data.wrote(from, 1, Event::Generic, "rename_from");
    data.wrote(to, 0, Event::Generic, "rename_to");
    Ok(true)
}

/// COPY source destination [DB destination-db] [REPLACE]
fn copy(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let (from, to) = (Key::new(args.get(1)), Key::new(args.get(2)));
    let (mut db, mut replace) = (data.db, false);
    let mut at = 3;
    while at < args.len() {
        if args.get(at).eq_ignore_ascii_case(b"REPLACE") {
            replace = true;
        } else if args.get(at).eq_ignore_ascii_case(b"DB") && at + 1 < args.len() {
            at += 1;
            db = database_index(data, args.get(at))?;
        } else {
            return Err(error::SYNTAX);
        }
        at += 1;
    }
    if db == data.db && from.bytes == to.bytes {
        return Err(error::SAME_OBJECT);
    }
    let Some(entry) = data.find(from).map(|entry| entry.clone()) else {
        reply.integer(0);
        return Ok(Outcome::Replied);
    };
    let fresh = access::fresh(data.access_rule, data.now);
    let copied = data.in_db(db, |data| {
        if data.exists(to) {
            if !replace {
                return false;
            }
            data.delete(to);
        }
        // The entry is shared with the source, so its value is cloned and not moved.
        let copied = entry.renamed(to.bytes);
        copied.set_access(fresh);
        data.put_entry(to, copied);
        data.wrote(to, 1, Event::Generic, "copy_to");
        true
    });
    reply.integer(i64::from(copied));
    Ok(Outcome::Replied)
}

/// MOVE key db
fn move_key(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let key = Key::new(args.get(1));
    let db = database_index(data, args.get(2))?;
    if db == data.db {
        return Err(error::SAME_OBJECT);
    }
    let free = data.exists(key) && !data.in_db(db, |data| data.exists(key));
    if free && let Some(entry) = data.take(key) {
        data.in_db(db, |data| data.put_entry(key, entry));
        data.wrote(key, 1, Event::Generic, "move_from");
        data.in_db(db, |data| data.wrote(key, 0, Event::Generic, "move_to"));
    }
    reply.integer(i64::from(free));
    Ok(Outcome::Replied)
}

fn database_index(data: &Data, text: &[u8]) -> Result<usize, CommandError> {
    let index = error::parse_i32(text)?;
    usize::try_from(index)
        .ok()
        .filter(|index| *index < data.keyspace.count())
        .ok_or(error::DB_INDEX_OUT_OF_RANGE)
}
