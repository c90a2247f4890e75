//! What reaches a replica for each call, byte for byte but for moments in time: both ends must write the same stream,
//! or a real replica of ours would drift away.

use crate::grammar::{Grammar, TRANSACTION_TEMPLATES};
use crate::known;
use crate::pair::Pair;
use crate::random_commands;
use crate::support::dice::Dice;
use crate::support::server::{self, Server};
use crate::support::stream::Follower;
use crate::support::value::{Value, quoted, typed};
use crate::support::wait;

/// Calls in this order on one dataset; `;` parts commands that are sent one after the other.
const CALLS: &str = "
    SET k v
    SET k v NX
    SETNX k v
    SETNX knew v
    SET k v EX 100
    SET k v PX 100000
    SET k v EXAT 4102444800
    SET k v PXAT 4102444800000
    SET k v KEEPTTL
    SET k v XX
    SET k v GET
    SET k v EX 100 GET
    SET k v PXAT 1
    SET nk v PXAT 1
    EXISTS nk
    SETEX k 100 v
    SETEX k 100 v
    PSETEX k 100000 v
    GETSET k v2
    GETDEL knew
    CONFIG SET lazyfree-lazy-user-del yes ; SET d 1 ; GETDEL d ; SET d 1 ; DEL d ; CONFIG SET lazyfree-lazy-user-del no
    CONFIG SET lazyfree-lazy-expire yes ; SET d 1 ; EXPIRE d -1 ; SET d 1 ; GETEX d EXAT 1 ; SET d 1 ; PEXPIREAT d 1 ; CONFIG SET lazyfree-lazy-expire no
    CONFIG SET lazyfree-lazy-server-del yes ; SET d 1 ; SET e 1 ; RENAME d e ; SADD s 1 ; SPOP s 5 ; CONFIG SET lazyfree-lazy-server-del no
    GETDEL nokey
    MSET a 1 b 2
    MSETNX a 1 c 2
    MSETNX m1 1 m2 2
    APPEND k x
    SETRANGE k 0 zz
    SETRANGE nokey 0 ''
    INCR n1
    DECRBY n1 5
    INCRBYFLOAT f1 1.5
    SET f2 5 EX 100 ; INCRBYFLOAT f2 0.25
    GETEX f1 EX 100
    GETEX f1 PERSIST
    GETEX f1 PERSIST
    GETEX f1 EXAT 1
    GETEX k
    SET e 1 ; EXPIRE e 100
    EXPIRE e 100 NX
    PEXPIRE e 100000
    EXPIREAT e 4102444800
    PEXPIREAT e 4102444800000
    EXPIRE e 200 LT
    PERSIST e
    PERSIST e
    EXPIRE e -1
    EXPIRE e 100
    SET d 1 ; DEL d nokey
    DEL nokey
    SET d 1 ; UNLINK d
    TOUCH a
    RENAME a a2
    RENAMENX a2 b
    COPY a2 a3
    COPY a2 a4 DB 1
    COPY a2 a3
    MOVE a3 1
    MOVE a3 1
    SWAPDB 0 1
    SWAPDB 0 1
    SWAPDB 2 2
    RPUSH l a b c d e f g h
    LPUSHX nol a
    LPOP l
    LPOP l 2
    LPOP l 0
    LSET l 0 z
    LREM l 0 zz
    LREM l 0 z
    LTRIM l 0 -1
    LTRIM l 0 3
    LINSERT l BEFORE f x
    LINSERT l BEFORE nope x
    RPOPLPUSH l l2
    LMOVE l l2 LEFT RIGHT
    SADD s 1 2 3 4 5 6 7 8 9 10
    SADD s 1
    SREM s nope
    SREM s 1 nope
    SPOP s
    SPOP s 3
    SPOP s 0
    SPOP s 9
    SPOP s
    SADD s 1 2 x ; SMOVE s s9 x
    SMOVE s s9 nope
    SINTERSTORE s8 s s
    SUNIONSTORE s7 s s9
    SDIFFSTORE s6 s s
    SDIFFSTORE s7 s s
    ZADD z 1 a 2 b 3 c 4 d
    ZADD z NX 1 a
    ZADD z 1 a
    ZADD z XX CH 5 a
    ZADD z INCR 2 a
    ZADD z GT INCR -2 a
    ZINCRBY z 1 a
    ZINCRBY z 0 a
    ZPOPMIN z
    ZPOPMIN z 0
    ZPOPMAX z 1
    ZREMRANGEBYRANK z 5 6
    ZREMRANGEBYRANK z 0 0
    ZREM z nope
    HSET h f 1 g 2
    HSET h f 1
    HMSET h i 5
    HSETNX h f 2
    HINCRBY h f 2
    HINCRBY h f 0
    HINCRBYFLOAT h f 0.5
    HDEL h nope
    HDEL h g
    HDEL h f i
    PUBLISH ch m
    MULTI ; EXEC
    MULTI ; GET b ; EXEC
    MULTI ; SET m1 1 ; EXEC
    MULTI ; SET m1 1 ; GET m1 ; INCR m1 ; EXEC
    MULTI ; SET m1 1 ; LPUSH m1 1 ; SET m2 2 ; EXEC
    MULTI ; SELECT 2 ; SET m1 1 ; SELECT 0 ; SET m1 2 ; EXEC
    MULTI ; SET m1 1 ; NOSUCH ; EXEC
    MULTI ; SET m1 1 ; DISCARD
    MULTI ; PUBLISH ch m ; SET m1 3 ; EXEC
    MULTI ; EXPIRE m1 100 ; SPOP s ; INCRBYFLOAT f2 1 ; EXEC
    SELECT 3 ; SET in3 1 ; SELECT 0
    GET b
    SELECT 5 ; SELECT 0
    SET t 1 PX 100000 ; GETEX t EX 100 ; PEXPIRE t 100000
    RESTORE rr2 0 notadump
    FLUSHDB
    FLUSHDB ASYNC
    FLUSHALL
    FLUSHALL ASYNC
    SET after 1
