//! Clients come and go: what the engine notes about a connection as a whole.

use std::task::Waker;

use crate::aof::durability::Hold;
use crate::clients::session::{Blocked, ReplyMode, Role, Session};
use crate::clients::wire::Traffic;
use crate::clients::{ClientKey, Closing, Ends};
use crate::config::values::ClientClass;
use crate::protocol::reply::{Reply, ReplyBuffer, Resp};
use crate::protocol::request::{Limits, ProtocolError};

use super::Engine;
use super::error::{self, CommandError};
use super::spec::{CommandResult, Outcome};

/// What a connection's task is told after each batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub closing: Option<Closing>,
    /// Executes nothing for now.
    pub blocked: bool,
    /// The socket now belongs to the stream: PSYNC or SYNC was accepted.
    pub is_replica: bool,
    /// What the peer may send.
    pub authenticated: bool,
    /// Replies wait for this, if something was written since the last batch.
    pub hold: Option<Hold>,
}

impl Engine {
    /// Takes a connection in, or says why not.
    pub fn connect(&mut self, ends: Ends) -> Result<ClientKey, CommandError> {
        self.stats.connections_received += 1;
        if self.clients.len() as u64 >= self.config.maxclients as u64 {
            self.stats.connections_rejected += 1;
            return Err(CommandError::new("ERR max number of clients reached"));
        }
        if self.config.protected_mode && self.config.requirepass.is_empty() && !ends.is_local {
            self.stats.connections_rejected += 1;
            return Err(CommandError::new(PROTECTED));
        }
        let session = Session {
            authenticated: self.config.requirepass.is_empty(),
            ..Session::default()
        };
        Ok(self.clients.connect(ends, session, self.monotonic))
    }

    /// Forgets a connection and everything that refers to it.
    pub fn disconnect(&mut self, client: ClientKey) {
        if self.clients.find(client).is_none() {
            return;
        }
        self.unwatch_all(client);
        self.unsubscribe_all(client);
        self.monitors.retain(|monitor| *monitor != client);
        if let Some(gone) = self.clients.disconnect(client) {
            self.stats
                .count_traffic(gone.outbox.wire.traffic(), gone.session.is_replica());
            if gone.session.is_replica() {
                self.forget_replica(client);
            }
        }
    }

    /// Drops all subscriptions without a word to the client.
    pub fn unsubscribe_all(&mut self, client: ClientKey) {
        let session = &mut self.clients.get_mut(client).session;
        for channel in std::mem::take(&mut session.channels) {
            self.pubsub.unsubscribe(client, &channel);
        }
        for pattern in std::mem::take(&mut session.patterns) {
            self.pubsub.unsubscribe_pattern(client, &pattern);
        }
        for channel in std::mem::take(&mut session.shard_channels) {
            self.pubsub.unsubscribe_shard(client, &channel);
        }
    }

    /// What `client` may send.
    pub fn limits_of(&self, client: ClientKey) -> Limits {
        let session = self.clients.find(client).map(|client| &client.session);
        Limits {
            bulk_bytes_max: if session.is_some_and(Session::is_master) {
                i64::MAX
            } else {
                self.config.proto_max_bulk_len as i64
            },
            authenticated: self.is_authenticated(client),
        }
    }

    /// Ends a batch: moves what is to be written into `out`, notes the task's waker, applies the output limits.
    pub fn end_batch(&mut self, key: ClientKey, out: &mut ReplyBuffer, waker: &Waker) -> Standing {
        let authenticated = self.is_authenticated(key);
        let (now, limits) = (self.monotonic, &self.config.client_output_buffer_limit);
        let Some(client) = self.clients.find_mut(key) else {
            return Standing {
                closing: Some(Closing::Now),
                blocked: false,
                is_replica: false,
                authenticated: true,
                hold: None,
            };
        };
        if !client.outbox.buffer.is_empty() {
            if out.is_empty() {
                std::mem::swap(out, &mut client.outbox.buffer);
            } else {
                out.append(&mut client.outbox.buffer);
            }
        }
        client.outbox.wire.set_unsent_bytes(out.len());
        if client
            .waker
            .as_ref()
            .is_none_or(|old| !old.will_wake(waker))
        {
            client.waker = Some(waker.clone());
        }
        let class = match client.session.role {
            Role::Replica => ClientClass::Replica,
            _ if client.session.is_subscriber() => ClientClass::Pubsub,
            _ => ClientClass::Normal,
        };
        let limit = limits[class as usize];
        if class != ClientClass::Replica && client.outbox.exceeds(limit, now) {
            self.stats.output_buffer_disconnections += 1;
            log::warn!(
                "Client id={} addr={} scheduled to be closed ASAP for overcoming of output buffer limits: {} bytes wait",
                client.key.id.0,
                client.ends.peer,
                client.outbox.waiting_bytes()
            );
            client.closing = Some(Closing::Now);
        }
        Standing {
            closing: client.closing,
            blocked: client.session.blocked.is_some(),
            is_replica: client.session.is_replica(),
            authenticated,
            hold: client.session.hold.take(),
        }
    }

    /// Begins a batch of requests of `client`.
    pub fn begin_batch(&mut self, client: ClientKey) {
        let now = self.monotonic;
        if let Some(client) = self.clients.find_mut(client) {
            client.active_at = now;
        }
    }

