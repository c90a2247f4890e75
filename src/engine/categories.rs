//! ACL categories: which of them a command is in, by its flags and its group.

use super::catalogue;
use super::key_spec;
use super::spec::{Run, Spec, flag};

/// All categories, in the order in which COMMAND names them.
pub const ALL: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// The categories of a command, in order.
pub fn of(spec: &Spec) -> Vec<&'static str> {
    let mut found = by_flags(spec);
    match catalogue::facts(spec.name).and_then(|facts| facts.categories.as_ref()) {
        Some(categories) => found.extend(categories),
        // A container is not run by itself.
        None if matches!(spec.run, Run::Container(_)) => {}
        None => found.extend(by_group(spec.group)),
    }
    let in_order = ALL.into_iter().filter(|category| found.contains(category));
    in_order.collect()
}

fn by_flags(spec: &Spec) -> Vec<&'static str> {
    let mut found = vec![if spec.has(flag::FAST) { "fast" } else { "slow" }];
    let implied: [(u32, &[&str]); 4] = [
        (flag::WRITE, &["write"]),
        (flag::ADMIN, &["admin", "dangerous"]),
        (flag::PUBSUB, &["pubsub"]),
        (flag::BLOCKING, &["blocking"]),
    ];
    for (flag, categories) in implied {
        if spec.has(flag) {
            found.extend(categories);
        }
    }
    if spec.has(flag::READONLY) && spec.group != "scripting" {
        found.push("read");
    }
    found
}

fn by_group(group: &str) -> Option<&'static str> {
    match group {
        "generic" => Some("keyspace"),
        "sorted-set" => Some("sortedset"),
        "transactions" => Some("transaction"),
        // These are named as their category.
        "string" | "list" | "set" | "hash" | "bitmap" | "hyperloglog" | "geo" | "stream"
        | "connection" | "scripting" => ALL.into_iter().find(|category| *category == group),
        _ => None,
    }
}

/// The flags of a command as COMMAND names them.
pub fn flag_names(spec: &Spec) -> Vec<&'static str> {
    let moves = key_spec::has_movable_keys(spec);
    let flags = spec.flags | if moves { flag::MOVABLEKEYS } else { 0 };
    let names = flag::NAMES.iter();
    names
        .filter(|(flag, _)| flags & flag != 0)
        .map(|(_, name)| *name)
        .collect()
}
