//! OBJECT: how a value is kept and when it was used.

use crate::engine::data::Data;
use crate::engine::error::CommandError;
use crate::engine::help;
use crate::engine::spec::flag::{LOADING, READONLY, STALE};
use crate::engine::spec::{CommandResult, Keys, Outcome, Spec};
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::Key;
use super::access::{self, AccessRule};
use super::entry::{Entry, View};

pub const COMMANDS: &[Spec] = &[Spec::container("object", OBJECT).doc(
    "2.2.3",
    "generic",
    "A container for commands that look at how values are kept.",
    "Depends on subcommand.",
)];

/// The key stands at word 2.
const KEY: Keys = Keys::Range {
    first: 2,
    last: 2,
    step: 1,
};

const OBJECT: &[Spec] = &[
    Spec::data("object|encoding", 3, READONLY, KEY, encoding).doc(
        "2.2.3",
        "generic",
        "Names the encoding of a value.",
        "O(1)",
    ),
    Spec::data("object|freq", 3, READONLY, KEY, freq).doc(
        "4.0.0",
        "generic",
        "Returns the logarithmic counter of how often a key is used.",
        "O(1)",
    ),
    Spec::data("object|idletime", 3, READONLY, KEY, idletime).doc(
        "2.2.3",
        "generic",
        "Returns how many seconds ago a key was last used.",
        "O(1)",
    ),
    Spec::data("object|refcount", 3, READONLY, KEY, refcount).doc(
        "2.2.3",
        "generic",
        "Returns the number of references to a value.",
        "O(1)",
    ),
    Spec::data("object|help", 2, LOADING | STALE, Keys::None, object_help).doc(
        "6.2.0",
        "generic",
        "Lists the subcommands.",
        "O(1)",
    ),
];

const NO_IDLE_TIME: CommandError = CommandError::new(
    "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at \
     runtime LRU and LFU data will take some time to adjust.",
);
const NO_FREQUENCY: CommandError = CommandError::new(
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between \
     policies at runtime LRU and LFU data will take some time to adjust.",
);

/// Strings of up to this length lie in one allocation with their header in Redis, which OBJECT ENCODING tells apart.
const EMBEDDED_BYTES_MAX: usize = 44;

/// Small integers are shared objects in Redis, with a count that stands for "forever".
const SHARED_INTEGERS: std::ops::Range<i64> = 0..10_000;
const SHARED_COUNT: i64 = i32::MAX as i64;

/// The name that OBJECT ENCODING has for the value of an entry.
pub fn encoding_of(entry: &Entry) -> &'static str {
    match entry.view() {
        View::Int(_) => "int",
        View::Bytes(bytes) if bytes.len() <= EMBEDDED_BYTES_MAX && !entry.is_edited() => "embstr",
        View::Bytes(_) => "raw",
        View::Value(value) => value.encoding(),
    }
}

/// OBJECT ENCODING key
fn encoding(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    match data.inspect_silently(Key::new(args.get(2))) {
        Some(entry) => reply.bulk(encoding_of(&entry).as_bytes()),
        None => reply.null(),
    }
    Ok(Outcome::Replied)
}

/// OBJECT REFCOUNT key
fn refcount(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    match data
        .inspect_silently(Key::new(args.get(2)))
        .map(|entry| match entry.view() {
            View::Int(value) if SHARED_INTEGERS.contains(&value) => SHARED_COUNT,
            _ => 1,
        }) {
        Some(count) => reply.integer(count),
        None => reply.null(),
    }
    Ok(Outcome::Replied)
}

/// OBJECT IDLETIME key
fn idletime(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let (rule, now) = (policy(data), data.now);
    let Some(entry) = data.inspect_silently(Key::new(args.get(2))) else {
        reply.null();
        return Ok(Outcome::Replied);
    };
    if matches!(rule, AccessRule::Lfu { .. }) {
        return Err(NO_IDLE_TIME);
    }
    reply.integer(access::idle_seconds(entry.access(), now) as i64);
    Ok(Outcome::Replied)
}

/// OBJECT FREQ key
fn freq(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let (rule, now) = (policy(data), data.now);
    let Some(entry) = data.inspect_silently(Key::new(args.get(2))) else {
        reply.null();
        return Ok(Outcome::Replied);
    };
    let AccessRule::Lfu { decay_minutes, .. } = rule else {
        return Err(NO_FREQUENCY);
    };
    reply.integer(i64::from(access::frequency(
        entry.access(),
        decay_minutes,
        now,
    )));
    Ok(Outcome::Replied)
}

/// OBJECT HELP
fn object_help(_: &mut Data, _: Argv, reply: &mut Reply) -> CommandResult {
    help::reply_help(
        reply,
        "OBJECT",
        &[
            "ENCODING <key>",
            "    How the value of the key is kept in memory.",
            "FREQ <key>",
            "    How often the key is used, as a logarithmic counter; under an LFU policy only.",
            "IDLETIME <key>",
            "    Seconds since the key was last used; not under an LFU policy.",
            "REFCOUNT <key>",
            "    How many references there are to the value.",
        ],
    )
}

/// What accesses are kept as, whatever this client's own ones do.
fn policy(data: &Data) -> AccessRule {
    AccessRule::of(data.config)
}