";

#[test]
fn each_call_reaches_a_replica_in_the_same_words() {
    let Some(theirs) = server::redis() else {
        return;
    };
    let settings = [
        ("repl-diskless-sync-delay", "0"),
        ("repl-ping-replica-period", "3600"),
    ];
    let [ours, theirs] = [server::sluice(), theirs].map(|setup| {
        let with = |setup: server::Setup, (name, value): (&str, &str)| setup.set(name, value);
        settings.into_iter().fold(setup, with).start()
    });
    let mut wrong = Vec::new();
    let mut followers = [Follower::attach(&ours), Follower::attach(&theirs)];
    let mut clients = [ours.client(), theirs.client()];
    for client in &mut clients {
        // Only a touched key expires, so that its DEL has one place in the stream.
        client.must("DEBUG SET-ACTIVE-EXPIRE 0");
    }
    for call in CALLS.lines().map(str::trim).filter(|call| !call.is_empty()) {
        let streams: Vec<String> = clients
            .iter_mut()
            .zip(&mut followers)
            .map(|(client, follower)| {
                for command in call.split(" ; ") {
                    client.call(command);
                }
                client.call("PUBLISH done-with-the-call x");
                let commands = follower.commands_until_published("done-with-the-call");
                shown(&commands, call.contains("SPOP"))
            })
            .collect();
        let [ours, theirs] = &streams[..] else {
            unreachable!("two servers");
        };
        if ours != theirs && !known::is_known(&format!("STREAM {call}"), ours, theirs) {
            wrong.push(format!("{call}\n    ours   {ours}\n    theirs {theirs}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "the streams differ:\n{}",
        wrong.join("\n")
    );
}

/// Whatever is called, with whatever arguments: the same effects, or none.
#[test]
fn random_calls_reach_a_replica_in_the_same_words() {
    let settings = [
        ("repl-diskless-sync-delay", "0"),
        ("repl-ping-replica-period", "3600"),
    ];
    let Some(mut pair) = Pair::start_with(&settings) else {
        return;
    };
    pair.expire_on_access_only();
    let grammars = [
        random_commands::grammar(&pair)
            // The keys that RANDOMKEY finds expired are chance; WAIT asks the replicas; transactions have their own seeds.
            .without(&["RANDOMKEY", "WAIT", "MULTI"])
            .with(&["!LAPSE <k>"; 6]),
        Grammar::of(TRANSACTION_TEMPLATES),
    ];
    let mut followers = [&pair.ours, &pair.theirs].map(Follower::attach);
    let seeds = match std::env::var("SLUICE_SEED") {
        Ok(_) => vec![Dice::seed_from("SLUICE_SEED", 0)],
        Err(_) => (5_000_001..5_000_001 + Dice::seed_from("SLUICE_SEQUENCES", 6)).collect(),
    };
    for seed in seeds {
        pair.begin_anew();
        let mut dice = Dice::new(seed);
        let mut steps: Vec<String> = Vec::new();
        let mut effects = 0;
        for number in 0..400 {
            let step = grammars[seed as usize % 2].step(&mut dice);
            steps.push(format!("{}> {}", step.connection, typed(&step.words)));
            if let Err(difference) = pair.step(&step) {
                panic!("SLUICE_SEED={seed}, step {number}: {difference}");
            }
            let mut streams: Vec<Stream> = [&pair.ours, &pair.theirs]
                .into_iter()
                .zip(&mut followers)
                .map(|(server, follower)| {
                    server.call("PUBLISH done-with-the-step x");
                    follower.commands_until_published("done-with-the-step")
                })
                .collect();
            let (theirs, ours) = (streams.pop(), streams.pop());
            let (ours, theirs) = (ours.unwrap_or_default(), theirs.unwrap_or_default());
            effects += ours.len();
            let name = step.words[0].to_ascii_uppercase();
            // The reference was made to take the members that ours had popped, and each took the dump of the other.
            let differs_by_nature = name == b"SPOP" || name == b"!CROSSDUMP";
            let what = format!("STREAM {}", typed(&step.words));
            let [shown_ours, shown_theirs] = [&ours, &theirs].map(|stream| shown(stream, false));
            assert!(
                differs_by_nature
                    || are_alike(&ours, &theirs)
                    || known::is_known(&what, &shown_ours, &shown_theirs),
                "SLUICE_SEED={seed}, step {number}:\n{}\n    ours   {shown_ours}\n    theirs {shown_theirs}",
                steps[steps.len().saturating_sub(12)..].join("\n")
            );
        }
        assert!(effects > 40, "{effects} effects of 400 calls are too few");
        if let Err(difference) = pair.compare_data() {
            panic!("SLUICE_SEED={seed}: {difference}");
        }
        for (server, follower) in [&pair.ours, &pair.theirs].into_iter().zip(&mut followers) {
            server.call("PUBLISH done-with-the-seed x");
            follower.commands_until_published("done-with-the-seed");
        }
    }
}

type Stream = Vec<Vec<Vec<u8>>>;

/// Equal but for moments that were reckoned from two different nows, and for the order in which expired keys were found.
fn are_alike(ours: &Stream, theirs: &Stream) -> bool {
    let found_expired = |stream: &Stream| {
        let mut stream = stream.clone();
        if stream.iter().all(|words| words[0] == b"DEL") {
            stream.sort();
        }
        stream
    };
    let (ours, theirs) = (found_expired(ours), found_expired(theirs));
    ours.len() == theirs.len()
        && ours.iter().zip(&theirs).all(|(ours, theirs)| {
            ours.len() == theirs.len()
                && ours
                    .iter()
                    .zip(theirs)
                    .all(|(ours, theirs)| ours == theirs || are_one_moment(ours, theirs))
        })
}

fn are_one_moment(one: &[u8], other: &[u8]) -> bool {
    let moment = |word: &[u8]| std::str::from_utf8(word).ok()?.parse::<i64>().ok();
    match (moment(one), moment(other)) {
        (Some(one), Some(other)) => one > 1_000_000_000_000 && one.abs_diff(other) < 3000,
        _ => false,
    }
}

/// The commands on one line, with moments near the present as `<ms>`, and with the members of SPOP's SREM left out.
fn shown(commands: &[Vec<Vec<u8>>], has_chance: bool) -> String {
    let lines = commands.iter().map(|words| {
        let mut words: Vec<Vec<u8>> = words
            .iter()
            .map(|word| {
                if is_near_now(word) {
                    b"<ms>".to_vec()
                } else {
                    word.clone()
                }
            })
            .collect();
        if has_chance && words[0].eq_ignore_ascii_case(b"SREM") {
            for member in &mut words[2..] {
                *member = b"<member>".to_vec();
            }
        }
        typed(&words)
    });
    lines.collect::<Vec<_>>().join(" ; ")
}

fn is_near_now(word: &[u8]) -> bool {
    let number = std::str::from_utf8(word)
        .ok()
        .and_then(|text| text.parse::<i64>().ok());
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64);
    number.is_some_and(|number| number.abs_diff(now) < 10_000_000)
}

/// A key that expires is deleted in the stream by its master, whether somebody touches it or not.
#[test]
fn an_expiry_reaches_the_replica_as_a_deletion() {
    let Some(theirs) = server::redis() else {
        return;
    };
    for touched in [true, false] {
        for lazily in ["no", "yes"] {
            let settings = |setup: server::Setup| {
                let setup = setup.set("lazyfree-lazy-expire", lazily);
                setup.set("repl-diskless-sync-delay", "0").start()
            };
            let streams = [settings(server::sluice()), settings(theirs.clone())].map(|server| {
                let mut follower = Follower::attach(&server);
                let mut client = server.client();
                if touched {
                    client.must("DEBUG SET-ACTIVE-EXPIRE 0");
                }
                client.must("SET ex 1 PX 30");
                wait::until("the key is gone", || {
                    if touched {
                        client.must("EXISTS ex").integer() == 0
                    } else {
                        client.must("DBSIZE").integer() == 0
                    }
                });
                client.call("PUBLISH done x");
                shown(&follower.commands_until_published("done"), false)
            });
            let [ours, theirs] = &streams;
            assert!(
                ours == theirs
                    || known::is_known(&format!("STREAM expiry, lazily {lazily}"), ours, theirs),
                "touched {touched}, lazily {lazily}\n    ours   {ours}\n    theirs {theirs}"
            );
        }
    }
}

/// The stream's offsets count its bytes, and INFO tells the same number.
#[test]
fn the_offset_is_the_number_of_bytes_sent() {
    let server = server::sluice()
        .set("repl-diskless-sync-delay", "0")
        .start();
    let mut follower = Follower::attach(&server);
    let mut client = server.client();
    let mut dice = Dice::new(3);
    for number in 0..200 {
        let value = quoted(&vec![b'v'; dice.below(500)]);
        client.must(&format!("SET key{number} {value}"));
    }
    client.must("PUBLISH done x");
    follower.commands_until_published("done");
    assert_eq!(
        server.info_number("master_repl_offset") as u64,
        follower.offset
    );
    follower.acknowledge();
    wait::until("the acknowledged offset is shown", || {
        acknowledged(&server) == Some(follower.offset)
    });
}

fn acknowledged(server: &Server) -> Option<u64> {
    let role = server.call("ROLE");
    let replicas = match role.items().get(2) {
        Some(Value::Array(replicas)) => replicas.clone(),
        _ => return None,
    };
    let first = replicas.first()?.texts();
    first.get(2)?.parse().ok()
}
