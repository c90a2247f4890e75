//! CLIENT LIST, INFO and KILL: connections as lines of text, and which of them are meant.

use std::fmt::Write;
use std::time::Duration;

use crate::engine::authentication::DEFAULT_USER;
use crate::engine::error::{self, CommandError};
use crate::engine::spec::{CommandResult, Outcome};
use crate::engine::{Engine, Node};
use crate::number;
use crate::protocol::reply::{Reply, Resp};
use crate::protocol::request::Argv;

use super::outbox::FIRST_BUFFER_BYTES;
use super::session::Role;
use super::{Client, ClientId, Closing};

/// CLIENT INFO
pub fn client_info(node: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    let mut text = String::new();
    let engine = &*node.engine;
    describe(engine.clients.get(node.client), engine, &mut text);
    reply.verbatim("txt", text.as_bytes());
    Ok(Outcome::Replied)
}

/// CLIENT LIST [TYPE NORMAL | MASTER | REPLICA | PUBSUB] [ID client-id [client-id ...]]
pub fn client_list(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let engine = &*node.engine;
    let mut text = String::new();
    let option = (args.len() > 3).then(|| args.get(2).to_ascii_uppercase());
    match option.as_deref() {
        None if args.len() == 2 => {
            for client in engine.clients.iter() {
                describe(client, engine, &mut text);
            }
        }
        Some(b"TYPE") if args.len() == 4 => {
            let wanted = Class::parse(args.get(3))?;
            let fitting = |client: &&Client| Class::of(client) == wanted;
            for client in engine.clients.iter().filter(fitting) {
                describe(client, engine, &mut text);
            }
        }
        Some(b"ID") => {
            let ids: Option<Vec<i64>> = args.skip(3).iter().map(number::parse_i64).collect();
            for id in ids.ok_or(error::INVALID_CLIENT_ID)? {
                let key = engine.clients.key_of(ClientId(id as u64));
                if let Some(client) = key.and_then(|key| engine.clients.find(key)) {
                    describe(client, engine, &mut text);
                }
            }
        }
        _ => return Err(error::SYNTAX),
    }
    reply.verbatim("txt", text.as_bytes());
    Ok(Outcome::Replied)
}

/// CLIENT KILL ip:port | [ID id] [TYPE type] [USER name] [ADDR ip:port] [LADDR ip:port] [SKIPME YES | NO] [MAXAGE seconds]
pub fn client_kill(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let is_old_form = args.len() == 3;
    let filter = if is_old_form {
        Filter {
            peer: Some(args.get(2)),
            ..Filter::default()
        }
    } else {
        Filter::parse(args)?
    };
    let now = node.engine.monotonic;
    let meant: Vec<_> = node
        .engine
        .clients
        .iter()
        .filter(|client| filter.fits(client, now))
        .map(|client| client.key)
        .filter(|key| !(filter.skip_me && *key == node.client))
        .collect();
    for key in &meant {
        let how = if *key == node.client {
            Closing::AfterReplies
        } else {
            Closing::Now
        };
        if let Some(client) = node.engine.clients.find_mut(*key) {
            client.close(how);
        }
    }
    match (is_old_form, meant.len()) {
        (true, 0) => return Err(error::NO_SUCH_CLIENT),
        (true, _) => reply.ok(),
        (false, killed) => reply.integer(killed as i64),
    }
    Ok(Outcome::Replied)
}

/// Which connections are meant: those that fit in every respect that is given.
#[derive(Default)]
struct Filter<'a> {
    id: Option<ClientId>,
    class: Option<Class>,
    peer: Option<&'a [u8]>,
    local: Option<&'a [u8]>,
    age_min: Duration,
    skip_me: bool,
}

impl<'a> Filter<'a> {
    fn parse(args: Argv<'a>) -> Result<Self, CommandError> {
        let mut filter = Filter {
            skip_me: true,
            ..Filter::default()
        };
        for at in (2..args.len()).step_by(2) {
            if at + 1 == args.len() {
                return Err(error::SYNTAX);
            }
            let value = args.get(at + 1);
            match &args.get(at).to_ascii_uppercase()[..] {
                b"ID" => {
                    let id = number::parse_i64(value).filter(|id| *id > 0);
                    filter.id = Some(ClientId(id.ok_or(error::CLIENT_ID_NOT_POSITIVE)? as u64));
                }
                b"TYPE" => filter.class = Some(Class::parse(value)?),
                b"ADDR" => filter.peer = Some(value),
                b"LADDR" => filter.local = Some(value),
                // Everybody is the default user.
                b"USER" if value == DEFAULT_USER => {}
                b"USER" => {
                    let name = String::from_utf8_lossy(value);
                    return Err(CommandError::from(format!("ERR No such user '{name}'")));
                }
                b"MAXAGE" => {
                    let seconds = number::parse_i64(value).ok_or(error::MAXAGE_NOT_AN_INTEGER)?;
                    let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0);
                    filter.age_min =
                        Duration::from_secs(seconds.ok_or(error::MAXAGE_NOT_POSITIVE)?);
                }
                b"SKIPME" if value.eq_ignore_ascii_case(b"yes") => filter.skip_me = true,
                b"SKIPME" if value.eq_ignore_ascii_case(b"no") => filter.skip_me = false,
                _ => return Err(error::SYNTAX),
            }
        }
        Ok(filter)
    }

    fn fits(&self, client: &Client, now: Duration) -> bool {
        self.id.is_none_or(|id| id == client.key.id)
            && self.class.is_none_or(|class| class == Class::of(client))
            && self
                .peer
                .is_none_or(|peer| peer == client.ends.peer.as_bytes())
            && self
                .local
                .is_none_or(|local| local == client.ends.local.as_bytes())
            && now.saturating_sub(client.connected_at) >= self.age_min
    }
}

