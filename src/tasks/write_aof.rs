//! The thread that writes the AOF: all that the journal has, in one write, and syncs as `appendfsync` says.
//!
//! Started by boot and by CONFIG SET appendonly; woken by the door of the engine at the end of each turn that has brought
//! bytes, by orders, by the sync thread and by the second; ends with an order to close, or with the process. Whoever waits for an offset waits at [`Durability`].
//!
//! Invariants: bytes are taken from the journal up to its end or up to where the next order stands, so that what is appended
//! ends with a unit; they stay in memory until the log has them, whatever the disk says; an order is carried out when the
//! log stands where it says, in the order in which they were given.

mod sync;

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use async_std::channel;
use bytes::Bytes;

use crate::aof::durability::{Durability, Policy};
use crate::aof::log::{Base, Log, LogError, Sizes};
use crate::aof::writer::{Answer, Done, Order, Orders, Writer};
use crate::clock::Clock;
use crate::engine::Engine;
use crate::journal::cursor::Cursor;
use crate::journal::position::Offset;

use super::engine_lock::EngineLock;
use super::sync_aof::{Syncer, Watch};
use sync::{KEPT_BYTES_MAX, SYNC_EVERY};

/// After a failure the next attempt waits so long.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A failing disk is not worth a line more often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(30);

/// A segment that has grown so large is followed by the next, so that history can go piece by piece.
const SEGMENT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Starts the thread for a log that stands where `cursor` stands, and tells the engine: from then on replies wait as the
/// policy says. The log's position and the cursor were taken under one lock; nothing is lost if writes have come since.
///
/// # Errors
/// The system gives no threads; the engine is then as before.
pub fn start_writer(lock: &EngineLock, log: Log, cursor: Cursor) -> io::Result<Writer> {
    let is_beginning = log.is_beginning();
    start(lock, log, cursor, |engine, writer, at| {
        engine.aof.durability.set_beginning(is_beginning);
        engine.begin_aof(writer, at);
        Arc::clone(&engine.aof.durability)
    })
}

/// As [`start_writer`], for a log that is kept for replicas alone: no reply waits for it.
///
/// # Errors
/// As there.
pub fn start_historian(lock: &EngineLock, log: Log, cursor: Cursor) -> io::Result<Writer> {
    start(lock, log, cursor, Engine::begin_history)
}

fn start(
    lock: &EngineLock,
    log: Log,
    cursor: Cursor,
    begin: impl FnOnce(&mut Engine, Writer, Offset) -> Arc<Durability>,
) -> io::Result<Writer> {
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let (writer, orders) = Writer::new(waker.clone());
    let (durability, clock) = lock.with(|engine| {
        let durability = begin(engine, writer.clone(), log.end());
        (durability, engine.clock.clone())
    });
    let watch = Watch::new(writer.clone(), Arc::clone(&durability));
    let syncer = Syncer::start(waker, watch).inspect_err(|_| {
        lock.with(|engine| engine.end_aof());
    })?;
    let mut driver = Driver::new(log, cursor, orders, durability, clock, syncer);
    driver.lock = Some(lock.clone());
    let started = thread::Builder::new()
        .name("aof-write".into())
        .spawn(move || {
            wakes.attach(thread::current());
            driver.run(&wakes);
        });
    if let Err(error) = started {
        lock.with(|engine| engine.end_aof());
        return Err(error);
    }
    Ok(writer)
}

/// Gives an order and waits for its outcome.
pub async fn ask(writer: &Writer, order: impl FnOnce(Answer) -> Order) -> Result<Done, String> {
    let (sender, receiver) = channel::bounded(1);
    writer.order(order(Box::new(move |outcome| {
        // Whoever asked may have gone.
        let _ = sender.try_send(outcome);
    })));
    let ended = |_| Err("the AOF writer has ended".to_owned());
    receiver.recv().await.unwrap_or_else(ended)
}

