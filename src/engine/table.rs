//! The commands of every room, in one table: the only place that names the `*commands` files.

use std::collections::{BTreeMap, HashMap};
use std::sync::{LazyLock, OnceLock};

use crate::protocol::request::Argv;

use super::error::{self, CommandError};
use super::spec::{Run, Spec};

/// The rows of all rooms.
const ROOMS: &[&[Spec]] = &[
    crate::clients::commands::COMMANDS,
    crate::pubsub::commands::COMMANDS,
    crate::types::sorted_set::commands::COMMANDS,
    crate::types::sorted_set::pop_commands::COMMANDS,
    crate::types::sorted_set::range_commands::COMMANDS,
    crate::types::sorted_set::combine_commands::COMMANDS,
    crate::config::commands::COMMANDS,
    crate::types::string::commands::COMMANDS,
    crate::types::list::commands::COMMANDS,
    crate::types::list::position_commands::COMMANDS,
    crate::types::set::commands::COMMANDS,
    crate::types::set::combine_commands::COMMANDS,
    crate::types::hash::commands::COMMANDS,
    crate::keyspace::commands::COMMANDS,
    crate::keyspace::database_commands::COMMANDS,
    crate::keyspace::expire_commands::COMMANDS,
    crate::keyspace::object_commands::COMMANDS,
    crate::keyspace::scan_commands::COMMANDS,
    crate::types::string::lcs_commands::COMMANDS,
    crate::types::string::number_commands::COMMANDS,
    crate::types::string::range_commands::COMMANDS,
    super::transaction_commands::COMMANDS,
    crate::snapshot::commands::COMMANDS,
    super::aof_commands::COMMANDS,
    crate::keyspace::transfer_commands::COMMANDS,
    crate::replication::commands::COMMANDS,
    crate::stats::commands::COMMANDS,
    crate::stats::info_commands::COMMANDS,
    crate::stats::latency_commands::COMMANDS,
    crate::stats::memory_commands::COMMANDS,
    super::debug_commands::COMMANDS,
    super::introspection_commands::COMMANDS,
    super::shutdown_commands::COMMANDS,
];

/// A row with its place: the index under which statistics are kept.
pub struct Command {
    pub spec: &'static Spec,
    pub index: usize,
    /// By the second word, in lower case.
    subcommands: HashMap<&'static [u8], &'static Command>,
}

/// By what names commands are called: those of their rows, until `rename-command` says otherwise.
pub struct Names(BTreeMap<Vec<u8>, &'static str>);

impl Default for Names {
    fn default() -> Self {
        let specs = ROOMS.iter().flat_map(|room| room.iter());
        Names(
            specs
                .map(|spec| (spec.name.as_bytes().to_vec(), spec.name))
                .collect(),
        )
    }
}

impl Names {
    /// Calls a command by another name, in any case; an empty one takes it away.
    ///
    /// # Errors
    /// There is no command of the old name, or there is one of the new name.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<(), &'static str> {
        let (from, to) = (from.to_ascii_lowercase(), to.to_ascii_lowercase());
        let row = *self
            .0
            .get(&from)
            .ok_or("No such command in rename-command")?;
        if self.0.contains_key(&to) && to != from {
            return Err("Target command name already exists");
        }
        if to.len() > NAME_BYTES_MAX {
            return Err("Target command name is too long");
        }
        self.0.remove(&from);
        if !to.is_empty() {
            self.0.insert(to, row);
        }
        Ok(())
    }

    /// Makes these the names of the whole process. Without effect once a command was looked up.
    pub fn establish(self) {
        // Only the first call can succeed, and boot makes only one.
        let _ = NAMES.set(self);
    }
}

static NAMES: OnceLock<Names> = OnceLock::new();

struct Table {
    by_name: HashMap<&'static [u8], &'static Command, foldhash::fast::FixedState>,
    all: Vec<&'static Command>,
    top_level: Vec<&'static Command>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut all = Vec::new();
    let mut by_row: HashMap<&str, &'static Command> = HashMap::new();
    for spec in ROOMS.iter().flat_map(|room| room.iter()) {
        let mut subcommands = HashMap::new();
        let index = all.len();
        // The container's own row comes first; its place is filled below.
        let mut rows = Vec::new();
        for (offset, sub) in spec.subcommands().iter().enumerate() {
            let row: &'static Command = Box::leak(Box::new(Command {
                spec: sub,
                index: index + 1 + offset,
                subcommands: HashMap::new(),
            }));
            let word = sub.name.split_once('|').map_or(sub.name, |(_, word)| word);
            subcommands.insert(word.as_bytes(), row);
            rows.push(row);
        }
        let row: &'static Command = Box::leak(Box::new(Command {
            spec,
            index,
            subcommands,
        }));
        assert!(
            by_row.insert(spec.name, row).is_none(),
            "two rows for {}",
            spec.name
        );
        all.push(row);
        all.extend(rows);
    }
    let names = NAMES.get_or_init(Names::default);
    let by_name: HashMap<_, _, _> = names
        .0
        .iter()
        .map(|(name, row)| (&name[..], by_row[row]))
        .collect();
    let mut top_level: Vec<_> = names.0.values().map(|row| by_row[row]).collect();
    top_level.sort_by_key(|command| command.index);
    Table {
        by_name,
        all,
        top_level,
    }
});

