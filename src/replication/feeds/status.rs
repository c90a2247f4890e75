//! What others ask about the replicas: INFO, ROLE, WAIT, min-replicas, SHUTDOWN, FAILOVER.

use std::time::Duration;

use super::{Feeds, ReplicaId};
use crate::journal::position::Offset;
use crate::replication::feed::Feed;

impl Feeds {
    /// The replicas in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (ReplicaId, &Feed)> {
        self.feeds.iter().map(|(replica, feed)| (*replica, feed))
    }

    pub fn get(&self, replica: ReplicaId) -> Option<&Feed> {
        self.feeds.get(&replica)
    }

    /// `connected_slaves`: in any state.
    pub fn count(&self) -> usize {
        self.feeds.len()
    }

    /// Online replicas that have executed everything up to `offset`: WAIT.
    pub fn count_acked(&self, offset: Offset) -> usize {
        self.online().filter(|feed| feed.acked() >= offset).count()
    }

    /// Online replicas that have it on disk: WAITAOF.
    pub fn count_synced(&self, offset: Offset) -> usize {
        self.online().filter(|feed| feed.synced() >= offset).count()
    }

    /// `min_slaves_good_slaves`: online, and heard of no longer than `lag_max` ago, in whole seconds as the peers count.
    pub fn count_good(&self, lag_max: Duration, now: Duration) -> usize {
        self.online()
            .filter(|feed| feed.lag(now).as_secs() <= lag_max.as_secs())
            .count()
    }

    /// Online replicas that have not executed everything up to `end`: what a shutdown waits for.
    pub fn lagging(&self, end: Offset) -> impl Iterator<Item = &Feed> {
        self.online().filter(move |feed| feed.acked() != end)
    }

    /// An online replica by the address that it announces: FAILOVER TO.
    pub fn find(&self, ip: &str, port: i64) -> Option<(ReplicaId, &Feed)> {
        self.iter()
            .filter(|(_, feed)| feed.is_online())
            .find(|(_, feed)| feed.profile().ip() == ip && feed.profile().port() == port)
    }

    /// `slave0:ip=...` and so on, without line ends.
    pub fn info_lines(&self, now: Duration) -> impl Iterator<Item = String> {
        self.feeds
            .values()
            .enumerate()
            .map(move |(number, feed)| format!("slave{number}:{}", feed.info_line(now)))
    }

    /// Where each replica stands, in the order of [`Feeds::info_lines`].
    pub fn place_lines(&self, end: Offset, now: Duration) -> impl Iterator<Item = String> {
        self.feeds.values().map(move |feed| {
            let behind = feed.bytes_behind(end);
            let place = Offset(end.0.saturating_sub_unsigned(behind));
            format!(
                "from={},bytes_behind={behind},ms_behind={}",
                if feed.is_on_disk() { "disk" } else { "memory" },
                self.pace.age(place, now).as_millis()
            )
        })
    }

    /// What ROLE lists: ip, port and acknowledged offset of each online replica.
    pub fn role_entries(&self) -> impl Iterator<Item = (&str, i64, Offset)> {
        self.online()
            .map(|feed| (feed.profile().ip(), feed.profile().port(), feed.acked()))
    }

    pub(super) fn online(&self) -> impl Iterator<Item = &Feed> {
        self.feeds.values().filter(|feed| feed.is_online())
    }
}
