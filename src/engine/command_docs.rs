//! COMMAND DOCS: what each command is for and which arguments it takes, as maps.

use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::Node;
use super::catalogue::{self, Argument, Facts};
use super::spec::{CommandResult, Outcome, Spec};
use super::table;

/// COMMAND DOCS [command-name [command-name ...]]
pub fn docs(_: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let specs: Vec<&Spec> = if args.len() == 2 {
        table::top_level().map(|command| command.spec).collect()
    } else {
        let named = args.skip(2).iter().filter_map(table::find_full);
        named.map(|command| command.spec).collect()
    };
    reply.map(specs.len());
    for spec in specs {
        describe(spec, reply);
    }
    Ok(Outcome::Replied)
}

/// The name of a command and the map of what is known of it.
fn describe(spec: &Spec, reply: &mut Reply) {
    let nothing = Facts::default();
    let facts = catalogue::facts(spec.name).unwrap_or(&nothing);
    let texts = [
        ("summary", spec.summary),
        ("since", spec.since),
        ("group", spec.group),
        ("complexity", spec.complexity),
    ];
    let texts = texts.iter().filter(|(_, text)| !text.is_empty());
    let flags: Vec<&str> = [
        (facts.deprecated.is_some(), "deprecated"),
        (facts.is_internal, "syscmd"),
    ]
    .iter()
    .filter_map(|(holds, flag)| holds.then_some(*flag))
    .collect();
    let pairs = texts.clone().count()
        + usize::from(!flags.is_empty())
        + 2 * usize::from(facts.deprecated.is_some())
        + usize::from(!facts.arguments.is_empty())
        + usize::from(!spec.subcommands().is_empty());
    reply.bulk(spec.name.as_bytes());
    reply.map(pairs);
    for (name, text) in texts {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
    if !flags.is_empty() {
        reply.bulk(b"doc_flags");
        simple_set(&flags, reply);
    }
    if let Some(deprecation) = &facts.deprecated {
        reply.bulk(b"deprecated_since");
        reply.bulk(deprecation.since.as_bytes());
        reply.bulk(b"replaced_by");
        reply.bulk(deprecation.instead.as_bytes());
    }
    if !facts.arguments.is_empty() {
        reply.bulk(b"arguments");
        describe_arguments(&facts.arguments, reply);
    }
    if !spec.subcommands().is_empty() {
        reply.bulk(b"subcommands");
        reply.map(spec.subcommands().len());
        for subcommand in spec.subcommands() {
            describe(subcommand, reply);
        }
    }
}

fn describe_arguments(arguments: &[Argument], reply: &mut Reply) {
    reply.array(arguments.len());
    for argument in arguments {
        describe_argument(argument, reply);
    }
}

fn describe_argument(argument: &Argument, reply: &mut Reply) {
    let texts = [
        ("token", argument.token),
        ("since", argument.since),
        ("deprecated_since", argument.deprecated_since),
    ];
    let texts = texts
        .iter()
        .filter_map(|(name, text)| Some((name, (*text)?)));
    let flags: Vec<&str> = [
        (argument.optional, "optional"),
        (argument.multiple, "multiple"),
        (argument.multiple_token, "multiple_token"),
    ]
    .iter()
    .filter_map(|(holds, flag)| holds.then_some(*flag))
    .collect();
    let pairs = 2
        + usize::from(argument.key_spec.is_some())
        + texts.clone().count()
        + usize::from(!flags.is_empty())
        + usize::from(!argument.arguments.is_empty());
    reply.map(pairs);
    reply.bulk(b"name");
    reply.bulk(argument.name.as_bytes());
    reply.bulk(b"type");
    reply.bulk(argument.kind.as_bytes());
    if let Some(key_spec) = argument.key_spec {
        reply.bulk(b"key_spec_index");
        reply.integer(key_spec);
    }
    for (name, text) in texts {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
    if !flags.is_empty() {
        reply.bulk(b"flags");
        simple_set(&flags, reply);
    }
    if !argument.arguments.is_empty() {
        reply.bulk(b"arguments");
        describe_arguments(&argument.arguments, reply);
    }
}

fn simple_set(words: &[&str], reply: &mut Reply) {
    reply.set(words.len());
    for word in words {
        reply.simple(word);
    }
}
