//! COMMAND: the table, told to clients. COMMAND DOCS stands in `command_docs`.

use crate::glob;
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::Node;
use super::catalogue::{self, Begin, Find};
use super::categories;
use super::command_docs::docs;
use super::error::{self, CommandError};
use super::help::reply_help;
use super::key_spec::{KeyPlace, KeySpec, key_places, key_specs, legacy_range};
use super::spec::flag::{LOADING, STALE};
use super::spec::{CommandResult, Keys, Outcome, Run, Spec};
use super::table::{self, Command, Lookup};

const FLAGS: u32 = LOADING | STALE;

pub const COMMANDS: &[Spec] = &[Spec::both("command", FLAGS, COMMAND, command).doc(
    "2.8.13",
    "server",
    "Returns detailed information about all commands.",
    "O(N) where N is the total number of Redis commands",
)];

const COMMAND: &[Spec] = &[
    Spec::node("command|count", 2, FLAGS, Keys::None, count).doc(
        "2.8.13",
        "server",
        "Returns a count of commands.",
        "O(1)",
    ),
    Spec::node("command|info", -2, FLAGS, Keys::None, info).doc(
        "2.8.13",
        "server",
        "Returns information about one, multiple or all commands.",
        "O(N) where N is the number of commands to look up",
    ),
    Spec::node("command|docs", -2, FLAGS, Keys::None, docs).doc(
        "7.0.0",
        "server",
        "Returns documentary information about one, multiple or all commands.",
        "O(N) where N is the number of commands to look up",
    ),
    Spec::node("command|list", -2, FLAGS, Keys::None, list).doc(
        "7.0.0",
        "server",
        "Returns a list of command names.",
        "O(N) where N is the total number of Redis commands",
    ),
    Spec::node("command|getkeys", -3, FLAGS, Keys::None, getkeys).doc(
        "2.8.13",
        "server",
        "Extracts the key names from an arbitrary command.",
        "O(N) where N is the number of arguments to the command",
    ),
    Spec::node(
        "command|getkeysandflags",
        -3,
        FLAGS,
        Keys::None,
        getkeysandflags,
    )
    .doc(
        "7.0.0",
        "server",
        "Extracts the key names and access flags for an arbitrary command.",
        "O(N) where N is the number of arguments to the command",
    ),
    Spec::node("command|help", 2, FLAGS, Keys::None, help).doc(
        "5.0.0",
        "server",
        "Returns helpful text about the different subcommands.",
        "O(1)",
    ),
];

/// COMMAND
fn command(_: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    describe_all(reply);
    Ok(Outcome::Replied)
}

/// COMMAND COUNT
fn count(_: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    reply.integer(table::top_level().count() as i64);
    Ok(Outcome::Replied)
}

/// COMMAND INFO [command-name [command-name ...]]
fn info(_: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    if args.len() == 2 {
        describe_all(reply);
        return Ok(Outcome::Replied);
    }
    reply.array(args.len() - 2);
    for name in args.skip(2).iter() {
        match table::find_full(name) {
            Some(command) => describe(command.spec, reply),
            None => reply.null(),
        }
    }
    Ok(Outcome::Replied)
}

fn describe_all(reply: &mut Reply) {
    reply.array(table::top_level().count());
    for command in table::top_level() {
        describe(command.spec, reply);
    }
}

/// The ten things that are told about a command.
fn describe(spec: &Spec, reply: &mut Reply) {
    reply.array(10);
    reply.bulk(spec.name.as_bytes());
    reply.integer(spec.arity.into());
    words(categories::flag_names(spec), reply);
    for place in legacy_range(spec) {
        reply.integer(place);
    }
    let categories = categories::of(spec);
    reply.set(categories.len());
    for category in categories {
        reply.simple(&format!("@{category}"));
    }
    let tips = catalogue::facts(spec.name).map_or(&[][..], |facts| &facts.tips);
    reply.set(tips.len());
    for tip in tips {
        reply.bulk(tip.as_bytes());
    }
    let keys = key_specs(spec);
    reply.set(keys.len());
    for key_spec in &keys {
        describe_keys(key_spec, reply);
    }
    reply.set(spec.subcommands().len());
    for subcommand in spec.subcommands() {
        describe(subcommand, reply);
    }
}

fn describe_keys(key_spec: &KeySpec, reply: &mut Reply) {
    reply.map(3);
    reply.bulk(b"flags");
    words(key_spec.flags.iter().copied(), reply);
    reply.bulk(b"begin_search");
    match key_spec.begin {
        Begin::Index(index) => {
            typed("index", 1, reply);
            field("index", index, reply);
        }
        Begin::Keyword { word, from } => {
            typed("keyword", 2, reply);
            reply.bulk(b"keyword");
            reply.bulk(word.as_bytes());
            field("startfrom", from, reply);
        }
        Begin::Unknown => typed("unknown", 0, reply),
    }
    reply.bulk(b"find_keys");
    match key_spec.find {
        Find::Range { last, step, limit } => {
            typed("range", 3, reply);
            field("lastkey", last, reply);
            field("keystep", step, reply);
            field("limit", limit, reply);
        }
        Find::Count => {
            typed("keynum", 3, reply);
            field("keynumidx", 0, reply);
            field("firstkey", 1, reply);
            field("keystep", 1, reply);
        }
        Find::Unknown => typed("unknown", 0, reply),
    }
}

