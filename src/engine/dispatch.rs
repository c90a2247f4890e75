//! The road of each request: may it run now, for this client, in this state; then it runs, and what it did is recorded.
//!
//! The checks stand in Redis's order, because the first one that fails decides what the client is told.

use crate::clients::session::{ReplyMode, Role};
use crate::clients::{ClientKey, Closing};
use crate::journal::effect::Framing;
use crate::keyspace::access::AccessRule;
use crate::memory;
use crate::protocol::reply::{Reply, ReplyBuffer, Resp};
use crate::protocol::request::Argv;
use crate::stats::latency;
use crate::stats::slowlog::{Slow, clipped};

use super::data::ExpiryRule;
use super::error::{self, CommandError};
use super::pause::PauseMode;
use super::spec::{CommandResult, Keys, Outcome, Run, Spec, flag};
use super::table::{Command, Lookup};
use super::{Engine, Node};

/// What the client's task does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The next request of the pipeline.
    Next,
    /// Waits: the session is blocked, or the connection is closing.
    Stop,
    /// The request has not run; it is to be presented again when the pause is over.
    Postponed,
}

impl Engine {
    /// Executes one request of `client`. The reply stands in the client's outbox when this returns, unless it is blocked.
    pub fn execute(&mut self, client: ClientKey, argv: Argv, found: Lookup) -> Flow {
        let mut buffer = self.begin(client);
        let mark = buffer.mark();
        let command = found.command(argv);
        let session = &mut self.clients.get_mut(client).session;
        session.last_command = command.as_ref().map_or("", |command| command.spec.name);
        let resp = session.resp;
        let flow = match &command {
            Ok(command) if self.is_postponed(client, command.spec) => Flow::Postponed,
            Ok(command) => match self.admit(client, command.spec, argv) {
                Ok(Admission::Run) => self.call(client, command, argv, &mut buffer),
                Ok(Admission::Queue) => {
                    self.queue(client, argv);
                    Reply::new(&mut buffer, resp).simple("QUEUED");
                    Flow::Next
                }
                Err(refusal) => {
                    self.stats.commands[command.index].rejected += 1;
                    let refusal = if command.spec.name == "exec" {
                        self.discard_transaction(client);
                        error::exec_aborted(&refusal)
                    } else {
                        refusal
                    };
                    self.refuse(client, &refusal, Reply::new(&mut buffer, resp));
                    Flow::Next
                }
            },
            Err(unknown) => {
                if is_http(argv.get(0)) {
                    self.turn_browser_away(client);
                } else {
                    self.refuse(client, unknown, Reply::new(&mut buffer, resp));
                }
                Flow::Next
            }
        };
        self.finish(client, buffer, mark, flow)
    }

    /// Takes the outbox out of the record, so that the reply and the engine can both be written to.
    fn begin(&mut self, client: ClientKey) -> ReplyBuffer {
        let record = self.clients.get_mut(client);
        if record.session.reply_mode == ReplyMode::SkipNext {
            record.session.reply_mode = ReplyMode::Skip;
        }
        std::mem::take(&mut record.outbox.buffer)
    }

    fn finish(
        &mut self,
        client: ClientKey,
        mut buffer: ReplyBuffer,
        mark: crate::protocol::reply::Mark,
        flow: Flow,
    ) -> Flow {
        let Some(record) = self.clients.find_mut(client) else {
            return Flow::Stop;
        };
        match record.session.reply_mode {
            ReplyMode::On | ReplyMode::SkipNext => {}
            ReplyMode::Off => buffer.rewind(mark),
            ReplyMode::Skip => {
                buffer.rewind(mark);
                if flow != Flow::Postponed {
                    record.session.reply_mode = ReplyMode::On;
                }
            }
        }
        if record.session.is_master() {
            // Replies are never written to the master.
            buffer.rewind(mark);
        }
        // A replica's link carries the stream and nothing else: whoever makes it carry a reply is closed.
        if record.session.is_replica() && buffer.grew_since(mark) {
            buffer.rewind(mark);
            record.closing = Some(Closing::Now);
        }
        let pushed = std::mem::replace(&mut record.outbox.buffer, buffer);
        if !pushed.is_empty() {
            // Messages that the request itself has brought about come before its reply.
            record.outbox.buffer.insert_at(mark, &pushed.to_vec());
        }
        if flow == Flow::Next && (record.session.blocked.is_some() || record.closing.is_some()) {
            return Flow::Stop;
        }
        flow
    }

