//! Messages to subscribers, monitors and those who watch keyspace events.

use crate::clients::ClientKey;
use crate::config::events::KeyspaceEvents;
use crate::protocol::reply::{Reply, ReplyBuffer};
use crate::protocol::request::Argv;
use crate::stats::slowlog::REDACTED;

use super::Engine;

impl Engine {
    /// Delivers a message to all listeners of `channel`; returns how many there were.
    pub fn publish(&mut self, channel: &[u8], message: &[u8]) -> usize {
        // Lent out while clients are written to, which subscribes nobody.
        let pubsub = std::mem::take(&mut self.pubsub);
        let mut listeners = 0;
        for delivery in pubsub.listeners(channel) {
            listeners += 1;
            self.push(delivery.client, |reply| match delivery.pattern {
                None => {
                    reply.push(3);
                    reply.bulk(b"message");
                    reply.bulk(channel);
                    reply.bulk(message);
                }
                Some(pattern) => {
                    reply.push(4);
                    reply.bulk(b"pmessage");
                    reply.bulk(pattern);
                    reply.bulk(channel);
                    reply.bulk(message);
                }
            });
        }
        self.pubsub = pubsub;
        listeners
    }

    /// Delivers a message to the listeners of a shard channel.
    pub fn publish_shard(&mut self, channel: &[u8], message: &[u8]) -> usize {
        let pubsub = std::mem::take(&mut self.pubsub);
        let listeners = pubsub.shard_listeners(channel);
        for client in listeners {
            self.push(*client, |reply| {
                reply.push(3);
                reply.bulk(b"smessage");
                reply.bulk(channel);
                reply.bulk(message);
            });
        }
        let count = listeners.len();
        self.pubsub = pubsub;
        count
    }

    /// Whether keyspace events are to be noted at all.
    pub fn notifies(&self) -> bool {
        let wanted = self.config.notify_keyspace_events;
        wanted.contains(KeyspaceEvents::KEYSPACE_CHANNEL)
            || wanted.contains(KeyspaceEvents::KEYEVENT_CHANNEL)
    }

    /// Tells subscribers what has happened to which keys, as far as `notify-keyspace-events` wishes.
    pub fn publish_events(&mut self) {
        let wanted = self.config.notify_keyspace_events;
        for event in std::mem::take(&mut self.unit.events) {
            if !wanted.contains(event.class.letter()) {
                continue;
            }
            let (db, name) = (event.db, event.name);
            if wanted.contains(KeyspaceEvents::KEYSPACE_CHANNEL) {
                let prefix = format!("__keyspace@{db}__:").into_bytes();
                self.publish(&[&prefix, &event.key[..]].concat(), name.as_bytes());
            }
            if wanted.contains(KeyspaceEvents::KEYEVENT_CHANNEL) {
                let channel = format!("__keyevent@{db}__:{name}").into_bytes();
                self.publish(&channel, &event.key);
            }
        }
    }

    /// Writes a message into a client's outbox, in its version of the protocol, and wakes its task.
    pub fn push(&mut self, client: ClientKey, write: impl FnOnce(&mut Reply)) {
        if let Some(client) = self.clients.find_mut(client) {
            write(&mut Reply::new(
                &mut client.outbox.buffer,
                client.session.resp,
            ));
            client.wake();
        }
    }

    /// Shows a request that has run to the monitors, in the form `time [db address] "word" ...`.
    pub fn feed_monitors(&mut self, client: ClientKey, argv: Argv) {
        let micros = self.clock.unix_micros();
        let (db, address) = match self.clients.find(client) {
            Some(client) if client.ends.is_unix => {
                (client.session.db, format!("unix:{}", client.ends.local))
            }
            Some(client) => (client.session.db, client.ends.peer.clone()),
            None => Default::default(),
        };
        let mut line = format!(
            "+{}.{:06} [{db} {address}]",
            micros / 1_000_000,
            micros % 1_000_000
        )
        .into_bytes();
        for (place, word) in argv.iter().enumerate() {
            line.push(b' ');
            let is_redacted = self.redacted.contains(&place);
            quote(if is_redacted { REDACTED } else { word }, &mut line);
        }
        line.extend_from_slice(b"\r\n");
        for monitor in self.monitors.clone() {
            self.send(monitor, |buffer: &mut ReplyBuffer| buffer.push_bytes(&line));
        }
    }
}

/// A word in double quotes, with what is not printable escaped.
pub fn quote(word: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in word {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x20..=0x7e => out.push(byte),
            _ => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    out.push(b'"');
}