    /// Bytes and calls on all sockets so far, of ordinary clients and of replicas.
    pub fn traffic(&self) -> (Traffic, Traffic) {
        let mut totals = self.stats.traffic_of_gone;
        for client in self.clients.iter() {
            let total = &mut totals[usize::from(client.session.is_replica())];
            total.add(client.outbox.wire.traffic());
        }
        totals.into()
    }

    /// So many bytes of requests that are not complete are held: applies `client-query-buffer-limit`. Returns how the
    /// connection is to end, if it is.
    pub fn note_input(&mut self, client: ClientKey, bytes: usize) -> Option<Closing> {
        let limit = self.config.client_query_buffer_limit as usize;
        let client = self.clients.find_mut(client)?;
        if bytes > limit && !client.session.is_master() {
            log::warn!(
                "Closing client that reached max query buffer length: id={} addr={}",
                client.key.id.0,
                client.ends.peer
            );
            client.closing = Some(Closing::Now);
            self.stats.query_buffer_disconnections += 1;
        }
        client.closing
    }

    /// Answers bytes that are no requests; the connection ends once that is written.
    pub fn protocol_error(&mut self, client: ClientKey, error: &ProtocolError) {
        self.stats.count_error("ERR");
        if let Some(client) = self.clients.find_mut(client) {
            log::debug!(
                "Protocol error from client id={} addr={}: {}",
                client.key.id.0,
                client.ends.peer,
                error.text()
            );
            Reply::new(&mut client.outbox.buffer, Resp::Two)
                .error(&format!("ERR {}", error.text()));
            client.closing = Some(Closing::AfterReplies);
        }
    }

    /// Applies output limits to clients whose output others have filled; their tasks may be stuck in a write.
    pub fn enforce_output_limits(&mut self) {
        for key in self.clients.keys() {
            let (now, limits) = (self.monotonic, &self.config.client_output_buffer_limit);
            let Some(client) = self.clients.find_mut(key) else {
                continue;
            };
            let class = if client.session.is_subscriber() {
                ClientClass::Pubsub
            } else {
                ClientClass::Normal
            };
            if client.session.role == Role::Normal
                && client.closing != Some(Closing::Now)
                && client.outbox.exceeds(limits[class as usize], now)
            {
                self.stats.output_buffer_disconnections += 1;
                log::warn!(
                    "Client id={} addr={} closed for overcoming of output buffer limits: {} bytes wait",
                    client.key.id.0,
                    client.ends.peer,
                    client.outbox.waiting_bytes()
                );
                client.close(Closing::Now);
            }
        }
    }

    /// Closes clients that have been idle for longer than `timeout` seconds.
    pub fn close_idle(&mut self) {
        let timeout = self.config.timeout as u64;
        if timeout == 0 {
            return;
        }
        for key in self.clients.keys() {
            let now = self.monotonic;
            let Some(client) = self.clients.find_mut(key) else {
                continue;
            };
            let exempt = client.session.role != Role::Normal
                || client.session.blocked.is_some()
                || client.session.is_subscriber();
            if !exempt && now.saturating_sub(client.active_at).as_secs() > timeout {
                log::debug!("Closing idle client id={}", client.key.id.0);
                client.close(Closing::Now);
            }
        }
    }

    /// Lets `client` wait; whoever ends the wait answers by [`Engine::unblock`].
    ///
    /// # Errors
    /// Inside a transaction nothing may wait: nobody else would be served meanwhile.
    pub fn park(&mut self, client: ClientKey, blocked: Blocked) -> CommandResult {
        if self.in_exec {
            return Err(error::CANNOT_WAIT);
        }
        self.clients.get_mut(client).session.blocked = Some(blocked);
        Ok(Outcome::Parked)
    }

    /// Ends a client's wait with an answer.
    pub fn unblock(&mut self, key: ClientKey, answer: impl FnOnce(&mut Reply)) {
        if let Some(client) = self.clients.find_mut(key)
            && client.session.blocked.take().is_some()
        {
            if client.session.reply_mode == ReplyMode::On {
                answer(&mut Reply::new(
                    &mut client.outbox.buffer,
                    client.session.resp,
                ));
            }
            client.wake();
        }
    }

    /// Those who wait for something that a replica cannot give are told so.
    pub fn release_blocked(&mut self) {
        for key in self.clients.keys() {
            let waits = self.clients.find(key).is_some_and(|client| {
                matches!(
                    client.session.blocked,
                    Some(Blocked::ForReplicas { .. } | Blocked::ForDisks { .. })
                )
            });
            if waits {
                self.unblock(key, |reply| {
                    reply.error(
                        "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
                    );
                });
            }
        }
    }
}

const PROTECTED: &str = "DENIED Redis is running in protected mode because protected mode is enabled and no password is \
    set for the default user. In this mode connections are only accepted from the loopback interface. If you want to \
    connect from external computers, you may adopt one of the following solutions: 1) Just disable protected mode \
    sending the command 'CONFIG SET protected-mode no' from the loopback interface by connecting from the same host \
    the server is running, however MAKE SURE it is not publicly accessible from internet if you do so. Use CONFIG \
    REWRITE to make this change permanent. 2) Alternatively you can just disable the protected mode by editing the \
    configuration file, and setting the protected mode option to 'no', and then restarting the server. 3) If you \
    started the server manually just for testing, restart it with the '--protected-mode no' option. 4) Set up an \
    authentication password for the default user. NOTE: You only need to do one of the above things in order for the \
    server to start accepting connections from the outside.";
