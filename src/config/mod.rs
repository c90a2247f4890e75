//! Settings: one table, one struct of typed fields, and the ways in: files, the command line, CONFIG SET.
//!
//! In reading order: `parameters` is THE table, and [`Config`] is made from it; `accepted` lists what Redis knows and
//! this server does without; `parameter` says what a row is; `kinds`, `values` and `events` hold the syntax of values;
//! `words` is one line; `file` reads configuration files, `arguments` the command line, `rewrite` writes a file back.
//!
//! Invariants: a `Config` only ever holds values that its table accepts; a change of several parameters happens as a
//! whole or not at all; whatever `get` prints, `set` takes. Reads the directories and files that it is told to, knows
//! nothing of clients, sockets and running parts: who changes a setting at run time makes the running part follow.

pub mod accepted;
pub mod arguments;
pub mod commands;
pub mod events;
pub mod file;
pub mod kinds;
pub mod parameter;
pub mod parameters;
pub mod rewrite;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
pub mod values;
pub mod words;

use std::collections::HashSet;
use std::fmt;

use crate::glob;
use parameter::{Flag, Parameter, find};
use values::{Reason, Setting};

pub use parameters::Config;

/// The version of this server.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version of Redis whose clients and tools find here what they expect.
pub const REDIS_VERSION: &str = "7.2.4";

/// Parameters of rooms that are not part of this version: the AOF, ACL users, eviction, the second channel of a full sync.
const NOT_YET: &[&str] = &[
    "aclfile",
    "acl-pubsub-default",
    "acllog-max-len",
    "busy-reply-threshold",
    "dual-channel-replication-enabled",
    "maxmemory-policy",
    "replica-ignore-maxmemory",
    "daemonize",
];

/// A new configuration, and what differs in it: who holds the running parts makes them follow before he takes it.
#[derive(Debug)]
pub struct Change {
    pub config: Config,
    /// Names of the parameters whose value is another one now, in the order in which they were given.
    pub changed: Vec<&'static str>,
}

/// What else decides whether CONFIG SET may change a parameter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Circumstances {
    /// A dataset is being loaded.
    pub loading: bool,
    /// The client came over loopback or the Unix socket.
    pub local: bool,
}

impl Config {
    /// What CONFIG GET prints for this name or alias.
    pub fn get(&self, name: &[u8]) -> Option<Vec<u8>> {
        let (parameter, _) = find(name)?;
        Some(parameter.kind.print(&self.setting(parameter)))
    }

    /// The names and values that CONFIG GET answers: each at most once, whatever the patterns. A name without wildcards is
    /// answered as it was asked, and may be a hidden one.
    pub fn matching<P: AsRef<[u8]>>(&self, patterns: &[P]) -> Vec<(String, Vec<u8>)> {
        let mut answered = HashSet::new();
        let mut found = Vec::new();
        for pattern in patterns.iter().map(AsRef::as_ref) {
            if !pattern.iter().any(|byte| b"*?[".contains(byte)) {
                if let Some((parameter, name)) = find(pattern)
                    && answered.insert(name)
                {
                    let asked = String::from_utf8_lossy(pattern).into_owned();
                    found.push((asked, parameter.kind.print(&self.setting(parameter))));
                }
                continue;
            }
            for parameter in parameter::all().filter(|parameter| !parameter.has(Flag::Hidden)) {
                for name in parameter
                    .names()
                    .filter(|name| glob::matches(pattern, name.as_bytes(), true))
                {
                    if answered.insert(name) {
                        found.push((
                            name.to_owned(),
                            parameter.kind.print(&self.setting(parameter)),
                        ));
                    }
                }
            }
        }
        found
    }

