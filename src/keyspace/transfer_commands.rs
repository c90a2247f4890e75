//! DUMP and RESTORE: a value that travels alone, in the bytes of an RDB file.

use crate::clock::UnixMillis;
use crate::config::values::MaxmemoryPolicy;
use crate::engine::data::{Data, Event};
use crate::engine::error::{self, CommandError};
use crate::engine::spec::flag::{DENYOOM, READONLY, WRITE};
use crate::engine::spec::{CommandResult, ONE_KEY, Outcome, Spec};
use crate::number;
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;
use crate::rdb::dump;
use crate::rdb::opcode::{ValueType, Version};
use crate::rdb::value_decoder::{Built, Limits, ValueBuilder};
use crate::rdb::value_encoder;
use crate::rdb::writer::Writer;

use super::Key;
use super::access;
use super::entry::{Content, Entry, View};

pub const COMMANDS: &[Spec] = &[
    Spec::data("dump", 2, READONLY, ONE_KEY, dump).doc(
        "2.6.0",
        "generic",
        "Return a serialized version of the value stored at the specified key.",
        "O(1) to access the key and additional O(N*M) to serialize it, where N is the number of Redis objects composing the value and M their average size. For small string values the time complexity is thus O(1)+O(1*M) where M is small, so simply O(1).",
    ),
    Spec::data("restore", -4, WRITE | DENYOOM, ONE_KEY, restore).doc(
        "2.6.0",
        "generic",
        "Create a key using the provided serialized value, previously obtained using DUMP.",
        "O(1) to create the new key and additional O(N*M) to reconstruct the serialized value, where N is the number of Redis objects composing the value and M their average size. For small string values the time complexity is thus O(1)+O(1*M) where M is small, so simply O(1). However for sorted set values the complexity is O(N*M*log(N)) because inserting values into sorted sets is O(log(N)).",
    ),
];

/// DUMP key
fn dump(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let version = Version::redis(data.config.rdb_version);
    let mut writer = Writer::new(data.config.rdbcompression);
    match data.find(Key::new(args.get(1))) {
        Some(entry) => write_value(&entry, version, &mut writer),
        None => {
            reply.null();
            return Ok(Outcome::Replied);
        }
    }
    dump::seal(&mut writer.bytes, version);
    reply.bulk(&writer.bytes);
    Ok(Outcome::Replied)
}

fn write_value(entry: &Entry, version: Version, writer: &mut Writer) {
    let view = entry.view();
    writer.byte(match view {
        View::Int(_) | View::Bytes(_) => ValueType::String as u8,
        View::Value(value) => value_encoder::type_of(value, version) as u8,
    });
    match view {
        View::Int(value) => writer.integer(value),
        View::Bytes(bytes) => writer.string(bytes),
        View::Value(value) => value_encoder::write(value, version, writer),
    }
}

/// RESTORE key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds | FREQ frequency]
fn restore(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    let options = RestoreOptions::parse(args)?;
    let key = Key::new(args.get(1));
    let exists = data.exists(key);
    if exists && !options.replace {
        return Err(error::BUSY_KEY);
    }
    let ttl = number::parse_i64(args.get(2)).ok_or(error::NOT_AN_INTEGER)?;
    if ttl < 0 {
        return Err(INVALID_TTL);
    }
    let body = dump::unseal(args.get(3)).ok_or(WRONG_FOOTER)?;
    let expiry = match ttl {
        0 => None,
        at if options.absolute => Some(UnixMillis(at)),
        millis => Some(UnixMillis(data.now.0.saturating_add(millis))),
    };
    let entry = entry_of(body, Limits::of(data.config), key.bytes, expiry)?;
    if expiry.is_some_and(|at| at <= data.now) && data.decides_expiry() {
        if data.delete(key) {
            data.wrote(key, 1, Event::Generic, "del");
            data.propagate(&[b"DEL", key.bytes]);
        }
        reply.ok();
        return Ok(Outcome::Replied);
    }
    data.store_entry(key, entry);
    if let Some(bits) = options.access_bits(data) {
        data.database()
            .get(key)
            .inspect(|entry| entry.set_access(bits));
    }
    data.wrote(key, 1, Event::Generic, "restore");
    if let Some(at) = expiry
        && !options.absolute
    {
        let mut digits = itoa::Buffer::new();
        let mut words: Vec<&[u8]> = args.iter().collect();
        words[2] = digits.format(at.0).as_bytes();
        words.push(b"ABSTTL");
        data.propagate(&words);
    }
    reply.ok();
    Ok(Outcome::Replied)
}