    fn refuse(&mut self, client: ClientKey, refusal: &CommandError, mut reply: Reply) {
        if let Some(transaction) = &mut self.clients.get_mut(client).session.transaction {
            transaction.has_errors = true;
        }
        self.stats.count_error(refusal.code());
        reply.error(refusal.text());
    }

    /// Somebody makes a browser post to us: what follows its headers must not be executed.
    fn turn_browser_away(&mut self, client: ClientKey) {
        if let Some(client) = self.clients.find_mut(client) {
            log::warn!(
                "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: commands to Redis. \
                 This is likely due to an attacker attempting to use Cross Protocol Scripting to compromise your \
                 Redis instance. Connection from {} aborted.",
                client.ends.peer
            );
            client.closing = Some(Closing::Now);
        }
    }

    fn is_postponed(&self, client: ClientKey, spec: &Spec) -> bool {
        let Some(mode) = self.pauses.mode(self.monotonic) else {
            return false;
        };
        let session = &self.clients.get(client).session;
        match mode {
            _ if session.is_replica() => false,
            PauseMode::All => spec.name != "client|unpause" && !spec.has(flag::ALLOW_BUSY),
            PauseMode::Write if session.transaction.is_some() && spec.name == "exec" => {
                let queue = session
                    .transaction
                    .iter()
                    .flat_map(|transaction| &transaction.queue);
                queue.into_iter().any(|request| {
                    super::table::lookup(request.argv())
                        .command(request.argv())
                        .is_ok_and(|command| command.spec.has(flag::WRITE | flag::MAY_REPLICATE))
                })
            }
            PauseMode::Write => {
                session.transaction.is_none() && spec.has(flag::WRITE | flag::MAY_REPLICATE)
            }
        }
    }

    fn allows_debug(&self, client: ClientKey) -> bool {
        let is_local = self.clients.get(client).ends.is_local;
        self.config.enable_debug_command.allows(is_local)
    }

    fn authorize(&self, client: ClientKey, flags: u32) -> Result<(), CommandError> {
        if flags & flag::NO_AUTH != 0 || self.is_authenticated(client) {
            Ok(())
        } else {
            Err(error::NO_AUTH)
        }
    }

    /// Whether the request runs now, is queued, or is refused.
    fn admit(
        &mut self,
        client: ClientKey,
        spec: &Spec,
        argv: Argv,
    ) -> Result<Admission, CommandError> {
        if !spec.accepts(argv.len()) || matches!(spec.run, Run::Container(_)) {
            return Err(error::wrong_arity(spec.name));
        }
        if spec.has(flag::PROTECTED) && !self.allows_debug(client) {
            return Err(error::NO_DEBUG);
        }
        self.authorize(client, spec.flags)?;
        let session = &self.clients.get(client).session;
        let in_transaction = session.transaction.is_some();
        if in_transaction
            && spec.has(flag::NO_MULTI)
            && spec.name != "multi"
            && spec.name != "watch"
        {
            return Err(error::NOT_IN_MULTI);
        }
        if session.role == Role::Normal && session.resp == Resp::Two && session.is_subscriber() {
            self.admit_subscriber(spec)?;
        }
        if (session.is_replica() || session.is_monitor)
            && (spec.keys != Keys::None || spec.has(flag::WRITE | flag::READONLY))
        {
            return Err(error::REPLICA_KEYSPACE);
        }
        if !session.is_master() {
            self.admit_in_state(spec)?;
        }
        if let Some(loading) = &self.persistence.loading {
            let refused = if loading.serving {
                spec.has(flag::NO_ASYNC_LOADING)
            } else {
                !spec.has(flag::LOADING)
            };
            // Whoever waits for a master that will not do may turn elsewhere.
            let turns_away = self.is_replica() && matches!(spec.name, "replicaof" | "slaveof");
            if refused && !turns_away {
                return Err(error::LOADING);
            }
        }
        let runs_in_queue = matches!(
            spec.name,
            "exec" | "discard" | "multi" | "watch" | "quit" | "reset"
        );
        if in_transaction && !runs_in_queue {
            Ok(Admission::Queue)
        } else {
            Ok(Admission::Run)
        }
    }

