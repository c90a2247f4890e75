//! Connection commands: PING, ECHO, SELECT, AUTH, HELLO, QUIT, RESET; the subcommands of CLIENT stand in `client_commands`.

use crate::config::REDIS_VERSION;
use crate::engine::authentication::DEFAULT_USER;
use crate::engine::error::{self, CommandError};
use crate::engine::spec::flag::{ALLOW_BUSY, FAST, LOADING, NO_AUTH, NOSCRIPT, STALE};
use crate::engine::spec::{CommandResult, Keys, Outcome, Spec};
use crate::engine::{Engine, Node};
use crate::number;
use crate::protocol::reply::{Reply, Resp};
use crate::protocol::request::Argv;

use super::client_commands::CLIENT;
use super::session::{ReplyMode, Role};
use super::{ClientKey, Closing};

/// Flags of the commands that a client may send before anything else.
const FIRST: u32 = NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY;

pub const COMMANDS: &[Spec] = &[
    Spec::node("ping", -1, FAST, Keys::None, ping).doc(
        "1.0.0",
        "connection",
        "Returns the server's liveliness response.",
        "O(1)",
    ),
    Spec::node("echo", 2, FAST | LOADING | STALE, Keys::None, echo).doc(
        "1.0.0",
        "connection",
        "Returns the given string.",
        "O(1)",
    ),
    Spec::node("select", 2, FAST | LOADING | STALE, Keys::None, select).doc(
        "1.0.0",
        "connection",
        "Changes the selected database.",
        "O(1)",
    ),
    Spec::node("auth", -2, FIRST, Keys::None, auth).doc(
        "1.0.0",
        "connection",
        "Authenticates the connection.",
        "O(N) where N is the number of passwords defined for the user",
    ),
    Spec::node("hello", -1, FIRST, Keys::None, hello).doc(
        "6.0.0",
        "connection",
        "Chooses the version of the protocol, and tells about the server.",
        "O(1)",
    ),
    Spec::node("quit", -1, FIRST, Keys::None, quit).doc(
        "1.0.0",
        "connection",
        "Closes the connection.",
        "O(1)",
    ),
    Spec::node("reset", 1, FIRST, Keys::None, reset).doc(
        "6.2.0",
        "connection",
        "Puts the connection back into the state of a new one.",
        "O(1)",
    ),
    Spec::container("client", CLIENT).doc(
        "2.4.0",
        "connection",
        "A container for client connection commands.",
        "Depends on subcommand.",
    ),
];

/// PING [message]
fn ping(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    if args.len() > 2 {
        return Err(error::wrong_arity("ping"));
    }
    let session = &node.engine.clients.get(node.client).session;
    if session.is_subscriber() && session.resp == Resp::Two {
        reply.array(2);
        reply.bulk(b"pong");
        reply.bulk(if args.len() == 2 { args.get(1) } else { b"" });
    } else if args.len() == 2 {
        reply.bulk(args.get(1));
    } else {
        reply.simple("PONG");
    }
    Ok(Outcome::Replied)
}

/// ECHO message
fn echo(_: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    reply.bulk(args.get(1));
    Ok(Outcome::Replied)
}

/// SELECT index
fn select(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let index = number::parse_i64(args.get(1)).ok_or(error::NOT_AN_INTEGER)?;
    let int = i64::from(i32::MIN)..=i64::from(i32::MAX);
    if !int.contains(&index) {
        return Err(error::not_within(*int.start(), *int.end()));
    }
    let index = usize::try_from(index)
        .ok()
        .filter(|index| *index < node.engine.keyspace.count());
    node.engine.clients.get_mut(node.client).session.db =
        index.ok_or(error::DB_INDEX_OUT_OF_RANGE)?;
    reply.ok();
    Ok(Outcome::Replied)
}

/// AUTH [username] password
fn auth(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    node.engine.redacted.extend(1..args.len());
    let (user, password) = match args.len() {
        2 if node.engine.config.requirepass.is_empty() => return Err(error::NO_PASSWORD_SET),
        2 => (DEFAULT_USER, args.get(1)),
        3 => (args.get(1), args.get(2)),
        _ => return Err(error::SYNTAX),
    };
    node.engine.authenticate(node.client, user, password)?;
    reply.ok();
    Ok(Outcome::Replied)
}

