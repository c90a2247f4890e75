//! The AOF as the engine sees it: the writer's handle, what may be answered when, and whether writes are refused.
//!
//! The engine never waits for the disk. What a write has to wait for is a [`Hold`], which its connection's task asks
//! [`Durability`] about; a failing disk shows as one load before each write.

use std::sync::Arc;

use crate::aof::durability::{Durability, Hold, Policy};
use crate::aof::writer::{Order, Slow, Writer};
use crate::config::values::AppendFsync;
use crate::journal::position::Offset;
use crate::stats::latency::Sample;

use super::Engine;
use super::error::{self, CommandError};
use super::historian::Historian;

/// So much is worth a write of its own, however long the turn goes on that brings it.
const PIECE_BYTES: u64 = 256 * 1024;

/// When the writer is to look at the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hurry {
    Now,
    /// When everybody else of the same turn has written as well.
    AfterTurn,
}

/// What the engine holds of the AOF.
#[derive(Default)]
pub struct Aof {
    /// One for the life of the process: connections keep a clone.
    pub durability: Arc<Durability>,
    writer: Option<Writer>,
    /// A task tells of each sync, as long as somebody waits for one.
    pub(super) sync_awaited: bool,
    /// Our master has asked how far we are, and not all of it was on disk: it hears of each sync up to there.
    pub(super) ack_owed: Option<AckOwed>,
    /// Without an AOF: keeps the journal on disk for replicas, and nothing else depends on it.
    pub historian: Historian,
    /// How much history the writer was told to keep.
    pub(super) history_bytes_told: u64,
    /// The end of the journal that the writer has been told of, and the last that it was told of at once.
    told: Offset,
    told_at_once: Offset,
}

/// Of what is on our disk.
pub(super) struct AckOwed {
    pub up_to: Offset,
    /// What the last one said.
    pub told: Option<Offset>,
}

impl Aof {
    /// The running writer; none while there is no AOF.
    pub fn writer(&self) -> Option<&Writer> {
        self.writer.as_ref()
    }

    /// Whoever writes the journal to disk, for whatever purpose.
    pub fn any_writer(&self) -> Option<&Writer> {
        self.writer.as_ref().or(self.historian.writer.as_ref())
    }

    /// Journal bytes go to disk.
    pub fn is_on(&self) -> bool {
        self.writer.is_some()
    }

    /// The journal ends at `end` now: the writer to be woken for it, if it is more than it was told of before.
    pub fn note_end(&mut self, end: Offset) -> Option<(&Writer, Hurry)> {
        if end == self.told {
            return None;
        }
        self.told = end;
        let hurry = match end.0.abs_diff(self.told_at_once.0) < PIECE_BYTES {
            true => Hurry::AfterTurn,
            false => {
                self.told_at_once = end;
                Hurry::Now
            }
        };
        self.any_writer().map(|writer| (writer, hurry))
    }

    /// What the answer to a write that ends at `offset` waits for.
    pub fn hold(&self, offset: Offset) -> Option<Hold> {
        self.writer.as_ref()?;
        self.durability.hold(offset)
    }
}

impl Engine {
    /// From now on answers to writes wait as `appendfsync` says. The writer's log stands at `at`.
    pub fn begin_aof(&mut self, writer: Writer, at: Offset) {
        self.aof.durability.begin(at, self.aof_policy());
        self.aof.writer = Some(writer);
        self.aof.history_bytes_told = 0;
        (self.aof.told, self.aof.told_at_once) = (at, at);
        self.follow_aof_settings();
        self.tell_disk_size();
    }

    /// The AOF is off: whoever waits is let go. The writer is given back, to be ended.
    pub fn end_aof(&mut self) -> Option<Writer> {
        let Some(writer) = self.aof.writer.take() else {
            return self.aof.historian.writer.take();
        };
        self.aof.durability.end();
        Some(writer)
    }

    /// What `appendfsync` asks for.
    pub fn aof_policy(&self) -> Policy {
        match self.config.appendfsync {
            AppendFsync::Always => Policy::Always,
            AppendFsync::Everysec => Policy::EverySecond,
            AppendFsync::No => Policy::System,
        }
    }

    /// `appendfsync` or another of its settings may have been changed.
    pub fn follow_aof_settings(&self) {
        let gates = self.config.repl_send_durable_only;
        self.aof.durability.gate_replicas(gates);
        if let Some(writer) = &self.aof.writer {
            writer.exit_on_error(self.config.aof_exit_on_error);
            writer.set_policy(self.aof_policy());
        }
    }

    /// `aof-timestamp-enabled` has been changed: a segment is annotated wholly or not at all.
    pub fn follow_aof_annotation(&self) {
        if let Some(writer) = &self.aof.writer {
            let annotates = self.config.aof_timestamp_enabled;
            writer.order(Order::Annotate { annotates });
            self.rotate_aof();
        }
    }

    /// A new segment from here on: the present one is large, or the history has another name, and bytes of one name never
    /// stand in a segment of the other.
    pub fn rotate_aof(&self) {
        if let Some(writer) = self.aof.any_writer() {
            writer.order(Order::Rotate {
                at: self.stream_position(),
                answer: Box::new(|outcome| {
                    if let Err(reason) = outcome {
                        log::warn!("AOF: no new segment: {reason}");
                    }
                }),
            });
        }
    }

    /// Why writes are refused while the disk fails.
    pub fn cannot_append(&self) -> Option<CommandError> {
        let writer = self.aof.writer.as_ref()?;
        if !writer.is_failing() {
            return None;
        }
        writer.failure().map(|reason| error::cannot_append(&reason))
    }

    /// What the writer has found slow goes to the latency monitor.
    pub fn collect_aof_latencies(&mut self) {
        let slow = self.aof.writer.as_ref().map(Writer::take_slow);
        for Slow {
            event,
            unix_seconds,
            millis,
        } in slow.unwrap_or_default()
        {
            let sample = Sample {
                unix_seconds,
                millis,
            };
            self.latency.note(event, sample);
        }
    }

    /// Ten times a second: whether snapshots want the disk for themselves, and what the disk was slow at.
    pub fn aof_tick(&mut self) {
        self.collect_aof_latencies();
        if let Some(writer) = &self.aof.writer {
            let is_snapshot_written =
                self.persistence.running.is_some() || self.rewrites.running.is_some();
            let spare = self.config.no_appendfsync_on_rewrite && is_snapshot_written;
            writer.spare_disk(spare);
            writer.note_snapshot(is_snapshot_written);
            writer.watch_latency(self.config.latency_monitor_threshold);
        }
    }
}
