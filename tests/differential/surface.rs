//! What tools read about a server: the command table, parameters and their defaults, the fields of INFO.

use std::collections::{BTreeMap, BTreeSet};

use crate::known;
use crate::pair::Pair;
use crate::support::server::Server;
use crate::support::value::Value;

/// Commands and containers in scope; more may be there.
const COMMANDS: &str = "
    append decr decrby get getdel getex getrange getset incr incrby incrbyfloat lcs mget mset msetnx psetex set setex
    setnx setrange strlen substr
    lindex linsert llen lmove lpop lpush lpushx lrange lrem lset ltrim rpop rpoplpush rpush rpushx
    sadd scard sdiff sdiffstore sinter sintercard sinterstore sismember smembers smismember smove spop srandmember srem
    sscan sunion sunionstore
    hdel hexists hget hgetall hincrby hincrbyfloat hkeys hlen hmget hmset hrandfield hscan hset hsetnx hstrlen hvals
    zadd zcard zcount zincrby zmscore zpopmax zpopmin zrange zrangebylex zrangebyscore zrank zrem zremrangebylex
    zremrangebyrank zremrangebyscore zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan zscore
    copy del dump exists expire expireat expiretime keys move object persist pexpire pexpireat pexpiretime pttl
    randomkey rename renamenx restore scan touch ttl type unlink wait
    multi exec discard watch unwatch
    subscribe unsubscribe psubscribe punsubscribe publish pubsub
    ping echo time dbsize info config command slowlog monitor debug memory shutdown lastsave role select swapdb flushdb
    flushall save bgsave psync sync replconf replicaof slaveof auth hello quit reset client
";

const SUBCOMMANDS: &str = "
    config|get config|set config|rewrite config|resetstat command|count command|info command|docs command|list
    command|getkeys slowlog|get slowlog|len slowlog|reset object|encoding object|refcount object|idletime object|freq
    memory|usage pubsub|channels pubsub|numsub pubsub|numpat client|id client|info client|list client|getname
    client|setname client|kill client|pause client|unpause client|reply
";

