//! DEBUG: what tests and operators in trouble do to a running server. Refused unless `enable-debug-command` allows it.

use std::thread;
use std::time::Duration;

use crate::clients::session::Blocked;
use crate::keyspace::Key;
use crate::keyspace::access;
use crate::keyspace::digest::Digest;
use crate::keyspace::entry::{Content, Entry, View};
use crate::keyspace::object_commands::encoding_of;
use crate::number;
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;
use crate::rdb::opcode::Version;
use crate::rdb::value_encoder;
use crate::rdb::writer::Writer;

use super::Node;
use super::error::{self, CommandError};
use super::help::reply_help;
use super::intent::Intent;
use super::spec::flag::{ADMIN, LOADING, NOSCRIPT, PROTECTED, STALE};
use super::spec::{CommandResult, Keys, Outcome, Spec};

const FLAGS: u32 = ADMIN | NOSCRIPT | LOADING | STALE | PROTECTED;

pub const COMMANDS: &[Spec] = &[Spec::node("debug", -2, FLAGS, Keys::None, debug).doc(
    "1.0.0",
    "server",
    "A container for debugging commands.",
    "Depends on subcommand.",
)];

/// DEBUG subcommand [argument ...]
fn debug(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let subcommand = args.get(1).to_ascii_lowercase();
    match (&subcommand[..], args.len()) {
        (b"help", 2) => reply_help(reply, "DEBUG", HELP),
        (b"sleep", 3) => sleep(node, args, reply),
        (b"set-active-expire", 3) => set_active_expire(node, args, reply),
        (b"object", 3) => object(node, args, reply),
        (b"populate", 3..=5) => populate(node, args, reply),
        (b"digest", 2) => digest(node, reply),
        (b"digest-value", 3..) => digest_value(node, args, reply),
        (b"reload", _) => reload(node, args),
        (b"loadaof", 2) => load_aof(node),
        (b"change-repl-id", 2) => change_repl_id(node, reply),
        (b"log", 3) => log_text(args, reply),
        (b"error", 3) => Err(CommandError::from(text(args.get(2)))),
        (b"protocol", 3) => protocol(args, reply),
        _ => Err(error::unknown_subcommand_or_arity("debug", args.get(1))),
    }
}

const HELP: &[&str] = &[
    "CHANGE-REPL-ID",
    "    Begins a new replication history: no replica can continue the old one.",
    "DIGEST",
    "    Tells a digest of the whole dataset.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Tells a digest of each value.",
    "ERROR <string>",
    "    Answers with this error.",
    "LOADAOF",
    "    Writes what has to be written, and replaces the dataset by what the AOF has.",
    "LOG <message>",
    "    Writes a line into the server's log.",
    "OBJECT <key>",
    "    Tells how the value of a key is kept.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Creates <count> strings named <prefix>:<number> (default: key), each of <size> bytes if",
    "    given. Keys that exist stay as they are. Replicas do not hear of it.",
    "PROTOCOL <type>",
    "    Answers with a value of this type: string, integer, double, bignum, null, array, set,",
    "    map, attrib, push, verbatim, true or false.",
    "RELOAD [NOSAVE]",
    "    Saves the dataset, unless told not to, and replaces it by what the file has.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    With 0, expired keys go only when somebody asks for them.",
    "SLEEP <seconds>",
    "    Stops the whole server for that long. Fractions are allowed.",
];

