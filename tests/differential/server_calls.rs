//! Calls about the server and the connection, one after the other on one connection in each protocol: their replies are
//! equal, shapes and error texts included, where they do not tell of a particular run.

use crate::known;
use crate::pair::Pair;
use crate::support::value::{Value, words};

const CALLS: &str = r#"
    CONFIG
    CONFIG GET
    CONFIG NOSUCH
    CONFIG SET
    CONFIG SET maxmemory
    CONFIG SET nosuch 1
    CONFIG SET maxmemory x
    CONFIG SET maxmemory 1.5gb
    CONFIG SET maxmemory -1
    CONFIG SET maxmemory 100mb
    CONFIG GET maxmemory
    CONFIG SET maxmemory 0 maxmemory 1
    CONFIG SET maxmemory 0
    CONFIG SET maxmemory-policy nosuch
    CONFIG SET maxmemory-policy allkeys-lru
    CONFIG SET maxmemory-policy noeviction
    CONFIG SET hash-max-listpack-entries x
    CONFIG SET hash-max-ziplist-entries 7
    CONFIG GET hash-max-listpack-entries
    CONFIG SET hash-max-listpack-entries 128 hash-max-listpack-value 64
    CONFIG SET hash-max-listpack-entries 5 nosuch 1
    CONFIG GET hash-max-listpack-entries
    CONFIG SET databases 3
    CONFIG SET port x
    CONFIG SET port 99999
    CONFIG SET appendonly x
    CONFIG SET timeout -1
    CONFIG SET timeout 0
    CONFIG SET save "1 2 3"
    CONFIG SET save "x"
    CONFIG SET save "100 10"
    CONFIG GET save
    CONFIG SET save ""
    CONFIG SET notify-keyspace-events Q
    CONFIG SET notify-keyspace-events KEA
    CONFIG GET notify-keyspace-events
    CONFIG SET notify-keyspace-events ""
    CONFIG SET client-output-buffer-limit "normal 1 2"
    CONFIG SET client-output-buffer-limit "nosuch 1 2 3"
    CONFIG SET client-output-buffer-limit "normal 0 0 0"
    CONFIG GET client-output-buffer-limit
    CONFIG SET repl-backlog-size 1
    CONFIG GET repl-backlog-size
    CONFIG SET repl-backlog-size 1mb
    CONFIG SET slave-read-only yes
    CONFIG GET slave-read-only replica-read-only
    CONFIG SET loglevel nosuch
    CONFIG SET list-max-listpack-size -9
    CONFIG SET list-max-listpack-size -2
    CONFIG RESETSTAT
    CONFIG RESETSTAT x
    CONFIG REWRITE
    CLIENT
    CLIENT NOSUCH
    CLIENT GETNAME
    CLIENT GETNAME x
    CLIENT SETNAME
    CLIENT SETNAME "a b"
    CLIENT SETNAME "a\nb"
    CLIENT SETNAME me
    CLIENT GETNAME
    CLIENT SETNAME ""
    CLIENT GETNAME
    CLIENT LIST TYPE nosuch
    CLIENT LIST TYPE master
    CLIENT LIST TYPE pubsub
    CLIENT LIST ID x
    CLIENT LIST ID 999999
    CLIENT LIST x
    CLIENT LIST TYPE
    CLIENT KILL
    CLIENT KILL x
    CLIENT KILL 127.0.0.1:1
    CLIENT KILL ID x
    CLIENT KILL ID 0
    CLIENT KILL ID 999999
    CLIENT KILL TYPE nosuch
    CLIENT KILL TYPE master
    CLIENT KILL ADDR 127.0.0.1:1
    CLIENT KILL LADDR 127.0.0.1:1
    CLIENT KILL USER nosuch
    CLIENT KILL SKIPME x
    CLIENT KILL ADDR 127.0.0.1:1 SKIPME yes
    CLIENT KILL ADDR 127.0.0.1:1 SKIPME
    CLIENT KILL NOSUCH x
    CLIENT PAUSE
    CLIENT PAUSE x
    CLIENT PAUSE -1
    CLIENT PAUSE 0
    CLIENT PAUSE 0 NOSUCH
    CLIENT PAUSE 0 WRITE
    CLIENT UNPAUSE
    CLIENT UNPAUSE x
    CLIENT REPLY
    CLIENT REPLY x
    CLIENT REPLY ON
    CLIENT NO-EVICT
    CLIENT NO-EVICT x
    CLIENT NO-EVICT ON
    CLIENT NO-EVICT OFF
    CLIENT UNBLOCK
    CLIENT UNBLOCK x
    CLIENT UNBLOCK 999999
    CLIENT UNBLOCK 999999 TIMEOUT
    CLIENT UNBLOCK 999999 ERROR
    CLIENT UNBLOCK 999999 x
    CLIENT ID x
    COMMAND NOSUCH
    COMMAND COUNT x
    COMMAND INFO nosuch
    COMMAND INFO get nosuch
    COMMAND INFO config|get
    COMMAND INFO config|nosuch
    COMMAND LIST x
    COMMAND LIST FILTERBY
    COMMAND LIST FILTERBY NOSUCH x
    COMMAND LIST FILTERBY MODULE nosuch
    COMMAND LIST FILTERBY PATTERN gete*
    COMMAND LIST FILTERBY ACLCAT nosuch
    COMMAND DOCS nosuch
    COMMAND GETKEYS
    COMMAND GETKEYS nosuch x
    COMMAND GETKEYS PING x
    DEBUG
    DEBUG NOSUCH
    DEBUG OBJECT nokey
    DEBUG OBJECT
    DEBUG SLEEP 0
    DEBUG SLEEP
    DEBUG DIGEST
    DEBUG DIGEST-VALUE nokey
    DEBUG DIGEST x
    DEBUG SET-ACTIVE-EXPIRE 1
    DEBUG SET-ACTIVE-EXPIRE
    DEBUG POPULATE
    DEBUG POPULATE x
    DEBUG POPULATE 5
    DEBUG POPULATE 7 pre 10
    DBSIZE
    GET key:3
    GET pre:6
    DEBUG DIGEST
    DEBUG RELOAD
    DEBUG RELOAD NOSAVE x
    DBSIZE
    DEBUG CHANGE-REPL-ID
    DEBUG ERROR "ERR some text"
    DEBUG PROTOCOL string
    DEBUG PROTOCOL integer
    DEBUG PROTOCOL double
    DEBUG PROTOCOL null
    DEBUG PROTOCOL array
    DEBUG PROTOCOL set
    DEBUG PROTOCOL map
    DEBUG PROTOCOL bignum
    DEBUG PROTOCOL true
    DEBUG PROTOCOL false
    DEBUG PROTOCOL verbatim
    DEBUG PROTOCOL nosuch
    FLUSHALL
    FLUSHALL x
    FLUSHDB SYNC x
    FLUSHDB ASYNC
    SLOWLOG
    SLOWLOG NOSUCH
    LATENCY
    LATENCY NOSUCH
    LATENCY LATEST
    LATENCY LATEST x
    LATENCY HISTORY
    LATENCY HISTORY nosuch
    LATENCY RESET nosuch command
    LATENCY GRAPH
    LATENCY GRAPH nosuch
    LATENCY HISTOGRAM nosuch object|nosuch
    LATENCY DOCTOR x
    SLOWLOG RESET
    SLOWLOG GET x
    SLOWLOG GET -2
    SLOWLOG GET 0
    SLOWLOG LEN x
    MEMORY
    MEMORY NOSUCH
    MEMORY USAGE
    MEMORY USAGE nokey
    MEMORY USAGE nokey SAMPLES
    MEMORY USAGE nokey SAMPLES x
    MEMORY USAGE nokey SAMPLES -1
    MEMORY USAGE nokey NOSUCH 1
    OBJECT
    OBJECT NOSUCH nokey
    OBJECT ENCODING
    OBJECT ENCODING nokey
    OBJECT REFCOUNT nokey
    OBJECT IDLETIME nokey
    OBJECT FREQ nokey
    SET k v
    OBJECT FREQ k
    OBJECT REFCOUNT k
    OBJECT IDLETIME k
    DEBUG DIGEST-VALUE k nokey
    CONFIG SET maxmemory-policy allkeys-lfu
    OBJECT IDLETIME k
    CONFIG SET maxmemory-policy noeviction
    PUBSUB
    PUBSUB NOSUCH
    PUBSUB CHANNELS
    PUBSUB CHANNELS a b
    PUBSUB NUMSUB
    PUBSUB NUMSUB a b
    PUBSUB NUMPAT
    PUBSUB NUMPAT x
    PUBSUB SHARDCHANNELS
    PUBSUB SHARDNUMSUB a
    PUBLISH ch
    PUBLISH ch m
    UNSUBSCRIBE
    PUNSUBSCRIBE
    UNSUBSCRIBE a
    PUNSUBSCRIBE a*
    AUTH
    AUTH x
    AUTH default x
    AUTH nosuch x
    AUTH a b c
    HELLO x
    HELLO 1
    HELLO 4
    HELLO 3 x
    HELLO 3 AUTH
    HELLO 3 AUTH default
    HELLO 3 AUTH nosuch x
    HELLO 3 SETNAME
    HELLO 3 SETNAME "a b"
    SELECT
    SELECT x
    SELECT 16
    SELECT -1
    SELECT 99999999999
    SELECT 15
    SELECT 0
    SWAPDB x 1
    SWAPDB 1 x
    SWAPDB 0 16
    SWAPDB 0 99999999999
    SWAPDB 1 1
    MOVE k x
    MOVE k 0
    MOVE k 16
    MOVE k 1
    MOVE k 1
    COPY k k
    SET k v
    COPY k k DB x
    COPY k k DB 16
    COPY k k DB 0
    COPY k k2 DB
    COPY k k2 REPLACE x
    COPY k k DB 2
    PING a b
    ECHO
    TIME x
    LASTSAVE x
    ROLE x
    ROLE
    WAIT
    WAIT x 0
    WAIT 0 x
    WAIT 0 -1
    WAIT 0 0
    REPLICAOF
    REPLICAOF NO ONE
    REPLICAOF NO ONE x
    REPLICAOF host x
    REPLICAOF host 99999
    SLAVEOF NO ONE
    REPLCONF
    REPLCONF x
    REPLCONF nosuch 1
    REPLCONF listening-port x
    REPLCONF capa eof
    PSYNC
    PSYNC x
    SYNC x
    SHUTDOWN x
    SHUTDOWN ABORT
    SHUTDOWN NOSAVE ABORT
    SHUTDOWN SAVE NOSAVE
    SHUTDOWN NOSAVE NOSAVE x
    BGSAVE x
    BGSAVE SCHEDULE x
    SAVE x
    SAVE
    MONITOR x
    RESET x
    QUIT x
"#;

#[test]
fn calls_about_the_server_are_answered_alike() {
    let Some(pair) = Pair::start() else {
        return;
    };
    let mut wrong = Vec::new();
    for protocol in ["2", "3"] {
        for server in [&pair.ours, &pair.theirs] {
            server.must("FLUSHALL");
        }
        let mut clients = [pair.ours.client(), pair.theirs.client()];
        for client in &mut clients {
            client.must(&format!("HELLO {protocol}"));
        }
        for call in CALLS.lines().map(str::trim).filter(|call| !call.is_empty()) {
            let [ours, theirs] =
                clients
                    .each_mut()
                    .map(|client| match client.try_command(&words(call)) {
                        Ok(reply) => ordered(call, reply).to_string(),
                        Err(broken) => format!("({broken})"),
                    });
            if ours != theirs && !known::is_known(call, &ours, &theirs) {
                wrong.push(format!(
                    "RESP{protocol}: {call}\n    ours   {ours}\n    theirs {theirs}"
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differences:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn ordered(call: &str, reply: Value) -> Value {
    match call.split(' ').next() {
        Some("CONFIG") => reply.unordered_pairs(),
        Some("COMMAND") if call.contains("LIST") => reply.unordered(),
        _ => reply,
    }
}