/// Brings everything written so far to disk and closes the set, for a process that is about to end: what is written
/// afterwards is not answered any more.
///
/// # Errors
/// The disk does not take it; the AOF goes on as before.
pub async fn finish(lock: &EngineLock) -> Result<(), String> {
    let found = lock.with(|engine| {
        let writer = engine.aof.any_writer().cloned();
        writer.map(|writer| (writer, engine.journal.end()))
    });
    match found {
        Some((writer, at)) => {
            let closed = ask(&writer, |answer| Order::Close { at, answer });
            closed.await.map(|_| ())
        }
        None => Ok(()),
    }
}

/// Unparks the thread, once it is known.
#[derive(Default)]
struct Wakes {
    thread: OnceLock<Thread>,
    due: AtomicBool,
}

impl Wakes {
    fn attach(&self, thread: Thread) {
        // Only the thread itself attaches, once.
        let _ = self.thread.set(thread);
    }

    /// Waits until woken, or until the time is over.
    fn wait(&self, at_most: Duration) {
        if !self.due.load(Ordering::SeqCst) {
            thread::park_timeout(at_most);
        }
        self.due.store(false, Ordering::SeqCst);
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.due.swap(true, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}

/// What the thread works with.
struct Driver {
    log: Log,
    /// None once the journal's history was replaced under it.
    cursor: Option<Cursor>,
    /// Taken from the journal and not yet in the log.
    parts: Vec<Bytes>,
    parts_bytes: u64,
    /// In the log behind `kept_from`, and not yet synced; nothing under `no`.
    kept: VecDeque<Bytes>,
    kept_from: Offset,
    orders: Orders,
    /// The next order, which waits for the log to stand where it says.
    next: Option<Order>,
    durability: Arc<Durability>,
    clock: Clock,
    syncer: Syncer,
    /// To ask for a rotation; none in tests.
    lock: Option<EngineLock>,
    rotation_asked: bool,
    history_bytes_max: u64,
    prune_due: bool,
    /// Nothing is tried before.
    retry_at: Duration,
    synced_at: Duration,
    /// Until then a sync under `always` waits for as many clients as the last one had.
    gather_until: Duration,
    gathered: usize,
    /// Since when writes have met the sync under way.
    delayed_since: Option<Duration>,
    complained_at: Option<Duration>,
    sizes: Sizes,
}

/// What one round has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// There may be more to do.
    Worked,
    /// All that the journal had has been written; who appends more wakes.
    Wrote,
    Idle,
    Ended,
}

impl Driver {
    fn new(
        log: Log,
        cursor: Cursor,
        orders: Orders,
        durability: Arc<Durability>,
        clock: Clock,
        syncer: Syncer,
    ) -> Self {
        let mut driver = Driver {
            log,
            cursor: Some(cursor),
            parts: Vec::new(),
            parts_bytes: 0,
            kept: VecDeque::new(),
            kept_from: Offset::ZERO,
            orders,
            next: None,
            durability,
            synced_at: clock.monotonic(),
            clock,
            syncer,
            lock: None,
            rotation_asked: false,
            history_bytes_max: 0,
            prune_due: true,
            retry_at: Duration::ZERO,
            gather_until: Duration::ZERO,
            gathered: 0,
            delayed_since: None,
            complained_at: None,
            sizes: Sizes::default(),
        };
        driver.tell_set();
        driver
    }

    fn run(mut self, wakes: &Wakes) {
        loop {
            match self.round() {
                Round::Ended => return,
                Round::Worked => {}
                // What comes meanwhile is gathered until the turn that brings it is over.
                Round::Wrote | Round::Idle => wakes.wait(self.patience()),
            }
        }
    }

    /// How long there is nothing to do, if nobody comes.
    fn patience(&self) -> Duration {
        let now = self.clock.monotonic();
        let unsynced = self.log.synced() < self.log.end();
        if self.retry_at > now {
            self.retry_at - now
        } else if unsynced && self.policy() == Policy::Always {
            self.gather_until.saturating_sub(now)
        } else if unsynced
            && self.policy() == Policy::EverySecond
            && self.syncer.busy_since().is_none()
        {
            (self.synced_at + SYNC_EVERY).saturating_sub(now)
        } else {
            SYNC_EVERY
        }
        .max(Duration::from_micros(100))
    }

