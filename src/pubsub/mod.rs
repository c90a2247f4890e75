//! Channels and patterns, and who listens.
//!
//! Knows clients by their keys only; writing to them is the engine's business.

pub mod commands;

use std::collections::{BTreeMap, HashMap};

use crate::clients::ClientKey;
use crate::glob;

#[derive(Default)]
pub struct PubSub {
    channels: HashMap<Vec<u8>, Vec<ClientKey>>,
    patterns: BTreeMap<Vec<u8>, Vec<ClientKey>>,
    shard_channels: HashMap<Vec<u8>, Vec<ClientKey>>,
}

/// Who is to get a message, and by which pattern.
pub struct Delivery<'p> {
    pub client: ClientKey,
    pub pattern: Option<&'p [u8]>,
}

impl PubSub {
    pub fn subscribe(&mut self, client: ClientKey, channel: &[u8]) {
        self.channels
            .entry(channel.to_vec())
            .or_default()
            .push(client);
    }

    pub fn unsubscribe(&mut self, client: ClientKey, channel: &[u8]) {
        if let Some(clients) = self.channels.get_mut(channel) {
            clients.retain(|other| *other != client);
            if clients.is_empty() {
                self.channels.remove(channel);
            }
        }
    }

    pub fn subscribe_pattern(&mut self, client: ClientKey, pattern: &[u8]) {
        self.patterns
            .entry(pattern.to_vec())
            .or_default()
            .push(client);
    }

    pub fn unsubscribe_pattern(&mut self, client: ClientKey, pattern: &[u8]) {
        if let Some(clients) = self.patterns.get_mut(pattern) {
            clients.retain(|other| *other != client);
            if clients.is_empty() {
                self.patterns.remove(pattern);
            }
        }
    }

    pub fn subscribe_shard(&mut self, client: ClientKey, channel: &[u8]) {
        self.shard_channels
            .entry(channel.to_vec())
            .or_default()
            .push(client);
    }

    pub fn unsubscribe_shard(&mut self, client: ClientKey, channel: &[u8]) {
        if let Some(clients) = self.shard_channels.get_mut(channel) {
            clients.retain(|other| *other != client);
            if clients.is_empty() {
                self.shard_channels.remove(channel);
            }
        }
    }

    /// Listeners of `channel` in the order in which they subscribed, then those by pattern.
    pub fn listeners<'p>(&'p self, channel: &'p [u8]) -> impl Iterator<Item = Delivery<'p>> {
        let direct = self.channels.get(channel).into_iter().flatten();
        let by_pattern = self
            .patterns
            .iter()
            .filter(move |(pattern, _)| glob::matches(pattern, channel, false));
        direct
            .map(|&client| Delivery {
                client,
                pattern: None,
            })
            .chain(by_pattern.flat_map(|(pattern, clients)| {
                clients.iter().map(move |&client| Delivery {
                    client,
                    pattern: Some(pattern),
                })
            }))
    }

    pub fn shard_listeners(&self, channel: &[u8]) -> &[ClientKey] {
        self.shard_channels.get(channel).map_or(&[], Vec::as_slice)
    }

    /// Channels with listeners that match `pattern`, all of them without one.
    pub fn active_channels(&self, pattern: Option<&[u8]>) -> Vec<&[u8]> {
        active(&self.channels, pattern)
    }

    pub fn active_shard_channels(&self, pattern: Option<&[u8]>) -> Vec<&[u8]> {
        active(&self.shard_channels, pattern)
    }

    pub fn subscribers(&self, channel: &[u8]) -> usize {
        self.channels.get(channel).map_or(0, Vec::len)
    }

    pub fn channel_count(&self) -> usize {
        self.channels.len()
    }

    pub fn shard_channel_count(&self) -> usize {
        self.shard_channels.len()
    }

    /// Different patterns with listeners.
    pub fn pattern_count(&self) -> usize {
        self.patterns.len()
    }
}

fn active<'p>(
    channels: &'p HashMap<Vec<u8>, Vec<ClientKey>>,
    pattern: Option<&[u8]>,
) -> Vec<&'p [u8]> {
    let wanted =
        |channel: &&Vec<u8>| pattern.is_none_or(|pattern| glob::matches(pattern, channel, false));
    channels.keys().filter(wanted).map(Vec::as_slice).collect()
}
