//! When keys expire: EXPIRE and TTL with their kin, PERSIST.
//!
//! Whatever form a time is given in, the effect is its moment in Unix milliseconds. A moment that has passed deletes the
//! key on a master, as a DEL; one that obeys a master stores it, because only the master's clock decides.

use crate::clock::UnixMillis;
use crate::engine::data::{Data, Event};
use crate::engine::error::{self, CommandError};
use crate::engine::spec::flag::{FAST, READONLY, WRITE};
use crate::engine::spec::{CommandResult, ONE_KEY, Outcome, Spec};
use crate::number::{self, Digits};
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::Key;

pub const COMMANDS: &[Spec] = &[
    Spec::data("expire", -3, WRITE | FAST, ONE_KEY, expire).doc(
        "1.0.0",
        "generic",
        "Sets when a key expires, in seconds from now.",
        "O(1)",
    ),
    Spec::data("pexpire", -3, WRITE | FAST, ONE_KEY, pexpire).doc(
        "2.6.0",
        "generic",
        "Sets when a key expires, in milliseconds from now.",
        "O(1)",
    ),
    Spec::data("expireat", -3, WRITE | FAST, ONE_KEY, expireat).doc(
        "1.2.0",
        "generic",
        "Sets when a key expires, as a Unix time in seconds.",
        "O(1)",
    ),
    Spec::data("pexpireat", -3, WRITE | FAST, ONE_KEY, pexpireat).doc(
        "2.6.0",
        "generic",
        "Sets when a key expires, as a Unix time in milliseconds.",
        "O(1)",
    ),
    Spec::data("ttl", 2, READONLY | FAST, ONE_KEY, ttl).doc(
        "1.0.0",
        "generic",
        "Returns how many seconds a key has left.",
        "O(1)",
    ),
    Spec::data("pttl", 2, READONLY | FAST, ONE_KEY, pttl).doc(
        "2.6.0",
        "generic",
        "Returns how many milliseconds a key has left.",
        "O(1)",
    ),
    Spec::data("expiretime", 2, READONLY | FAST, ONE_KEY, expiretime).doc(
        "7.0.0",
        "generic",
        "Returns when a key expires, as a Unix time in seconds.",
        "O(1)",
    ),
    Spec::data("pexpiretime", 2, READONLY | FAST, ONE_KEY, pexpiretime).doc(
        "7.0.0",
        "generic",
        "Returns when a key expires, as a Unix time in milliseconds.",
        "O(1)",
    ),
    Spec::data("persist", 2, WRITE | FAST, ONE_KEY, persist).doc(
        "2.2.0",
        "generic",
        "Takes away the expiry of a key.",
        "O(1)",
    ),
];

const NX_AND_OTHERS: CommandError =
    CommandError::new("ERR NX and XX, GT or LT options at the same time are not compatible");
const GT_AND_LT: CommandError =
    CommandError::new("ERR GT and LT options at the same time are not compatible");

/// The form in which a command takes or gives a time.
#[derive(Clone, Copy)]
struct Form {
    command: &'static str,
    in_seconds: bool,
    /// A Unix time, and not a span from now.
    is_absolute: bool,
}

/// EXPIRE key seconds [NX | XX | GT | LT]
fn expire(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let form = Form {
        command: "expire",
        in_seconds: true,
        is_absolute: false,
    };
    set_expiry(data, args, form, reply)
}

/// PEXPIRE key milliseconds [NX | XX | GT | LT]
fn pexpire(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let form = Form {
        command: "pexpire",
        in_seconds: false,
        is_absolute: false,
    };
    set_expiry(data, args, form, reply)
}

/// EXPIREAT key unix-time-seconds [NX | XX | GT | LT]
fn expireat(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let form = Form {
        command: "expireat",
        in_seconds: true,
        is_absolute: true,
    };
    set_expiry(data, args, form, reply)
}

/// PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT]
fn pexpireat(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let form = Form {
        command: "pexpireat",
        in_seconds: false,
        is_absolute: true,
    };
    set_expiry(data, args, form, reply)
}

