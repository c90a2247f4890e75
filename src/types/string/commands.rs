//! String commands that read and write whole values: GET, SET and their kin.

use crate::clock::UnixMillis;
use crate::engine::data::{Data, Event, ExpiryChange, StringValue, string_of};
use crate::engine::error::{self, CommandError};
use crate::engine::spec::flag::{DENYOOM, FAST, READONLY, WRITE};
use crate::engine::spec::{ALL_KEYS, CommandResult, Keys, ONE_KEY, Outcome, Spec};
use crate::keyspace::Key;
use crate::number::{self, Digits};
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

/// Keys at every second word, each with its value behind it.
const KEYS_AND_VALUES: Keys = Keys::Range {
    first: 1,
    last: -1,
    step: 2,
};

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
    Spec::data("setnx", 3, WRITE | DENYOOM | FAST, ONE_KEY, setnx).doc(
        "1.0.0",
        "string",
        "Sets the string value of a key that does not exist yet.",
        "O(1)",
    ),
    Spec::data("setex", 4, WRITE | DENYOOM, ONE_KEY, setex).doc(
        "2.0.0",
        "string",
        "Sets the string value of a key and when it expires, in seconds from now.",
        "O(1)",
    ),
    Spec::data("psetex", 4, WRITE | DENYOOM, ONE_KEY, psetex).doc(
        "2.6.0",
        "string",
        "Sets the string value of a key and when it expires, in milliseconds from now.",
        "O(1)",
    ),
    Spec::data("getset", 3, WRITE | DENYOOM | FAST, ONE_KEY, getset).doc(
        "1.0.0",
        "string",
        "Sets the string value of a key and returns the one it had.",
        "O(1)",
    ),
    Spec::data("getdel", 2, WRITE | FAST, ONE_KEY, getdel).doc(
        "6.2.0",
        "string",
        "Returns the string value of a key and deletes the key.",
        "O(1)",
    ),
    Spec::data("getex", -2, WRITE | FAST, ONE_KEY, getex).doc(
        "6.2.0",
        "string",
        "Returns the string value of a key and sets or removes when it expires.",
        "O(1)",
    ),
    Spec::data("mget", -2, READONLY | FAST, ALL_KEYS, mget).doc(
        "1.0.0",
        "string",
        "Returns the string values of several keys.",
        "O(N) where N is the number of keys.",
    ),
    Spec::data("mset", -3, WRITE | DENYOOM, KEYS_AND_VALUES, mset).doc(
        "1.0.1",
        "string",
        "Sets the string values of several keys at once.",
        "O(N) where N is the number of keys.",
    ),
    Spec::data("msetnx", -3, WRITE | DENYOOM, KEYS_AND_VALUES, msetnx).doc(
        "1.0.1",
        "string",
        "Sets the string values of several keys at once, if none of them exists yet.",
        "O(N) where N is the number of keys.",
    ),
];

/// GET key
fn get(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    reply_value(data, Key::new(args.get(1)), reply)?;
    Ok(Outcome::Replied)
}

/// SET key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT seconds | PXAT milliseconds | KEEPTTL]
fn set(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let key = Key::new(args.get(1));
    if args.len() == 3 {
        data.set_string(key, value_at(args, 2), ExpiryChange::Set(None));
        data.wrote(key, 1, Event::String, "set");
        reply.ok();
        return Ok(Outcome::Replied);
    }
    let options = Options::of_set(args)?;
    let expiry = match options.lifetime {
        Lifetime::At(moment) => ExpiryChange::Set(Some(moment.resolve(data.now, "set")?)),
        Lifetime::Keep => ExpiryChange::Keep,
        _ => ExpiryChange::Set(None),
    };
    let exists = if options.get {
        reply_value(data, key, reply)?
    } else {
        data.exists(key)
    };
    if (options.only_if_missing && exists) || (options.only_if_present && !exists) {
        if !options.get {
            reply.null();
        }
        return Ok(Outcome::Replied);
    }
    data.set_string(key, value_at(args, 2), expiry);
    data.wrote(key, 1, Event::String, "set");
    match (options.lifetime, expiry) {
        (Lifetime::At(_), ExpiryChange::Set(Some(at))) => {
            data.event(key, Event::Generic, "expire");
            propagate_set_until(data, key, args.get(2), at);
        }
        _ if options.get => {
            let kept: Vec<&[u8]> = args
                .iter()
                .enumerate()
                .filter(|(at, word)| *at < 3 || !word.eq_ignore_ascii_case(b"GET"))
                .map(|(_, word)| word)
                .collect();
            data.propagate(&kept);
        }
        _ => {}
    }
    if !options.get {
        reply.ok();
    }
    Ok(Outcome::Replied)
}

/// SETNX key value
fn setnx(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let key = Key::new(args.get(1));
    let missing = !data.exists(key);
    if missing {
        data.set_string(key, value_at(args, 2), ExpiryChange::Set(None));
        data.wrote(key, 1, Event::String, "set");
    }
    reply.integer(i64::from(missing));
    Ok(Outcome::Replied)
}

