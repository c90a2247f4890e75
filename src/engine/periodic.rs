//! What happens without a request: expiry, deadlines, save points, limits. Called ten times a second and more often while
//! there is something to expire; each call is short.

use std::time::Duration;

use crate::clients::ClientKey;
use crate::clients::session::Blocked;
use crate::cow::element::Ref;
use crate::journal::effect::Framing;
use crate::keyspace::Key;
use crate::keyspace::access::AccessRule;
use crate::keyspace::entry::Entry;
use crate::stats::latency;

use super::Engine;
use super::data::ExpiryRule;
use super::error;
use super::log_role;
use super::pause::Purpose;

/// Keys looked at under one lock, so that a million keys that expire together hold nobody up for long.
const EXPIRE_SLICE_KEYS: usize = 200;

/// Notes of the expiry index swept likewise.
const SWEEP_SLICE_NOTES: usize = 200;

impl Engine {
    /// The tenth-of-a-second round.
    pub fn tick(&mut self) {
        log_role::set(self.is_replica());
        self.close_idle();
        self.enforce_output_limits();
        self.end_waits();
        self.wake_after_pause();
        self.save_if_due();
        self.rewrite_if_due();
        self.limit_retained_bytes();
        self.aof_tick();
        self.keep_history_if_due();
        self.replication_tick();
    }

    /// The rates of INFO, `elapsed` after the last call.
    pub fn sample_rates(&mut self, elapsed: Duration) {
        let (clients, replicas) = self.traffic();
        let stats = &mut self.stats;
        let totals = [
            stats.commands_processed,
            clients.read_bytes + replicas.read_bytes,
            clients.written_bytes + replicas.written_bytes,
            stats.net_repl_input_bytes,
            replicas.written_bytes,
        ];
        stats.rates.sample(totals, elapsed.as_millis() as u64);
    }

    /// A slice of the work on expiry: deletes some of the keys whose time has come, and keeps the index small. True if
    /// more may be waiting.
    pub fn expire_some(&mut self) -> bool {
        let mut more = false;
        for db in 0..self.keyspace.count() {
            more |= self.keyspace.db_mut(db).sweep_index(SWEEP_SLICE_NOTES);
        }
        more |= match self.is_replica() {
            true => self.delete_local_due(),
            false => self.delete_due(),
        };
        if self.config.latency_monitor_threshold > 0 {
            let took = self.clock.monotonic().saturating_sub(self.monotonic);
            self.note_latency(latency::EXPIRE_CYCLE, took);
        }
        more
    }

    /// On a replica: keys that its own clients gave an expiry. Nobody is told.
    fn delete_local_due(&mut self) -> bool {
        let may_expire = self.active_expire
            && !self.pauses.stop_expiry(self.monotonic)
            && self.persistence.loading.is_none();
        if !may_expire || self.local_expiries.is_empty() {
            return false;
        }
        self.unit.recording = false;
        self.unit.notifying = self.notifies();
        let mut left = EXPIRE_SLICE_KEYS;
        while left > 0
            && let Some((db, key, at)) = self.local_expiries.take_due(self.now)
        {
            left -= 1;
            let key = Key::new(&key);
            let has_it = |entry: Ref<'_, Entry>| entry.expiry() == Some(at);
            if self.keyspace.db(db).get(key).is_some_and(has_it) {
                self.data(db, ExpiryRule::Delete, AccessRule::Leave)
                    .expire(key);
            }
        }
        self.settle_unit();
        left == 0
    }

    fn delete_due(&mut self) -> bool {
        if !self.active_expire
            || self.expiry_rule() != ExpiryRule::Delete
            || self.persistence.loading.is_some()
        {
            return false;
        }
        let (mut due, mut left) = (Vec::new(), EXPIRE_SLICE_KEYS);
        for db in 0..self.keyspace.count() {
            due.clear();
            self.keyspace.db_mut(db).take_due(self.now, left, &mut due);
            left -= due.len();
            for hash in &due {
                self.expire_by_hash(db, *hash);
            }
            if left == 0 {
                break;
            }
        }
        if !self.unit.effects.is_empty() {
            self.unit.effects.finish(Framing::Apart, &mut self.journal);
        }
        self.settle_unit();
        left == 0
    }

    fn expire_by_hash(&mut self, db: usize, hash: u64) {
        let mut found = Vec::new();
        self.keyspace.db(db).volatile_by_hash(hash, &mut found);
        self.unit.recording = self.journal.is_active() && !self.is_replica();
        self.unit.notifying = self.notifies();
        for (key, expiry) in found {
            if expiry < self.now {
                self.data(db, ExpiryRule::Delete, AccessRule::Leave)
                    .expire(Key { bytes: &key, hash });
            } else {
                self.keyspace.db_mut(db).note_again(hash, expiry);
            }
        }
    }

    /// Answers those whose wait has reached its deadline.
    fn end_waits(&mut self) {
        let now = self.monotonic;
        for key in self.clients.keys() {
            let Some(client) = self.clients.find(key) else {
                continue;
            };
            let deadline = match &client.session.blocked {
                Some(Blocked::Until { deadline }) => Some(*deadline),
                Some(
                    Blocked::ForReplicas { deadline, .. } | Blocked::ForDisks { deadline, .. },
                ) => *deadline,
                _ => None,
            };
            if deadline.is_some_and(|at| at <= now) {
                self.cut_wait_short(key, false);
            }
        }
    }

    /// Ends the wait of `client` as if its time were over, or with an error. False if it does not wait, or for something
    /// that has no time limit: then it goes on waiting.
    pub fn cut_wait_short(&mut self, key: ClientKey, with_error: bool) -> bool {
        let blocked = self
            .clients
            .find(key)
            .and_then(|client| client.session.blocked.clone());
        match blocked {
            None | Some(Blocked::ForTask) => return false,
            Some(_) if with_error => {
                self.stats.count_error(error::UNBLOCKED.code());
                self.unblock(key, |reply| reply.error(error::UNBLOCKED.text()));
            }
            Some(Blocked::Until { .. }) => self.unblock(key, |reply| reply.ok()),
            Some(Blocked::ForReplicas { offset, .. }) => {
                let count = self.replicas_past(offset);
                self.unblock(key, |reply| reply.integer(count as i64));
            }
            Some(Blocked::ForDisks { offset, .. }) => {
                let counts = self.disks_past(offset);
                self.unblock(key, |reply| counts.reply(reply));
            }
        }
        true
    }

    fn wake_after_pause(&mut self) {
        if self.pauses.end_if_over(self.monotonic) {
            self.wake_postponed();
        }
    }

    /// Ends a pause before its time.
    pub fn unpause(&mut self, purpose: Purpose) {
        self.pauses.unpause(purpose);
        self.wake_postponed();
    }

    fn wake_postponed(&mut self) {
        for key in self.clients.keys() {
            if let Some(client) = self.clients.find_mut(key) {
                client.wake();
            }
        }
        self.wake_link();
    }

    fn save_if_due(&mut self) {
        let due = self
            .persistence
            .due(&self.config.save, self.now, self.monotonic);
        let scheduled = self.persistence.scheduled
            && self.persistence.running.is_none()
            && self.persistence.may_try(self.monotonic);
        if let Some(point) = due {
            log::info!(
                "{} changes in {} seconds. Saving...",
                point.changes,
                point.seconds
            );
        }
        if due.is_some() || scheduled {
            self.persistence.scheduled = false;
            self.begin_save(None);
        }
    }
}