    /// What the setting asks for. While the disk is left to a snapshot nothing is synced, and nobody is to wait for that.
    fn policy(&self) -> Policy {
        match self.orders.policy() {
            Policy::Always if self.orders.spares_disk() => Policy::System,
            policy => policy,
        }
    }

    fn round(&mut self) -> Round {
        if self.orders.is_abandoned() {
            if let Some(order) = self.next.take() {
                order.refuse("the AOF writer was told to end");
            }
            return Round::Ended;
        }
        self.fetch_sync();
        if self.cursor.is_some() {
            self.durability.set_policy(self.policy());
        }
        if self.clock.monotonic() < self.retry_at {
            self.refuse_while_failing();
            return Round::Idle;
        }
        match self.carry_out_orders() {
            Round::Idle => {}
            other => return other,
        }
        let round = self.write();
        self.sync_if_due();
        round
    }

    /// Orders whose place has been reached. `Worked` if one was carried out.
    fn carry_out_orders(&mut self) -> Round {
        if self.next.is_none() {
            self.next = self.orders.next();
        }
        let Some(order) = self.next.take() else {
            if std::mem::take(&mut self.prune_due) {
                self.prune();
            }
            return Round::Idle;
        };
        // A sync under way may fail after one of ours that works: the file is not left before its outcome is known.
        let stands = self.parts.is_empty() && self.syncer.busy_since().is_none();
        let is_lost = self.cursor.is_none();
        match order {
            Order::Rotate { at, .. }
            | Order::Adopt {
                base: Base { at, .. },
                ..
            } if is_lost && at.offset != self.log.end() => {
                order.refuse("another history has taken the place of this one");
                return Round::Worked;
            }
            Order::Rotate { at, answer } if stands && self.log.end() >= at.offset => {
                let outcome = self.busily(|log| log.rotate(at));
                self.write_again_if_lost();
                if let Err(error) = &outcome
                    && self.log.id() != Some(at.id)
                    && self.log.end() <= at.offset
                {
                    // What follows is of another history and may not stand in this segment: nothing goes on before.
                    self.failed(error);
                    self.next = Some(Order::Rotate { at, answer });
                    return Round::Idle;
                }
                self.rotation_asked = false;
                self.restructured(outcome, answer);
            }
            Order::Adopt { base, answer } => {
                let began = self.clock.monotonic();
                let outcome = self.busily(|log| log.adopt(&base));
                self.note_latency("aof-rename", began);
                self.restructured(outcome, answer);
            }
            Order::Replace {
                base,
                cursor,
                answer,
            } => {
                let outcome = self.busily(|log| log.replace(&base));
                if outcome.is_ok() {
                    self.orders.archive().begin_anew();
                    self.parts.clear();
                    self.parts_bytes = 0;
                    self.kept.clear();
                    self.cursor = Some(cursor);
                    self.durability.begin(self.log.end(), self.policy());
                }
                self.restructured(outcome, answer);
            }
            Order::KeepHistory { bytes } => {
                self.history_bytes_max = bytes;
                self.prune_due = true;
            }
            Order::Annotate { annotates } => self.log.set_annotates(annotates),
            Order::Sync { at, answer } if stands && (is_lost || self.log.end() >= at) => {
                let outcome = self.sync();
                answer(self.done(outcome));
            }
            Order::Close { at, answer } if stands && (is_lost || self.log.end() >= at) => {
                return self.close(answer);
            }
            waiting => {
                self.next = Some(waiting);
                return Round::Idle;
            }
        }
        Round::Worked
    }

    /// Files are created, renamed, removed and synced: nobody waits for that unless the policy says so.
    fn busily<T>(&mut self, work: impl FnOnce(&mut Log) -> T) -> T {
        self.durability.set_busy(true);
        let result = work(&mut self.log);
        self.durability.set_busy(self.syncer.busy_since().is_some());
        result
    }

