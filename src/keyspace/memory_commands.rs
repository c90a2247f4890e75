//! MEMORY USAGE: what one key costs.

use crate::engine::data::Data;
use crate::engine::error;
use crate::engine::spec::flag::READONLY;
use crate::engine::spec::{CommandResult, Keys, Outcome, Spec};
use crate::number;
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;
use crate::types::Value;

use super::entry::{Entry, View};
use super::{Database, Key};

/// The row of MEMORY USAGE; the container is in `stats`.
pub const USAGE: Spec = Spec::data(
    "memory|usage",
    -3,
    READONLY,
    Keys::Range {
        first: 2,
        last: 2,
        step: 1,
    },
    usage,
)
.doc(
    "4.0.0",
    "server",
    "Estimates how many bytes of memory a key and its value take.",
    "O(1)",
);

/// MEMORY USAGE key [SAMPLES count]
///
/// SAMPLES is accepted and without meaning: no element is looked at by itself.
fn usage(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let mut at = 3;
    while at < args.len() {
        if !args.get(at).eq_ignore_ascii_case(b"SAMPLES") || at + 1 == args.len() {
            return Err(error::SYNTAX);
        }
        let samples = number::parse_i64(args.get(at + 1)).ok_or(error::NOT_AN_INTEGER)?;
        if samples < 0 {
            return Err(error::SYNTAX);
        }
        at += 2;
    }
    let database = data.database();
    match database.get(Key::new(args.get(2))) {
        Some(entry) => reply.integer(bytes_of(database, &entry) as i64),
        None => reply.null(),
    }
    Ok(Outcome::Replied)
}

/// The entry's allocation, what its value has on the heap, and its share of the table's nodes.
fn bytes_of(database: &Database, entry: &Entry) -> usize {
    let value = match entry.view() {
        View::Value(value) => size_of::<Value>() + value.heap_bytes(),
        View::Int(_) | View::Bytes(_) => 0,
    };
    entry.own_bytes() + value + database.heap_bytes() / database.len().max(1)
}
