//! PSYNC, SYNC, REPLCONF, REPLICAOF, ROLE, WAIT, WAITAOF.

use std::time::Duration;

use crate::clients::session::Blocked;
use crate::config::values::MasterAddress;
use crate::engine::error::{self, CommandError};
use crate::engine::replication::ip_of;
use crate::engine::spec::flag::{
    ADMIN, ALLOW_BUSY, BLOCKING, FAST, LOADING, NO_ASYNC_LOADING, NO_MULTI, NOSCRIPT, STALE,
};
use crate::engine::spec::{CommandResult, Keys, Outcome, Spec};
use crate::engine::{Engine, Node, disk_waits};
use crate::journal::position::Offset;
use crate::number;
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::feed::{Event, Profile};
use super::handshake::parse_psync;
use super::replconf::Replconf;

const SYNC_FLAGS: u32 = ADMIN | NO_MULTI | NOSCRIPT | NO_ASYNC_LOADING;
const REPLICAOF_FLAGS: u32 = ADMIN | NOSCRIPT | STALE | NO_ASYNC_LOADING;

pub const COMMANDS: &[Spec] = &[
    Spec::node("psync", -3, SYNC_FLAGS, Keys::None, psync).doc(
        "2.8.0",
        "server",
        "An internal command used in replication.",
        "",
    ),
    Spec::node("sync", 1, SYNC_FLAGS, Keys::None, sync).doc(
        "1.0.0",
        "server",
        "An internal command used in replication.",
        "",
    ),
    Spec::node("replconf", -1, ADMIN | LOADING | STALE | NOSCRIPT | ALLOW_BUSY, Keys::None, replconf).doc(
        "3.0.0",
        "server",
        "An internal command for configuring the replication stream.",
        "O(1)",
    ),
    Spec::node("replicaof", 3, REPLICAOF_FLAGS, Keys::None, replicaof).doc(
        "5.0.0",
        "server",
        "Configures a server as replica of another, or promotes it to a master.",
        "O(1)",
    ),
    Spec::node("slaveof", 3, REPLICAOF_FLAGS, Keys::None, replicaof).doc(
        "1.0.0",
        "server",
        "Sets a server as a replica of another, or promotes it to being a master.",
        "O(1)",
    ),
    Spec::node("role", 1, FAST | LOADING | STALE | NOSCRIPT, Keys::None, role).doc(
        "2.8.12",
        "server",
        "Returns the replication role.",
        "O(1)",
    ),
    Spec::node("wait", 3, NOSCRIPT | BLOCKING, Keys::None, wait).doc(
        "3.0.0",
        "generic",
        "Blocks until the asynchronous replication of all preceding write commands sent by the connection is completed.",
        "O(1)",
    ),
    Spec::node("waitaof", 4, NOSCRIPT | BLOCKING, Keys::None, waitaof).doc(
        "7.2.0",
        "generic",
        "Blocks until all preceding write commands sent by the connection are on the disks of the master and of replicas.",
        "O(1)",
    ),
];

/// PSYNC replicationid offset [FAILOVER]
fn psync(node: &mut Node, args: Argv, _: &mut Reply) -> CommandResult {
    if node.engine.clients.get(node.client).session.is_replica() {
        return Ok(Outcome::Replied);
    }
    let third = (args.len() > 3).then(|| args.get(3));
    let request = parse_psync(args.get(1), args.get(2), third).ok_or(error::NOT_AN_INTEGER)?;
    node.engine.psync(node.client, &request)?;
    Ok(Outcome::Replied)
}

/// SYNC
fn sync(node: &mut Node, _: Argv, _: &mut Reply) -> CommandResult {
    if !node.engine.clients.get(node.client).session.is_replica() {
        node.engine.sync(node.client)?;
    }
    Ok(Outcome::Replied)
}

/// REPLCONF [option value ...]
fn replconf(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let words: Vec<&[u8]> = args.skip(1).iter().collect();
    for option in Replconf::parse_all(&words) {
        let option = option.map_err(|refusal| CommandError::from(refusal.to_string()))?;
        let client = node.engine.clients.get_mut(node.client);
        match option {
            Replconf::Ack { offset, synced } => {
                if client.session.is_replica() {
                    node.engine
                        .feed_event(node.client, Event::Ack { offset, synced });
                }
                return Ok(Outcome::Replied);
            }
            Replconf::MalformedAck => return Ok(Outcome::Replied),
            Replconf::GetAck => {
                if client.session.is_master() {
                    node.engine.acknowledge_master();
                }
                return Ok(Outcome::Replied);
            }
            option => {
                let peer = &client.ends.peer;
                client
                    .session
                    .profile
                    .get_or_insert_with(|| Box::new(Profile::new(ip_of(peer))))
                    .note(option);
            }
        }
    }
    reply.ok();
    Ok(Outcome::Replied)
}

