//! MULTI, EXEC, WATCH: all or nothing, one after the other.

use crate::support::server;
use crate::support::transcript::transcript;

#[test]
fn a_transaction_runs_as_one() {
    transcript(
        r#"
        > MULTI
        +OK
        > SET a 1
        +QUEUED
        > INCR a
        +QUEUED
        > GET a
        +QUEUED
        > LPUSH a x
        +QUEUED
        > PING
        +QUEUED
        b> GET a
        nil
        > EXEC
        [+OK :2 "2" -WRONGTYPE Operation against a key holding the wrong kind of value +PONG]
        > GET a
        "2"
        > EXEC
        -ERR EXEC without MULTI
        > DISCARD
        -ERR DISCARD without MULTI
        > MULTI
        +OK
        > SET a 5
        +QUEUED
        > DISCARD
        +OK
        > GET a
        "2"
        > MULTI
        +OK
        > EXEC
        []
        > MULTI
        +OK
        > MULTI
        -ERR MULTI calls can not be nested
        > EXEC
        []
        > MULTI x
        -ERR wrong number of arguments for 'multi' command
        > EXEC x
        -EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command
        > DISCARD x
        -ERR wrong number of arguments for 'discard' command
        "#,
    );
}

#[test]
fn a_transaction_with_a_bad_command_is_not_run() {
    transcript(
        r#"
        > MULTI
        +OK
        > SET a 1
        +QUEUED
        > NOSUCH
        -ERR unknown command 'NOSUCH', with args beginning with:
        > SET b 1
        +QUEUED
        > EXEC
        -EXECABORT Transaction discarded because of previous errors.
        > EXISTS a b
        :0
        > MULTI
        +OK
        > GET
        -ERR wrong number of arguments for 'get' command
        > EXEC
        -EXECABORT Transaction discarded because of previous errors.
        > MULTI
        +OK
        > WATCH a
        -ERR WATCH inside MULTI is not allowed
        > SET a 2
        +QUEUED
        > EXEC
        [+OK]
        > GET a
        "2"
        > MULTI
        +OK
        > INCR nothere
        +QUEUED
        > EXEC
        [:1]
        "#,
    );
}

#[test]
fn watched_keys_guard_a_transaction() {
    transcript(
        r#"
        > SET a 1
        +OK
        > WATCH a
        +OK
        b> SET a 2
        +OK
        > MULTI
        +OK
        > SET a 3
        +QUEUED
        > EXEC
        nil*
        > GET a
        "2"
        # Unchanged: it runs.
        > WATCH a nokey
        +OK
        > MULTI
        +OK
        > SET a 3
        +QUEUED
        > EXEC
        [+OK]
        # EXEC has ended the watch.
        b> SET a 4
        +OK
        > MULTI
        +OK
        > EXEC
        []
        # One's own change counts too.
        > WATCH a
        +OK
        > SET a 5
        +OK
        > MULTI
        +OK
        > EXEC
        nil*
        > WATCH a
        +OK
        b> SET a 6
        +OK
        > UNWATCH
        +OK
        > MULTI
        +OK
        > EXEC
        []
        > WATCH nokey
        +OK
        b> SET nokey 1
        +OK
        > MULTI
        +OK
        > EXEC
        nil*
        > WATCH nokey
        +OK
        b> DEL nokey
        :1
        > MULTI
        +OK
        > EXEC
        nil*
        > WATCH a
        +OK
        b> GET a
        "6"
        b> EXPIRE a 1000
        :1
        > MULTI
        +OK
        > EXEC
        nil*
        > WATCH a
        +OK
        b> LPUSH other 1
        :1
        > MULTI
        +OK
        > EXEC
        []
        > WATCH a
        +OK
        b> FLUSHALL
        +OK
        > MULTI
        +OK
        > EXEC
        nil*
        > WATCH a
        +OK
        b> FLUSHALL
        +OK
        > MULTI
        +OK
        > EXEC
        []
        > WATCH a
        +OK
        b> SWAPDB 0 1
        +OK
        > MULTI
        +OK
        > EXEC
        []
        > SET a 1
        +OK
        > WATCH a
        +OK
        b> SWAPDB 0 1
        +OK
        > MULTI
        +OK
        > EXEC
        nil*
        > WATCH
        -ERR wrong number of arguments for 'watch' command
        "#,
    );
}

#[test]
fn a_watched_key_in_another_database_is_another_key() {
    transcript(
        r#"
        > WATCH k
        +OK
        b> SELECT 1
        +OK
        b> SET k 1
        +OK
        > MULTI
        +OK
        > EXEC
        []
        > SELECT 1
        +OK
        > WATCH k
        +OK
        > SELECT 0
        +OK
        b> SET k 2
        +OK
        > MULTI
        +OK
        > EXEC
        nil*
        "#,
    );
}

#[test]
fn a_watched_key_that_expires_counts_as_changed_once_it_is_gone() {
    let server = server::sluice().start();
    let mut client = server.client();
    client.must("SET k v PX 30");
    client.must("WATCH k");
    crate::support::wait::until("the key is gone", || server.must("EXISTS k").integer() == 0);
    client.must("MULTI");
    client.must("PING");
    assert_eq!(client.call("EXEC").to_string(), "nil*");
}

#[test]
fn commands_that_make_no_sense_in_a_transaction_are_refused() {
    transcript(
        r#"
        > MULTI
        +OK
        > WATCH a
        -ERR WATCH inside MULTI is not allowed
        > EXEC
        []
        > MULTI
        +OK
        > SAVE
        -ERR Command not allowed inside a transaction
        > EXEC
        -EXECABORT Transaction discarded because of previous errors.
        > MULTI
        +OK
        > MONITOR
        +QUEUED
        > EXEC
        [-ERR MONITOR isn't allowed for DENY BLOCKING client]
        > MULTI
        +OK
        > SHUTDOWN NOSAVE
        -ERR Command not allowed inside a transaction
        > EXEC
        -EXECABORT Transaction discarded because of previous errors.
        > MULTI
        +OK
        > PSYNC ? -1
        -ERR Command not allowed inside a transaction
        > EXEC
        -EXECABORT Transaction discarded because of previous errors.
        > MULTI
        +OK
        > SELECT 3
        +QUEUED
        > SET k v
        +QUEUED
        > EXEC
        [+OK +OK]
        > GET k
        "v"
        > SELECT 0
        +OK
        > GET k
        nil
        "#,
    );
}

#[test]
fn a_queue_ends_with_its_connection() {
    let server = server::sluice().start();
    let mut client = server.client();
    client.must("MULTI");
    client.must("SET k v");
    drop(client);
    assert_eq!(server.must("EXISTS k").integer(), 0);
}

#[test]
fn transactions_of_many_clients_do_not_mix() {
    let server = server::sluice().start();
    let port = server.port();
    let workers: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(move || {
                let mut client = crate::support::client::Client::connect(port);
                for _ in 0..300 {
                    let commands = ["MULTI", "INCR a", "INCR b", "EXEC"];
                    let commands: Vec<Vec<&str>> = commands
                        .iter()
                        .map(|line| line.split(' ').collect())
                        .collect();
                    let replies = client.pipeline(&commands);
                    let both = replies[3].items();
                    assert_eq!(both[0], both[1], "a and b should count in step");
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().expect("no worker fails");
    }
    assert_eq!(server.must("GET a").integer(), 1200);
}
