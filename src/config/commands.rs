//! CONFIG: reads and changes settings, and makes the running parts follow.

use crate::clients::session::Blocked;
use crate::engine::error::{self, CommandError};
use crate::engine::help::reply_help;
use crate::engine::intent::{Intent, ListenRequest};
use crate::engine::spec::flag::{ADMIN, LOADING, NOSCRIPT, STALE};
use crate::engine::spec::{CommandResult, Keys, Outcome, Spec};
use crate::engine::{Engine, Node};
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::parameter::{Flag, find};
use super::{Change, Circumstances, ConfigError};

const FLAGS: u32 = ADMIN | NOSCRIPT | LOADING | STALE;

pub const COMMANDS: &[Spec] = &[Spec::container("config", CONFIG).doc(
    "2.0.0",
    "server",
    "A container for server configuration commands.",
    "Depends on subcommand.",
)];

const CONFIG: &[Spec] = &[
    Spec::node("config|get", -3, FLAGS, Keys::None, get).doc(
        "2.0.0",
        "server",
        "Returns the effective values of configuration parameters.",
        "O(N) when N is the number of configuration parameters provided",
    ),
    Spec::node("config|set", -4, FLAGS, Keys::None, set).doc(
        "2.0.0",
        "server",
        "Sets configuration parameters in-flight.",
        "O(N) when N is the number of configuration parameters provided",
    ),
    Spec::node("config|resetstat", 2, FLAGS, Keys::None, resetstat).doc(
        "2.0.0",
        "server",
        "Resets the server's statistics.",
        "O(1)",
    ),
    Spec::node("config|rewrite", 2, FLAGS, Keys::None, rewrite).doc(
        "2.8.0",
        "server",
        "Persists the effective configuration to file.",
        "O(1)",
    ),
    Spec::node("config|help", 2, LOADING | STALE, Keys::None, help).doc(
        "5.0.0",
        "server",
        "Returns helpful text about the different subcommands.",
        "O(1)",
    ),
];

/// CONFIG GET parameter [parameter ...]
fn get(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let patterns: Vec<&[u8]> = args.skip(2).iter().collect();
    let found = node.engine.config.matching(&patterns);
    reply.map(found.len());
    for (name, value) in found {
        reply.bulk(name.as_bytes());
        reply.bulk(&value);
    }
    Ok(Outcome::Replied)
}

/// CONFIG SET parameter value [parameter value ...]
fn set(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    if !args.len().is_multiple_of(2) {
        return Err(error::SYNTAX);
    }
    let names = (2..args.len()).step_by(2);
    let pairs: Vec<_> = names
        .clone()
        .map(|at| (args.get(at), args.get(at + 1)))
        .collect();
    let is_secret = |name| find(name).is_some_and(|(parameter, _)| parameter.has(Flag::Secret));
    for at in names.filter(|&at| is_secret(args.get(at))) {
        node.engine.redacted.push(at + 1);
    }
    let circumstances = Circumstances {
        loading: node.engine.persistence.loading.is_some(),
        local: node.engine.clients.get(node.client).ends.is_local,
    };
    let change = node.engine.config.changed_by(&pairs, circumstances)?;
    let listens = |name: &&'static str| matches!(*name, "bind" | "port");
    if let Some(name) = change.changed.iter().copied().find(listens)
        && !node.engine.in_exec
    {
        let parked = node.engine.park(node.client, Blocked::ForTask)?;
        let owned = |(name, value): (&[u8], &[u8])| (name.to_vec(), value.to_vec());
        node.engine.intents.push(Intent::Listen(ListenRequest {
            client: node.client,
            pairs: pairs.into_iter().map(owned).collect(),
            circumstances,
            name,
        }));
        return Ok(parked);
    }
    if change.changed.iter().any(listens) {
        // A transaction does not wait; what cannot be had is said in the log.
        node.engine.intents.push(Intent::Rebind);
    }
    node.engine.take_settings(change);
    reply.ok();
    Ok(Outcome::Replied)
}

impl Engine {
    /// Takes a change of settings over, and makes the running parts follow that are the engine's own.
    pub fn take_settings(&mut self, change: Change) {
        self.config = change.config;
        for name in change.changed {
            follow(self, name);
        }
    }
}

/// Makes the running part follow a parameter that has another value now. Most are read where they are used.
fn follow(engine: &mut Engine, name: &str) {
    match name {
        "appendonly" => engine.follow_appendonly(),
        "appendfsync" | "aof-exit-on-error" | "repl-send-durable-only" => {
            engine.follow_aof_settings()
        }
        "repl-backlog-disk-size" => engine.follow_disk_size(),
        "aof-timestamp-enabled" => engine.follow_aof_annotation(),
        "loglevel" => log::set_max_level(engine.config.loglevel.filter()),
        "repl-backlog-size" => engine
            .journal
            .resize_backlog(engine.config.repl_backlog_size),
        "slowlog-max-len" => engine
            .slowlog
            .truncate(engine.config.slowlog_max_len as usize),
        _ => {}
    }
}

/// CONFIG RESETSTAT
fn resetstat(node: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    node.engine.stats.reset();
    for client in node.engine.clients.iter() {
        client.outbox.wire.reset_traffic();
    }
    node.engine.counters = Default::default();
    node.engine.held = Default::default();
    if let Some(writer) = node.engine.aof.writer() {
        writer.reset_stats();
    }
    node.engine.replication.feeds.reset_stats();
    reply.ok();
    Ok(Outcome::Replied)
}

/// CONFIG REWRITE
fn rewrite(node: &mut Node, _: Argv, _: &mut Reply) -> CommandResult {
    if node.engine.config_file.is_none() {
        return Err(error::NO_CONFIG_FILE);
    }
    let parked = node.engine.park(node.client, Blocked::ForTask)?;
    node.engine.intents.push(Intent::RewriteConfig {
        client: node.client,
    });
    Ok(parked)
}

/// CONFIG HELP
fn help(_: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    reply_help(reply, "CONFIG", HELP)
}

const HELP: &[&str] = &[
    "GET <pattern> [<pattern> ...]",
    "    Tells the parameters whose names match, with their values.",
    "SET <directive> <value> [<directive> <value> ...]",
    "    Changes parameters: all of them, or none if one is refused.",
    "RESETSTAT",
    "    Sets the counters of INFO to zero.",
    "REWRITE",
    "    Writes what has changed into the configuration file.",
];

impl From<ConfigError> for CommandError {
    fn from(refusal: ConfigError) -> Self {
        CommandError::from(refusal.to_string())
    }
}