/// HELLO [protover [AUTH username password] [SETNAME clientname]]
fn hello(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let wish = Wish::parse(node.engine, args)?;
    if let Some((user, password)) = wish.login {
        node.engine.authenticate(node.client, user, password)?;
    }
    if !node.engine.is_authenticated(node.client) {
        return Err(error::HELLO_NO_AUTH);
    }
    let session = &mut node.engine.clients.get_mut(node.client).session;
    if let Some(name) = wish.name {
        session.name = name.to_vec();
    }
    session.resp = wish.resp.unwrap_or(session.resp);
    let resp = session.resp;
    tell(
        node.engine,
        node.client,
        &mut Reply::new(reply.buffer(), resp),
    );
    Ok(Outcome::Replied)
}

/// What HELLO asks for.
#[derive(Default)]
struct Wish<'a> {
    resp: Option<Resp>,
    login: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

impl<'a> Wish<'a> {
    fn parse(engine: &mut Engine, args: Argv<'a>) -> Result<Self, CommandError> {
        let mut wish = Wish::default();
        if args.len() < 2 {
            return Ok(wish);
        }
        wish.resp = match number::parse_i64(args.get(1)) {
            Some(2) => Some(Resp::Two),
            Some(3) => Some(Resp::Three),
            Some(_) => return Err(error::UNSUPPORTED_PROTOCOL),
            None => return Err(error::PROTOCOL_NOT_AN_INTEGER),
        };
        let mut at = 2;
        while at < args.len() {
            let (option, behind) = (args.get(at), args.len() - at - 1);
            if option.eq_ignore_ascii_case(b"AUTH") && behind >= 2 {
                engine.redacted.extend([at + 1, at + 2]);
                wish.login = Some((args.get(at + 1), args.get(at + 2)));
                at += 3;
            } else if option.eq_ignore_ascii_case(b"SETNAME") && behind >= 1 {
                wish.name = Some(checked_name(args.get(at + 1))?);
                at += 2;
            } else {
                return Err(CommandError::from(format!(
                    "ERR Syntax error in HELLO option '{}'",
                    String::from_utf8_lossy(option)
                )));
            }
        }
        Ok(wish)
    }
}

/// The map that HELLO answers.
fn tell(engine: &Engine, client: ClientKey, reply: &mut Reply) {
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.integer(if reply.is_resp3() { 3 } else { 2 });
    reply.bulk(b"id");
    reply.integer(client.id.0 as i64);
    reply.bulk(b"mode");
    reply.bulk(b"standalone");
    reply.bulk(b"role");
    reply.bulk(if engine.is_replica() {
        b"replica"
    } else {
        b"master"
    });
    reply.bulk(b"modules");
    reply.array(0);
}

/// A name or a version that CLIENT LIST can print: no white space, nothing that does not show.
pub fn checked_name(name: &[u8]) -> Result<&[u8], CommandError> {
    if is_printable(name) {
        Ok(name)
    } else {
        Err(error::BAD_CLIENT_NAME)
    }
}

pub fn is_printable(word: &[u8]) -> bool {
    word.iter().all(u8::is_ascii_graphic)
}

/// QUIT
fn quit(node: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    node.engine.clients.get_mut(node.client).closing = Some(Closing::AfterReplies);
    reply.ok();
    Ok(Outcome::Replied)
}

/// RESET
fn reset(node: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    let (engine, client) = (&mut *node.engine, node.client);
    if engine.clients.get(client).session.role != Role::Normal {
        return Err(error::NOT_A_NORMAL_CLIENT);
    }
    engine.discard_transaction(client);
    engine.unsubscribe_all(client);
    engine.monitors.retain(|monitor| *monitor != client);
    let authenticated = engine.config.requirepass.is_empty();
    let session = &mut engine.clients.get_mut(client).session;
    session.db = 0;
    session.resp = Resp::Two;
    session.authenticated = authenticated;
    session.reply_mode = ReplyMode::On;
    session.is_monitor = false;
    session.no_touch = false;
    session.no_evict = false;
    session.name.clear();
    reply.simple("RESET");
    Ok(Outcome::Replied)
}
