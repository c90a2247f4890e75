//! Looking for keys without knowing them: SCAN, KEYS, RANDOMKEY.

use crate::engine::data::{Data, ExpiryRule};
use crate::engine::error::{self, CommandError};
use crate::engine::spec::flag::{READONLY, TOUCHES_ARBITRARY_KEYS};
use crate::engine::spec::{CommandResult, Keys, Outcome, Spec};
use crate::glob;
use crate::number::{self, Digits};
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::Key;

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

/// How many leaves one call of SCAN visits at most, for each key it is to return: with a pattern that matches little, a
/// call ends without having found anything.
const LEAVES_PER_COUNT: usize = 10;

/// How often RANDOMKEY draws again when it meets a key that has expired but may not be deleted.
const DRAWS_MAX: usize = 100;

/// SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]
fn scan(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let mut cursor = number::parse_cursor(args.get(1)).ok_or(error::INVALID_CURSOR)?;
    let options = Options::parse(args)?;
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut expired: Vec<Vec<u8>> = Vec::new();
    let now = data.now;
    let may_expire = data.expiry_rule != ExpiryRule::Ignore && data.database().volatile_len() > 0;
    for _ in 0..options.count.saturating_mul(LEAVES_PER_COUNT) {
        cursor = data.database().scan(cursor, |entry| {
            if !options.admits(entry.key(), || entry.type_of().name()) {
                return;
            }
            if may_expire && entry.is_expired(now) {
                expired.push(entry.key().to_vec());
            } else {
                found.push(entry.key().to_vec());
            }
        });
        if cursor == 0 || found.len() + expired.len() >= options.count {
            break;
        }
    }
    if data.decides_expiry() {
        for key in &expired {
            data.expire(Key::new(key));
        }
    }
    reply.array(2);
    reply.bulk(Digits::new().of(cursor));
    reply.array(found.len());
    for key in &found {
        reply.bulk(key);
    }
    Ok(Outcome::Replied)
}

struct Options<'a> {
    pattern: Option<&'a [u8]>,
    count: usize,
    type_name: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(args: Argv<'a>) -> Result<Self, CommandError> {
        let mut options = Options {
            pattern: None,
            count: 10,
            type_name: None,
        };
        let mut at = 2;
        while at < args.len() {
            let word = args.get(at);
            if at + 1 == args.len() {
                return Err(error::SYNTAX);
            }
            let value = args.get(at + 1);
            if word.eq_ignore_ascii_case(b"COUNT") {
                let count = number::parse_i64(value).ok_or(error::NOT_AN_INTEGER)?;
                options.count = usize::try_from(count).unwrap_or(0);
                if options.count == 0 {
                    return Err(error::SYNTAX);
                }
            } else if word.eq_ignore_ascii_case(b"MATCH") {
                options.pattern = Some(value).filter(|pattern| *pattern != b"*");
            } else if word.eq_ignore_ascii_case(b"TYPE") {
                options.type_name = Some(value);
            } else {
                return Err(error::SYNTAX);
            }
            at += 2;
        }
        Ok(options)
    }

    fn admits(&self, key: &[u8], type_name: impl FnOnce() -> &'static str) -> bool {
        self.type_name
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(type_name().as_bytes()))
            && self
                .pattern
                .is_none_or(|pattern| glob::matches(pattern, key, false))
    }
}

/// KEYS pattern
fn keys(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let pattern = args.get(1);
    let all = pattern == b"*";
    let now = data.now;
    let may_expire = data.expiry_rule != ExpiryRule::Ignore && data.database().volatile_len() > 0;
    let mark = reply.begin_deferred();
    let mut count = 0;
    for entry in data.database().table().iter() {
        let matches = all || glob::matches(pattern, entry.key(), false);
        if matches && !(may_expire && entry.is_expired(now)) {
            reply.bulk(entry.key());
            count += 1;
        }
    }
    reply.finish_array(mark, count);
    Ok(Outcome::Replied)
}

/// RANDOMKEY
fn randomkey(data: &mut Data, _: Argv, reply: &mut Reply) -> CommandResult {
    for draw in 0.. {
        let database = data.keyspace.db(data.db);
        let Some(entry) = database.random(data.random) else {
            break;
        };
        let hidden = data.expiry_rule != ExpiryRule::Ignore && entry.is_expired(data.now);
        if !hidden || (!data.decides_expiry() && draw >= DRAWS_MAX) {
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
