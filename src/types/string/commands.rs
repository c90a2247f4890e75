//! String commands: GET, SET and their kin.

use crate::clock::UnixMillis;
use crate::engine::data::{Data, Event, ExpiryChange, StringValue, string_of};
use crate::engine::error::{self, CommandError};
use crate::engine::spec::flag::{DENYOOM, FAST, READONLY, WRITE};
use crate::engine::spec::{CommandResult, ONE_KEY, Outcome, Spec};
use crate::keyspace::Key;
use crate::number;
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

pub const COMMANDS: &[Spec] = &[
    Spec::data("get", 2, READONLY | FAST, ONE_KEY, get).doc(
        "1.0.0",
        "string",
        "Returns the string value of a key.",
        "O(1)",
    ),
    Spec::data("set", -3, WRITE | DENYOOM, ONE_KEY, set).doc(
        "1.0.0",
        "string",
        "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.",
        "O(1)",
    ),
];

/// GET key
fn get(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    match data.find(Key::new(args.get(1))) {
        Some(entry) => string_of(&entry)?.reply(reply),
        None => reply.null(),
    }
    Ok(Outcome::Replied)
}

/// SET key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT seconds | PXAT milliseconds | KEEPTTL]
fn set(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let key = Key::new(args.get(1));
    let value = StringValue {
        bytes: args.get(2),
        shared: args.shared(2),
    };
    if args.len() == 3 {
        data.set_string(key, value, ExpiryChange::Set(None));
        data.wrote(key, 1, Event::String, "set");
        reply.ok();
        return Ok(Outcome::Replied);
    }
    let options = SetOptions::parse(args, data.now)?;
    let exists = if options.get {
        match data.find(key) {
            Some(entry) => {
                string_of(&entry)?.reply(reply);
                true
            }
            None => {
                reply.null();
                false
            }
        }
    } else {
        data.exists(key)
    };
    if (options.only_if_missing && exists) || (options.only_if_present && !exists) {
        if !options.get {
            reply.null();
        }
        return Ok(Outcome::Replied);
    }
    data.set_string(key, value, options.expiry);
    data.wrote(key, 1, Event::String, "set");
    if let ExpiryChange::Set(Some(at)) = options.expiry {
        data.unit
            .note_event(Event::Generic, "expire", data.db, key.bytes);
        let mut digits = itoa::Buffer::new();
        data.propagate(&[
            b"SET",
            key.bytes,
            value.bytes,
            b"PXAT",
            digits.format(at.0).as_bytes(),
        ]);
    } else if options.get {
        let kept: Vec<&[u8]> = args
            .iter()
            .enumerate()
            .filter(|(at, word)| *at < 3 || !word.eq_ignore_ascii_case(b"GET"))
            .map(|(_, word)| word)
            .collect();
        data.propagate(&kept);
    }
    if !options.get {
        reply.ok();
    }
    Ok(Outcome::Replied)
}

struct SetOptions {
    only_if_missing: bool,
    only_if_present: bool,
    get: bool,
    expiry: ExpiryChange,
}

impl SetOptions {
    fn parse(args: Argv, now: UnixMillis) -> Result<Self, CommandError> {
        let mut options = SetOptions {
            only_if_missing: false,
            only_if_present: false,
            get: false,
            expiry: ExpiryChange::Set(None),
        };
        let mut has_expiry = false;
        let mut at = 3;
        while at < args.len() {
            let word = args.get(at).to_ascii_uppercase();
            match &word[..] {
                b"NX" if !options.only_if_present => options.only_if_missing = true,
                b"XX" if !options.only_if_missing => options.only_if_present = true,
                b"GET" => options.get = true,
                b"KEEPTTL" if !has_expiry => {
                    has_expiry = true;
                    options.expiry = ExpiryChange::Keep;
                }
                b"EX" | b"PX" | b"EXAT" | b"PXAT" if !has_expiry && at + 1 < args.len() => {
                    has_expiry = true;
                    at += 1;
                    options.expiry =
                        ExpiryChange::Set(Some(expiry_at(&word, args.get(at), now, "set")?));
                }
                _ => return Err(error::SYNTAX),
            }
            at += 1;
        }
        Ok(options)
    }
}

/// The moment that `EX n` and its like mean. `command` is named in the error.
pub fn expiry_at(
    unit: &[u8],
    text: &[u8],
    now: UnixMillis,
    command: &str,
) -> Result<UnixMillis, CommandError> {
    let invalid = || CommandError::from(format!("ERR invalid expire time in '{command}' command"));
    let amount = number::parse_i64(text).ok_or(error::NOT_AN_INTEGER)?;
    if amount <= 0 {
        return Err(invalid());
    }
    let millis = if matches!(unit, b"EX" | b"EXAT") {
        amount.checked_mul(1000).ok_or_else(invalid)?
    } else {
        amount
    };
    let base = if matches!(unit, b"EX" | b"PX") {
        now.0
    } else {
        0
    };
    millis.checked_add(base).map(UnixMillis).ok_or_else(invalid)
}