/// The entry that a payload without its footer describes.
fn entry_of(
    body: &[u8],
    limits: Limits,
    key: &[u8],
    expiry: Option<UnixMillis>,
) -> Result<Entry, CommandError> {
    let (mut parts, mut reader) = dump::open(body).map_err(|_| BAD_DATA)?;
    let mut builder = ValueBuilder::new(limits);
    builder.begin(parts.value_type());
    while let Some(part) = parts.next_part(&mut reader).map_err(|_| BAD_DATA)? {
        builder.add(part).map_err(|_| BAD_DATA)?;
    }
    if reader.left() > 0 {
        return Err(BAD_DATA);
    }
    let content = match builder.finish().map_err(|_| BAD_DATA)? {
        Built::Int(value) => Content::Int(value),
        Built::Bytes(bytes) => Content::Bytes(bytes),
        Built::Value(value) => Content::Value(value),
        Built::Nothing => return Err(BAD_DATA),
    };
    Ok(Entry::new(key, expiry, content))
}

#[derive(Default)]
struct RestoreOptions {
    replace: bool,
    absolute: bool,
    idle_seconds: Option<u64>,
    frequency: Option<u8>,
}

impl RestoreOptions {
    fn parse(args: Argv) -> Result<Self, CommandError> {
        let mut options = RestoreOptions::default();
        let mut at = 4;
        while at < args.len() {
            let has_more = at + 1 < args.len();
            match &args.get(at).to_ascii_uppercase()[..] {
                b"REPLACE" => options.replace = true,
                b"ABSTTL" => options.absolute = true,
                b"IDLETIME" if has_more && options.frequency.is_none() => {
                    at += 1;
                    let seconds = integer(args.get(at))?;
                    options.idle_seconds =
                        Some(u64::try_from(seconds).map_err(|_| INVALID_IDLE_TIME)?);
                }
                b"FREQ" if has_more && options.idle_seconds.is_none() => {
                    at += 1;
                    let counter = integer(args.get(at))?;
                    options.frequency = Some(u8::try_from(counter).map_err(|_| INVALID_FREQUENCY)?);
                }
                _ => return Err(error::SYNTAX),
            }
            at += 1;
        }
        Ok(options)
    }

    /// The access field that was asked for, if it is of the kind that is kept now.
    fn access_bits(&self, data: &Data) -> Option<u32> {
        let is_lfu = matches!(
            data.config.maxmemory_policy,
            MaxmemoryPolicy::AllkeysLfu | MaxmemoryPolicy::VolatileLfu
        );
        if is_lfu {
            self.frequency
                .map(|counter| access::from_frequency(counter, data.now))
        } else {
            self.idle_seconds
                .map(|seconds| access::from_idle_seconds(seconds, data.now))
        }
    }
}

fn integer(text: &[u8]) -> Result<i64, CommandError> {
    number::parse_i64(text).ok_or(error::NOT_AN_INTEGER)
}

const INVALID_TTL: CommandError = CommandError::new("ERR Invalid TTL value, must be >= 0");
const INVALID_IDLE_TIME: CommandError =
    CommandError::new("ERR Invalid IDLETIME value, must be >= 0");
const INVALID_FREQUENCY: CommandError =
    CommandError::new("ERR Invalid FREQ value, must be >= 0 and <= 255");
const WRONG_FOOTER: CommandError =
    CommandError::new("ERR DUMP payload version or checksum are wrong");
const BAD_DATA: CommandError = CommandError::new("ERR Bad data format");
