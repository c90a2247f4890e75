//! Who rides which snapshot, and when it begins.

use std::time::Duration;

use super::{Action, Feeds, ReplicaId, SnapshotPlan};
use crate::journal::Journal;
use crate::journal::position::Position;
use crate::replication::feed::{Event, Feed, Profile, Requirement, SnapshotId, Target};
use crate::replication::place::Place;
use crate::replication::replconf::{Capabilities, Filter};

impl Feeds {
    /// A file in the making that serves this replica too: same content, understood by it, its stream kept since.
    pub(super) fn joinable_file(&self, profile: &Profile) -> Option<(SnapshotId, Position)> {
        self.feeds
            .values()
            .filter(|first| !first.profile().rdb_only || profile.rdb_only)
            .filter(|first| first.profile().requirement() == profile.requirement())
            .filter(|first| profile.capabilities.contains(first.profile().capabilities))
            .find_map(Feed::joinable)
    }

    /// Begins every snapshot whose time has come. Call after anything that may have changed that; [`Feeds::tick`] does.
    pub fn begin_due_snapshots(&mut self, now: Duration, actions: &mut Vec<Action>) {
        for group in self.waiting_groups() {
            if self.running.len() >= self.config.snapshots_max.max(1) {
                return;
            }
            if !self.is_due(&group, now) {
                continue;
            }
            self.last_snapshot.0 += 1;
            let snapshot = self.last_snapshot;
            if group.target == Target::Sockets {
                self.last_sockets_at = Some(now);
            }
            for rider in &group.riders {
                if let Some(feed) = self.feeds.get_mut(rider) {
                    feed.choose(snapshot);
                }
            }
            self.running.insert(snapshot, group.target);
            actions.push(Action::BeginSnapshot(SnapshotPlan {
                snapshot,
                target: group.target,
                requirement: group.requirement,
                riders: group.riders,
            }));
        }
    }

    pub(super) fn is_due(&self, group: &Group, now: Duration) -> bool {
        let enough = self.config.replicas_enough;
        let too_soon = self
            .last_sockets_at
            .is_some_and(|at| now < at + self.config.period);
        if group.target == Target::Sockets && too_soon {
            return false;
        }
        group.target == Target::Disk
            || (enough > 0 && group.riders.len() >= enough)
            || now.saturating_sub(group.since) >= self.config.delay
    }

    /// Those who wait for a snapshot that has not begun, by what they need.
    pub(super) fn waiting_groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for (replica, feed) in &self.feeds {
            let Some(since) = feed.waiting_since() else {
                continue;
            };
            let requirement = feed.profile().requirement();
            let capabilities = feed.profile().capabilities;
            match groups
                .iter_mut()
                .find(|group| group.requirement == requirement)
            {
                Some(group) => {
                    group.riders.push(*replica);
                    group.since = group.since.min(since);
                    group.capabilities = group.capabilities.and(capabilities);
                }
                None => groups.push(Group {
                    requirement,
                    riders: vec![*replica],
                    since,
                    capabilities,
                    target: Target::Disk,
                }),
            }
        }
        for group in &mut groups {
            let wanted = self.config.diskless || group.requirement.filter != Filter::Everything;
            if wanted && group.capabilities.contains(Capabilities::EOF) {
                group.target = Target::Sockets;
            }
        }
        groups
    }

    /// The snapshot was taken at `at`, which is the journal's end: its riders are told, and their streams kept from here on.
    pub fn snapshot_begun(
        &mut self,
        snapshot: SnapshotId,
        at: Position,
        journal: &Journal,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let Some(target) = self.running.get(&snapshot).copied() else {
            return;
        };
        for rider in self.riders(snapshot) {
            self.begin(rider, snapshot, target, at, journal, now, actions);
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a snapshot is an id, a place and a target"
    )]
    pub(super) fn begin(
        &mut self,
        rider: ReplicaId,
        snapshot: SnapshotId,
        target: Target,
        at: Position,
        journal: &Journal,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let wants_stream = self
            .feeds
            .get(&rider)
            .is_some_and(|feed| !feed.profile().rdb_only);
        let cursor = wants_stream.then(|| journal.reader_at(at.offset)).flatten();
        let cursor = cursor.map(Place::Memory);
        let event = if wants_stream && cursor.is_none() {
            Event::SnapshotFailed("the stream behind it is not kept".into())
        } else {
            Event::SnapshotBegun {
                snapshot,
                target,
                at,
                cursor,
            }
        };
        self.handle(rider, event, now, actions);
    }

    /// The snapshot could not be taken or made: its riders are sent away, to come back.
    pub fn snapshot_failed(
        &mut self,
        snapshot: SnapshotId,
        reason: &str,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        self.running.remove(&snapshot);
        for rider in self.riders(snapshot) {
            self.handle(rider, Event::SnapshotFailed(reason.into()), now, actions);
        }
        self.begin_due_snapshots(now, actions);
    }

    /// The snapshot is a file of `length_bytes` now: each rider is sent its header and then the file.
    pub fn file_ready(
        &mut self,
        snapshot: SnapshotId,
        length_bytes: u64,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        for rider in self.riders(snapshot) {
            self.handle(rider, Event::FileReady(length_bytes), now, actions);
        }
        self.snapshot_ended(snapshot, now, actions);
    }

    /// The walk is over: nothing more is produced for this snapshot, though riders may still have bytes to send.
    pub fn snapshot_ended(
        &mut self,
        snapshot: SnapshotId,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        self.running.remove(&snapshot);
        self.begin_due_snapshots(now, actions);
    }

    pub(super) fn riders(&self, snapshot: SnapshotId) -> Vec<ReplicaId> {
        self.feeds
            .iter()
            .filter(|(_, feed)| feed.snapshot() == Some(snapshot))
            .map(|(replica, _)| *replica)
            .collect()
    }

    /// Gives up snapshots whose last rider has left.
    pub(super) fn abandon_unridden(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let unridden: Vec<(SnapshotId, Target)> = self
            .running
            .iter()
            .filter(|(snapshot, _)| self.riders(**snapshot).is_empty())
            .map(|(snapshot, target)| (*snapshot, *target))
            .collect();
        for (snapshot, target) in &unridden {
            self.running.remove(snapshot);
            actions.push(Action::AbandonSnapshot {
                snapshot: *snapshot,
                target: *target,
            });
        }
        if !unridden.is_empty() {
            self.begin_due_snapshots(now, actions);
        }
    }
}

/// Replicas that wait for the same.
#[derive(Debug)]
pub(super) struct Group {
    requirement: Requirement,
    riders: Vec<ReplicaId>,
    pub(super) since: Duration,
    capabilities: Capabilities,
    target: Target,
}