/// SETEX key seconds value
fn setex(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    set_until(data, args, Moment::in_seconds(args.get(2)), "setex", reply)
}

/// PSETEX key milliseconds value
fn psetex(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    set_until(data, args, Moment::in_millis(args.get(2)), "psetex", reply)
}

fn set_until(
    data: &mut Data,
    args: Argv,
    moment: Moment,
    command: &str,
    reply: &mut Reply,
) -> CommandResult {
    let key = Key::new(args.get(1));
    let at = moment.resolve(data.now, command)?;
    data.set_string(key, value_at(args, 3), ExpiryChange::Set(Some(at)));
    data.wrote(key, 1, Event::String, "set");
    data.event(key, Event::Generic, "expire");
    propagate_set_until(data, key, args.get(3), at);
    reply.ok();
    Ok(Outcome::Replied)
}

/// GETSET key value
fn getset(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let key = Key::new(args.get(1));
    reply_value(data, key, reply)?;
    data.set_string(key, value_at(args, 2), ExpiryChange::Set(None));
    data.wrote(key, 1, Event::String, "set");
    data.propagate(&[b"SET", key.bytes, args.get(2)]);
    Ok(Outcome::Replied)
}

/// GETDEL key
fn getdel(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let key = Key::new(args.get(1));
    if reply_value(data, key, reply)? {
        data.delete(key);
        data.wrote(key, 1, Event::Generic, "del");
        let word = data.deletion(data.config.lazyfree_lazy_user_del);
        data.propagate(&[word, key.bytes]);
    }
    Ok(Outcome::Replied)
}

/// GETEX key [EX seconds | PX milliseconds | EXAT seconds | PXAT milliseconds | PERSIST]
fn getex(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let key = Key::new(args.get(1));
    let options = Options::of_getex(args)?;
    if !reply_value(data, key, reply)? {
        return Ok(Outcome::Replied);
    }
    match options.lifetime {
        Lifetime::At(moment) => {
            let at = moment.resolve(data.now, "getex")?;
            if moment.is_absolute() && at <= data.now && data.decides_expiry() {
                data.delete(key);
                data.wrote(key, 1, Event::Generic, "del");
                data.propagate_expiry(key);
            } else {
                data.set_expiry(key, at);
                data.wrote(key, 1, Event::Generic, "expire");
                data.propagate(&[b"PEXPIREAT", key.bytes, Digits::new().of(at.0)]);
            }
        }
        Lifetime::Persist if data.persist(key) => {
            data.wrote(key, 1, Event::Generic, "persist");
            data.propagate(&[b"PERSIST", key.bytes]);
        }
        _ => {}
    }
    Ok(Outcome::Replied)
}

/// MGET key [key ...]
fn mget(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    reply.array(args.len() - 1);
    data.for_each_key(args.skip(1).iter(), |data, key| {
        let text = data.find(key);
        match text.as_ref().map(|entry| string_of(entry)) {
            Some(Ok(text)) => text.reply(reply),
            Some(Err(_)) | None => reply.null(),
        }
    });
    Ok(Outcome::Replied)
}

/// MSET key value [key value ...]
fn mset(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    if args.len().is_multiple_of(2) {
        return Err(error::wrong_arity("mset"));
    }
    set_pairs(data, args);
    reply.ok();
    Ok(Outcome::Replied)
}

/// MSETNX key value [key value ...]
fn msetnx(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    if args.len().is_multiple_of(2) {
        return Err(error::wrong_arity("msetnx"));
    }
    let mut keys = args.skip(1).iter().step_by(2);
    let free = !keys.any(|key| data.exists(Key::new(key)));
    if free {
        set_pairs(data, args);
    }
    reply.integer(i64::from(free));
    Ok(Outcome::Replied)
}

fn set_pairs(data: &mut Data, args: Argv) {
    let mut place = 2;
    data.for_each_key(args.skip(1).iter().step_by(2), |data, key| {
        data.set_string(key, value_at(args, place), ExpiryChange::Set(None));
        data.wrote(key, 1, Event::String, "set");
        place += 2;
    });
}

fn value_at(args: Argv<'_>, place: usize) -> StringValue<'_> {
    StringValue {
        bytes: args.get(place),
        shared: args.shared(place),
    }
}

/// Answers the value of a key, or null; true if there is one.
fn reply_value(data: &mut Data, key: Key, reply: &mut Reply) -> Result<bool, CommandError> {
    match data.find(key) {
        Some(entry) => {
            string_of(&entry)?.reply(reply);
            Ok(true)
        }
        None => {
            reply.null();
            Ok(false)
        }
    }
}

/// A lifetime is recorded as the moment of its end, so that it does not depend on when the effect arrives.
fn propagate_set_until(data: &mut Data, key: Key, value: &[u8], at: UnixMillis) {
    let mut digits = Digits::new();
    data.propagate(&[b"SET", key.bytes, value, b"PXAT", digits.of(at.0)]);
}

/// What may follow the value of SET and the key of GETEX. The words are all read before any number is looked at: whoever
/// writes `EX ten` and then a word that does not exist is told about the word.
#[derive(Clone, Copy, Debug)]
struct Options<'a> {
    only_if_missing: bool,
    only_if_present: bool,
    get: bool,
    lifetime: Lifetime<'a>,
}

