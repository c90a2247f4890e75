//! List commands that work by position or by value.

use std::ops::Range;

use crate::compact::Element;
use crate::engine::data::{Data, Event};
use crate::engine::error::{self, CommandError};
use crate::engine::spec::flag::{DENYOOM, FAST, READONLY, WRITE};
use crate::engine::spec::{CommandResult, ONE_KEY, Outcome, Spec};
use crate::keyspace::Key;
use crate::number;
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::commands::{discard, incoming, limits, write_element};
use super::{End, List, ListElement};

pub const COMMANDS: &[Spec] = &[
    Spec::data("llen", 2, READONLY | FAST, ONE_KEY, llen).doc(
        "1.0.0",
        "list",
        "Returns the length of a list.",
        "O(1)",
    ),
    Spec::data("lrange", 4, READONLY, ONE_KEY, lrange).doc(
        "1.0.0",
        "list",
        "Returns a range of elements from a list.",
        "O(log(S)+N) where S is the length of the list and N is the number of elements in the specified range.",
    ),
    Spec::data("lindex", 3, READONLY, ONE_KEY, lindex).doc(
        "1.0.0",
        "list",
        "Returns an element from a list by its index.",
        "O(log(N)) where N is the length of the list.",
    ),
    Spec::data("lset", 4, WRITE | DENYOOM, ONE_KEY, lset).doc(
        "1.0.0",
        "list",
        "Sets the value of an element in a list by its index.",
        "O(log(N)) where N is the length of the list.",
    ),
    Spec::data("lrem", 4, WRITE, ONE_KEY, lrem).doc(
        "1.0.0",
        "list",
        "Removes elements from a list. Deletes the list if the last element was removed.",
        "O(N+M) where N is the length of the list and M is the number of elements removed.",
    ),
    Spec::data("ltrim", 4, WRITE, ONE_KEY, ltrim).doc(
        "1.0.0",
        "list",
        "Removes elements from both ends a list. Deletes the list if all elements were trimmed.",
        "O(log(N)) where N is the length of the list; what is removed is freed in the background.",
    ),
    Spec::data("linsert", 5, WRITE | DENYOOM, ONE_KEY, linsert).doc(
        "2.2.0",
        "list",
        "Inserts an element before or after another element in a list.",
        "O(N) where N is the number of elements to traverse before seeing the value pivot.",
    ),
    Spec::data("lpos", -3, READONLY, ONE_KEY, lpos).doc(
        "6.0.6",
        "list",
        "Returns the index of matching elements in a list.",
        "O(N) where N is the number of elements in the list, for the average case. When searching for elements near the \
         head or the tail of the list, or when the MAXLEN option is provided, the command may run in constant time.",
    ),
];

/// LLEN key
fn llen(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let length = data
        .read::<List>(Key::new(args.get(1)))?
        .map_or(0, |list| list.len());
    reply.integer(length as i64);
    Ok(Outcome::Replied)
}

/// LRANGE key start stop
fn lrange(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let start = integer(args.get(2))?;
    let stop = integer(args.get(3))?;
    let Some(list) = data.read::<List>(Key::new(args.get(1)))? else {
        reply.array(0);
        return Ok(Outcome::Replied);
    };
    let span = span(start, stop, list.len());
    reply.array(span.len());
    for element in list.iter_from(span.start).take(span.len()) {
        write_element(element, reply);
    }
    Ok(Outcome::Replied)
}

/// LINDEX key index
fn lindex(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let Some(list) = data.read::<List>(Key::new(args.get(1)))? else {
        reply.null();
        return Ok(Outcome::Replied);
    };
    let index = integer(args.get(2))?;
    match place(index, list.len()).and_then(|index| list.get(index)) {
        Some(element) => write_element(element, reply),
        None => reply.null(),
    }
    Ok(Outcome::Replied)
}

/// LSET key index element
fn lset(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let key = Key::new(args.get(1));
    let limits = limits(data.config);
    let mut list = data.write::<List>(key)?.ok_or(error::NO_SUCH_KEY)?;
    let index = integer(args.get(2))?;
    let index = place(index, list.len()).ok_or(error::INDEX_OUT_OF_RANGE)?;
    list.set(index, incoming(args, 3), limits);
    drop(list);
    data.wrote(key, 1, Event::List, "lset");
    reply.ok();
    Ok(Outcome::Replied)
}

/// LREM key count element
fn lrem(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let key = Key::new(args.get(1));
    let limits = limits(data.config);
    let count = integer(args.get(2))?;
    let Some(mut list) = data.write::<List>(key)? else {
        reply.integer(0);
        return Ok(Outcome::Replied);
    };
    let from = if count < 0 { End::Back } else { End::Front };
    let most = match usize::try_from(count.unsigned_abs()) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(most) => most,
    };
    let removed = list.remove_matching(args.get(3), from, most, limits);
    let is_empty = list.is_empty();
    drop(list);
    if removed > 0 {
        data.wrote(key, removed as u64, Event::List, "lrem");
    }
    if is_empty {
        data.delete_emptied(key);
    }
    reply.integer(removed as i64);
    Ok(Outcome::Replied)
}

/// LTRIM key start stop
fn ltrim(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let key = Key::new(args.get(1));
    let limits = limits(data.config);
    let start = integer(args.get(2))?;
    let stop = integer(args.get(3))?;
    let Some(mut list) = data.write::<List>(key)? else {
        reply.ok();
        return Ok(Outcome::Replied);
    };
    let length = list.len();
    let kept = span(start, stop, length);
    let behind = list.remove_range(kept.end, length, limits);
    let before = list.remove_range(0, kept.start, limits);
    drop(list);
    discard(data, behind);
    discard(data, before);
    // The event is fired even where everything was kept; an effect it is only where something went.
    data.wrote(key, (length - kept.len()) as u64, Event::List, "ltrim");
    if kept.is_empty() {
        data.delete_emptied(key);
    }
    reply.ok();
    Ok(Outcome::Replied)
}