/// The TYPE of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Normal,
    Master,
    Replica,
    Pubsub,
}

impl Class {
    fn parse(word: &[u8]) -> Result<Self, CommandError> {
        match &word.to_ascii_lowercase()[..] {
            b"normal" => Ok(Class::Normal),
            b"master" | b"primary" => Ok(Class::Master),
            b"slave" | b"replica" => Ok(Class::Replica),
            b"pubsub" => Ok(Class::Pubsub),
            _ => Err(CommandError::from(format!(
                "ERR Unknown client type '{}'",
                String::from_utf8_lossy(word)
            ))),
        }
    }

    fn of(client: &Client) -> Self {
        match client.session.role {
            Role::Master => Class::Master,
            Role::Replica => Class::Replica,
            Role::Normal if client.session.is_monitor => Class::Normal,
            Role::Normal if client.session.is_subscriber() => Class::Pubsub,
            Role::Normal => Class::Normal,
        }
    }
}

/// Adds the line of one connection.
fn describe(client: &Client, engine: &Engine, text: &mut String) {
    let session = &client.session;
    let seconds_since = |moment| engine.monotonic.saturating_sub(moment).as_secs();
    let transaction = session.transaction.as_ref();
    let waiting = client.outbox.waiting_bytes();
    let held = client.outbox.buffer.memory_bytes() + client.outbox.wire.unsent_bytes();
    let transaction_bytes = transaction.map_or(0, |transaction| transaction.bytes);
    let total = client.held_bytes();
    let last_command = match session.last_command {
        "" => "NULL",
        name => name,
    };
    let user = if session.is_master() {
        "(superuser)"
    } else {
        "default"
    };
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={} qbuf={} \
         qbuf-free=0 argv-mem=0 multi-mem={transaction_bytes} rbs={held} rbp={held} obl={} oll={} omem={} tot-mem={total} \
         events={} cmd={last_command} user={user} redir=-1 resp={} lib-name={} lib-ver={}",
        client.key.id.0,
        client.ends.peer,
        client.ends.local,
        client.ends.fd,
        String::from_utf8_lossy(&session.name),
        seconds_since(client.connected_at),
        seconds_since(client.active_at),
        flags(client),
        session.db,
        session.channels.len(),
        session.patterns.len(),
        session.shard_channels.len(),
        transaction.map_or(-1, |transaction| transaction.queue.len() as i64),
        client.outbox.wire.held_bytes(),
        waiting.min(FIRST_BUFFER_BYTES),
        usize::from(waiting > FIRST_BUFFER_BYTES),
        waiting.saturating_sub(FIRST_BUFFER_BYTES),
        if client.outbox.wire.unsent_bytes() > 0 {
            "rw"
        } else {
            "r"
        },
        if session.resp == Resp::Three { 3 } else { 2 },
        String::from_utf8_lossy(&session.library_name),
        String::from_utf8_lossy(&session.library_version),
    );
}

/// One letter for each thing that sets the connection apart, `N` for none.
fn flags(client: &Client) -> String {
    let session = &client.session;
    let flags: String = [
        (session.is_monitor, 'O'),
        (session.is_replica(), 'S'),
        (session.is_master(), 'M'),
        (session.is_subscriber(), 'P'),
        (session.transaction.is_some(), 'x'),
        (session.blocked.is_some(), 'b'),
        (session.watch_failed, 'd'),
        (client.closing == Some(Closing::AfterReplies), 'c'),
        (client.closing == Some(Closing::Now), 'A'),
        (client.ends.is_unix, 'U'),
        (session.no_evict, 'e'),
        (session.no_touch, 'T'),
    ]
    .iter()
    .filter_map(|(holds, letter)| holds.then_some(*letter))
    .collect();
    if flags.is_empty() { "N".into() } else { flags }
}
