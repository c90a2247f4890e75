//! CLIENT: who is connected, under which name, and how to stop them.

use std::time::Duration;

use crate::support::server;
use crate::support::transcript::play;
use crate::support::value::Value;

#[test]
fn clients_are_named_listed_and_described() {
    let server = server::sluice().start();
    play(
        &server,
        r#"
        > CLIENT GETNAME
        nil
        > CLIENT SETNAME worker
        +OK
        > CLIENT GETNAME
        "worker"
        > CLIENT SETNAME "with blank"
        -ERR Client names cannot contain spaces, newlines or special characters.
        > CLIENT SETNAME ""
        +OK
        > CLIENT GETNAME
        nil
        > CLIENT LIST TYPE nosuch
        -ERR Unknown client type 'nosuch'
        > CLIENT LIST ID x
        -ERR Invalid client ID
        > CLIENT LIST ID 0
        ""
        > CLIENT LIST NOSUCH
        -ERR syntax error
        > CLIENT LIST TYPE
        -ERR syntax error
        > CLIENT LIST TYPE master
        ""
        > CLIENT ID x
        -ERR wrong number of arguments for 'client|id' command
        > CLIENT NOSUCH
        -ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP.
        > CLIENT NO-EVICT maybe
        -ERR syntax error
        > CLIENT NO-EVICT on
        +OK
        "#,
    );
    let mut one = server.client();
    let mut two = server.client();
    let (first, second) = (
        one.must("CLIENT ID").integer(),
        two.must("CLIENT ID").integer(),
    );
    assert!(second > first);
    two.must("CLIENT SETNAME second");
    two.must("SELECT 5");
    two.must("MULTI");
    two.must("PING");
    let line = one.must(&format!("CLIENT LIST ID {second}")).text();
    for part in [
        &format!("id={second} "),
        &format!(" addr=127.0.0.1:{} ", two.local_port()),
        &format!(" laddr=127.0.0.1:{} ", server.port()),
        " name=second ",
        " flags=x ",
        " db=5 ",
        " sub=0 psub=0 ",
        " multi=1 ",
        " cmd=ping ",
        " user=default ",
        " resp=2",
    ] {
        assert!(line.contains(part), "{part:?} in {line:?}");
    }
    assert!(one.must("CLIENT LIST").text().lines().count() >= 2);
    let own = one.must("CLIENT INFO").text();
    assert!(
        own.starts_with(&format!("id={first} ")) && own.contains("cmd=client|info"),
        "{own}"
    );
    let mut subscriber = server.client();
    subscriber.call("SUBSCRIBE a");
    assert!(
        one.must("CLIENT LIST TYPE pubsub")
            .text()
            .contains(" flags=P ")
    );
}

#[test]
fn clients_are_killed_by_every_filter() {
    let server = server::sluice().start();
    let mut operator = server.client();
    let gone = |client: &mut crate::support::client::Client| {
        let said = client.until_closed().expect("killed, so closed");
        assert!(said.is_empty());
    };
    let mut victim = server.client();
    let id = victim.must("CLIENT ID").integer();
    assert_eq!(
        operator.call(&format!("CLIENT KILL ID {id}")).to_string(),
        ":1"
    );
    gone(&mut victim);
    let mut victim = server.client();
    victim.must("PING");
    let address = format!("127.0.0.1:{}", victim.local_port());
    assert_eq!(
        operator.call(&format!("CLIENT KILL {address}")).to_string(),
        "+OK"
    );
    gone(&mut victim);
    assert_eq!(
        operator.call(&format!("CLIENT KILL {address}")).to_string(),
        "-ERR No such client"
    );
    let mut victim = server.client();
    victim.must("PING");
    let address = format!("127.0.0.1:{}", victim.local_port());
    assert_eq!(
        operator
            .call(&format!("CLIENT KILL ADDR {address}"))
            .to_string(),
        ":1"
    );
    gone(&mut victim);
    let mut victim = server.client();
    victim.call("SUBSCRIBE a");
    assert_eq!(operator.call("CLIENT KILL TYPE pubsub").to_string(), ":1");
    assert_eq!(victim.until_closed().expect("closed"), b"");
    let mut victim = server.client();
    victim.must("PING");
    let listening = format!("127.0.0.1:{}", server.port());
    let killed = operator.must(&format!("CLIENT KILL LADDR {listening} SKIPME yes"));
    assert!(killed.integer() >= 1);
    gone(&mut victim);
    let mut victim = server.client();
    victim.must("PING");
    assert!(
        operator
            .must("CLIENT KILL USER default SKIPME yes")
            .integer()
            >= 1
    );
    gone(&mut victim);
    play(
        &server,
        r#"
        > CLIENT KILL ID 999999
        :0
        > CLIENT KILL ID x
        -ERR client-id should be greater than 0
        > CLIENT KILL TYPE nosuch
        -ERR Unknown client type 'nosuch'
        > CLIENT KILL USER nobody
        -ERR No such user 'nobody'
        > CLIENT KILL SKIPME maybe
        -ERR syntax error
        > CLIENT KILL NOSUCH x
        -ERR syntax error
        > CLIENT KILL ID
        -ERR No such client
        > CLIENT KILL 1.2.3.4:5
        -ERR No such client
        > CLIENT KILL TYPE normal ID 999999
        :0
        "#,
    );
    // One's own connection answers before it ends.
    assert!(operator.must("CLIENT KILL TYPE normal SKIPME no").integer() >= 1);
    gone(&mut operator);
}

#[test]
fn clients_are_paused_and_released() {
    let server = server::sluice().start();
    let mut operator = server.client();
    let mut writer = server.client();
    let mut reader = server.client();
    operator.must("CLIENT PAUSE 100000 WRITE");
    writer.send_line("SET k v");
    assert!(writer.is_silent_for(Duration::from_millis(100)));
    assert_eq!(reader.must("GET k").to_string(), "nil");
    operator.must("CLIENT UNPAUSE");
    assert_eq!(writer.reply().to_string(), "+OK");
    // This one holds back whoever would release it, too.
    operator.must("CLIENT PAUSE 200 ALL");
    reader.send_line("GET k");
    assert!(reader.is_silent_for(Duration::from_millis(50)));
    assert_eq!(reader.reply(), Value::bulk("v"));
    operator.must("CLIENT PAUSE 50");
    writer.send_line("SET k w");
    assert_eq!(writer.reply().to_string(), "+OK");
    play(
        &server,
        r#"
        > CLIENT PAUSE abc
        -ERR timeout is not an integer or out of range
        > CLIENT PAUSE -1
        -ERR timeout is negative
        > CLIENT PAUSE 10 NOSUCH
        -ERR CLIENT PAUSE mode must be WRITE or ALL
        > CLIENT PAUSE
        -ERR wrong number of arguments for 'client|pause' command
        > CLIENT UNPAUSE x
        -ERR wrong number of arguments for 'client|unpause' command
        > CLIENT UNPAUSE
        +OK
        "#,
    );
}

#[test]
fn replies_can_be_silenced() {
    let server = server::sluice().start();
    let mut client = server.client();
    client.send_line("CLIENT REPLY OFF");
    client.send_line("SET k 1");
    client.send_line("NOSUCH");
    client.send_line("CLIENT REPLY ON");
    assert_eq!(client.reply().to_string(), "+OK");
    client.send_line("CLIENT REPLY SKIP");
    client.send_line("INCR k");
    client.send_line("GET k");
    assert_eq!(client.reply(), Value::bulk("2"));
    assert_eq!(
        client.call("CLIENT REPLY maybe").to_string(),
        "-ERR syntax error"
    );
}
