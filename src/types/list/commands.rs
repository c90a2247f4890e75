//! List commands that work at the ends: pushing, popping, moving.
//!
//! Popping and moving are functions of their own ([`pop_one`], [`pop_many`], [`move_one`]): a client that has waited for an
//! element is served by the same ones.

use crate::compact::Element;
use crate::config::Config;
use crate::config::values::ListpackLimit;
use crate::engine::data::{Data, Event};
use crate::engine::error::{self, CommandError};
use crate::engine::spec::flag::{DENYOOM, FAST, MOVABLEKEYS, WRITE};
use crate::engine::spec::{CommandResult, Keys, ONE_KEY, Outcome, Spec, TWO_KEYS};
use crate::keyspace::Key;
use crate::number;
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;
use crate::types::Kind;

use super::{End, Incoming, Limits, List, ListElement};

const GROW: u32 = WRITE | DENYOOM;
const PER_ELEMENT: &str = "O(1) for each element added, so O(N) to add N elements when the command is called with \
                           multiple arguments.";

pub const COMMANDS: &[Spec] = &[
    Spec::data("lpush", -3, GROW | FAST, ONE_KEY, lpush).doc(
        "1.0.0",
        "list",
        "Prepends one or more elements to a list. Creates the key if it doesn't exist.",
        PER_ELEMENT,
    ),
    Spec::data("rpush", -3, GROW | FAST, ONE_KEY, rpush).doc(
        "1.0.0",
        "list",
        "Appends one or more elements to a list. Creates the key if it doesn't exist.",
        PER_ELEMENT,
    ),
    Spec::data("lpushx", -3, GROW | FAST, ONE_KEY, lpushx).doc(
        "2.2.0",
        "list",
        "Prepends one or more elements to a list only when the list exists.",
        PER_ELEMENT,
    ),
    Spec::data("rpushx", -3, GROW | FAST, ONE_KEY, rpushx).doc(
        "2.2.0",
        "list",
        "Appends an element to a list only when the list exists.",
        PER_ELEMENT,
    ),
    Spec::data("lpop", -2, WRITE | FAST, ONE_KEY, lpop).doc(
        "1.0.0",
        "list",
        "Returns the first elements in a list after removing it. Deletes the list if the last element was popped.",
        "O(N) where N is the number of elements returned",
    ),
    Spec::data("rpop", -2, WRITE | FAST, ONE_KEY, rpop).doc(
        "1.0.0",
        "list",
        "Returns and removes the last elements of a list. Deletes the list if the last element was popped.",
        "O(N) where N is the number of elements returned",
    ),
    Spec::data("lmove", 5, GROW, TWO_KEYS, lmove).doc(
        "6.2.0",
        "list",
        "Returns an element after popping it from one list and pushing it to another. Deletes the list if the last \
         element was moved.",
        "O(1)",
    ),
    Spec::data("rpoplpush", 3, GROW, TWO_KEYS, rpoplpush).doc(
        "1.2.0",
        "list",
        "Returns the last element of a list after removing and pushing it to another list. Deletes the list if the last \
         element was popped.",
        "O(1)",
    ),
    Spec::data(
        "lmpop",
        -4,
        WRITE | MOVABLEKEYS,
        Keys::Counted { count_at: 1 },
        lmpop,
    )
    .doc(
        "7.0.0",
        "list",
        "Returns multiple elements from a list after removing them. Deletes the list if the last element was popped.",
        "O(N+M) where N is the number of provided keys and M is the number of elements returned.",
    ),
];

/// LPUSH key element [element ...]
fn lpush(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    push(data, args, reply, End::Front)
}

/// RPUSH key element [element ...]
fn rpush(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    push(data, args, reply, End::Back)
}

/// LPUSHX key element [element ...]
fn lpushx(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    push_if_exists(data, args, reply, End::Front)
}

/// RPUSHX key element [element ...]
fn rpushx(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    push_if_exists(data, args, reply, End::Back)
}

fn push(data: &mut Data, args: Argv, reply: &mut Reply, end: End) -> CommandResult {
    let key = Key::new(args.get(1));
    let limits = limits(data.config);
    // A list that exists is found by one look-up.
    let length = data
        .write::<List>(key)?
        .map(|mut list| push_all(&mut list, args, end, limits));
    let length = match length {
        Some(length) => length,
        None => {
            let mut list = data.write_or_new(key, |_| List::new())?;
            push_all(&mut list, args, end, limits)
        }
    };
    data.wrote(key, args.len() as u64 - 2, Event::List, push_event(end));
    reply.integer(length as i64);
    Ok(Outcome::Replied)
}