/// REPLICAOF host port | NO ONE
fn replicaof(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let engine = &mut *node.engine;
    let words = [args.get(1), args.get(2)];
    if words[0].eq_ignore_ascii_case(b"no") && words[1].eq_ignore_ascii_case(b"one") {
        if engine.is_replica() {
            engine.promote();
            log::info!("MASTER MODE enabled (user request)");
        }
        reply.ok();
        return Ok(Outcome::Replied);
    }
    if engine.clients.get(node.client).session.is_replica() {
        return Err(CommandError::new(
            "ERR Command is not valid when client is a replica.",
        ));
    }
    let master = MasterAddress::parse(&words).ok().flatten();
    let master = master.ok_or(CommandError::new("ERR Invalid master port"))?;
    if engine.config.replicaof.as_ref() == Some(&master) {
        log::info!(
            "REPLICAOF would result into synchronization with the master we are already connected with. No operation performed."
        );
        reply.simple("OK Already connected to specified master");
        return Ok(Outcome::Replied);
    }
    log::info!(
        "REPLICAOF {}:{} enabled (user request)",
        master.host,
        master.port
    );
    engine.follow(master);
    reply.ok();
    Ok(Outcome::Replied)
}

/// ROLE
fn role(node: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    let engine = &*node.engine;
    match &engine.config.replicaof {
        Some(MasterAddress { host, port }) => {
            let link = engine.replication.following.link();
            reply.array(5);
            reply.bulk(b"slave");
            reply.bulk(host.as_bytes());
            reply.integer(i64::from(*port));
            reply.bulk(link.role_state().as_bytes());
            reply.integer(if link.is_up() {
                link.applied_offset()
            } else {
                -1
            });
        }
        None => {
            let replicas: Vec<(&str, i64, Offset)> =
                engine.replication.feeds.role_entries().collect();
            reply.array(3);
            reply.bulk(b"master");
            reply.integer(engine.journal.end().0);
            reply.array(replicas.len());
            for (ip, port, acked) in replicas {
                reply.array(3);
                reply.bulk(ip.as_bytes());
                reply.bulk_integer(port);
                reply.bulk_integer(acked.0);
            }
        }
    }
    Ok(Outcome::Replied)
}

/// WAIT numreplicas timeout
fn wait(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let engine = &mut *node.engine;
    if engine.is_replica() {
        return Err(CommandError::new(
            "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured \
             to be writable (which is not the default) writes to replicas are just local and are not propagated.",
        ));
    }
    let replicas = number::parse_i64(args.get(1)).ok_or(error::NOT_AN_INTEGER)?;
    let deadline = deadline(engine, args.get(2))?;
    let session = &engine.clients.get(node.client).session;
    let (offset, in_transaction) = (session.write_offset, engine.in_exec);
    let count = engine.replicas_past(offset);
    if count as i64 >= replicas || in_transaction {
        reply.integer(count as i64);
        return Ok(Outcome::Replied);
    }
    engine.clients.get_mut(node.client).session.blocked = Some(Blocked::ForReplicas {
        replicas: replicas as usize,
        offset,
        deadline,
    });
    engine.request_acks();
    Ok(Outcome::Parked)
}

/// WAITAOF numlocal numreplicas timeout
fn waitaof(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let engine = &mut *node.engine;
    let local = number::parse_i64(args.get(1)).ok_or(error::NOT_AN_INTEGER)?;
    if !(0..=1).contains(&local) {
        return Err(error::not_within(0, 1));
    }
    let replicas = number::parse_i64(args.get(2)).and_then(|count| usize::try_from(count).ok());
    let replicas = replicas.ok_or(error::MUST_BE_POSITIVE)?;
    let deadline = deadline(engine, args.get(3))?;
    if engine.is_replica() {
        return Err(CommandError::new(
            "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local and \
             are not propagated.",
        ));
    }
    let local = local == 1;
    if local && !engine.config.appendonly {
        return Err(disk_waits::NO_LOCAL_AOF);
    }
    let session = &engine.clients.get(node.client).session;
    let (offset, in_transaction) = (session.write_offset, engine.in_exec);
    let disks = engine.disks_past(offset);
    if (disks.local >= local && disks.replicas >= replicas) || in_transaction {
        disks.reply(reply);
        return Ok(Outcome::Replied);
    }
    let wait = Blocked::ForDisks {
        local,
        replicas,
        offset,
        deadline,
    };
    engine.park_for_disks(node.client, wait);
    if disks.replicas < replicas {
        engine.request_acks();
    }
    Ok(Outcome::Parked)
}

/// When a wait of so many milliseconds ends; none for 0.
fn deadline(engine: &Engine, timeout_ms: &[u8]) -> Result<Option<Duration>, CommandError> {
    let timeout_ms = number::parse_i64(timeout_ms).ok_or(CommandError::new(
        "ERR timeout is not an integer or out of range",
    ))?;
    match u64::try_from(timeout_ms) {
        Ok(0) => Ok(None),
        Ok(millis) => Ok(Some(engine.monotonic + Duration::from_millis(millis))),
        Err(_) => Err(CommandError::new("ERR timeout is negative")),
    }
}
