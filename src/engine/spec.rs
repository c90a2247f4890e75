//! What a command is: a row of the table from which dispatch, COMMAND, COMMAND DOCS and the checks are derived.

use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::Node;
use super::data::Data;
use super::error::CommandError;

/// What running a command has come to. The reply is written by the time this is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Replied,
    /// The client waits: its session says for what, and the answer comes later.
    Parked,
}

pub type CommandResult = Result<Outcome, CommandError>;

/// A command that sees data, arguments and time, and nothing else.
pub type DataCommand = fn(&mut Data, Argv, &mut Reply) -> CommandResult;

/// A command that is given the whole engine and who asked.
pub type NodeCommand = fn(&mut Node, Argv, &mut Reply) -> CommandResult;

#[derive(Clone, Copy)]
pub enum Run {
    OnData(DataCommand),
    OnNode(NodeCommand),
    /// The second word chooses among these.
    Container(&'static [Spec]),
    /// As a container, but also a command by itself, without a second word.
    Both(&'static [Spec], NodeCommand),
}

/// Properties of a command, as COMMAND names them.
pub mod flag {
    pub const WRITE: u32 = 1;
    pub const READONLY: u32 = 1 << 1;
    pub const DENYOOM: u32 = 1 << 2;
    pub const ADMIN: u32 = 1 << 3;
    pub const PUBSUB: u32 = 1 << 4;
    pub const NOSCRIPT: u32 = 1 << 5;
    pub const BLOCKING: u32 = 1 << 6;
    pub const LOADING: u32 = 1 << 7;
    pub const STALE: u32 = 1 << 8;
    pub const SKIP_MONITOR: u32 = 1 << 9;
    pub const SKIP_SLOWLOG: u32 = 1 << 10;
    pub const FAST: u32 = 1 << 11;
    pub const NO_AUTH: u32 = 1 << 12;
    pub const MAY_REPLICATE: u32 = 1 << 13;
    pub const NO_MULTI: u32 = 1 << 14;
    pub const NO_ASYNC_LOADING: u32 = 1 << 15;
    pub const ALLOW_BUSY: u32 = 1 << 16;
    pub const MOVABLEKEYS: u32 = 1 << 17;
    /// Needs `enable-debug-command`. COMMAND does not show it.
    pub const PROTECTED: u32 = 1 << 18;
    /// Meets keys that the request does not name: what expires on the way is recorded each for itself. Not in COMMAND.
    pub const TOUCHES_ARBITRARY_KEYS: u32 = 1 << 19;

    /// Names in the order in which COMMAND lists them; flags without one are not told.
    pub const NAMES: &[(u32, &str)] = &[
        (WRITE, "write"),
        (READONLY, "readonly"),
        (DENYOOM, "denyoom"),
        (ADMIN, "admin"),
        (PUBSUB, "pubsub"),
        (NOSCRIPT, "noscript"),
        (BLOCKING, "blocking"),
        (LOADING, "loading"),
        (STALE, "stale"),
        (SKIP_MONITOR, "skip_monitor"),
        (SKIP_SLOWLOG, "skip_slowlog"),
        (FAST, "fast"),
        (NO_AUTH, "no_auth"),
        (NO_ASYNC_LOADING, "no_async_loading"),
        (NO_MULTI, "no_multi"),
        (ALLOW_BUSY, "allow_busy"),
        (MOVABLEKEYS, "movablekeys"),
    ];
}

/// Where the keys stand among the words; the command's name is word 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    None,
    /// `last` counts from the end where negative (-1: the last word).
    Range {
        first: i32,
        last: i32,
        step: i32,
    },
    /// Word `count_at` says how many keys follow it.
    Counted {
        count_at: usize,
    },
    /// A destination at word 1, then as [`Keys::Counted`].
    StoreCounted {
        count_at: usize,
    },
}

/// One command, or one subcommand.
#[derive(Clone, Copy)]
pub struct Spec {
    /// In lower case; a subcommand's is `client|kill`.
    pub name: &'static str,
    /// Words with the name: exactly so many, or at least that where negative.
    pub arity: i32,
    pub flags: u32,
    pub keys: Keys,
    /// The group of COMMAND DOCS, which is also the ACL category of data commands.
    pub group: &'static str,
    pub since: &'static str,
    pub summary: &'static str,
    pub complexity: &'static str,
    pub run: Run,
}

impl Spec {
    pub const fn data(
        name: &'static str,
        arity: i32,
        flags: u32,
        keys: Keys,
        run: DataCommand,
    ) -> Self {
        Self::new(name, arity, flags, keys, Run::OnData(run))
    }