/// What the table has for a request.
#[derive(Clone, Copy)]
pub enum Lookup {
    Found(&'static Command),
    Unknown,
    UnknownSubcommand(&'static Command),
}

const NAME_BYTES_MAX: usize = 32;

/// Finds the command of a request: by its first word, or its first two for a container.
pub fn lookup(argv: Argv) -> Lookup {
    let Some(command) = find(argv.get(0)) else {
        return Lookup::Unknown;
    };
    if !matches!(command.spec.run, Run::Container(_) | Run::Both(..)) || argv.len() < 2 {
        return Lookup::Found(command);
    }
    let mut lower = [0; NAME_BYTES_MAX];
    match lowered(argv.get(1), &mut lower).and_then(|word| command.subcommands.get(word)) {
        Some(subcommand) => Lookup::Found(subcommand),
        None => Lookup::UnknownSubcommand(command),
    }
}

/// A top-level command by its name, in any case.
pub fn find(name: &[u8]) -> Option<&'static Command> {
    let mut lower = [0; NAME_BYTES_MAX];
    TABLE.by_name.get(lowered(name, &mut lower)?).copied()
}

/// A command or subcommand by its full name: `get`, `client|list`.
pub fn find_full(name: &[u8]) -> Option<&'static Command> {
    match name.iter().position(|&byte| byte == b'|') {
        None => find(name),
        Some(bar) => {
            let mut lower = [0; NAME_BYTES_MAX];
            find(&name[..bar])?
                .subcommands
                .get(lowered(&name[bar + 1..], &mut lower)?)
                .copied()
        }
    }
}

/// Every row, subcommands behind their container.
pub fn all() -> &'static [&'static Command] {
    &TABLE.all
}

/// The commands that can be called, in the order of their rows; without subcommands.
pub fn top_level() -> impl Iterator<Item = &'static Command> + Clone {
    TABLE.top_level.iter().copied()
}

impl Lookup {
    /// The command, or what the client is told.
    pub fn command(self, argv: Argv) -> Result<&'static Command, CommandError> {
        match self {
            Lookup::Found(command) => Ok(command),
            Lookup::Unknown => Err(error::unknown_command(argv.get(0), argv.skip(1).iter())),
            Lookup::UnknownSubcommand(container) => {
                Err(error::unknown_subcommand(container.spec.name, argv.get(1)))
            }
        }
    }
}

fn lowered<'l>(name: &[u8], lower: &'l mut [u8; NAME_BYTES_MAX]) -> Option<&'l [u8]> {
    let place = lower.get_mut(..name.len())?;
    place.copy_from_slice(name);
    place.make_ascii_lowercase();
    Some(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::request::OwnedRequest;

    #[test]
    fn names_are_found_in_any_case_and_subcommands_by_their_second_word() {
        let found = |words: &[&[u8]]| {
            let request = OwnedRequest::new(words.iter().copied());
            match lookup(request.argv()) {
                Lookup::Found(command) => command.spec.name,
                Lookup::Unknown => "?",
                Lookup::UnknownSubcommand(_) => "?|?",
            }
        };
        assert_eq!(found(&[b"GeT", b"k"]), "get");
        assert_eq!(found(&[b"CLIENT", b"Id"]), "client|id");
        assert_eq!(found(&[b"CLIENT", b"nothing"]), "?|?");
        assert_eq!(found(&[b"CLIENT"]), "client");
        assert_eq!(found(&[&[b'x'; 100]]), "?");
        assert_eq!(
            find_full(b"client|ID").map(|command| command.spec.name),
            Some("client|id")
        );
    }

    #[test]
    fn a_command_is_renamed_or_taken_away() {
        let mut names = Names::default();
        assert_eq!(names.rename(b"Get", b"GET2"), Ok(()));
        assert_eq!(names.rename(b"set", b""), Ok(()));
        assert_eq!(names.rename(b"ping", b"Ping"), Ok(()));
        assert_eq!(names.0.get(&b"get2"[..]), Some(&"get"));
        assert!(!names.0.contains_key(&b"set"[..]));
        assert!(names.rename(b"set", b"x").is_err());
        assert!(names.rename(b"ping", b"echo").is_err());
        assert!(names.rename(b"ping", &[b'x'; 100]).is_err());
        assert!(names.0.contains_key(&b"ping"[..]));
    }

    #[test]
    fn every_row_is_complete() {
        for command in all() {
            let spec = command.spec;
            assert_eq!(spec.name, spec.name.to_lowercase());
            assert!(spec.arity != 0, "{}", spec.name);
            assert!(
                !spec.since.is_empty() && !spec.group.is_empty() && !spec.summary.is_empty(),
                "{}",
                spec.name
            );
            assert!(all()[command.index].spec.name == spec.name);
        }
    }
}