fn set_expiry(data: &mut Data, args: Argv, form: Form, reply: &mut Reply) -> CommandResult {
    let key = Key::new(args.get(1));
    let condition = Condition::parse(args)?;
    let amount = number::parse_i64(args.get(2)).ok_or(error::NOT_AN_INTEGER)?;
    let at = form.moment(amount, data.now)?;
    let allowed = data
        .peek(key)
        .is_some_and(|entry| condition.allows(entry.expiry(), at));
    reply.integer(i64::from(allowed));
    if !allowed {
        return Ok(Outcome::Replied);
    }
    if at <= data.now && data.decides_expiry() {
        data.delete(key);
        data.wrote(key, 1, Event::Generic, "del");
        data.propagate_expiry(key);
        return Ok(Outcome::Replied);
    }
    data.set_expiry(key, at);
    data.wrote(key, 1, Event::Generic, "expire");
    if form.in_seconds || !form.is_absolute {
        let mut digits = Digits::new();
        let mut effect = vec![b"PEXPIREAT", key.bytes, digits.of(at.0)];
        effect.extend(args.skip(3).iter());
        data.propagate(&effect);
    }
    Ok(Outcome::Replied)
}

impl Form {
    fn moment(self, amount: i64, now: UnixMillis) -> Result<UnixMillis, CommandError> {
        let unit = if self.in_seconds { 1000 } else { 1 };
        let base = if self.is_absolute { 0 } else { now.0 };
        amount
            .checked_mul(unit)
            .and_then(|millis| millis.checked_add(base))
            .map(UnixMillis)
            .ok_or_else(|| error::invalid_expiry(self.command))
    }
}

/// NX, XX, GT, LT: what the old expiry must be like. Being without one is living longest.
#[derive(Default)]
struct Condition {
    only_if_none: bool,
    only_if_some: bool,
    only_if_later: bool,
    only_if_sooner: bool,
}

impl Condition {
    fn parse(args: Argv) -> Result<Self, CommandError> {
        let mut condition = Condition::default();
        for word in args.skip(3).iter() {
            let flag = match word.to_ascii_uppercase().as_slice() {
                b"NX" => &mut condition.only_if_none,
                b"XX" => &mut condition.only_if_some,
                b"GT" => &mut condition.only_if_later,
                b"LT" => &mut condition.only_if_sooner,
                _ => {
                    let word = String::from_utf8_lossy(word);
                    return Err(CommandError::from(format!("ERR Unsupported option {word}")));
                }
            };
            *flag = true;
        }
        let others = condition.only_if_some || condition.only_if_later || condition.only_if_sooner;
        if condition.only_if_none && others {
            return Err(NX_AND_OTHERS);
        }
        if condition.only_if_later && condition.only_if_sooner {
            return Err(GT_AND_LT);
        }
        Ok(condition)
    }

    fn allows(&self, old: Option<UnixMillis>, new: UnixMillis) -> bool {
        !(self.only_if_none && old.is_some()
            || self.only_if_some && old.is_none()
            || self.only_if_later && old.is_none_or(|old| new <= old)
            || self.only_if_sooner && old.is_some_and(|old| new >= old))
    }
}

/// TTL key
fn ttl(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let now = data.now;
    reply_time(data, args, reply, |at| in_seconds((at.0 - now.0).max(0)))
}

/// PTTL key
fn pttl(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let now = data.now;
    reply_time(data, args, reply, |at| (at.0 - now.0).max(0))
}

/// EXPIRETIME key
fn expiretime(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    reply_time(data, args, reply, |at| in_seconds(at.0.max(0)))
}

/// PEXPIRETIME key
fn pexpiretime(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    reply_time(data, args, reply, |at| at.0.max(0))
}

/// To the nearest second.
fn in_seconds(millis: i64) -> i64 {
    (millis.saturating_add(500)) / 1000
}

/// -2 for no key, -1 for no expiry.
fn reply_time(
    data: &mut Data,
    args: Argv,
    reply: &mut Reply,
    show: impl FnOnce(UnixMillis) -> i64,
) -> CommandResult {
    let answer = match data.inspect(Key::new(args.get(1))) {
        None => -2,
        Some(entry) => entry.expiry().map_or(-1, show),
    };
    reply.integer(answer);
    Ok(Outcome::Replied)
}

/// PERSIST key
fn persist(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let key = Key::new(args.get(1));
    let persisted = data.persist(key);
    if persisted {
        data.wrote(key, 1, Event::Generic, "persist");
    }
    reply.integer(i64::from(persisted));
    Ok(Outcome::Replied)
}
