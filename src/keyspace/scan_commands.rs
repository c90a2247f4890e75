//! Looking for keys without knowing them: SCAN, KEYS, RANDOMKEY.

use crate::clock::UnixMillis;
use crate::engine::data::{Data, ExpiryRule};
use crate::engine::scan::{self, ScanOptions, ScanReply};
use crate::engine::spec::flag::{READONLY, TOUCHES_ARBITRARY_KEYS};
use crate::engine::spec::{CommandResult, Keys, Outcome, Spec};
use crate::glob;
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::Key;
use super::entry::Entry;

const FLAGS: u32 = READONLY | TOUCHES_ARBITRARY_KEYS;

pub const COMMANDS: &[Spec] = &[
    Spec::data("scan", -2, FLAGS, Keys::None, scan).doc(
        "2.8.0",
        "generic",
        "Iterates over the keys of the selected database, some with each call.",
        "O(1) for each call, O(N) for a whole round over N keys.",
    ),
    Spec::data("keys", 2, FLAGS, Keys::None, keys).doc(
        "1.0.0",
        "generic",
        "Returns all keys whose names match a pattern.",
        "O(N) where N is the number of keys in the database.",
    ),
    Spec::data("randomkey", 1, FLAGS, Keys::None, randomkey).doc(
        "1.0.0",
        "generic",
        "Returns the name of a key at random.",
        "O(1)",
    ),
];

/// How often RANDOMKEY draws again when it meets a key that has expired but may not be deleted.
const DRAWS_MAX: usize = 100;

/// SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]
fn scan(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let cursor = scan::parse_cursor(args.get(1))?;
    let options = ScanOptions::parse(args, 2, true)?;
    let hidden = Hidden::of(data);
    let mut expired: Vec<Vec<u8>> = Vec::new();
    let mut found = ScanReply::begin(reply);
    let next = options.walk_table(data.database().table(), cursor, |entry| {
        if !options.matches(entry.key()) {
            return;
        }
        // To look at the type is to look at the key, which ends what has expired.
        if hidden.hides(entry) {
            expired.push(entry.key().to_vec());
        } else if options
            .type_name
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(entry.type_of().name().as_bytes()))
        {
            reply.bulk(entry.key());
            found.length += 1;
        }
    });
    found.finish(reply, next);
    if data.decides_expiry() {
        for key in &expired {
            data.expire(Key::new(key));
        }
    }
    Ok(Outcome::Replied)
}

/// Which keys are there and yet are not, because their time has passed.
struct Hidden {
    /// Later than any expiry that counts.
    before: Option<UnixMillis>,
}

impl Hidden {
    fn of(data: &Data) -> Self {
        let counts = data.expiry_rule != ExpiryRule::Ignore && data.database().volatile_len() > 0;
        Hidden {
            before: counts.then_some(data.now),
        }
    }

    fn hides(&self, entry: &Entry) -> bool {
        self.before.is_some_and(|now| entry.is_expired(now))
    }
}

/// KEYS pattern
fn keys(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let pattern = args.get(1);
    let all = pattern == b"*";
    let hidden = Hidden::of(data);
    let mark = reply.begin_deferred();
    let mut count = 0;
    for entry in data.database().table().iter() {
        let matches = all || glob::matches(pattern, entry.key(), false);
        if matches && !hidden.hides(&entry) {
            reply.bulk(entry.key());
            count += 1;
        }
    }
    reply.finish_array(mark, count);
    Ok(Outcome::Replied)
}

/// RANDOMKEY
fn randomkey(data: &mut Data, _: Argv, reply: &mut Reply) -> CommandResult {
    let hidden = Hidden::of(data);
    for draw in 0.. {
        let database = data.keyspace.db(data.db);
        let Some(entry) = database.random(data.random) else {
            break;
        };
        if !hidden.hides(&entry) || (!data.decides_expiry() && draw >= DRAWS_MAX) {
            reply.bulk(entry.key());
            return Ok(Outcome::Replied);
        }
        if data.decides_expiry() {
            let key = entry.key().to_vec();
            data.expire(Key::new(&key));
        }
    }
    reply.null();
    Ok(Outcome::Replied)
}