fn push_if_exists(data: &mut Data, args: Argv, reply: &mut Reply, end: End) -> CommandResult {
    let key = Key::new(args.get(1));
    let limits = limits(data.config);
    let Some(mut list) = data.write::<List>(key)? else {
        reply.integer(0);
        return Ok(Outcome::Replied);
    };
    let length = push_all(&mut list, args, end, limits);
    drop(list);
    data.wrote(key, args.len() as u64 - 2, Event::List, push_event(end));
    reply.integer(length as i64);
    Ok(Outcome::Replied)
}

/// Pushes the words behind the key, one by one; returns the length of the list then.
fn push_all(list: &mut List, args: Argv, end: End, limits: Limits) -> usize {
    for index in 2..args.len() {
        list.push(end, incoming(args, index), limits);
    }
    list.len()
}

/// LPOP key [count]
fn lpop(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    pop(data, args, reply, End::Front, "lpop")
}

/// RPOP key [count]
fn rpop(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    pop(data, args, reply, End::Back, "rpop")
}

fn pop(
    data: &mut Data,
    args: Argv,
    reply: &mut Reply,
    end: End,
    name: &'static str,
) -> CommandResult {
    let key = Key::new(args.get(1));
    match args.len() {
        2 => {
            if !pop_one(data, key, end, reply)? {
                reply.null();
            }
        }
        3 => {
            let count = number::parse_i64(args.get(2))
                .and_then(|count| usize::try_from(count).ok())
                .ok_or(error::MUST_BE_POSITIVE)?;
            if pop_many(data, key, end, count, reply)?.is_none() {
                reply.null_array();
            }
        }
        _ => return Err(error::wrong_arity(name)),
    }
    Ok(Outcome::Replied)
}

/// LMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT>
fn lmove(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let from = parse_end(args.get(3))?;
    let to = parse_end(args.get(4))?;
    move_or_null(data, args, from, to, reply)
}

/// RPOPLPUSH source destination
fn rpoplpush(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    move_or_null(data, args, End::Back, End::Front, reply)
}

fn move_or_null(
    data: &mut Data,
    args: Argv,
    from: End,
    to: End,
    reply: &mut Reply,
) -> CommandResult {
    let source = Key::new(args.get(1));
    let destination = Key::new(args.get(2));
    if !move_one(data, source, from, destination, to, reply)? {
        reply.null();
    }
    Ok(Outcome::Replied)
}

/// LMPOP numkeys key [key ...] <LEFT | RIGHT> [COUNT count]
fn lmpop(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let wanted = PopWanted::parse(args, 1)?;
    for word in wanted.keys() {
        let key = Key::new(word);
        if data.write::<List>(key)?.is_none() {
            continue;
        }
        reply.array(2);
        reply.bulk(key.bytes);
        let popped = pop_many(data, key, wanted.end, wanted.count, reply)?;
        propagate_pop(data, key.bytes, wanted.end, popped);
        return Ok(Outcome::Replied);
    }
    reply.null_array();
    Ok(Outcome::Replied)
}

/// What LMPOP and BLMPOP ask for.
pub struct PopWanted<'a> {
    args: Argv<'a>,
    first_key: usize,
    key_count: usize,
    pub end: End,
    pub count: usize,
}

impl<'a> PopWanted<'a> {
    /// Parses `numkeys key [key ...] <LEFT | RIGHT> [COUNT count]` from word `at` on.
    pub fn parse(args: Argv<'a>, at: usize) -> Result<Self, CommandError> {
        let positive = |text| {
            number::parse_i64(text)
                .and_then(|value| usize::try_from(value).ok())
                .filter(|value| *value > 0)
        };
        let key_count = positive(args.get(at)).ok_or(error::NUMKEYS_NOT_POSITIVE)?;
        let first_key = at + 1;
        let end_at = first_key.saturating_add(key_count);
        if end_at >= args.len() {
            return Err(error::SYNTAX);
        }
        let end = parse_end(args.get(end_at))?;
        let mut count = None;
        let mut at = end_at + 1;
        while at < args.len() {
            let is_count = args.get(at).eq_ignore_ascii_case(b"COUNT");
            if !is_count || count.is_some() || at + 1 == args.len() {
                return Err(error::SYNTAX);
            }
            count = Some(positive(args.get(at + 1)).ok_or(error::COUNT_NOT_POSITIVE)?);
            at += 2;
        }
        Ok(PopWanted {
            args,
            first_key,
            key_count,
            end,
            count: count.unwrap_or(1),
        })
    }