/// What becomes of the expiry.
#[derive(Clone, Copy, Debug)]
enum Lifetime<'a> {
    Unsaid,
    /// KEEPTTL
    Keep,
    /// PERSIST
    Persist,
    /// EX, PX, EXAT, PXAT
    At(Moment<'a>),
}

/// A time as it was given: not yet a number.
#[derive(Clone, Copy, Debug)]
struct Moment<'a> {
    unit: Unit,
    amount: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Seconds,
    Millis,
    UnixSeconds,
    UnixMillis,
}

impl<'a> Options<'a> {
    /// The words from the fourth on.
    fn of_set(args: Argv<'a>) -> Result<Self, CommandError> {
        let mut options = Options::none();
        let mut at = 3;
        while at < args.len() {
            let word = args.get(at);
            if word.eq_ignore_ascii_case(b"NX") && !options.only_if_present {
                options.only_if_missing = true;
            } else if word.eq_ignore_ascii_case(b"XX") && !options.only_if_missing {
                options.only_if_present = true;
            } else if word.eq_ignore_ascii_case(b"GET") {
                options.get = true;
            } else if word.eq_ignore_ascii_case(b"KEEPTTL")
                && matches!(options.lifetime, Lifetime::Unsaid | Lifetime::Keep)
            {
                options.lifetime = Lifetime::Keep;
            } else {
                at = options.read_moment(args, at)?;
            }
            at += 1;
        }
        Ok(options)
    }

    /// The words from the third on.
    fn of_getex(args: Argv<'a>) -> Result<Self, CommandError> {
        let mut options = Options::none();
        let mut at = 2;
        while at < args.len() {
            if args.get(at).eq_ignore_ascii_case(b"PERSIST")
                && matches!(options.lifetime, Lifetime::Unsaid | Lifetime::Persist)
            {
                options.lifetime = Lifetime::Persist;
            } else {
                at = options.read_moment(args, at)?;
            }
            at += 1;
        }
        Ok(options)
    }

    fn none() -> Self {
        Options {
            only_if_missing: false,
            only_if_present: false,
            get: false,
            lifetime: Lifetime::Unsaid,
        }
    }

    /// Reads a unit and its amount and returns where the amount stands. The same unit may be given again, as in Redis: the
    /// last amount counts.
    fn read_moment(&mut self, args: Argv<'a>, at: usize) -> Result<usize, CommandError> {
        let unit = Unit::of_word(args.get(at)).ok_or(error::SYNTAX)?;
        let fits = match self.lifetime {
            Lifetime::Unsaid => true,
            Lifetime::At(moment) => moment.unit == unit,
            _ => false,
        };
        if !fits || at + 1 >= args.len() {
            return Err(error::SYNTAX);
        }
        self.lifetime = Lifetime::At(Moment {
            unit,
            amount: args.get(at + 1),
        });
        Ok(at + 1)
    }
}

impl<'a> Moment<'a> {
    fn in_seconds(amount: &'a [u8]) -> Self {
        Moment {
            unit: Unit::Seconds,
            amount,
        }
    }

    fn in_millis(amount: &'a [u8]) -> Self {
        Moment {
            unit: Unit::Millis,
            amount,
        }
    }

    /// The moment meant, counted from `now` where it is relative. `command` is named in the error.
    fn resolve(self, now: UnixMillis, command: &str) -> Result<UnixMillis, CommandError> {
        let amount = number::parse_i64(self.amount).ok_or(error::NOT_AN_INTEGER)?;
        let millis = match self.unit {
            _ if amount <= 0 => None,
            Unit::Seconds => amount
                .checked_mul(1000)
                .and_then(|millis| millis.checked_add(now.0)),
            Unit::Millis => amount.checked_add(now.0),
            Unit::UnixSeconds => amount.checked_mul(1000),
            Unit::UnixMillis => Some(amount),
        };
        millis
            .map(UnixMillis)
            .ok_or_else(|| error::invalid_expiry(command))
    }

    /// Given as a time of day and not as a span.
    fn is_absolute(self) -> bool {
        matches!(self.unit, Unit::UnixSeconds | Unit::UnixMillis)
    }
}

impl Unit {
    fn of_word(word: &[u8]) -> Option<Self> {
        const WORDS: [(&[u8], Unit); 4] = [
            (b"EX", Unit::Seconds),
            (b"PX", Unit::Millis),
            (b"EXAT", Unit::UnixSeconds),
            (b"PXAT", Unit::UnixMillis),
        ];
        WORDS
            .iter()
            .find(|(known, _)| word.eq_ignore_ascii_case(known))
            .map(|(_, unit)| *unit)
    }
}