    fn close(&mut self, answer: Answer) -> Round {
        if let Err(error) = self.sync() {
            answer(Err(error.to_string()));
            return Round::Worked;
        }
        let at = self.log.end();
        match self.log.close() {
            Ok(()) => {
                answer(Ok(Done { at }));
                Round::Ended
            }
            Err(error) => {
                self.write_again_if_lost();
                answer(Err(error.to_string()));
                Round::Worked
            }
        }
    }

    /// After a rotation, an adoption or a replacement.
    fn restructured(&mut self, outcome: Result<(), LogError>, answer: Answer) {
        // Before anybody is woken by what is synced: whether it counts is part of it.
        self.tell_set();
        match &outcome {
            Ok(()) => {
                self.prune_due = true;
                self.note_synced();
            }
            Err(error) => log::warn!("AOF: {error}"),
        }
        answer(self.done(outcome));
    }

    fn done(&self, outcome: Result<(), LogError>) -> Result<Done, String> {
        let at = self.log.end();
        outcome
            .map(|()| Done { at })
            .map_err(|error| error.to_string())
    }

    fn prune(&mut self) {
        let bytes_max = self.history_bytes_max;
        match self.busily(|log| log.prune(bytes_max)) {
            Ok(gone) if gone.is_empty() => {}
            Ok(gone) => {
                log::debug!("AOF: history files removed: {}", gone.join(" "));
                self.tell_set();
            }
            Err(error) => {
                log::warn!("AOF: history is kept until the next change of the set: {error}")
            }
        }
    }

    /// Takes what the journal has and appends it.
    fn write(&mut self) -> Round {
        if self.kept_bytes() >= KEPT_BYTES_MAX && self.syncer.busy_since().is_some() {
            // The journal keeps them as well as we do.
            return Round::Idle;
        }
        let goes_on = !self.parts.is_empty();
        if self.parts.is_empty() {
            // An order is given before the bytes behind its place come: looked for once the end is known, it is seen in time.
            let readable = self.cursor.as_ref().map_or(0, Cursor::lag_bytes);
            if self.next.is_none() {
                self.next = self.orders.next();
            }
            let bytes_max = match self.next.as_ref().and_then(Order::place) {
                Some(at) => readable.min(at.since(self.read_to())),
                None => readable,
            };
            let Some(cursor) = &mut self.cursor else {
                return Round::Idle;
            };
            match cursor.next(bytes_max as usize, &mut self.parts) {
                Ok(0) => return Round::Idle,
                Ok(count) => self.parts_bytes = count as u64,
                Err(_) => {
                    self.lose_cursor();
                    return Round::Idle;
                }
            }
        }
        self.count_delay();
        let from = self.log.end();
        if self.orders.begin_write() {
            self.syncer.watch();
        }
        let (began, unix_seconds) = (self.clock.monotonic(), self.clock.unix_millis().seconds());
        let outcome = self.log.append(&self.parts, unix_seconds);
        self.orders.end_write();
        self.durability.set_write_slow(false);
        self.note_write_latency(began);
        match outcome {
            Ok(()) => {
                self.keep_until_synced(from);
                self.tell_written();
                self.durability.raise_written(self.log.end());
                self.orders.archive().set_written(self.log.end());
                self.ask_for_rotation();
                match goes_on || self.next.is_some() {
                    true => Round::Worked,
                    false => Round::Wrote,
                }
            }
            Err(error) => {
                self.failed(&error);
                Round::Idle
            }
        }
    }

    fn read_to(&self) -> Offset {
        self.log.end().plus(self.parts_bytes as usize)
    }

    fn lose_cursor(&mut self) {
        // The history that this set belongs to is gone from memory: the set stays as it is until another takes its place.
        self.cursor = None;
        self.durability.end();
        self.orders.archive().withdraw();
        log::info!(
            "AOF: stands at {} until the new dataset has a base",
            self.log.end()
        );
    }

