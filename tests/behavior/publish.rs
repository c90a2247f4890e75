//! Channels and patterns.

use crate::support::server;
use crate::support::transcript::transcript;
use crate::support::wait;

#[test]
fn messages_reach_channels_and_patterns() {
    transcript(
        r#"
        a> SUBSCRIBE news
        ["subscribe" "news" :1]
        b> PSUBSCRIBE n*
        ["psubscribe" "n*" :1]
        > PUBLISH news hello
        :2
        a<
        ["message" "news" "hello"]
        b<
        ["pmessage" "n*" "news" "hello"]
        > PUBLISH other x
        :0
        > PUBLISH nice y
        :1
        b<
        ["pmessage" "n*" "nice" "y"]
        a> UNSUBSCRIBE news
        ["unsubscribe" "news" :0]
        > PUBLISH news again
        :1
        b<
        ["pmessage" "n*" "news" "again"]
        b> PUNSUBSCRIBE
        ["punsubscribe" "n*" :0]
        > PUBLISH news nobody
        :0
        a> UNSUBSCRIBE
        ["unsubscribe" nil :0]
        a> PUNSUBSCRIBE nosuch
        ["punsubscribe" "nosuch" :0]
        > PUBLISH news
        -ERR wrong number of arguments for 'publish' command
        > SUBSCRIBE
        -ERR wrong number of arguments for 'subscribe' command
        "#,
    );
}

#[test]
fn several_channels_are_answered_one_by_one() {
    transcript(
        r#"
        a> SUBSCRIBE x y x
        ["subscribe" "x" :1]
        a<
        ["subscribe" "y" :2]
        a<
        ["subscribe" "x" :2]
        a> PSUBSCRIBE p*
        ["psubscribe" "p*" :3]
        a> UNSUBSCRIBE x
        ["unsubscribe" "x" :2]
        > PUBSUB CHANNELS
        ["y"]
        > PUBSUB CHANNELS z*
        []
        > PUBSUB NUMSUB x y
        ["x" :0 "y" :1]
        > PUBSUB NUMSUB
        []
        > PUBSUB NUMPAT
        :1
        > PUBSUB NOSUCH
        -ERR unknown subcommand 'NOSUCH'. Try PUBSUB HELP.
        > PUBSUB CHANNELS a b
        -ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP.
        > PUBSUB
        -ERR wrong number of arguments for 'pubsub' command
        > PUBLISH y 1
        :1
        a<
        ["message" "y" "1"]
        # Both a channel and a pattern: one message for each.
        a> PSUBSCRIBE y*
        ["psubscribe" "y*" :3]
        > PUBLISH y 2
        :2
        a<
        ["message" "y" "2"]
        a<
        ["pmessage" "y*" "y" "2"]
        "#,
    );
}

#[test]
fn a_subscriber_of_resp2_may_do_little_else() {
    transcript(
        r#"
        a> SUBSCRIBE news
        ["subscribe" "news" :1]
        a> GET k
        -ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context
        a> PING
        ["pong" ""]
        a> PING hello
        ["pong" "hello"]
        a> SET k v
        -ERR Can't execute 'set': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context
        a> MULTI
        -ERR Can't execute 'multi': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context
        a> UNSUBSCRIBE
        ["unsubscribe" "news" :0]
        a> GET k
        nil
        a> PING
        +PONG
        a> SUBSCRIBE news
        ["subscribe" "news" :1]
        a> QUIT
        +OK
        "#,
    );
}

#[test]
fn a_subscriber_of_resp3_may_do_everything() {
    transcript(
        r#"
        a> HELLO 3
        {...}
        a> SUBSCRIBE news
        >["subscribe" "news" :1]
        a> PING
        +PONG
        a> GET k
        _
        a> SET k v
        +OK
        > PUBLISH news hello
        :1
        a<
        >["message" "news" "hello"]
        a> PSUBSCRIBE n*
        >["psubscribe" "n*" :2]
        > PUBLISH news again
        :2
        a<
        >["message" "news" "again"]
        a<
        >["pmessage" "n*" "news" "again"]
        a> UNSUBSCRIBE
        >["unsubscribe" "news" :1]
        a> PUNSUBSCRIBE
        >["punsubscribe" "n*" :0]
        a> UNSUBSCRIBE
        >["unsubscribe" _ :0]
        "#,
    );
}

#[test]
fn publishing_in_a_transaction_waits_for_exec() {
    transcript(
        r#"
        a> SUBSCRIBE news
        ["subscribe" "news" :1]
        > MULTI
        +OK
        > PUBLISH news 1
        +QUEUED
        > PUBLISH news 2
        +QUEUED
        > EXEC
        [:1 :1]
        a<
        ["message" "news" "1"]
        a<
        ["message" "news" "2"]
        > MULTI
        +OK
        > SUBSCRIBE x
        +QUEUED
        > EXEC
        [["subscribe" "x" :1]]
        "#,
    );
}

#[test]
fn a_subscription_ends_with_its_connection() {
    let server = server::sluice().start();
    let mut client = server.client();
    client.call("SUBSCRIBE news");
    assert_eq!(server.must("PUBLISH news x").integer(), 1);
    drop(client);
    wait::until("the subscription is forgotten", || {
        server.must("PUBLISH news x").integer() == 0
    });
    assert_eq!(server.info_number("pubsub_channels"), 0);
}

#[test]
fn messages_arrive_in_the_order_they_were_published() {
    let server = server::sluice().start();
    let mut subscriber = server.client();
    subscriber.call("SUBSCRIBE news");
    let mut publisher = server.client();
    let commands: Vec<Vec<String>> = (0..5000)
        .map(|number| vec!["PUBLISH".into(), "news".into(), number.to_string()])
        .collect();
    publisher.pipeline(&commands);
    for number in 0..5000 {
        assert_eq!(subscriber.reply().items()[2].integer(), number);
    }
}
