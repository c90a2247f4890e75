//! Which words of a request are keys, and what happens to them: the key specifications of COMMAND INFO.
//!
//! The places follow from the row of a command; what happens to the keys stands in the catalogue, or follows from the flags
//! of the row.

use crate::number;
use crate::protocol::request::Argv;

use super::catalogue::{self, Begin, Facts, Find};
use super::spec::{Keys, Spec, flag};

/// A group of keys with one use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpec {
    pub flags: Vec<&'static str>,
    pub begin: Begin,
    pub find: Find,
}

/// The key specifications of a command, in order.
pub fn key_specs(spec: &Spec) -> Vec<KeySpec> {
    let facts = catalogue::facts(spec.name);
    let flags_of = |index: usize| match facts.and_then(|facts| facts.keys.get(index)) {
        Some(keys) => keys.flags.clone(),
        None if spec.has(flag::WRITE) => vec!["RW", "update"],
        None => vec!["RO", "access"],
    };
    let with_flags = |(index, (begin, find))| KeySpec {
        flags: flags_of(index),
        begin,
        find,
    };
    places(spec, facts)
        .into_iter()
        .enumerate()
        .map(with_flags)
        .collect()
}

fn places(spec: &Spec, facts: Option<&Facts>) -> Vec<(Begin, Find)> {
    let told = facts.map_or(&[][..], |facts| &facts.keys);
    if told.iter().any(|keys| keys.place.is_some()) {
        return told.iter().filter_map(|keys| keys.place).collect();
    }
    let one = |last| Find::Range {
        last,
        step: 1,
        limit: 0,
    };
    let counted = |count_at| (Begin::Index(count_at as i32), Find::Count);
    match spec.keys {
        Keys::None => Vec::new(),
        Keys::Counted { count_at } => vec![counted(count_at)],
        Keys::StoreCounted { count_at } => vec![(Begin::Index(1), one(0)), counted(count_at)],
        Keys::Range { first, last, step } => {
            // Where several uses are told, each but the last has one key.
            let single = told.len().saturating_sub(1) as i32;
            let begin = first + single;
            let last = if last < 0 { last } else { last - begin };
            let mut places: Vec<_> = (first..begin)
                .map(|at| (Begin::Index(at), one(0)))
                .collect();
            let rest = Find::Range {
                last,
                step,
                limit: 0,
            };
            places.push((Begin::Index(begin), rest));
            places
        }
    }
}

/// First word, last word and step of the keys in one range, as COMMAND tells them beside the specifications; zeroes where
/// they are in none.
pub fn legacy_range(spec: &Spec) -> [i64; 3] {
    match spec.keys {
        Keys::Range { first, last, step } => [first, last, step].map(i64::from),
        Keys::StoreCounted { .. } => [1; 3],
        Keys::None | Keys::Counted { .. } => match key_specs(spec).first() {
            Some(KeySpec {
                begin: Begin::Index(first),
                find: Find::Range { last, step, .. },
                ..
            }) => {
                let last = if *last < 0 { *last } else { first + last };
                [*first, last, *step].map(i64::from)
            }
            _ => [0; 3],
        },
    }
}

/// True if one range cannot tell where all keys are.
pub fn has_movable_keys(spec: &Spec) -> bool {
    let is_plain = |key_spec: &KeySpec| {
        let is_range = matches!(key_spec.find, Find::Range { .. });
        is_range && matches!(key_spec.begin, Begin::Index(_))
    };
    spec.has(flag::MOVABLEKEYS) || !key_specs(spec).iter().all(is_plain)
}

/// A key among the words of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct KeyPlace {
    pub at: usize,
    pub flags: Vec<&'static str>,
}

/// The keys of a request; `None` if its words do not fit.
pub fn key_places(spec: &Spec, argv: Argv) -> Option<Vec<KeyPlace>> {
    let mut found = Vec::new();
    for key_spec in key_specs(spec) {
        let KeySpec { flags, begin, find } = key_spec;
        if flags.contains(&"not_key") {
            continue;
        }
        let flags = if flags.contains(&"variable_flags") {
            flags_of_request(spec, argv)
        } else {
            flags
        };
        for at in words(begin, find, argv)? {
            let flags = flags.clone();
            found.push(KeyPlace { at, flags });
        }
    }
    if matches!(spec.name, "sort" | "sort_ro") {
        found.extend(sort_destination(argv));
    }
    Some(found)
}

/// What a request does to its key, where that depends on its options.
fn flags_of_request(spec: &Spec, argv: Argv) -> Vec<&'static str> {
    let has = |words: &[&[u8]]| {
        let mut options = argv.skip(2).iter();
        options.any(|option| words.iter().any(|word| option.eq_ignore_ascii_case(word)))
    };
    match spec.name {
        "set" if !has(&[b"GET"]) => vec!["OW", "update"],
        "bitfield" if !has(&[b"SET", b"INCRBY"]) => vec!["RO", "access"],
        _ => vec!["RW", "access", "update"],
    }
}

