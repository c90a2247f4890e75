//! Requests from the AOF, applied to the data: what loading does instead of [`Engine::execute`].
//!
//! Two halves, for two threads. [`Batch`] collects requests and looks up, without the engine, what each one means;
//! [`Engine::replay`] runs a batch. What a request brings about is not recorded, not counted in statistics and not timed; nobody may
//! forbid it (ACL, memory, role), nothing expires on the way, and a reply goes nowhere. An error that a command answers is
//! told in the log, and the load goes on, as in Redis; a request that means nothing here is refused when it is collected.
//!
//! Transactions are the caller's: it hands over whole ones only, so MULTI and EXEC have nothing left to do.

use crate::aof::scan::{self, Scanner};
use crate::clients::Ends;
use crate::clients::session::Session;
use crate::cow::element;
use crate::keyspace::Database;
use crate::keyspace::access::AccessRule;
use crate::number;
use crate::protocol::reply::{Reply, ReplyBuffer, Resp};
use crate::protocol::request::Argv;

use super::data::ExpiryRule;
use super::error::{self, CommandError};
use super::spec::{DataCommand, Keys, Run, Spec, flag};
use super::table::{self, Lookup};
use super::{Engine, Node};

/// Requests in the order of the file, each with what is to be done for it. Used again and again, it allocates nothing.
pub struct Batch {
    source: Vec<u8>,
    commands: scan::Batch,
    steps: Vec<Step>,
    databases: usize,
}

#[derive(Clone, Copy)]
enum Step {
    Data {
        run: DataCommand,
        spec: &'static Spec,
        /// Of the first key: its place in the table is fetched before it is needed.
        hash: u64,
    },
    Node(&'static Spec),
    Select(usize),
    /// Means nothing outside of a stream: PING, MULTI, EXEC, REPLCONF.
    Nothing,
    /// Answers an error whatever the data are.
    Refused(&'static Spec, Refusal),
}

#[derive(Clone, Copy)]
enum Refusal {
    Arity,
    /// A command for operators: no dataset consists of those.
    NotData,
}

/// What [`Batch::fill`] has made of its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// The requests lie in these bytes; what follows them is to be presented again, at the front of the next source.
    pub consumed: usize,
    /// At least so many more bytes are needed to go on; 0 if the scan is over.
    pub wanted: usize,
    /// Requests up to the end of the last whole unit.
    pub whole: usize,
    /// Where that unit ends in the source, and why the request behind it, or a later one of the same unit, is none.
    pub refused: Option<(usize, Meaningless)>,
}

/// Why a request cannot be part of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaningless {
    /// There is no such command: its name, or what can be shown of it.
    Unknown(String),
    /// Takes back what stands before it, which nobody writes into a log.
    Discard,
    /// SELECT of a database that is not configured.
    Database { selected: String, databases: usize },
}

impl std::fmt::Display for Meaningless {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Meaningless::Unknown(name) => write!(out, "Unknown command '{name}'"),
            Meaningless::Discard => write!(out, "DISCARD is not part of a log"),
            Meaningless::Database {
                selected,
                databases,
            } => write!(
                out,
                "database {selected} is selected, and {databases} are configured"
            ),
        }
    }
}

impl Batch {
    /// An empty batch, for a server of so many databases.
    pub fn new(databases: usize) -> Self {
        Batch {
            source: Vec::new(),
            commands: scan::Batch::default(),
            steps: Vec::new(),
            databases,
        }
    }

    /// Takes the source out, to be changed.
    pub fn take_source(&mut self) -> Vec<u8> {
        self.steps.clear();
        self.commands.clear();
        std::mem::take(&mut self.source)
    }

    pub fn source(&self) -> &[u8] {
        &self.source
    }

    pub fn len(&self) -> usize {
        self.steps.len()
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Finds the requests that are whole in `source`, and what each of them means, up to one that means nothing here.
    pub fn fill(&mut self, source: Vec<u8>, scanner: &mut Scanner) -> Filled {
        self.source = source;
        self.steps.clear();
        let scanned = scanner.scan(&self.source, &mut self.commands);
        let mut filled = Filled {
            consumed: scanned.consumed,
            wanted: scanned.wanted,
            whole: 0,
            refused: None,
        };
        let mut begins = 0;
        for command in self.commands.commands(&self.source) {
            match step_of(command.argv, self.databases) {
                Ok(step) => self.steps.push(step),
                Err(reason) => {
                    filled.refused = Some((begins, reason));
                    break;
                }
            }
            begins = command.end;
            if command.ends_unit {
                filled.whole = self.steps.len();
            }
        }
        filled
    }

    fn request(&self, index: usize) -> Argv<'_> {
        self.commands.argv(&self.source, index)
    }
}

fn step_of(argv: Argv, databases: usize) -> Result<Step, Meaningless> {
    let spec = match table::lookup(argv) {
        Lookup::Found(command) => command.spec,
        Lookup::Unknown | Lookup::UnknownSubcommand(_) => {
            let shown = &argv.get(0)[..argv.get(0).len().min(128)];
            return Err(Meaningless::Unknown(shown.escape_ascii().to_string()));
        }
    };
    if !spec.accepts(argv.len()) {
        return Ok(Step::Refused(spec, Refusal::Arity));
    }
    if !spec.has(flag::WRITE) {
        match spec.name {
            "select" => {
                let number = number::parse_i64(argv.get(1));
                let selected = number.and_then(|number| usize::try_from(number).ok());
                return match selected.filter(|selected| *selected < databases) {
                    Some(selected) => Ok(Step::Select(selected)),
                    None => Err(Meaningless::Database {
                        selected: argv.get(1).escape_ascii().to_string(),
                        databases,
                    }),
                };
            }
            "multi" | "exec" | "ping" | "replconf" | "watch" | "unwatch" => {
                return Ok(Step::Nothing);
            }
            "discard" => return Err(Meaningless::Discard),
            _ => {}
        }
        if spec.has(flag::ADMIN | flag::NO_MULTI | flag::PUBSUB | flag::BLOCKING) {
            return Ok(Step::Refused(spec, Refusal::NotData));
        }
    }
    Ok(match spec.run {
        Run::OnData(run) => Step::Data {
            run,
            spec,
            hash: match spec.keys {
                Keys::Range { first: 1, .. } if argv.len() > 1 => element::hash(argv.get(1)),
                _ => 0,
            },
        },
        _ => Step::Node(spec),
    })
}

