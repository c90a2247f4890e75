//! MEMORY: what takes how much, what is wrong with it, and giving some of it back.

use crate::engine::Node;
use crate::engine::help::reply_help;
use crate::engine::spec::flag::{LOADING, STALE};
use crate::engine::spec::{CommandResult, Keys, Outcome, Spec};
use crate::keyspace::memory_commands::USAGE;
use crate::memory;
use crate::number::DoubleText;
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::info::{human_bytes, ratio};
use super::info_commands::MemoryUse;

pub const COMMANDS: &[Spec] = &[Spec::container("memory", MEMORY).doc(
    "4.0.0",
    "server",
    "A container for memory diagnostics commands.",
    "Depends on subcommand.",
)];

const MEMORY: &[Spec] = &[
    Spec::node("memory|doctor", 2, 0, Keys::None, doctor).doc(
        "4.0.0",
        "server",
        "Outputs a memory problems report.",
        "O(1)",
    ),
    Spec::node("memory|stats", 2, 0, Keys::None, stats).doc(
        "4.0.0",
        "server",
        "Returns details about memory usage.",
        "O(1)",
    ),
    Spec::node("memory|malloc-stats", 2, 0, Keys::None, malloc_stats).doc(
        "4.0.0",
        "server",
        "Returns the allocator statistics.",
        "Depends on how much memory is allocated, could be slow",
    ),
    Spec::node("memory|purge", 2, 0, Keys::None, purge).doc(
        "4.0.0",
        "server",
        "Asks the allocator to release memory.",
        "Depends on how much memory is allocated, could be slow",
    ),
    USAGE,
    Spec::node("memory|help", 2, LOADING | STALE, Keys::None, help).doc(
        "4.0.0",
        "server",
        "Returns helpful text about the different subcommands.",
        "O(1)",
    ),
];

/// MEMORY STATS
fn stats(node: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    let (engine, usage) = (&*node.engine, MemoryUse::of(node.engine));
    let (peak, resident) = (memory::peak_bytes(), engine.stats.process.resident_bytes);
    let databases = engine.keyspace.iter().enumerate();
    let filled: Vec<_> = databases.filter(|(_, db)| !db.is_empty()).collect();
    let keys = engine.keyspace.len() as u64;
    reply.map(filled.len() + 15);
    let integers = |reply: &mut Reply, fields: &[(&str, u64)]| {
        for (name, value) in fields {
            reply.bulk(name.as_bytes());
            reply.integer(*value as i64);
        }
    };
    let double = |reply: &mut Reply, name: &str, value: f64| {
        reply.bulk(name.as_bytes());
        reply.double(DoubleText::of(value).as_bytes());
    };
    integers(
        reply,
        &[
            ("peak.allocated", peak),
            ("total.allocated", usage.used),
            ("startup.allocated", usage.startup),
            ("replication.backlog", usage.backlog),
            ("clients.slaves", usage.replicas),
            ("clients.normal", usage.clients),
            ("cluster.links", 0),
        ],
    );
    for (number, db) in filled {
        reply.bulk(format!("db.{number}").as_bytes());
        reply.map(1);
        integers(
            reply,
            &[("overhead.hashtable.main", db.heap_bytes() as u64)],
        );
    }
    let bytes_per_key = usage.used.saturating_sub(usage.startup).checked_div(keys);
    integers(
        reply,
        &[
            ("overhead.total", usage.overhead()),
            ("keys.count", keys),
            ("keys.bytes-per-key", bytes_per_key.unwrap_or(0)),
            ("dataset.bytes", usage.dataset()),
        ],
    );
    double(reply, "dataset.percentage", usage.dataset_percent());
    double(reply, "peak.percentage", 100.0 * ratio(usage.used, peak));
    double(reply, "fragmentation", ratio(resident, usage.used));
    reply.bulk(b"fragmentation.bytes");
    reply.integer(resident as i64 - usage.used as i64);
    Ok(Outcome::Replied)
}

/// A server with less than this has nothing to be diagnosed.
const DIAGNOSED_BYTES_MIN: u64 = 5 << 20;

/// MEMORY DOCTOR
fn doctor(node: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    let (engine, usage) = (&*node.engine, MemoryUse::of(node.engine));
    let (peak, resident) = (memory::peak_bytes(), engine.stats.process.resident_bytes);
    let clients = engine.clients.len().max(1) as u64;
    let mut findings = Vec::new();
    if usage.used < DIAGNOSED_BYTES_MIN {
        findings.push("There is too little data here to say anything about.".to_owned());
    } else {
        if ratio(peak, usage.used) > 1.5 {
            findings.push(format!(
                "Peak: at its peak the server used {}, now it is {}. The system may not have all of it back yet; \
                 MEMORY PURGE returns what it can.",
                human_bytes(peak),
                human_bytes(usage.used)
            ));
        }
        if ratio(resident, usage.used) > 1.4 && resident - usage.used > 10 << 20 {
            findings.push(format!(
                "Fragmentation: {} are resident where {} are in use.",
                human_bytes(resident),
                human_bytes(usage.used)
            ));
        }
        if usage.clients / clients > 200 << 10 {
            findings.push(format!(
                "Clients: replies and requests under way take {}. Are there clients that do not read what they asked \
                 for?",
                human_bytes(usage.clients)
            ));
        }
        if findings.is_empty() {
            findings.push("No memory problem was found.".to_owned());
        }
    }
    reply.verbatim("txt", (findings.join("\n") + "\n").as_bytes());
    Ok(Outcome::Replied)
}

/// MEMORY MALLOC-STATS
fn malloc_stats(_: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    reply.verbatim("txt", &memory::allocator_report());
    Ok(Outcome::Replied)
}

/// MEMORY PURGE
fn purge(_: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    memory::purge();
    reply.ok();
    Ok(Outcome::Replied)
}

/// MEMORY HELP
fn help(_: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    reply_help(
        reply,
        "MEMORY",
        &[
            "DOCTOR",
            "    Tells what is wrong with the use of memory.",
            "MALLOC-STATS",
            "    Tells what the allocator tells about itself.",
            "PURGE",
            "    Gives memory that is not in use back to the system.",
            "STATS",
            "    Tells what takes how much.",
            "USAGE <key> [SAMPLES <count>]",
            "    Tells about how many bytes a key takes. SAMPLES is accepted and without meaning.",
        ],
    )
}