    fn ask_for_rotation(&mut self) {
        if self.log.sizes().segment >= self.segment_bytes_max()
            && !self.rotation_asked
            && let Some(lock) = &self.lock
        {
            self.rotation_asked = true;
            lock.with(|engine| engine.rotate_aof());
        }
    }

    /// So large that the oldest piece can go and most of the history is left.
    fn segment_bytes_max(&self) -> u64 {
        let bytes_min = match self.log.is_history() {
            true => 1 << 20,
            false => SEGMENT_BYTES_MAX / 16,
        };
        match self.history_bytes_max {
            0 => SEGMENT_BYTES_MAX,
            budget => (budget / 8).clamp(bytes_min, SEGMENT_BYTES_MAX),
        }
    }

    /// Something on the disk failed: tried again in a second; under `always` the process ends, unless told otherwise.
    fn failed(&mut self, error: &LogError) {
        let reason = reason(&error.cause);
        let now = self.clock.monotonic();
        self.retry_at = now + RETRY_AFTER;
        let complains = self
            .complained_at
            .is_none_or(|at| now.saturating_sub(at) >= COMPLAIN_EVERY);
        if complains {
            self.complained_at = Some(now);
            log::warn!("Error writing to the AOF file: {error}");
        }
        if self.orders.policy() == Policy::Always && self.orders.exits_on_error() {
            log::error!(
                "Can't recover from AOF write error when the AOF fsync policy is 'always'. Exiting..."
            );
            log::logger().flush();
            std::process::exit(1);
        }
        self.orders.tell(|status| status.write_error = Some(reason));
    }

    /// Orders that nobody should wait for while the disk fails.
    fn refuse_while_failing(&mut self) {
        if self.next.is_none() {
            self.next = self.orders.next();
        }
        let log = &self.log;
        if let Some(order) = self.next.take_if(|order| match order {
            Order::Close { .. } => true,
            // Nothing goes wrong without it; a rewrite is to fail and not to hang.
            Order::Rotate { at, .. } => log.id() == Some(at.id),
            _ => false,
        }) {
            let reason = self.orders.tell(|status| status.write_error.clone());
            order.refuse(&reason.unwrap_or_else(|| "the disk fails".to_owned()));
        }
    }

    fn tell_written(&mut self) {
        let segment = self.log.segment_bytes();
        let grown = segment.saturating_sub(self.sizes.segment);
        self.sizes.segment = segment;
        self.sizes.segments += grown;
        let sizes = self.sizes;
        let recovered = self.orders.tell(|status| {
            status.writes += 1;
            status.current_bytes = sizes.base + sizes.segments;
            status.segment_bytes = sizes.segment;
            status.write_error.take().is_some()
        });
        if recovered {
            self.complained_at = None;
            log::warn!("AOF write error looks solved. The server can write again.");
        }
    }

    /// After every change of the set.
    fn tell_set(&mut self) {
        self.sizes = self.log.sizes();
        let (sizes, beginning, seq) = (self.sizes, self.log.is_beginning(), self.log.segment_seq());
        self.durability.set_beginning(beginning);
        self.orders.tell(|status| {
            status.current_bytes = sizes.base + sizes.segments;
            status.base_bytes = sizes.base;
            status.history_bytes = sizes.history;
            status.segment_bytes = sizes.segment;
            status.segment = seq;
            status.beginning = beginning;
        });
        if self.cursor.is_some() {
            let pieces = self.log.pieces();
            self.orders.archive().put(pieces, self.log.end());
        }
    }
}

/// As `strerror` says it: without the number that the standard library adds.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match (error.kind(), text.rfind(" (os error ")) {
        // A disk that takes nothing is full.
        (io::ErrorKind::WriteZero, _) => "No space left on device".to_owned(),
        (_, Some(end)) => text[..end].to_owned(),
        (_, None) => text,
    }
}

#[cfg(test)]
mod tests;