    fn admit_subscriber(&self, spec: &Spec) -> Result<(), CommandError> {
        let allowed = matches!(
            spec.name,
            "ping"
                | "subscribe"
                | "ssubscribe"
                | "unsubscribe"
                | "sunsubscribe"
                | "psubscribe"
                | "punsubscribe"
                | "quit"
                | "reset"
        );
        if allowed {
            return Ok(());
        }
        Err(CommandError::from(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
            spec.name
        )))
    }

    /// Memory, disk, replicas, role, link: what the node's state forbids to clients other than the master.
    fn admit_in_state(&mut self, spec: &Spec) -> Result<(), CommandError> {
        if spec.has(flag::DENYOOM)
            && self.config.maxmemory > 0
            && memory::used_bytes() > self.config.maxmemory
        {
            return Err(error::OUT_OF_MEMORY);
        }
        let writes = spec.has(flag::WRITE);
        if (writes || spec.name == "ping") && self.cannot_save() {
            return Err(error::CANNOT_SAVE);
        }
        if (writes || spec.name == "ping")
            && !self.is_replica()
            && let Some(refusal) = self.cannot_append()
        {
            return Err(refusal);
        }
        if writes && self.lacks_good_replicas() {
            return Err(error::NO_REPLICAS);
        }
        if writes && self.is_replica() && self.config.replica_read_only {
            return Err(error::READ_ONLY);
        }
        if self.is_replica()
            && !self.config.replica_serve_stale_data
            && !spec.has(flag::STALE)
            && !self.link_is_up()
        {
            return Err(error::MASTER_DOWN);
        }
        Ok(())
    }

    /// Whether the last background save failed and that is to stop writes.
    pub fn cannot_save(&self) -> bool {
        self.config.stop_writes_on_bgsave_error
            && !self.config.save.is_empty()
            && !self.persistence.last_status_ok
    }

    /// Runs an admitted request and records what it did.
    fn call(
        &mut self,
        client: ClientKey,
        command: &'static Command,
        argv: Argv,
        buffer: &mut ReplyBuffer,
    ) -> Flow {
        let outcome = self.run(client, command, argv, buffer);
        let framing = if command.spec.has(flag::TOUCHES_ARBITRARY_KEYS) {
            Framing::Apart
        } else {
            Framing::Together
        };
        self.finish_unit(client, framing);
        match outcome {
            Outcome::Replied => Flow::Next,
            Outcome::Parked => Flow::Stop,
        }
    }

    /// Runs a command inside the unit that is open: by itself, or as part of a transaction.
    pub fn run(
        &mut self,
        client: ClientKey,
        command: &'static Command,
        argv: Argv,
        buffer: &mut ReplyBuffer,
    ) -> Outcome {
        let spec = command.spec;
        let record = self.clients.get_mut(client);
        record.commands += 1;
        let session = &record.session;
        let (db, resp, is_master) = (session.db, session.resp, session.is_master());
        let access_rule = if session.no_touch && spec.name != "touch" {
            AccessRule::Leave
        } else {
            self.access_rule()
        };
        let expiry_rule = if is_master {
            ExpiryRule::Ignore
        } else {
            self.expiry_rule()
        };
        let started = self.last_moment;
        let mark = buffer.mark();
        let dirty_before = self.unit.dirty;
        self.redacted.clear();
        self.unit.replaced = false;
        self.unit.recording = self.journal.is_active() && !self.is_replica();
        self.unit.notifying = self.notifies();
        let mut reply = Reply::new(buffer, resp);
        let result: CommandResult = match spec.run {
            Run::OnData(run) => run(
                &mut self.data(db, expiry_rule, access_rule),
                argv,
                &mut reply,
            ),
            Run::OnNode(run) | Run::Both(_, run) => run(
                &mut Node {
                    engine: self,
                    client,
                },
                argv,
                &mut reply,
            ),
            Run::Container(_) => Err(error::wrong_arity(spec.name)),
        };
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(failure) => {
                buffer.rewind(mark);
                Reply::new(buffer, resp).error(failure.text());
                self.stats.count_error(failure.code());
                self.stats.commands[command.index].failed += 1;
                if is_master {
                    self.stats.unexpected_error_replies += 1;
                    log::warn!(
                        "== CRITICAL == This replica is sending an error to its master: '{}' after processing the command '{}'",
                        failure.text(),
                        spec.name
                    );
                }
                Outcome::Replied
            }
        };
        if self.unit.dirty != dirty_before && !self.unit.replaced && self.unit.recording {
            self.unit.effects.add_words(Some(db as u32), argv.iter());
        }
        self.last_moment = self.clock.monotonic();
        let took = self.last_moment.saturating_sub(started);
        self.stats.commands_processed += 1;
        let track_latency = self.config.latency_tracking;
        self.stats.commands[command.index].ran(took, track_latency);
        self.note_latency(
            match spec.has(flag::FAST) {
                true => latency::FAST_COMMAND,
                false => latency::COMMAND,
            },
            took,
        );
        let slow_micros = self.config.slowlog_log_slower_than;
        if slow_micros >= 0 && took.as_micros() >= slow_micros as u128 {
            self.note_slow(client, spec, argv, took.as_micros() as u64);
        }
        if !self.monitors.is_empty() && !spec.has(flag::SKIP_MONITOR | flag::ADMIN) {
            self.feed_monitors(client, argv);
        }
        outcome
    }

    /// Ends an execution unit: its effects go into the journal in one piece, its watchers and subscribers learn of it.
    pub fn finish_unit(&mut self, client: ClientKey, framing: Framing) {
        if !self.unit.effects.is_empty() {
            let offset = self.unit.effects.finish(framing, &mut self.journal);
            let hold = self.aof.hold(offset);
            if let Some(client) = self.clients.find_mut(client) {
                client.session.write_offset = offset;
                client.session.hold = hold;
            }
        }
        self.settle_unit();
    }

    /// What is left to do after a unit's effects have been recorded or dropped.
    pub fn settle_unit(&mut self) {
        self.persistence.dirty += std::mem::take(&mut self.unit.dirty);
        if self.watched.has_failed() {
            for failed in self.watched.take_failed() {
                if let Some(failed) = self.clients.find_mut(failed) {
                    failed.session.watch_failed = true;
                }
            }
        }
        if !self.unit.events.is_empty() {
            self.publish_events();
        }
    }

    #[cold]
    fn note_slow(&mut self, client: ClientKey, spec: &Spec, argv: Argv, micros: u64) {
        if spec.has(flag::SKIP_SLOWLOG) {
            return;
        }
        let (peer, client_name) = match self.clients.find(client) {
            Some(client) => (client.ends.peer.clone(), client.session.name.clone()),
            None => Default::default(),
        };
        let slow = Slow {
            id: 0,
            unix_seconds: self.now.seconds(),
            micros,
            words: clipped(argv, &self.redacted),
            peer,
            client_name,
        };
        self.slowlog
            .push(slow, self.config.slowlog_max_len as usize);
    }
}

enum Admission {
    Run,
    Queue,
}

/// The words with which a browser would begin.
fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}