/// What one load carries from batch to batch.
#[derive(Default)]
pub struct Replay {
    /// Selected in the file; each begins in database 0.
    pub db: usize,
    /// Selected by the file, unless nothing was.
    pub selected: Option<usize>,
    /// Requests that were run.
    pub requests: u64,
    /// Requests that answered an error.
    pub failures: u64,
    buffer: ReplyBuffer,
}

impl Engine {
    /// Runs `range` of a batch, all of it at one moment.
    pub fn replay(&mut self, replay: &mut Replay, batch: &Batch, range: std::ops::Range<usize>) {
        self.unit.recording = false;
        self.unit.notifying = false;
        let was_in_exec = std::mem::replace(&mut self.in_exec, true);
        let access_rule = self.access_rule();
        let steps = &batch.steps[..range.end];
        let mut index = range.start;
        while index < range.end {
            index = self.replay_data(replay, batch, index..range.end, access_rule);
            if let Some(Step::Node(spec)) = steps.get(index) {
                if let Err(failure) = self.replay_node(replay, spec, batch.request(index)) {
                    replay.failed(spec, &failure);
                }
                replay.buffer.clear();
                index += 1;
            }
        }
        replay.requests += (range.end - range.start) as u64;
        self.in_exec = was_in_exec;
        self.unit.effects.clear();
        self.settle_unit();
    }

    /// Runs what needs no more than the data, up to a request that does; its index is returned.
    fn replay_data(
        &mut self,
        replay: &mut Replay,
        batch: &Batch,
        range: std::ops::Range<usize>,
        access_rule: AccessRule,
    ) -> usize {
        let mut data = self.data(replay.db, ExpiryRule::Ignore, access_rule);
        let steps = &batch.steps[..range.end];
        let mut fetched = range.start;
        for index in range.clone() {
            if index == fetched {
                // Many at once, so that the misses of different keys overlap.
                let next = &steps[index..range.end.min(index + FETCHED_AT_ONCE)];
                fetch(data.database(), next);
                fetched = index + FETCHED_AT_ONCE;
            }
            match steps[index] {
                Step::Data { run, spec, .. } => {
                    let mut reply = Reply::new(&mut replay.buffer, Resp::Two);
                    let result = run(&mut data, batch.request(index), &mut reply);
                    replay.buffer.clear();
                    if let Err(failure) = result {
                        replay.failed(spec, &failure);
                    }
                }
                Step::Select(db) => {
                    replay.db = db;
                    replay.selected = Some(db);
                    data.db = db;
                }
                Step::Nothing => {}
                Step::Refused(spec, Refusal::Arity) => {
                    replay.failed(spec, &error::wrong_arity(spec.name));
                }
                Step::Refused(spec, Refusal::NotData) => {
                    replay.failed(
                        spec,
                        &CommandError::new("ERR not a command that a dataset consists of"),
                    );
                }
                Step::Node(_) => return index,
            }
        }
        range.end
    }

    /// Runs a request as that of a client that exists for its sake only.
    fn replay_node(
        &mut self,
        replay: &mut Replay,
        spec: &'static Spec,
        argv: Argv,
    ) -> Result<(), CommandError> {
        let (Run::OnNode(run) | Run::Both(_, run)) = spec.run else {
            return Err(error::wrong_arity(spec.name));
        };
        let session = Session {
            db: replay.db,
            authenticated: true,
            ..Session::default()
        };
        let client = self
            .clients
            .connect(Ends::default(), session, self.monotonic);
        let mut node = Node {
            engine: self,
            client,
        };
        let mut reply = Reply::new(&mut replay.buffer, Resp::Two);
        let result = run(&mut node, argv, &mut reply);
        self.disconnect(client);
        result.map(|_| ())
    }
}

impl Replay {
    fn failed(&mut self, spec: &Spec, failure: &CommandError) {
        self.failures += 1;
        if self.failures <= FAILURES_LOGGED {
            log::warn!(
                "== CRITICAL == This server is sending an error to the AOF-loading-client: '{}' after processing the command '{}'",
                failure.text(),
                spec.name
            );
        }
    }
}

/// Fetches into the caches what these requests will touch: the tables' leaves, then the entries.
fn fetch(database: &Database, steps: &[Step]) {
    if database.len() < FETCHED_DATABASE_KEYS_MIN {
        return;
    }
    let hashes = || {
        steps.iter().filter_map(|step| match step {
            Step::Data { hash, .. } if *hash != 0 => Some(*hash),
            _ => None,
        })
    };
    hashes().for_each(|hash| database.prefetch_mut(hash));
    hashes().for_each(|hash| database.prefetch_entry(hash));
}

/// Requests whose keys are fetched together.
const FETCHED_AT_ONCE: usize = 32;

/// Below this, a database lies in the caches anyway.
const FETCHED_DATABASE_KEYS_MIN: usize = 10_000;

/// So many errors are told one by one.
const FAILURES_LOGGED: u64 = 20;