    pub fn keys(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let (args, first_key) = (self.args, self.first_key);
        (first_key..first_key + self.key_count).map(move |at| args.get(at))
    }
}

/// Takes one element out at `end` and replies with it. False, and no reply, if there is no such list.
pub fn pop_one(
    data: &mut Data,
    key: Key,
    end: End,
    reply: &mut Reply,
) -> Result<bool, CommandError> {
    let limits = limits(data.config);
    let Some(mut list) = data.write::<List>(key)? else {
        return Ok(false);
    };
    list.pop(end, limits, |element| write_element(element, reply));
    let is_empty = list.is_empty();
    drop(list);
    wrote_pop(data, key, end, 1, is_empty);
    Ok(true)
}

/// Takes up to `count` elements out at `end` and replies with an array of them, the outermost first. Returns how many, or
/// `None`, without a reply, if there is no such list.
pub fn pop_many(
    data: &mut Data,
    key: Key,
    end: End,
    count: usize,
    reply: &mut Reply,
) -> Result<Option<usize>, CommandError> {
    let limits = limits(data.config);
    let Some(mut list) = data.write::<List>(key)? else {
        return Ok(None);
    };
    let length = list.len();
    let count = count.min(length);
    reply.array(count);
    if count == 0 {
        return Ok(Some(0));
    }
    let span = match end {
        End::Front => {
            for element in list.iter().take(count) {
                write_element(element, reply);
            }
            0..count
        }
        End::Back => {
            for element in list.iter_back_from(length - 1).take(count) {
                write_element(element, reply);
            }
            length - count..length
        }
    };
    let removed = list.remove_range(span.start, span.end, limits);
    drop(list);
    discard(data, removed);
    wrote_pop(data, key, end, count as u64, count == length);
    Ok(Some(count))
}

/// Takes one element out of `source`, puts it into `destination`, which may be the same list, and replies with it. False,
/// and no reply, if there is no such source.
pub fn move_one(
    data: &mut Data,
    source: Key,
    from: End,
    destination: Key,
    to: End,
    reply: &mut Reply,
) -> Result<bool, CommandError> {
    let limits = limits(data.config);
    if data.write::<List>(source)?.is_none() {
        return Ok(false);
    }
    // Nothing is taken out before it is known that it can be put back in.
    data.write::<List>(destination)?;
    let Some(mut list) = data.write::<List>(source)? else {
        return Ok(false);
    };
    let Some(element) = list.pop(from, limits, |element| element.to_bytes()) else {
        return Ok(false);
    };
    drop(list);
    let mut list = data.write_or_new(destination, |_| List::new())?;
    list.push(to, Incoming::from(&element), limits);
    drop(list);
    data.wrote(destination, 0, Event::List, push_event(to));
    reply.bulk_shared(&element);
    let is_empty = data
        .write::<List>(source)?
        .is_none_or(|list| list.is_empty());
    wrote_pop(data, source, from, 1, is_empty);
    Ok(true)
}

/// Records that a list was popped from: one element by default, or so many.
pub fn propagate_pop(data: &mut Data, key: &[u8], end: End, count: Option<usize>) {
    let name: &[u8] = match end {
        End::Front => b"LPOP",
        End::Back => b"RPOP",
    };
    match count {
        None => data.propagate(&[name, key]),
        Some(count) => {
            let mut digits = itoa::Buffer::new();
            data.propagate(&[name, key, digits.format(count).as_bytes()]);
        }
    }
}

/// Records that an element was moved.
pub fn propagate_move(data: &mut Data, source: &[u8], from: End, destination: &[u8], to: End) {
    data.propagate(&[b"LMOVE", source, destination, word(from), word(to)]);
}