/// LINSERT key <BEFORE | AFTER> pivot element
fn linsert(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let key = Key::new(args.get(1));
    let limits = limits(data.config);
    let is_after = args.get(2).eq_ignore_ascii_case(b"AFTER");
    if !is_after && !args.get(2).eq_ignore_ascii_case(b"BEFORE") {
        return Err(error::SYNTAX);
    }
    let Some(mut list) = data.write::<List>(key)? else {
        reply.integer(0);
        return Ok(Outcome::Replied);
    };
    let matches = matcher(args.get(3));
    let Some(pivot) = list.iter().position(matches) else {
        reply.integer(-1);
        return Ok(Outcome::Replied);
    };
    list.insert(pivot + usize::from(is_after), incoming(args, 4), limits);
    let length = list.len();
    drop(list);
    data.wrote(key, 1, Event::List, "linsert");
    reply.integer(length as i64);
    Ok(Outcome::Replied)
}

/// LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len]
fn lpos(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let search = Search::parse(args)?;
    let list = data.read::<List>(Key::new(args.get(1)))?;
    let mark = reply.begin_deferred();
    let mut found = 0;
    if let Some(list) = &list {
        let matches = matcher(args.get(2));
        let length = list.len();
        let mut passed = 0;
        let mut meet = |index: usize, element: ListElement| {
            if matches(element) {
                passed += 1;
                if passed >= search.rank {
                    reply.integer(index as i64);
                    found += 1;
                }
            }
            found < search.most
        };
        match search.from {
            End::Front => {
                let mut elements = list.iter().take(search.max_length).enumerate();
                elements.all(|(index, element)| meet(index, element));
            }
            End::Back if length > 0 => {
                let elements = list.iter_back_from(length - 1).take(search.max_length);
                let mut elements = elements.enumerate();
                elements.all(|(index, element)| meet(length - 1 - index, element));
            }
            End::Back => {}
        }
    }
    match (search.counted, found) {
        (true, _) => reply.finish_array(mark, found),
        (false, 0) => reply.null(),
        (false, _) => {}
    }
    Ok(Outcome::Replied)
}

/// What LPOS looks for.
struct Search {
    from: End,
    /// The first match of interest, from 1.
    rank: u64,
    most: usize,
    /// COUNT was given: the reply is an array.
    counted: bool,
    /// Elements to compare at most.
    max_length: usize,
}

impl Search {
    fn parse(args: Argv) -> Result<Self, CommandError> {
        let mut search = Search {
            from: End::Front,
            rank: 1,
            most: 1,
            counted: false,
            max_length: usize::MAX,
        };
        // Zero is no limit.
        let limit = |text, negative| match number::parse_i64(text) {
            Some(0) => Ok(usize::MAX),
            Some(limit) => usize::try_from(limit).map_err(|_| negative),
            None => Err(negative),
        };
        let mut at = 3;
        while at < args.len() {
            let option = args.get(at);
            if at + 1 == args.len() {
                return Err(error::SYNTAX);
            }
            let value = args.get(at + 1);
            if option.eq_ignore_ascii_case(b"RANK") {
                let rank = integer(value)?;
                search.from = match rank {
                    0 => return Err(error::RANK_ZERO),
                    i64::MIN => return Err(error::MAGNITUDE_OUT_OF_RANGE),
                    _ if rank < 0 => End::Back,
                    _ => End::Front,
                };
                search.rank = rank.unsigned_abs();
            } else if option.eq_ignore_ascii_case(b"COUNT") {
                search.most = limit(value, error::COUNT_NEGATIVE)?;
                search.counted = true;
            } else if option.eq_ignore_ascii_case(b"MAXLEN") {
                search.max_length = limit(value, error::MAXLEN_NEGATIVE)?;
            } else {
                return Err(error::SYNTAX);
            }
            at += 2;
        }
        Ok(search)
    }
}

/// A test for elements that are `text`, which is looked at once and not for each of them.
fn matcher(text: &[u8]) -> impl Fn(ListElement) -> bool {
    let value = number::parse_i64(text);
    move |element| match element {
        ListElement::Packed(Element::Int(found)) => value == Some(found),
        ListElement::Packed(Element::Str(found)) => found == text,
        ListElement::Plain(found) => found == text,
    }
}

fn integer(text: &[u8]) -> Result<i64, CommandError> {
    number::parse_i64(text).ok_or(error::NOT_AN_INTEGER)
}

/// The place of an index that counts from the end where negative.
fn place(index: i64, length: usize) -> Option<usize> {
    let index = if index < 0 {
        index + length as i64
    } else {
        index
    };
    usize::try_from(index).ok().filter(|index| *index < length)
}

/// The places from `start` to `stop`, both included, both counted from the end where negative. What lies outside is cut off.
fn span(start: i64, stop: i64, length: usize) -> Range<usize> {
    let from_start = |index: i64| {
        if index < 0 {
            index + length as i64
        } else {
            index
        }
    };
    let start = from_start(start).max(0);
    let stop = from_start(stop).min(length as i64 - 1);
    if start > stop {
        return 0..0;
    }
    // Both lie in 0..length.
    start as usize..stop as usize + 1
}