    pub const fn node(
        name: &'static str,
        arity: i32,
        flags: u32,
        keys: Keys,
        run: NodeCommand,
    ) -> Self {
        Self::new(name, arity, flags, keys, Run::OnNode(run))
    }

    /// A command that is also the container of `subcommands`.
    pub const fn both(
        name: &'static str,
        flags: u32,
        subcommands: &'static [Spec],
        run: NodeCommand,
    ) -> Self {
        Self::new(name, -1, flags, Keys::None, Run::Both(subcommands, run))
    }

    pub const fn container(name: &'static str, subcommands: &'static [Spec]) -> Self {
        Self::new(name, -2, 0, Keys::None, Run::Container(subcommands))
    }

    const fn new(name: &'static str, arity: i32, flags: u32, keys: Keys, run: Run) -> Self {
        Spec {
            name,
            arity,
            flags,
            keys,
            group: "",
            since: "",
            summary: "",
            complexity: "",
            run,
        }
    }

    /// What COMMAND DOCS tells: since which Redis version, group, a sentence, the complexity.
    pub const fn doc(
        mut self,
        since: &'static str,
        group: &'static str,
        summary: &'static str,
        complexity: &'static str,
    ) -> Self {
        self.since = since;
        self.group = group;
        self.summary = summary;
        self.complexity = complexity;
        self
    }

    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    pub fn accepts(&self, words: usize) -> bool {
        if self.arity >= 0 {
            words == self.arity as usize
        } else {
            words >= self.arity.unsigned_abs() as usize
        }
    }

    /// The subcommands of a container.
    pub fn subcommands(&self) -> &'static [Spec] {
        match self.run {
            Run::Container(specs) | Run::Both(specs, _) => specs,
            _ => &[],
        }
    }

    /// The places of the keys in a request, or `None` if its words do not fit.
    pub fn key_places(&self, argv: Argv) -> Option<Vec<usize>> {
        let words = argv.len();
        match self.keys {
            Keys::None => Some(Vec::new()),
            Keys::Range { first, last, step } => {
                let last = if last < 0 { words as i32 + last } else { last };
                (last < words as i32).then(|| {
                    (first..=last)
                        .step_by(step.max(1) as usize)
                        .map(|at| at as usize)
                        .collect()
                })
            }
            Keys::Counted { count_at } => counted(argv, count_at),
            Keys::StoreCounted { count_at } => {
                let mut places = vec![1];
                places.extend(counted(argv, count_at)?);
                Some(places)
            }
        }
    }
}

fn counted(argv: Argv, count_at: usize) -> Option<Vec<usize>> {
    if count_at >= argv.len() {
        return None;
    }
    let count = usize::try_from(crate::number::parse_i64(argv.get(count_at))?).ok()?;
    let first = count_at + 1;
    (count > 0 && count <= argv.len() - first).then(|| (first..first + count).collect())
}

/// Keys at word 1.
pub const ONE_KEY: Keys = Keys::Range {
    first: 1,
    last: 1,
    step: 1,
};
/// Keys at words 1 and 2.
pub const TWO_KEYS: Keys = Keys::Range {
    first: 1,
    last: 2,
    step: 1,
};
/// Keys from word 1 to the end.
pub const ALL_KEYS: Keys = Keys::Range {
    first: 1,
    last: -1,
    step: 1,
};