/// DEBUG SLEEP seconds
///
/// Holds the engine on purpose: nobody is served meanwhile, replicas and their masters hear nothing, as if the machine
/// were overloaded. The clock is read anew afterwards, so that deadlines that have passed are found at once.
fn sleep(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let seconds = number::parse_f64(args.get(2)).unwrap_or(0.0);
    thread::sleep(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    node.engine.refresh_time();
    reply.ok();
    Ok(Outcome::Replied)
}

/// DEBUG SET-ACTIVE-EXPIRE 0 | 1
fn set_active_expire(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    node.engine.active_expire = number::parse_i64(args.get(2)).is_some_and(|flag| flag != 0);
    reply.ok();
    Ok(Outcome::Replied)
}

/// DEBUG OBJECT key
fn object(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let engine = &mut *node.engine;
    let db = engine.clients.get(node.client).session.db;
    let (now, version) = (engine.now, Version::redis(engine.config.rdb_version));
    let mut writer = Writer::new(engine.config.rdbcompression);
    let database = engine.keyspace.db(db);
    let entry = database
        .get(Key::new(args.get(2)))
        .ok_or(error::NO_SUCH_KEY)?;
    match entry.view() {
        View::Int(value) => writer.integer(value),
        View::Bytes(bytes) => writer.string(bytes),
        View::Value(value) => value_encoder::write(value, version, &mut writer),
    }
    reply.simple(&format!(
        "Value at:{:p} refcount:1 encoding:{} serializedlength:{} lru:{} lru_seconds_idle:{}",
        &*entry,
        encoding_of(&entry),
        writer.bytes.len(),
        entry.access(),
        access::idle_seconds(entry.access(), now)
    ));
    Ok(Outcome::Replied)
}

/// DEBUG POPULATE count [prefix] [size]
fn populate(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let not_negative = |at| {
        let number = number::parse_i64(args.get(at));
        number
            .and_then(|number| usize::try_from(number).ok())
            .ok_or(error::MUST_BE_POSITIVE)
    };
    let count = not_negative(2)?;
    let prefix = if args.len() > 3 { args.get(3) } else { b"key" };
    let size = if args.len() > 4 { not_negative(4)? } else { 0 };
    let engine = &mut *node.engine;
    if size as u64 > engine.config.proto_max_bulk_len {
        return Err(error::STRING_TOO_LONG);
    }
    let db = engine.clients.get(node.client).session.db;
    let mut data = engine.data(db, engine.expiry_rule(), engine.access_rule());
    for index in 0..count {
        let digits = index.to_string();
        let name = [prefix, b":", digits.as_bytes()].concat();
        let key = Key::new(&name);
        if data.exists(key) {
            continue;
        }
        let mut value = [b"value:", digits.as_bytes()].concat();
        if size > 0 {
            value.resize(size, 0);
        }
        data.store_entry(key, Entry::new(&name, None, Content::Bytes(&value)));
        data.touched(key);
    }
    reply.ok();
    Ok(Outcome::Replied)
}

/// DEBUG DIGEST: a large dataset is digested while others work.
fn digest(node: &mut Node, reply: &mut Reply) -> CommandResult {
    let picture = node.engine.keyspace.picture();
    // What runs inside of EXEC has to be answered there.
    if picture.len() < DIGESTED_AT_ONCE_MAX || node.engine.in_exec {
        reply.simple(&Digest::of_dataset(&picture).to_string());
        return Ok(Outcome::Replied);
    }
    let client = node.client;
    let parked = node.engine.park(client, Blocked::ForTask)?;
    node.engine.intents.push(Intent::Digest { client, picture });
    Ok(parked)
}

/// Datasets of fewer keys are digested at once.
const DIGESTED_AT_ONCE_MAX: usize = 1_000;

/// DEBUG DIGEST-VALUE key [key ...]
fn digest_value(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let engine = &mut *node.engine;
    let db = engine.clients.get(node.client).session.db;
    let database = engine.keyspace.db(db);
    reply.array(args.len() - 2);
    for key in args.skip(2).iter() {
        // As in the digest of everything, keys whose time has passed count.
        let entry = database.get(Key::new(key));
        let digest = entry.map_or(Digest::default(), |entry| Digest::of_value(&entry));
        reply.simple(&digest.to_string());
    }
    Ok(Outcome::Replied)
}

/// DEBUG CHANGE-REPL-ID
fn change_repl_id(node: &mut Node, reply: &mut Reply) -> CommandResult {
    let engine = &mut *node.engine;
    engine.replication.identity.begin(&mut engine.random);
    engine.rotate_aof();
    reply.ok();
    Ok(Outcome::Replied)
}

/// DEBUG RELOAD [NOSAVE]
fn reload(node: &mut Node, args: Argv) -> CommandResult {
    let mut save = true;
    for option in args.skip(2).iter() {
        if !option.eq_ignore_ascii_case(b"nosave") {
            return Err(error::BAD_RELOAD_OPTION);
        }
        save = false;
    }
    let parked = node.engine.park(node.client, Blocked::ForTask)?;
    node.engine.intents.push(Intent::Reload {
        client: node.client,
        save,
    });
    Ok(parked)
}

/// DEBUG LOADAOF
fn load_aof(node: &mut Node) -> CommandResult {
    if !node.engine.aof.is_on() {
        return Err(CommandError::new(
            "ERR There is no AOF to load: appendonly is off",
        ));
    }
    let parked = node.engine.park(node.client, Blocked::ForTask)?;
    let client = node.client;
    node.engine.intents.push(Intent::ReloadAof { client });
    Ok(parked)
}

/// DEBUG LOG message
fn log_text(args: Argv, reply: &mut Reply) -> CommandResult {
    log::warn!("DEBUG LOG: {}", text(args.get(2)));
    reply.ok();
    Ok(Outcome::Replied)
}

/// DEBUG PROTOCOL string | integer | double | bignum | null | array | set | map | attrib | push | verbatim | true | false
fn protocol(args: Argv, reply: &mut Reply) -> CommandResult {
    const BIG_NUMBER: &[u8] = b"1234567999999999999999999999999999999";
    match &args.get(2).to_ascii_lowercase()[..] {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.integer(12345),
        b"double" => reply.double(b"3.141"),
        b"bignum" if reply.is_resp3() => reply.raw(&[b"(", BIG_NUMBER, b"\r\n"].concat()),
        b"bignum" => reply.bulk(BIG_NUMBER),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        b"map" => {
            reply.map(3);
            for number in 0..3 {
                reply.integer(number);
                reply.boolean(number == 1);
            }
        }
        b"attrib" => {
            if reply.is_resp3() {
                reply.raw(b"|1\r\n");
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.integer(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" if !reply.is_resp3() => return Err(error::NO_RESP2),
        b"push" => {
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.integer(42);
            reply.bulk(b"Some real reply following the push reply");
        }
        b"verbatim" => reply.verbatim("txt", b"This is a verbatim\nstring"),
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        _ => return Err(error::BAD_PROTOCOL_TYPE),
    }
    Ok(Outcome::Replied)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use crate::engine::trial::Trial;
    use crate::keyspace::digest::Digest;

    /// After each request, what redis 7.0.15 answers to DEBUG DIGEST.
    const STEPS: &[(&str, &str)] = &[
        ("SET int 12345", "d59e7e4b2e4f88a2f388ff065185952fc9a2f1be"),
        ("SET text hello", "63cd8d6e0d8820500d288ba79718ca09976fcf77"),
        (
            "SET mortal x PXAT 4102444800000",
            "3e217632a14bd0c5779f4f686503f382afc60cfd",
        ),
        (
            "RPUSH list a 1 b a",
            "d8f6bb90778554fb361e143a6400028bc76f4901",
        ),
        (
            "SADD ints 3 1 2",
            "e5017f4f35c54c0a033264e3b23a9f5e2a81726e",
        ),
        (
            "SADD words one two",
            "0563730f93690345e97a73ee723b795f1df6566d",
        ),
        (
            "HSET hash f v g 2",
            "e7237ab4d3090af4ba2176b4e16972eb9af5b612",
        ),
        (
            "ZADD zset 0.1 a -inf b 1e300 c 3 d",
            "facdb458d2e894664e73303df359275951def8a3",
        ),
        ("SWAPDB 0 1", "e27a5fb97094cae0f48870635a9955db55ce0c11"),
        (
            "SETRANGE big 70000 end",
            "706b881b2291ebcd9a14ff3ea862f52600db6fee",
        ),
        ("SET zero ", "275b14da4b041ab595144d4afa8a13682556d7c1"),
    ];

    #[test]
    fn each_type_is_digested_as_redis_does_it() {
        let mut trial = Trial::new();
        let digest = |trial: &Trial| Digest::of_dataset(&trial.engine.keyspace.picture());
        assert_eq!(digest(&trial), Digest::default());
        for (request, expected) in STEPS {
            trial.run(request);
            assert_eq!(digest(&trial).to_string(), *expected, "{request}");
        }
    }
}
