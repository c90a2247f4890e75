//! What a connection's task counts about its socket without taking the lock.
//!
//! Written by the task alone, read by the engine; each number stands for itself, so relaxed order is enough.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

#[derive(Debug, Default)]
pub struct Wire {
    unsent_bytes: AtomicUsize,
    held_bytes: AtomicUsize,
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
}

/// Bytes and calls on sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub read_bytes: u64,
    pub written_bytes: u64,
    pub reads: u64,
    pub writes: u64,
}

impl Traffic {
    pub fn add(&mut self, more: Traffic) {
        self.read_bytes += more.read_bytes;
        self.written_bytes += more.written_bytes;
        self.reads += more.reads;
        self.writes += more.writes;
    }
}

impl Wire {
    /// Bytes of replies that the task has taken and not yet written.
    pub fn unsent_bytes(&self) -> usize {
        self.unsent_bytes.load(Relaxed)
    }

    pub fn set_unsent_bytes(&self, bytes: usize) {
        self.unsent_bytes.store(bytes, Relaxed);
    }

    /// Bytes of a request whose rest has not arrived.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes.load(Relaxed)
    }

    pub fn set_held_bytes(&self, bytes: usize) {
        self.held_bytes.store(bytes, Relaxed);
    }

    pub fn note_read(&self, bytes: usize) {
        self.read_bytes.fetch_add(bytes as u64, Relaxed);
        self.reads.fetch_add(1, Relaxed);
    }

    pub fn note_write(&self, bytes: usize) {
        self.written_bytes.fetch_add(bytes as u64, Relaxed);
        self.writes.fetch_add(1, Relaxed);
    }

    /// Since the connection began, or since the last reset.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            read_bytes: self.read_bytes.load(Relaxed),
            written_bytes: self.written_bytes.load(Relaxed),
            reads: self.reads.load(Relaxed),
            writes: self.writes.load(Relaxed),
        }
    }

    pub fn reset_traffic(&self) {
        let counts = [
            &self.read_bytes,
            &self.written_bytes,
            &self.reads,
            &self.writes,
        ];
        for count in counts {
            count.store(0, Relaxed);
        }
    }
}
