//! LATENCY: the latency monitor, and how long each command takes.

use crate::engine::error::CommandError;
use crate::engine::help::reply_help;
use crate::engine::spec::flag::{ADMIN, LOADING, NOSCRIPT, STALE};
use crate::engine::spec::{CommandResult, Keys, NodeCommand, Outcome, Spec};
use crate::engine::{Node, table};
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::command_stats::CommandStats;

pub const COMMANDS: &[Spec] = &[Spec::container("latency", LATENCY).doc(
    "2.8.13",
    "server",
    "A container for latency diagnostics commands.",
    "Depends on subcommand.",
)];

const FLAGS: u32 = ADMIN | NOSCRIPT | LOADING | STALE;

const fn row(name: &'static str, arity: i32, run: NodeCommand) -> Spec {
    Spec::node(name, arity, FLAGS, Keys::None, run)
}

const LATENCY: &[Spec] = &[
    row("latency|latest", 2, latest).doc(
        "2.8.13",
        "server",
        "Returns the last sample of each event.",
        "O(1)",
    ),
    row("latency|history", 3, history).doc(
        "2.8.13",
        "server",
        "Returns the samples of an event.",
        "O(1)",
    ),
    row("latency|reset", -2, reset).doc(
        "2.8.13",
        "server",
        "Forgets the samples of one or more events.",
        "O(1)",
    ),
    row("latency|graph", 3, graph).doc(
        "2.8.13",
        "server",
        "Returns a graph of the samples of an event.",
        "O(1)",
    ),
    row("latency|doctor", 2, doctor).doc(
        "2.8.13",
        "server",
        "Returns a report on what was slow.",
        "O(1)",
    ),
    row("latency|histogram", -2, histogram).doc(
        "7.0.0",
        "server",
        "Returns how long commands took, as cumulative counts.",
        "O(N) where N is the number of commands with latency information being retrieved.",
    ),
    Spec::node("latency|help", 2, LOADING | STALE, Keys::None, help).doc(
        "2.8.13",
        "server",
        "Returns helpful text about the different subcommands.",
        "O(1)",
    ),
];

/// LATENCY LATEST
fn latest(node: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    node.engine.collect_aof_latencies();
    let latency = &node.engine.latency;
    reply.array(latency.iter().len());
    for (name, event) in latency.iter() {
        let last = event.last();
        reply.array(4);
        reply.bulk(name.as_bytes());
        reply.integer(last.unix_seconds);
        reply.integer(last.millis as i64);
        reply.integer(event.longest_millis() as i64);
    }
    Ok(Outcome::Replied)
}

/// LATENCY HISTORY event
fn history(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    node.engine.collect_aof_latencies();
    let Some(event) = node.engine.latency.get(args.get(2)) else {
        reply.array(0);
        return Ok(Outcome::Replied);
    };
    reply.array(event.samples().len());
    for sample in event.samples() {
        reply.array(2);
        reply.integer(sample.unix_seconds);
        reply.integer(sample.millis as i64);
    }
    Ok(Outcome::Replied)
}

/// LATENCY RESET [event ...]
fn reset(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    node.engine.collect_aof_latencies();
    let latency = &mut node.engine.latency;
    let count = match args.len() {
        2 => latency.clear(),
        _ => args
            .skip(2)
            .iter()
            .filter(|name| latency.forget(name))
            .count(),
    };
    reply.integer(count as i64);
    Ok(Outcome::Replied)
}

/// LATENCY GRAPH event
fn graph(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    node.engine.collect_aof_latencies();
    let name = String::from_utf8_lossy(args.get(2)).into_owned();
    match node.engine.latency.get(args.get(2)) {
        Some(event) => {
            let text = event.graph(&name, node.engine.now.seconds());
            reply.verbatim("txt", text.as_bytes());
            Ok(Outcome::Replied)
        }
        None => Err(CommandError::from(format!(
            "ERR No samples available for event '{name}'"
        ))),
    }
}

/// LATENCY DOCTOR
fn doctor(node: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    let engine = &mut *node.engine;
    engine.collect_aof_latencies();
    let threshold_ms = engine.config.latency_monitor_threshold;
    let text = engine.latency.report(threshold_ms, engine.now.seconds());
    reply.verbatim("txt", text.as_bytes());
    Ok(Outcome::Replied)
}

/// LATENCY HISTOGRAM [command ...]
///
/// A command with subcommands stands for all of them; names that are not known are passed over.
fn histogram(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let stats = &node.engine.stats.commands;
    let ran = |index: usize| stats[index].latencies.count() > 0;
    let mut indices: Vec<usize> = Vec::new();
    if args.len() == 2 {
        indices.extend((0..stats.len()).filter(|&index| ran(index)));
    } else {
        for name in args.skip(2).iter() {
            indices.extend(named(name).into_iter().filter(|&index| ran(index)));
        }
    }
    reply.map(indices.len());
    for index in indices {
        reply.bulk(table::all()[index].spec.name.as_bytes());
        reply_histogram(&stats[index], reply);
    }
    Ok(Outcome::Replied)
}

/// The places of a command, or of its subcommands.
fn named(name: &[u8]) -> Vec<usize> {
    let Some(command) = table::find_full(name) else {
        return Vec::new();
    };
    (0..=command.spec.subcommands().len())
        .map(|offset| command.index + offset)
        .collect()
}

/// Calls that took no longer than about 1, 2, 4, ... microseconds, as Redis words those bounds; only where the count grows.
fn reply_histogram(stats: &CommandStats, reply: &mut Reply) {
    let total = stats.latencies.count();
    let mut steps: Vec<(u64, u64)> = Vec::new();
    let mut seen = 0;
    for power in FIRST_BOUND_POWER.. {
        if seen == total {
            break;
        }
        let count = stats.latencies.count_below_power(power);
        if count > seen {
            steps.push((bound_micros(power), count));
            seen = count;
        }
    }
    reply.map(2);
    reply.bulk(b"calls");
    reply.integer(total as i64);
    reply.bulk(b"histogram_usec");
    reply.map(steps.len());
    for (bound, count) in steps {
        reply.integer(bound as i64);
        reply.integer(count as i64);
    }
}

/// The first bound is 2^10 ns.
const FIRST_BOUND_POWER: u32 = 10;

/// Redis keeps 128 counts for each power of two, and names the end of the one that the bound lies in.
fn bound_micros(power: u32) -> u64 {
    ((1_u64 << power) + (1 << (power - 7)) - 1) / 1000
}

/// LATENCY HELP
fn help(_: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    reply_help(
        reply,
        "LATENCY",
        &[
            "DOCTOR",
            "    Reports on what was slow, and what may help.",
            "GRAPH <event>",
            "    Draws the last samples of <event>.",
            "HISTORY <event>",
            "    Tells the samples of <event>: Unix time and milliseconds.",
            "LATEST",
            "    Tells the last sample of each event: name, Unix time, milliseconds, longest ever.",
            "RESET [<event> ...]",
            "    Forgets the samples of these events, or of all.",
            "HISTOGRAM [<command> ...]",
            "    Tells how many calls of these commands, or of all, took no longer than how many microseconds.",
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_that_redis_names() {
        let bounds: Vec<u64> = (10..24).map(bound_micros).collect();
        assert_eq!(
            bounds,
            [
                1, 2, 4, 8, 16, 33, 66, 132, 264, 528, 1056, 2113, 4227, 8454
            ]
        );
    }
}