/// `LEFT` or `RIGHT`, in any case.
pub fn parse_end(text: &[u8]) -> Result<End, CommandError> {
    if text.eq_ignore_ascii_case(b"LEFT") {
        Ok(End::Front)
    } else if text.eq_ignore_ascii_case(b"RIGHT") {
        Ok(End::Back)
    } else {
        Err(error::SYNTAX)
    }
}

/// The size of nodes that `list-max-listpack-size` asks for.
pub fn limits(config: &Config) -> Limits {
    match config.list_max_listpack_size.limit() {
        ListpackLimit::Bytes(bytes) => Limits::bytes(bytes),
        ListpackLimit::Entries(elements) => Limits::elements(elements),
    }
}

/// Replies with an element: a large one is kept alive rather than copied.
pub fn write_element(element: ListElement, reply: &mut Reply) {
    match element {
        ListElement::Packed(Element::Str(text)) => reply.bulk(text),
        ListElement::Packed(Element::Int(value)) => reply.bulk_integer(value),
        ListElement::Plain(bytes) => reply.bulk_shared(bytes),
    }
}

/// The word at `index` as an element.
pub fn incoming(args: Argv<'_>, index: usize) -> Incoming<'_> {
    Incoming {
        bytes: args.get(index),
        shared: args.shared(index),
    }
}

/// Lets nodes be freed that were taken out of a list.
pub fn discard(data: &mut Data, removed: Option<List>) {
    if let Some(removed) = removed {
        data.discard_value(removed.into_value());
    }
}

fn wrote_pop(data: &mut Data, key: Key, end: End, count: u64, is_empty: bool) {
    let event = match end {
        End::Front => "lpop",
        End::Back => "rpop",
    };
    data.wrote(key, count, Event::List, event);
    if is_empty {
        data.delete_emptied(key);
    }
}

fn push_event(end: End) -> &'static str {
    match end {
        End::Front => "lpush",
        End::Back => "rpush",
    }
}

fn word(end: End) -> &'static [u8] {
    match end {
        End::Front => b"LEFT",
        End::Back => b"RIGHT",
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::trial::Trial;

    #[test]
    fn events_and_numbers_of_changes_are_those_of_redis() {
        Trial::new().check(&[
            ("LPUSH l a b c", "lpush l", 3),
            ("RPUSHX l d", "rpush l", 1),
            ("LPUSHX no x", "", 0),
            ("RPOP l", "rpop l", 1),
            ("LPOP l 0", "", 0),
            ("LPOP l 2", "lpop l", 2),
            ("LPOP l", "lpop l, del l", 1),
            ("RPUSH l a b a c", "rpush l", 4),
            ("LREM l 1 a", "lrem l", 1),
            ("LREM l 1 zz", "", 0),
            ("LREM l 0 a", "lrem l", 1),
            ("LSET l 0 q", "lset l", 1),
            ("LINSERT l BEFORE q z", "linsert l", 1),
            ("LINSERT l AFTER nope z", "", 0),
            ("LTRIM l 0 -1", "ltrim l", 0),
            ("LTRIM l 0 0", "ltrim l", 2),
            ("LMOVE l l LEFT RIGHT", "rpush l, lpop l", 1),
            ("LMOVE l m LEFT RIGHT", "rpush m, lpop l, del l", 1),
            ("RPOPLPUSH m m", "lpush m, rpop m", 1),
            ("RPOPLPUSH m n", "lpush n, rpop m, del m", 1),
            ("RPUSH l 1 2 3", "rpush l", 3),
            ("LTRIM l 5 1", "ltrim l, del l", 3),
            ("RPUSH x a a", "rpush x", 2),
            ("LREM x 0 a", "lrem x, del x", 2),
        ]);
    }

    #[test]
    fn a_pop_from_several_lists_is_recorded_as_what_it_popped() {
        let mut trial = Trial::new();
        trial.run("RPUSH l a b c");
        let done = trial.run("LMPOP 2 none l RIGHT COUNT 2");
        assert_eq!(done.effect.as_deref(), Some("RPOP l 2"));
        let done = trial.run("LMPOP 2 none l LEFT COUNT 5");
        assert_eq!(done.effect.as_deref(), Some("LPOP l 1"));
        assert_eq!((&*done.events, done.changes), ("lpop l, del l", 1));
        assert_eq!(trial.run("LMPOP 1 l LEFT").effect, None);
    }
}
