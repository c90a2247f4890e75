//! MULTI, EXEC, WATCH: requests queued by one client and run as one unit.

use crate::clients::ClientKey;
use crate::clients::session::Transaction;
use crate::protocol::reply::Reply;
use crate::protocol::request::{Argv, OwnedRequest};

use super::Engine;
use super::error::{self, CommandError};
use super::spec::flag;
use super::table;
use super::watch::{self, Presence};

impl Engine {
    pub fn begin_transaction(&mut self, client: ClientKey) -> Result<(), CommandError> {
        let session = &mut self.clients.get_mut(client).session;
        if session.transaction.is_some() {
            return Err(error::NESTED_MULTI);
        }
        session.transaction = Some(Transaction::default());
        Ok(())
    }

    /// Keeps a request for EXEC.
    pub fn queue(&mut self, client: ClientKey, argv: Argv) {
        let session = &mut self.clients.get_mut(client).session;
        if let Some(transaction) = &mut session.transaction {
            transaction.bytes += argv.payload_bytes();
            // A transaction that cannot be executed any more need not be kept.
            if !transaction.has_errors {
                transaction.queue.push(OwnedRequest::from(argv));
            }
        }
    }

    /// DISCARD, and what ends a transaction in any other way: the queue and the watches are dropped.
    pub fn discard_transaction(&mut self, client: ClientKey) {
        self.clients.get_mut(client).session.transaction = None;
        self.unwatch_all(client);
    }

    /// EXEC: runs the queue inside the unit that is open.
    pub fn exec(&mut self, client: ClientKey, reply: &mut Reply) -> Result<(), CommandError> {
        self.fail_expired_watches(client);
        let session = &mut self.clients.get_mut(client).session;
        let Some(transaction) = session.transaction.take() else {
            return Err(error::EXEC_WITHOUT_MULTI);
        };
        let watch_failed = session.watch_failed;
        self.unwatch_all(client);
        if transaction.has_errors {
            return Err(error::EXEC_ABORT);
        }
        if watch_failed {
            reply.null_array();
            return Ok(());
        }
        self.check_executable(client, &transaction.queue)?;
        reply.array(transaction.queue.len());
        self.in_exec = true;
        for request in &transaction.queue {
            let argv = request.argv();
            match table::lookup(argv).command(argv) {
                Ok(command) => {
                    self.run(client, command, argv, reply.buffer());
                }
                Err(refusal) => reply.error(refusal.text()),
            }
        }
        self.in_exec = false;
        Ok(())
    }

    /// A queue with writes may have been accepted by a master that is a replica by now.
    fn check_executable(
        &self,
        client: ClientKey,
        queue: &[OwnedRequest],
    ) -> Result<(), CommandError> {
        let session = &self.clients.get(client).session;
        if session.is_master() {
            return Ok(());
        }
        let writes = queue.iter().any(|request| {
            table::lookup(request.argv())
                .command(request.argv())
                .is_ok_and(|command| command.spec.has(flag::WRITE))
        });
        if writes && self.is_replica() && self.config.replica_read_only {
            return Err(error::exec_aborted(&error::READ_ONLY));
        }
        Ok(())
    }

    pub fn watch(&mut self, client: ClientKey, key: &[u8]) {
        let session = &mut self.clients.get_mut(client).session;
        let db = session.db;
        if session
            .watched
            .iter()
            .any(|(other_db, other)| *other_db == db && other == key)
        {
            return;
        }
        session.watched.push((db, key.to_vec()));
        let presence = watch::presence(self.keyspace.db(db).table(), key, self.now);
        self.watched.watch(client, db, key, presence);
    }

    pub fn unwatch_all(&mut self, client: ClientKey) {
        let session = &mut self.clients.get_mut(client).session;
        session.watch_failed = false;
        for (db, key) in std::mem::take(&mut session.watched) {
            self.watched.unwatch(client, db, &key);
        }
    }

    /// A watched key that has expired since has changed, even if nobody has met it.
    fn fail_expired_watches(&mut self, client: ClientKey) {
        let session = &self.clients.get(client).session;
        let expired = session.watched.iter().any(|(db, key)| {
            let table = self.keyspace.db(*db).table();
            watch::presence(table, key, self.now) == Presence::Expired
                && !self.watched.was_expired(client, *db, key)
        });
        if expired {
            self.clients.get_mut(client).session.watch_failed = true;
        }
    }
}