/// SORT writes where its last STORE says.
fn sort_destination(argv: Argv) -> Option<KeyPlace> {
    let mut stores = (2..argv.len()).filter(|&at| argv.get(at).eq_ignore_ascii_case(b"STORE"));
    let at = stores.next_back()? + 1;
    let flags = vec!["OW", "update"];
    (at < argv.len()).then_some(KeyPlace { at, flags })
}

fn words(begin: Begin, find: Find, argv: Argv) -> Option<Vec<usize>> {
    let count = argv.len() as i32;
    let first = match begin {
        Begin::Index(at) => at,
        Begin::Keyword { word, from } => match keyword(word, from, argv) {
            Some(at) => at + 1,
            None => return Some(Vec::new()),
        },
        Begin::Unknown => return Some(Vec::new()),
    };
    if first >= count {
        return None;
    }
    let (first, last, step) = match find {
        Find::Range { last, step, limit } => {
            let last = match last {
                0.. => first + last,
                // With a limit, only the first part of what is left.
                -1 if limit > 1 => first + (count - first) / limit - 1,
                _ => count + last,
            };
            (first, last, step)
        }
        Find::Count => {
            let keys = number::parse_i64(argv.get(first as usize))?;
            let left = i64::from(count - first - 1);
            let keys = Some(keys).filter(|keys| (1..=left).contains(keys))?;
            (first + 1, first + keys as i32, 1)
        }
        Find::Unknown => return Some(Vec::new()),
    };
    if last >= count {
        return None;
    }
    let places = (first..=last).step_by(step.max(1) as usize);
    Some(places.map(|at| at as usize).collect())
}

fn keyword(word: &str, from: i32, argv: Argv) -> Option<i32> {
    let is_word = |at: &i32| argv.get(*at as usize).eq_ignore_ascii_case(word.as_bytes());
    let count = argv.len() as i32;
    if from >= 0 {
        (from..count).find(is_word)
    } else {
        (1..=count + from).rev().find(is_word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Node;
    use crate::engine::spec::Outcome;
    use crate::engine::spec::{CommandResult, NodeCommand, TWO_KEYS};
    use crate::protocol::reply::Reply;
    use crate::protocol::request::OwnedRequest;

    fn nothing(_: &mut Node, _: Argv, _: &mut Reply) -> CommandResult {
        Ok(Outcome::Replied)
    }

    fn check(name: &'static str, keys: Keys, request: &str, expected: &str) {
        let spec = Spec::node(name, -1, flag::WRITE, keys, nothing as NodeCommand);
        let words = OwnedRequest::new(request.split(' ').map(str::as_bytes));
        let argv = words.argv();
        let told = key_places(&spec, argv).map(|places| {
            let shown = places.iter().map(|place| {
                let key = String::from_utf8_lossy(argv.get(place.at)).into_owned();
                format!("{key} {}", place.flags.join("+"))
            });
            shown.collect::<Vec<_>>().join(", ")
        });
        assert_eq!(told.as_deref().unwrap_or("invalid"), expected, "{request}");
    }

    #[test]
    fn keys_are_found_where_each_command_has_them() {
        let all = crate::engine::spec::ALL_KEYS;
        let one = crate::engine::spec::ONE_KEY;
        let pairs = Keys::Range {
            first: 1,
            last: -1,
            step: 2,
        };
        check(
            "rename",
            TWO_KEYS,
            "rename a b",
            "a RW+access+delete, b OW+update",
        );
        check(
            "sdiffstore",
            all,
            "sdiffstore d a b",
            "d OW+update, a RO+access, b RO+access",
        );
        check("mset", pairs, "mset a 1 b 2", "a OW+update, b OW+update");
        check("set", one, "set k v", "k OW+update");
        check("set", one, "set k v EX 1 Get", "k RW+access+update");
        let counted = Keys::StoreCounted { count_at: 2 };
        check(
            "zunionstore",
            counted,
            "zunionstore d 1 a weights 1",
            "d OW+update, a RO+access",
        );
        check("zunionstore", counted, "zunionstore d 0 a b", "invalid");
        check("zunionstore", counted, "zunionstore d 3 a b", "invalid");
        check(
            "xread",
            Keys::None,
            "xread count 1 streams a b 1 2",
            "a RO+access, b RO+access",
        );
        check(
            "sort",
            one,
            "sort k by x store d",
            "k RO+access, d OW+update",
        );
        check("spublish", Keys::None, "spublish c m", "");
        check(
            "migrate",
            Keys::None,
            "migrate h 1 k 0 9 keys a b",
            "k RW+access+delete, a RW+access+delete+incomplete, b RW+access+delete+incomplete",
        );
    }
}