    /// CONFIG SET: all pairs of a name and a value, or none of them.
    ///
    /// # Errors
    /// The first name that is unknown; else the first that may not be changed now; else the first value that is refused.
    pub fn changed_by<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        pairs: &[(N, V)],
        circumstances: Circumstances,
    ) -> Result<Change, ConfigError> {
        let known = |(name, value)| {
            let name: &[u8] = AsRef::as_ref(name);
            let found = find(name)
                .ok_or_else(|| ConfigError::Unknown(String::from_utf8_lossy(name).into_owned()));
            found.map(|(parameter, name)| (parameter, name, AsRef::<[u8]>::as_ref(value)))
        };
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(name, value)| known((name, value)))
            .collect::<Result<_, _>>()?;

        let mut seen = HashSet::new();
        for (parameter, name, _) in &pairs {
            let refused = |reason: &str| {
                Err(ConfigError::Refused {
                    name,
                    reason: reason.into(),
                })
            };
            if parameter.has(Flag::Immutable) {
                return refused("can't set immutable config");
            }
            if parameter.has(Flag::Protected)
                && !self.enable_protected_configs.allows(circumstances.local)
            {
                return refused("can't set protected config");
            }
            if parameter.has(Flag::NotWhileLoading) && circumstances.loading {
                return Err(ConfigError::Loading);
            }
            if !seen.insert(*name) {
                return refused("duplicate parameter");
            }
        }

        let mut config = self.clone();
        for (parameter, name, value) in &pairs {
            let words: Vec<&[u8]> = match (parameter.kind.takes_words(), *value) {
                (true, []) => Vec::new(),
                (true, value) => value.split(|&byte| byte == b' ').collect(),
                (false, value) => vec![value],
            };
            config
                .put(parameter, &words)
                .map_err(|reason| ConfigError::Refused { name, reason })?;
        }
        let differs = |parameter: &Parameter| self.setting(parameter) != config.setting(parameter);
        let mut changed: Vec<&'static str> = Vec::new();
        for (parameter, ..) in &pairs {
            if differs(parameter) && !changed.contains(&parameter.name) {
                changed.push(parameter.name);
            }
        }
        Ok(Change { config, changed })
    }

    /// Sets one parameter whatever its flags, from the words that a file has behind its name.
    ///
    /// # Errors
    /// An unknown name, or a value that is refused; nothing is changed then.
    pub fn set<W: AsRef<[u8]>>(&mut self, name: &str, words: &[W]) -> Result<(), ConfigError> {
        let (parameter, name) =
            find(name.as_bytes()).ok_or_else(|| ConfigError::Unknown(name.to_owned()))?;
        let words: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
        let words = unfolded(&words, parameter.kind.takes_words());
        self.put(parameter, &words)
            .map_err(|reason| ConfigError::Refused { name, reason })
    }

    /// Names of the parameters that were given another value than their default, and change nothing: those that are only
    /// accepted, and those whose room is not part of this version.
    pub fn without_effect(&self) -> Vec<&'static str> {
        let default = Config::default();
        let unheard = |name: &&str| self.get(name.as_bytes()) != default.get(name.as_bytes());
        let names = self.accepted.keys().copied();
        names
            .chain(NOT_YET.iter().copied().filter(unheard))
            .collect()
    }

    /// Whether the dataset is kept on disk at all, without being asked to.
    pub fn persists(&self) -> bool {
        self.appendonly || !self.save.is_empty()
    }

    /// Whether files that only serve a sync are removed: `rdb-del-sync-files`, where nothing is persisted.
    pub fn removes_sync_files(&self) -> bool {
        self.rdb_del_sync_files && !self.persists()
    }

    pub(self) fn setting(&self, parameter: &Parameter) -> Setting {
        match &parameter.place {
            Some(place) => (place.read)(self),
            None => self
                .accepted
                .get(parameter.name)
                .cloned()
                .unwrap_or_else(|| parameter.default_setting()),
        }
    }

    pub(self) fn put(
        &mut self,
        parameter: &'static Parameter,
        words: &[&[u8]],
    ) -> Result<(), Reason> {
        let setting = parameter.kind.parse(words, &self.setting(parameter))?;
        match &parameter.place {
            Some(place) => (place.write)(self, setting),
            None if setting == parameter.default_setting() => {
                drop(self.accepted.remove(parameter.name))
            }
            None => drop(self.accepted.insert(parameter.name, setting)),
        }
        Ok(())
    }
}

/// The words of a value: several may come quoted as one, as in `--save "60 1"`.
pub fn unfolded<'w>(words: &[&'w [u8]], takes_words: bool) -> Vec<&'w [u8]> {
    match words {
        [one] if takes_words && !one.is_empty() => one.split(|&byte| byte == b' ').collect(),
        words => words.to_vec(),
    }
}

/// Why CONFIG SET changed nothing. Prints the whole error line, without the leading `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    Unknown(String),
    /// Also for a running part that cannot follow (an address that cannot be bound): nothing is changed then either.
    Refused {
        name: &'static str,
        reason: Reason,
    },
    Loading,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Unknown(name) => {
                write!(
                    f,
                    "ERR Unknown option or number of arguments for CONFIG SET - '{name}'"
                )
            }
            ConfigError::Refused { name, reason } => {
                write!(
                    f,
                    "ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"
                )
            }
            ConfigError::Loading => write!(f, "LOADING Redis is loading the dataset in memory"),
        }
    }
}

impl std::error::Error for ConfigError {}