/// A map of a type and of what belongs to it, so many fields, which follow.
fn typed(name: &str, fields: usize, reply: &mut Reply) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(name.as_bytes());
    reply.bulk(b"spec");
    reply.map(fields);
}

fn field(name: &str, value: i32, reply: &mut Reply) {
    reply.bulk(name.as_bytes());
    reply.integer(value.into());
}

/// A set of words.
fn words(
    names: impl IntoIterator<Item = &'static str, IntoIter: ExactSizeIterator>,
    reply: &mut Reply,
) {
    let names = names.into_iter();
    reply.set(names.len());
    for name in names {
        reply.simple(name);
    }
}

/// COMMAND LIST [FILTERBY MODULE module-name | ACLCAT category | PATTERN pattern]
fn list(_: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let filter = if args.len() == 2 {
        Filter::All
    } else if args.len() == 5 && args.get(2).eq_ignore_ascii_case(b"FILTERBY") {
        match &args.get(3).to_ascii_uppercase()[..] {
            b"MODULE" => Filter::None,
            b"ACLCAT" => Filter::Category(args.get(4)),
            b"PATTERN" => Filter::Pattern(args.get(4)),
            _ => return Err(error::SYNTAX),
        }
    } else {
        return Err(error::SYNTAX);
    };
    let fitting = table::all().iter().filter(|command| filter.fits(command));
    let names: Vec<_> = fitting.map(|command| command.spec.name).collect();
    reply.array(names.len());
    for name in names {
        reply.bulk(name.as_bytes());
    }
    Ok(Outcome::Replied)
}

/// Which commands are listed.
enum Filter<'a> {
    All,
    /// There are no modules.
    None,
    Category(&'a [u8]),
    Pattern(&'a [u8]),
}

impl Filter<'_> {
    fn fits(&self, command: &Command) -> bool {
        match self {
            Filter::All => true,
            Filter::None => false,
            Filter::Category(name) => categories::of(command.spec)
                .iter()
                .any(|category| category.as_bytes().eq_ignore_ascii_case(name)),
            Filter::Pattern(pattern) => glob::matches(pattern, command.spec.name.as_bytes(), true),
        }
    }
}

/// COMMAND GETKEYS command [arg [arg ...]]
fn getkeys(_: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let request = args.skip(2);
    let places = keys_of(request)?;
    reply.array(places.len());
    for place in places {
        reply.bulk(request.get(place.at));
    }
    Ok(Outcome::Replied)
}

/// COMMAND GETKEYSANDFLAGS command [arg [arg ...]]
fn getkeysandflags(_: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let request = args.skip(2);
    let places = keys_of(request)?;
    reply.array(places.len());
    for place in places {
        reply.array(2);
        reply.bulk(request.get(place.at));
        words(place.flags, reply);
    }
    Ok(Outcome::Replied)
}

fn keys_of(request: Argv) -> Result<Vec<KeyPlace>, CommandError> {
    let Lookup::Found(command) = table::lookup(request) else {
        return Err(error::INVALID_COMMAND);
    };
    let spec = command.spec;
    let is_key = |key_spec: &KeySpec| !key_spec.flags.contains(&"not_key");
    if !key_specs(spec).iter().any(is_key) {
        return Err(error::NO_KEY_ARGUMENTS);
    }
    if matches!(spec.run, Run::Container(_)) || !spec.accepts(request.len()) {
        return Err(error::INVALID_ARITY);
    }
    key_places(spec, request).ok_or(error::INVALID_ARGUMENTS)
}

/// COMMAND HELP
fn help(_: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    reply_help(
        reply,
        "COMMAND",
        &[
            "(no subcommand)",
            "    Tells about all commands.",
            "COUNT",
            "    Tells how many commands there are.",
            "DOCS [<command-name> ...]",
            "    Tells what these commands, or all, are for and which arguments they take.",
            "GETKEYS <full-command>",
            "    Tells which words of a request are keys.",
            "GETKEYSANDFLAGS <full-command>",
            "    Tells that, and what happens to each key.",
            "INFO [<command-name> ...]",
            "    Tells about these commands, or all.",
            "LIST [FILTERBY (MODULE <module-name>|ACLCAT <category>|PATTERN <pattern>)]",
            "    Tells the names of commands and subcommands.",
        ],
    )
}
