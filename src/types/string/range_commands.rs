//! Strings by parts: APPEND, GETRANGE, SETRANGE, STRLEN. Of a long string only the parts that are asked for are touched.

use crate::engine::data::{Data, Event, ExpiryChange, ExpiryRule, StringValue, Text, string_of};
use crate::engine::error;
use crate::engine::spec::flag::{DENYOOM, FAST, READONLY, WRITE};
use crate::engine::spec::{CommandResult, ONE_KEY, Outcome, Spec};
use crate::keyspace::{Key, edit};
use crate::number;
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

pub const COMMANDS: &[Spec] = &[
    Spec::data("append", 3, WRITE | DENYOOM | FAST, ONE_KEY, append).doc(
        "2.0.0",
        "string",
        "Adds bytes behind the string value of a key; a missing key counts as empty.",
        "O(1) for short values: a long string is kept in chunks, and only its last one is touched.",
    ),
    Spec::data("strlen", 2, READONLY | FAST, ONE_KEY, strlen).doc(
        "2.2.0",
        "string",
        "Returns the length of the string value of a key.",
        "O(1)",
    ),
    Spec::data("getrange", 4, READONLY, ONE_KEY, getrange).doc(
        "2.4.0",
        "string",
        "Returns a part of the string value of a key.",
        "O(N) where N is the length of the part.",
    ),
    Spec::data("substr", 4, READONLY, ONE_KEY, getrange).doc(
        "1.0.0",
        "string",
        "Returns a part of the string value of a key: the old name of GETRANGE.",
        "O(N) where N is the length of the part.",
    ),
    Spec::data("setrange", 4, WRITE | DENYOOM, ONE_KEY, setrange).doc(
        "2.2.0",
        "string",
        "Overwrites a part of the string value of a key, which grows with zeros as far as needed.",
        "O(N) where N is the length of what is written, or of the gap that is filled.",
    ),
];

/// APPEND key value
fn append(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let (key, tail) = (Key::new(args.get(1)), args.get(2));
    let limit = length_limit(data);
    let length = if let Some(mut entry) = data.peek_mut(key) {
        let length = string_of(&entry)?.len() + tail.len();
        if length as u64 > limit {
            return Err(error::STRING_TOO_LONG);
        }
        edit::append(&mut entry, tail);
        length
    } else {
        let value = StringValue {
            bytes: tail,
            shared: args.shared(2),
        };
        data.set_string(key, value, ExpiryChange::Set(None));
        tail.len()
    };
    data.wrote(key, 1, Event::String, "append");
    reply.integer(length as i64);
    Ok(Outcome::Replied)
}

/// STRLEN key
fn strlen(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let length = match data.find(Key::new(args.get(1))) {
        Some(entry) => string_of(&entry)?.len(),
        None => 0,
    };
    reply.integer(length as i64);
    Ok(Outcome::Replied)
}

/// GETRANGE key start end; SUBSTR likewise
fn getrange(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let start = number::parse_i64(args.get(2)).ok_or(error::NOT_AN_INTEGER)?;
    let end = number::parse_i64(args.get(3)).ok_or(error::NOT_AN_INTEGER)?;
    let Some(entry) = data.find(Key::new(args.get(1))) else {
        reply.bulk(b"");
        return Ok(Outcome::Replied);
    };
    let text = string_of(&entry)?;
    match byte_range(start, end, text.len()) {
        None => reply.bulk(b""),
        Some((from, to)) => match text {
            Text::Int(_) | Text::Bytes(_) => reply.bulk(&text.to_bytes()[from..to]),
            Text::Big(string) => reply.bulk_pieces(to - from, string.slices(from, to)),
        },
    }
    Ok(Outcome::Replied)
}

/// SETRANGE key offset value
fn setrange(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let (key, bytes) = (Key::new(args.get(1)), args.get(3));
    let offset = number::parse_i64(args.get(2)).ok_or(error::NOT_AN_INTEGER)?;
    let offset = usize::try_from(offset).map_err(|_| error::OFFSET_OUT_OF_RANGE)?;
    let end = offset.saturating_add(bytes.len());
    let fits = end as u64 <= length_limit(data);
    let length = if let Some(mut entry) = data.peek_mut(key) {
        let old = string_of(&entry)?.len();
        if bytes.is_empty() {
            reply.integer(old as i64);
            return Ok(Outcome::Replied);
        }
        if !fits {
            return Err(error::STRING_TOO_LONG);
        }
        edit::write_at(&mut entry, offset, bytes);
        old.max(end)
    } else {
        if bytes.is_empty() {
            reply.integer(0);
            return Ok(Outcome::Replied);
        }
        if !fits {
            return Err(error::STRING_TOO_LONG);
        }
        data.store_entry(key, edit::new_entry(key.bytes, offset, bytes));
        end
    };
    data.wrote(key, 1, Event::String, "setrange");
    reply.integer(length as i64);
    Ok(Outcome::Replied)
}

/// How long a string may become. What a master has done is done here too.
fn length_limit(data: &Data) -> u64 {
    if data.expiry_rule == ExpiryRule::Ignore {
        // Far beyond any memory, and no sum of two such lengths overflows.
        1 << 48
    } else {
        data.config.proto_max_bulk_len
    }
}

/// The bytes from `start` to `end`, both included and counted from the end where negative, as a half-open range; `None`
/// if that is empty.
fn byte_range(start: i64, end: i64, length: usize) -> Option<(usize, usize)> {
    let length = length as i64;
    if start < 0 && end < 0 && start > end {
        return None;
    }
    let from_end = |index: i64| {
        if index < 0 {
            (index + length).max(0)
        } else {
            index
        }
    };
    let (start, end) = (from_end(start), from_end(end).min(length - 1));
    (start <= end).then(|| (start as usize, end as usize + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_clipped_as_redis_clips_them() {
        let all = Some((0, 5));
        let cases = [
            ((0, -1), all),
            ((0, 100), all),
            ((-100, 100), all),
            ((1, 3), Some((1, 4))),
            ((-2, -1), Some((3, 5))),
            ((-1, -2), None),
            ((0, -100), Some((0, 1))),
            ((-200, -100), Some((0, 1))),
            ((5, 10), None),
            ((3, 2), None),
            ((i64::MIN, i64::MAX), all),
            ((i64::MAX, i64::MIN), None),
        ];
        for ((start, end), expected) in cases {
            assert_eq!(byte_range(start, end, 5), expected, "{start} {end}");
        }
        assert_eq!(byte_range(0, -1, 0), None);
    }
}