#[test]
fn every_command_in_scope_is_described_alike() {
    let Some(pair) = Pair::start() else {
        return;
    };
    let mut wrong = Vec::new();
    for name in COMMANDS
        .split_whitespace()
        .chain(SUBCOMMANDS.split_whitespace())
    {
        let [ours, theirs] = [&pair.ours, &pair.theirs].map(|server| described(server, name));
        if ours != theirs && !known::is_known(&format!("COMMAND INFO {name}"), &ours, &theirs) {
            wrong.push(format!("{name}\n    ours   {ours}\n    theirs {theirs}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "COMMAND INFO differs:\n{}",
        wrong.join("\n")
    );
}

/// Name, arity, flags, first, last, step, categories; flags and categories sorted.
fn described(server: &Server, name: &str) -> String {
    let reply = server.call(&format!("COMMAND INFO {name}"));
    match reply.items().first() {
        Some(Value::Array(fields)) if fields.len() >= 7 => {
            let fields = fields[..7].iter().map(|field| match field {
                Value::Array(items) => Value::Set(items.clone()).unordered().to_string(),
                other => other.clone().unordered().to_string(),
            });
            fields.collect::<Vec<_>>().join(" ")
        }
        _ => reply.to_string(),
    }
}

#[test]
fn every_command_in_scope_is_documented() {
    let Some(pair) = Pair::start() else {
        return;
    };
    let mut wrong = Vec::new();
    for name in COMMANDS.split_whitespace() {
        let [ours, theirs] = [&pair.ours, &pair.theirs].map(|server| {
            let reply = server.call(&format!("COMMAND DOCS {name}"));
            reply.items().get(1).cloned().unwrap_or(Value::Null)
        });
        for field in ["since", "group"] {
            let [ours, theirs] = [&ours, &theirs].map(|docs| match docs {
                Value::Null => String::new(),
                docs => docs
                    .field(field)
                    .map_or(String::new(), |value| value.to_string()),
            });
            if ours != theirs && !known::is_known(&format!("COMMAND DOCS {name}"), &ours, &theirs) {
                wrong.push(format!("{name} {field}: ours {ours}, theirs {theirs}"));
            }
        }
        let has_summary = ours
            .field("summary")
            .is_some_and(|text| text.text().len() > 5);
        if !has_summary {
            wrong.push(format!("{name} has no summary"));
        }
    }
    assert!(
        wrong.is_empty(),
        "COMMAND DOCS differs:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn keys_are_found_in_commands_alike() {
    let Some(pair) = Pair::start() else {
        return;
    };
    for line in [
        "GET k",
        "SET k v EX 10",
        "MSET a 1 b 2",
        "MSET a 1 b",
        "DEL a b c",
        "RENAME a b",
        "COPY a b REPLACE",
        "LMOVE a b LEFT LEFT",
        "SINTERCARD 2 a b LIMIT 1",
        "SINTERCARD 9 a b",
        "SUNIONSTORE d a b",
        "OBJECT ENCODING k",
        "MEMORY USAGE k",
        "ZADD z 1 a 2 b",
        "LCS a b",
        "RESTORE k 0 x",
        "WATCH a b",
        "DEBUG OBJECT k",
        "PING",
        "NOSUCH k",
        "GET",
        "CONFIG GET x",
        "XYZ",
        "SMOVE a b m",
        "ZRANGE z 0 1",
        "TOUCH a b",
    ] {
        let command = format!("COMMAND GETKEYS {line}");
        let [ours, theirs] =
            [&pair.ours, &pair.theirs].map(|server| server.call(&command).to_string());
        assert!(
            ours == theirs || known::is_known(&command, &ours, &theirs),
            "{command}\n    ours   {ours}\n    theirs {theirs}"
        );
    }
}

#[test]
fn parameters_have_the_same_names_and_defaults() {
    let Some(pair) = Pair::start() else {
        return;
    };
    let [ours, theirs] = [&pair.ours, &pair.theirs].map(parameters);
    let mut wrong = Vec::new();
    for (name, theirs) in &theirs {
        let ours = ours.get(name).map_or("(missing)", String::as_str);
        let depends_on_the_run =
            ["port", "dir", "bind", "pidfile", "logfile"].contains(&name.as_str());
        let is_equal = ours == theirs || depends_on_the_run && ours != "(missing)";
        if !is_equal && !known::is_known(&format!("CONFIG GET {name}"), ours, theirs) {
            wrong.push(format!("{name}: ours {ours:?}, theirs {theirs:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "CONFIG GET * differs:\n{}",
        wrong.join("\n")
    );
}

fn parameters(server: &Server) -> BTreeMap<String, String> {
    let reply = server.call("CONFIG GET *").texts();
    reply
        .chunks(2)
        .map(|pair| (pair[0].clone(), pair[1].clone()))
        .collect()
}

#[test]
fn info_has_every_field_of_the_reference() {
    let Some(pair) = Pair::start() else {
        return;
    };
    for server in [&pair.ours, &pair.theirs] {
        server.must("SET k v EX 1000");
        server.call("LPUSH k v");
    }
    let [ours, theirs] = [&pair.ours, &pair.theirs].map(|server| fields(server, "everything"));
    let missing: Vec<&String> = theirs
        .iter()
        .filter(|field| {
            !ours.contains(*field) && !known::is_known(&format!("INFO {field}"), "", "present")
        })
        .collect();
    assert!(missing.is_empty(), "INFO lacks {missing:?}");
}

#[test]
fn info_on_a_replica_has_every_field_of_the_reference() {
    let Some(pair) = Pair::start() else {
        return;
    };
    for server in [&pair.ours, &pair.theirs] {
        // Nobody listens there, so the link stays down.
        server.must("REPLICAOF 127.0.0.1 1");
    }
    let [ours, theirs] = [&pair.ours, &pair.theirs].map(|server| fields(server, "replication"));
    let missing: Vec<&String> = theirs
        .iter()
        .filter(|field| !ours.contains(*field))
        .collect();
    assert!(missing.is_empty(), "INFO replication lacks {missing:?}");
}

fn fields(server: &Server, section: &str) -> BTreeSet<String> {
    let info = server.call(&format!("INFO {section}")).text();
    info.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.to_string())
        .collect()
}

#[test]
fn info_sections_come_when_they_are_asked_for() {
    let Some(pair) = Pair::start() else {
        return;
    };
    for section in [
        "",
        "server",
        "clients",
        "memory",
        "persistence",
        "stats",
        "replication",
        "cpu",
        "keyspace",
        "commandstats",
        "errorstats",
        "SERVER",
        "nosuch",
        "default",
        "all",
        "everything",
        "server clients",
    ] {
        let [ours, theirs] = [&pair.ours, &pair.theirs].map(|server| {
            let info = server.call(&format!("INFO {section}")).text();
            let headings = info.lines().filter(|line| line.starts_with('#'));
            headings.map(str::to_string).collect::<Vec<_>>()
        });
        let missing: Vec<&String> = theirs
            .iter()
            .filter(|heading| {
                !ours.contains(heading)
                    && !known::is_known(&format!("INFO {heading}"), "", "present")
            })
            .collect();
        assert!(
            missing.is_empty(),
            "INFO {section}: ours {ours:?}, theirs {theirs:?}"
        );
    }
}
